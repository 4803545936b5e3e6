"""psycopg 3 and psycopg2: both forms of values, server cursors, pipelines, prepared statements, errors, cancel."""
import datetime
import sys
import threading
import time

import psycopg
import psycopg2
import psycopg2.extras
from psycopg import errors

port, rows = int(sys.argv[1]), int(sys.argv[2])
dsn = f"host=127.0.0.1 port={port} dbname=vitalake user=ann"
utc = datetime.timezone.utc
want = (1, "person, 1", 0.25, False, datetime.date(2000, 1, 2), datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=utc))
COLUMNS = "id, who, height, adult, born, seen"


def need(what, got, want):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def refused(kind, connection, sql, *values):
    try:
        connection.execute(sql, *values).fetchall()
    except kind:
        connection.rollback()
    else:
        raise AssertionError(f"{sql} is not refused")


with psycopg.connect(dsn) as connection:
    need("version", connection.info.server_version, 150000)
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        need("a row", cursor.execute(f"SELECT {COLUMNS} FROM raw.people WHERE id = %s", [1]).fetchone(), want)
        need("by a text", cursor.execute("SELECT id FROM raw.people WHERE who = %s", ["person, 5"]).fetchall(), [(5,)])
        need("by a date", cursor.execute("SELECT count(*) FROM raw.people WHERE born = %s AND id < 100", [want[4]]).fetchone(), (4,))
        need("by a time", cursor.execute("SELECT count(*) FROM raw.people WHERE seen > %s", [want[5]]).fetchone()[0] > 9000, True)
        need("by a float", cursor.execute("SELECT count(*) FROM raw.people WHERE height < %s", [1.0]).fetchone(), (4,))
        need("by a list", cursor.execute("SELECT count(*) FROM raw.people WHERE id = ANY(%s)", [[1, 2, 99999]]).fetchone(), (2,))
        need("null", cursor.execute("SELECT who FROM raw.people WHERE id = 7").fetchone(), (None,))
        need("numeric", str(cursor.execute("SELECT 1.50").fetchone()[0]), "1.50")
        need("all rows", len(cursor.execute("SELECT * FROM raw.people").fetchall()), rows)
    with connection.cursor(name="portions") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT id FROM raw.people ORDER BY id")
        need("a server cursor", [row[0] for row in cursor], list(range(rows)))
    for _ in range(8):  # prepared from the fifth on
        connection.execute("SELECT id FROM raw.people WHERE id = %s", [3]).fetchone()
    with connection.pipeline():
        cursors = [connection.execute("SELECT id FROM raw.people WHERE id = %s", [n]) for n in range(20)]
    need("a pipeline", [cursor.fetchone()[0] for cursor in cursors], list(range(20)))
    refused(errors.UndefinedTable, connection, "SELECT * FROM nosuch")
    refused(errors.UndefinedColumn, connection, "SELECT nosuch FROM raw.people")
    refused(errors.SyntaxError, connection, "SELECT SELECT")
    refused(errors.DivisionByZero, connection, "SELECT 1 / 0")
    refused(errors.ReadOnlySqlTransaction, connection, "INSERT INTO raw.people VALUES (1)")
    refused(errors.FeatureNotSupported, connection, "COPY raw.people TO STDOUT")
    threading.Thread(target=lambda: (time.sleep(1), connection.cancel())).start()
    refused(errors.QueryCanceled, connection, "SELECT count(*) FROM raw.people a, raw.people b, raw.people c WHERE a.id + b.id + c.id > 1")
    connection.execute("SET statement_timeout = 500")
    refused(errors.QueryCanceled, connection, "SELECT count(*) FROM raw.people a, raw.people b, raw.people c WHERE a.id + b.id + c.id > 1")

connection = psycopg2.connect(dsn)
with connection, connection.cursor(cursor_factory=psycopg2.extras.DictCursor) as cursor:
    cursor.execute(f"SELECT {COLUMNS} FROM raw.people WHERE id = %s", (1,))
    need("psycopg2", tuple(cursor.fetchone()), want)
with connection, connection.cursor("portions") as cursor:
    cursor.itersize = 1000
    cursor.execute("SELECT id FROM raw.people")
    need("psycopg2's server cursor", sum(1 for _ in cursor), rows)
print("psycopg and psycopg2: rows, portions, pipelines, errors, cancel")
