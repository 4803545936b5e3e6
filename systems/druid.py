"""Serving datasets in a real Druid: published, changed, corrected, over restarts and faults of either side, with the
same answers as ours. The rows are of the project `remote-care` among the examples."""
import json
import pathlib
import shutil

from parts import Failed, Vitalake, need, until
from parts_druid import Druid

PROJECT = pathlib.Path(__file__).resolve().parent.parent / "examples/remote-care"
HOURLY = "vitals_hourly"
COLUMNS = "COUNT(*), SUM(readings), SUM(heart_rate_min), SUM(steps), MIN(heart_rate_min), MAX(heart_rate_max)"
BY_TIME = "SELECT TIME_FLOOR(__time, 'PT1H'), {} FROM {} GROUP BY 1 ORDER BY 1"


def check(run):
    with Druid(run.folder / "druid") as druid:
        with Vitalake(project(run.folder / "vitalake"), run.binary, PROJECT, settings=settings(druid)) as platform:
            deliver(platform)
            said = [published(platform, druid), changed(platform, druid), restarted(platform, druid),
                    task_killed(platform, druid), away(platform, druid), killed(platform, druid)]
        said.append(somebody_elses(run, druid))
        return "; ".join(said)


def project(folder):
    """The example project, whose gates let rows of any age through."""
    shutil.copytree(PROJECT, folder / "project")
    for contract in (folder / "project/contracts/serving").glob("*.yaml"):
        contract.write_text(contract.read_text().split("slaProperties:")[0])
    return folder


def deliver(platform):
    """Who wears what: without it no reading is anybody's."""
    for dataset in ("patients", "device_assignments"):
        platform.command_line("ingest", dataset, f"deliveries/{dataset}.csv")


def settings(druid):
    return {**druid.settings(), "VITALAKE_STORAGE__COMMIT_INTERVAL_MS": "500"}


def simulate(platform, start, count, seed=1, *more):
    """Events of that many seconds and wearers, at once."""
    before = standing(platform)["version"]
    platform.command_line("simulate", "--kafka", platform.bootstrap, "--wearers", 20, "--rate", 0, "--count", count,
                          "--seed", seed, "--start", start, "--late", 0, "--malformed", 0, *more)
    platform.flush()
    until("the gate lets them through", lambda: standing(platform)["version"], lambda version: version > before, 60)


def standing(platform, dataset=HOURLY):
    reports = json.loads(platform.get("/api/v1/druid")[1])
    return next(report for report in reports if report["datasource"] == dataset)


def is_up_to_date(platform, dataset=HOURLY):
    found = standing(platform, dataset)
    return (found["state"], found["published_version"] == found["version"])


def same_answers(platform, druid, dataset=HOURLY):
    until(f"{dataset} is published", lambda: is_up_to_date(platform, dataset), ("published", True), 240)
    ours = platform.sql(BY_TIME.format(COLUMNS, f"serving.{dataset}"))
    until(f"Druid answers {dataset} as we do", lambda: druid.sql(BY_TIME.format(COLUMNS, dataset)), ours, 60)
    return len(ours)


def published(platform, druid):
    simulate(platform, "2026-03-01T00:00:00Z", 3000)
    simulate(platform, "2026-05-10T00:00:00Z", 3000, 2)
    hours = same_answers(platform, druid)
    until("engagement_daily is published", lambda: is_up_to_date(platform, "engagement_daily"), ("published", True), 240)
    asked = "SELECT \"day\", SUM(events), SUM(sessions) FROM {} GROUP BY 1 ORDER BY 1"
    ours = [[row[0][:10], *row[1:]] for row in platform.sql(asked.format("serving.engagement_daily"))]
    need("days of engagement", druid.sql(asked.format("engagement_daily")), ours)
    checks = platform.sql("SELECT COUNT(*) FROM ops.checks WHERE rule = 'druid_rows' AND passed = TRUE")
    if not checks or checks[0][0] < 2:
        raise Failed(f"ops.checks has {checks} checks of publications")
    return f"{hours} hours published, with the same answers"


def changed(platform, druid):
    """A small table is one file: what changed is as much as that file holds, and never less than the change."""
    before = {task["id"] for task in druid.tasks(HOURLY)}
    simulate(platform, "2026-05-10T06:00:00Z", 500, 3)
    same_answers(platform, druid)
    new = [task["id"] for task in druid.tasks(HOURLY) if task["id"] not in before]
    if not new:
        raise Failed("a change was not published by a task")
    for task in new:
        spec = druid.get("coordinator", f"/druid/indexer/v1/task/{task}")["payload"]["spec"]
        intervals = [interval.split("/") for interval in spec["dataSchema"]["granularitySpec"]["intervals"]]
        if not any(start <= "2026-05-10T06" < end for start, end in intervals):
            raise Failed(f"{task} replaces {intervals}, and the change lies elsewhere")
    return "a change is there as well"


def restarted(platform, druid):
    """vitalake is killed as soon as a task of it runs, and goes on watching that one."""
    before = {task["id"] for task in druid.tasks(HOURLY)}
    simulate(platform, "2026-05-11T00:00:00Z", 500, 4)
    until("a task is under way", lambda: [t for t in druid.tasks(HOURLY) if t["id"] not in before], bool, 60)
    platform.kill()
    platform.start()
    same_answers(platform, druid)
    ids = [task["id"] for task in druid.tasks(HOURLY) if task["id"] not in before]
    versions = [name.rsplit("_", 1)[0] for name in ids]
    need("a version is sent once over a restart", len(versions), len(set(versions)))
    return "killed in the middle, it went on watching"


def task_killed(platform, druid):
    before = {task["id"] for task in druid.tasks(HOURLY)}
    simulate(platform, "2026-05-12T00:00:00Z", 500, 5)
    new = until("a task is under way", lambda: [t for t in druid.tasks(HOURLY) if t["id"] not in before and t["statusCode"] == "RUNNING"], bool, 60)
    druid.post("coordinator", f"/druid/indexer/v1/task/{new[0]['id']}/shutdown", {})
    same_answers(platform, druid)
    return "a task that somebody ended was sent again"


def away(platform, druid):
    druid.kill("coordinator")
    simulate(platform, "2026-05-13T00:00:00Z", 500, 6)
    until("it is told that Druid is away", lambda: "Druid" in [part["part"] for part in json.loads(platform.get("/api/v1/status")[1])["away"]], True, 60)
    need("we answer meanwhile", bool(platform.sql(f"SELECT COUNT(*) FROM serving.{HOURLY}")), True)
    druid.start("coordinator")
    same_answers(platform, druid)
    return "its coordinator was away, and is caught up with"


def killed(platform, druid):
    receipt = json.loads(platform.command_line("druid", "kill", HOURLY, "--json"))
    need("segments out of use that are left", receipt["left"], 0)
    if not receipt["segments"]:
        raise Failed("nothing was out of use after all these changes")
    same_answers(platform, druid)
    return f"{len(receipt['segments'])} replaced segments are gone from deep storage"


def somebody_elses(run, druid):
    """A datasource of the same name that another lake has made is not touched before a person says so."""
    before = druid.sql(f"SELECT COUNT(*) FROM {HOURLY}")
    with Vitalake(project(run.folder / "other"), run.binary, PROJECT, settings=settings(druid)) as other:
        deliver(other)
        simulate(other, "2026-05-20T00:00:00Z", 500, 7)
        until("it is refused", lambda: standing(other)["state"], "refused", 120)
        need("what is there stays", druid.sql(f"SELECT COUNT(*) FROM {HOURLY}"), before)
        other.run("druid", "adopt", HOURLY)
        same_answers(other, druid)
    return "another's datasource was refused, and replaced once that was said"
