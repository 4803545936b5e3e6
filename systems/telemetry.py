"""Traces, metrics and logs, taken by a real receiver of OTLP (rotel); /metrics, read by Prometheus' own promtool."""
import re
import shutil
import socket
import subprocess
import time
import urllib.request

from parts import Failed, Skipped, Vitalake, free_port, installed, need, until
from records import hourly, send

# The way of a batch, as its trace has it.
SPANS = ("produce hourly-steps", "log append", "land hourly_steps", "commit raw.hourly_steps", "model steps", "commit curated.steps")


class Rotel:
    """A receiver that writes what it takes into its log."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        agent = next(installed("rotel").glob("lib/python*/site-packages/rotel/rotel-agent"), None)
        if agent is None:
            raise Skipped("the package rotel has no agent for this machine")
        self.port, self.log = free_port(), folder / "rotel.log"
        words = [agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{self.port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
                 "--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "metrics", "--debug-log", "logs", "--debug-log-verbosity", "detailed"]
        self.process = subprocess.Popen([str(word) for word in words], stdout=self.log.open("w"), stderr=subprocess.STDOUT, cwd=folder)

    def said(self):
        return self.log.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def hourly_steps(platform, count):
    send(platform.bootstrap, "hourly-steps", [hourly(f"w{n % 7}", n, n) for n in range(count)])


def settings(port):
    return {"VITALAKE_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "VITALAKE_TELEMETRY__INTERVAL_MS": "500"}


def numbers(platform):
    return urllib.request.urlopen(f"{platform.server}/metrics", timeout=10).read().decode()


def number(text, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else None


def receiver(run):
    """A batch is one trace from the socket to its commits; metrics and log lines come beside."""
    with Rotel(run.folder / "rotel") as rotel:
        platform = Vitalake(run.folder / "vitalake", run.binary, run.project("steps"), settings=settings(rotel.port))
        with platform:
            hourly_steps(platform, 500)
            until("the trace of a batch", lambda: [name for name in SPANS if f"Name : {name} " not in flat(rotel.said())], [], 60)
            for name in ("vitalake_ready", "vitalake_commits", "vitalake_commit_seconds"):
                until(f"the metric {name}", lambda: name in rotel.said(), True, 30)
            until("what was sent is counted", lambda: (number(numbers(platform), 'vitalake_telemetry_sent_total{signal="traces"}') or 0) >= len(SPANS), True, 30)
        until("the last log line", lambda: "no new records are taken" in rotel.said(), True, 20)
        return f"{len(SPANS)} spans of a batch, metrics and log lines taken by rotel"


def flat(text):
    return re.sub(r"\s+", " ", text)


def away(run):
    """A receiver that hangs, and one that is not there: records flow, and what is not taken is counted."""
    hanging = socket.create_server(("127.0.0.1", 0))
    for port in (hanging.getsockname()[1], free_port()):
        platform = Vitalake(run.folder / f"vitalake-{port}", run.binary, run.project("steps"), settings=settings(port))
        with platform:
            hourly_steps(platform, 500)
            until("rows", lambda: platform.row("SELECT COUNT(*) FROM raw.hourly_steps"), (500,), 30)
            until("failures are counted", lambda: (number(numbers(platform), "vitalake_telemetry_failed_requests_total") or 0) > 0, True, 60)
            began = time.monotonic()
        if time.monotonic() - began > 20:
            raise Failed("the receiver held the stop up")
    hanging.close()
    return "neither a receiver that hangs nor one that is away held anything up"


def promtool(run):
    """What /metrics says is well formed, named and explained."""
    tool = shutil.which("promtool")
    if tool is None:
        raise Skipped("promtool is not there: it comes with the package prometheus")
    with Vitalake(run.folder / "vitalake", run.binary, run.project("steps")) as platform:
        hourly_steps(platform, 500)
        until("rows", lambda: platform.row("SELECT COUNT(*) FROM curated.steps"), (500,), 30)
        platform.flush()
        until("commits are counted", lambda: "vitalake_commit_seconds_count" in numbers(platform), True, 30)
        request = urllib.request.Request(f"{platform.server}/metrics", headers={"accept": "text/plain; version=0.0.4"})
        text = urllib.request.urlopen(request, timeout=10).read()
    checked = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    need("what promtool says", (checked.returncode, (checked.stdout + checked.stderr).decode().strip()), (0, ""))
    return f"{text.count(b'# TYPE')} metrics are as promtool wants them"
