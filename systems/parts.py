"""The real systems as context managers: started on free loopback ports in a folder of their own, ended by process id.

A part keeps its folder and its ports across `kill()` and `start()`, so that what comes back is what went away. Standard
library only: what a check asks of a part (confluent_kafka, deltalake, pyspark) it imports itself.
"""
import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = pathlib.Path(os.environ.get("VITALAKE_TOOLS") or pathlib.Path.home() / ".cache/vitalake") / "systems"


# What a binary says that was built without a part, or before there was one.
LACKS = re.compile(r"[^\n]*(?:not in this build|built without|unexpected argument '--role')[^\n]*")


class Failed(Exception):
    """A check did not find what must be."""


class Skipped(Exception):
    """A part cannot be had here; the message says which, and why."""


def need(what, got, want):
    if got != want:
        raise Failed(f"{what}: got {got}, want {want}")


def installed(part):
    """The folder of a part that install.sh has fetched."""
    folder = TOOLS / part
    if not (folder / "whole").exists():
        raise Skipped(f"no {part}, because {folder} is not there or not whole: run systems/install.sh {part}")
    return folder


def jars(part):
    return f"{installed(part)}/jars/*"


def until(what, ask, want, seconds=90, again=(OSError, Failed, ValueError, IndexError)):
    """Asks until the answer is the wanted one (a value, or a function of the answer). Gives the answer."""
    end, got = time.monotonic() + seconds, None
    right = want if callable(want) else lambda answer: answer == want
    while time.monotonic() < end:
        try:
            got = ask()
            if right(got):
                return got
        except again as error:
            got = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    raise Failed(f"{what}: still {str(got)[:400]} after {seconds} s" + ("" if callable(want) else f", want {want}"))


def free_port():
    """Below the range from which the system gives clients their ports, so that none takes it while a part is away."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Failed("no free port")


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Part:
    """One process. A kind says how it is called, with what environment, and when it is up."""

    seconds_to_start = 60

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def is_up(self):
        raise NotImplementedError

    def begin(self):
        """Starts the process and does not wait for it."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment()}, start_new_session=True)

    def start(self):
        self.begin()
        self.wait_until_up()
        return self

    def wait_until_up(self):
        until(f"{self.name} is up", self.is_up_or_ended, True, self.seconds_to_start, again=OSError)

    def is_up_or_ended(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}; its last words: {self.words()}")
        return self.is_up()

    def kill(self):
        """As a power cut ends it."""
        self.end(signal.SIGKILL, None)

    def stop(self):
        """As it is told to end; gives its exit status."""
        return self.end(signal.SIGTERM, 30)

    def end(self, how, seconds):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(seconds)
        return self.process.returncode

    def signal(self, which):
        self.process.send_signal(which)

    @property
    def name(self):
        return type(self).__name__

    @property
    def log(self):
        return self.folder / "log.txt"

    def words(self):
        return self.log.read_text(errors="replace")[-800:] if self.log.exists() else ""

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()


class KafkaBroker(Part):
    """Apache Kafka, one node that is broker and controller; its log outlives it."""

    seconds_to_start = 180  # on a busy machine, with a log to recover

    def __init__(self, folder):
        super().__init__(folder)
        self.jars, self.port, self.controller_port = jars("kafka"), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"

    def command(self):
        return ["java", "-Xmx512m", "-cp", self.jars, "kafka.Kafka", self.folder / "server.properties"]

    def start(self):
        if not (self.folder / "server.properties").exists():
            self.format()
        return super().start()

    def settings(self):
        """Of server.properties."""
        return {
            "process.roles": "broker,controller", "node.id": 1,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self.folder / "logs", "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0, "auto.create.topics.enable": "false",
        }

    def format(self, *more):
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self.settings().items()))
        uuid = self.tool("kafka.tools.StorageTool", "random-uuid").strip().splitlines()[-1]
        self.tool("kafka.tools.StorageTool", "format", "--standalone", "-t", uuid, "-c", properties, *more)

    def is_up(self):
        return listens(self.port) and "Kafka Server started" in self.log.read_text(errors="replace")

    def start_again(self):
        """After `kill()`: the log file is kept aside, so that it can say anew when the broker is up."""
        self.log.rename(self.folder / f"log-{time.time_ns()}.txt")
        return self.start()

    def tool(self, name, *arguments, seconds=300):
        """Runs one of Kafka's own tools; gives what it printed."""
        done = subprocess.run(
            ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", self.jars, name, *map(str, arguments)],
            capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise Failed(f"{name}: {done.stdout[-300:]}{done.stderr[-500:]}")
        return done.stdout

    def create_topic(self, topic, partitions=4, **settings):
        configs = [word for key, value in settings.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
        return self.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.bootstrap, "--create",
                         "--topic", topic, "--partitions", partitions, "--replication-factor", 1, *configs)

    def topics(self):
        """Their names, sorted; not Kafka's own."""
        listed = self.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.bootstrap, "--list", "--exclude-internal")
        return sorted(listed.split())

    def delete_topic(self, topic):
        self.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.bootstrap, "--delete", "--topic", topic)

    def produce(self, topic, records, payload_file, throughput=-1):
        """ProducerPerformance; gives its last line."""
        return self.tool(
            "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", records,
            "--payload-file", payload_file, "--throughput", throughput, "--producer-props",
            f"bootstrap.servers={self.bootstrap}", "acks=all", "linger.ms=5", "batch.size=131072").strip().splitlines()[-1]

    def consume(self, topic, records):
        """ConsumerPerformance; gives its last line."""
        return self.tool("org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", self.bootstrap,
                         "--topic", topic, "--messages", records).strip().splitlines()[-1]


class Azurite(Part):
    """Azure Blob Storage's emulator, under its well-known account."""

    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, folder):
        super().__init__(folder)
        self.binary, self.port = installed("azurite") / "node_modules/azurite/dist/src/blob/main.js", free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/{self.account}"

    def command(self):
        return ["node", self.binary, "--blobHost", "127.0.0.1", "--blobPort", self.port, "--location", self.folder / "blobs",
                "--silent", "--skipApiVersionCheck", "--disableTelemetry"]

    def is_up(self):
        return listens(self.port)

    def kill(self):
        """In order: Azurite writes what it knows to disk every five seconds only, so that a real kill would lose blobs
        that it has acknowledged, as Azure does not."""
        self.stop()

    def credentials(self):
        """Under object_store's names, as vitalake and delta-rs take them from the environment."""
        return {"AZURE_STORAGE_ACCOUNT_NAME": self.account, "AZURE_STORAGE_ACCOUNT_KEY": self.key,
                "AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_ALLOW_HTTP": "true"}

    def create_container(self, name):
        self.request("PUT", name, restype="container")

    def names(self, container, prefix):
        """Of the blobs whose names begin so; of at most five thousand."""
        answer = self.request("GET", container, restype="container", comp="list", prefix=prefix)
        return re.findall(r"<Name>([^<]*)</Name>", answer.decode())

    def read(self, container, name):
        return self.request("GET", f"{container}/{name}")

    def write(self, container, name, content):
        self.request("PUT", f"{container}/{name}", content, {"x-ms-blob-type": "BlockBlob"})

    def delete(self, container, name):
        self.request("DELETE", f"{container}/{name}")

    def request(self, method, path, body=b"", more=None, **query):
        """Signed with the account's key; gives the answer's body."""
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06", **(more or {})}
        canonical = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers))
        asked = "".join(f"\n{key}:{query[key]}" for key in sorted(query))
        # Twelve standard headers, all empty but for the third, the length of a body; then ours; then the resource, in which the emulator's path has the account twice.
        text = f"{method}{chr(10) * 3}{len(body) or ''}{chr(10) * 9}{canonical}/{self.account}/{self.account}/{path}{asked}"
        signature = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers |= {"Authorization": f"SharedKey {self.account}:{base64.b64encode(signature).decode()}", "Content-Type": ""}
        url = f"{self.endpoint}/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, body if method == "PUT" else None, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


class SparkConnect(Part):
    """Spark with Delta behind Spark Connect, as one process; with Azurite's blobs, if any, as an account of ADLS."""

    seconds_to_start = 120

    def __init__(self, folder, blobs=None):
        super().__init__(folder)
        self.home, self.port = next((installed("spark") / "lib").glob("python3*/site-packages/pyspark")), free_port()
        self.remote, self.blobs = f"sc://127.0.0.1:{self.port}", blobs
        # pyspark has the rest of what Delta depends on.
        self.jars = [jar for jar in sorted((installed("spark") / "jars").glob("*.jar"))
                     if re.match(r"(delta-|unitycatalog-|RoaringBitmap|shims)", jar.name)]
        if blobs:
            self.jars += sorted((installed("spark-azure") / "jars").glob("*.jar"))

    def command(self):
        settings = {
            "spark.connect.grpc.binding.address": "127.0.0.1", "spark.connect.grpc.binding.port": self.port,
            "spark.ui.enabled": "false", "spark.driver.memory": "1g", "spark.sql.session.timeZone": "UTC",
            # Small tables: Spark's own numbers are for large ones and cost minutes here.
            "spark.sql.shuffle.partitions": 2, "spark.databricks.delta.snapshotPartitions": 2,
            "spark.sql.warehouse.dir": self.folder / "warehouse",
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            **self.storage(),
        }
        return [self.home / "bin/spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
                "--master", "local[2]", "--jars", ",".join(map(str, self.jars)),
                *(word for key, value in settings.items() for word in ("--conf", f"{key}={value}")), "spark-internal"]

    def storage(self):
        """Hadoop's driver for ADLS, sent to Azurite and told to speak the Blob API, which is all that Azurite has."""
        if not self.blobs:
            return {}
        host = f"{self.blobs.account}.dfs.core.windows.net"
        return {f"spark.hadoop.fs.azure.{key}": value for key, value in {
            f"account.key.{host}": self.blobs.key, "abfs.endpoint": f"127.0.0.1:{self.blobs.port}", "always.use.https": "false",
            "account.hns.enabled": "false", "fns.account.service.type": "BLOB",
            # The other one wants TLS.
            "networking.library": "JDK_HTTP_URL_CONNECTION",
        }.items()}

    def environment(self):
        return {"SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(self.folder / "local")}

    def is_up(self):
        return listens(self.port)


class Vitalake(Part):
    """`vitalake up` on a copy of a project, with what settings a check wants."""

    def __init__(self, folder, binary, project, arguments=(), settings=None, kafka=True):
        super().__init__(folder)
        self.binary, self.arguments, self.settings = os.path.abspath(binary), list(arguments), settings or {}
        self.project, self.data = self.folder / "project", self.folder / "data"
        if not self.project.exists():
            shutil.copytree(project, self.project)
        self.port, self.http_port = free_port() if kafka else None, free_port()
        self.bootstrap, self.server = f"127.0.0.1:{self.port}", f"http://127.0.0.1:{self.http_port}"

    def command(self):
        kafka = ["--kafka", self.bootstrap] if self.port else []
        return [self.binary, "up", self.project, "--data", self.data, "--http", f"127.0.0.1:{self.http_port}", *kafka, *self.arguments]

    def environment(self):
        return {**self.settings, "VITALAKE_SERVER": self.server}

    def is_up(self):
        return self.ready()[0] == 200

    def is_up_or_ended(self):
        try:
            return super().is_up_or_ended()
        except Failed as ended:
            if lacks := LACKS.search(self.words()):
                raise Skipped(f"this binary cannot do it, because it says: {lacks[0]}") from None
            raise ended

    def ready(self):
        """The status and the body of /health/ready."""
        return self.get("/health/ready")

    def get(self, path):
        try:
            with urllib.request.urlopen(self.server + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def sql(self, query):
        body = json.dumps({"query": query, "resultFormat": "array"}).encode()
        request = urllib.request.Request(self.server + "/druid/v2/sql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Failed(f"{query}: HTTP {error.code} {error.read()[:300]}") from None

    def row(self, query):
        return tuple(self.sql(query)[0])

    def flush(self):
        urllib.request.urlopen(urllib.request.Request(self.server + "/api/v1/flush", b"", method="POST"), timeout=60).close()

    def run(self, *arguments, seconds=120):
        """A command of the binary against this server; gives exit status, standard output, standard error."""
        done = subprocess.run([self.binary, *map(str, arguments)], cwd=self.project, capture_output=True, text=True,
                              timeout=seconds, env={**os.environ, **self.environment()})
        return done.returncode, done.stdout, done.stderr

    def command_line(self, *arguments):
        """The same, which must succeed; gives standard output."""
        status, out, error = self.run(*arguments)
        need(f"vitalake {' '.join(map(str, arguments))}", (status, error[-300:] if status else ""), (0, ""))
        return out

    def table(self, layer, dataset):
        return self.data / "lake" / layer / dataset
