"""What pydruid and SQLAlchemy ask of a Druid endpoint; run by pydruid.rs with the server's port."""

import sys

from pydruid.db import connect
from sqlalchemy import create_engine, text
from sqlalchemy.engine import reflection

port = int(sys.argv[1])

for header in (False, True):
    cursor = connect(host="127.0.0.1", port=port, path="/druid/v2/sql/", scheme="http", header=header).cursor()
    cursor.execute("SELECT s, l, __time FROM tiny ORDER BY __time")
    rows = [tuple(row) for row in cursor]
    assert len(rows) == 5, rows
    assert rows[0] == ("a", 1, "2024-03-09T23:30:00.000Z"), rows
    assert rows[2][1] == 9007199254740993, rows

cursor.execute("SELECT 'ends in a backslash\\' AS x, 1 AS y")
assert [tuple(row) for row in cursor] == [("ends in a backslash\\", 1)]

cursor.execute("SELECT s FROM tiny WHERE s = %(s)s", {"s": "b"})
assert [tuple(row) for row in cursor] == [("b",)]

try:
    cursor.execute("SELECT nosuch FROM tiny")
    list(cursor)
    raise AssertionError("an unknown column was answered")
except Exception as error:  # pydruid has one class for every refusal
    assert "Column 'nosuch' not found" in str(error), error

engine = create_engine(f"druid://127.0.0.1:{port}/druid/v2/sql/?header=true")
with engine.connect() as connection:
    assert connection.execute(text("SELECT COUNT(*) FROM tiny WHERE 1 = 0")).scalar() == 0
    assert connection.execute(text("SELECT s FROM tiny WHERE 1 = 0")).fetchall() == []
    assert connection.execute(text("SELECT 1")).scalar() == 1
    dialect = engine.dialect
    assert "druid" in dialect.get_schema_names(connection)
    assert dialect.get_table_names(connection, schema="druid") == ["tiny"], dialect.get_table_names(connection, schema="druid")
    columns = {column["name"]: (column["type"].__name__, column["nullable"]) for column in dialect.get_columns(connection, "tiny", "druid")}
    assert columns["__time"] == ("TIMESTAMP", False), columns
    assert columns["l"] == ("BigInteger", True), columns
print("pydruid agrees")
