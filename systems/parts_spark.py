"""Spark Connect as the checks of models want it: with Delta, with streams that are cut every few seconds, and with answers in
small parts, so that what is rare elsewhere happens in every run.

    parts_spark.py FOLDER    starts one and prints its address; ends with its standard input
"""
import json
import re
import subprocess
import sys
import urllib.request

from parts import Failed, SparkConnect, free_port, installed

# Spark ends each stream after two minutes by itself, and a client that takes that for the end of the query loses rows.
STREAM_SECONDS = 3


class CutSpark(SparkConnect):
    """Spark with Delta, whose streams end every few seconds."""

    def __init__(self, folder, stream_seconds=STREAM_SECONDS, **more):
        super().__init__(folder)
        self.ui = free_port()
        self.more = {"spark.connect.execute.reattachable.senderMaxStreamDuration": f"{stream_seconds}s",
                     # Its own account of what it ran.
                     "spark.ui.enabled": "true", "spark.ui.port": self.ui, **more}

    def command(self):
        *begin, jar = super().command()
        return [*begin, *(word for key, value in self.more.items() for word in ("--conf", f"{key}={value}")), jar]

    def jobs(self, model, status=""):
        """The jobs of a model that Spark itself knows of: all, or those that are `running`."""
        def get(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ui}/api/v1/applications{path}", timeout=20) as answer:
                return json.loads(answer.read())
        jobs = get(f"/{get('')[0]['id']}/jobs" + (f"?status={status}" if status else ""))
        return [job for job in jobs if any(tag.endswith(f"_Tag_model:{model}") for tag in job.get("jobTags", []))]

    def sessions(self, model, status="running"):
        """User and id of the sessions in which jobs of a model are."""
        named = [re.search(r"_User_(.*)_Session_([0-9a-f-]{36})", tag) for job in self.jobs(model, status) for tag in job["jobTags"]]
        return sorted({found.groups() for found in named if found})

    def close_session(self, user, session, token=""):
        """Closes a session as another client may; in Spark's own Python, which has the protocol."""
        script = ("import sys, grpc\nfrom pyspark.sql.connect.proto import base_pb2 as m, base_pb2_grpc as g\n"
                  "address, user, session, token = sys.argv[1:]\n"
                  "ask = m.ReleaseSessionRequest(session_id=session, user_context=m.UserContext(user_id=user))\n"
                  "g.SparkConnectServiceStub(grpc.insecure_channel(address)).ReleaseSession("
                  "ask, timeout=30, metadata=[('authorization', 'Bearer ' + token)] if token else [])\n")
        done = subprocess.run([installed("spark") / "bin/python", "-c", script, f"127.0.0.1:{self.port}", user, session, token],
                              capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"a session of Spark cannot be closed: {done.stderr[-400:]}")


if __name__ == "__main__":
    with CutSpark(sys.argv[1]) as spark:
        print(spark.remote, flush=True)
        sys.stdin.read()
