#!/usr/bin/env python3
"""What the policies of contracts cost where nothing is masked: the questions of questions.py, with them and without.

    policies.py --bin PATH/vitalake --loadgen PATH/loadgen [--rows 10000000] [--rounds 7] [--data FOLDER] [--shared "what else ran"]

The same rows are asked by turns: of a process without `access:`, of one where a client by its token sees every column in
the clear, and of one where that client sees `reading_id` as a keyed hash, which all questions but the last leave alone. Each
has a copy of the files. Answers must be equal. `--data` takes the rows of questions.py --data.
"""
import argparse, hashlib, http.client, json, shutil, statistics, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from questions import QUESTIONS, ROOT, equal, load, spell
from report import Report
from server import Server

TOKEN = "a-token-of-the-bench"
ACCESS = """access:
  roles:
    all_of_it: {clearance: %(clearance)s, layers: [raw, curated, serving, ops], may: [deliver, operate]}
    analyst: {clearance: internal, layers: [raw]}
  clients:
    steward: {roles: [all_of_it], token: "sha256:%(steward)s"}
    asks: {roles: [%(role)s], token: "sha256:%(asks)s"}
  mask_key: a-key-of-the-bench-that-is-long-enough
"""
MASKED = "      - name: reading_id\n        classification: restricted\n        customProperties: [{property: mask, value: hash}]\n"
WAYS = ("no policies", "policies, all in the clear", "policies, reading_id masked")


class Asked(Server):
    """A process that is asked under a name, where it wants one."""

    token = None

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.http, timeout=300)
        headers = {"content-type": "application/json"} if body else {}
        headers |= {"authorization": f"Bearer {self.token}"} if self.token else {}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, (json.loads(text) if text else None)


def project(folder, way):
    shutil.copytree(ROOT / "bench/project/raw", folder)
    if way == WAYS[0]:
        return
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
    words = {"clearance": "restricted", "role": "analyst" if way == WAYS[2] else "all_of_it", "steward": digest("steward"), "asks": digest(TOKEN)}
    with open(folder / "vitalake.yaml", "a") as file:
        file.write(ACCESS % words)
    if way == WAYS[2]:
        contract = folder / "contracts/raw/readings.yaml"
        contract.write_text(contract.read_text().replace("      - name: reading_id\n", MASKED))


def started(options, folder, rows, way):
    place = folder / way.replace(" ", "-").replace(",", "")
    project(place / "p", way)
    if rows != place / "d":
        shutil.copytree(rows, place / "d")
    server = Asked(options.bin, str(place / "p"), str(place / "d"))
    server.start()
    server.token = TOKEN if way != WAYS[0] else None
    return server


def compared(servers, text, first_ms, rounds):
    """The times of each way, by turns, and what the answers have to do with each other."""
    text = spell("vitalake", text, first_ms)
    answers = {way: [tuple(row.values()) for row in server.sql(text)] for way, server in servers.items()}
    times, cpu = {way: [] for way in servers}, {way: [] for way in servers}
    for turn in range(rounds):
        ways = list(servers) if turn % 2 else list(reversed(servers))
        for way in ways:
            used, begun = servers[way].cpu_seconds(), time.perf_counter()
            servers[way].sql(text)
            times[way].append((time.perf_counter() - begun) * 1000)
            cpu[way].append((servers[way].cpu_seconds() - used) * 1000)
    said = []
    for way in servers:
        ratio = statistics.median(times[way]) / statistics.median(times[WAYS[0]])
        fastest = min(times[way]) / min(times[WAYS[0]])
        beside = "" if way == WAYS[0] else f" (**{ratio:.2f} ×**, {fastest:.2f} × by the fastest)"
        said.append(f"{way} {statistics.median(times[way]):,.1f} ms, CPU {statistics.mean(cpu[way]):,.0f}{beside}")
    differ = [way for way in servers if not equal(answers[way], answers[WAYS[0]])]
    return "; ".join(said + [f"ANSWERS DIFFER: {way}" for way in differ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batches", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", help="a folder with the rows, of which copies are taken")
    parser.add_argument("--shared", default="with nobody")
    options = parser.parse_args()
    report, folder, servers = Report("policies"), Path(tempfile.mkdtemp(prefix="vitalake-bench-policies-")), {}
    try:
        rows = Path(options.data) if options.data else folder / "rows"
        if not options.data:
            server = Server(options.bin, str(ROOT / "bench/project/raw"), str(rows))
            server.start()
            load(options, server)
            server.stop()
        for way in WAYS:
            servers[way] = started(options, folder, rows, way)
        ask = servers[WAYS[0]].sql
        first = ask("SELECT TIMESTAMP_TO_MILLIS(TIME_FLOOR(MAX(observed_at), 'PT1H')) AS a FROM raw.readings")[0]["a"] - 48 * 3_600_000
        report.row("rows", f"{ask('SELECT COUNT(*) AS n FROM raw.readings')[0]['n']:,}")
        for number, (what, text) in enumerate(QUESTIONS, 1):
            asked = {way: server for way, server in servers.items() if number < len(QUESTIONS) or way != WAYS[2]}
            report.row(f"{number}. {what}", compared(asked, text, first, options.rounds))
        report.write("The questions under policies", options.shared)
    finally:
        for server in servers.values():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
