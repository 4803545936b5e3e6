#!/usr/bin/env python3
"""What an upsert of few keys costs at one and at ten times the table's size, beside delta-rs' and Spark's MERGE of the same rows.

    keyed.py --bin PATH/vitalake [--beside PATH] [--spark FOLDER] [--rows 1000000] [--share 0.01] [--few 10] [--shared "what else ran"]

A dataset is delivered as Parquet files of a million rows and upserted by its key. Then deliveries of `--share` of the keys,
chosen at random, and of `--few` of them are timed, from the delivery's first byte to the commit of the upserted table. Bytes are
the server's `rchar` and `wchar` of /proc/PID/io meanwhile; they hold the raw table's and the state's. delta-rs and Spark
(`--spark`, "" for none; where systems/install.sh put it) merge the same rows into a table each, appended in the same files.
"""
import argparse, http.client, io, random, shutil, sys, tempfile, time
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
import local_spark
from report import Report
from server import Server

FILE_ROWS = 1_000_000
RAW = """apiVersion: v3.1.0
kind: DataContract
id: %(name)s
version: 1.0.0
status: active
schema:
  - name: %(name)s
    properties:
      - {name: id, logicalType: string, %(key)s}
      - {name: changed_at, logicalType: timestamp}
      - {name: status, logicalType: string}
      - {name: amount, logicalType: number}
      - {name: note, logicalType: string}
"""
MODEL = "-- kind: upsert\n-- key: id\n-- sequence: changed_at\nSELECT id, changed_at, status, amount, note FROM raw.orders\n"


def project(folder):
    for part in ("contracts/raw", "contracts/curated", "models/curated"):
        (folder / part).mkdir(parents=True)
    (folder / "vitalake.yaml").write_text("name: keyed\n")
    feed = "customProperties:\n  - {property: source, value: feed}\n"
    (folder / "contracts/raw/orders.yaml").write_text(RAW % {"name": "orders", "key": "required: true"} + feed)
    key = "primaryKey: true, primaryKeyPosition: 1"
    (folder / "contracts/curated/latest.yaml").write_text(RAW % {"name": "latest", "key": key})
    (folder / "models/curated/latest.sql").write_text(MODEL)


def rows(numbers, at_s):
    draw = random.Random(at_s)
    count = len(numbers)
    return pa.table({
        "id": pa.array([f"order-{number:09}" for number in numbers]),
        "changed_at": pa.array([at_s * 1_000_000] * count, pa.timestamp("us", "UTC")),
        "status": pa.array([draw.choice(("new", "paid", "sent", "back")) for _ in range(count)]),
        "amount": pa.array([draw.random() * 1000 for _ in range(count)]),
        "note": pa.array([f"{draw.getrandbits(48):012x}" for _ in range(count)]),
    })


def io_of(pid):
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])


def deliver(server, table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    connection = http.client.HTTPConnection(server.http, timeout=3000)
    connection.request("POST", "/api/v1/deliveries/orders?format=parquet", buffer.getvalue())
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(text)
    connection.close()
    server.flush()


def figure(seconds, read, written):
    return f"{seconds:.2f} s, {read / 1e6:,.0f} MB read, {written / 1e6:,.0f} MB written"


def measured(pid, act):
    before, begun = io_of(pid), time.perf_counter()
    act()
    seconds, after = time.perf_counter() - begun, io_of(pid)
    return figure(seconds, after[0] - before[0], after[1] - before[1])


class Loaded:
    """One build of vitalake with a table of its own."""

    def __init__(self, name, binary):
        self.name, self.folder = name, Path(tempfile.mkdtemp(prefix="vitalake-bench-keyed-"))
        project(self.folder / "p")
        self.server = Server(binary, str(self.folder / "p"), str(self.folder / "d"))
        self.server.start()
        self.seconds, self.cpu, self.written = [], 0, 0

    def load(self, table):
        cpu, written, begun = self.server.cpu_seconds(), io_of(self.server.process.pid)[1], time.perf_counter()
        deliver(self.server, table)
        self.seconds.append(time.perf_counter() - begun)
        self.cpu += self.server.cpu_seconds() - cpu
        self.written += io_of(self.server.process.pid)[1] - written

    def change(self, table):
        cpu = self.server.cpu_seconds()
        said = measured(self.server.process.pid, lambda: deliver(self.server, table))
        return f"{said}, {self.server.cpu_seconds() - cpu:.1f} s of CPU"

    def size_mb(self, part):
        return sum(f.stat().st_size for f in (self.folder / "d" / part).rglob("*.parquet")) / 1e6


def of_vitalake(options, report, count, changes):
    builds = [("vitalake", options.bin)] + ([("vitalake before", options.beside)] if options.beside else [])
    builds = [Loaded(name, binary) for name, binary in builds]
    try:
        for start in range(0, count, FILE_ROWS):
            table = rows(range(start, min(count, start + FILE_ROWS)), 1_700_000_000 + start)
            for build in builds:
                build.load(table)
        for build in builds:
            each = ", ".join(f"{seconds:.1f}" for seconds in build.seconds)
            report.row(f"{count:,} rows: {build.name}, the first load in deliveries of a million",
                       f"{sum(build.seconds):.1f} s ({each}), {build.cpu:.1f} s of CPU, {build.written / 1e6:,.0f} MB written")
        for what, table in changes:
            for build in builds:
                report.row(f"{count:,} rows: {build.name}, {what}", build.change(table))
        for build in builds:
            there = build.server.sql("SELECT COUNT(*) AS n FROM curated.latest")[0]
            assert there["n"] == count, there
            report.row(f"{count:,} rows: {build.name}, files of the table, of its state (old ones among them), peak of memory",
                       f"{build.size_mb('lake/curated/latest'):,.0f} MB, {build.size_mb('state/latest'):,.0f} MB, {build.server.memory_mb('VmHWM'):,.0f} MB")
    finally:
        for build in builds:
            build.server.stop()
            shutil.rmtree(build.folder, ignore_errors=True)


def of_delta_rs(report, count, changes):
    folder = tempfile.mkdtemp(prefix="delta-rs-bench-keyed-")
    try:
        for start in range(0, count, FILE_ROWS):
            table = rows(range(start, min(count, start + FILE_ROWS)), 1_700_000_000 + start)
            deltalake.write_deltalake(folder, table, mode="append")
        for what, table in changes:
            def merge():
                merging = deltalake.DeltaTable(folder).merge(table, "t.id = s.id", source_alias="s", target_alias="t")
                merging.when_matched_update_all("s.changed_at > t.changed_at").when_not_matched_insert_all().execute()
            report.row(f"{count:,} rows: delta-rs MERGE, {what}", measured("self", merge))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def of_spark(home, report, count, changes):
    session, version = local_spark.session(home)
    folder = Path(tempfile.mkdtemp(prefix="spark-bench-keyed-"))
    java = session.sparkContext._gateway.proc.pid
    target = f"delta.`{folder}/table`"
    try:
        for start in range(0, count, FILE_ROWS):
            table = rows(range(start, min(count, start + FILE_ROWS)), 1_700_000_000 + start)
            pq.write_table(table, folder / f"{start}.parquet")
            session.read.parquet(f"{folder}/{start}.parquet").write.format("delta").mode("append").save(f"{folder}/table")
        for number, (what, table) in enumerate(changes):
            pq.write_table(table, folder / f"change-{number}.parquet")
            source = f"parquet.`{folder}/change-{number}.parquet`"
            merge = (f"MERGE INTO {target} t USING {source} s ON t.id = s.id WHEN MATCHED AND s.changed_at > t.changed_at THEN UPDATE SET * "
                     "WHEN NOT MATCHED THEN INSERT *")
            report.row(f"{count:,} rows: Spark {version} MERGE, {what}", measured(java, lambda: session.sql(merge).collect()))
    finally:
        session.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("--beside", help="another build of vitalake, in turns")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--share", type=float, default=0.01)
    arguments.add_argument("--few", type=int, default=10)
    arguments.add_argument("--times", type=int, nargs="*", default=[1, 10])
    arguments.add_argument("--spark", default=local_spark.HOME, help="where systems/install.sh put it")
    arguments.add_argument("--shared", default="with nothing else that is known")
    options = arguments.parse_args()
    report = Report("keyed")
    for times in options.times:
        count = options.rows * times
        draw = random.Random(7)
        share = draw.sample(range(count), int(count * options.share))
        few = draw.sample(range(count), options.few)
        changes = [(f"{len(share):,} keys at random", rows(share, 1_800_000_000)), (f"{len(few):,} keys at random", rows(few, 1_900_000_000))]
        of_vitalake(options, report, count, changes)
        of_delta_rs(report, count, changes)
        if options.spark:
            of_spark(options.spark, report, count, changes)
    report.write("Upserts by key", options.shared)


if __name__ == "__main__":
    main()
