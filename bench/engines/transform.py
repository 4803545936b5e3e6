"""raw → curated → serving over one raw table that is there, on each engine; all must give the same tables.

Curated is each reading once by its key, with the contract's rules; serving is by device and hour. vitalake also keeps
books, quarantine and what the next increment needs, which Spark's batch does not.
"""
import os
import pathlib
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SETTING = "VITALAKE_ENGINES__TRANSFORM"
RULES = "heart_rate BETWEEN 20 AND 250 AND spo2 BETWEEN 50 AND 100 AND steps >= 0 AND device_id IS NOT NULL AND observed_at IS NOT NULL"


def run(step):
    if step["engine"] == "Spark batch":
        return spark_batch(step)
    if step["engine"] == "models on Spark":
        return models_on_spark(step)
    return in_process(step)


def raw_folder(step):
    return pathlib.Path(step["data"]) / f"{step['rows']}-raw"


def in_process(step, settings=None):
    """From the start of a process that has the raw table, and models that never ran, to everything derived and committed."""
    from server import Server

    data = pathlib.Path(step.get("keep") or pathlib.Path(step["data"]) / "transform")
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(raw_folder(step), data)
    os.environ.update(settings or {})
    server = Server(step["bin"], str(HERE.parent / "project/pipeline"), str(data))
    try:
        begun = time.perf_counter()
        server.start()
        wanted = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"]
        while (server.sql("SELECT SUM(readings) AS n FROM serving.readings_hourly_live")[0]["n"] or 0) < wanted:
            time.sleep(0.2)
            server.until_landed(of_all_layers=True)
        server.flush()
        seconds, cpu = time.perf_counter() - begun, server.cpu_seconds()
        sums = server.sql("SELECT SUM(readings) AS n, SUM(steps) AS s, COUNT(*) AS g FROM serving.readings_hourly")[0]
        return {"seconds": seconds, "cpu": cpu, "memory_mb": server.memory_mb("VmHWM"), "sums": [sums["n"], sums["s"], sums["g"]]}
    finally:
        server.stop()
        if not step.get("keep"):
            shutil.rmtree(data, ignore_errors=True)


def models_on_spark(step):
    """The same process with its models on Spark, which is started and warm before."""
    sys.path.append(str(HERE.parent.parent / "systems"))
    from parts import SparkConnect

    class LargeSpark(SparkConnect):
        def command(self):
            words = [str(word) for word in super().command()]
            return [f"spark.driver.memory={step['spark_memory']}" if word.startswith("spark.driver.memory=") else word for word in words]

    place = pathlib.Path(step["data"]) / "spark"
    shutil.rmtree(place, ignore_errors=True)
    try:
        with LargeSpark(place) as spark:
            used = processor_seconds(spark.process.pid)
            found = in_process(step, {SETTING: f"sc://127.0.0.1:{spark.port}"})
            found["cpu"] += processor_seconds(spark.process.pid) - used
            found["memory_mb"] += peak_mb(spark.process.pid)
            return found
    finally:
        shutil.rmtree(place, ignore_errors=True)


def spark_batch(step):
    """pyspark over the raw Delta table, warmed up on a few rows; two writes, as there are two tables."""
    from pyspark.sql import functions as f

    place = pathlib.Path(step["data"]) / "spark"
    shutil.rmtree(place, ignore_errors=True)
    session = spark_session(step, place)
    raw = raw_folder(step) / "lake/raw/readings"
    curated, serving = str(place / "curated"), str(place / "serving")

    def derive(rows):
        columns = rows.select("reading_id", "device_id", "observed_at", "heart_rate", "spo2", "skin_temp_c", "steps")
        columns.where(RULES).dropDuplicates(["reading_id"]).write.format("delta").mode("overwrite").save(curated)
        hours = session.read.format("delta").load(curated).groupBy("device_id", f.date_trunc("hour", "observed_at").alias("hour"))
        hours.agg(f.count(f.lit(1)).alias("readings"), f.avg("heart_rate").alias("heart_rate_avg"), f.max("heart_rate").alias("heart_rate_max"),
                  f.min("spo2").alias("spo2_min"), f.sum("steps").alias("steps")).write.format("delta").mode("overwrite").save(serving)

    try:
        read = session.read.format("delta").load(str(raw))
        derive(read.limit(20_000))
        java = java_process()
        begun, used = time.perf_counter(), processor_seconds(java)
        derive(read)
        seconds, cpu = time.perf_counter() - begun, processor_seconds(java) - used
        sums = session.read.format("delta").load(serving).agg(f.sum("readings"), f.sum("steps"), f.count(f.lit(1))).collect()[0]
        return {"seconds": seconds, "cpu": cpu, "memory_mb": peak_mb(java), "sums": list(sums)}
    finally:
        session.stop()
        shutil.rmtree(place, ignore_errors=True)


def spark_session(step, place):
    from pyspark.sql import SparkSession

    jars = ",".join(str(jar) for jar in sorted((pathlib.Path(step["tools"]) / "spark/jars").glob("*.jar")))
    settings = {
        "spark.jars": jars, "spark.ui.enabled": "false", "spark.driver.memory": step["spark_memory"], "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension", "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog", "spark.log.level": "ERROR",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.local.dir": str(place / "local"),
        "spark.sql.warehouse.dir": str(place / "warehouse"), "spark.sql.shuffle.partitions": str(4 * os.cpu_count()),
    }
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def java_process():
    """The JVM that pyspark has started, which is a child of this process."""
    for path in pathlib.Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in path.read_text().split():
            if "java" in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
    raise RuntimeError("pyspark has no JVM")


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
