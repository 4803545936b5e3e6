"""Reads a Delta table with DuckDB and delta-rs and compares with what was written.

Usage: read_tables.py TABLE ROWS. Row n of the table follows from n, as in tests/it/delta_fixture.rs. Prints `ok` and
how many files each filter left, or fails with what differs.
"""

import datetime
import os
import sys

import duckdb
import duckdb_ext
from deltalake import DeltaTable

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def expected(rows, keep):
    kept = [n for n in range(rows) if keep(n)]
    steps = [n % 100 for n in kept if n % 7 != 0]
    return (len(kept), sum(kept), sum(steps), len(kept) - len(steps), sum(n / 4.0 for n in kept))


def device(n):
    return f"device-{n:06d}-with-a-name-past-the-limit"


def at(n):
    return START + datetime.timedelta(minutes=n, microseconds=123456)


def micros(n):
    return int(START.timestamp()) * 1_000_000 + n * 60_000_000 + 123456


def filters(rows):
    third, half = rows // 3, rows // 2
    text = "TIMESTAMPTZ '%s'"
    return [
        ("true", lambda n: True),
        (f"device = '{device(half)}'", lambda n: n == half),
        (f"device <= '{device(third)}'", lambda n: n <= third),
        (f"device > '{device(rows - 2)}'", lambda n: n > rows - 2),
        ('"at" = ' + text % at(rows - 1).isoformat(), lambda n: n == rows - 1),
        ('"at" >= ' + text % at(half).isoformat(), lambda n: n >= half),
        ('"at" < ' + text % at(third).isoformat(), lambda n: n < third),
        (f"sequence BETWEEN {third} AND {half}", lambda n: third <= n <= half),
        (f"value > {half / 4.0}", lambda n: n / 4.0 > half / 4.0),
        ("steps IS NULL", lambda n: n % 7 == 0),
        ("worn", lambda n: n % 2 == 0),
        ("day > DATE '2024-10-04'", lambda n: 20000 + n // 1440 > 20000),
    ]


def main(table, rows):
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    folder = os.path.join(list(duckdb_ext.__path__)[0], "extensions", f"v{duckdb.__version__}", "linux_amd64")
    connection.execute(f"LOAD '{folder}/delta.duckdb_extension'")
    connection.execute("SET TimeZone = 'UTC'")
    sums = "count(*), sum(sequence), coalesce(sum(steps), 0), count(*) - count(steps), sum(value)"
    delta = DeltaTable(table)
    connection.register("by_delta_rs", delta.to_pyarrow_dataset())
    for predicate, keep in filters(rows):
        want = expected(rows, keep)
        for reader, source in (("duckdb", f"delta_scan('{table}')"), ("delta-rs", "by_delta_rs")):
            got = connection.execute(f"SELECT {sums} FROM {source} WHERE {predicate}").fetchone()
            if tuple(got) != want:
                sys.exit(f"{reader}: {predicate}: got {got}, want {want}")
    raw = connection.execute(f"SELECT count(_raw), min(octet_length(_raw)) FROM delta_scan('{table}')").fetchone()
    if raw != (len(range(0, rows, 3)), 8):
        sys.exit(f"duckdb: raw bytes: {raw}")
    extremes = f"SELECT epoch_us(min(\"at\")), epoch_us(max(\"at\")), min(device), max(device) FROM delta_scan('{table}')"
    got = connection.execute(extremes).fetchone()
    if got != (micros(0), micros(rows - 1), device(0), device(rows - 1)):
        sys.exit(f"duckdb: extremes: {got}")
    names = [str(field.type) for field in delta.schema().fields]
    print(f"ok: version {delta.version()}, {len(delta.file_uris())} files, {rows} rows, {len(names)} columns")


main(sys.argv[1], int(sys.argv[2]))
