"""A real Druid that loses one part after the other while rows are published to it: the historical before it has loaded, the broker
before it is compared, ZooKeeper, the disk of its deep storage, and at last all that it had; and this process, killed at any step.
Each is told in words of ours while it lasts, and afterwards Druid's answers are ours."""
import json
import shutil
import time

from druid import HOURLY, PROJECT, deliver, project, same_answers, settings, simulate, standing
from parts import Vitalake, need, until
from parts_druid import Druid

KILLS_AFTER_SECONDS = (0.5, 2, 4, 6, 9, 13)


def check(run):
    with Druid(run.folder / "druid") as druid:
        with Vitalake(project(run.folder / "vitalake"), run.binary, PROJECT, settings=settings(druid)) as platform:
            deliver(platform)
            simulate(platform, "2026-03-01T00:00:00Z", 2000)
            same_answers(platform, druid)
            steps = (without_historical, without_broker, without_zookeeper, storage_full, killed_at_any_step, all_lost)
            return "; ".join(step(platform, druid) for step in steps)


def told(platform, wanted, seconds=120):
    """What is said of the dataset, once it is what is wanted."""
    return until(f"it says {wanted}", lambda: standing(platform).get("waits_for") or standing(platform).get("reason") or json.dumps(standing(platform)),
                 lambda said: any(word in said for word in wanted), seconds)


def without_historical(platform, druid):
    before = {task["id"] for task in druid.tasks(HOURLY)}
    simulate(platform, "2026-06-01T00:00:00Z", 300, 11)
    until("a task is under way", lambda: [task for task in druid.tasks(HOURLY) if task["id"] not in before], bool, 60)
    druid.kill("historical")
    said = told(platform, ("loaded", "answers 500"), 180)
    druid.start("historical")
    same_answers(platform, druid)
    return f"without its historical: {said}"


def without_broker(platform, druid):
    druid.kill("broker")
    simulate(platform, "2026-06-02T00:00:00Z", 300, 12)
    until("it is told that Druid is away", lambda: [part["part"] for part in json.loads(platform.get("/api/v1/status")[1])["away"]],
          lambda away: "Druid" in away, 180)
    said = json.dumps(standing(platform))
    druid.start("broker")
    same_answers(platform, druid)
    return f"without its broker: {said}"


def without_zookeeper(platform, druid):
    druid.kill("zookeeper")
    simulate(platform, "2026-06-03T00:00:00Z", 300, 13)
    time.sleep(5)
    said = json.dumps(standing(platform))
    druid.begin("zookeeper", "-Xmx64m", "-XX:+UseSerialGC", ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(druid.folder / "conf/zoo.cfg")])
    same_answers(platform, druid)
    return f"without ZooKeeper: {said}"


def storage_full(platform, druid):
    """Where segments go nothing can be written: as on a full disk each task fails as it pushes them."""
    segments = druid.folder / "var/segments"
    aside = segments.rename(druid.folder / "var/segments-aside")
    segments.write_text("no folder")
    before = len(druid.tasks(HOURLY))
    simulate(platform, "2026-06-04T00:00:00Z", 300, 14)
    said = told(platform, ("failed", "ended"), 180)
    time.sleep(30)
    sent = len(druid.tasks(HOURLY)) - before
    segments.unlink()
    aside.rename(segments)
    same_answers(platform, druid)
    if sent > 12:
        raise AssertionError(f"{sent} tasks were sent in vain within half a minute")
    return f"without room for segments: {said}; {sent} tasks meanwhile"


def killed_at_any_step(platform, druid):
    for number, seconds in enumerate(KILLS_AFTER_SECONDS):
        simulate(platform, f"2026-06-{10 + number}T00:00:00Z", 200, 20 + number)
        time.sleep(seconds)
        platform.kill()
        platform.start()
    same_answers(platform, druid)
    return f"killed {len(KILLS_AFTER_SECONDS)} times, at {', '.join(map(str, KILLS_AFTER_SECONDS))} s after a version"


def all_lost(platform, druid):
    """A Druid that was set up anew at the same addresses has nothing of what is remembered of it."""
    druid.__exit__()
    shutil.rmtree(druid.folder / "var")
    druid.__enter__()
    need("the new Druid is empty", druid.sql(f"SELECT COUNT(*) FROM {HOURLY}"), [])
    simulate(platform, "2026-06-20T00:00:00Z", 300, 30)
    said = json.dumps(standing(platform))
    same_answers(platform, druid)
    return f"a Druid that was set up anew: {said}"
