"""Models of every kind on a real Spark, by Spark Connect, beside the same models in the process.

Two platforms take the same records in four parts. One has all its models here; the other begins on Spark, loses it by a
power cut while the second part comes, goes on when it is back, does the third without Spark and the fourth with it again.
Both must have the same tables in the end, but for the moment at which a record came.
"""
import contextlib
import json
import shutil

from deltalake import DeltaTable

import clinic
from parts import Failed, Vitalake, need, until
from parts_spark import CutSpark

TOPICS = {"wearable-readings": clinic.readings, "app-events": clinic.app_events}
PARTS = 4
# What differs between any two runs: when the broker took a record, and when a row was refused.
OF_THE_RUN = ("_ingested_at", "_quarantined_at")


def check(run):
    project = clinic.project(run)
    shutil.copytree(run.here / "spark_models", project, dirs_exist_ok=True)
    spark, here = CutSpark(run.folder / "spark"), Vitalake(run.folder / "here", run.binary, project)
    there = Vitalake(run.folder / "there", run.binary, project, settings={"VITALAKE_ENGINES__TRANSFORM": spark.remote})
    with contextlib.ExitStack() as parts:
        for part in (spark, here, there):
            parts.enter_context(part)
        for platform in (here, there):
            deliver(platform)
        bring(here, there, 0)
        for platform in (here, there):
            settle(platform, 1)
        ran = jobs(spark, there)
        said = cut(spark, here, there)
        move(there, {}, "datafusion")
        bring(here, there, 2)
        settle(there, 3)
        move(there, {"VITALAKE_ENGINES__TRANSFORM": spark.remote}, "spark")
        for platform in (here, there):
            deliver(platform, without_last=True)
        bring(here, there, 3)
        for platform in (here, there):
            settle(platform, 4)
        counts = until("the tables are the same", lambda: same(here, there), lambda counts: bool(counts), 120)
        need("what is away in the end", status(there).get("away", []), [])
    return f"{len(counts)} tables the same, {sum(counts.values())} rows; jobs by Spark's own account: {ran}; while Spark was away: {said}"


def deliver(platform, without_last=False):
    """What the clinic delivers; the second time a patient less, and one in another cohort."""
    for dataset in ("patients", "device_assignments"):
        content = (platform.project / f"deliveries/{dataset}.csv").read_bytes()
        if without_last and dataset == "patients":
            *lines, _ = content.strip().splitlines()
            content = b"\n".join(lines) + b"\n"
        elif without_last:
            continue
        clinic.deliver(platform, dataset, content)
    clinic.deliver(platform, "charges", clinic.charges(), "ndjson")


def bring(here, there, part):
    """One part of all records, to both; in the order of the whole, so that each partition is the same."""
    for topic, made in TOPICS.items():
        records = made()
        size = -(-len(records) // PARTS)
        for platform in (here, there):
            clinic.send(platform.bootstrap, topic, records[part * size:(part + 1) * size])


def settle(platform, parts):
    """Until that many parts have come through all layers."""
    for topic, made in TOPICS.items():
        records = made()
        total, table = min(len(records), parts * -(-len(records) // PARTS)), topic.replace("-", "_")
        until(f"{topic} is in raw", lambda: platform.row(f"SELECT COUNT(*) FROM raw.{table}"), (total,))
    until("readings are in curated or quarantine", lambda: clinic.settled(platform, "vitals", "wearable_readings"), True, 120)
    until("events are in curated or quarantine", lambda: clinic.settled(platform, "app_activity", "app_events"), True, 120)
    until("every row is in serving", lambda: derived(platform), True, 120)


def derived(platform):
    sums = ("SELECT (SELECT SUM(readings) FROM serving.vitals_daily) - (SELECT COUNT(*) FROM curated.vitals), "
            "(SELECT SUM(events) FROM serving.screens) - (SELECT COUNT(*) FROM curated.app_activity)")
    return clinic.derived(platform) and platform.row(sums) == (0, 0)


def status(platform):
    """What `vitalake status` says, also where not all is well."""
    return json.loads(platform.run("status", "--json")[1])


def models(platform):
    return [dataset for dataset in status(platform)["datasets"] if dataset["model"]]


# Whose statements have joins or groups. What is one table without groups, as upserts are, Spark computes while it plans, without a job.
WITH_JOBS = ("app_activity", "engagement_daily", "screens", "vitals", "vitals_daily")


def jobs(spark, there):
    """How many jobs Spark itself says that it has run of each model."""
    counts = {model["dataset"]: len(spark.jobs(model["dataset"])) for model in models(there)}
    need("models of which Spark ran nothing", [name for name in WITH_JOBS if not counts[name]], [])
    return counts


def cut(spark, here, there):
    """Spark is killed while records come, and is back later; gives what was said of it meanwhile."""
    before = there.row("SELECT COUNT(*) FROM curated.vitals")
    bring(here, there, 1)
    spark.kill()
    # A statement that ran then is asked for again for a while before its model says so.
    until("a model says that it is stalled", lambda: [model for model in models(there) if model["state"] == "stalled"], bool, 240)
    away = [part for part in status(there)["away"] if "spark" in part["part"].lower()]
    need("parts that are Spark and away", len(away), 1)
    need("models that have failed", [model for model in models(there) if model["state"] == "failed"], [])
    settle(here, 2)
    if there.row("SELECT COUNT(*) FROM curated.vitals") < before:
        raise Failed("rows of curated.vitals are gone while Spark is away")
    spark.start()
    settle(there, 2)
    until("Spark is not away any longer", lambda: status(there)["away"], [])
    return f"{away[0]['part']}: {away[0]['reason']}"


def move(platform, settings, engine):
    """Starts it again with all models on the other engine."""
    platform.stop()
    platform.settings = settings
    platform.start()
    need("the engines of models", {model["engine"] for model in models(platform)}, {engine})


def same(here, there):
    """How many rows each table has; raises what differs."""
    for platform in (here, there):
        platform.flush()
    found = [{str(log.parent.relative_to(platform.data / "lake")): log.parent for log in (platform.data / "lake").glob("*/*/_delta_log")}
             for platform in (here, there)]
    need("tables", sorted(found[1]), sorted(found[0]))
    counts = {}
    for name in sorted(found[0]):
        if not name.startswith(("curated/", "serving/", "quarantine/")):
            continue
        one, other = (rows(tables[name]) for tables in found)
        if one != other:
            lacks, more = [row for row in one if row not in other], [row for row in other if row not in one]
            raise Failed(f"{name}: {len(one)} rows here, {len(other)} by Spark; not by Spark: {lacks[:2]}; by Spark alone: {more[:2]}")
        counts[name] = len(one)
    return counts


def rows(folder):
    """All rows as text, sorted; sums of doubles to twelve digits, since each engine adds in its own order."""
    table = DeltaTable(str(folder)).to_pyarrow_table()
    table = table.drop_columns([name for name in OF_THE_RUN if name in table.schema.names])
    plain = lambda value: f"{value:.12g}" if isinstance(value, float) else value
    kinds = str(sorted((field.name, str(field.type)) for field in table.schema))
    return [kinds, *sorted(str({name: plain(value) for name, value in row.items()}) for row in table.to_pylist())]
