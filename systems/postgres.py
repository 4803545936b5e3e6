"""A feed that reads a PostgreSQL server: what the table holds, what SQL gives and what delta-rs reads are the same values."""
import json
import os
import pathlib
import shutil
import subprocess

from parts import Skipped, Vitalake, free_port, need, until

PASSWORD = "hunter2-of-the-check"
COLUMNS = {
    "id": "integer, required: true", "yes": "boolean", "small": "integer", "large": "integer", "dbl": "number", "money": "number",
    "exact": "string", "word": "string", "key": "string", "doc": "object", "day": "date",
    "seen": "timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: Asia/Tokyo}", "at": "timestamp", "list": "array",
}
ROWS = """SELECT setseed(0.5); CREATE TABLE t AS SELECT id, random() < 0.5 AS yes, (random() * 60000 - 30000)::smallint AS small,
  (random() * 1.8e19 - 9e18)::bigint AS large, (random() - 0.5) * 10 ^ (random() * 300)::int AS dbl,
  (random() * 1e9 - 5e8)::numeric(12,2) AS money, (random() * 1e15)::numeric(30,10) AS exact, CASE WHEN id % 7 = 0 THEN NULL ELSE 'wörd "' || id || E'" \\n,' END AS word,
  md5(id::text)::uuid AS key, jsonb_build_object('n', id, 'of', 'x') AS doc, '1900-01-01'::date + (random() * 70000)::int AS day,
  '1960-01-01'::timestamp + random() * interval '100 years' AS seen,
  '0001-01-02Z'::timestamptz + random() * interval '9990 years' AS at, ARRAY[id, NULL, id * 2] AS list FROM generate_series(1, 20000) id;
  ALTER TABLE t ALTER exact TYPE numeric(30,10), ALTER money TYPE numeric(12,2), ADD PRIMARY KEY (id)"""


class Postgres:
    """A server of a check's own, under the user `postgres` where the check runs as root: it refuses root."""

    def __init__(self, folder):
        found = shutil.which("pg_ctl") or next(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), None)
        if not found:
            raise Skipped("no PostgreSQL server is installed")
        self.binaries, self.folder, self.port = pathlib.Path(os.path.realpath(found)).parent, pathlib.Path(folder), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        for above in [self.folder, *self.folder.parents][:3]:
            above.chmod(above.stat().st_mode | 0o755)
        self.folder.chmod(0o777)

    def user(self, program, *arguments):
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with open(self.folder / "output.txt", "ab") as said:
            subprocess.run([*as_user, self.binaries / program, *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
                           stdout=said, stderr=said, check=True, timeout=60)

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.user("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options, "start")

    def crash(self):
        self.user("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def sql(self, text):
        url = f"postgres://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        done = subprocess.run([self.binaries / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, url], capture_output=True,
                              text=True, check=True, timeout=120, env={**os.environ, "PGTZ": "UTC"})
        return done.stdout.strip()

    def __enter__(self):
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self.user("initdb", "-D", self.folder / "data", "-A", "scram-sha-256", "--pwfile", secret, "-U", "postgres", "-E", "UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_):
        try:
            self.crash()
        except subprocess.CalledProcessError:
            pass


def project(folder, port):
    properties = "".join(f"      - {{name: {name}, logicalType: {kind}}}\n" for name, kind in COLUMNS.items())
    files = {
        "vitalake.yaml": "name: clinic\n",
        "contracts/raw/claims.yaml": "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-0000000000fd\nname: claims\n"
        f"version: 1.0.0\nstatus: active\nschema:\n  - name: claims\n    properties:\n{properties}"
        "customProperties:\n  - {property: source, value: feed}\n  - {property: delivery, value: replace}\n",
        "feeds/claims.yaml": "name: claims\ndataset: claims\nschedule: 0 0 29 2 *\nsource:\n"
        f"  postgres: \"postgres://postgres:${{CLINIC_PASSWORD}}@127.0.0.1:{port}/postgres\"\n"
        f"  query: SELECT {', '.join(COLUMNS)} FROM t ORDER BY id\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def micros(column):
    return f"(extract(epoch from {column}) * 1000000)::bigint"


def feed(run):
    from deltalake import DeltaTable

    with Postgres(run.folder / "postgres") as database:
        database.sql(ROWS)
        source = database.sql(
            "SELECT json_agg(json_build_array(id, yes, small, large, dbl, money, exact::text, word, key, doc::text, day - '1970-01-01'::date, "
            f"{micros('(seen AT TIME ZONE $$Asia/Tokyo$$)')}, {micros('at')}, list) ORDER BY id) FROM t")
        source = json.loads(source)
        settings = {"CLINIC_PASSWORD": PASSWORD}
        with Vitalake(run.folder / "vitalake", run.binary, project(run.folder / "clinic", database.port), settings=settings) as vitalake:
            vitalake.command_line("feed", "run", "claims")
            table = DeltaTable(str(vitalake.table("raw", "claims"))).to_pyarrow_table(columns=list(COLUMNS)).sort_by("id")
            as_number = {"day": "int32", "seen": "int64", "at": "int64"}
            columns = [table.column(name).cast(as_number[name]).to_pylist() if name in as_number else table.column(name).to_pylist()
                       for name in COLUMNS]
            read = [list(row) for row in zip(*columns)]
            for row in read:
                row[13] = json.loads(row[13])
            need("rows that delta-rs reads", len(read), 20000)
            for got, want in zip(read, source):
                need("a row as delta-rs reads it", got, want)
            answer = vitalake.sql('SELECT id, "small", "large", exact, word, "key" FROM raw.claims ORDER BY id')
            need("rows in SQL", answer, [[row[0], row[2], row[3], row[6], row[7], row[8]] for row in source])
            database.crash()
            need("a run without its server fails", vitalake.run("feed", "run", "claims")[0] != 0, True)
            need("what was there stays", vitalake.sql("SELECT COUNT(*) FROM raw.claims"), [[20000]])
            database.start()
            database.sql("DELETE FROM t WHERE id % 2 = 0")
            until("it is read again", lambda: (vitalake.run("feed", "run", "claims"), vitalake.sql("SELECT COUNT(*) FROM raw.claims"))[1], [[10000]])
            words = (vitalake.folder / "log.txt").read_text(errors="replace") + (database.folder / "log").read_text(errors="replace")
            need("the password in a log", PASSWORD in words, False)
    return "20,000 rows of 14 types: the values of the table are those of SQL and of delta-rs; a server that was away, then read again"
