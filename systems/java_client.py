"""The Java Kafka client against vitalake's own Kafka endpoint: every compression and kind of acknowledgement in, every
record back once, and the same count in SQL. `java/Client.java` does the talking."""
import subprocess

from parts import Failed, Vitalake, jars, need

TOPIC, RECORDS_PER_WAY = "hourly-steps", 300


def check(run):
    with Vitalake(run.folder / "vitalake", run.binary, run.project("steps")) as platform:
        log = run.folder / "client.log"
        done = subprocess.run(
            ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=debug", f"-Dorg.slf4j.simpleLogger.logFile={log}",
             "-cp", jars("kafka"), run.here / "java/Client.java", platform.bootstrap, TOPIC, str(RECORDS_PER_WAY)],
            capture_output=True, text=True, timeout=300)
        steps = done.stdout.splitlines()
        failed = [line for line in steps if line.startswith("failed ")]
        if failed or done.returncode:
            raise Failed("; ".join(failed) or f"the client ended with {done.returncode}: {done.stderr[-400:]}")
        sent = int(steps[-1].removeprefix("sent "))
        counts = lambda: platform.row("SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM raw.hourly_steps")
        need("records in SQL, and different ones", counts(), (sent, sent))
        return f"{len(steps) - 1} steps; {sent} records in 20 ways, each back once and once in SQL"
