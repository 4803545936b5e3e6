"""A dashboard's questions, asked of one engine: over the raw rows, and over the roll-up made of them, by one client and by many.

Every client asks the set's questions in turn, each beginning with another, for so many seconds, over a warm engine. What
is written down is the time of a question from its asking to its whole answer, and the answers themselves, so that the
engines' can be compared. Druid is given the roll-up alone: that is what is published to it.
"""
import concurrent.futures
import http.client
import itertools
import json
import os
import pathlib
import resource
import shutil
import statistics
import sys
import threading
import time
import urllib.error

import questions

HERE = pathlib.Path(__file__).resolve().parent
# Spelled by engine, as bench/questions.py spells those over raw rows.
HOUR = {"vitalake": '"hour"', "Druid": "__time", "DuckDB": '"hour"', "chDB": '"hour"'}
DAY = {"vitalake": "TIME_FLOOR(\"hour\", 'P1D')", "Druid": "TIME_FLOOR(__time, 'P1D')",
       "DuckDB": "make_timestamp(epoch_us(\"hour\") // 86400000000 * 86400000000)", "chDB": "toStartOfDay(\"hour\", 'UTC')"}
ROLLUP = {"vitalake": "serving.readings_hourly", "Druid": "readings_hourly", "DuckDB": "readings_hourly", "chDB": "bench.readings_hourly"}
ROLLUP_QUESTIONS = [
    "SELECT SUM(readings) AS n, SUM(steps) AS s FROM {t}",
    "SELECT {hour} AS h, SUM(readings) AS n, SUM(heart_rate_avg * readings) / SUM(readings) AS a FROM {t} GROUP BY {hour}",
    "SELECT {day} AS d, SUM(steps) AS s, MAX(heart_rate_max) AS m FROM {t} GROUP BY {day}",
    "SELECT device_id, SUM(steps) AS s FROM {t} GROUP BY device_id ORDER BY s DESC, device_id LIMIT 10",
    "SELECT {hour} AS h, heart_rate_avg AS a, spo2_min AS o FROM {t} WHERE device_id = 'dev-0042'",
    "SELECT COUNT(*) AS n FROM {t} WHERE spo2_min < 88 AND heart_rate_max > 170",
    "SELECT device_id, AVG(heart_rate_avg) AS a FROM {t} WHERE {hour} >= {from} GROUP BY device_id HAVING AVG(heart_rate_avg) > 100",
]
# Of bench/questions.py those that a dashboard asks of raw rows: sums, filters, distinct, groups by device, hour and number, top.
RAW_QUESTIONS = [text for _, text in questions.QUESTIONS]
SPELLED_AS = {"vitalake": "vitalake", "DuckDB": "duckdb", "chDB": "chdb"}


def run(step):
    place = pathlib.Path(step["data"]) / f"{step['rows']}-pipeline"
    with ENGINES[step["engine"]](step, place) as engine:
        found = {"sets": {}, "loading_seconds": getattr(engine, "loading_seconds", None)}
        first = engine.first_ms
        sets = {"rollup": [spelled(step["engine"], text, first) for text in ROLLUP_QUESTIONS]}
        if step["engine"] in SPELLED_AS:
            sets["raw"] = [questions.spell(SPELLED_AS[step["engine"]], text, first) for text in RAW_QUESTIONS]
        for name, texts in sets.items():
            answers = [short(engine.connect()(text)) for text in texts]
            found["sets"][name] = {"answers": answers, "by_clients": {str(n): clients(engine, texts, n, step["seconds"]) for n in step["clients"]}}
        return found


def spelled(engine, text, first_ms):
    at = questions.datetime.datetime.fromtimestamp(first_ms / 1000, questions.datetime.timezone.utc)
    moment = {"vitalake": f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}'", "Druid": f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}'",
              "DuckDB": f"TIMESTAMPTZ '{at:%Y-%m-%d %H:%M:%S}+00'", "chDB": f"toDateTime64('{at:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"}[engine]
    return text.replace("{t}", ROLLUP[engine]).replace("{hour}", HOUR[engine]).replace("{day}", DAY[engine]).replace("{from}", moment)


def short(rows):
    """An answer as its rows, or when there are many as their number and the sums of their columns."""
    plain = sorted(([questions.plain(cell) for cell in row] for row in rows), key=str)
    if len(plain) <= 50:
        return plain
    sums = [sum(cell for cell in column if isinstance(cell, float) or isinstance(cell, int)) for column in zip(*plain)]
    return [[len(plain), *sums]]


def clients(engine, texts, count, seconds):
    """Times in milliseconds over all clients, and how many questions were answered a second."""
    times, faults, end = [[] for _ in range(count)], [], time.perf_counter() + seconds

    def ask(number):
        try:
            question = engine.connect()
            for text in itertools.islice(itertools.cycle(texts), number % len(texts), None):
                begun = time.perf_counter()
                if begun >= end:
                    return
                question(text)
                times[number].append((time.perf_counter() - begun) * 1000)
        except Exception as error:  # noqa: BLE001: told with the figures
            faults.append(f"{type(error).__name__}: {error}"[:200])

    cpu, begun = engine.cpu_seconds(), time.perf_counter()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, all_times = time.perf_counter() - begun, sorted(itertools.chain(*times))
    if not all_times:
        raise RuntimeError(f"no question was answered: {faults[:1]}")
    return {"asked": len(all_times), "median_ms": statistics.median(all_times), "p95_ms": all_times[int(0.95 * (len(all_times) - 1))],
            "a_second": len(all_times) / took, "cpu_ms": (engine.cpu_seconds() - cpu) / len(all_times) * 1000, "faults": faults[:3]}


class Engine:
    """What is asked: `connect()` gives a client, which is called with a question and gives rows."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def cpu_seconds(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime


def over_http(address):
    """Druid's SQL on a connection that is kept."""
    connection = http.client.HTTPConnection(address, timeout=300)

    def ask(text):
        body = json.dumps({"query": text, "resultFormat": "array", "context": {"useCache": False, "populateCache": False}})
        connection.request("POST", "/druid/v2/sql", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        rows = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{text}: {answer.status} {rows[:200]}")
        return [tuple(row) for row in json.loads(rows)]
    return ask


class Vitalake(Engine):
    def __init__(self, step, place):
        from server import Server

        self.server = Server(step["bin"], str(HERE.parent / "project/pipeline"), str(place))

    def __enter__(self):
        self.server.start()
        self.first_ms = first_ms(self.server)
        return self

    def __exit__(self, *_):
        self.server.stop()

    def connect(self):
        return over_http(self.server.http)

    def cpu_seconds(self):
        return self.server.cpu_seconds()


def first_ms(server):
    return server.sql("SELECT TIMESTAMP_TO_MILLIS(TIME_FLOOR(MAX(observed_at), 'PT1H')) AS a FROM raw.readings")[0]["a"] - 48 * 3_600_000


def newest_hour_ms(place):
    """The same moment, from the files themselves."""
    import duckdb

    files = questions.live_files(place / "lake/raw/readings")
    newest = duckdb.connect().execute(f"SELECT epoch_ms(MAX(observed_at)) FROM read_parquet({files!r})").fetchone()[0]
    return newest // 3_600_000 * 3_600_000 - 48 * 3_600_000


class DuckDb(Engine):
    """In this process; a client is a cursor of one database, whose threads they share."""

    def __init__(self, step, place):
        import duckdb

        self.connection = duckdb.connect(config={"threads": os.cpu_count()})
        self.connection.execute("SET TimeZone='UTC'; SET enable_object_cache=true")
        for table, layer in (("readings", "raw"), ("readings_hourly", "serving")):
            files = questions.live_files(place / f"lake/{layer}/{table}")
            self.connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({files!r})")
        self.first_ms = newest_hour_ms(place)

    def connect(self):
        cursor = self.connection.cursor()
        return lambda text: cursor.execute(text).fetchall()


class ChDb(Engine):
    """In this process, which has one session: its clients take turns."""

    def __init__(self, step, place):
        from chdb.session import Session

        self.first_ms = newest_hour_ms(place)
        self.session, self.turns = Session(), concurrent.futures.ThreadPoolExecutor(1)
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        for table, layer in (("readings", "raw"), ("readings_hourly", "serving")):
            files = questions.live_files(place / f"lake/{layer}/{table}")
            names = ",".join(os.path.basename(file) for file in files)
            pattern = f"{os.path.dirname(files[0])}/{'{' + names + '}' if len(files) > 1 else names}"
            self.session.query(f"CREATE VIEW bench.{table} AS SELECT * FROM file('{pattern}', 'Parquet')")

    def connect(self):
        return self.ask

    def ask(self, text):
        answer = self.turns.submit(self.session.query, f"{text} SETTINGS max_threads = {os.cpu_count()}", "JSONCompact").result()
        return [tuple(row) for row in json.loads(answer.bytes())["data"]]


class Druid(Engine):
    """A real one, started for this, given the roll-up's files by its own native batch task; small heaps, as systems/ has them."""

    def __init__(self, step, place):
        sys.path.append(str(HERE.parent.parent / "systems"))
        import parts_druid

        self.place, self.home = place, pathlib.Path(step["data"]) / "druid"
        shutil.rmtree(self.home, ignore_errors=True)
        self.druid = parts_druid.Druid(self.home)

    def __enter__(self):
        self.druid.__enter__()
        try:
            self.load()
        except BaseException:
            self.__exit__()
            raise
        return self

    def load(self):
        """The same files as the others read; `loading_seconds` is from the task's submission until every row is answered."""
        import duckdb

        self.first_ms = newest_hour_ms(self.place)
        files = questions.live_files(self.place / "lake/serving/readings_hourly")
        rows = duckdb.connect().execute(f"SELECT COUNT(*) FROM read_parquet({files!r})").fetchone()[0]
        task, begun = self.submitted(hourly_task(files)), time.perf_counter()
        while (state := self.druid.get("coordinator", f"/druid/indexer/v1/task/{task}/status")["status"]["statusCode"]) == "RUNNING":
            time.sleep(0.5)
        if state != "SUCCESS":
            raise RuntimeError(f"Druid's task ended as {state}")
        while self.druid.sql("SELECT COUNT(*) FROM readings_hourly") != [[rows]]:
            time.sleep(0.5)
        self.loading_seconds = time.perf_counter() - begun

    def submitted(self, task, seconds=60):
        """An overlord answers 404 until it is the leader."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.druid.post("coordinator", "/druid/indexer/v1/task", task)["task"]
            except urllib.error.HTTPError as error:
                if error.code not in (404, 503) or time.monotonic() > end:
                    raise RuntimeError(f"Druid takes no task: {error.code} {error.read()[:300]}") from None
                time.sleep(1)

    def __exit__(self, *_):
        self.druid.__exit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def connect(self):
        return over_http(f"127.0.0.1:{self.druid.ports['broker']}")

    def cpu_seconds(self):
        import transform

        return sum(transform.processor_seconds(process.pid) for process in self.druid.processes.values())


def hourly_task(files):
    numbers = [{"type": "long", "name": name} for name in ("readings", "heart_rate_max", "spo2_min", "steps")]
    schema = {
        "dataSource": "readings_hourly", "timestampSpec": {"column": "hour", "format": "auto"}, "metricsSpec": [],
        "dimensionsSpec": {"dimensions": ["device_id", *numbers, {"type": "double", "name": "heart_rate_avg"}]},
        "granularitySpec": {"type": "uniform", "segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": False},
    }
    source = {"type": "index_parallel", "inputSource": {"type": "local", "files": files}, "inputFormat": {"type": "parquet"}}
    return {"type": "index_parallel", "spec": {"dataSchema": schema, "ioConfig": source, "tuningConfig": {
        "type": "index_parallel", "maxNumConcurrentSubTasks": os.cpu_count(), "maxParseExceptions": 0}}}


ENGINES = {"vitalake": Vitalake, "Druid": Druid, "DuckDB": DuckDb, "chDB": ChDb}
