#!/usr/bin/env python3
"""Measures how fast records that wait in Apache Kafka are drained into Delta, with the contract on; and on Azurite what
that asks of the storage account. Beside it Kafka's own ConsumerPerformance on the same topic, in the same run.

    bench/drain.py --bin PATH/vitalake --loadgen PATH/loadgen [--records 5000000]

It starts the broker and the storage itself (systems/install.sh fetches them) and writes bench/results/DATE-drain.md.
"""
import argparse, json, os, subprocess, sys, tempfile, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "systems"))
from parts import Azurite, KafkaBroker, Vitalake, until  # noqa: E402
from report import ROOT, Report  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("--bin", required=True)
arguments.add_argument("--loadgen", required=True)
arguments.add_argument("--records", type=int, default=5_000_000)
arguments.add_argument("--azurite-records", type=int, default=1_000_000)
options = arguments.parse_args()
TOPIC = "readings"


class Memory(threading.Thread):
    """Resident bytes of a process, five times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.samples, self.over = pid, [], threading.Event()

    def run(self):
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.over.wait(0.2):
            try:
                self.samples.append(int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * page)
            except OSError:
                return

    def words(self):
        self.over.set()
        mib = [sample >> 20 for sample in self.samples]
        third = max(1, len(mib) // 3)
        return f"peak {max(mib)} MiB; middle third {max(mib[third:2 * third] or mib)}, last third {max(mib[-third:])}"


def fill(broker, records):
    command = [options.loadgen, "--json", "--bootstrap", broker.bootstrap, "--topic", TOPIC, "--events", str(records), "--seconds", "600"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(platform, name):
    lines = platform.get("/metrics")[1].splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)}


def drain(folder, broker, records, settings):
    """Seconds from the process's start until every record is a row, and until every row is in a commit."""
    settings = {"VITALAKE_KAFKA__BOOTSTRAP": broker.bootstrap, **settings}
    platform = Vitalake(folder, options.bin, ROOT / "bench/project/raw", settings=settings, kafka=False)
    platform.seconds_to_start = 600
    begun = time.monotonic()
    platform.begin()
    memory = Memory(platform.process.pid)
    memory.start()
    try:
        platform.wait_until_up()
        visible = time.monotonic() - begun
        platform.flush()
        durable, cpu = time.monotonic() - begun, cpu_seconds(platform.process.pid)
        count, = platform.row("SELECT COUNT(*) FROM raw.readings")
        rejected, = platform.row("SELECT COUNT(*) FROM quarantine.readings")
        if count + rejected != records:
            raise SystemExit(f"{count} rows and {rejected} rejects of {records} records")
        uncommitted = [d["tail_rows"] for d in json.loads(platform.get("/api/v1/status")[1])["datasets"]]
        if any(uncommitted):
            raise SystemExit(f"rows in no commit after the last: {uncommitted}")
        time.sleep(2.5)  # what was asked of the store is sampled once a second
        asked = {kind: n for kind, n in metric(platform, "vitalake_storage_").items() if n}
        return visible, durable, cpu, memory.words(), asked
    finally:
        platform.stop()


def main():
    report = Report("drain")
    row = report.row

    with tempfile.TemporaryDirectory(prefix="vitalake-drain-") as home:
        home = Path(home)
        with KafkaBroker(home / "kafka") as broker:
            broker.create_topic(TOPIC)
            filled = fill(broker, options.records)
            records = filled["events"]
            row("records waiting", f"{records:,}, 4 partitions, written at {filled['events_per_s']:,.0f}/s")
            line = broker.consume(TOPIC, records).split(",")
            row("Kafka's own ConsumerPerformance", f"{float(line[5]):,.0f} records/s, {float(line[9]):,.0f} without joining its group")
            visible, durable, cpu, memory, _ = drain(home / "local", broker, records, {})
            row("drained into local Delta, contract on", f"{records / durable:,.0f} records/s to the last commit ({durable:.1f} s); all visible after {visible:.1f} s")
            row("CPU and memory of vitalake", f"{cpu / records * 1e6:.2f} s a million records; {memory}")
        with KafkaBroker(home / "kafka-2") as broker, Azurite(home / "azurite") as blobs:
            broker.create_topic(TOPIC)
            records = fill(broker, options.azurite_records)["events"]
            blobs.create_container("drain")
            settings = {"VITALAKE_STORAGE__URL": "az://drain/lake", **blobs.credentials()}
            visible, durable, cpu, memory, asked = drain(home / "azure", broker, records, settings)
            million = records / 1e6
            row("drained into Delta on Azurite", f"{records / durable:,.0f} records/s to the last commit; {memory}")
            for name, count in sorted(asked.items()):
                row(f"asked of Azurite a million records, {name.removeprefix('vitalake_storage_')}", f"{count / million:,.0f}")
    report.write("Draining Apache Kafka", "with the broker")


main()
