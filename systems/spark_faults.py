"""What can go wrong between models and a real Spark, one after the other: a token that it does not take, a row that cannot be
run, a statement that it cannot plan, sessions that end within rows, a Spark that stands still or goes, and a stop within a
statement that would take an hour. Everything else must go on, and each is told in words of ours.
"""
import json
import signal
import time

import clinic
from parts import Failed, Vitalake, need, until
from parts_spark import CutSpark

TOKEN, WRONG = "t0ken-of-the-systems", "wr0ng-token-of-the-systems"
# Sessions that nobody uses are closed after seconds, so that most statements find theirs gone.
SETTINGS = {
    "spark.connect.authenticate.token": TOKEN,
    "spark.connect.session.manager.defaultSessionTimeout": "4s",
    "spark.connect.session.manager.maintenanceInterval": "1s",
}
KINDS = b"kind,word\nslow,abcdefghij\nother,x\n"
# Rows of `parts` that Spark cannot run: a text has no part nought.
BAD = (3, 17)
LONG_ROWS = 40_000


def check(run):
    project = run.here / "spark_faults"
    with CutSpark(run.folder / "spark", **SETTINGS) as spark:
        said = [refused(run, project, spark)]
        settings = {"VITALAKE_ENGINES__TRANSFORM": f"{spark.remote}/;token={TOKEN}"}
        with Vitalake(run.folder / "there", run.binary, project, settings=settings) as there:
            said += [rows(there), session_closed(there, spark), stands_still(there, spark), goes(there, spark), stopped(there, spark)]
            secret(there, TOKEN)
    return "; ".join(said)


def status(platform):
    """What `vitalake status` says, also where not all is well."""
    return json.loads(platform.run("status", "--json")[1])


def model(platform, name):
    return next(dataset for dataset in status(platform)["datasets"] if dataset["dataset"] == name)


def flush(platform, seconds_max):
    """`vitalake flush`: what it says is behind, and that it took no longer."""
    began = time.monotonic()
    behind = json.loads(platform.run("flush", "--json")[1])["behind"]
    took = time.monotonic() - began
    if took > seconds_max:
        raise Failed(f"flush took {took:.0f} s, want at most {seconds_max}; behind: {behind}")
    return {one["dataset"]: one["reason"] for one in behind}, took


def secret(platform, token):
    need("the token is in the log", token in platform.log.read_text(errors="replace"), False)


def send(platform, kind, first, count):
    """Notes of a kind, with these numbers; text and part are made of the number."""
    clinic.send(platform.bootstrap, "notes", [("one", note(kind, number)) for number in range(first, first + count)])


def note(kind, number):
    return {"id": number, "kind": kind, "note": f"abc-d{number:05}", "part": 0 if number in BAD else 1 + number % 2}


def count(platform, dataset):
    return platform.row(f"SELECT COUNT(*), COUNT(DISTINCT id) FROM curated.{dataset}")


def whole(platform, dataset, rows, seconds=120):
    until(f"all rows are in {dataset}, each once", lambda: count(platform, dataset), (rows, rows), seconds)


def refused(run, project, spark):
    """A token that Spark does not take."""
    settings = {"VITALAKE_ENGINES__TRANSFORM": f"{spark.remote}/;token={WRONG}"}
    with Vitalake(run.folder / "refused", run.binary, project, settings=settings) as platform:
        send(platform, "other", 0, 10)
        whole(platform, "plain", 10)
        stalled = until("the model says that it is stalled", lambda: model(platform, "parts"), lambda said: said["state"] == "stalled", 60)
        away = [part["reason"] for part in status(platform)["away"] if part["part"] == "Spark"]
        need("what is said of Spark", away, [f"Spark at {spark.remote} refuses us (Unauthenticated): check the token and the user"])
        behind, _ = flush(platform, 15)
        need("what flush names", sorted(behind), ["parts", "slow", "unplanned"])
        need("rows of a model on Spark", count(platform, "parts"), (0, 0))
        secret(platform, WRONG)
    return f"a wrong token: {stalled['error']}"


def rows(there):
    """A row that cannot be run is in quarantine, a statement that cannot be planned fails its model, and the others go on."""
    send(there, "other", 0, 40)
    whole(there, "plain", 40)
    whole(there, "parts", 40 - len(BAD))
    refused = until("the rows that cannot be run are in quarantine",
                    lambda: there.sql("SELECT _reason, COUNT(*) FROM quarantine.parts GROUP BY 1"), lambda found: len(found) == 1)
    need("why they are in quarantine", refused[0],
         ["the expression at models/curated/parts.sql:2:1 cannot be computed for this row: Spark says INVALID_INDEX_OF_ZERO (SQLSTATE 22003)", len(BAD)])
    failed = until("the model that Spark cannot plan has failed", lambda: model(there, "unplanned"), lambda said: said["state"] == "failed")
    if "models/curated/unplanned.sql:3:13: Spark says PARSE_SYNTAX_ERROR (SQLSTATE 42601)" not in failed["error"]:
        raise Failed(f"a statement that Spark cannot plan: {failed['error']}")
    behind, _ = flush(there, 30)
    need("what flush names", sorted(behind), ["unplanned"])
    return f"{len(BAD)} rows in quarantine: {refused[0][0]}; {failed['error']}"


def deliver_kinds(there):
    clinic.deliver(there, "kinds", KINDS)


def session_closed(there, spark):
    """The session of a statement is closed by somebody else while it runs; its progress was shown before."""
    deliver_kinds(there)
    send(there, "slow", 100, 600)
    shown = until("status shows a statement that runs, with its tasks", lambda: model(there, "slow").get("running"),
                  lambda running: running and running["seconds"] > 2 and running["tasks"] > 0)
    (user, session), *_ = until("Spark has jobs of the model", lambda: spark.sessions("slow"), bool)
    spark.close_session(user, session, TOKEN)
    until("the statement runs in another session", lambda: spark.sessions("slow"), lambda now: now and (user, session) not in now, 60)
    whole(there, "slow", 640, 240)
    distances = there.row("SELECT COUNT(DISTINCT distance), MIN(distance) FROM curated.slow WHERE id >= 100")
    if distances[1] < 1000:
        raise Failed(f"distances are {distances}")
    return f"shown while it ran: {shown}; a session that was closed under it was begun anew"


def stands_still(there, spark):
    """Spark says nothing any more, and nobody closes its connections."""
    send(there, "slow", 1000, 300)
    until("Spark has jobs of the model", lambda: spark.sessions("slow"), bool)
    spark.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        _, took = flush(there, 45)
        stalled = until("the model says that it is stalled", lambda: model(there, "slow"), lambda said: said["state"] == "stalled", 120)
        seen = time.monotonic() - began
        send(there, "other", 50, 10)
        until("a model that is not on Spark goes on", lambda: there.row("SELECT COUNT(*) FROM curated.plain")[0], 40 + 600 + 300 + 10)
        _, again = flush(there, 15)
    finally:
        spark.signal(signal.SIGCONT)
    whole(there, "slow", 950, 240)
    whole(there, "parts", 948)
    return f"a Spark that stands still is told after {seen:.0f} s ({stalled['error']}), flush took {took:.0f} s then and {again:.0f} s later"


def alerts(there):
    return [alert for alert in json.loads(there.command_line("alert", "list", "--json")) if alert["alert"] == "engine_away" and alert["open"]]


def goes(there, spark):
    """Killed within a statement, and back at the same address."""
    send(there, "slow", 2000, 300)
    until("Spark has jobs of the model", lambda: spark.sessions("slow"), bool)
    spark.kill()
    began = time.monotonic()
    behind, took = flush(there, 15)
    need("flush names the model", "slow" in behind, True)
    alert = until("the alert fires", lambda: alerts(there), bool, 60)[0]
    seen = time.monotonic() - began
    spark.start()
    whole(there, "slow", 1250, 300)
    whole(there, "parts", 1248)
    until("Spark is not away any longer", lambda: status(there)["away"], [])
    return f"a Spark that was killed: flush took {took:.0f} s and said of slow {behind['slow']!r}; the alert after {seen:.0f} s: {alert['summary']!r}"


def stopped(there, spark):
    """A stop while a statement runs that would take an hour."""
    send(there, "slow", 10_000, LONG_ROWS)
    until("Spark has jobs of the model", lambda: spark.sessions("slow"), bool, 120)
    behind, waited = flush(there, 45)
    need("flush names the model that runs", "its statement has run on Spark for" in behind.get("slow", ""), True)
    began = time.monotonic()
    need("the exit status of a stop", there.stop(), 0)
    took = time.monotonic() - began
    if took > 20:
        raise Failed(f"a stop took {took:.0f} s")
    until("nothing of the model runs in Spark", lambda: spark.jobs("slow", "running"), [], 30)
    return f"flush beside a long statement took {waited:.0f} s ({behind['slow']}); a stop within it {took:.0f} s"
