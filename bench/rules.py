#!/usr/bin/env python3
"""What ten rules a row cost on the way into raw, one of them in SQL, beside none.

    rules.py --bin PATH/vitalake --loadgen PATH/loadgen [--events 2000000] [--pairs 5]

The same events into the same columns, by turns in one run: without a rule, with ten built-in ones, with nine of these and a rule
in SQL, and with a pattern among ten (the everyday profile does not optimise regular expressions). CPU is the server's user and system time from the first event to the commit of the last; rows must equal what was sent.
"""
import argparse, re, shutil, statistics, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server import Server

ROOT = Path(__file__).resolve().parent
SQL = "    quality:\n      - {id: plausible, type: sql, query: 'SELECT COUNT(*) FROM {object} WHERE heart_rate > 240 AND steps > 15000', mustBe: 0}\n"
KINDS = ("none", "ten, none a pattern", "nine of these and one in SQL", "ten, one a pattern")


def contract(kind):
    """The load generator's contract with exactly these rules: three required, five ranges, and lengths or a pattern."""
    text = (ROOT / "project/raw/contracts/raw/readings.yaml").read_text()
    text = text.replace("        logicalTypeOptions: {minLength: 3, maxLength: 32}\n", "").replace(", maxLength: 32}", "}")
    if kind == "none":
        text = re.sub(r"        logicalTypeOptions: \{(pattern|minimum).*\n", "", text).replace("        required: true\n", "")
    pattern = "logicalTypeOptions: {pattern: '^dev-[0-9]+$'}"
    if kind == "ten, none a pattern":
        text = text.replace(pattern, "logicalTypeOptions: {minLength: 4, maxLength: 32}")
    if kind == "ten, one a pattern":
        text = text.replace("{pattern: '^dev-[0-9]+$'}", "{pattern: '^dev-[0-9]+$', maxLength: 32}")
    if kind == "nine of these and one in SQL":
        text = text.replace(pattern, "logicalTypeOptions: {minLength: 4}")
        text = text.replace("customProperties:\n  - property: topic", SQL + "customProperties:\n  - property: topic")
    return text


def measured(options, kind, folder):
    project = folder / "p"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(ROOT / "project/raw", project)
    (project / "contracts/raw/readings.yaml").write_text(contract(kind))
    server = Server(options.bin, str(project))
    server.start()
    try:
        took, cpu = server.under_load(options.loadgen, options.events)
        rows = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"]
        sent = server.high()
        assert rows == sent, f"{rows} rows of {sent} events"
        return rows / took / 1e3, cpu * 1e6 / rows
    finally:
        server.remove()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("--loadgen", required=True)
    arguments.add_argument("--events", type=int, default=2_000_000)
    arguments.add_argument("--pairs", type=int, default=5)
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vitalake-bench-rules-"))
    found = {kind: [] for kind in KINDS}
    try:
        for _ in range(options.pairs):
            for kind in KINDS:
                found[kind].append(measured(options, kind, folder))
                print(kind, *(f"{value:.2f}" for value in found[kind][-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n| rules a row | thousand events/s | CPU, s per million events | CPU over none, each round | landing by CPU, over none |\n|---|---|---|---|---|")
    for kind, rounds in found.items():
        ratios = [cpu / none for (_, cpu), (_, none) in zip(rounds, found["none"])]
        print(f"| {kind} | {' '.join(f'{rate:,.0f}' for rate, _ in rounds)} | {' '.join(f'{cpu:.2f}' for _, cpu in rounds)} | {' '.join(f'{ratio:.2f}' for ratio in ratios)} | {1 / statistics.median(ratios):.2f} |")


main()
