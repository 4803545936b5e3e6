"""The ADBC driver of Flight SQL: statements, parameters, objects, and that the schema told is the schema sent."""
import sys

import adbc_driver_flightsql.dbapi as flight
import pyarrow as pa

port, rows = int(sys.argv[1]), int(sys.argv[2])
with flight.connect(f"grpc://127.0.0.1:{port}") as connection:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, who, height, adult, born, seen FROM raw.people ORDER BY id")
        table = cursor.fetch_arrow_table()
        assert table.num_rows == rows and table["id"].to_pylist() == list(range(rows))
        kinds = [str(field.type) for field in table.schema]
        assert kinds == ["int64", "string", "double", "bool", "date32[day]", "timestamp[us, tz=UTC]"], kinds
        for sql in ("SELECT count(*), max(who) FROM raw.people", "SELECT count(id) AS n, min(born) FROM raw.people WHERE id < 0",
                    "SELECT 1 AS a, 'x' AS b, NULL AS c", "SELECT * FROM raw.people LIMIT 3"):
            told = cursor.adbc_execute_schema(sql)
            cursor.execute(sql)
            sent = cursor.fetch_arrow_table().schema
            assert told.equals(sent), f"{sql}: {told} is told and {sent} sent"
        cursor.execute("SELECT who FROM raw.people WHERE id = $1", parameters=(5,))
        assert cursor.fetchall() == [("person, 5",)]
        cursor.execute("SELECT count(*) FROM raw.people WHERE who = $1", parameters=("person, 5' OR '1' = '1",))
        assert cursor.fetchall() == [(0,)]
        for sql in ("INSERT INTO raw.people VALUES (1)", "SELECT nosuch FROM raw.people", "CREATE TABLE x (a INT)"):
            try:
                cursor.execute(sql)
                cursor.fetchall()
            except Exception as refusal:
                assert "person" not in str(refusal), refusal
            else:
                raise AssertionError(f"{sql} is not refused")
    objects = connection.adbc_get_objects(depth="tables", db_schema_filter="raw").read_all().to_pylist()
    tables = [table["table_name"] for catalog in objects for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]]
    assert "people" in tables, objects
    assert connection.adbc_get_table_schema("people", db_schema_filter="raw").field("id").type == pa.int64()
    assert connection.adbc_get_table_types() == ["TABLE"]
    assert connection.adbc_get_info()["vendor_name"] == "vitalake", connection.adbc_get_info()
print("ADBC: statements, parameters, objects")
