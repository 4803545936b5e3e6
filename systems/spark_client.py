"""The half of the Spark checks that runs in Spark's own Python: `read` looks at Delta tables, `write` makes some, `ask` asks.

    spark_client.py REMOTE read PATH…       prints {path: {version, rows, operations, sums, checkpoint}} as JSON
    spark_client.py REMOTE write FOLDER     writes FOLDER/NAME (a Delta table) and FOLDER/NAME.json: {rows, sums}, what a
                                            reader must find, or {refused: FEATURE}, what it may refuse by name
    spark_client.py REMOTE ask FOLDER       asks the texts of FOLDER/asked.json over the tables there, which are views; answers
                                            are FOLDER/NUMBER.arrow, and {NUMBER: what Spark said} is printed for those refused
"""
import json
import pathlib
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

NUMBERS = ("bigint", "int", "double", "float", "smallint", "tinyint", "long", "integer")


def contents(table):
    """How many rows there are, and the sum of every number column."""
    columns = [name for name, kind in table.dtypes if kind in NUMBERS]
    row = table.agg(f.count(f.lit(1)).alias("rows"), *(f.sum(f.col(f"`{name}`")).alias(f"sum_{name}") for name in columns)).collect()[0]
    return {"rows": row["rows"], "sums": {name: row[f"sum_{name}"] for name in columns}}


def read(spark, paths):
    answer = {}
    for path in paths:
        history = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").select("version", "operation").collect()
        answer[path] = {"version": max(row["version"] for row in history), "commits": len(history),
                        "operations": sorted({row["operation"] for row in history}),
                        **contents(spark.read.format("delta").load(path))}
    print(json.dumps(answer))


def write(spark, folder):
    def rows(first, last):
        identity = f.col("id")
        return spark.range(first, last).select(
            identity, f.concat(f.lit("device-"), identity % 7).alias("device"), (identity % 100).cast("int").alias("steps"),
            f.when(identity % 3 != 0, identity / 4).alias("value"), (identity % 2 == 0).alias("worn"),
            f.timestamp_seconds(identity * 60 + 1767225600).alias("at"), f.expr("date_add(date'2026-01-01', cast(id % 30 as int))").alias("day"),
            f.encode(f.lit("bytes"), "utf-8").alias("raw"))

    def table(name, properties="", partitioned=False, refused=None):
        path = folder / name
        names = "id BIGINT, device STRING, steps INT, value DOUBLE, worn BOOLEAN, at TIMESTAMP, day DATE, raw BINARY"
        spark.sql(f"CREATE TABLE delta.`{path}` ({names}) USING delta {'PARTITIONED BY (day)' if partitioned else ''} TBLPROPERTIES ('made.by'='Spark'{properties})")
        made[name] = refused
        return path

    def append(path, *bounds):
        for first, last in zip(bounds, bounds[1:]):
            rows(first, last).repartition(2).write.format("delta").mode("append").save(str(path))

    def change(path):
        """Rows are changed, taken away and merged."""
        rows(900, 1100).withColumn("steps", f.lit(1000)).createOrReplaceTempView("news")
        spark.sql(f"UPDATE delta.`{path}` SET steps = steps + 1 WHERE id % 10 = 0")
        spark.sql(f"DELETE FROM delta.`{path}` WHERE id % 11 = 0")
        spark.sql(f"MERGE INTO delta.`{path}` t USING news n ON t.id = n.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")

    made = {}
    plain, vectors = ", 'delta.enableDeletionVectors'='false'", ", 'delta.enableDeletionVectors'='true'"
    append(table("as_spark_makes_it"), 0, 500, 1000)
    append(table("appended", plain), 0, 500, 1000, 1700)
    append(table("checkpointed", plain + ", 'delta.checkpointInterval'='2'"), *range(0, 600, 100))
    path = table("changed", plain)
    append(path, 0, 500, 1000)
    change(path)
    spark.sql(f"OPTIMIZE delta.`{path}`")
    path = table("changed_with_vectors", vectors, refused="deletionVectors")
    append(path, 0, 1000)
    change(path)
    append(table("partitioned", plain, partitioned=True, refused="partitionColumns"), 0, 300)
    append(table("mapped", plain + ", 'delta.columnMapping.mode'='name'", refused="columnMapping"), 0, 300)
    for name, refused in made.items():
        want = {"refused": refused} if refused else contents(spark.read.format("delta").load(str(folder / name)))
        (folder / f"{name}.json").write_text(json.dumps(want))
    print(json.dumps(sorted(made)))


def ask(spark, folder):
    import pyarrow.ipc

    asked, refused = json.loads((folder / "asked.json").read_text()), {}
    for name, path in asked["tables"].items():
        spark.read.format("delta").load(path).createOrReplaceTempView(name)
    for number, text in enumerate(asked["texts"]):
        try:
            answer = spark.sql(text).toArrow()
        except Exception as error:  # noqa: BLE001: told to whoever compares
            refused[number] = str(error)[:300]
            continue
        with pyarrow.ipc.new_file(folder / f"{number}.arrow", answer.schema) as file:
            file.write_table(answer)
    print(json.dumps(refused))


if __name__ == "__main__":
    session = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    if sys.argv[2] == "read":
        read(session, sys.argv[3:])
    elif sys.argv[2] == "ask":
        ask(session, pathlib.Path(sys.argv[3]))
    else:
        write(session, pathlib.Path(sys.argv[3]))
