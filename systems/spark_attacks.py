"""Trouble of Spark's own, and of ours beside it: its disk is gone under a statement, this process is killed in the middle of one,
what answers is no Spark, speaks no TLS, or is older. Each is told in words of ours, no row goes to quarantine for it, and each
row is there once.
"""
import http.server
import shutil
import threading
import time

from parts import Failed, Vitalake, need, until
from parts_spark import CutSpark
from spark_faults import KINDS, deliver_kinds, model, send, status, whole


def check(run):
    project = run.here / "spark_faults"
    said = [no_spark(run, project)]
    with CutSpark(run.folder / "spark") as spark:
        said.append(no_tls(run, project, spark))
        with Vitalake(run.folder / "there", run.binary, project, settings={"VITALAKE_ENGINES__TRANSFORM": spark.remote}) as there:
            said += [disk_gone(there, spark), killed_within(there, spark)]
    return "; ".join(said)


def away(platform, seconds=90):
    """What status says of Spark, once it does."""
    found = until("status says that Spark is away", lambda: [part["reason"] for part in status(platform)["away"] if part["part"] == "Spark"],
                  bool, seconds)
    return found[0]


def goes_on(platform, rows):
    """A model that is not on Spark does not wait for it, and no row is blamed."""
    until("a model that is not on Spark goes on", lambda: platform.row("SELECT COUNT(*) FROM curated.plain")[0], rows)
    for name in ("parts", "slow"):
        need(f"rows of {name} in quarantine", platform.row(f"SELECT COUNT(*) FROM quarantine.{name}")[0], 0)


def refused(run, project, name, address):
    with Vitalake(run.folder / name, run.binary, project, settings={"VITALAKE_ENGINES__TRANSFORM": address}) as platform:
        deliver_kinds(platform)
        send(platform, "other", 100, 10)
        reason = away(platform)
        goes_on(platform, 10)
        need("models that have failed", [one["dataset"] for one in status(platform)["datasets"] if one["state"] == "failed"], [])
        return reason


class Page(http.server.BaseHTTPRequestHandler):
    """A web server, as whoever mistakes the port for that of Spark's page meets."""

    def log_message(self, *_):
        pass


def no_spark(run, project):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reason = refused(run, project, "no-spark", f"sc://127.0.0.1:{server.server_port}")
        server.shutdown()
    return f"what is no Spark: {reason}"


def no_tls(run, project, spark):
    return f"TLS where there is none: {refused(run, project, 'no-tls', f'{spark.remote}/;use_ssl=true')}"


def disk_gone(there, spark):
    """The folder in which Spark keeps what its tasks hand on is no folder any more, and then is one again."""
    deliver_kinds(there)
    send(there, "slow", 100, 20)
    whole(there, "slow", 20, 240)
    local = spark.folder / "local"
    shutil.rmtree(local)
    local.write_text("no folder")
    send(there, "slow", 200, 20)
    reason = away(there)
    goes_on(there, 40)
    local.unlink()
    local.mkdir()
    spark.kill()
    spark.start()
    whole(there, "slow", 40, 240)
    whole(there, "parts", 40)
    until("Spark is not away any longer", lambda: status(there)["away"], [])
    return f"Spark without its disk: {reason}"


def killed_within(there, spark):
    """This process ends as by a power cut while its statement runs in Spark, and begins again."""
    send(there, "slow", 1000, 400)
    until("Spark has jobs of the model", lambda: spark.sessions("slow"), bool)
    there.kill()
    there.start()
    whole(there, "slow", 440, 300)
    whole(there, "parts", 440)
    return "a kill of this process within a statement: each row once"
