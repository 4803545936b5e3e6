#!/usr/bin/env python3
"""Ten thousand small files of one day as one delivery: a feed that gathers them, beside DuckDB reading them in one go.

    small_files.py --bin PATH/vitalake [--files 10000] [--rows 50] [--shared "what else ran"]

The time is from the feed's run by hand to the commit of the curated table, less the second for which files must stand still.
DuckDB reads all of them by a pattern, filters by the rules and writes one Delta table, which is less (bench/files.py).
"""
import argparse, http.client, json, os, shutil, sys, tempfile, time
from pathlib import Path

import deltalake
import duckdb

sys.path.insert(0, str(Path(__file__).parent))
from report import Report
from server import Server

ROOT = Path(__file__).resolve().parent.parent
TYPES = {
    "visit_id": "VARCHAR", "patient_id": "VARCHAR", "clinic": "VARCHAR", "code": "VARCHAR", "started_at": "TIMESTAMP",
    "billed_on": "DATE", "minutes": "BIGINT", "cost": "DOUBLE", "note": "VARCHAR",
}
GOOD = "visit_id IS NOT NULL AND patient_id IS NOT NULL AND started_at IS NOT NULL AND minutes >= 0 AND cost >= 0"
FEED = "name: visits\ndataset: visits\nsource: {folder: in, pattern: 'v_{date:yyyyMMdd}_*.csv'}\nschedule: '0 0 1 1 *'\nstable: 1s\ngather: true\n"


def write_files(folder, files, rows):
    for number in range(files):
        lines = [",".join(TYPES)]
        for row in range(rows):
            day = f"2024-{row % 12 + 1:02}-{row % 28 + 1:02}"
            minutes = -1 if (number * rows + row) % 1000 == 999 else row
            lines.append(f"v-{number:06}-{row:04},p-{row:06},clinic {number % 37},A{row % 100:02},{day} 10:{row % 60:02}:00,{day},{minutes},{row / 7:.2f},\"seen, by the nurse\"")
        (folder / f"v_20260101_{number:06}.csv").write_text("\n".join(lines) + "\n")


def of_vitalake(binary, folder):
    server = Server(binary, str(folder / "p"), str(folder / "d"))
    server.start()
    try:
        begun, cpu = time.perf_counter(), server.cpu_seconds()
        connection = http.client.HTTPConnection(server.http, timeout=3000)
        connection.request("POST", "/feeds/visits/run")
        answer = connection.getresponse()
        report = json.loads(answer.read())
        assert answer.status == 200 and len(report["deliveries"]) == 1, report
        server.until_landed(of_all_layers=True)
        server.flush()
        seconds = time.perf_counter() - begun - 1
        good = server.sql("SELECT COUNT(*) AS n FROM curated.visits_checked")[0]["n"]
        return seconds, server.cpu_seconds() - cpu, good, server.memory_mb("VmHWM")
    finally:
        server.stop()


def of_duckdb(folder):
    table, connection = folder / "duck", duckdb.connect(config={"threads": os.cpu_count()})
    begun, cpu = time.perf_counter(), time.process_time()
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
    source = f"read_csv('{folder}/p/in/*.csv', header=true, auto_detect=false, delim=',', quote='\"', escape='\"', columns={columns})"
    connection.execute(f"COPY (SELECT * REPLACE (started_at AT TIME ZONE 'UTC' AS started_at) FROM {source} WHERE {GOOD}) TO '{table}' (FORMAT parquet, COMPRESSION zstd, PER_THREAD_OUTPUT)")
    deltalake.convert_to_deltalake(str(table))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return seconds, cpu, connection.execute(f"SELECT COUNT(*) FROM read_parquet('{table}/*.parquet')").fetchone()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--shared", default="with nobody")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vitalake-small-files-"))
    try:
        shutil.copytree(ROOT / "bench/project/files", folder / "p")
        for part in ("in", "feeds"):
            (folder / "p" / part).mkdir()
        (folder / "p/feeds/visits.yaml").write_text(FEED)
        write_files(folder / "p/in", args.files, args.rows)
        report = Report("small_files")
        seconds, cpu, good, peak = of_vitalake(args.bin, folder)
        report.row(f"{args.files:,} files of {args.rows} rows, vitalake", f"{seconds:.2f} s, {cpu:.1f} s of CPU, peak of memory {peak:.0f} MB")
        seconds, cpu, good_there = of_duckdb(folder)
        report.row(f"the same, DuckDB {duckdb.__version__}", f"{seconds:.2f} s, {cpu:.1f} s of CPU")
        assert good == good_there, (good, good_there)
        report.write("Small files as one delivery", args.shared)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
