"""What may go wrong around a Superset that holds a project's dashboards: it is killed, it is used by others at once, what is
there was taken away, names are of every kind. Each time: nothing of others changes, and the next apply makes it whole."""
import os
import shutil
import subprocess
import threading
import time

from parts import Failed, need
from superset import Tool, started

NAMES = """
title: "Frühvisite „Station 3“ – it's 100 % 'here'"
description: "日本語, \\"quoted\\" & <b>bold</b> 😀"
dataset: engagement_daily
period: all
filters: [time, cohort]
rows:
  - [ünmöglich_nicht, quotes]
charts:
  ünmöglich_nicht:
    type: bar
    title: "O'Hara's \\"heart\\" 💓, {{ braces }} & 100 %"
    measure: active_patients
    x: cohort
  quotes:
    type: table
    by: [cohort]
    measures: [sessions_total]
    where: cohort <> 'O''Hara"s' AND cohort NOT LIKE '%{{%'
"""


def check(run):
    with started(run) as (tool, session, superset):
        steps = (killed, used_by_others, names, two_projects, renamed, taken_away, thirty)
        return "; ".join(step(tool, session, superset) for step in steps)


def killed(tool, session, superset):
    """Ended while it imports, on the first apply and on a change; what was half done is done again."""
    for time_to_wait in (0.0, 0.2, 0.5):
        command = [tool.platform.binary, "superset", "apply", str(tool.project)]
        begun = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                 env={**os.environ, **tool.platform.environment()})
        while "importing" not in (line := begun.stderr.readline()):
            if not line:
                raise Failed("apply ended before it imported")
        time.sleep(time_to_wait)
        superset.kill()
        said, status = begun.stderr.read(), begun.wait(120)
        away = "no Superset answers" in said or "broke off" in said
        need(f"it is told that Superset is away: {said[-300:]}", (status in (1, 3), away), (True, True))
        superset.start()
        page = tool.dashboards / "morning_round.yaml"
        page.write_text(page.read_text().replace("description: Whom to call", "description: Whom to  call"))
    tool.apply()
    need("what would change then", tool.changes(0), [])
    names = session.names("chart")
    need("charts that are there twice", len(names) - len(set(names)), 0)
    return "killed three times while it imports, then whole"


def used_by_others(tool, session, superset):
    """Others list charts, datasets, dashboards and roles all the time: a Superset with threads mixes up the filters of lists."""
    ended, mixed = threading.Event(), [0]

    def ask():
        while not ended.is_set():
            mixed[0] += len(session.listed("chart", slice_name="nothing of this name"))
            mixed[0] += len(session.listed("dashboard", dashboard_title="nothing of this name"))
            mixed[0] += len(session.listed("dataset", table_name="nothing of this name"))
            session.listed("security/roles", name="Alpha")

    others = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    [other.start() for other in others]
    try:
        for _ in range(6):
            need("what would change while others ask", tool.changes(0), [])
    finally:
        ended.set()
        [other.join(60) for other in others]
    return f"planned six times while others ask (of whom {mixed[0]} were given what they had not asked for)"


def names(tool, session, superset):
    file = tool.dashboards / "names.yaml"
    file.write_text(NAMES.replace("ünmöglich_nicht", "odd").lstrip())
    tool.apply()
    need("what would change then", tool.changes(0), [])
    out = tool.project.parent / "names"
    tool("export", "--out", out)
    again = (out / "dashboards/names.yaml").read_text()
    file.write_text(again)
    need("what the exported file would change", tool.changes(0), [])
    need("the title is there", "O'Hara's \"heart\" 💓, {{ braces }} & 100 %" in session.names("chart"), True)
    file.unlink()
    tool.apply()
    return "names with quotes, braces and other scripts"


def two_projects(tool, session, superset):
    """Another project with pages of the same names. A Superset on SQLite takes a dataset's name once: the whole import of
    that project is refused, and what it then keeps without datasets lies beside the first one's."""
    second = tool.project.parent / "second"
    shutil.copytree(tool.project, second)
    settings = second / "vitalake.yaml"
    settings.write_text(settings.read_text().replace("name: remote-care", "name: remote", 1))
    other, charts = Tool(tool.platform, second), session.names("chart")
    need("nothing of it is in the way", {change[0] for change in other.changes(4)}, {"create"})
    need("the import is refused", "it answered 500" in other("apply", status=1), True)
    need("charts after that", session.names("chart"), charts)
    for page in other.dashboards.glob("*.yaml"):
        page.write_text("title: Morning round\nrows:\n  - [nothing]\ncharts:\n  nothing:\n    type: text\n    text: Nothing\n")
    other.apply()
    need("pages of both", session.names("dashboard").count("Morning round"), 2)
    need("what would change of the first", tool.changes(0), [])
    for page in other.dashboards.glob("*.yaml"):
        page.unlink()
    other.apply()
    need("pages of the first", session.names("dashboard").count("Morning round"), 1)
    need("what would change of the first", tool.changes(0), [])
    return "two projects with pages of the same names keep theirs apart"


def renamed(tool, session, superset):
    for file in (tool.dashboards / "morning_round.yaml", tool.measures / "vitals_hourly.yaml"):
        file.write_text(file.read_text().replace("oxygen_lowest", "oxygen_least"))
    told = [word for change in tool.plan(4) for word in change["what"]]
    for words in ("measure oxygen_least is new", "measure oxygen_lowest goes"):
        need(f"a plan says: {words}", any(words in word for word in told), True)
    tool.apply()
    need("what would change then", tool.changes(0), [])
    return "a measure with another name"


def taken_away(tool, session, superset):
    """Somebody removes our database with all that hangs on it; and somebody a role of ours."""
    database = session.one("database", "database_name", "remote-care")
    for dataset in session.listed("dataset"):
        if dataset["database"]["id"] == database["id"]:
            session.delete(f"dataset/{dataset['id']}")
    session.delete(f"database/{database['id']}")
    need("something would be made", ("create", "database") in tool.changes(4), True)
    tool.apply()
    need("what would change then", tool.changes(0), [])
    role = session.one("security/roles", "name", "remote-care: Morning round")
    session.delete(f"security/roles/{role['id']}")
    need("what would change without the role", tool.changes(4), [("create", "role")])
    tool.apply()
    need("what would change then", tool.changes(0), [])
    return "a database that is gone, and a role, are made again"


def thirty(tool, session, superset):
    """How long it takes with thirty charts."""
    charts = "".join(f"  c{number}:\n    type: line\n    title: Chart {number}\n    measure: heart_rate\n    by: [patient_id]\n" for number in range(30))
    rows = "".join(f"  - [c{number}, c{number + 1}, c{number + 2}]\n" for number in range(0, 30, 3))
    for page in tool.dashboards.glob("*.yaml"):
        page.unlink()
    (tool.dashboards / "thirty.yaml").write_text(f"title: Thirty\ndataset: vitals_hourly\nrows:\n{rows}charts:\n{charts}")
    seconds = {}
    again = lambda: tool("apply")  # noqa: E731
    for what, work in (("made and compared", tool.apply), ("planned", lambda: tool.changes(0)), ("applied again", again)):
        began = time.monotonic()
        work()
        seconds[what] = time.monotonic() - began
    return "thirty charts: " + ", ".join(f"{what} in {value:.1f} s" for what, value in seconds.items())
