"""A Spark with Delta in this process, on as many threads as there are cores, of what systems/install.sh fetched."""
import os, sys
from pathlib import Path

HOME = str(Path(os.environ.get("VITALAKE_TOOLS") or Path.home() / ".cache/vitalake") / "systems/spark")


def session(home=HOME):
    """It and its version; files are written with zstd, as vitalake's are."""
    home = Path(home)
    sys.path.insert(0, str(next((home / "lib").glob("python3*/site-packages"))))
    import pyspark
    from pyspark.sql import SparkSession
    jars = ",".join(str(jar) for jar in sorted((home / "jars").glob("*.jar")))
    settings = {
        "spark.jars": jars, "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "2g", "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension", "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog", "spark.log.level": "ERROR",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate(), pyspark.__version__
