"""What must hold after something was away: every acknowledged record once, the absence told, readers answered."""
import json
import re
import time

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from parts import Failed, need, until
from records import Background

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
COUNT = "SELECT COUNT(*) FROM raw.hourly_steps"


def exactly_once(sender, platform, table, options=None, seconds=180):
    """Everything that was sent is acknowledged, and each of it is once in SQL and once in Delta."""
    need("records refused", sender.refused[:2], [])
    need("records acknowledged", len(sender.acknowledged), sender.sent)
    total = sender.sent
    counts = "SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM raw.hourly_steps"
    until("records in SQL, and different ones", lambda: platform.row(counts), (total, total), seconds)
    until("records in Delta", lambda: len(identities(table, options)), total, seconds, again=(OSError, DeltaError))
    time.sleep(5)  # two commits on: a late duplicate shows
    found = identities(table, options)
    need("records in Delta that were not acknowledged, or not there", len(set(found) ^ sender.acknowledged), 0)
    need("records in Delta, later", len(found), total)
    need("records in SQL, later", platform.row(counts), (total, total))
    return total


def identities(table, options):
    return DeltaTable(str(table), storage_options=options).to_pyarrow_table(columns=["subject_id"])["subject_id"].to_pylist()


def told(platform, word):
    """Whether `status --json` and /health/ready both say that such a part is away, and since when."""
    return all(any(word in part["part"].lower() and MOMENT.match(part["since"]) for part in away) for away in absences(platform))


def why(platform, part):
    """Why a part is away, and since when: status and readiness must both say it."""
    reasons = [[f"{it['reason']} (since {it['since']})" for it in away if it["part"] == part] for away in absences(platform)]
    need(f"reasons of {part} by status and readiness", [len(found) for found in reasons], [1, 1])
    return reasons[0][0]


def told_nothing(platform):
    return not any(absences(platform))


def absences(platform):
    """What status and readiness each say is away."""
    _, report, error = platform.run("status", "--json")
    if not report:
        raise Failed(f"status says no more than {error.strip()}")
    return [json.loads(text).get("away", []) for text in (report, platform.ready()[1])]


class Watch(Background):
    """Counts raw again and again: how long an answer took at most, which questions failed, whether a count ever shrank."""

    def __init__(self, platform, seconds_max=30, question=COUNT):
        super().__init__(seconds_to_end=90)
        self.platform, self.seconds_max, self.question = platform, seconds_max, question
        self.answers, self.errors, self.shrank, self.longest = 0, [], [], 0.0

    def run(self):
        last = 0
        while not self.over.wait(0.2):
            began = time.monotonic()
            try:
                (now,) = self.platform.row(self.question)
                now = now or 0
                self.answers += 1
                if now < last:
                    self.shrank.append((last, now))
                last = now
            except Exception as error:
                self.errors.append(str(error))
            self.longest = max(self.longest, time.monotonic() - began)

    def must_have_answered(self, errors_allowed=0):
        """No count that shrank, no answer that took too long, no more errors than allowed."""
        need("counts that went back", self.shrank[:3], [])
        if self.answers < 10 or self.longest > self.seconds_max:
            raise Failed(f"readers had {self.answers} answers, the slowest after {self.longest:.0f} s")
        if len(self.errors) > errors_allowed:
            raise Failed(f"{len(self.errors)} questions failed, the first: {self.errors[0]}")
        return f"{self.answers} reads, {len(self.errors)} refused, the slowest {self.longest * 1000:.0f} ms"
