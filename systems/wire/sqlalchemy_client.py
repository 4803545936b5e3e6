"""SQLAlchemy over its drivers: queries, streams, and its inspector with whole tables reflected."""
import sys

import sqlalchemy as sa

port, rows = int(sys.argv[1]), int(sys.argv[2])
for driver in ("psycopg", "psycopg2"):
    engine = sa.create_engine(f"postgresql+{driver}://ann@127.0.0.1:{port}/vitalake")
    inspector = sa.inspect(engine)
    assert {"raw", "curated", "serving"} <= set(inspector.get_schema_names()), inspector.get_schema_names()
    assert "people" in inspector.get_table_names(schema="raw"), inspector.get_table_names(schema="raw")
    assert inspector.get_table_names() == [] and inspector.get_view_names(schema="raw") == []
    columns = {column["name"]: column for column in inspector.get_columns("people", schema="raw")}
    kinds = {name: str(columns[name]["type"]) for name in ("id", "who", "height", "adult", "born", "seen")}
    want = {"id": "BIGINT", "who": "TEXT", "height": "DOUBLE PRECISION", "adult": "BOOLEAN", "born": "DATE", "seen": "TIMESTAMP"}
    assert kinds == want, kinds
    assert not columns["id"]["nullable"] and columns["who"]["nullable"], columns
    assert inspector.get_pk_constraint("people", schema="raw")["constrained_columns"] == []
    assert inspector.get_foreign_keys("people", schema="raw") == [] and inspector.get_indexes("people", schema="raw") == []
    assert inspector.has_table("people", schema="raw") and not inspector.has_table("nosuch", schema="raw")
    people = sa.Table("people", sa.MetaData(), schema="raw", autoload_with=engine)
    with engine.connect() as connection:
        query = sa.select(people.c.adult, sa.func.count(), sa.func.avg(people.c.height)).group_by(people.c.adult).order_by(people.c.adult)
        found = connection.execute(query).all()
        assert [row[:2] for row in found] == [(False, rows // 2), (True, rows // 2)], found
        assert connection.execute(sa.select(people.c.id).where(people.c.who.like("person, 1_")).order_by(people.c.id).limit(3)).scalars().all() == [10, 11, 12]
        streamed = connection.execution_options(stream_results=True, max_row_buffer=1000).execute(sa.select(people.c.id))
        assert sum(1 for _ in streamed) == rows
    engine.dispose()
print("SQLAlchemy: queries, streams, reflection")
