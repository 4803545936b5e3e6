"""The black-box checks of the acceptance folder, with the lake on Azurite, the records through Apache Kafka, or both."""
import contextlib
import os
import signal
import subprocess
import sys

from parts import Azurite, Failed, KafkaBroker, Skipped, Vitalake

CONTAINER = "spine"
SECONDS_MAX = 1800


def check(run, kafka=False, azurite=False):
    script = run.acceptance / "spine.py"
    if not script.exists():
        raise Skipped(f"no black-box checks, because {script} is not there: name the folder with --acceptance")
    with contextlib.ExitStack() as parts:
        arguments, settings = [], {}
        if azurite:
            blobs = parts.enter_context(Azurite(run.folder / "azurite"))
            blobs.create_container(CONTAINER)
            settings |= blobs.credentials()
            arguments += ["--storage", f"az://{CONTAINER}/lake"]
        if kafka:
            broker = parts.enter_context(KafkaBroker(run.folder / "kafka"))
            arguments += ["--bootstrap", broker.bootstrap]
        ask_whether_it_can(run, arguments, settings)
        status, said = spine([sys.executable, script, "--bin", run.binary, *arguments], {**os.environ, **settings}, run.folder / "spine.txt")
    lines = said.splitlines()
    if status or not lines:
        log = (run.folder / "spine.log").read_text(errors="replace")
        raise Failed("; ".join(line for line in lines if line.startswith("FAIL")) or (said + log)[-600:])
    return "; ".join(lines)


def spine(command, environment, output):
    """Runs the script; gives its exit status and what it said, without what its Kafka clients log beside it."""
    with open(output, "wb") as file, open(output.with_suffix(".log"), "wb") as log, \
            subprocess.Popen(command, stdout=file, stderr=log, env=environment) as process:
        try:
            process.wait(SECONDS_MAX)
        except BaseException:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started
            process.wait(60)
            raise
    return process.returncode, output.read_text()


def ask_whether_it_can(run, arguments, settings):
    """A binary without a part says so at start: skipped then, in its words."""
    named = dict(zip(arguments[::2], arguments[1::2]))
    if named:
        wanted = {"VITALAKE_STORAGE__URL": named.get("--storage"), "VITALAKE_KAFKA__BOOTSTRAP": named.get("--bootstrap")}
        settings = {**settings, **{name: value for name, value in wanted.items() if value}}
        with Vitalake(run.folder / "probe", run.binary, run.project("steps"), settings=settings, kafka="--bootstrap" not in named):
            pass
