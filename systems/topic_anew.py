"""A topic is deleted and made again while it is read and committed: what the new one holds is in raw once."""
import collections
import json
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from outcome import identities
from parts import Failed, KafkaBroker, Vitalake, need, until
from records import SILENT, hourly, send

TOPIC, PARTITIONS, LIVES, RECORDS_FIRST, SECONDS_A_LIFE = "hourly-steps", 4, 6, 40, 2.5


class Lives:
    """A topic's lives: each is deleted while it is read, and the next one written to at once."""

    def __init__(self, broker):
        self.broker, self.admin = broker, AdminClient({"bootstrap.servers": broker.bootstrap, "logger": SILENT})

    def begin(self):
        """As soon as the broker lets it be made."""
        def made():
            self.admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(10)
            return True
        until("the topic is made anew", made, True, 30, again=Exception)

    def held(self):
        """What the topic holds now."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "check", "logger": SILENT})
        ends = {p: consumer.get_watermark_offsets(TopicPartition(TOPIC, p))[1] for p in range(PARTITIONS)}
        consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
        found = [json.loads(consumer.consume(1, 10)[0].value())["Id"] for _ in range(sum(ends.values()))]
        consumer.close()
        need("records in the topic that are the same", len(found) - len(set(found)), 0)
        return set(found)

    def end(self):
        self.admin.delete_topics([TOPIC])[TOPIC].result(10)


def check(run):
    """The last life is there whole; nothing of any is there twice."""
    with KafkaBroker(run.folder / "kafka") as broker:
        lives = Lives(broker)
        lives.begin()
        # Commits at many moments within the two seconds between two looks at the topic's id.
        settings = {"VITALAKE_KAFKA__BOOTSTRAP": broker.bootstrap, "VITALAKE_STORAGE__COMMIT_INTERVAL_MS": "100"}
        platform = Vitalake(run.folder / "vitalake", run.binary, run.project("steps"), settings=settings, kafka=False)
        with platform:
            for number in range(LIVES):
                if number:
                    lives.end()
                    lives.begin()
                # Each is soon longer than the one before: an offset of that one is then an offset of this one too.
                rows = [hourly(f"life{number}-{at}", at % 8000, 1) for at in range(RECORDS_FIRST * 4 ** number)]
                send(broker.bootstrap, TOPIC, rows)
                time.sleep(SECONDS_A_LIFE + 0.37 * number)
            table = platform.table("raw", "hourly_steps")
            held = lives.held()
            until("the last life in Delta", lambda: len(held - set(identities(table, None))), 0, 60)
            time.sleep(5)  # several commits on: a late duplicate shows
            found = collections.Counter(identities(table, None))
            twice = [identity for identity, count in found.items() if count > 1]
            need("records that are in raw more than once", (len(twice), sorted(twice)[:3]), (0, []))
            count, different = platform.row("SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM raw.hourly_steps")
            need("records in SQL", (count, different), (len(found), len(found)))
            log = platform.log.read_text(errors="replace")
            told = log.count("deleted and made again") + log.count("not kept under its old id")
        if not told:
            raise Failed("nothing was said of a topic that was made anew")
    return f"{len(held)} records of the last of {LIVES} lives once each, none of {sum(found.values())} twice"
