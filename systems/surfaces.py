"""The policy by every surface: weak roles ask by Druid SQL, REST, PostgreSQL's wire and Flight SQL, over rows that lie in a
commit and in the tail, in three layers, and get what SQLite answers over a copy that was masked and filtered by hand."""
import json
import subprocess
import urllib.request

from parts import Vitalake, free_port, installed, need, until
from wire import program

KEY = "0123456789abcdef0123456789abcdef"
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-0000000001{number:02}
name: {name}
version: 1.0.0
status: active
schema:
  - name: {name}
    properties:
      - {{name: who, logicalType: string, required: true, classification: restricted, customProperties: [{{property: mask, value: hash}}]}}
      - {{name: name, logicalType: string, classification: restricted, customProperties: [{{property: mask, value: redact}}]}}
      - {{name: zip, logicalType: string, classification: confidential, customProperties: [{{property: mask, value: first3}}]}}
      - {{name: ward, logicalType: string}}
      - {{name: weight, logicalType: number, classification: confidential, customProperties: [{{property: mask, value: bucket(10)}}]}}
      - {{name: visits, logicalType: integer}}
      - {{name: code, logicalType: string, classification: restricted}}
roles:
  - {{role: steward, access: readWrite}}
  - {{role: nurse, access: read}}
  - {{role: analyst, access: read, customProperties: [{{property: rowFilter, value: "ward = 'north'"}}]}}
{topic}"""
LAYERS = {"raw": "arrivals", "curated": "stays", "serving": "beds"}
NAMES = ["Zebulon", "Xanthippe", "Quirinius", None]
ROLES = {"analyst": "{layers: [raw, curated, serving]}", "nurse": "{clearance: confidential, layers: [raw, curated, serving]}",
         "steward": "{clearance: restricted, layers: [raw, curated, serving, quarantine, ops], records: true, may: [deliver, operate]}"}


def rows():
    """Of rows that the analyst may not see a division by the visits fails."""
    zips, wards = ["94110", "03601", "10001", None, "77777"], ["north", "south", "north", None]
    for n in range(40):
        ward = wards[n % 4]
        yield {"who": f"p-{n}", "name": NAMES[n % len(NAMES)], "zip": zips[n % len(zips)], "ward": ward, "weight": None if n % 7 == 6 else n * 2.5 + 71.25,
               "visits": n % 3 + 1 if ward == "north" else 0, "code": f"c-secret{n}"}


class Guarded(Vitalake):
    def __init__(self, run):
        project = run.folder / "guarded"
        self.tokens, clients, self.postgres, self.flight = {}, "", free_port(), free_port()
        for role in ROLES:
            said = subprocess.run([run.binary, "token", role, "--role", role], capture_output=True, text=True, check=True).stdout
            lines = [line.strip() for line in said.splitlines()]
            self.tokens[role] = next(line for line in lines if line.startswith("vl_"))
            clients += f"    {role}: {{roles: [{role}], {next(line for line in lines if line.startswith('token: '))}}}\n"
        settings = ("name: guarded\nstorage: {commit_interval_ms: 600000}\n" f"postgres: {{listen: 127.0.0.1:{self.postgres}}}\n"
                    f"flight: {{listen: 127.0.0.1:{self.flight}}}\naccess:\n  mask_key: {KEY}\n  roles:\n"
                    + "".join(f"    {role}: {what}\n" for role, what in ROLES.items()) + "  clients:\n" + clients)
        files = {"vitalake.yaml": settings}
        for number, (layer, name) in enumerate(LAYERS.items()):
            topic = "customProperties:\n  - {property: topic, value: arrivals}\n" if layer == "raw" else ""
            files[f"contracts/{layer}/{name}.yaml"] = CONTRACT.format(number=number, name=name, topic=topic)
        select = "-- kind: append\nSELECT who, name, zip, ward, weight, visits, code FROM "
        files |= {"models/curated/stays.sql": select + "raw.arrivals\n", "models/serving/beds.sql": select + "curated.stays\n"}
        for path, text in files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        super().__init__(run.folder / "vitalake", run.binary, project)

    def post(self, path, body, kind="application/json"):
        headers = {"content-type": kind, "authorization": f"Bearer {self.tokens['steward']}"}
        with urllib.request.urlopen(urllib.request.Request(self.server + path, body.encode(), headers), timeout=60) as answer:
            return json.loads(answer.read())


def check(run):
    python = installed("wire") / "bin/python"
    all_rows = list(rows())
    tables = ["raw.arrivals", "curated.stays", "serving.beds_live"]
    with Guarded(run) as vitalake:
        # The first half is committed, the second lies in the tail.
        for part, there in ((all_rows[:20], 20), (all_rows[20:], len(all_rows))):
            lines = "\n".join(json.dumps(row) for row in part)
            need("records taken", vitalake.post("/ingest/arrivals", lines, "application/x-ndjson")["accepted"], len(part))
            for table in tables:
                count = json.dumps({"query": f"SELECT COUNT(*) FROM {table}", "resultFormat": "array"})
                until(f"{table} has its rows", lambda: vitalake.post("/druid/v2/sql", count), [[there]])
            if there == 20:
                vitalake.post("/api/v1/flush", "")
        told = run.folder / "told.json"
        told.write_text(json.dumps({"http": vitalake.http_port, "postgres": vitalake.postgres, "flight": vitalake.flight, "key": KEY,
                                    "tokens": vitalake.tokens, "tables": tables, "rows": all_rows}))
        return "; ".join(program(python, run.here / "wire/matrix_client.py", told))
