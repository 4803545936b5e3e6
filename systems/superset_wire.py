"""An analyst is let in as docs/postgres.md says it: psql, then a real Superset that comes over the Postgres wire, by psycopg2, under
TLS and with a name; its charts have the rows of our SQL."""
import json
import shutil
import subprocess

from parts import need, until
from parts_superset import Session, Superset
from wire import ROWS, Secured


def check(run):
    with (vitalake := Secured(run)):
        vitalake.command_line("ingest", "people", vitalake.file)
        until("the delivery is there", lambda: vitalake.command_line("query", "SELECT COUNT(*) FROM raw.people", "--format", "csv").split()[-1], str(ROWS))
        address = f"127.0.0.1:{vitalake.wire}/vitalake?sslmode=verify-full&sslrootcert={vitalake.authority}"
        if psql := shutil.which("psql"):
            done = subprocess.run([psql, "-XAt", f"postgres://grafana:{vitalake.token}@{address}", "-c", r"\dt raw.*", "-c", "SELECT count(*) FROM raw.people"],
                                  capture_output=True, text=True, timeout=60)
            need("psql's words", (done.returncode, done.stderr), (0, ""))
            need("psql's answer", done.stdout.strip().splitlines(), ["raw|people|table|grafana", str(ROWS)])
        with Superset(run.folder / "superset") as superset:
            return charts(Session(superset), f"postgresql+psycopg2://grafana:{vitalake.token}@{address}")


def charts(session, uri):
    database = session.post("database/", {"database_name": "vitalake", "sqlalchemy_uri": uri, "expose_in_sqllab": True})["id"]
    schemas = session.get(f"database/{database}/schemas/")["result"]
    need("schemas", {"raw", "curated", "serving"} <= set(schemas), True)
    tables = session.get(f"database/{database}/tables/?q=(schema_name:raw)")["result"]
    need("tables", [table["value"] for table in tables], ["people"])
    dataset = session.post("dataset/", {"database": database, "schema": "raw", "table_name": "people"})["id"]
    columns = {column["column_name"]: (column["type"], column["is_dttm"]) for column in session.get(f"dataset/{dataset}")["result"]["columns"]}
    need("columns", {name: columns[name] for name in ("id", "who", "height", "adult", "born", "seen")},
         {"id": ("BIGINT", False), "who": ("TEXT", False), "height": ("DOUBLE PRECISION", False), "adult": ("BOOLEAN", False),
          "born": ("DATE", True), "seen": ("TIMESTAMP WITH TIME ZONE", True)})
    asked = [
        ({"columns": ["adult"], "metrics": ["count"], "orderby": [["adult", True]]}, [{"adult": False, "count": ROWS // 2}, {"adult": True, "count": ROWS // 2}]),
        ({"columns": [{"columnType": "BASE_AXIS", "sqlExpression": "seen", "label": "seen", "expressionType": "SQL", "timeGrain": "PT1M"}], "metrics": ["count"],
          "extras": {"time_grain_sqla": "PT1M"}, "filters": [{"col": "seen", "op": "TEMPORAL_RANGE", "val": "2026-01-01 : 2026-01-02"}]}, [{"count": ROWS}]),
        ({"columns": [{"columnType": "BASE_AXIS", "sqlExpression": "born", "label": "born", "expressionType": "SQL", "timeGrain": "P1W"}], "metrics": ["count"],
          "extras": {"time_grain_sqla": "P1W"}, "filters": [{"col": "born", "op": "TEMPORAL_RANGE", "val": "2000-01-01 : 2000-01-08"}]}, None),
        ({"columns": ["who"], "metrics": [], "filters": [{"col": "who", "op": "ILIKE", "val": "%PERSON, 123%"}, {"col": "id", "op": "<", "val": 1235}],
          "orderby": [["who", True]]}, [{"who": "person, 123"}] + [{"who": f"person, {n}"} for n in range(1230, 1235)]),
        ({"columns": [], "metrics": [{"expressionType": "SIMPLE", "column": {"column_name": "height"}, "aggregate": "AVG", "label": "mean"}]}, [{"mean": (ROWS - 1) / 8}]),
    ]
    for query, want in asked:
        body = {"datasource": {"id": dataset, "type": "table"}, "queries": [{"row_limit": 1000, **query}], "result_format": "json", "result_type": "full"}
        found = session.post("chart/data", body)["result"][0]
        need(f"the error of {json.dumps(query)}", found["error"], None)
        rows = [{name: value for name, value in row.items() if name not in ("seen", "born")} for row in found["data"]]
        if want is None:
            need("rows of a week", sum(row["count"] for row in rows) > 2000, True)
        else:
            need(f"rows of {json.dumps(query)}", rows, want)
    lab = session.post("sqllab/execute/", {"database_id": database, "sql": "SELECT id, who FROM raw.people ORDER BY id", "schema": "raw", "queryLimit": 3, "runAsync": False, "client_id": "check1", "tab": "x"})
    need("SQL Lab", [row["id"] for row in lab["data"]], [0, 1, 2])
    return f"psql and Superset over the wire: {len(asked)} charts, SQL Lab"
