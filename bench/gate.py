#!/usr/bin/env python3
"""How long a gate takes over many rows, and what a publication of what waits costs.

    gate.py --bin PATH/vitalake --loadgen PATH/loadgen [--events 10000000]

A serving dataset of the load generator's readings is gated by a number of rows, by nulls and by a rule in SQL over all of
them. It is held by hand while the readings come in; then it is released: the seconds from the request to the first foreign
version, and the bytes that were written to the lake meanwhile. Then events come steadily: for each commit to HEAD the time since the
staged commit that it publishes, which is three rules over all rows and the publication, and the time between raw's own commits.
`--rules N` keeps the first N of the three rules, so that what one costs can be told.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server import Server

ROOT = Path(__file__).resolve().parent
CONTRACT = """
    quality:
      - {id: all_are_there, metric: rowCount, mustBeGreaterOrEqualTo: %d, severity: error}
      - {id: devices, type: sql, query: "SELECT COUNT(DISTINCT device_id) FROM {object}", mustBeGreaterThan: 10, severity: error}
      - {id: plausible, type: sql, query: "SELECT AVG(heart_rate) FROM {object}", mustBeBetween: [20, 250], severity: error}
"""


def widened(folder, columns):
    """As many columns of numbers beside, which no codec makes smaller: eight bytes each."""
    contract, model = folder / "contracts/serving/readings_all.yaml", folder / "models/serving/readings_all.sql"
    names = [f"random_{at}" for at in range(columns)]
    more = "".join(f"      - name: {name}\n        logicalType: integer\n" for name in names)
    contract.write_text(contract.read_text().replace("    quality:", more + "    quality:"))
    hashes = "".join(f", xxhash64(reading_id, {at}) AS {name}" for at, name in enumerate(names))
    model.write_text(model.read_text().replace("\nFROM", hashes + "\nFROM"))


def project(folder, events, rules):
    """The pipeline's project with one serving dataset more: all readings, gated."""
    shutil.copytree(ROOT / "project" / "pipeline", folder)
    raw = (folder / "contracts/raw/readings.yaml").read_text()
    text = raw.replace("7e4bb2a4-51f0-5a43-8b49-29d61b6b8f01", "7e4bb2a4-51f0-5a43-8b49-29d61b6b8f77").replace("name: readings", "name: readings_all")
    text = re.sub(r"        customProperties:\n          - property: path\n            value: \S+\n", "", text)
    contract = "\n".join((CONTRACT % events).rstrip().split("\n")[:2 + rules])
    text = text[:text.index("\ncustomProperties:")] + contract + "\n"
    for kind in ("curated", "serving"):
        for old in (folder / "contracts" / kind).iterdir():
            old.unlink()
        for old in (folder / "models" / kind).iterdir():
            old.unlink()
    (folder / "contracts/serving/readings_all.yaml").write_text(text)
    (folder / "models/serving/readings_all.sql").write_text("-- kind: append\nSELECT reading_id, device_id, observed_at, heart_rate, spo2, skin_temp_c, steps, battery_pct\nFROM raw.readings\n")


def bytes_under(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def commits(log):
    """Each commit of a Delta log with when it was written, in seconds."""
    return {int(f.stem): f.stat().st_mtime_ns / 1e9 for f in log.glob("*.json") if f.stem.isdigit()}


def publications(head, staged, since):
    """Seconds from each staged commit to the one of HEAD that publishes it."""
    staged, took = commits(staged), []
    for version, at in sorted(commits(head).items()):
        actions = [json.loads(line) for line in (head / f"{version:020}.json").read_text().splitlines()] if at > since else []
        for txn in (action["txn"] for action in actions if "txn" in action):
            if txn["appId"] == "vitalake/publish/readings_all" and txn["version"] in staged:
                took.append(at - staged[txn["version"]])
    return took


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("--loadgen", required=True)
    arguments.add_argument("--events", type=int, default=10_000_000)
    arguments.add_argument("--rules", type=int, default=3)
    arguments.add_argument("--wide", type=int, default=0, help="so many columns of random numbers beside: 16 make a gigabyte of 8 million rows")
    arguments.add_argument("--rate", help="events per second while the table is filled; as fast as it goes when absent")
    options = arguments.parse_args()
    os.environ["VITALAKE_STORAGE__COMMIT_INTERVAL_MS"] = "2000"
    folder = Path(tempfile.mkdtemp(prefix="vitalake-bench-gate-"))
    project(folder / "p", options.events, options.rules)
    widened(folder / "p", options.wide)
    server = Server(options.bin, str(folder / "p"), str(folder / "d"))
    server.start()
    try:
        server.request("POST", "/api/v1/gates/serving.readings_all/hold", {"reason": "measured", "by": "bench"})
        subprocess.run([options.loadgen, "--json", "--bootstrap", server.kafka, "--topic", "readings", "--events", str(options.events), *(["--rate", options.rate, "--seconds", "86400"] if options.rate else [])], check=True, stdout=subprocess.DEVNULL)
        while server.sql("SELECT COUNT(*) AS n FROM serving.readings_all_live")[0]["n"] < options.events:
            time.sleep(0.2)
        server.flush()
        time.sleep(5)
        lake = folder / "d" / "lake" / "serving" / "readings_all"
        held = bytes_under(lake)
        print(f"held: {server.sql('SELECT COUNT(*) AS n FROM serving.readings_all')[0]['n']} rows published, {held / 1e6:,.0f} MB of files wait")
        before, begun = bytes_under(folder / "d" / "lake" / "serving"), time.perf_counter()
        status, answer = server.request("POST", "/api/v1/gates/serving.readings_all/release", {"reason": "measured", "by": "bench"})
        took = time.perf_counter() - begun
        while server.sql("SELECT COUNT(*) AS n FROM serving.readings_all")[0]["n"] < options.events:
            time.sleep(0.01)
        print(f"release answered {status} after {took:.2f} s, all rows published after {time.perf_counter() - begun:.2f} s; {(bytes_under(folder / 'd' / 'lake' / 'serving') - before) / 1e3:,.0f} kB written under lake/serving")
        subprocess.run([options.loadgen, "--json", "--bootstrap", server.kafka, "--topic", "readings", "--events", "100000", "--sequence-from", str(options.events)], check=True, stdout=subprocess.DEVNULL)
        begun = time.perf_counter()
        while server.sql("SELECT COUNT(*) AS n FROM serving.readings_all")[0]["n"] < options.events + 100_000:
            time.sleep(0.01)
        print(f"a hundred thousand rows more: published {time.perf_counter() - begun:.2f} s after they were acknowledged (a commit every 2 s, {options.rules} rules over {options.events:,} rows)")
        since, sequence = time.time(), options.events + 100_000
        subprocess.run([options.loadgen, "--json", "--bootstrap", server.kafka, "--topic", "readings", "--rate", "20000", "--seconds", "40", "--sequence-from", str(sequence)], check=True, stdout=subprocess.DEVNULL)
        time.sleep(5)
        took = publications(lake / "_delta_log", folder / "d" / "staged" / "readings_all" / "_delta_log", since)
        raw = sorted(at for at in commits(folder / "d" / "lake" / "raw" / "readings" / "_delta_log").values() if since < at < since + 40)
        between = [b - a for a, b in zip(raw, raw[1:])]
        print(f"beside 20,000 events/s: {len(took)} publications, {statistics.median(took):.2f} s after their staged commit (median), {max(took):.2f} s at most; raw committed {len(raw)} times, {statistics.median(between):.2f} s apart (median), {max(between):.2f} s at most")
    finally:
        server.process.kill()
        shutil.rmtree(folder, ignore_errors=True)


main()
