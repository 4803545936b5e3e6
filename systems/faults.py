"""What the platform stands on goes away for a while and comes back, while records flow: storage, and the broker."""
import contextlib
import re
import signal
import time

from gate import Refusing
from outcome import Watch, exactly_once, told, told_nothing, why
from parts import Azurite, Failed, KafkaBroker, Vitalake, until
from records import Numbered

SECONDS_AWAY, SECONDS_BEFORE, SECONDS_AFTER = 20, 6, 10
SECONDS_REFUSED = 15
CONTAINER = "faults"


def on_azurite(run, blobs, **more):
    """A platform whose lake is in a container of its own, and where its raw table is for other readers."""
    blobs.create_container(CONTAINER)
    settings = {"VITALAKE_STORAGE__URL": f"az://{CONTAINER}/lake-root", **blobs.credentials(), **more.pop("settings", {})}
    platform = Vitalake(run.folder / "vitalake", run.binary, run.project("steps"), settings=settings, **more)
    return platform, f"az://{CONTAINER}/lake-root/lake/raw/hourly_steps"


def azurite_away(run):
    """Connections are refused."""
    return storage_away(run, lambda blobs: blobs.kill(), lambda blobs: blobs.start())


def azurite_hangs(run):
    """Connections are taken and nothing is answered."""
    return storage_away(run, lambda blobs: blobs.signal(signal.SIGSTOP), lambda blobs: blobs.signal(signal.SIGCONT))


def storage_away(run, away, back):
    with Azurite(run.folder / "azurite") as blobs:
        platform, table = on_azurite(run, blobs)
        with platform, Watch(platform) as watch:
            with Numbered(platform.bootstrap) as sender:
                time.sleep(SECONDS_BEFORE)
                away(blobs)
                began, before = time.monotonic(), len(sender.acknowledged)
                until("storage away is told", lambda: told(platform, "storage"), True, SECONDS_AWAY)
                time.sleep(max(0, SECONDS_AWAY - (time.monotonic() - began)))
                taken = len(sender.acknowledged) - before
                back(blobs)
                time.sleep(SECONDS_AFTER)
            total = exactly_once(sender, platform, table, blobs.credentials())
            until("nothing is told to be away", lambda: told_nothing(platform), True, 30)
            # A question that needs a file of a storage that is away is refused, in time and with a reason.
            reads = watch.must_have_answered(errors_allowed=SECONDS_AWAY * 5)
    if not taken:
        raise Failed("no record was taken while storage was away, although the log is local")
    return f"{total} records once each, {taken} of them taken while storage was away {SECONDS_AWAY} s; {reads}"


def kafka_away(run):
    """The broker is killed, stays away and comes back with its log."""
    with KafkaBroker(run.folder / "kafka") as broker:
        broker.create_topic("hourly-steps")
        settings = {"VITALAKE_KAFKA__BOOTSTRAP": broker.bootstrap}
        platform = Vitalake(run.folder / "vitalake", run.binary, run.project("steps"), settings=settings, kafka=False)
        with platform, Watch(platform) as watch:
            with Numbered(broker.bootstrap) as sender:
                time.sleep(SECONDS_BEFORE)
                broker.kill()
                began = time.monotonic()
                until("the broker away is told", lambda: told(platform, "kafka"), True, SECONDS_AWAY)
                time.sleep(max(0, SECONDS_AWAY - (time.monotonic() - began)))
                broker.start_again()
                time.sleep(SECONDS_AFTER)
            total = exactly_once(sender, platform, platform.table("raw", "hourly_steps"))
            until("nothing is told to be away", lambda: told_nothing(platform), True, 30)
            reads = watch.must_have_answered()
    return f"{total} records once each over a broker that was away {SECONDS_AWAY} s; {reads}"


def azurite_refuses(run):
    """Storage answers, and says no: the identity may not, then it is busy, then too much is asked of it."""
    said = []
    with Azurite(run.folder / "azurite") as blobs, Refusing(blobs.port) as front:
        platform, table = on_azurite(run, blobs, settings={"AZURE_STORAGE_ENDPOINT": front.endpoint(blobs.account)})
        with platform, Watch(platform) as watch:
            with Numbered(platform.bootstrap) as sender:
                time.sleep(SECONDS_BEFORE)
                for words, status, code, *headers in (("has no role", "403 Forbidden", "AuthorizationPermissionMismatch"),
                                                      ("503", "503 Service Unavailable", "ServerBusy", "retry-after: 1"),
                                                      ("429", "429 Too Many Requests", "TooManyRequests", "retry-after: 1")):
                    front.refuse(status, code, *headers)
                    began, before = time.monotonic(), len(sender.acknowledged)
                    said.append(until(f"{status} is told", lambda: why(platform, "storage"), re.compile(words).search, SECONDS_REFUSED))
                    time.sleep(max(0, SECONDS_REFUSED - (time.monotonic() - began)))
                    if not (front.refused and len(sender.acknowledged) > before):
                        raise Failed(f"{status}: {front.refused} requests refused, {len(sender.acknowledged) - before} records taken")
                    front.pass_on()
                    until(f"nothing is told to be away after {status}", lambda: told_nothing(platform), True, 30)
            total = exactly_once(sender, platform, table, blobs.credentials())
            reads = watch.must_have_answered(errors_allowed=SECONDS_REFUSED * 3 * 5)
    return f"{total} records once each over {SECONDS_REFUSED} s of each: {'; '.join(said)}; {reads}"


def both_away(run, storage_first):
    """Storage and the broker go at the same time, and come back one after the other."""
    with contextlib.ExitStack() as parts:
        blobs, broker = parts.enter_context(Azurite(run.folder / "azurite")), parts.enter_context(KafkaBroker(run.folder / "kafka"))
        broker.create_topic("hourly-steps")
        platform, table = on_azurite(run, blobs, settings={"VITALAKE_KAFKA__BOOTSTRAP": broker.bootstrap}, kafka=False)
        watch = Watch(parts.enter_context(platform))
        back = {"storage": blobs.start, "Kafka": broker.start_again}
        with watch:
            with Numbered(broker.bootstrap) as sender:
                time.sleep(SECONDS_BEFORE)
                broker.kill()
                blobs.kill()
                said = [until(f"{part} away is told", lambda: why(platform, part), bool, SECONDS_AWAY) for part in back]
                time.sleep(SECONDS_AWAY / 2)
                for part in back if storage_first else reversed(back):
                    back[part]()
                    until(f"{part} is back", lambda: told(platform, part.lower()), False, 30)
                    time.sleep(SECONDS_BEFORE)
            total = exactly_once(sender, platform, table, blobs.credentials())
            until("nothing is told to be away", lambda: told_nothing(platform), True, 30)
            reads = watch.must_have_answered(errors_allowed=SECONDS_AWAY * 5)
    return f"{total} records once each, {'storage' if storage_first else 'the broker'} back first; said: {'; '.join(said)}; {reads}"
