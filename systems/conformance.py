"""The conformance suite: the tests of the models' crate ask a real Spark what they ask DataFusion, and Spark's own log of events
says that it ran what the suite counts as its answers.
"""
import json
import os
import pathlib
import re
import subprocess

from parts import Failed, Skipped
from parts_spark import CutSpark

TAG = "conformance"
TESTS = ("every_function", "groups", "tables_of_every_kind", "expressions_within_expressions_give_on_spark")
SUITE_SECONDS = 1800


def check(run):
    if not run.process_tests:
        raise Skipped("no test binary of the models' crate, because --process-tests names none")
    events = run.folder / "events"
    events.mkdir()
    logged = {"spark.eventLog.enabled": "true", "spark.eventLog.compress": "false", "spark.eventLog.rolling.enabled": "false",
              "spark.eventLog.dir": events.as_uri()}
    with CutSpark(run.folder / "spark", **logged) as spark:
        said = suite(run, spark.remote)
    answered = sum(int(count) for count in re.findall(r"Spark answered (\d+) statements", said))
    finished = operations(events)
    if not answered or finished < answered:
        raise Failed(f"the suite counts {answered} answers of Spark's, and Spark's own log has {finished} finished operations of it")
    figures = [line.removeprefix("conformance: ") for line in said.splitlines() if line.startswith("conformance: ") and "equal" in line]
    return f"{'; '.join(figures)}; {answered} statements answered, {finished} finished by Spark's own log"


def suite(run, remote):
    """Runs the tests; gives what they say."""
    environment = {**os.environ, "VITALAKE_SPARK": remote, "VITALAKE_CONFORMANCE_REPORT": str(run.folder / "report")}
    done = subprocess.run([run.process_tests, "conformance", "--nocapture"], env=environment, capture_output=True, text=True,
                          cwd=pathlib.Path(run.here).parent / "crates/process", timeout=SUITE_SECONDS)
    said = done.stdout + done.stderr
    (run.folder / "suite.txt").write_text(said)
    ran = [test for test in TESTS if re.search(rf"test conformance\S*::{test}\S* \.\.\.", said)]
    if done.returncode or "skipped:" in said or len(ran) < len(TESTS):
        lines = [line for line in said.splitlines() if line.startswith(("different", "thread", "skipped:"))]
        raise Failed(f"the suite says: {' / '.join(lines)[-800:] or said[-800:]}")
    return said


def operations(events):
    """How many operations with the suite's tag Spark has finished, by its own log."""
    tagged, finished = set(), set()
    for file in events.iterdir():
        for line in file.read_text().splitlines():
            if "SparkListenerConnectOperation" not in line:
                continue
            event = json.loads(line)
            kind, operation = event["Event"].rsplit(".", 1)[-1], event["operationId"]
            if kind == "SparkListenerConnectOperationStarted" and TAG in event["sparkSessionTags"]:
                tagged.add(operation)
            elif kind == "SparkListenerConnectOperationFinished":
                finished.add(operation)
    return len(tagged & finished)
