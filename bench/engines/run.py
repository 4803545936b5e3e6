#!/usr/bin/env python3
"""The same work on each engine: raw → curated → serving in process and by Spark, and a dashboard's questions.

    run.py --bin PATH --loadgen PATH --data FOLDER [--sizes "1000000 10000000"] [--parts "transform questions"] [--docs]

Rows are made once per size and kept in FOLDER, and so is what was measured: a run that was stopped, or that had no more
time, goes on where it was (`--again` measures anew). Every step is a process of its own with a limit, killed with all that
it started when the limit is over; before `--minutes` are over no step begins that has not at least a minute. What could not
be measured is said, never left out. bench/README.md says more.
"""
import argparse
import datetime
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import tables  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("VITALAKE_TOOLS") or pathlib.Path.home() / ".cache/vitalake") / "systems"
TRANSFORMS = ("in process", "Spark batch", "models on Spark")
ASKED = ("vitalake", "Druid", "DuckDB", "chDB")
OTHERS = ("Spark batch", "Druid", "DuckDB", "chDB")
ROWS = ("load", "prepare")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="vitalake")
    parser.add_argument("--profile", default="release", help="how it was built, for the report")
    parser.add_argument("--commit", help="that it was built from, where it is not this tree's")
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--sizes", default="1000000 10000000", help="rows of the raw table that is transformed")
    parser.add_argument("--question-sizes", default="10000000 100000000", help="rows of the raw table that is asked about")
    parser.add_argument("--parts", default="transform questions")
    parser.add_argument("--transforms", default=", ".join(TRANSFORMS), help="which of them, with commas between")
    parser.add_argument("--engines", default=" ".join(ASKED), help="which are asked")
    parser.add_argument("--clients", default="1 32")
    parser.add_argument("--rounds", type=int, default=3, help="of each transform")
    parser.add_argument("--seconds", type=float, default=15, help="so long each number of clients asks each set of questions")
    parser.add_argument("--minutes", type=float, default=25, help="of the whole")
    parser.add_argument("--step-minutes", type=float, default=8, help="of one step")
    parser.add_argument("--spark-memory", default="3g")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--docs", action="store_true", help="fill the table of docs/engines.md")
    parser.add_argument("--shared", default="with nobody", help="with whom the cores were shared, for the report")
    return parser.parse_args()


def steps(options):
    """What is to be done, in an order in which the rows are there before they are needed."""
    if "transform" in options.parts:
        chosen = [name.strip() for name in options.transforms.split(",")]
        for size in map(int, options.sizes.split()):
            yield {"do": "load", "rows": size}
            # In turns, so that what else the machine does meets them alike.
            for turn in range(1, options.rounds + 1):
                for name in chosen:
                    yield {"do": "transform", "rows": size, "engine": name, "round": turn}
    if "questions" in options.parts:
        for size in map(int, options.question_sizes.split()):
            yield {"do": "load", "rows": size}
            yield {"do": "prepare", "rows": size}
            for engine in options.engines.split():
                yield {"do": "questions", "rows": size, "engine": engine, "clients": [int(n) for n in options.clients.split()]}


class Book:
    """What was measured, kept in the data folder. Of another binary of vitalake only what it had no part in counts."""

    def __init__(self, options):
        self.file, binary = options.data / "measured.json", pathlib.Path(options.bin).stat()
        self.binary = f"{binary.st_size} {binary.st_mtime_ns}"
        kept = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.kept = {key: result for key, result in kept.items() if self.binary == result.get("binary") or result.get("engine") in OTHERS or result["do"] in ROWS}

    @staticmethod
    def key(step):
        return " ".join(f"{name}={value}" for name, value in step.items())

    def has(self, step):
        return "failed" not in self.kept.get(self.key(step), {"failed": True})

    def keep(self, step, result):
        self.kept[self.key(step)] = {**step, **result, "binary": self.binary}
        self.file.write_text(json.dumps(self.kept, indent=1))


def processor_seconds():
    """Of the whole machine: busy, and in all."""
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4]) / ticks, sum(fields) / ticks


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(step, options, seconds):
    """One step as a process; gives what it found, with what the machine did beside it."""
    python = TOOLS / "spark/bin/python" if step.get("engine") == "Spark batch" else pathlib.Path(sys.executable)
    if not python.exists():
        return {"failed": f"{python} is not there: systems/install.sh spark"}
    words = {**step, "bin": options.bin, "loadgen": options.loadgen, "data": str(options.data), "tools": str(TOOLS),
             "seconds": options.seconds, "spark_memory": options.spark_memory}
    busy, whole, own = *processor_seconds(), children_seconds()
    begun = time.monotonic()
    with open(options.data / "step.log", "wb") as log:
        child = subprocess.Popen([python, HERE / "step.py", json.dumps(words)], stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True)
        try:
            out, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            out = None
        finally:
            end_group(child)
    busy_after, whole_after = processor_seconds()
    try:
        found = json.loads((out or "").strip().splitlines()[-1])
    except (IndexError, ValueError):
        found = None
    # What a step had to kill, such as a JVM, is nobody's child in the end: then its own account says more.
    used = max(children_seconds() - own, (found or {}).get("cpu", 0))
    others = max(0.0, busy_after - busy - used) / max(1e-9, whole_after - whole)
    beside = {"took": round(time.monotonic() - begun, 1), "others_percent": round(100 * others), "load": round(os.getloadavg()[0], 1),
              "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "profile": options.profile}
    if out is None:
        return {"failed": f"not done within {seconds:.0f} s", **beside}
    if found is not None:
        return {**found, **beside}
    words = (options.data / "step.log").read_text(errors="replace").strip().splitlines()
    return {"failed": " ".join(words[-3:])[-300:] if words else f"ended with {child.returncode}", **beside}


def end_group(child):
    """The step and what it started, which have a group of their own."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, how)
        except ProcessLookupError:
            break
        if how is signal.SIGTERM:
            time.sleep(0.5)
    child.wait()


def main():
    options = arguments()
    options.data.mkdir(parents=True, exist_ok=True)
    options.bin, options.loadgen, options.data = (str(pathlib.Path(options.bin).resolve()), str(pathlib.Path(options.loadgen).resolve()), options.data.resolve())
    book, end, wanted = Book(options), time.monotonic() + options.minutes * 60, list(steps(options))
    for step in wanted:
        name = " ".join(str(value) for value in step.values())
        if book.has(step) and not (options.again and step["do"] not in ROWS):
            print(f"{name}: is there", flush=True)
            continue
        left = end - time.monotonic()
        if left < 60:
            print(f"{name}: not begun, because the {options.minutes:g} minutes are over", flush=True)
            continue
        result = run(step, options, min(left, options.step_minutes * 60))
        book.keep(step, result)
        print(f"{name}: {tables.one(result)}", flush=True)
    report = tables.report(book.kept, options)
    print("\n" + report)
    tables.write(report, options)


if __name__ == "__main__":
    main()
