"""Spark with Delta reads what vitalake wrote, after compaction and checkpoints; vitalake reads what Spark wrote.

The second half is a test of the lake, whose built test binary `--lake-tests` names; without it that half is skipped.
"""
import json
import os
import subprocess

from parts import Failed, SparkConnect, Vitalake, installed, need, until
from records import hourly, send

# More commits than lie between two checkpoints of a table, and than files that compaction joins.
COMMITS, ROUND_RECORDS = 105, 50
TABLES = {
    ("raw", "hourly_steps"): "steps", ("curated", "steps"): "steps", ("serving", "steps_daily"): "hours",
    ("quarantine", "hourly_steps"): "_offset", ("quarantine", "steps"): "_offset",
}


def check(run):
    with SparkConnect(run.folder / "spark") as spark:
        return f"{ours(run, spark)}; {theirs(run, spark)}"


def ours(run, spark):
    with Vitalake(run.folder / "vitalake", run.binary, run.project("steps")) as platform:
        fill(platform)
        paths = {key: str(platform.table(*key)) for key in TABLES}
        until("a checkpoint of raw and a compaction", lambda: kept(platform), True, 60)
        seen = client(spark, "read", *paths.values())
        for (layer, dataset), column in TABLES.items():
            got = seen[paths[layer, dataset]]
            sql = platform.row(f'SELECT COUNT(*), SUM("{column}") FROM {layer}.{dataset}')
            need(f"Spark on {layer}.{dataset}: rows, sum of {column}", (got["rows"], got["sums"][column]), sql)
            need(f"DESCRIBE HISTORY of {layer}.{dataset}: commits", got["commits"], got["version"] + 1)
        return "Spark reads {} tables of ours with the rows and sums that SQL gives, raw at version {} of {}".format(
            len(TABLES), *((raw := seen[paths["raw", "hourly_steps"]])["version"], ", ".join(raw["operations"])))


def fill(platform):
    """Many small commits; in each round some records that are broken, and some that say another value for a known key."""
    rounds, log = 0, platform.table("raw", "hourly_steps") / "_delta_log"
    while len(list(log.glob("*.json"))) < COMMITS:
        numbers = range(rounds * ROUND_RECORDS, (rounds + 1) * ROUND_RECORDS)
        rows = [hourly(f"s{i % 500}", i // 500, i % 97) for i in numbers]
        broken = [{**rows[0], "StepTotal": "many"}, {**rows[1], "StepTotal": 98}]
        send(platform.bootstrap, "hourly-steps", rows + broken)
        platform.flush()
        rounds += 1
    total = rounds * ROUND_RECORDS
    until("all of it is in raw", lambda: platform.row("SELECT COUNT(*) FROM raw.hourly_steps"), (total + rounds,))
    until("all of it is in curated", lambda: platform.row("SELECT COUNT(*) FROM curated.steps"), (total,))
    until("all of it is in serving", lambda: platform.row("SELECT SUM(hours) FROM serving.steps_daily_live"), (total,))
    platform.flush()


def kept(platform):
    """Whether maintenance has been at raw: a checkpoint, and a commit that changed no data."""
    log = platform.table("raw", "hourly_steps") / "_delta_log"
    return (log / "_last_checkpoint").exists() and any('"OPTIMIZE"' in file.read_text() for file in log.glob("*.json"))


def theirs(run, spark):
    if not run.lake_tests:
        return "vitalake on Spark's tables skipped: no test binary of the lake, because --lake-tests names none"
    folder = run.folder / "tables"
    folder.mkdir()
    made = client(spark, "write", folder)
    done = subprocess.run([run.lake_tests, "spark", "--nocapture"], env={**os.environ, "VITALAKE_SPARK_TABLES": str(folder)},
                          capture_output=True, text=True, timeout=300)
    if done.returncode or "skipped" in done.stdout:
        raise Failed(f"vitalake on Spark's tables: {done.stdout[-600:]} {done.stderr[-300:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("spark: ")]
    need("tables of Spark's that vitalake looked at", len(lines), len(made))
    return "vitalake on Spark's: " + ", ".join(line.removeprefix("spark: ") for line in lines)


def client(spark, *arguments):
    python = installed("spark") / "bin/python"
    done = subprocess.run([python, "spark_client.py", spark.remote, *map(str, arguments)], capture_output=True, text=True,
                          timeout=600, cwd=os.path.dirname(os.path.abspath(__file__)))
    if done.returncode:
        raise Failed(f"Spark: {done.stderr[-800:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
