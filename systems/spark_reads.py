"""Spark with Delta reads what vitalake wrote, after compaction and checkpoints, in a folder and on Azurite by Hadoop's own
driver for ADLS; vitalake reads what Spark wrote.

The last is a test of the lake, whose built test binary `--lake-tests` names; without it that half is skipped.
"""
import json
import os
import subprocess

from parts import Azurite, Failed, SparkConnect, Vitalake, installed, need, until
from records import hourly, send

# More commits than lie between two checkpoints of a table, and than files that compaction joins.
COMMITS, ROUND_RECORDS = 105, 50
RAW = ("raw", "hourly_steps")
CONTAINER, PREFIX = "spark", "one/lake-root"
TABLES = {
    RAW: "steps", ("curated", "steps"): "steps", ("serving", "steps_daily"): "hours",
    ("quarantine", "hourly_steps"): "_offset", ("quarantine", "steps"): "_offset",
}


def check(run):
    with SparkConnect(run.folder / "spark") as spark, Vitalake(run.folder / "vitalake", run.binary, run.project("steps")) as platform:
        read = ours(spark, platform, InFolder(platform))
        platform.stop()
        return f"{read}; {theirs(run, spark)}"


def on_azurite(run):
    with Azurite(run.folder / "azurite") as blobs, SparkConnect(run.folder / "spark", blobs) as spark:
        blobs.create_container(CONTAINER)
        settings = {"VITALAKE_STORAGE__URL": f"az://{CONTAINER}/{PREFIX}", **blobs.credentials()}
        with Vitalake(run.folder / "vitalake", run.binary, run.project("steps"), settings=settings) as platform:
            return f"{ours(spark, platform, OnAzurite(blobs))}, all by abfs from Azurite"


class InFolder:
    """Tables where Spark finds them, and raw's log."""

    def __init__(self, platform):
        self.path, self.log = lambda *key: str(platform.table(*key)), platform.table(*RAW) / "_delta_log"

    def names(self):
        return [file.name for file in self.log.glob("*")]

    def read(self, name):
        return (self.log / name).read_text()


class OnAzurite:
    """The same in a container."""

    def __init__(self, blobs):
        self.blobs, self.log = blobs, f"{PREFIX}/lake/{'/'.join(RAW)}/_delta_log/"

    def path(self, layer, dataset):
        return f"abfs://{CONTAINER}@{self.blobs.account}.dfs.core.windows.net/{PREFIX}/lake/{layer}/{dataset}"

    def names(self):
        return [name.removeprefix(self.log) for name in self.blobs.names(CONTAINER, self.log)]

    def read(self, name):
        return self.blobs.read(CONTAINER, self.log + name).decode()


def ours(spark, platform, lake):
    fill(platform, lake)
    paths = {key: lake.path(*key) for key in TABLES}
    until("a checkpoint of raw and a compaction", lambda: kept(lake), True, 60)
    seen = client(spark, "read", *paths.values())
    for (layer, dataset), column in TABLES.items():
        got = seen[paths[layer, dataset]]
        sql = platform.row(f'SELECT COUNT(*), SUM("{column}") FROM {layer}.{dataset}')
        need(f"Spark on {layer}.{dataset}: rows, sum of {column}", (got["rows"], got["sums"][column]), sql)
        need(f"DESCRIBE HISTORY of {layer}.{dataset}: commits", got["commits"], got["version"] + 1)
    return "Spark reads {} tables of ours with the rows and sums that SQL gives, raw at version {} of {}".format(
        len(TABLES), *((raw := seen[paths[RAW]])["version"], ", ".join(raw["operations"])))


def fill(platform, lake):
    """Many small commits; in each round some records that are broken, and some that say another value for a known key."""
    rounds = 0
    while len(commits(lake)) < COMMITS:
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


def commits(lake):
    return [name for name in lake.names() if name.endswith(".json")]


def kept(lake):
    """Whether maintenance has been at raw: a checkpoint, and a commit that changed no data."""
    return "_last_checkpoint" in lake.names() and any('"OPTIMIZE"' in lake.read(name) for name in commits(lake))


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
