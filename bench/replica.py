#!/usr/bin/env python3
"""Measures how fresh a process that serves is: from a record's acknowledgement by Apache Kafka until SQL on the replica
has it, in raw and in a roll-up, at several rates of load. Ingest, models, replica, broker and sender share the machine.

    bench/replica.py --bin PATH/vitalake --loadgen PATH/loadgen [--rates 1000,20000,50000]

It starts the broker itself (systems/install.sh fetches it) and writes bench/results/DATE-replica.md.
"""
import argparse, contextlib, datetime, json, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "systems"))
from parts import KafkaBroker, Vitalake, until  # noqa: E402
from records import producer  # noqa: E402
from report import ROOT, Report  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("--bin", required=True)
arguments.add_argument("--loadgen", required=True)
arguments.add_argument("--rates", default="1000,20000,50000")
arguments.add_argument("--seconds", type=int, default=30)
options = arguments.parse_args()
TOPIC = "readings"
TABLES = {"raw": "raw.readings", "serving": "serving.readings_hourly_live"}


def probe(served, sender, identity):
    """Seconds until each table has a record of this device."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    vitals = {"hr": 60, "spo2": 98, "skin_temp_c": 33.0}
    record = {"reading_id": identity, "device_id": identity, "observed_at": now, "vitals": vitals, "steps": 1, "battery_pct": 50}
    sender.produce(TOPIC, json.dumps(record).encode(), key=identity.encode())
    sender.flush(30)
    began, waits = time.monotonic(), {}
    while len(waits) < len(TABLES) and time.monotonic() - began < 30:
        for name, table in TABLES.items():
            if name not in waits and served.row(f"SELECT COUNT(*) FROM {table} WHERE device_id = '{identity}'") == (1,):
                waits[name] = time.monotonic() - began
        time.sleep(0.005)
    return waits


def at_rate(broker, served, rate, first):
    """Waits of probes while load comes at a rate; and how many records that was."""
    load = subprocess.Popen([options.loadgen, "--json", "--bootstrap", broker.bootstrap, "--topic", TOPIC, "--rate", str(rate),
                             "--seconds", str(options.seconds), "--sequence-from", str(first)], stdout=subprocess.PIPE, text=True)
    sender, found, number = producer(broker.bootstrap), {name: [] for name in TABLES}, 0
    time.sleep(3)
    while load.poll() is None:
        for name, wait in probe(served, sender, f"dev-{rate}00000{number:04}").items():
            found[name].append(wait)
        number += 1
        time.sleep(0.2)
    return found, number, json.loads(load.stdout.read())["events"]


def main():
    report = Report("replica")
    with tempfile.TemporaryDirectory(prefix="vitalake-replica-") as home, contextlib.ExitStack() as parts:
        home = Path(home)
        broker = parts.enter_context(KafkaBroker(home / "kafka"))
        broker.create_topic(TOPIC)
        settings = {"VITALAKE_KAFKA__BOOTSTRAP": broker.bootstrap, "VITALAKE_STORAGE__URL": str(home / "lake")}
        project = ROOT / "bench/project/pipeline"
        process = {role: Vitalake(home / role, options.bin, project, ["--role", role], settings, kafka=False) for role in ("ingest", "process", "serve")}
        for role in process:
            parts.enter_context(process[role])
        served, total = process["serve"], 0
        for rate in map(int, options.rates.split(",")):
            found, probes, events = at_rate(broker, served, rate, total)
            total += events + probes
            for name, waits in found.items():
                waits.sort()
                words = f"p50 {statistics.median(waits) * 1000:.0f} ms, p99 {waits[int(len(waits) * 0.99)] * 1000:.0f} ms, {len(waits)} of {probes} probes"
                report.row(f"{events / options.seconds:,.0f}/s, acknowledged to {TABLES[name]} on the replica", words)
            until("all of it in raw", lambda: served.row("SELECT COUNT(*) FROM raw.readings"), (total,), 60)
            until("all of it in the roll-up", lambda: served.row("SELECT SUM(readings) FROM serving.readings_hourly_live"), (total,), 60)
    report.write("Freshness of a replica", "by broker, sender and three processes")


main()
