#!/usr/bin/env python3
"""What the platform's account of itself costs: ops datasets, alerts and telemetry, at full load.

    share.py --bin PATH/vitalake --loadgen PATH/loadgen --off BENCH_OFF [--events 3000000] [--pairs 5] [--otlp http://127.0.0.1:4318]

By turns in one run, with the account and without: `--off` names the variable that switches it off in a build made for this. With it
the project has three alerts in SQL and sends telemetry to `--otlp`, where that is given. CPU is the server's, from the first event to
the commit of the last.
"""
import argparse, os, shutil, statistics, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server import Server

ROOT = Path(__file__).resolve().parent
ALERT = "name: {name}\nowner: ops\nrunbook: gate_held\nsql: {sql}\n"
ALERTS = {
    "few": "SELECT dataset, COUNT(*) AS n FROM ops.checks WHERE passed = FALSE GROUP BY dataset HAVING COUNT(*) > 1000000",
    "late": "SELECT dataset, MAX(lag_records) AS n FROM ops.lag GROUP BY dataset HAVING MAX(lag_records) < 0",
    "large": "SELECT COUNT(*) AS n FROM raw.readings HAVING COUNT(*) > 1000000000",
}


def measured(options, off, project):
    os.environ.pop(options.off, None)
    os.environ.pop("VITALAKE_TELEMETRY__OTLP_ENDPOINT", None)
    if off:
        os.environ[options.off] = "1"
    elif options.otlp:
        os.environ["VITALAKE_TELEMETRY__OTLP_ENDPOINT"] = options.otlp
    server = Server(options.bin, str(project))
    server.start()
    try:
        took, cpu = server.under_load(options.loadgen, options.events)
        sent = server.high()
        return sent / took / 1e3, cpu * 1e6 / sent
    finally:
        server.remove()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("--loadgen", required=True)
    arguments.add_argument("--off", required=True)
    arguments.add_argument("--otlp")
    arguments.add_argument("--events", type=int, default=3_000_000)
    arguments.add_argument("--pairs", type=int, default=5)
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vitalake-bench-share-"))
    project = folder / "p"
    shutil.copytree(ROOT / "project/raw", project)
    (project / "alerts").mkdir()
    for name, sql in ALERTS.items():
        (project / f"alerts/{name}.yaml").write_text(ALERT.format(name=name, sql=sql))
    with_it, without = [], []
    try:
        for _ in range(options.pairs):
            for off, found in ((True, without), (False, with_it)):
                found.append(measured(options, off, project))
                print("without" if off else "with", *(f"{value:.3f}" for value in found[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [w[1] / o[1] for w, o in zip(with_it, without)]
    print(f"\nCPU s per million events, without: {' '.join(f'{cpu:.3f}' for _, cpu in without)}")
    print(f"CPU s per million events, with:    {' '.join(f'{cpu:.3f}' for _, cpu in with_it)}")
    print(f"with over without: {' '.join(f'{ratio:.3f}' for ratio in ratios)}, median {statistics.median(ratios):.3f}")


main()
