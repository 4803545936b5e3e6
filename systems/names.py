"""Real Kafka clients at vitalake's own endpoint under TLS: confluent-kafka (librdkafka), kafka-python where it is there, and
the Java client, by PLAIN, SCRAM, OAUTHBEARER and a certificate. Each may what its contract lets it, and a refusal is a
sentence of Kafka's. Then 10,000 log-ins of eight users on 64 connections: nobody is another."""
import base64
import concurrent.futures
import http.server
import json
import os
import secrets
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import names_kafka
from parts import Failed, Vitalake, jars, need, until
from records import SILENT, hourly
from secure_kafka import Certificates

TOPIC, AUDIENCE = "hourly-steps", "api://lake"
USERS, LOG_INS, CONNECTIONS = 8, 10_000, 64


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An OpenID provider of one key on this machine."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.key = folder / "issuer.key"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True, text=True)
        modulus = bytes.fromhex(modulus.stdout.strip().split("=")[1])
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                keys = {"keys": [{"kty": "RSA", "kid": "1", "n": encoded(modulus), "e": "AQAB", "use": "sig"}]}
                answer = keys if self.path == "/keys" else {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, **claims):
        claims = {"iss": self.url, "aud": AUDIENCE, "exp": int(time.time()) + 600, "sub": "robot", **claims}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{encoded(done.stdout)}"


class Guarded(Vitalake):
    """The endpoint with clients, TLS and an issuer."""

    def __init__(self, run):
        super().__init__(run.folder / "vitalake", run.binary, run.project("steps"))
        self.server = f"https://127.0.0.1:{self.http_port}"
        self.certificates = Certificates(run.folder / "certificates")
        self.issuer = Issuer(run.folder / "issuer")
        self.context = ssl.create_default_context(cafile=str(self.certificates.authority))
        self.tokens, self.passwords, lines = {}, {}, []
        self.secrets = []
        for name, role, proof in [("sender", "sender", "password"), ("reader", "reader", "password"), ("service", "sender", "token"),
                                  *((f"user{number}", f"user{number}", "token" if number % 2 else "password") for number in range(USERS))]:
            lines.append(f"    {name}:\n      roles: [{role}]\n" + getattr(self, proof)(name))
        lines.append("    machine:\n      roles: [sender]\n      certificate: \"CN=machine\"\n")
        certificate, key = self.certificates.issue("server")
        with open(self.project / "vitalake.yaml", "a") as file:
            file.write(
                "\naccess:\n  roles:\n    sender: {layers: []}\n"
                "    reader: {clearance: restricted, layers: [raw, ops], records: true}\n"
                + "".join(f"    user{number}: {{clearance: restricted, layers: []}}\n" for number in range(USERS))
                + "  clients:\n" + "".join(lines)
                + f"  issuers:\n    local:\n      url: {self.issuer.url}\n      audience: {AUDIENCE}\n"
                "      roles: [{claim: roles, value: Send, role: sender}]\n"
                f"http: {{tls: {{certificate: {certificate}, key: {key}}}}}\n"
                f"kafka: {{tls: {{certificate: {certificate}, key: {key}, client_authority: {self.certificates.authority}}}}}\n")
        contract = next(path for path in (self.project / "contracts").rglob("*.yaml") if TOPIC in path.read_text())
        contract.write_text(contract.read_text() + "roles:\n  - {role: sender, access: write}\n  - {role: reader, access: read}\n"
                            + "".join(f"  - {{role: user{number}, access: read, customProperties: [{{property: rowFilter, value: \"subject_id = 'user{number}'\"}}]}}\n"
                                      for number in range(USERS)))

    def environment(self):
        return {**super().environment(), "VITALAKE_LOG": "trace,h2=off"}

    def password(self, name):
        password = secrets.token_urlsafe(18)
        done = subprocess.run([self.binary, "password", name], input=password + "\n", capture_output=True, text=True, check=True)
        need("the password in what is said", password in done.stdout, False)
        self.passwords[name] = password
        self.secrets.append(password)
        hashes = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("- ")]
        return "      password:\n" + "".join(f"        {line}\n" for line in hashes)

    def token(self, name):
        done = subprocess.run([self.binary, "token", name, "--role", "x"], capture_output=True, text=True, check=True)
        lines = [line.strip() for line in done.stdout.splitlines()]
        self.tokens[name] = next(line for line in lines if line.startswith("vl_"))
        self.secrets.append(self.tokens[name])
        return "      " + next(line for line in lines if line.startswith("token: ")) + "\n"

    def get(self, path, authorization=None, body=None):
        headers = {"content-type": "application/json", **({"authorization": authorization} if authorization else {})}
        request = urllib.request.Request(self.server + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def client(self, mechanism=None, name=None, secret=None, **more):
        sasl = {"sasl.mechanism": mechanism, "sasl.username": name, "sasl.password": secret} if name else {}
        protocol = "SASL_SSL" if mechanism else "SSL"
        return {"bootstrap.servers": self.bootstrap, "security.protocol": protocol, "ssl.ca.location": str(self.certificates.authority),
                "logger": SILENT, **sasl, **more}

    def bearer(self, token):
        return self.client("OAUTHBEARER", oauth_cb=lambda _: (token, time.time() + 500)) | {"sasl.mechanism": "OAUTHBEARER"}


def produced(settings, seconds=15):
    """What became of one record: none, or Kafka's error."""
    said, errors = [], []
    producer = Producer({**settings, "message.timeout.ms": seconds * 1000, "error_cb": errors.append})
    producer.produce(TOPIC, json.dumps(hourly("a", 1, 1)).encode(), on_delivery=lambda error, _: said.append(error))
    until = time.time() + seconds + 5
    while not said and time.time() < until and not any(error.name() == "_AUTHENTICATION" for error in errors):
        producer.poll(0.1)
    refused = next((error for error in errors if error.name() == "_AUTHENTICATION"), None)
    return refused or (said[0] if said else "nothing")


def consumed(settings):
    consumer = Consumer({**settings, "group.id": "x", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(4)])
        until = time.time() + 15
        while time.time() < until:
            message = consumer.poll(0.5)
            if message is not None:
                return message.error().name() if message.error() else "a record"
        return "nothing"
    except KafkaException as error:
        return error.args[0].name()
    finally:
        consumer.close()


def java(platform, run, properties):
    """The Java console producer's last words."""
    file = run.folder / f"java-{secrets.token_hex(4)}.properties"
    base = {"security.protocol": "SASL_SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": platform.certificates.authority,
            "request.timeout.ms": 8000, "delivery.timeout.ms": 10000, "linger.ms": 0, "max.block.ms": 10000}
    file.write_text("".join(f"{key}={value}\n" for key, value in {**base, **properties}.items()))
    done = subprocess.run(
        ["java", "-Xmx256m", f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={properties.get('sasl.oauthbearer.token.endpoint.url', '')}",
         "-cp", jars("kafka"), "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", platform.bootstrap, "--topic", TOPIC,
         "--producer.config", file],
        input=json.dumps(hourly("java", 2, 2)) + "\n", capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def jaas(kind, **options):
    pairs = " ".join(f'{key}="{value}"' for key, value in options.items())
    return f"org.apache.kafka.common.security.{kind} required {pairs};"


def who_comes_in(platform, run):
    sender, reader = platform.passwords["sender"], platform.passwords["reader"]
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        need(f"{mechanism} of the sender", produced(platform.client(mechanism, "sender", sender)), None)
    need("a token as a password", produced(platform.client("PLAIN", "service", platform.tokens["service"])), None)
    need("a token of nobody's name", produced(platform.client("PLAIN", "__token__", platform.tokens["service"])), None)
    need("an issuer's token", produced(platform.bearer(platform.issuer.token(roles=["Send"]))), None)
    certificate, key = platform.certificates.issue("machine")
    shown = {"ssl.certificate.location": str(certificate), "ssl.key.location": str(key)}
    need("a certificate", produced(platform.client(**shown)), None)
    need("a reader that sends", produced(platform.client("SCRAM-SHA-512", "reader", reader)).name(), "TOPIC_AUTHORIZATION_FAILED")
    need("a token without the role", produced(platform.bearer(platform.issuer.token(roles=["Other"]))).name(), "TOPIC_AUTHORIZATION_FAILED")
    need("a reader that reads", consumed(platform.client("SCRAM-SHA-256", "reader", reader)), "a record")
    need("a sender that reads", consumed(platform.client("SCRAM-SHA-256", "sender", sender)), "TOPIC_AUTHORIZATION_FAILED")
    for what, settings in {
        "a wrong password": platform.client("SCRAM-SHA-512", "sender", "guess"),
        "nobody": platform.client("SCRAM-SHA-512", "nobody", "guess"),
        "a token of long ago": platform.bearer(platform.issuer.token(exp=1, roles=["Send"])),
        "a token for others": platform.bearer(platform.issuer.token(aud="api://other", roles=["Send"])),
    }.items():
        need(what, getattr(produced(settings), "name", str)(), "_AUTHENTICATION")
    clear = platform.client("PLAIN", "service", platform.tokens["service"]) | {"security.protocol": "SASL_PLAINTEXT"}
    need("in the clear", getattr(produced(clear, 4), "name", str)() in ("_MSG_TIMED_OUT", "nothing"), True)
    return 15


def java_comes_in(platform, run):
    sender = platform.passwords["sender"]
    scram = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": jaas("scram.ScramLoginModule", username="sender", password=sender)}
    said = java(platform, run, scram)
    need("Java by SCRAM", "ERROR" in said or "xception" in said, False)
    wrong = {**scram, "sasl.jaas.config": jaas("scram.ScramLoginModule", username="sender", password="guess")}
    said = java(platform, run, wrong)
    if "SaslAuthenticationException" not in said or "not one of this server" not in said:
        raise Failed(f"Java is told {said[-600:]}")
    token = run.folder / "token.jwt"
    token.write_text(platform.issuer.token(roles=["Send"]))
    bearer = {"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url": f"file://{token}",
              "sasl.login.callback.handler.class": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
              "sasl.jaas.config": jaas("oauthbearer.OAuthBearerLoginModule")}
    said = java(platform, run, bearer)
    if "ERROR" in said or "xception" in said:
        raise Failed(f"Java by OAUTHBEARER: {said[-800:]}")
    reader = {**scram, "sasl.jaas.config": jaas("scram.ScramLoginModule", username="reader", password=platform.passwords["reader"])}
    need("Java that may not", "Not authorized to access topics" in java(platform, run, reader), True)


def nobody_is_another(platform):
    """Interleaved log-ins over HTTP: each sees the one row that its name's role shows, and that says whose it is."""
    sender = Producer(platform.client("SCRAM-SHA-256", "sender", platform.passwords["sender"]))
    for number in range(USERS):
        sender.produce(TOPIC, json.dumps(hourly(f"user{number}", number, number)).encode())
    need("records that were not taken", sender.flush(30), 0)
    body = json.dumps({"query": "SELECT MIN(subject_id), MAX(subject_id) FROM raw.hourly_steps", "resultFormat": "array"}).encode()

    def log_in(number):
        user, other = (f"user{(number + more) % USERS}" for more in (0, 1))
        secret = platform.tokens.get(user) or platform.passwords[user]
        is_wrong = number % 500 == 7
        pair = base64.b64encode(f"{other if is_wrong else user}:{secret}".encode()).decode()
        status, answer = platform.get("/druid/v2/sql", f"Basic {pair}", body)
        if is_wrong:
            return None if status in (401, 429) else (user, status, answer)
        return None if status == 200 and json.loads(answer) == [[user, user]] else (user, status, answer)

    until("all are seen", lambda: [log_in(number) for number in range(USERS)], [None] * USERS)
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        wrong = [said for said in pool.map(log_in, range(LOG_INS)) if said]
    need("log-ins that went wrong", wrong[:5], [])


def told_nothing(platform):
    written = [platform.log, *(path for path in platform.data.rglob("*") if path.is_file())]
    for secret in platform.secrets:
        need("files with a secret in them", [str(path) for path in written if secret.encode() in path.read_bytes()], [])
    words = subprocess.run(["ps", "-o", "args=", "-p", str(platform.process.pid)], capture_output=True, text=True).stdout
    environment = open(f"/proc/{platform.process.pid}/environ").read() if os.path.exists("/proc") else ""
    need("a secret among the process's words", any(secret in words + environment for secret in platform.secrets), False)


def check(run):
    with Guarded(run) as platform:
        ways = who_comes_in(platform, run)
        java_comes_in(platform, run)
        nobody_is_another(platform)
        told_nothing(platform)
        return f"{ways} ways of librdkafka and four of Java; {LOG_INS} log-ins of {USERS} users; no secret in the log, in a file or among the process's words"


OWN_TOPIC = """apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-0000000000{number:02}
name: of_user{number}
version: 1.0.0
status: active
schema:
  - name: of_user{number}
    properties:
      - {{name: what, logicalType: string}}
roles:
  - {{role: user{number}, access: write}}
customProperties:
  - {{property: topic, value: of-user{number}}}
"""


class Many(Vitalake):
    """The endpoint with eight users, each with a password, a token and a topic of its own."""

    def __init__(self, run):
        project = run.folder / "many"
        (project / "contracts/raw").mkdir(parents=True)
        self.passwords, self.tokens, lines = {}, {}, []
        for number in range(USERS):
            user, password = f"user{number}", secrets.token_urlsafe(18)
            (project / f"contracts/raw/of_user{number}.yaml").write_text(OWN_TOPIC.format(number=number))
            said = subprocess.run([run.binary, "password", user], input=password + "\n", capture_output=True, text=True, check=True).stdout
            hashes = "".join(f"        {line.strip()}\n" for line in said.splitlines() if line.strip().startswith("- "))
            said = [line.strip() for line in subprocess.run(
                [run.binary, "token", user, "--role", "x"], capture_output=True, text=True, check=True).stdout.splitlines()]
            self.passwords[user], self.tokens[user] = password, next(line for line in said if line.startswith("vl_"))
            lines.append(f"    {user}:\n      roles: [{user}]\n      password:\n{hashes}      {next(line for line in said if line.startswith('token: '))}\n")
        (project / "vitalake.yaml").write_text(
            "name: many\naccess:\n  roles:\n" + "".join(f"    user{number}: {{layers: []}}\n" for number in range(USERS)) + "  clients:\n" + "".join(lines))
        super().__init__(run.folder / "vitalake", run.binary, project)


def log_ins(run):
    """Interleaved log-ins over Kafka's protocol: each is told of the topic of its own name alone."""
    ways = ("SCRAM-SHA-256", "PLAIN", "SCRAM-SHA-512", "PLAIN")
    with Many(run) as platform:
        def one(number):
            user, other = (f"user{(number + more) % USERS}" for more in (0, 1))
            way = ways[number // USERS % len(ways)]
            # A password is looked at by PLAIN too, and as often as a token.
            secret = platform.tokens[user] if way == "PLAIN" and number % 3 else platform.passwords[user]
            is_wrong = number % 500 == 7
            try:
                with names_kafka.Connection("127.0.0.1", platform.port) as connection:
                    connection.log_in(way, other if is_wrong else user, secret)
                    seen = [connection.topics()]
                    if number % 100 == 11:  # a connection stays the one that it was
                        try:
                            connection.log_in("PLAIN", other, platform.tokens[other])
                            seen.append(f"became {other}")
                        except names_kafka.Refused:
                            pass
            except names_kafka.Refused:
                seen = "refused"
            return None if seen == ("refused" if is_wrong else [[f"of-{user}"]]) else (number, way, user, is_wrong, seen)

        until("all are let in", lambda: [one(number) for number in range(USERS, 2 * USERS)], [None] * USERS)
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            wrong = [said for said in pool.map(one, range(LOG_INS)) if said]
        need(f"log-ins that went wrong, of which there are {len(wrong)}", wrong[:5], [])
        return f"{LOG_INS} log-ins of {USERS} users on {CONNECTIONS} connections in {time.monotonic() - began:.0f} s, by {', '.join(sorted(set(ways)))}"
