"""Records for the project `steps`, and senders that know which of theirs were acknowledged."""
import json
import logging
import threading
import time

from confluent_kafka import Producer

from parts import Failed

SILENT = logging.getLogger("silent")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def hourly(identity, hour, steps):
    """A record of the topic hourly-steps; hours count from the first of January 2016."""
    moment = time.gmtime(1451606400 + hour * 3600)
    clock = time.strftime("%I:%M:%S %p", moment).lstrip("0")
    return {"Id": identity, "ActivityHour": f"{moment.tm_mon}/{moment.tm_mday}/{moment.tm_year} {clock}", "StepTotal": steps}


def producer(bootstrap, **more):
    return Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                     "reconnect.backoff.max.ms": 200, "delivery.timeout.ms": 180000, "logger": SILENT, **more})


def send(bootstrap, topic, rows):
    """All of them, acknowledged."""
    errors, sender = [], producer(bootstrap)
    for row in rows:
        sender.produce(topic, json.dumps(row).encode(), key=row["Id"].encode(), on_delivery=lambda error, _: error and errors.append(error))
        sender.poll(0)
    left = sender.flush(120)
    if errors or left:
        raise Failed(f"{len(errors)} records refused, the first: {errors[:1]}; {left} unanswered")


class Background:
    """Something that runs beside a check, until the check is over or that many seconds later."""

    def __init__(self, seconds_to_end):
        self.seconds_to_end, self.over = seconds_to_end, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        raise NotImplementedError

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(self.seconds_to_end)


class Numbered(Background):
    """Sends records with numbers of their own, steadily, until told to stop; knows which were acknowledged."""

    def __init__(self, bootstrap, topic="hourly-steps", records_per_second=500, prefix="n", client=None):
        super().__init__(seconds_to_end=200)
        self.bootstrap, self.topic, self.rate, self.prefix = bootstrap, topic, records_per_second, prefix
        self.client = client or {}
        self.sent, self.acknowledged, self.refused = 0, set(), []

    def run(self):
        sender = producer(self.bootstrap, **self.client)
        while not self.over.wait(0.05):
            for _ in range(self.rate // 20):
                self.one(sender)
            sender.poll(0)
        sender.flush(180)

    def one(self, sender):
        identity, self.sent = f"{self.prefix}{self.sent}", self.sent + 1
        row = hourly(identity, self.sent % 8000, 1)

        def done(error, _):
            if error:
                self.refused.append(str(error))
            else:
                self.acknowledged.add(identity)
        while True:
            try:
                sender.produce(self.topic, json.dumps(row).encode(), key=identity.encode(), on_delivery=done)
                return
            except BufferError:
                sender.poll(0.2)
