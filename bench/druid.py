#!/usr/bin/env python3
"""How long a publication to Druid takes, against Druid's own task for the same rows from files on its disk.

    druid.py --bin PATH/vitalake [--rows 1000000] [--rounds 3]

The rows are delivered while nothing is published. Then vitalake is started with Druid: all of them are one publication. Further rounds
take the datasource over, so that all of it is published again.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "systems"))

from druid import contract_of  # noqa: E402
from parts import Vitalake, need, until  # noqa: E402
from parts_druid import Druid  # noqa: E402

COLUMNS = ["hour timestamp", "device string", "heart_rate number", "steps integer"]
PROJECT = {
    "vitalake.yaml": "name: published\n",
    "contracts/raw/readings.yaml": contract_of("readings", 50, COLUMNS, ["source: feed"]),
    "contracts/curated/worn.yaml": contract_of("worn", 51, COLUMNS, []),
    "contracts/serving/worn_hourly.yaml": contract_of(
        "worn_hourly", 52, ["hour timestamp key", "device string key", "heart_rate number", "steps integer", "readings integer"], []),
    "models/curated/worn.sql": "-- kind: append\nSELECT hour, device, heart_rate, steps FROM raw.readings\n",
    "models/serving/worn_hourly.sql": "-- kind: rollup\n-- time: hour\nSELECT hour, device, MAX(heart_rate) AS heart_rate, SUM(steps) AS steps,\n"
                                      "COUNT(*) AS readings FROM curated.worn GROUP BY hour, device\n",
}
DEVICES, DAYS_A_FILE = 1000, 4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitalake-bench-druid-") as folder:
        print(json.dumps(measured(pathlib.Path(folder), arguments), indent=1))


def measured(folder, arguments):
    for name, text in PROJECT.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with Vitalake(folder / "vitalake", arguments.bin, folder / "project", kafka=False) as platform:
        rows = delivered(platform, arguments.rows)
        platform.stop()
        with Druid(folder / "druid") as druid:
            platform.settings = druid.settings()
            platform.start()
            return {"rows": rows, "rounds": [publication(druid, platform, rows, number) for number in range(arguments.rounds)]}


def publication(druid, platform, rows, number):
    """All of it published, and then the same rows by Druid alone. In the first round its servers have just begun."""
    load = os.getloadavg()
    if number:
        platform.run("druid", "adopt", "worn_hourly")
        until("it is on its way", lambda: report(platform)["state"], "publishing", 60)
    until("it is published", lambda: report(platform)["state"], "published", 580)
    need("rows in Druid", druid.sql("SELECT COUNT(*) FROM worn_hourly"), [[rows]])
    said = report(platform)
    task = f"/druid/indexer/v1/task/{said['task']}"
    its = druid.get("coordinator", f"{task}/status")["status"]["duration"] / 1000
    spec = druid.get("coordinator", task)["payload"]["spec"]
    files = len(spec["ioConfig"]["inputSource"]["uris"])
    return {"files": files, "publication_s": said["took_seconds"], "its_task_s": its,
            "task_from_local_files_s": alone_of(druid, platform, spec, rows), "load": load}


def delivered(platform, count):
    """Rows of so many devices and hours, some days a delivery."""
    hours, sent = count // DEVICES, 0
    for first in range(0, hours, DAYS_A_FILE * 24):
        file = platform.folder / "readings.csv"
        with open(file, "w") as lines:
            lines.write("hour,device,heart_rate,steps\n")
            for hour in range(first, min(first + DAYS_A_FILE * 24, hours)):
                at = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(1767225600 + hour * 3600))
                lines.writelines(f"{at},device-{n:04},{50 + (n * 7 + hour) % 90}.5,{(n + hour) % 400}\n" for n in range(DEVICES))
                sent += DEVICES
        date = time.strftime("%Y-%m-%d", time.gmtime(1767225600 + first * 3600))
        subprocess.run([platform.binary, "ingest", "readings", file, "--business-date", date], check=True, cwd=platform.project,
                       env={**os.environ, **platform.environment()}, stdout=subprocess.DEVNULL, timeout=300)
    platform.flush()
    until("they are rolled up", lambda: platform.sql("SELECT COUNT(*) FROM serving.worn_hourly"), [[sent]], 300)
    platform.flush()
    return sent


def report(platform):
    return json.loads(platform.get("/api/v1/druid")[1])[0]


def alone_of(druid, platform, spec, rows):
    """Druid's own task for the same rows, of the same files on its disk, into another datasource."""
    names = [uri.split("?")[0].rsplit("/", 1)[1] for uri in spec["ioConfig"]["inputSource"]["uris"]]
    found = {file.name: str(file) for file in platform.table("serving", "worn_hourly").rglob("*.parquet")}
    spec["ioConfig"]["inputSource"] = {"type": "local", "files": [found[name] for name in names]}
    spec["dataSchema"]["dataSource"] = "worn_alone"
    task = druid.post("coordinator", "/druid/indexer/v1/task", {"type": "index_parallel", "spec": spec})["task"]
    state = f"/druid/indexer/v1/task/{task}/status"
    done = until("Druid's own task ends", lambda: druid.get("coordinator", state)["status"], lambda status: status["statusCode"] != "RUNNING", 580)
    need("Druid's own task", done["statusCode"], "SUCCESS")
    until("its rows are loaded", lambda: druid.sql("SELECT COUNT(*) FROM worn_alone"), [[rows]], 120)
    return done["duration"] / 1000


if __name__ == "__main__":
    main()
