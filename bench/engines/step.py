"""One step of bench/engines, in a process of its own: prints what it found as JSON.

A step is given as JSON: what to do, how many rows, and where everything is. It leaves nothing behind but rows that a later
step needs, and those only whole: a folder is given its name once it is complete.
"""
import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

# What is in the table is not kept in the log too: of 100 million rows that would be 20 GB.
LOG_SETTINGS = {"VITALAKE_LOG__RETENTION_BYTES": str(32 << 20)}



def main():
    step = json.loads(sys.argv[1])
    os.environ.update(LOG_SETTINGS)
    if step["do"] == "load":
        found = load(step)
    elif step["do"] == "transform":
        import transform
        found = transform.run(step)
    elif step["do"] == "prepare":
        found = prepare(step)
    else:
        import ask
        found = ask.run(step)
    print(json.dumps(found))


def folder(step, what):
    return pathlib.Path(step["data"]) / f"{step['rows']}-{what}"


def load(step):
    """The raw table, through the platform; kept for every other step."""
    import argparse

    import questions
    from server import Server

    raw = folder(step, "raw")
    if raw.exists():
        return {"kept": True}
    part = pathlib.Path(f"{raw}.part")
    shutil.rmtree(part, ignore_errors=True)
    server = Server(step["bin"], str(HERE.parent / "project/raw"), str(part))
    server.start()
    try:
        questions.load(argparse.Namespace(rows=step["rows"], loadgen=step["loadgen"], batches=64), server)
        rows = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"]
    finally:
        server.stop()
    part.rename(raw)
    return {"sent": rows}


def prepare(step):
    """The derived tables for the questions, as a transform in process leaves them."""
    import transform

    made = folder(step, "pipeline")
    if made.exists():
        return {"kept": True}
    part = pathlib.Path(f"{made}.part")
    found = transform.in_process({**step, "keep": str(part)})
    part.rename(made)
    return found


if __name__ == "__main__":
    main()
