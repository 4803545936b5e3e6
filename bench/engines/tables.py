"""What bench/engines measured, as tables: for bench/results and for docs/engines.md. Nothing stands there that was not measured."""
import datetime
import math
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- figures: bench/engines/run.py --docs -->", "<!-- end of figures -->"


def one(result):
    """A step's result in a line."""
    if "failed" in result:
        return f"not measured: {result['failed']}"
    beside = f"(others had {result['others_percent']}% of the machine, load {result['load']}, {result['took']} s in all)"
    if "seconds" in result:
        return f"{result['seconds']:.1f} s, {result['cpu']:.1f} s of CPU, {result['memory_mb']:,.0f} MB {beside}"
    if "sets" in result:
        said = [f"{name}, {clients} client{'s' * (clients != '1')}: median {f['median_ms']:.1f} ms, p95 {f['p95_ms']:.1f} ms, {f['a_second']:.0f}/s"
                for name, found in result["sets"].items() for clients, f in found["by_clients"].items()]
        return "; ".join(said) + " " + beside
    return f"done {beside}"


def report(kept, options):
    lines = []
    transforms = [r for r in kept.values() if r["do"] == "transform"]
    if transforms:
        lines += ["### raw → curated → serving", "", "| rows | engine | seconds, median (each) | rows a second | CPU, s per million rows | memory at its peak | others had |", "|---|---|---|---|---|---|---|"]
        for rows, engine in ordered((r["rows"], r["engine"]) for r in transforms):
            lines.append(transform_row(rows, engine, [r for r in transforms if (r["rows"], r["engine"]) == (rows, engine)]))
        lines += [""] + unlike_sums(transforms)
    asked = [r for r in kept.values() if r["do"] == "questions"]
    if asked:
        lines += ["### Questions", "", "| raw rows | over | clients | engine | median | p95 | answers a second | CPU a question | others had |", "|---|---|---|---|---|---|---|---|---|"]
        for rows in sorted({r["rows"] for r in asked}):
            lines += question_rows(rows, [r for r in asked if r["rows"] == rows])
        lines += [""] + unlike_answers(asked)
    return "\n".join(lines)


def ordered(pairs):
    return sorted(dict.fromkeys(pairs), key=lambda pair: pair[0])


def transform_row(rows, engine, results):
    good = sorted((r for r in results if "failed" not in r), key=lambda r: r["seconds"])
    if not good:
        return f"| {rows:,} | {engine} | not measured: {results[-1]['failed']} | | | | |"
    middle = good[(len(good) - 1) // 2]
    each = ", ".join(f"{r['seconds']:.1f}" for r in sorted(good, key=lambda r: r["round"]))
    return (f"| {rows:,} | {engine} | {middle['seconds']:.1f} ({each}) | {middle['sums'][0] / middle['seconds']:,.0f} | {middle['cpu'] / middle['sums'][0] * 1e6:.2f} "
            f"| {max(r['memory_mb'] for r in good):,.0f} MB | {max(r['others_percent'] for r in good)}% |")


def unlike_sums(results):
    said = []
    for rows in sorted({r["rows"] for r in results}):
        sums = {tuple(r["sums"]) for r in results if r["rows"] == rows and "sums" in r}
        if len(sums) > 1:
            said += [f"**THE TABLES DIFFER** at {rows:,} rows: {sorted(sums)}", ""]
    return said


def question_rows(rows, results):
    def engine(r):
        """With how long it took until a copy of the rows was there, where an engine needs one."""
        return f"{r['engine']} (loaded in {r['loading_seconds']:.0f} s)" if r.get("loading_seconds") else r["engine"]

    lines = []
    for name, what in (("rollup", "the roll-up"), ("raw", "raw rows")):
        for clients in sorted({int(c) for r in results for c in r.get("sets", {}).get(name, {}).get("by_clients", {})}):
            for r in results:
                if found := r.get("sets", {}).get(name, {}).get("by_clients", {}).get(str(clients)):
                    fault = f" ({len(found['faults'])} clients failed: {found['faults'][0]})" if found["faults"] else ""
                    lines.append(f"| {rows:,} | {what} | {clients} | {engine(r)}{fault} | {found['median_ms']:.1f} ms | {found['p95_ms']:.1f} ms | {found['a_second']:,.0f} | {found['cpu_ms']:.1f} ms | {r['others_percent']}% |")
    return lines + [f"| {rows:,} | | | {r['engine']} | not measured: {r['failed']} | | | | |" for r in results if "failed" in r]


def unlike_answers(results):
    said = []
    for rows in sorted({r["rows"] for r in results}):
        for name in ("rollup", "raw"):
            given = {r["engine"]: r["sets"][name]["answers"] for r in results if r["rows"] == rows and name in r.get("sets", {})}
            engines = list(given)
            for engine in engines[1:]:
                for number, (a, b) in enumerate(zip(given[engines[0]], given[engine]), 1):
                    if not alike(a, b):
                        said += [f"**ANSWERS DIFFER** at {rows:,} rows over {name}, question {number}: {engines[0]} {str(a)[:200]}, {engine} {str(b)[:200]}", ""]
    return said


def alike(left, right):
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)
    return left == right


def write(report_text, options):
    commit = options.commit or subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    today = datetime.date.today().isoformat()
    said = f"Measured {today} by bench/engines/run.py, {options.profile} build of commit {commit}, {os.cpu_count()} cores shared {options.shared}."
    place = ROOT / f"bench/results/{today}-engines.md"
    place.write_text(f"# The same work on each engine, {today}\n\n{said}\n\n{report_text}\n")
    print(f"written to {place.relative_to(ROOT)}")
    if options.docs:
        page = ROOT / "docs/engines.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{said}\n\n{report_text}\n{END}{rest.split(END)[1]}")
        print("and into docs/engines.md")
