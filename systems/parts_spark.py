"""Spark Connect as the checks of models want it: with Delta, with streams that are cut every few seconds, and with answers in
small parts, so that what is rare elsewhere happens in every run.

    parts_spark.py FOLDER    starts one and prints its address; ends with its standard input
"""
import sys

from parts import SparkConnect

# Spark ends each stream after two minutes by itself, and a client that takes that for the end of the query loses rows.
STREAM_SECONDS = 3


class CutSpark(SparkConnect):
    """Spark with Delta, whose streams end every few seconds."""

    def __init__(self, folder, stream_seconds=STREAM_SECONDS, **more):
        super().__init__(folder)
        self.more = {"spark.connect.execute.reattachable.senderMaxStreamDuration": f"{stream_seconds}s", **more}

    def command(self):
        *begin, jar = super().command()
        return [*begin, *(word for key, value in self.more.items() for word in ("--conf", f"{key}={value}")), jar]


if __name__ == "__main__":
    with CutSpark(sys.argv[1]) as spark:
        print(spark.remote, flush=True)
        sys.stdin.read()
