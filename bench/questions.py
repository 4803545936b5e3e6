"""Asks vitalake, DuckDB and chDB the same twelve questions over the same files of raw.readings; bench/README.md says more.

The rows come through the platform: produced, checked against the contract, landed, committed, compacted. Then each
question goes to each engine in turn, several rounds over, two threads each, everything warm; answers must be equal.
"""
import argparse, datetime, decimal, json, math, os, resource, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from report import Report
from server import Server

ROOT = Path(__file__).resolve().parent.parent
# The fastest spelling of each that gives the same: DuckDB's date_trunc of a time with a zone takes ten times as long.
HOUR = {"vitalake": "TIME_FLOOR(observed_at, 'PT1H')", "duckdb": "make_timestamp(epoch_us(observed_at) // 3600000000 * 3600000000)", "chdb": "toStartOfHour(observed_at, 'UTC')"}
# What each question is called, and its text; {hour}, {from} and {until} are spelled as the engine does.
QUESTIONS = [
    ("COUNT(*)", "SELECT COUNT(*) AS n FROM {t}"),
    ("SUM and AVG of two columns", "SELECT SUM(steps) AS s, AVG(heart_rate) AS a FROM {t}"),
    ("MIN and MAX of the time", "SELECT MIN(observed_at) AS a, MAX(observed_at) AS b FROM {t}"),
    ("COUNT with a filter on a number", "SELECT COUNT(*) AS n FROM {t} WHERE heart_rate > 150 AND spo2 < 92"),
    ("COUNT with a filter on the time", "SELECT COUNT(*) AS n FROM {t} WHERE observed_at >= {from} AND observed_at < {until}"),
    ("exact COUNT(DISTINCT device_id)", "SELECT COUNT(DISTINCT device_id) AS n FROM {t}"),
    ("GROUP BY device_id", "SELECT device_id, COUNT(*) AS n, AVG(heart_rate) AS a FROM {t} GROUP BY device_id"),
    ("GROUP BY hour", "SELECT {hour} AS h, COUNT(*) AS n, AVG(heart_rate) AS a FROM {t} GROUP BY {hour}"),
    ("GROUP BY device_id, hour; one device", "SELECT device_id, {hour} AS h, MAX(heart_rate) AS m FROM {t} WHERE device_id = 'dev-0042' GROUP BY device_id, {hour}"),
    ("TopN of devices by average", "SELECT device_id, AVG(skin_temp_c) AS a FROM {t} GROUP BY device_id ORDER BY a DESC, device_id LIMIT 10"),
    ("GROUP BY a number with HAVING", "SELECT spo2, COUNT(*) AS n FROM {t} WHERE battery_pct > 90 GROUP BY spo2 HAVING COUNT(*) > 10"),
    ("one record by its id", "SELECT device_id, heart_rate, steps FROM {t} WHERE reading_id = 'r-{id}'"),
]
ENGINES = ["vitalake", "duckdb", "chdb"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batches", type=int, default=64, help="different batches per connection of the load generator")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="numbers of the questions to ask, counted from 1")
    parser.add_argument("--engines", default=" ".join(ENGINES))
    parser.add_argument("--data", help="a folder to keep the rows in, taken as it is when it has them")
    parser.add_argument("--part", choices=["load", "ask"], help="one half alone, with --data")
    parser.add_argument("--shared", default="with nobody", help="with whom the cores were shared, for the report")
    return parser.parse_args()


class Vitalake:
    def __init__(self, server):
        self.server = server

    def ask(self, text):
        return [tuple(row.values()) for row in self.server.sql(text)]

    def cpu_seconds(self):
        return self.server.cpu_seconds()


def own_cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class DuckDb:
    def __init__(self, files):
        import duckdb
        self.name = f"DuckDB {duckdb.__version__}"
        self.connection = duckdb.connect(config={"threads": os.cpu_count()})
        self.connection.execute("SET TimeZone='UTC'; SET enable_object_cache=true")
        named = ", ".join(f"'{file}'" for file in files)
        self.connection.execute(f"CREATE VIEW readings AS SELECT * FROM read_parquet([{named}])")

    def ask(self, text):
        return self.connection.execute(text).fetchall()

    cpu_seconds = staticmethod(own_cpu_seconds)


class ChDb:
    def __init__(self, files):
        import chdb
        from chdb.session import Session
        self.name = f"chDB {chdb.__version__}"
        self.session = Session()
        folder = os.path.dirname(files[0])
        names = ",".join(os.path.basename(file) for file in files)
        names = f"{{{names}}}" if len(files) > 1 else names
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        self.session.query(f"CREATE VIEW bench.readings AS SELECT * FROM file('{folder}/{names}', 'Parquet')")
        self.settings = f" SETTINGS max_threads = {os.cpu_count()}"

    def ask(self, text):
        answer = self.session.query(text + self.settings, "JSONCompact")
        return [tuple(row) for row in json.loads(answer.bytes())["data"]]

    cpu_seconds = staticmethod(own_cpu_seconds)


def live_files(folder):
    """The files of the newest version, read from the Delta log: absolute paths."""
    live = {}
    log = Path(folder) / "_delta_log"
    if list(log.glob("*.checkpoint.parquet")):
        from deltalake import DeltaTable
        return [f"{folder}/{path}" for path in DeltaTable(str(folder)).files()]
    for commit in sorted(log.glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                live[action["add"]["path"]] = None
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    return [f"{folder}/{path}" for path in live]


def spell(engine, text, first_ms):
    def instant(ms):
        at = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
        return {"vitalake": f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}'", "duckdb": f"TIMESTAMPTZ '{at:%Y-%m-%d %H:%M:%S}+00'", "chdb": f"toDateTime64('{at:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"}[engine]
    table = {"vitalake": "raw.readings", "duckdb": "readings", "chdb": "bench.readings"}[engine]
    return text.replace("{t}", table).replace("{hour}", HOUR[engine]).replace("{from}", instant(first_ms)).replace("{until}", instant(first_ms + 3_600_000)).replace("{id}", "0001234567")


def plain(value):
    """A cell as every engine says it: times as milliseconds, numbers rounded."""
    if isinstance(value, datetime.datetime):
        value = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return round(value.timestamp() * 1000)
    if isinstance(value, (int, decimal.Decimal)):
        return float(value)
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else str(value)
    if isinstance(value, str):
        try:
            return float(f"{float(value):.9g}")
        except ValueError:
            pass
        try:
            return plain(datetime.datetime.fromisoformat(value.replace("Z", "+00:00")))
        except ValueError:
            return value
    return value


def equal(left, right):
    key = lambda rows: sorted(tuple(plain(cell) for cell in row) for row in rows)
    left, right = key(left), key(right)
    same = lambda a, b: math.isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, float) else a == b
    return len(left) == len(right) and all(len(a) == len(b) and all(map(same, a, b)) for a, b in zip(left, right))


def load(options, server):
    """Rows in equal parts, so that commits and early files come as they do in use; then compaction is let finish."""
    part = 5_000_000
    while server.high() < options.rows:
        begun = server.high()
        command = [options.loadgen, "--json", "--bootstrap", server.kafka, "--topic", "readings", "--seconds", "600", "--spread-hours", "168"]
        command += ["--batches", str(options.batches), "--seed", str(begun + 1), "--sequence-from", str(begun), "--events", str(min(part, options.rows - begun))]
        subprocess.run(command, check=True, capture_output=True)
        server.until_committed()
    version, since = None, time.monotonic()
    while time.monotonic() - since < 25:
        now = next(d["version"] for d in server.status()["datasets"] if d["layer"] == "raw")
        version, since = (now, time.monotonic()) if now != version else (version, since)
        time.sleep(1)


def ask(options, server, report):
    folder = f"{server.data}/lake/raw/readings"
    files = live_files(folder)
    rows = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"]
    size = sum(os.path.getsize(file) for file in files)
    report.row("rows, files", f"{rows:,} rows in {len(files)} Parquet files of {size / 1e6:,.0f} MB together")
    makers = {"vitalake": lambda: Vitalake(server), "duckdb": lambda: DuckDb(files), "chdb": lambda: ChDb(files)}
    engines = {name: makers[name]() for name in options.engines.split()}
    report.row("asked", ", ".join(getattr(engine, "name", "vitalake over HTTP") for engine in engines.values()))
    first = server.sql("SELECT TIMESTAMP_TO_MILLIS(TIME_FLOOR(MAX(observed_at), 'PT1H')) AS a FROM raw.readings")[0]["a"] - 48 * 3_600_000
    wanted = {int(n) for n in options.only.split()} or set(range(1, len(QUESTIONS) + 1))
    for number, (what, text) in enumerate(QUESTIONS, 1):
        if number in wanted:
            report.row(f"{number}. {what}", compare(engines, text, first, options.rounds))


def compare(engines, text, first_ms, rounds):
    texts = {name: spell(name, text, first_ms) for name in engines}
    answers = {name: engine.ask(texts[name]) for name, engine in engines.items()}
    times, cpu = {name: [] for name in engines}, {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            used, begun = engine.cpu_seconds(), time.perf_counter()
            engine.ask(texts[name])
            times[name].append((time.perf_counter() - begun) * 1000)
            cpu[name].append((engine.cpu_seconds() - used) * 1000)
    said = [f"{name} {statistics.median(times[name]):,.1f} ms (fastest {min(times[name]):,.1f}, CPU {statistics.median(cpu[name]):,.0f})" for name in engines]
    others = [name for name in engines if name != "vitalake"]
    if "vitalake" in engines and others:
        ratio = lambda of: of(times["vitalake"]) / min(of(times[name]) for name in others)
        said.append(f"**{ratio(statistics.median):.2f} ×** the best of them ({ratio(min):.2f} × by the fastest round)")
    for name in others:
        if not equal(answers[name], next(iter(answers.values()))):
            said.append(f"ANSWERS DIFFER: {name} {answers[name][:2]} and {next(iter(answers.values()))[:2]}")
    return "; ".join(said)


def main():
    options = arguments()
    data = options.data or tempfile.mkdtemp(prefix="vitalake-bench-")
    server = Server(options.bin, str(ROOT / "bench/project/raw"), data)
    report = Report("questions")
    try:
        server.start()
        if options.part != "ask":
            load(options, server)
        if options.part != "load":
            ask(options, server, report)
            report.write("Twelve questions over raw", options.shared)
    finally:
        server.stop()
        if not options.data:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
