"""The clinic's questions, asked of our endpoint and of every engine that reads the same tables: all answers are equal.

Values are compared as each engine can hold them (same_values.py says how, and why), types are those that stand there, and
order is compared where a question gives one. Ours is compared with each of the others, never with itself.
"""
import contextlib
import importlib

import clinic
import same_engines
import same_values
from clinic_questions import QUESTIONS
from parts import Failed, Skipped, SparkConnect, need, until

TABLES = ("serving.vitals_hourly", "serving.engagement_daily", "serving.care_charges", "curated.vitals", "raw.wearable_readings",
          "raw.patients", "quarantine.vitals")


def check(run):
    """Over the Delta tables: DuckDB, Spark, delta-rs and pyarrow."""
    with asked(run) as (platform, answers):
        tables = {table: platform.table(*table.split(".")) for table in TABLES}
        with SparkConnect(run.folder / "spark") as spark:
            by_spark = same_engines.Spark(spark, tables, run.folder / "asked", QUESTIONS)
        said = [compare(answers, engine, QUESTIONS) for engine in (same_engines.DuckDb(tables), by_spark, same_engines.DeltaRs(tables))]
        stored = [question for question in QUESTIONS if question.title.startswith("the whole table")]
        said.append(compare(answers, same_engines.PyArrow(tables), stored))
    return "our endpoint and " + ", ".join(said) + ": the same values and types"


def by_superset(run):
    """What a chart of Superset shows, over our endpoint: the same as SQL.

    A chart has one table, so joins are not asked; nor is quarantine, whose table has the name of a curated one, which
    Superset does not take on SQLite.
    """
    parts_superset = part("parts_superset")
    with asked(run) as (platform, answers), parts_superset.Superset(run.folder / "superset") as superset:
        charts = [question for question in QUESTIONS if "{" not in question.table and not question.table.startswith("quarantine.")]
        engine = same_engines.Superset(superset, f"127.0.0.1:{platform.http_port}", {question.table for question in charts})
        return f"our endpoint and charts of {compare(answers, engine, charts)}: the same values"


def by_druid(run):
    """A real Druid that the platform has published to. Only serving is published; stored truth values and dates are as it can hold them."""
    with part("parts_druid").Druid(run.folder / "druid") as druid, asked(run, druid.settings()) as (_, answers):
        known = [question for question in QUESTIONS if question.table.startswith("serving.")]
        engine = same_engines.DruidSql(druid.url("broker"), "Druid", "druid-stored", lambda table: f'"{table.split(".")[1]}"')
        hours, charges = len(answers["the whole table of hours"]), len(answers["the whole table of charges"])
        for table, rows in (("vitals_hourly", hours), ("care_charges", charges)):
            until(f"Druid has all of {table}", lambda table=table: druid.sql(f"SELECT COUNT(*) FROM {table}"), [[rows]], 240)
        events = sum(row[1] for row in answers["the app a day"])
        until("Druid has all of engagement_daily", lambda: druid.sql("SELECT SUM(events) FROM engagement_daily"), [[events]], 240)
        return f"our endpoint and a real {compare(answers, engine, known)} that it published to: the same values, and types as Druid stores them"


def part(name):
    """A module of systems/ that starts one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Skipped(f"{error.name} is not there") from None


@contextlib.contextmanager
def asked(run, settings=None):
    """The platform with the clinic's rows, and its own answers."""
    with clinic.start(run, settings) as platform:
        clinic.fill(platform)
        ours = same_engines.DruidSql(platform.server)
        answers = {question.title: plain(ours, question) for question in QUESTIONS}
        worth_asking(answers)
        yield platform, answers


def plain(engine, question):
    try:
        return same_values.read(engine.ask(question), question.kinds())
    except (Failed, ValueError) as error:
        raise Failed(f"{engine.name}, {question.title}: {error}") from None


def worth_asking(answers):
    """That no answer is equal because nothing is there: of all questions one alone is about nobody."""
    empty = [title for title, rows in answers.items() if not rows or all(cell in (None, 0) for row in rows for cell in row)]
    need("questions whose answer says nothing", empty, ["of nobody"])
    need("hours that serving has", len(answers["the whole table of hours"]), answers["how many hours of how many readings"][0][0])


def compare(answers, engine, questions):
    """Every question, so that all differences are told at once; gives how many were alike."""
    differences = []
    for question in questions:
        try:
            rows = same_values.read(engine.ask(question), question.kinds())
            differs = same_values.difference(engine.name, question.kinds(), answers[question.title], rows, bool(question.order))
        except Exception as error:  # noqa: BLE001: an engine's refusal is a difference, of whatever kind it is
            differs = f"{type(error).__name__}: {error}"
        if differs:
            differences.append(f"{question.title}: {differs}")
    if differences:
        raise Failed(f"{engine.name} differs from our endpoint in {len(differences)} of {len(questions)}: {'; '.join(differences)}")
    return f"{engine.name} ({len(questions)})"

