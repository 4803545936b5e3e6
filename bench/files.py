"""Delivers one file of visits to vitalake, DuckDB and Spark, as CSV and as Parquet, in turns; bench/README.md says more.

Each ends with the same good rows in a Delta table: vitalake's through its raw table and the rules of two contracts,
with the bad rows in quarantine and both in commits; the others' read with the schema given and filtered by the rules,
their bad rows dropped, which is less. Spark runs in this process on as many threads as there are cores, warmed up.
"""
import argparse, http.client, json, os, random, shutil, statistics, sys, tempfile, threading, time, uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import local_spark
from report import Report
from server import Server

ROOT = Path(__file__).resolve().parent.parent
TYPES = {
    "visit_id": "VARCHAR", "patient_id": "VARCHAR", "clinic": "VARCHAR", "code": "VARCHAR", "started_at": "TIMESTAMP",
    "billed_on": "DATE", "minutes": "BIGINT", "cost": "DOUBLE", "note": "VARCHAR",
}
GOOD = "visit_id IS NOT NULL AND patient_id IS NOT NULL AND started_at IS NOT NULL AND minutes >= 0 AND cost >= 0"
NOTES = ["", "seen by the nurse", "\"no show\", called twice", "follow-up in four weeks", "lab results pending, see chart"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--beside", help="another build of vitalake, in turns")
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="vitalake duckdb spark")
    parser.add_argument("--forms", default="csv parquet")
    parser.add_argument("--large-gb", type=float, default=0, help="also load a CSV of so many GB and say the peak of memory")
    parser.add_argument("--spark", default=local_spark.HOME, help="where systems/install.sh put it")
    parser.add_argument("--shared", default="with nobody")
    return parser.parse_args()


def write_csv(path, rows):
    """One row of a thousand breaks a rule. The same rows each time."""
    rng = random.Random(7)
    with open(path, "w", buffering=1 << 22) as out:
        out.write(",".join(TYPES) + "\n")
        for row in range(rows):
            note = NOTES[row % 5].replace('"', '""')
            minutes = -1 if row % 1000 == 999 else rng.randrange(180)
            out.write(
                f"{uuid.UUID(int=rng.getrandbits(128))},p-{rng.randrange(100_000):06},clinic {row % 37},{rng.choice('ABCDE')}{rng.randrange(100):02}.{row % 10},"
                f"2024-{row % 12 + 1:02}-{row % 28 + 1:02} {row % 24:02}:{row % 60:02}:{row % 59:02},2024-{row % 12 + 1:02}-{row % 28 + 1:02},"
                f"{minutes},{rng.randrange(100_000) / 100},\"{note}\"\n"
            )


class Vitalake:
    def __init__(self, binary, folder, name="vitalake"):
        self.binary, self.folder, self.name = binary, folder, name
        self.peak = 0

    def load(self, path, form):
        data = tempfile.mkdtemp(dir=self.folder)
        server = Server(self.binary, str(ROOT / "bench/project/files"), data)
        server.start()
        begun, cpu = time.perf_counter(), server.cpu_seconds()
        report = upload(server, path, form)
        raw = time.perf_counter() - begun
        server.until_landed(of_all_layers=True)
        server.flush()
        took, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
        good = server.sql("SELECT COUNT(*) AS n FROM curated.visits_checked")[0]["n"]
        self.peak = max(self.peak, server.memory_mb("VmHWM"))
        server.stop()
        server.remove()
        assert report["accepted"] == good, (report, good)
        return took, good, f"{raw:.1f} s to raw, {cpu:.1f} s of CPU"


def upload(server, path, form):
    connection = http.client.HTTPConnection(server.http, timeout=1800, blocksize=1 << 20)
    with open(path, "rb") as body:
        connection.request("POST", f"/api/v1/deliveries/visits?name={Path(path).name}&format={form}", body, {"content-length": str(os.path.getsize(path))})
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise RuntimeError(text)
    return json.loads(text)


class DuckDb:
    def __init__(self, folder):
        import duckdb, deltalake
        self.duckdb, self.deltalake, self.folder = duckdb, deltalake, folder
        self.name = f"DuckDB {duckdb.__version__}"

    def load(self, path, form):
        table = tempfile.mkdtemp(dir=self.folder)
        connection = self.duckdb.connect(config={"threads": os.cpu_count()})
        begun, cpu = time.perf_counter(), time.process_time()
        columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
        source = f"read_csv('{path}', header=true, auto_detect=false, delim=',', quote='\"', escape='\"', columns={columns})" if form == "csv" else f"read_parquet('{path}')"
        connection.execute(f"COPY (SELECT * REPLACE (started_at AT TIME ZONE 'UTC' AS started_at) FROM {source} WHERE {GOOD}) TO '{table}' (FORMAT parquet, COMPRESSION zstd, PER_THREAD_OUTPUT, OVERWRITE_OR_IGNORE)")
        self.deltalake.convert_to_deltalake(table)
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        good = connection.execute(f"SELECT COUNT(*) FROM read_parquet('{table}/*.parquet')").fetchone()[0]
        shutil.rmtree(table)
        return took, good, f"{cpu:.1f} s of CPU"


class Spark:
    def __init__(self, home, folder):
        self.session, version = local_spark.session(home)
        self.folder, self.name = folder, f"Spark {version}"

    def load(self, path, form):
        table = tempfile.mkdtemp(dir=self.folder)
        begun = time.perf_counter()
        kinds = {"VARCHAR": "STRING"}
        schema = ", ".join(f"{name} {kinds.get(kind, kind)}" for name, kind in TYPES.items())
        reader = self.session.read
        rows = reader.schema(schema).option("header", True).option("escape", '"').csv(str(path)) if form == "csv" else reader.parquet(str(path))
        rows.where(GOOD).write.format("delta").mode("overwrite").save(table)
        took = time.perf_counter() - begun
        good = self.session.read.format("delta").load(table).count()
        shutil.rmtree(table)
        return took, good, ""


def main():
    args = arguments()
    report, folder = Report("files"), tempfile.mkdtemp(prefix="vitalake-files-")
    made = {"vitalake": lambda: Vitalake(args.bin, folder), "duckdb": lambda: DuckDb(folder), "spark": lambda: Spark(args.spark, folder)}
    try:
        csv = f"{folder}/visits.csv"
        write_csv(csv, args.rows)
        paths = {"csv": csv}
        if "parquet" in args.forms:
            import duckdb
            paths["parquet"] = f"{folder}/visits.parquet"
            columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
            duckdb.sql(f"SET TimeZone='UTC'; COPY (SELECT * REPLACE (started_at AT TIME ZONE 'UTC' AS started_at) FROM read_csv('{csv}', header=true, columns={columns})) TO '{paths['parquet']}' (FORMAT parquet, COMPRESSION snappy)")
        engines = [made[name]() for name in args.engines.split()]
        if args.beside:
            engines.append(Vitalake(args.beside, folder, "vitalake before"))
        small = f"{folder}/small.csv"
        write_csv(small, 20_000)
        for engine in engines:
            engine.load(small, "csv")
        for form in args.forms.split():
            megabytes = os.path.getsize(paths[form]) / 1e6
            report.row(f"the file as {form}", f"{args.rows:,} rows, {megabytes:.0f} MB")
            took, goods = {engine.name: [] for engine in engines}, set()
            for turn in range(args.rounds):
                for engine in engines:
                    seconds, good, said = engine.load(paths[form], form)
                    took[engine.name].append(seconds)
                    goods.add(good)
                    print(f"  {form}, round {turn + 1}, {engine.name}: {seconds:.2f} s, {said}", flush=True)
            assert len(goods) == 1, goods
            for name, seconds in took.items():
                middle = statistics.median(seconds)
                report.row(f"{form}, {name}", f"{megabytes / middle:.0f} MB/s, {args.rows / middle / 1000:.0f} k rows/s, median of {', '.join(f'{s:.2f}' for s in seconds)} s")
        ours = next((engine for engine in engines if isinstance(engine, Vitalake)), None)
        if ours:
            report.row("peak of vitalake's memory so far", f"{ours.peak:.0f} MB")
        if args.large_gb:
            large = f"{folder}/large.csv"
            with open(large, "wb") as out, open(csv, "rb") as part:
                header = part.readline()
                rest = part.read()
                out.write(header)
                while out.tell() < args.large_gb * 1e9:
                    out.write(rest)
            ours.peak = 0
            seconds, good, said = ours.load(large, "csv")
            report.row(f"CSV of {os.path.getsize(large) / 1e9:.1f} GB", f"{os.path.getsize(large) / 1e6 / seconds:.0f} MB/s, {good:,} rows, peak of memory {ours.peak:.0f} MB")
        report.write("Files into curated Delta", args.shared)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
