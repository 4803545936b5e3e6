"""Several processes on one lake: two that ingest as one consumer group, one that serves, with Apache Kafka and Azurite.

The serving process is asked in SQL throughout: it must answer whatever becomes of the others.
"""
import contextlib
import json
import signal
import statistics
import time

from confluent_kafka.admin import AdminClient

from gate import Gate
from outcome import COUNT, Watch, exactly_once, told_nothing, why
from parts import Azurite, Failed, KafkaBroker, Vitalake, need, until
from records import SILENT, Numbered, hourly, producer

CONTAINER, PREFIX = "roles", "one-lake"
TABLE = f"az://{CONTAINER}/{PREFIX}/lake/raw/hourly_steps"
STEADILY_SECONDS, SECONDS_AWAY = 8, 15
DAILY_COMMITTED = "SELECT SUM(hours), SUM(steps) FROM serving.steps_daily"
DAILY = f"{DAILY_COMMITTED}_live"
CURATED = "SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM curated.steps"


class Cluster:
    """A broker, a container, and processes of one project on them."""

    def __init__(self, run, parts, commit_interval_ms=1000):
        self.run, self.parts, self.commit_interval_ms = run, parts, commit_interval_ms
        self.blobs = parts.enter_context(Azurite(run.folder / "azurite"))
        self.blobs.create_container(CONTAINER)
        self.broker = parts.enter_context(KafkaBroker(run.folder / "kafka"))
        self.broker.create_topic("hourly-steps")

    def process(self, name, role, endpoint=None):
        settings = {
            "VITALAKE_KAFKA__BOOTSTRAP": self.broker.bootstrap, "VITALAKE_STORAGE__URL": f"az://{CONTAINER}/{PREFIX}",
            "VITALAKE_STORAGE__COMMIT_INTERVAL_MS": str(self.commit_interval_ms), **self.blobs.credentials(),
        }
        if endpoint:
            settings["AZURE_STORAGE_ENDPOINT"] = endpoint
        return self.parts.enter_context(Vitalake(
            self.run.folder / name, self.run.binary, self.run.project("steps"), ["--role", role], settings, kafka=False))

    def members(self):
        """How many processes the one consumer group has."""
        # One for each question: one that lived through a restart of the broker might not hear of it for long.
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap}, logger=SILENT)
        groups = [group.group_id for group in admin.list_consumer_groups().result(10).valid]
        described = admin.describe_consumer_groups(groups) if groups else {}
        return sum(len(group.result(10).members) for group in described.values())

    def two_share(self):
        until("two members in the consumer group", self.members, 2, 120)

    def outcome(self, sender, served, watch, errors_allowed=0):
        total = exactly_once(sender, served, TABLE, self.blobs.credentials())
        return f"{total} records once each; {watch.must_have_answered(errors_allowed)}"


def one_killed(run):
    """One of two that ingest is killed, and comes back."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts)
        first, _second, served = cluster.process("first", "ingest"), cluster.process("second", "ingest"), cluster.process("served", "serve")
        cluster.two_share()
        with Watch(served) as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                time.sleep(STEADILY_SECONDS)
                first.kill()
                until("the other has all partitions", cluster.members, 1, 120)
                time.sleep(STEADILY_SECONDS)
                first.start()
                cluster.two_share()
                time.sleep(STEADILY_SECONDS)
            return cluster.outcome(sender, served, watch)


def one_paused(run):
    """One of two that ingest stops in the middle of a commit, past its session's time-out: its partitions are another's
    when it goes on, and its commit is still on its way."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts)
        gate = parts.enter_context(Gate(cluster.blobs.port, b"/lake/raw/hourly_steps/_delta_log/"))
        first = cluster.process("first", "ingest", gate.endpoint(cluster.blobs.account))
        _second, served = cluster.process("second", "ingest"), cluster.process("served", "serve")
        cluster.two_share()
        with Watch(served) as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                time.sleep(STEADILY_SECONDS)
                gate.hold(lambda: first.signal(signal.SIGSTOP))
                until("a commit is held", gate.held.is_set, True, 30)
                until("the other has all partitions", cluster.members, 1, 120)
                time.sleep(STEADILY_SECONDS)
                gate.open()
                first.signal(signal.SIGCONT)
                cluster.two_share()
                time.sleep(STEADILY_SECONDS)
            return cluster.outcome(sender, served, watch)


def replica(run):
    """A process that serves shows what no commit holds yet, also while none that ingests is there."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts, commit_interval_ms=5000)
        ingests, served = cluster.process("ingests", "ingest"), cluster.process("served", "serve")
        with Watch(served) as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                time.sleep(STEADILY_SECONDS)
                ingests.kill()
                time.sleep(STEADILY_SECONDS)
            until("the replica shows what nobody has committed", lambda: served.row(COUNT), (sender.sent,), 20)
            ingests.start()
            return cluster.outcome(sender, served, watch)


def fresh(run):
    """What a process that serves shows of curated and serving tables is ahead of their commits, once each, also while the
    process that runs the models is killed and comes back."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts, commit_interval_ms=4000)
        _ingests, models, served = cluster.process("ingests", "ingest"), cluster.process("models", "process"), cluster.process("served", "serve")
        with Watch(served, question="SELECT SUM(hours) FROM serving.steps_daily_live") as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                with_models = probes(cluster, served, "probe-a", 20)
                models.kill()
                without = probes(cluster, served, "probe-b", 20)
                models.start()
                again = probes(cluster, served, "probe-c", 10)
            total = sender.sent + 50
            until("serving on the replica", lambda: served.row(DAILY), (total, total), 60)
            until("serving as it is committed", lambda: served.row(DAILY_COMMITTED), (total, total), 120)
            until("curated on the replica", lambda: served.row(CURATED), (total, total), 30)
            time.sleep(STEADILY_SECONDS)
            until("serving on the replica, later", lambda: served.row(DAILY), (total, total), 1)
        words = f"acknowledged to serving.steps_daily_live on the replica: {with_models}; models killed: {without}; back: {again}; commits every 4 s"
        return f"{total} records once each; {words}; {watch.must_have_answered()}"


def probes(cluster, served, prefix, count):
    """How long single records take from their acknowledgement until a roll-up on the replica has them."""
    waits, sender = [], producer(cluster.broker.bootstrap)
    for number in range(count):
        identity = f"{prefix}{number}"
        sender.produce("hourly-steps", json.dumps(hourly(identity, number, 1)).encode(), key=identity.encode())
        sender.flush(30)
        began = time.monotonic()
        while served.row(f"SELECT COUNT(*) FROM serving.steps_daily_live WHERE subject_id = '{identity}'") != (1,):
            if time.monotonic() - began > 30:
                raise Failed("an acknowledged record was not in serving on the replica after 30 s")
            time.sleep(0.01)
        waits.append(time.monotonic() - began)
        time.sleep(0.3)
    median, longest = statistics.median(waits), max(waits)
    if median > 2:
        raise Failed(f"a record is in serving on the replica after {median:.1f} s: it waits for commits")
    return f"median {median * 1000:.0f} ms, longest {longest * 1000:.0f} ms"


def spare(run):
    """Two processes run the models: one stands by and takes over when the other is killed; when that is back, one of them
    stands by again."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts)
        _ingests, served = cluster.process("ingests", "ingest"), cluster.process("served", "serve")
        pair = {name: cluster.process(name, "process") for name in ("one", "other")}
        with Numbered(cluster.broker.bootstrap) as sender:
            until("one of two stands by", lambda: sorted(map(role, pair.values())), ["process", "process, standing by"], 60)
            first = next(name for name in pair if role(pair[name]) == "process")
            second = next(name for name in pair if name != first)
            time.sleep(STEADILY_SECONDS)
            need("who stands by, later", role(pair[second]), "process, standing by")
            pair[first].kill()
            began = time.monotonic()
            until("the spare has taken over", lambda: role(pair[second]), "process", 60)
            taken = time.monotonic() - began
            pair[first].start()
            until("one of two stands by again", lambda: sorted(map(role, pair.values())), ["process", "process, standing by"], 60)
            held = {name: role(process) for name, process in pair.items()}
            time.sleep(STEADILY_SECONDS)
            need("who runs the models, later", {name: role(process) for name, process in pair.items()}, held)
        total = sender.sent
        until("serving as it is committed", lambda: served.row(DAILY_COMMITTED), (total, total), 120)
        until("curated, and different ones", lambda: served.row(CURATED), (total, total), 30)
        return f"{total} records once each; the spare took over {taken:.0f} s after the other was killed"


def role(process):
    """The role that a process says it has; none while it does not answer."""
    _, report, _ = process.run("status", "--json")
    try:
        return json.loads(report).get("role", "none")
    except ValueError:
        return "none"


def killed_without_storage(run):
    """One of two that ingest is killed while storage is away, and started again before it is back."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts)
        first, second, served = cluster.process("first", "ingest"), cluster.process("second", "ingest"), cluster.process("served", "serve")
        cluster.two_share()
        with Watch(served) as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                time.sleep(STEADILY_SECONDS)
                cluster.blobs.kill()
                said = until("storage away is told", lambda: why(second, "storage"), bool, 30)
                first.kill()
                until("the other is alone", cluster.members, lambda count: count < 2, 60)
                first.begin()
                time.sleep(SECONDS_AWAY)
                cluster.blobs.start()
                first.wait_until_up()
                cluster.two_share()
                time.sleep(STEADILY_SECONDS)
            outcome = cluster.outcome(sender, served, watch, errors_allowed=SECONDS_AWAY * 20)
            until("nothing is told to be away", lambda: [told_nothing(each) for each in (first, second, served)], [True] * 3, 30)
            return f"{outcome}; said: {said}"


def broker_restarts(run):
    """The broker is killed and comes back while partitions change hands between two that ingest: as the second joins, and
    as it leaves."""
    with contextlib.ExitStack() as parts:
        cluster = Cluster(run, parts)
        first, second, served = cluster.process("first", "ingest"), cluster.process("second", "ingest"), cluster.process("served", "serve")
        cluster.two_share()
        second.stop()
        with Watch(served) as watch:
            with Numbered(cluster.broker.bootstrap) as sender:
                time.sleep(STEADILY_SECONDS)
                second.begin()
                until("the second joins", cluster.members, 2, 30)
                cluster.broker.kill()
                said = until("the broker away is told", lambda: why(first, "Kafka"), bool, 30)
                cluster.broker.start_again()
                second.wait_until_up()
                cluster.two_share()
                time.sleep(STEADILY_SECONDS)
                second.signal(signal.SIGTERM)
                cluster.broker.kill()
                cluster.broker.start_again()
                second.stop()
                until("the first is alone", cluster.members, 1, 60)
                time.sleep(STEADILY_SECONDS)
            outcome = cluster.outcome(sender, served, watch)
            until("nothing is told to be away", lambda: [told_nothing(each) for each in (first, served)], [True] * 2, 30)
            return f"{outcome}; said: {said}"
