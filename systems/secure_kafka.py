"""Apache Kafka behind certificates and passwords, as docs/azure.md has it: SASL_SSL with PLAIN (as Event Hubs has it) and
with SCRAM, and mutual TLS. vitalake reads it, makes topics on it, and says why where it is not let in; no secret is said."""
import contextlib
import re
import secrets
import subprocess

from outcome import absences, exactly_once, told_nothing, why
from parts import Failed, KafkaBroker, Vitalake, free_port, need, until
from records import Numbered, hourly, send

TOPICS = ("hourly-steps", "minute-steps", "hourly_steps_reexport")
COUNTS = "SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM raw.hourly_steps"
SECONDS_STEADY, SECONDS_TO_TELL = 6, 30
# Event Hubs' name for whoever comes with a connection string.
EVENT_HUBS_USER, SCRAM_USER = "$ConnectionString", "vitalake"
# What a reason must have to be acted on, in librdkafka's words.
PASSWORD, CERTIFICATE = re.compile(r"(?i)authenticat|credential"), re.compile(r"(?i)certificate|SSL handshake")


class Certificates:
    """A certificate authority of a folder's own, and what it has signed."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.openssl("ca", "-subj", "/CN=vitalake systems")
        self.authority = folder / "ca.pem"

    def issue(self, name):
        """A certificate and its key, for this machine's own address."""
        signed = ("-CA", self.authority, "-CAkey", self.folder / "ca.key")
        self.openssl(name, "-subj", f"/CN={name}", *signed, "-addext", "subjectAltName=IP:127.0.0.1",
                     "-addext", "basicConstraints=critical,CA:FALSE")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def openssl(self, name, *more):
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-days", "2", "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem", *more],
                       check=True, capture_output=True)


class SecureBroker(KafkaBroker):
    """The same broker with two listeners more, which let in only who is known."""

    def __init__(self, folder):
        super().__init__(folder)
        self.certificates = Certificates(self.folder / "certificates")
        self.sasl, self.mutual = (f"127.0.0.1:{free_port()}" for _ in range(2))
        # With the characters that a connection string has.
        self.password = f"Endpoint=sb://hub.servicebus.windows.net/;SharedAccessKeyName=vitalake;SharedAccessKey={secrets.token_urlsafe(24)}="
        self.scram_password = secrets.token_urlsafe(24)

    def settings(self):
        certificate, key = self.certificates.issue("broker")
        store = self.folder / "broker.pem"
        store.write_text(key.read_text() + certificate.read_text())
        settings = super().settings()
        listeners = f",SASL_SSL://{self.sasl},SSL://{self.mutual}"
        settings["listeners"] += listeners
        settings["advertised.listeners"] += listeners
        settings["listener.security.protocol.map"] += ",SASL_SSL:SASL_SSL,SSL:SSL"
        plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{EVENT_HUBS_USER}="{self.password}";'
        return {
            **settings, "ssl.keystore.type": "PEM", "ssl.keystore.location": store, "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.certificates.authority, "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512", "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config":
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        }

    def format(self):
        super().format("--add-scram", f"SCRAM-SHA-512=[name={SCRAM_USER},password={self.scram_password}]")

    def set_scram_password(self, password):
        self.tool("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter", "--entity-type", "users",
                  "--entity-name", SCRAM_USER, "--add-config", f"SCRAM-SHA-512=[password={password}]")

    def by_plain(self):
        return Entrance(self.sasl, self.by_password("PLAIN", EVENT_HUBS_USER), self.password)

    def by_scram(self):
        return Entrance(self.sasl, self.by_password("SCRAM-SHA-512", SCRAM_USER), self.scram_password)

    def by_password(self, mechanism, user):
        return {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": user,
                "ssl.ca.location": self.certificates.authority}

    def by_certificate(self):
        certificate, key = self.certificates.issue("client")
        return Entrance(self.mutual, {"security.protocol": "SSL", "ssl.ca.location": self.certificates.authority,
                                      "ssl.certificate.location": certificate, "ssl.key.location": key})


class Entrance:
    """A way into a broker: its address, a client's properties as librdkafka names them, and the password if there is one."""

    def __init__(self, bootstrap, properties, password=None):
        self.bootstrap, self.properties, self.password = bootstrap, {key: str(value) for key, value in properties.items()}, password

    def without(self, *keys):
        return Entrance(self.bootstrap, {key: value for key, value in self.properties.items() if key not in keys}, self.password)

    def with_wrong_password(self):
        return Entrance(self.bootstrap, self.properties, secrets.token_urlsafe(24))

    def client(self):
        """For confluent_kafka."""
        return {**self.properties, **({"sasl.password": self.password} if self.password else {})}

    def platform(self, run, name, create_topics=False):
        """vitalake with the same properties in its vitalake.yaml, and the password in its environment."""
        settings = {"VITALAKE_KAFKA__BOOTSTRAP": self.bootstrap, "VITALAKE_LOG": "info,vitalake=debug,vitalake_ingest=trace",
                    **({"KAFKA_PASSWORD": self.password} if self.password else {})}
        platform = Guarded(run.folder / name, run.binary, run.project("steps"), settings=settings, kafka=False)
        platform.secret = self.password
        properties = {**self.properties, **({"sasl.password": "${KAFKA_PASSWORD}"} if self.password else {})}
        with open(platform.project / "vitalake.yaml", "a") as file:
            file.write(f"kafka:\n  create_topics: {str(create_topics).lower()}\n  properties:\n")
            file.writelines(f"    {key}: {value}\n" for key, value in properties.items())
        return platform


class Guarded(Vitalake):
    """One whose every word is looked through for its secret when it has ended."""

    secret = None

    def __exit__(self, *error):
        super().__exit__(*error)
        if self.secret and not any(error):
            self.must_not_have_said_it()

    def must_not_have_said_it(self):
        written = [self.log, *(path for path in self.data.rglob("*") if path.is_file())]
        need("files with the password in them", [str(path) for path in written if self.secret.encode() in path.read_bytes()], [])

    def run(self, *arguments, **more):
        status, out, error = super().run(*arguments, **more)
        self.look_at(f"vitalake {arguments[0]}", out + error)
        return status, out, error

    def get(self, path):
        status, body = super().get(path)
        self.look_at(path, body)
        return status, body

    def look_at(self, what, text):
        if self.secret and self.secret in text:
            raise Failed(f"{what} shows the password")


def let_in(run, entrance_of):
    """Records are sent and read by the same way in; the topics are there before, as on Event Hubs."""
    with SecureBroker(run.folder / "kafka") as broker:
        for topic in TOPICS:
            broker.create_topic(topic)
        entrance = entrance_of(broker)
        with entrance.platform(run, "vitalake") as platform:
            with Numbered(entrance.bootstrap, client=entrance.client()) as sender:
                until("some records are in SQL", lambda: platform.row("SELECT COUNT(*) FROM raw.hourly_steps")[0], lambda count: count > 0)
                sender.over.wait(SECONDS_STEADY)
            total = exactly_once(sender, platform, platform.table("raw", "hourly_steps"))
            need("what is told to be away", absences(platform), [[], []])
            get_all(platform)
    return f"{total} records once each by {words(entrance)}"


def topics_made(run):
    """`kafka.create_topics: true`, each way in."""
    made, problems = [], []
    with SecureBroker(run.folder / "kafka") as broker:
        for name, entrance in (("plain", broker.by_plain()), ("scram", broker.by_scram()), ("mutual", broker.by_certificate())):
            platform = entrance.platform(run, name, create_topics=True)
            platform.seconds_to_start = SECONDS_TO_TELL
            try:
                with platform:
                    need("topics", broker.topics(), sorted(TOPICS))
                made.append(words(entrance))
            except Failed as error:
                problems.append(f"{words(entrance)}: {error}; its log ends with {platform.words()[-300:]}")
            for topic in broker.topics():
                broker.delete_topic(topic)
    need("ways in by which no topic was made", problems, [])
    return f"the topics were made by {', '.join(made)}"


def shut_out(run):
    """Not let in from the start: status and readiness say so, and why."""
    said, problems = [], []
    with SecureBroker(run.folder / "kafka") as broker:
        for name, entrance, wanted in (
                ("wrong-plain", broker.by_plain().with_wrong_password(), PASSWORD),
                ("wrong-scram", broker.by_scram().with_wrong_password(), PASSWORD),
                ("no-certificate", broker.by_certificate().without("ssl.certificate.location", "ssl.key.location"), CERTIFICATE),
                ("unknown-authority", broker.by_plain().without("ssl.ca.location"), CERTIFICATE)):
            platform = entrance.platform(run, name)
            with contextlib.ExitStack() as parts:
                parts.push(platform)
                platform.begin()
                try:
                    reason = until("why Kafka is away", lambda: why(platform, "Kafka"), wanted.search, SECONDS_TO_TELL)
                    said.append(f"{name}: {reason}")
                except Failed as error:
                    problems.append(f"{name}: {error}")
    need("who was shut out and did not say why", problems, [])
    return "; ".join(said)


def shut_out_later(run):
    """The password is changed while it runs, and after a while changed back."""
    with SecureBroker(run.folder / "kafka") as broker:
        for topic in TOPICS:
            broker.create_topic(topic)
        entrance = broker.by_scram()
        with entrance.platform(run, "vitalake") as platform, Numbered(broker.bootstrap) as sender:
            until("some records are in SQL", lambda: platform.row("SELECT COUNT(*) FROM raw.hourly_steps")[0], lambda count: count > 0)
            broker.set_scram_password(secrets.token_urlsafe(24))
            broker.kill()
            broker.start_again()  # who is connected stays so until then
            said = until("why Kafka is away", lambda: why(platform, "Kafka"), PASSWORD.search, SECONDS_TO_TELL)
            get_all(platform)
            broker.set_scram_password(broker.scram_password)
            until("nothing is told to be away", lambda: told_nothing(platform), True, 60)
            sender.over.set()
            sender.thread.join(60)
            total = exactly_once(sender, platform, platform.table("raw", "hourly_steps"))
    return f"{total} records once each over a password that was wrong for a while; said meanwhile: {said}"


def made_anew_while_stopped(run):
    """A topic is deleted and made again where vitalake knows no topic's id, as on Event Hubs: it lands from its beginning,
    and each record once, also when it has grown past the old one and vitalake starts again."""
    with ready(run) as (broker, platform):
        sent = fill(broker, platform, "old", 100, 0)
        platform.stop()
        make_anew(broker)
        send(broker.bootstrap, TOPICS[0], rows("new", 50))
        platform.start()
        until("rows, and different ones, of the new topic too", lambda: platform.row(COUNTS), (150, 150))
        sent = fill(broker, platform, "more", 450, sent + 50)
        platform.stop()
        platform.start()
        sent = fill(broker, platform, "last", 10, sent)
    return f"{sent} records once each"


def made_anew_while_running(run):
    """The same under a process that reads: the new topic's offsets lie before those that are committed."""
    with ready(run) as (broker, platform):
        sent = fill(broker, platform, "old", 400, 0)
        make_anew(broker)
        sent = fill(broker, platform, "new", 50, sent)
    return f"{sent} records once each"


@contextlib.contextmanager
def ready(run):
    with SecureBroker(run.folder / "kafka") as broker:
        for topic in TOPICS:
            broker.create_topic(topic, partitions=1)
        with broker.by_plain().platform(run, "vitalake") as platform:
            yield broker, platform


def make_anew(broker):
    broker.delete_topic(TOPICS[0])
    until("the topic is gone", lambda: TOPICS[0] in broker.topics(), False)
    broker.create_topic(TOPICS[0], partitions=1)


def fill(broker, platform, prefix, count, before):
    """Sends records; gives how many there are when all of them are there and committed."""
    send(broker.bootstrap, TOPICS[0], rows(prefix, count))
    total = before + count
    until(f"rows, and different ones, with those of {prefix}", lambda: platform.row(COUNTS), (total, total), 60)
    platform.flush()
    return total


def rows(prefix, count):
    return [hourly(f"{prefix}{number}", number, 1) for number in range(count)]


def get_all(platform):
    """Asks for every page that could show a secret; the platform looks at the answers."""
    for path in ("/metrics", "/api/v1/status", "/health/ready", "/health/live"):
        platform.get(path)
    platform.run("status")
    platform.run("validate", platform.project)


def words(entrance):
    mechanism = entrance.properties.get("sasl.mechanism")
    return f"SASL_SSL with {mechanism}" if mechanism else "mutual TLS"
