#!/usr/bin/env python3
"""Records a second by HTTP beside Kafka's protocol, into the same stream, by one connection and by 32.

    ingest.py --bin PATH/vitalake --loadgen PATH/loadgen [--seconds 10] [--records 1000] [--shared "what else ran"]

Requests of `--records` lines of NDJSON are made before the clock starts and sent again and again over connections that stay
open; a record counts when its request was answered with 202, which is after fdatasync. Both ways send records of the same
size, and the server lands them meanwhile. The sender is Python: its own share of a core is told beside each figure.
"""
import argparse, http.client, json, multiprocessing, os, shutil, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from server import Server

PROJECT = str(Path(__file__).parent / "project/raw")


def body(records, seed):
    def line(number):
        text = {"reading_id": f"r-{seed}-{number}", "device_id": f"dev-{(seed * 31 + number) % 500}", "observed_at": "2026-11-29T07:00:00Z",
                "vitals": {"hr": 60 + number % 60, "spo2": 97, "skin_temp_c": 33.5}, "steps": number % 900, "battery_pct": 80}
        return json.dumps(text, separators=(",", ":"))
    return "\n".join(line(number) for number in range(records)).encode()


def send(address, records, seconds, seed, counts):
    bodies = [body(records, seed * 8 + part) for part in range(4)]
    connection = http.client.HTTPConnection(address, timeout=60)
    end, sent, at = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        connection.request("POST", "/ingest/readings", bodies[at % 4], {"content-type": "application/x-ndjson"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 202:
            sent += records
        elif answer.status != 429:
            raise RuntimeError(f"{answer.status}: {text[:300]}")
        at += 1
    counts.put((sent, time.process_time()))


def by_http(server, connections, options):
    counts = multiprocessing.Queue()
    args = [(server.http, options.records, options.seconds, seed, counts) for seed in range(connections)]
    senders = [multiprocessing.Process(target=send, args=some) for some in args]
    begun, cpu = time.monotonic(), server_cpu(server)
    [sender.start() for sender in senders]
    found = [counts.get() for _ in senders]
    [sender.join() for sender in senders]
    took = time.monotonic() - begun
    return sum(n for n, _ in found) / options.seconds, (server_cpu(server) - cpu) / took, sum(c for _, c in found) / took


def by_kafka(server, connections, options):
    command = [options.loadgen, "--bootstrap", server.kafka, "--topic", "readings", "--connections", str(connections),
               "--seconds", str(options.seconds), "--json"]
    begun, cpu = time.monotonic(), server_cpu(server)
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    took = time.monotonic() - begun
    return report["events_per_s"], (server_cpu(server) - cpu) / took, report["own_cpu_share"]


def server_cpu(server):
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--shared", default="")
    options = parser.parse_args()
    print(f"| way | connections | records/s | server's cores | sender's cores |\n|---|---|---|---|---|   {options.shared}")
    for connections in (1, 32):
        for name, way in (("HTTP", by_http), ("Kafka", by_kafka)):
            server = Server(options.bin, PROJECT)
            server.start()
            try:
                rate, cores, own = way(server, connections, options)
                print(f"| {name} | {connections} | {rate:,.0f} | {cores:.2f} | {own:.2f} |", flush=True)
            finally:
                server.process.kill()
                server.process.wait()
                shutil.rmtree(server.data, ignore_errors=True)


if __name__ == "__main__":
    main()
