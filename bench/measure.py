"""Measures a built vitalake from outside and writes bench/results/DATE.md; bench/README.md says what each figure means."""
import argparse, datetime, json, os, platform, subprocess, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kafka import Producer
from server import Server

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["start", "raw", "bad", "pipeline", "visible", "flush", "commits"]
arguments = argparse.ArgumentParser()
arguments.add_argument("--bin", required=True)
arguments.add_argument("--profile", required=True)
arguments.add_argument("--loadgen", required=True)
arguments.add_argument("--parts", default=" ".join(PARTS))
arguments.add_argument("--events", type=int, default=8_000_000)
arguments.add_argument("--pipeline-events", type=int, default=2_000_000)
arguments.add_argument("--commits", type=int, default=10_000)
arguments.add_argument("--seconds", type=float, default=15, help="of load while visibility is probed")
arguments.add_argument("--rates", default="250000 half", help="events a second while visibility is probed; half is half of the peak measured in this run, or of --peak")
arguments.add_argument("--peak", type=float, help="events a second to raw, where this run does not measure them")
arguments.add_argument("--name", help="of the results file, behind the date; the profile when left out")
arguments.add_argument("--commit", help="that the binary was built from, where it is not this tree's")
arguments.add_argument("--note", default="", help="what else ran on the machine")
arguments.add_argument("--nice", type=int, default=0, help="priority of everything measured, where the machine is not idle")
options = arguments.parse_args()
if options.nice:
    # Linux weighs sessions against each other first (autogroup), and processes inside of one only then.
    if os.getpgrp() != os.getpid():
        os.setsid()
    os.nice(options.nice)
    autogroup = Path("/proc/self/autogroup")
    if autogroup.exists():
        autogroup.write_text(str(options.nice))
rows, found, sequence = [], {}, 0


def row(what, figure, target="", met=None):
    verdict = {None: "", True: "yes", False: "**no**"}[met]
    rows.append((what, figure, target, verdict))
    print(f"{what}: {figure}" + (f" (target {target}: {'met' if met else 'not met'})" if met is not None else ""), flush=True)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def load(server, events=None, rate=None, seconds=600.0, extra=()):
    """Runs the load generator to its end."""
    global sequence
    command = [options.loadgen, "--json", "--bootstrap", server.kafka, "--topic", "readings", "--seconds", str(seconds)]
    command += ["--sequence-from", str(sequence), *extra]
    sequence += events or int((rate or 3e6) * seconds)
    command += ["--events", str(events)] if events else []
    # Small batches keep a slower rate even.
    command += ["--rate", str(rate), "--batch-bytes", str(64 << 10)] if rate else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def started(project):
    server = Server(options.bin, str(ROOT / "bench/project" / project))
    server.start()
    return server


def produce(name, extra=()):
    """From the first event sent to the commit that holds the last one."""
    server = started("raw")
    try:
        load(server, events=500_000)
        server.until_committed()
        server.reset_peak()
        cpu, starved, begun = server.cpu_seconds(), server.starved_seconds(), time.perf_counter()
        report = load(server, events=options.events, extra=extra)
        server.until_committed()
        seconds, cpu, starved = time.perf_counter() - begun, server.cpu_seconds() - cpu, server.starved_seconds() - starved
        datasets = {d["layer"]: d for d in server.status()["datasets"]}
        whole = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"] + server.sql("SELECT COUNT(*) AS n FROM quarantine.readings")[0]["n"]
        assert whole == server.high(), f"{whole} rows and rejects of {server.high()} records"
        return {
            "rate": report["events"] / seconds, "mb": report["events"] * 190 / seconds / 1e6, "cpu": cpu / report["events"] * 1e6,
            "share": cpu / seconds, "starved": starved / max(seconds, 1e-9), "peak": server.memory_mb("VmHWM"), "acked": report["events_per_s"],
            "p99": report["ack_p99_ms"], "own": report["own_cpu_share"] * report["seconds"] / seconds, "files": datasets["raw"]["version"],
        }
    finally:
        server.remove()


def raw():
    best = produce("raw")
    found["raw"] = best
    row("produce → durable in raw Delta", f"{best['rate']:,.0f} events/s, {best['mb']:.0f} MB/s", "≥ 500,000 events/s", best["rate"] >= 500_000)
    row("— server CPU", f"{best['cpu']:.2f} s per million events ({best['share']:.2f} cores in use by it; its threads stood in line for a core {best['starved']:.2f} s a second)")
    row("— load generator's CPU", f"{best['own'] * 100:.0f}% of a core")
    row("— acknowledged meanwhile (the log takes them ahead of Delta)", f"{best['acked']:,.0f} events/s, p99 {best['p99']:.0f} ms a batch of 512 KiB")
    row("— memory at full load, peak", f"{best['peak']:.0f} MB", "≤ 1,500 MB", best["peak"] <= 1500)


def bad():
    clean = found.get("raw") or produce("raw")
    best = produce("bad", ("--malformed", "0.01", "--unknown", "0.01"))
    row("the same, 1% malformed and 1% unknown fields", f"{best['rate']:,.0f} events/s, {best['mb']:.0f} MB/s; {best['rate'] / clean['rate']:.0%} of clean by the clock, {clean['cpu'] / best['cpu']:.0%} by CPU", "≥ 80%", best["rate"] >= 0.8 * clean["rate"])
    row("— server CPU", f"{best['cpu']:.2f} s per million events")


def visible():
    peak = (found.get("raw") or {"rate": options.peak or 1_000_000})["rate"]
    for rate in options.rates.split():
        for project, label in [("raw", "raw"), ("pipeline", "serving.x_live")]:
            most = peak / 2 if project == "raw" else min(peak, found.get("pipeline", peak)) / 2
            # One that is asked for by its number is the same for both.
            probe_at(project, label, most if rate == "half" else float(rate), 250 if rate == "half" else 100)


def probe_at(project, label, rate, target_ms):
    server = started(project)
    try:
        runner = threading.Thread(target=load, args=(server,), kwargs={"rate": rate, "seconds": options.seconds})
        producer, times = Producer(server.kafka, "readings"), []
        runner.start()
        time.sleep(2)
        cpu, starved, begun = server.cpu_seconds(), server.starved_seconds(), time.perf_counter()
        while runner.is_alive():
            times.append(probe(server, producer, project, len(times) + 1) * 1000)
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        cores, starved = (server.cpu_seconds() - cpu) / seconds, (server.starved_seconds() - starved) / seconds
        runner.join()
        late = percentile(times, .99)
        text = f"p50 {percentile(times, .5):.0f} ms, p99 {late:.0f} ms, {len(times)} probes at {rate:,.0f} events/s ({cores:.2f} cores in use by the server; its threads stood in line {starved:.2f} s a second)"
        row(f"acknowledged → visible in SQL, {label}", text, f"p99 ≤ {target_ms} ms", late <= target_ms)
    finally:
        server.remove()


def probe(server, producer, project, number):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    event = {"reading_id": f"p-{number}", "device_id": f"dev-9{number:06}", "observed_at": now, "vitals": {"hr": 60, "spo2": 97, "skin_temp_c": 33.1}, "steps": 1, "battery_pct": 50}
    offset = producer.send(0, json.dumps(event).encode())
    begun = time.perf_counter()
    if project == "raw":
        query = f"SELECT COUNT(*) AS n FROM raw.readings WHERE _partition = 0 AND _offset = {offset}"
    else:
        query = f"SELECT COUNT(*) AS n FROM serving.readings_hourly_live WHERE device_id = 'dev-9{number:06}'"
    while server.sql(query)[0]["n"] == 0:
        if time.perf_counter() - begun > 60:
            raise RuntimeError("a probe was not visible within a minute")
    return time.perf_counter() - begun


def pipeline():
    server = started("pipeline")
    try:
        server.reset_peak()
        events, cpu, begun = options.pipeline_events, server.cpu_seconds(), time.perf_counter()
        report = load(server, events=events)
        server.until_landed(of_all_layers=True)
        seen = time.perf_counter() - begun
        server.until_committed()
        seconds, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
        share = cpu / seconds
        published = server.sql("SELECT SUM(readings) AS n FROM serving.readings_hourly")[0]["n"]
        assert published == report["events"], f"{published} of {report['events']}"
        found["pipeline"] = report["events"] / seconds
        row("raw → curated → serving, each event once, all in Delta", f"{report['events'] / seconds:,.0f} events/s over {report['events']:,} events (in all tails after {seen:.1f} s, committed after {seconds:.1f} s)", "5 × Spark: ≥ 475,000 events/s", found["pipeline"] >= 475_000)
        row("— server CPU", f"{cpu / report['events'] * 1e6:.2f} s per million events ({share:.2f} cores in use by it); peak memory {server.memory_mb('VmHWM'):.0f} MB")
    finally:
        server.remove()


def flush():
    server = started("pipeline")
    try:
        seen = []
        for size in (300_000, 3_000_000):
            while server.high() < size:
                load(server, events=300_000)
                server.until_committed()
            read, written, logical = [], [], []
            for _ in range(5):
                load(server, events=20_000, extra=("--batch-bytes", str(64 << 10)))
                server.until_landed()
                before = server.io()
                server.flush()
                after = server.io()
                read.append(after["rchar"] - before["rchar"])
                written.append(after["wchar"] - before["wchar"])
            seen.append((server.high(), percentile(read, .5), percentile(written, .5)))
        (small, r1, w1), (large, r2, w2) = seen
        row("bytes read and written by a flush of 20,000 events, three layers", f"{r1 / 1e6:.2f} and {w1 / 1e6:.2f} MB at {small:,} rows; {r2 / 1e6:.2f} and {w2 / 1e6:.2f} MB at {large:,} rows", "flat (≤ 1.5 ×)", w2 <= 1.5 * w1 and r2 <= 1.5 * r1 + 1e6)
    finally:
        server.remove()


def start():
    server = Server(options.bin, str(ROOT / "bench/project/pipeline"))
    try:
        up, ready = server.start()
        row("start of an empty platform, process begun → accepts events", f"{up * 1000:.0f} ms, ready after {ready * 1000:.0f} ms", "≤ 1 s", up <= 1)
        time.sleep(3)
        idle = server.memory_mb()
        row("memory idle", f"{idle:.0f} MB", "≤ 150 MB", idle <= 150)
        runner = threading.Thread(target=lambda: subprocess.run([options.loadgen, "--bootstrap", server.kafka, "--topic", "readings", "--rate", "100000", "--seconds", "60", "--batch-bytes", "65536", "--sequence-from", "900000000"], capture_output=True))
        runner.start()
        time.sleep(6)
        high = server.high()
        server.kill()
        runner.join()
        up, ready = server.start()
        visible = server.sql("SELECT COUNT(*) AS n FROM raw.readings")[0]["n"]
        assert visible >= high, f"{visible} rows of {high} acknowledged records"
        row("SIGKILL under 100,000 events/s → ready again", f"{ready:.2f} s ({high:,} records acknowledged, none in Delta yet; up after {up * 1000:.0f} ms)", "≤ 3 s", ready <= 3)
    finally:
        server.remove()


def commits():
    server = started("raw")
    try:
        producer, times, memory = Producer(server.kafka, "readings"), [], {}
        event = b'{"reading_id":"c-1","device_id":"dev-1","observed_at":"2026-01-01T00:00:00Z","vitals":{"hr":60,"spo2":97,"skin_temp_c":33.1},"steps":1,"battery_pct":50}'
        for number in range(1, options.commits + 1):
            offset = producer.send(0, event)
            begun = time.perf_counter()
            while server.flush()["tables"] == []:
                pass
            times.append(time.perf_counter() - begun)
            if number in (100, options.commits):
                memory[number] = server.memory_mb()
        early, late = percentile(times[50:150], .5) * 1000, percentile(times[-100:], .5) * 1000
        row(f"commit latency, {options.commits:,}th over 100th (median of 100 around, one record each, over HTTP)", f"{early:.1f} ms → {late:.1f} ms, {late / early:.2f} ×; p99 of all {percentile(times, .99) * 1000:.1f} ms", "≤ 1.2 ×", late <= 1.2 * early)
        row("— memory over them", f"{memory[100]:.0f} MB → {memory[options.commits]:.0f} MB")
    finally:
        server.remove()


def write_results(load_before):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "crates"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    memory = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemTotal")) / 1048576
    profile = {"dev": "dev: the everyday profile, hot-path crates at opt-level 2, debug assertions on, everything else unoptimised"}.get(options.profile, options.profile)
    now = datetime.datetime.now(datetime.timezone.utc)
    lines = [f"# Measured {now:%Y-%m-%d %H:%M} UTC", "",
             f"- machine: {os.cpu_count()} cores, {model}, {memory:.0f} GB; {platform.system()} {platform.release()}",
             *([f"- all of it at nice {options.nice}, since others used the machine"] if options.nice else []),
             f"- profile: {profile}", f"- commit: {options.commit or commit + (' with changes' if dirty else '')}",
             f"- load average of the machine: {load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after{'; ' + options.note if options.note else ''}",
             "- load: 190-byte JSON, a rule on every column, 4 partitions, 2 connections, pre-encoded batches; durable = fdatasync of the log before the answer, Parquet and commit synced", "",
             "| what | measured | target | met |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(r)} |" for r in rows]
    path = ROOT / "bench/results" / f"{now:%Y-%m-%d}-{options.name or options.profile}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(f"written: {path.relative_to(ROOT)}")


load_before = os.getloadavg()
wanted = options.parts.split()
for part in PARTS:
    if part in wanted:
        try:
            {"start": start, "raw": raw, "bad": bad, "visible": visible, "pipeline": pipeline, "flush": flush, "commits": commits}[part]()
        except Exception as error:  # a part that fails is a result too
            row(part, f"failed: {error}".splitlines()[0], "", False)
write_results(load_before)
