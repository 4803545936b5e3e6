"""Clients of PostgreSQL's wire protocol and of Arrow Flight SQL against our endpoints: psql, the drivers of Python and Java,
SQLAlchemy's inspector, ADBC, what dashboard tools ask. Each is a program of its own in wire/, which says what it got."""
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request

from parts import Failed, Vitalake, free_port, installed, jars, need, until
from postgres import Postgres
from secure_kafka import Certificates

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-0000000000aa
name: people
version: 1.0.0
status: active
schema:
  - name: people
    properties:
      - {name: id, logicalType: integer, physicalType: long, required: true}
      - {name: who, logicalType: string}
      - {name: height, logicalType: number, physicalType: double}
      - {name: adult, logicalType: boolean}
      - {name: born, logicalType: date}
      - {name: seen, logicalType: timestamp}
customProperties:
  - {property: source, value: feed}
"""
ROWS = 10_000


def files(run, settings=""):
    """The project, and a file for its dataset."""
    project = run.folder / "people"
    for name, text in {"vitalake.yaml": "name: people\n" + settings, "contracts/raw/people.yaml": CONTRACT}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    file = run.folder / "people.csv"
    with file.open("w") as out:
        out.write("id,who,height,adult,born,seen\n")
        for n in range(ROWS):
            who = "" if n == 7 else f"\"person, {n}\""
            out.write(f"{n},{who},{n / 4},{str(n % 2 == 0).lower()},2000-01-{n % 28 + 1:02},2026-01-01T00:00:{n % 60:02}Z\n")
    return project, file


def started(run, setting, port):
    project, file = files(run)
    vitalake = Vitalake(run.folder / "vitalake", run.binary, project, settings={setting: f"127.0.0.1:{port}"})
    return vitalake, file


def load(vitalake, file):
    vitalake.command_line("ingest", "people", file)
    until("the delivery is there", lambda: vitalake.sql("SELECT COUNT(*) FROM raw.people"), [[ROWS]])


def program(*command, seconds=300):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise Failed(f"{command[1]}: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout.strip().splitlines()


def postgres(run):
    python = installed("wire") / "bin/python"
    port = free_port()
    vitalake, file = started(run, "VITALAKE_POSTGRES__LISTEN", port)
    said = []
    with vitalake:
        load(vitalake, file)
        if psql := shutil.which("psql"):
            said.append(meta(psql, port))
        for name in ("psycopg_client.py", "asyncpg_client.py", "sqlalchemy_client.py"):
            said += program(python, run.here / "wire" / name, port, ROWS)
        if shutil.which("java"):
            said += program("java", "-Xmx256m", "-cp", jars("wire"), run.here / "wire/Client.java", port, ROWS)
        with Postgres(run.folder / "postgres") as database:
            theirs = same_tables(database, port)
            said += program(python, run.here / "wire/tools_client.py", f"host=127.0.0.1 port={port} dbname=vitalake user=ann", theirs)
    return "; ".join(said)


def same_tables(database, port):
    """Makes the tables and rows that our endpoint tells of in a real PostgreSQL; gives the way to it."""
    ours = ["psql", "-Xq", "-At", "-v", "ON_ERROR_STOP=1", f"host=127.0.0.1 port={port} dbname=vitalake user=ann", "-c"]

    def told(sql):
        return subprocess.run([*ours, sql], capture_output=True, text=True, check=True, timeout=60).stdout

    columns = told("SELECT quote_ident(table_schema) || '.' || quote_ident(table_name), quote_ident(column_name), udt_name, is_nullable FROM "
                   "information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, ordinal_position")
    tables = {}
    for table, column, kind, nullable in (line.split("|") for line in columns.splitlines()):
        kind = f"{kind[1:]}[]" if kind.startswith("_") else kind
        tables.setdefault(table, []).append(f"{column} {kind}{'' if nullable == 'YES' else ' NOT NULL'}")
    database.sql("CREATE DATABASE vitalake TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    database.sql("CREATE ROLE ann SUPERUSER LOGIN PASSWORD 'ann'")
    database.sql("ALTER ROLE ann SET search_path = serving")
    database.sql("ALTER ROLE ann SET timezone = 'UTC'")
    theirs = f"host=127.0.0.1 port={database.port} dbname=vitalake user=ann password=ann"
    schemas = "".join(f"CREATE SCHEMA {schema};" for schema in ("serving", "curated", "raw", "quarantine", "ops"))
    made = "DROP SCHEMA public CASCADE;" + schemas + "".join(f"CREATE TABLE {table} ({', '.join(own)});" for table, own in tables.items())
    there = [database.binaries / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", theirs, "-c"]
    subprocess.run([*there, made], check=True, capture_output=True, timeout=120)
    rows = subprocess.run([*ours[:-1], "--csv", "-c", "SELECT * FROM raw.people"], capture_output=True, text=True, check=True, timeout=60).stdout
    subprocess.run([*there, "COPY raw.people FROM STDIN (FORMAT csv)"], input=rows, text=True, check=True, capture_output=True, timeout=120)
    return theirs


class Secured(Vitalake):
    """The endpoints with clients and a certificate."""

    def __init__(self, run):
        certificates = Certificates(run.folder / "certificates")
        self.stranger = Certificates(run.folder / "stranger").authority
        (certificate, key), self.machine = certificates.issue("server"), certificates.issue("machine")
        self.authority, self.secret = certificates.authority, "correct horse battery"
        made = subprocess.run([run.binary, "password", "ada"], input=self.secret + "\n", capture_output=True, text=True, check=True)
        hashes = "".join(f"        {line.strip()}\n" for line in made.stdout.splitlines() if line.strip().startswith("- "))
        made = subprocess.run([run.binary, "token", "grafana", "--role", "analyst"], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in made.stdout.splitlines()]
        self.token = next(line for line in lines if line.startswith("vl_"))
        token = next(line for line in lines if line.startswith("token: "))
        project, self.file = files(run, (
            "access:\n  roles:\n    analyst: {clearance: restricted, layers: [raw], records: true, may: [deliver, operate]}\n  clients:\n"
            f"    ada:\n      roles: [analyst]\n      password:\n{hashes}    grafana:\n      roles: [analyst]\n      {token}\n"
            "    machine:\n      roles: [analyst]\n      certificate: CN=machine\n"
            f"http: {{tls: {{certificate: {certificate}, key: {key}, client_authority: {self.authority}}}}}\n"))
        self.wire, self.arrow = free_port(), free_port()
        super().__init__(run.folder / "vitalake", run.binary, project, settings={
            "VITALAKE_POSTGRES__LISTEN": f"127.0.0.1:{self.wire}", "VITALAKE_FLIGHT__LISTEN": f"127.0.0.1:{self.arrow}",
            "VITALAKE_TOKEN": self.token, "SSL_CERT_FILE": str(self.authority)})
        self.server = f"https://127.0.0.1:{self.http_port}"
        self.context = ssl.create_default_context(cafile=str(self.authority))

    def get(self, path):
        request = urllib.request.Request(self.server + path, headers={"authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def secured(run):
    python = installed("wire") / "bin/python"
    with (vitalake := Secured(run)):
        vitalake.command_line("ingest", "people", vitalake.file)
        until("the delivery is there", lambda: vitalake.command_line("query", "SELECT COUNT(*) FROM raw.people", "--format", "csv").split()[-1], str(ROWS))
        given = {"password": vitalake.secret, "token": vitalake.token, "authority": str(vitalake.authority), "stranger": str(vitalake.stranger),
                 "machine": [str(path) for path in vitalake.machine], "rows": ROWS}
        said = program(python, run.here / "wire/secured_client.py", vitalake.wire, vitalake.arrow, json.dumps(given))
        need("a secret in the process's words", any(secret in vitalake.words() for secret in (vitalake.secret, vitalake.token)), False)
    return "; ".join(said)


def meta(psql, port):
    """psql's commands with a backslash are queries of the catalogue; each must be answered."""
    def ask(command):
        done = subprocess.run([psql, "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", command,
                               f"host=127.0.0.1 port={port} dbname=vitalake user=ann"], capture_output=True, text=True, timeout=60)
        if done.returncode or done.stderr:
            raise Failed(f"psql {command}: {done.stderr[-500:]}")
        return done.stdout
    commands = [r"\dt raw.*", r"\d raw.people", r"\d+ raw.people", r"\dn", r"\dn+", r"\l", r"\du", r"\df", r"\di", r"\dv", r"\ds",
                r"\dp", r"\dT", r"\do", r"\dx", r"\conninfo", r"\d", r"\dt *.*", r"\z raw.people", r"\dRp", r"\dew", r"\drds", r"\dC", r"\db"]
    for command in commands:
        ask(command)
    need("psql's table", "people" in ask(r"\dt raw.*"), True)
    need("psql's columns", [line.split("|")[:2] for line in ask(r"\d raw.people").splitlines() if line.startswith(("id|", "seen|"))],
         [["id", "bigint"], ["seen", "timestamp with time zone"]])
    need("psql's rows", ask("SELECT count(*), max(who) FROM raw.people WHERE id < 3").strip(), "3|person, 2")
    return f"psql: {len(commands)} commands"


def flight(run):
    python = installed("wire") / "bin/python"
    port = free_port()
    vitalake, file = started(run, "VITALAKE_FLIGHT__LISTEN", port)
    with vitalake:
        load(vitalake, file)
        said = program(python, run.here / "wire/adbc_client.py", port, ROWS)
    return "; ".join(said)
