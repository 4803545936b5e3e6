"""Each engine that is asked the clinic's questions: how it finds the tables and gives an Answer (same_values.py).

Delta's readers are told which tables there are (`layer.dataset` to folder) and answer as Arrow, so that types are compared too.
"""
import json
import pathlib
import subprocess
import urllib.error
import urllib.request

from parts import Failed, installed
from same_values import Answer

HERE = pathlib.Path(__file__).resolve().parent


def flat(table):
    """A name without a dot, for engines in which the tables are registered."""
    return table.replace(".", "_")


class DruidSql:
    """Druid's SQL over HTTP: ours, or a real one's."""

    def __init__(self, server, name="vitalake", dialect="druid", named=lambda table: table, headers=None):
        self.server, self.name, self.dialect, self.named, self.headers = server, name, dialect, named, headers or {}

    def ask(self, question):
        # Exact distinct counts: Druid's own are approximate by default, and ours exact either way.
        body = {"query": question.sql(self.dialect, self.named), "resultFormat": "array", "header": True, "typesHeader": True,
                "sqlTypesHeader": True, "context": {"useApproximateCountDistinct": False}}
        request = urllib.request.Request(f"{self.server}/druid/v2/sql", json.dumps(body).encode(), {"Content-Type": "application/json", **self.headers})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                names, _, types, *rows = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Failed(f"HTTP {error.code}: {error.read()[:300].decode(errors='replace')}") from None
        return Answer(self.name, names, types, rows)


class DuckDb:
    """DuckDB reads Delta by its own extension, which is the Delta kernel."""

    name, dialect = "DuckDB", "duckdb"

    def __init__(self, tables):
        import duckdb
        import duckdb_ext

        self.connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        extension = next(pathlib.Path(duckdb_ext.__path__[0]).glob(f"extensions/v{duckdb.__version__}/*/delta.duckdb_extension"))
        self.connection.execute(f"LOAD '{extension}'; SET TimeZone='UTC'")
        for table, folder in tables.items():
            self.connection.execute(f"CREATE VIEW {flat(table)} AS SELECT * FROM delta_scan('{folder}')")

    def ask(self, question):
        return arrow_answer(self.name, self.connection.execute(question.sql(self.dialect, flat)).fetch_arrow_table())


class DeltaRs:
    """delta-rs, asked by its own DataFusion."""

    name, dialect = "delta-rs", "datafusion"

    def __init__(self, tables):
        from deltalake import DeltaTable, QueryBuilder

        self.builder = QueryBuilder()
        for table, folder in tables.items():
            self.builder = self.builder.register(flat(table), DeltaTable(str(folder)))

    def ask(self, question):
        import pyarrow

        return arrow_answer(self.name, pyarrow.table(self.builder.execute(question.sql(self.dialect, flat))))


class PyArrow:
    """delta-rs gives pyarrow the table; questions that ask for stored rows alone, without conditions."""

    name = "pyarrow"

    def __init__(self, tables):
        self.tables = tables

    def ask(self, question):
        from deltalake import DeltaTable

        plain = [expression.strip('"') for _, expression in question.by.values()]
        return arrow_answer(self.name, DeltaTable(str(self.tables[question.table])).to_pyarrow_table(columns=plain))


class Spark:
    """Spark over the same folders, by Spark Connect in Spark's own Python: all questions in one go."""

    name, dialect = "Spark", "spark"

    def __init__(self, spark, tables, folder, questions):
        self.folder, self.texts = folder, {question.title: question.sql(self.dialect, flat) for question in questions}
        folder.mkdir()
        (folder / "asked.json").write_text(json.dumps({"tables": {flat(table): str(path) for table, path in tables.items()}, "texts": list(self.texts.values())}))
        python = installed("spark") / "bin/python"
        done = subprocess.run([python, HERE / "spark_client.py", spark.remote, "ask", folder], capture_output=True, text=True, timeout=540)
        if done.returncode:
            raise Failed(f"Spark: {done.stderr[-800:]}")
        self.refused = json.loads(done.stdout.strip().splitlines()[-1])

    def ask(self, question):
        import pyarrow.ipc

        number = list(self.texts).index(question.title)
        if refusal := self.refused.get(str(number)):
            raise Failed(refusal)
        with pyarrow.ipc.open_file(self.folder / f"{number}.arrow") as file:
            return arrow_answer(self.name, file.read_all())


def arrow_answer(name, table):
    """A time without a zone is no instant: its type is said as another, so that it is refused."""
    types = [f"local {field.type}" if str(field.type).startswith("timestamp") and not field.type.tz else str(field.type) for field in table.schema]
    columns = [column.to_pylist() for column in table.columns]
    return Answer(name, table.schema.names, types, list(zip(*columns)))


class Superset:
    """A chart's data for each question, made of the question's columns and conditions, over our endpoint as Superset's database."""

    name, dialect = "Superset", "druid"

    def __init__(self, superset, address, tables):
        import parts_superset

        self.session = parts_superset.Session(superset)
        uri = f"druid://{address}/druid/v2/sql/?header=true"
        database = self.session.post("database/", {"database_name": "same answers", "sqlalchemy_uri": uri})["id"]
        self.datasets = {}
        for table in tables:
            schema, name = table.split(".")
            made = self.session.post("dataset/", {"database": database, "schema": schema, "table_name": name})
            self.datasets[table] = made["id"]

    def ask(self, question):
        column = lambda name, expression: {"expressionType": "SQL", "label": name, "sqlExpression": self.spelled(expression)}
        order = {name: expression for name, (_, expression) in {**question.by, **question.measures}.items()}
        query = {
            "columns": [column(name, expression) for name, (_, expression) in question.by.items()],
            "metrics": [column(name, expression) for name, (_, expression) in question.measures.items()] or None,
            "extras": {"where": self.spelled(question.where), "having": self.spelled(question.having)},
            "orderby": [[column(name, order[name]), not descending] for name, descending in question.order],
            "row_limit": question.limit or 10000, "filters": [], "post_processing": [],
        }
        asked = {"datasource": {"id": self.datasets[question.table], "type": "table"}, "force": True, "result_format": "json", "result_type": "full", "queries": [query]}
        result = self.session.post("chart/data", asked)["result"][0]
        names = [*question.by, *question.measures]
        return Answer(self.name, names, [""] * len(names), [tuple(row[name] for name in names) for row in result["data"]])

    def spelled(self, expression):
        import clinic_questions

        return clinic_questions.spell(expression, self.dialect, lambda table: table)
