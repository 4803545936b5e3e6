"""Topics that a real Druid streams in by itself: its supervisor reads our Kafka endpoint, follows the contract, and ends with
its dataset; a question over what is published and what streams. Beside it a Druid without a free place."""
import json
import urllib.error

from druid import HOURLY, PROJECT, contract_of, deliver, project, same_answers, settings, simulate, standing
from parts import Failed, Vitalake, need, until
from parts_druid import Druid

RAW, LIVE = "raw.wearable_readings", "wearable_readings_live"
READINGS = "COUNT(*), COUNT(heart_rate), SUM(heart_rate), SUM(steps), MIN(__time), MAX(__time), COUNT(recorded_at)"
# What is published up to its last hour, and that hour and what follows as it streams.
BOTH = f"""SELECT TIME_FLOOR(__time, 'PT1H') AS "hour", SUM(readings) AS readings FROM {HOURLY}
WHERE __time < (SELECT MAX(__time) FROM {HOURLY}) GROUP BY 1
UNION ALL
SELECT TIME_FLOOR(__time, 'PT1H') AS "hour", COUNT(*) AS readings FROM {LIVE}
WHERE __time >= (SELECT MAX(__time) FROM {HOURLY}) GROUP BY 1"""
PLACES, HELD_MS = 3, 40_000
# A record that comes twice is streamed in twice.
ONCE = ["--duplicate", "0"]


def check(run):
    with Druid(run.folder / "druid") as druid:
        told = {**settings(druid), "VITALAKE_ENGINES__DRUID__LIVE": "wearable_readings, notes", "VITALAKE_ENGINES__DRUID__LIVE_DAYS": "36500"}
        folder = project(run.folder / "vitalake")
        notes = contract_of("notes", 42, ["note string", "number integer"], ["topic: notes"])
        (folder / "project/contracts/raw/notes.yaml").write_text(notes)
        with Vitalake(folder, run.binary, PROJECT, settings=told) as platform:
            deliver(platform)
            said = [streams(platform, druid), timeless(platform, druid), full(platform, druid), changed(platform, druid), restarted(platform, druid),
                    ended(platform, druid)]
        return "; ".join(said)


def streams(platform, druid):
    simulate(platform, "2026-03-01T00:00:00Z", 1000, 1, *ONCE)
    simulate(platform, "2026-03-01T05:00:00Z", 1000, 1, *ONCE)
    rows = same_readings(platform, druid)
    need("hours published", same_answers(platform, druid), 2)
    asked = f'SELECT date_trunc(\'hour\', "hour"), SUM(readings) FROM serving.{HOURLY} GROUP BY 1'
    ours = sorted([row[0][:19], row[1]] for row in platform.sql(asked))
    until("a question over both has our answer", lambda: sorted([row[0][:19], row[1]] for row in druid.sql(BOTH)), ours, 60)
    need("status names it", "streaming" in platform.command_line("druid", "status"), True)
    return f"{rows} records streamed in, and a question over them and what is published has our answer"


def same_readings(platform, druid):
    until("it streams", lambda: standing(platform, LIVE)["state"], "streaming", 120)
    ours = platform.sql(f"SELECT {READINGS} FROM {RAW}")
    need("there are readings", ours[0][0] > 0, True)
    until("Druid's readings are ours", lambda: druid.sql(f"SELECT {READINGS} FROM {LIVE}"), ours, 90)
    return ours[0][0]


def timeless(platform, druid):
    """A contract without a time: rows are at the time of their records."""
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": platform.bootstrap})
    for number in range(10):
        producer.produce("notes", json.dumps({"note": f"note {number}", "number": number}), timestamp=1_770_000_000_000 + number)
    need("records that were not taken", producer.flush(30), 0)
    until("notes stream", lambda: standing(platform, "notes_live")["state"], "streaming", 120)
    asked = "SELECT COUNT(*), SUM(number), MIN({}), MAX({}) FROM {}"
    until("they are in the table", lambda: platform.sql("SELECT COUNT(*) FROM raw.notes"), [[10]], 30)
    ours = platform.sql(asked.format("_timestamp", "_timestamp", "raw.notes"))
    until("Druid's notes are ours", lambda: druid.sql(asked.format("__time", "__time", "notes_live")), ours, 60)
    return "rows without a time of their own are at their records'"


def full(platform, druid):
    """The supervisors have a place each; somebody's task takes the last one."""
    tasks = [druid.post("coordinator", "/druid/indexer/v1/task", {"type": "noop", "runTime": HELD_MS})["task"] for _ in range(PLACES - 2)]
    until("no place is free", lambda: [druid.get("coordinator", f"/druid/indexer/v1/task/{task}/status")["status"]["runnerStatusCode"]
                                       for task in tasks], ["RUNNING"] * len(tasks), 60)
    simulate(platform, "2026-03-02T00:00:00Z", 500, 2)
    until("it is told", lambda: standing(platform)["message"], lambda words: "no free place" in words, 60)
    same_readings(platform, druid)
    same_answers(platform, druid)
    return "a Druid without a free place was told of, and caught up with"


def changed(platform, druid):
    """A contract gains a column: the same supervisor reads it, from where it was."""
    contract = platform.project / "contracts/raw/wearable_readings.yaml"
    lines = contract.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("slaProperties"))
    lines[at:at] = ["      - name: firmware", "        logicalType: string", "        description: Of the device."]
    platform.stop()
    contract.write_text("\n".join([*lines, ""]))
    platform.start()
    until("the supervisor knows the column", lambda: columns(druid), lambda names: "firmware" in names, 60)
    simulate(platform, "2026-03-03T00:00:00Z", 500, 3)
    same_readings(platform, druid)
    return "a changed contract changed the supervisor, and each record is there once"


def restarted(platform, druid):
    """The brokers go away with us, and are there again."""
    version = druid.sql(f"SELECT COUNT(*) FROM {LIVE}")
    platform.kill()
    platform.start()
    simulate(platform, "2026-03-04T00:00:00Z", 500, 4)
    same_readings(platform, druid)
    need("more than before", druid.sql(f"SELECT COUNT(*) FROM {LIVE}") > version, True)
    return "it streams over a restart"


def ended(platform, druid):
    platform.stop()
    platform.settings["VITALAKE_ENGINES__DRUID__LIVE"] = "none"
    platform.start()
    until("the supervisor is ended", lambda: supervisor(druid), None, 60)
    need("no report of it", [report for report in json.loads(platform.get("/api/v1/druid")[1]) if report["datasource"] == LIVE], [])
    return "and ended when it was named no longer"


def columns(druid):
    there = supervisor(druid)
    if not there:  # Druid takes the old one away before the new one is there.
        raise Failed("there is no supervisor now")
    return [column["name"] for column in there["spec"]["dataSchema"]["dimensionsSpec"]["dimensions"]]


def supervisor(druid):
    try:
        return druid.get("coordinator", f"/druid/indexer/v1/supervisor/{LIVE}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise Failed(f"the supervisor: HTTP {error.code}") from None
