#!/usr/bin/env python3
"""`make superset`: the example project with wearers, and a Superset that shows its dashboards. Stays until Ctrl-C.

    superset_shown.py --bin PATH/vitalake [--project DIR] [--data DIR] [--kafka HOST:PORT] [--http HOST:PORT]
                      [--superset PORT] [--wearers N] [--shot FILE]

What both keep is in the data folder, so that it goes on where it was. --shot writes pictures of the pages and ends.
"""
import argparse
import json
import pathlib
import signal
import sys
import time

from parts import Failed, Part, Skipped, Vitalake, until
from parts_superset import PASSWORD, USER, Superset, screenshot

WEARERS = ("patients", "device_assignments")


class Example(Vitalake):
    """`vitalake up` on the project itself, at the addresses that are given."""

    def __init__(self, arguments, superset):
        Part.__init__(self, arguments.data / "vitalake")  # the project is not copied
        self.binary, self.project, self.data = arguments.bin.resolve(), arguments.project.resolve(), self.folder / "data"
        self.bootstrap, self.address, self.server = arguments.kafka, arguments.http, f"http://{arguments.http}"
        self.settings = {"VITALAKE_SUPERSET__URL": superset.url, "VITALAKE_SUPERSET__USER": USER, "VITALAKE_SUPERSET__PASSWORD": PASSWORD,
                         "VITALAKE_HTTP__PUBLIC_URL": self.server}

    def command(self):
        return [self.binary, "up", self.project, "--data", self.data, "--kafka", self.bootstrap, "--http", self.address]


class Simulator(Part):
    """Wearers that send all day; on the first run a day of history before."""

    def __init__(self, example, wearers, history):
        super().__init__(example.folder / "simulator")
        self.words_of_it = [example.binary, "simulate", "--kafka", example.bootstrap, "--wearers", wearers, "--history", history, "--json"]

    def command(self):
        return self.words_of_it

    def is_up(self):
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--project", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "examples/remote-care")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data/superset"))
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--http", default="127.0.0.1:8888")
    parser.add_argument("--superset", type=int, default=8088)
    parser.add_argument("--wearers", type=int, default=50)
    parser.add_argument("--shot", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.data = arguments.data.resolve()
    for number in (signal.SIGINT, signal.SIGTERM):  # so that the parts are ended
        signal.signal(number, lambda number, _: sys.exit(0))
    try:
        show(arguments)
    except (Failed, Skipped) as reason:
        sys.exit(f"error: {reason}")


def show(arguments):
    print("Starting Superset", flush=True)
    with Superset(arguments.data / "superset", arguments.superset) as superset:
        print("Starting the example project", flush=True)
        with Example(arguments, superset) as example:
            fresh = example.row("SELECT COUNT(*) FROM raw.wearable_readings")[0] == 0
            for dataset in WEARERS if fresh else ():
                example.command_line("ingest", dataset, example.project / f"deliveries/{dataset}.csv")
            with Simulator(example, arguments.wearers, 24 if fresh else 0):
                print("Waiting until hours of the wearers are published", flush=True)
                until("hours are published", lambda: example.row("SELECT COUNT(*) FROM serving.vitals_hourly")[0], lambda hours: hours > arguments.wearers, 180)
                status, out, error = example.run("superset", "apply", example.project, seconds=300)
                print(out, error if status else "", flush=True)
                if status not in (0, 4):
                    raise Failed("the dashboards could not be made")
                pages = [f"/superset/dashboard/{name}/" for name in slugs(example)]
                if arguments.shot:
                    return shoot(superset, pages, arguments.shot)
                print(f"It runs: user {USER}, password {PASSWORD}", *[f"  {superset.url}{page}" for page in pages], "Ctrl-C ends it.", sep="\n", flush=True)
                while True:
                    time.sleep(3600)


def slugs(example):
    """The ends of the pages' addresses, of the project's name and the files'."""
    name = next(line.split(":", 1)[1].strip() for line in (example.project / "vitalake.yaml").read_text().splitlines() if line.startswith("name:"))
    return [f"{name}-{file.stem.replace('_', '-')}" for file in sorted((example.project / "dashboards").glob("*.yaml"))]


def shoot(superset, pages, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        file = folder / f"{page.strip('/').split('/')[-1]}.png"
        print(file, json.dumps(screenshot(superset, page, file)), flush=True)


if __name__ == "__main__":
    main()
