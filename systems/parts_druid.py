"""Apache Druid 33 as one part: ZooKeeper, coordinator with overlord, broker, historical and indexer, on free loopback
ports with small heaps (about 1.3 GB), its metadata and segments in the check's folder."""
import json
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

from parts import Failed, free_port, installed, until

OPENS = """java.base/java.lang java.base/java.io java.base/java.nio java.base/java.util java.base/jdk.internal.ref
java.base/sun.nio.ch java.base/sun.security.action jdk.management/com.sun.management.internal""".split()
JAVA = ["-Xms64m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8",
        "-Djava.util.logging.manager=org.apache.logging.log4j.jul.LogManager",
        "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS)]
EXTENSIONS = ["druid-kafka-indexing-service", "druid-datasketches", "druid-parquet-extensions"]
# name: heap and memory beside it, in MiB; the order in which they start.
SERVERS = {"coordinator": (256, 128), "broker": (384, 256), "historical": (384, 256), "indexer": (768, 384)}
LOG = """<Configuration status="WARN"><Appenders><Console name="C"><PatternLayout pattern="%d{ISO8601} %p [%t] %c{2} - %m%n"/>
</Console></Appenders><Loggers><Root level="info"><AppenderRef ref="C"/></Root></Loggers></Configuration>"""


class Druid:
    """A cluster of one machine. Its folder and ports stay over `kill` and `start` of a server."""

    def __init__(self, folder, extensions=EXTENSIONS):
        self.folder, self.home, self.extensions = pathlib.Path(folder), installed("druid"), extensions
        self.ports = {name: free_port() for name in ("zookeeper", "derby", *SERVERS)}
        self.processes = {}

    def url(self, server):
        return f"http://127.0.0.1:{self.ports[server]}"

    def settings(self):
        """Of vitalake, to publish to it."""
        return {"VITALAKE_ENGINES__ANALYTICS": "druid", "VITALAKE_ENGINES__DRUID__INTERVAL_MS": "1000",
                "VITALAKE_ENGINES__DRUID__OVERLORD": self.url("coordinator"),
                "VITALAKE_ENGINES__DRUID__COORDINATOR": self.url("coordinator"),
                "VITALAKE_ENGINES__DRUID__BROKER": self.url("broker")}

    def configure(self):
        conf, var = self.folder / "conf", self.folder / "var"
        for name in (conf, var / "tmp", var / "zk", var / "task"):
            name.mkdir(parents=True, exist_ok=True)
        (conf / "log4j2.xml").write_text(LOG)
        (conf / "zoo.cfg").write_text(f"dataDir={var}/zk\nclientPort={self.ports['zookeeper']}\n"
                                      "clientPortAddress=127.0.0.1\ntickTime=2000\nadmin.enableServer=false\n")
        derby = self.ports["derby"]
        common = {
            "host": "127.0.0.1", "bindOnHost": "true", "extensions.directory": f"{self.home}/extensions",
            "extensions.loadList": json.dumps(self.extensions), "zk.service.host": f"127.0.0.1:{self.ports['zookeeper']}",
            "metadata.storage.type": "derby",
            "metadata.storage.connector.connectURI": f"jdbc:derby://127.0.0.1:{derby}/{var}/metadata.db;create=true",
            "metadata.storage.connector.host": "127.0.0.1", "metadata.storage.connector.port": derby,
            "storage.type": "local", "storage.storageDirectory": f"{var}/segments", "indexer.logs.type": "file",
            "indexer.logs.directory": f"{var}/task-logs", "emitter": "noop", "processing.numThreads": 1,
            "processing.numMergeBuffers": 2, "processing.buffer.sizeBytes": "25MiB", "processing.tmpDir": f"{var}/tmp",
            "server.http.numThreads": 20, "server.http.gracefulShutdownTimeout": "PT3S",
            "lookup.enableLookupSyncOnStartup": "false", "coordinator.asOverlord.enabled": "true",
            "coordinator.asOverlord.overlordService": "druid/overlord", "coordinator.startDelay": "PT5S",
            "coordinator.period": "PT5S", "indexer.queue.startDelay": "PT1S", "indexer.storage.type": "metadata",
            "manager.segments.pollDuration": "PT5S", "manager.rules.pollDuration": "PT10S",
            "sql.planner.metadataRefreshPeriod": "PT5S", "broker.http.numConnections": 5,
            "segmentCache.locations": json.dumps([{"path": f"{var}/segment-cache", "maxSize": "5g"}]),
            "worker.capacity": 3, "worker.globalIngestionHeapLimitBytes": 300000000,
            "indexer.task.baseTaskDir": f"{var}/task", "indexer.task.baseDir": f"{var}/task",
        }
        (conf / "common.runtime.properties").write_text("".join(f"druid.{key}={value}\n" for key, value in common.items()))

    def begin(self, name, *command):
        with open(self.folder / f"{name}.log", "ab") as log:
            classes = f"{self.folder}/conf:{self.home}/lib/*"
            self.processes[name] = subprocess.Popen(["java", *command[:-1], "-cp", classes, *command[-1]], cwd=self.folder,
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self, name):
        heap, beside = SERVERS[name]
        self.begin(name, f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={beside}m", *JAVA,
                   f"-Djava.io.tmpdir={self.folder}/var/tmp", f"-Ddruid.service=druid/{name}",
                   f"-Ddruid.plaintextPort={self.ports[name]}", ["org.apache.druid.cli.Main", "server", name])
        until(f"Druid's {name} is up", lambda: self.get(name, "/status/health"), True, 240)

    def kill(self, name, how=signal.SIGKILL):
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def __enter__(self):
        try:
            self.configure()
            zoo = ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.folder / "conf/zoo.cfg")]
            self.begin("zookeeper", "-Xmx64m", "-XX:+UseSerialGC", zoo)
            for name in SERVERS:
                self.start(name)
            # One copy of each segment: there is one historical.
            until("rules are taken", lambda: self.post("coordinator", "/druid/coordinator/v1/rules/_default",
                  [{"type": "loadForever", "tieredReplicants": {"_default_tier": 1}}]) is None, True, 30)
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for name in [*reversed([*SERVERS]), "zookeeper"]:
            if name in self.processes:
                self.kill(name, signal.SIGTERM)

    def get(self, server, path):
        with urllib.request.urlopen(self.url(server) + path, timeout=10) as answer:
            return json.loads(answer.read())

    def post(self, server, path, body):
        request = urllib.request.Request(self.url(server) + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def sql(self, query):
        """The rows; none where the table is not there."""
        try:
            return self.post("broker", "/druid/v2/sql", {"query": query, "resultFormat": "array", "context": {"useCache": False}})
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            if "not found" in said:
                return []
            raise Failed(f"{query}: HTTP {error.code} {said[:300]}") from None

    def tasks(self, datasource):
        return self.get("coordinator", f"/druid/indexer/v1/tasks?datasource={datasource}&max=100")


if __name__ == "__main__":  # A cluster to play with, until it is interrupted.
    with Druid(os.path.abspath(__import__("sys").argv[1])) as druid:
        print(json.dumps(druid.settings(), indent=1), flush=True)
        signal.pause()
