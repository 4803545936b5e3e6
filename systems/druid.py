"""Serving datasets in a real Druid: published, changed, corrected, over restarts and faults of either side, with the
same answers as ours. The rows are of the project `remote-care` among the examples."""
import json
import pathlib
import shutil

from parts import Failed, Vitalake, need, until
from parts_druid import Druid

# Deliveries by business date, and what is made of them: a row of a day and ward.
DOSES = {
    "contracts/raw/doses.yaml": ("3e", ["day date", "ward string", "doses integer"], ["source: feed"]),
    "contracts/curated/doses_given.yaml": ("3f", ["day date", "ward string", "doses integer"], []),
    "contracts/serving/doses_daily.yaml": ("40", ["day date key", "ward string key", "doses integer", "rounds integer"], []),
    "models/curated/doses_given.sql": "-- kind: append\nSELECT day, ward, doses FROM raw.doses\n",
    "models/serving/doses_daily.sql": "-- kind: rollup\n-- time: day\nSELECT day, ward, SUM(doses) AS doses, COUNT(*) AS rounds\n"
                                      "FROM curated.doses_given GROUP BY day, ward\n",
}
PROJECT = pathlib.Path(__file__).resolve().parent.parent / "examples/remote-care"
HOURLY = "vitals_hourly"
COLUMNS = "COUNT(*), SUM(readings), SUM(heart_rate_min), SUM(steps), MIN(heart_rate_min), MAX(heart_rate_max)"
BY_TIME = "SELECT TIME_FLOOR(__time, 'PT1H'), {} FROM {} GROUP BY 1 ORDER BY 1"


def check(run):
    with Druid(run.folder / "druid") as druid:
        with Vitalake(project(run.folder / "vitalake"), run.binary, PROJECT, settings=settings(druid)) as platform:
            deliver(platform)
            said = [published(platform, druid), changed(platform, druid), corrected(platform, druid), restarted(platform, druid),
                    task_killed(platform, druid), away(platform, druid), killed(platform, druid), rows_of_others(platform, druid)]
        said.append(somebody_elses(run, druid))
        return "; ".join(said)


def project(folder):
    """The example project, whose gates let rows of any age through."""
    shutil.copytree(PROJECT, folder / "project")
    for contract in (folder / "project/contracts/serving").glob("*.yaml"):
        contract.write_text(contract.read_text().split("slaProperties:")[0])
    for name, said in DOSES.items():
        text = said if isinstance(said, str) else contract_of(pathlib.Path(name).stem, *said)
        (folder / "project" / name).write_text(text)
    return folder


def contract_of(name, number, columns, properties):
    lines = ["apiVersion: v3.1.0", "kind: DataContract", f"id: 00000000-0000-4000-8000-0000000000{number}", f"name: {name}",
             "version: 1.0.0", "status: active", "schema:", f"  - name: {name}", "    properties:"]
    for position, (column, kind, *key) in enumerate((column.split() for column in columns), 1):
        lines += [f"      - name: {column}", f"        logicalType: {kind}", "        required: true"]
        lines += ["        primaryKey: true", f"        primaryKeyPosition: {position}"] if key else []
    lines += ["customProperties:"] if properties else []
    for said in properties:
        word, value = said.split(": ")
        lines += [f"  - {{property: {word}, value: {value}}}"]
    return "\n".join([*lines, ""])


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
    checks = "SELECT COUNT(*) FROM ops.checks WHERE rule = 'druid_rows' AND passed = TRUE"
    until("ops.checks has checks of publications", lambda: platform.sql(checks)[0][0], lambda count: count >= 2, 30)
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


def corrected(platform, druid):
    """A corrected delivery has fewer rows than the one before: what went is gone there too, also the last row of a segment."""
    doses(platform, "2025-03-01", *(f"2025-03-{day:02},{ward},{day}" for day in range(1, 11) for ward in "ABC"))
    doses(platform, "2026-03-01", *(f"2026-03-{day:02},{ward},{day}" for day in range(1, 11) for ward in "ABC"))
    same_doses(platform, druid, 20, 60)
    doses(platform, "2026-03-01", *(f"2026-03-{day:02},A,{day}" for day in range(1, 6)))
    same_doses(platform, druid, 15, 35)
    doses(platform, "2025-03-01", "2026-03-02,B,1")
    same_doses(platform, druid, 5, 6)
    need("rows of the year that is empty now", druid.sql("SELECT COUNT(*) FROM doses_daily WHERE __time < TIMESTAMP '2026-01-01'"), [[0]])
    rows = "SELECT COALESCE(SUM(num_rows), 0) FROM sys.segments WHERE datasource = 'doses_daily' AND is_active = 1"
    until("its segments hold what the table does", lambda: druid.sql(rows), [[6]], 60)
    return "rows that corrections took away are gone, with their segments"


def rows_of_others(platform, druid):
    """Somebody adds a row to what is ours: nothing of it is replaced."""
    row = {"__time": "2026-03-20T00:00:00Z", "ward": "Z", "doses": 1000}
    data = {"dataSource": "doses_daily", "timestampSpec": {"column": "__time", "format": "iso"}, "dimensionsSpec": {"dimensions": ["ward", "doses"]},
            "granularitySpec": {"segmentGranularity": "MONTH", "queryGranularity": "NONE", "rollup": False}}
    reads = {"type": "index", "inputSource": {"type": "inline", "data": json.dumps(row)}, "inputFormat": {"type": "json"}, "appendToExisting": True}
    task = druid.post("coordinator", "/druid/indexer/v1/task", {"type": "index", "spec": {
        "dataSchema": data, "ioConfig": reads, "tuningConfig": {"type": "index", "partitionsSpec": {"type": "dynamic"}}}})["task"]
    state = f"/druid/indexer/v1/task/{task}/status"
    until("somebody's row is there", lambda: druid.get("coordinator", state)["status"]["statusCode"], "SUCCESS", 120)
    until("it is loaded", lambda: druid.sql("SELECT COUNT(*) FROM doses_daily"), [[7]], 60)
    doses(platform, "2026-04-01", "2026-04-01,A,1")
    until("it is refused", lambda: standing(platform, "doses_daily")["state"], "refused", 180)
    need("somebody's row stays", druid.sql("SELECT COUNT(*) FROM doses_daily WHERE ward = 'Z'"), [[1]])
    return "rows of somebody else were refused"


def doses(platform, date, *rows):
    file = platform.folder / f"doses-{date}.csv"
    file.write_text("\n".join(["day,ward,doses", *rows, ""]))
    platform.command_line("ingest", "doses", file, "--business-date", date)
    platform.flush()


def same_doses(platform, druid, days, rows):
    asked = "SELECT {}, COUNT(*), SUM(doses), SUM(rounds) FROM {} GROUP BY 1 ORDER BY 1"
    of_ours = lambda: [[row[0][:10], *row[1:]] for row in platform.sql(asked.format('"day"', "serving.doses_daily"))]  # noqa: E731
    until("the roll-up follows", lambda: (len(of_ours()), sum(row[1] for row in of_ours())), (days, rows), 60)
    until("doses_daily is published", lambda: is_up_to_date(platform, "doses_daily"), ("published", True), 240)
    until("Druid's doses are ours", lambda: druid.sql(asked.format('"day"', "doses_daily")), of_ours(), 60)


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
