"""The example project with one dataset more, filled with the same rows each time: what `same_answers` asks about.

The days lie around the night in which Berlin's clocks go forward. Times are in whole milliseconds, which is all that Druid
holds. The added dataset, systems/clinic, has a column of every kind that a contract knows.
"""
import datetime
import json
import random
import shutil
import urllib.request

from parts import Failed, Vitalake, need, until
from records import producer

DAYS, PATIENTS, FIRST = 6, 24, datetime.datetime(2026, 3, 27, tzinfo=datetime.timezone.utc)
NOTES = (None, "", "seen by the nurse", "Müller, „zweimal“ angerufen", "été", "日本語", "a 'quoted' word", "100 %_")
EVENTS = ("session_started", "screen_viewed", "medication_logged", "symptom_reported", "message_read")
# In the sums of these a double is no longer exact.
LARGE = 9_007_199_254_740_993


def project(run):
    """The example project and the dataset beside it, as a folder of this run's."""
    folder = run.folder / "clinic"
    shutil.copytree(run.here.parent / "examples/remote-care", folder)
    shutil.copytree(run.here / "clinic", folder, dirs_exist_ok=True)
    return folder


def fill(platform):
    """Brings all of it in and waits until every layer has it in Delta."""
    for dataset in ("patients", "device_assignments"):
        deliver(platform, dataset, (platform.project / f"deliveries/{dataset}.csv").read_bytes())
    deliver(platform, "charges", charges(), "ndjson")
    sent, events = readings(), app_events()
    send(platform.bootstrap, "wearable-readings", sent)
    send(platform.bootstrap, "app-events", events)
    until("all readings are in raw", lambda: platform.row("SELECT COUNT(*) FROM raw.wearable_readings"), (len(sent),))
    until("all events are in raw", lambda: platform.row("SELECT COUNT(*) FROM raw.app_events"), (len(events),))
    until("all readings are in curated or quarantine", lambda: settled(platform, "vitals", "wearable_readings"), True)
    until("all events are in curated or quarantine", lambda: settled(platform, "app_activity", "app_events"), True)
    until("every row is in serving", lambda: derived(platform), True)
    # These days are long past, for which the contract's freshness holds them back; somebody takes the responsibility.
    release(platform, "vitals_hourly")
    until("what is published is all of it", lambda: platform.row("SELECT SUM(readings) FROM serving.vitals_hourly"),
          platform.row("SELECT COUNT(*) FROM curated.vitals"))


def settled(platform, curated, raw):
    """Whether no record waits: each is a row, a copy of one, or in quarantine. The keys say it, since copies leave no row."""
    keys = {"wearable_readings": ("device_id", "recorded_at"), "app_events": ("event_id",)}[raw]
    distinct = platform.row(f"SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(keys)} FROM raw.{raw}) t")[0]
    rows, refused = platform.row(f"SELECT (SELECT COUNT(*) FROM curated.{curated}), (SELECT COUNT(DISTINCT _raw) FROM quarantine.{curated})")
    return rows + refused == distinct


def derived(platform):
    platform.flush()
    asked = ("SELECT (SELECT SUM(readings) FROM serving.vitals_hourly_live) - (SELECT COUNT(*) FROM curated.vitals), "
             "(SELECT SUM(events) FROM serving.engagement_daily) - (SELECT COUNT(*) FROM curated.app_activity), "
             "(SELECT COUNT(*) FROM serving.care_charges) - (SELECT COUNT(*) FROM raw.charges)")
    return platform.row(asked) == (0, 0, 0)


def release(platform, dataset):
    body = json.dumps({"reason": "these days are asked about on purpose", "by": "systems"}).encode()
    request = urllib.request.Request(f"{platform.server}/api/v1/gates/{dataset}/release", body, {"Content-Type": "application/json"}, method="POST")
    urllib.request.urlopen(request, timeout=60).close()


def deliver(platform, dataset, content, form="csv"):
    address = f"{platform.server}/api/v1/deliveries/{dataset}?name={dataset}.{form}&format={form}"
    with urllib.request.urlopen(urllib.request.Request(address, content, method="POST"), timeout=60) as answer:
        need(f"the delivery of {dataset}: status", answer.status, 200)


def send(bootstrap, topic, records):
    """All of them, acknowledged."""
    errors, sender = [], producer(bootstrap)
    for key, record in records:
        sender.produce(topic, json.dumps(record).encode(), key=key.encode(), on_delivery=lambda error, _: error and errors.append(error))
        sender.poll(0)
    left = sender.flush(120)
    if errors or left:
        raise Failed(f"{len(errors)} records of {topic} refused, {left} unanswered")


def readings():
    """Each patient's device every five minutes or so, not in every hour; some values are absent, some readings come twice."""
    dice, rows = random.Random(1), []
    for patient in range(1, PATIENTS + 1):
        device, at = f"dev-{patient:04}", FIRST + datetime.timedelta(milliseconds=dice.randrange(600_000))
        while at < FIRST + datetime.timedelta(days=DAYS):
            vitals = {"hr": dice.randrange(38, 150), "spo2": dice.choice((None, *range(86, 101))), "skin_temp": dice.choice((None, dice.randrange(300, 390) / 10))}
            row = {"device_id": device, "recorded_at": text(at), "vitals": {key: value for key, value in vitals.items() if value is not None},
                   "steps": dice.choice((None, 0, dice.randrange(400))), "battery": dice.randrange(101)}
            rows += [(device, row)] * (2 if dice.random() < 0.02 else 1)
            at += datetime.timedelta(milliseconds=dice.choice((300_000, 300_000, 299_001, 9_000_000)))
    # Of a device that nobody wears: the curated contract refuses them.
    rows += [("dev-9999", {"device_id": "dev-9999", "recorded_at": text(FIRST + datetime.timedelta(minutes=n)), "vitals": {"hr": 70}}) for n in range(7)]
    return rows


def app_events():
    dice, rows = random.Random(2), []
    for number in range(1500):
        at = FIRST + datetime.timedelta(milliseconds=dice.randrange(DAYS * 86_400_000))
        user = f"app-{dice.randrange(1, PATIENTS + 1):04}" if number % 300 else "app-nobody"
        context = dice.choice(({}, {"screen": "home", "platform": "ios"}, {"screen": "diary", "platform": "android"}))
        rows.append((user, {"event_id": f"ev-{number:05}", "user_id": user, "occurred_at": text(at), "event": dice.choice(EVENTS), "context": context}))
    return rows


def charges():
    """As NDJSON: every kind of value, absent ones, empty text, the leap day, cents that doubles do not have."""
    dice, rows = random.Random(3), []
    for number in range(240):
        at = FIRST + datetime.timedelta(milliseconds=dice.randrange(DAYS * 86_400_000))
        billed = dice.choice((None, "2024-02-29", "1999-12-31", "2026-03-29", str((at + datetime.timedelta(days=1)).date())))
        rows.append({
            "charge_id": f"c-{number:04}", "patient_id": f"pat-{dice.randrange(1, PATIENTS + 1):04}", "charged_at": text(at), "billed_on": billed,
            "amount": f"{dice.choice((-1, 1, 1)) * dice.randrange(1, 1_000_000) / 100:.2f}",
            "hours_of_care": dice.choice((None, 0.1, 0.2, 1.5, dice.random() * 8)), "reference": dice.choice((None, LARGE + number, -number)),
            "paid": billed and dice.choice((True, False, False)), "note": dice.choice(NOTES),
        })
    return "\n".join(map(json.dumps, rows)).encode()


def text(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def start(run, settings=None):
    """The platform on that project, not yet filled."""
    return Vitalake(run.folder / "vitalake", run.binary, project(run), settings=settings)
