"""Clients of PostgreSQL's wire protocol and of Arrow Flight SQL against our endpoints: psql, the drivers of Python and Java,
SQLAlchemy's inspector, ADBC. Each is a program of its own in wire/, which says what it got."""
import shutil
import subprocess

from parts import Failed, Vitalake, free_port, installed, jars, need, until

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


def started(run, setting, port):
    project = run.folder / "people"
    for name, text in {"vitalake.yaml": "name: people\n", "contracts/raw/people.yaml": CONTRACT}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    file = run.folder / "people.csv"
    with file.open("w") as out:
        out.write("id,who,height,adult,born,seen\n")
        for n in range(ROWS):
            who = "" if n == 7 else f"\"person, {n}\""
            out.write(f"{n},{who},{n / 4},{str(n % 2 == 0).lower()},2000-01-{n % 28 + 1:02},2026-01-01T00:00:{n % 60:02}Z\n")
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
