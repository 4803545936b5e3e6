"""The clinic's questions, asked of our endpoint and of every engine that reads the same tables: all answers are equal.

Values are compared as each engine can hold them (same_values.py says how, and why), types are those that stand there, and
order is compared where a question gives one. Ours is compared with each of the others, never with itself.
"""
import clinic
import same_engines
import same_values
from clinic_questions import QUESTIONS
from parts import Failed, SparkConnect, need

TABLES = ("serving.vitals_hourly", "serving.engagement_daily", "serving.care_charges", "curated.vitals", "raw.wearable_readings",
          "raw.patients", "quarantine.vitals")


def check(run):
    """Over the Delta tables: DuckDB, Spark, delta-rs and pyarrow."""
    with clinic.start(run) as platform:
        clinic.fill(platform)
        ours = same_engines.DruidSql(platform.server)
        tables = {table: platform.table(*table.split(".")) for table in TABLES}
        answers = {question.title: plain(ours, question) for question in QUESTIONS}
        worth_asking(answers)
        with SparkConnect(run.folder / "spark") as spark:
            by_spark = same_engines.Spark(spark, tables, run.folder / "asked", QUESTIONS)
        said = [compare(answers, engine, QUESTIONS) for engine in (same_engines.DuckDb(tables), by_spark, same_engines.DeltaRs(tables))]
        stored = [question for question in QUESTIONS if question.title.startswith("the whole table")]
        said.append(compare(answers, same_engines.PyArrow(tables), stored))
    return "our endpoint and " + ", ".join(said) + ": the same values and types"


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
            differs = same_values.difference(answers[question.title], rows, bool(question.order))
        except Exception as error:  # noqa: BLE001: an engine's refusal is a difference, of whatever kind it is
            differs = f"{type(error).__name__}: {error}"
        if differs:
            differences.append(f"{question.title}: {differs}")
    if differences:
        raise Failed(f"{engine.name} differs from our endpoint in {len(differences)} of {len(questions)}: {'; '.join(differences)}")
    return f"{engine.name} ({len(questions)})"


def published(questions=QUESTIONS):
    """Those that need serving alone."""
    return [question for question in questions if question.table.startswith("serving.")]
