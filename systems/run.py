#!/usr/bin/env python3
"""Runs the checks against the real systems and prints what passed, failed or was skipped, and why.

    run.py --bin PATH/vitalake [--only java,faults] [--keep] [--acceptance DIR] [--lake-tests PATH] [--process-tests PATH]

Each check has a folder of its own; that of a failed one is kept, and said. Exit status: the number of checks that failed.
"""
import argparse
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import api  # noqa: E402
import conformance  # noqa: E402
import druid  # noqa: E402
import druid_attacks  # noqa: E402
import druid_live  # noqa: E402
import faults  # noqa: E402
import feeds  # noqa: E402
import java_client  # noqa: E402
import names  # noqa: E402
import oauth_kafka  # noqa: E402
import postgres  # noqa: E402
import roles  # noqa: E402
import same_answers  # noqa: E402
import secure_kafka  # noqa: E402
import spark_attacks  # noqa: E402
import spark_faults  # noqa: E402
import spark_models  # noqa: E402
import spark_reads  # noqa: E402
import spine  # noqa: E402
import surfaces  # noqa: E402
import superset  # noqa: E402
import superset_attacks  # noqa: E402
import superset_hands  # noqa: E402
import superset_ways  # noqa: E402
import superset_wire  # noqa: E402
import telemetry  # noqa: E402
import topic_anew  # noqa: E402
import trust  # noqa: E402
import waits  # noqa: E402
import wire  # noqa: E402
from parts import Failed, Skipped  # noqa: E402

CHECKS = {
    "java": java_client.check,
    "names": names.check,
    "names-log-ins": names.log_ins,
    "api": api.check,
    "policy-surfaces": surfaces.check,
    "druid": druid.check,
    "druid-live": druid_live.check,
    "druid-attacked": druid_attacks.check,
    "superset": superset.check,
    "superset-attacked": superset_attacks.check,
    "superset-by-hand": superset_hands.check,
    "superset-access": superset.by_token,
    "superset-tls": superset_ways.by_tls,
    "superset-druid": superset_ways.by_druid,
    "superset-wire": superset_wire.check,
    "spark": spark_reads.check,
    "spark-azurite": spark_reads.on_azurite,
    "spark-models": spark_models.check,
    "spark-faults": spark_faults.check,
    "spark-attacked": spark_attacks.check,
    "conformance": conformance.check,
    "spine-local": spine.check,
    "spine-azurite": lambda run: spine.check(run, azurite=True),
    "spine-kafka": lambda run: spine.check(run, kafka=True),
    "spine-kafka-azurite": lambda run: spine.check(run, kafka=True, azurite=True),
    "telemetry-receiver": telemetry.receiver,
    "telemetry-away": telemetry.away,
    "telemetry-promtool": telemetry.promtool,
    "trust-local": trust.check,
    "trust-azurite": lambda run: trust.check(run, azurite=True),
    "faults-azurite-away": faults.azurite_away,
    "faults-azurite-hangs": faults.azurite_hangs,
    "faults-kafka-away": faults.kafka_away,
    "faults-azurite-refuses": faults.azurite_refuses,
    "faults-both-storage-first": lambda run: faults.both_away(run, storage_first=True),
    "faults-both-kafka-first": lambda run: faults.both_away(run, storage_first=False),
    "feeds-azurite": feeds.on_azurite,
    "feeds-postgres": postgres.feed,
    "postgres-wire": wire.postgres,
    "postgres-secured": wire.secured,
    "flight-sql": wire.flight,
    "oauth-kafka": oauth_kafka.check,
    "topic-anew": topic_anew.check,
    "waits-container": waits.container,
    "waits-topics": waits.topics,
    "waits-not": waits.refused_for_good,
    "roles-one-killed": roles.one_killed,
    "roles-one-paused": roles.one_paused,
    "roles-replica": roles.replica,
    "roles-fresh": roles.fresh,
    "roles-spare": roles.spare,
    "roles-killed-without-storage": roles.killed_without_storage,
    "roles-broker-restarts": roles.broker_restarts,
    "same-answers": same_answers.check,
    "same-answers-druid": same_answers.by_druid,
    "same-answers-superset": same_answers.by_superset,
    "secure-plain": lambda run: secure_kafka.let_in(run, secure_kafka.SecureBroker.by_plain),
    "secure-scram": lambda run: secure_kafka.let_in(run, secure_kafka.SecureBroker.by_scram),
    "secure-mutual": lambda run: secure_kafka.let_in(run, secure_kafka.SecureBroker.by_certificate),
    "secure-topics-made": secure_kafka.topics_made,
    "secure-shut-out": secure_kafka.shut_out,
    "secure-shut-out-later": secure_kafka.shut_out_later,
    "secure-topic-anew-stopped": secure_kafka.made_anew_while_stopped,
    "secure-topic-anew-running": secure_kafka.made_anew_while_running,
}


class Run:
    """What a check is given: the binary, projects, and a folder of its own."""

    here = HERE

    def __init__(self, name, arguments):
        self.binary, self.acceptance = arguments.bin.resolve(), arguments.acceptance.resolve()
        self.lake_tests = arguments.lake_tests and arguments.lake_tests.resolve()
        self.process_tests = arguments.process_tests and arguments.process_tests.resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"vitalake-systems-{name}-"))

    def project(self, name):
        """A project of the acceptance folder, to be copied."""
        folder = self.acceptance / name
        if not folder.is_dir():
            raise Skipped(f"no project {name}, because {folder} is not there: name the folder with --acceptance")
        return folder


def one(name, arguments):
    """Runs one check; gives its verdict and what it says."""
    run = Run(name, arguments)
    keep = arguments.keep
    try:
        return "PASS", CHECKS[name](run)
    except Skipped as reason:
        return "SKIP", f"skipped: {reason}"
    except Exception as error:
        keep = True
        (run.folder / "traceback.txt").write_text(traceback.format_exc())
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        return "FAIL", f"{kind}{error} (everything is in {run.folder})"
    finally:
        if not keep:
            shutil.rmtree(run.folder, ignore_errors=True)


def chosen(text):
    """The checks that are named, or whose names begin so: `faults` is all faults."""
    names = []
    for word in text.split(","):
        found = [name for name in CHECKS if name == word or name.startswith(f"{word}-")]
        if not found:
            raise argparse.ArgumentTypeError(f"no check {word}; there are {', '.join(CHECKS)}")
        names += found
    return list(dict.fromkeys(names))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--only", type=chosen, default=list(CHECKS), help="names, or how they begin, with commas between")
    parser.add_argument("--keep", action="store_true", help="keep the folders of checks that passed")
    parser.add_argument("--acceptance", type=pathlib.Path, default=HERE.parent.parent / "shared/acceptance")
    parser.add_argument("--lake-tests", type=pathlib.Path, help="the lake's built test binary, which reads Spark's tables")
    parser.add_argument("--process-tests", type=pathlib.Path, help="the models' built test binary, with the conformance suite")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # so that the parts are ended
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    verdicts = []
    for name in arguments.only:
        began = time.monotonic()
        verdict, words = one(name, arguments)
        verdicts.append(verdict)
        print(f"{verdict}  {name:<28} {time.monotonic() - began:>5.0f} s  {' '.join(str(words).split())}", flush=True)
    counts = {word: verdicts.count(verdict) for word, verdict in (("passed", "PASS"), ("failed", "FAIL"), ("skipped", "SKIP"))}
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    sys.exit(counts["failed"])


if __name__ == "__main__":
    main()
