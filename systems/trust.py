"""The black-box checks of gates, alerts, quarantine and books, on a local lake and with the lake on Azurite."""
import contextlib
import os
import sys

import spine
from parts import Azurite, Failed, Skipped

CONTAINER = "trust"
# The script has no word for a lake elsewhere: its platform is given one.
DRIVER = """
import functools, sys
folder, storage = sys.argv[1], sys.argv[2]
sys.path.insert(0, folder)
sys.argv = ["trust.py", *sys.argv[3:]]
import trust
if storage:
    trust.Platform = functools.partial(trust.Platform, storage=storage)
trust.main()
"""


def check(run, azurite=False):
    script = run.acceptance / "trust.py"
    if not script.exists():
        raise Skipped(f"no black-box checks, because {script} is not there: name the folder with --acceptance")
    with contextlib.ExitStack() as parts:
        storage, settings = "", {}
        if azurite:
            blobs = parts.enter_context(Azurite(run.folder / "azurite"))
            blobs.create_container(CONTAINER)
            storage, settings = f"az://{CONTAINER}/lake", blobs.credentials()
            spine.ask_whether_it_can(run, ["--storage", storage], settings)
        command = [sys.executable, "-c", DRIVER, run.acceptance, storage, "--bin", run.binary]
        status, said = spine.spine(command, {**os.environ, **settings}, run.folder / "trust.txt")
    lines = said.splitlines()
    if status or not lines or any(line.startswith("FAIL") for line in lines):
        log = (run.folder / "trust.log").read_text(errors="replace")
        raise Failed("; ".join(line for line in lines if line.startswith("FAIL")) or (said + log)[-600:])
    return "; ".join(lines)
