"""A table of what was measured, beside the commit that it was measured on."""
import datetime, os, subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Report:
    """Rows of a run, said as they come and written to bench/results/DATE-NAME.md."""

    def __init__(self, name):
        self.name, self.rows = name, []

    def row(self, what, figure):
        self.rows.append((what, figure))
        print(f"{what}: {figure}", flush=True)

    def write(self, title, shared):
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        today = datetime.date.today().isoformat()
        head = f"# {title}, {today}\n\nbench/{self.name}.py on commit {commit}, {os.cpu_count()} cores shared {shared}, load {os.getloadavg()[0]:.1f} at the end.\n\n| what | figure |\n|---|---|\n"
        place = ROOT / f"bench/results/{today}-{self.name}.md"
        place.write_text(head + "".join(f"| {what} | {figure} |\n" for what, figure in self.rows))
        print(f"written to {place.relative_to(ROOT)}")
