"""Apache Kafka that lets in who has a token (SASL OAUTHBEARER), and an endpoint that gives tokens, or refuses them: with
the properties of docs/azure.md, for a service principal, a pod of AKS, and a machine of Azure. No secret is said."""
import base64
import http.server
import json
import threading
import time
import urllib.parse

from outcome import absences, exactly_once, told_nothing
from parts import Failed, KafkaBroker, Vitalake, free_port, need, until
from records import Numbered

SECRET, POD_TOKEN = "s3cret~Value.of-a_principal", "pod.token.value"
SCOPE = "https://remotecarehub.servicebus.windows.net/.default"
SECONDS_STEADY, LIFETIME_SECONDS = 15, 8


class TokenEndpoint:
    """Gives tokens that Kafka takes without a signature; refuses while `refusing`."""

    def __enter__(self):
        endpoint, self.refusing, self.given, self.wrong = self, False, 0, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                self.give(self.headers.get("Metadata") == "true" and "resource" in query and "api-version" in query)

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                known = base64.b64encode(f"app:{SECRET}".encode()).decode()
                by_secret = self.headers.get("Authorization") == f"Basic {known}"
                by_pod = form.get("client_assertion") == [POD_TOKEN] and form.get("client_id") == ["app"]
                self.give(form.get("grant_type") == ["client_credentials"] and form.get("scope") == [SCOPE] and (by_secret or by_pod))

            def give(self, right):
                if not right:
                    endpoint.wrong.append(self.requestline)
                if endpoint.refusing or not right:
                    # Such an endpoint may repeat what it was sent.
                    self.answer(401, {"error": "invalid_client", "error_description": f"{SECRET} is wrong", "error_codes": [7000215]})
                else:
                    endpoint.given += 1
                    self.answer(200, {"token_type": "Bearer", "expires_in": LIFETIME_SECONDS, "access_token": unsigned(LIFETIME_SECONDS)})

            def answer(self, status, body):
                body = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/oauth2/v2.0/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def unsigned(seconds):
    """A JSON web token with `alg: none`."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    now = time.time()
    return f"{part({'alg': 'none'})}.{part({'sub': 'app', 'iat': now, 'exp': now + seconds})}."


class TokenBroker(KafkaBroker):
    """The same broker with a listener more, for tokens."""

    def __init__(self, folder):
        super().__init__(folder)
        self.tokens = f"127.0.0.1:{free_port()}"

    def settings(self):
        settings = super().settings()
        settings["listeners"] += f",SASL_PLAINTEXT://{self.tokens}"
        settings["advertised.listeners"] += f",SASL_PLAINTEXT://{self.tokens}"
        settings["listener.security.protocol.map"] += ",SASL_PLAINTEXT:SASL_PLAINTEXT"
        handler = "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        return {
            **settings, "sasl.enabled.mechanisms": "OAUTHBEARER",
            # Whoever's token has run out is made to show another.
            "connections.max.reauth.ms": LIFETIME_SECONDS * 1000,
            "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config":
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
            "listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class": handler,
        }


def identities(run, endpoint):
    """The properties of docs/azure.md, each with what takes the place of Azure's addresses."""
    pod = run.folder / "pod-token"
    pod.write_text(POD_TOKEN + "\n")
    url = {"sasl.oauthbearer.token.endpoint.url": endpoint.url}
    client = {**url, "sasl.oauthbearer.client.id": "app", "sasl.oauthbearer.scope": SCOPE}
    return {
        "service-principal": {**client, "sasl.oauthbearer.client.secret": "${OAUTH_SECRET}"},
        "pod": {**client, "sasl.oauthbearer.assertion.file": str(pod)},
        "machine": {
            **url, "sasl.oauthbearer.metadata.authentication.type": "azure_imds",
            "sasl.oauthbearer.config": "query=api-version=2018-02-01&resource=https://remotecarehub.servicebus.windows.net"},
    }


def platform_with(run, broker, name, properties):
    settings = {"VITALAKE_KAFKA__BOOTSTRAP": broker.tokens, "OAUTH_SECRET": SECRET, "VITALAKE_LOG": "debug"}
    platform = Vitalake(run.folder / name, run.binary, run.project("steps"), settings=settings, kafka=False)
    properties = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc", **properties}
    listed = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in properties.items())
    with (platform.project / "vitalake.yaml").open("a") as file:
        file.write(f"kafka:\n  create_topics: false\n  properties:\n{listed}")
    return platform


def refused(platform):
    """What status and readiness both say of the endpoint that refuses."""
    reasons = [[part["reason"] for part in away if part["part"] == "Kafka"] for away in absences(platform)]
    return all(any("401" in reason and "AADSTS7000215" in reason for reason in told) for told in reasons) and reasons


def check(run):
    """Refused at first, told so; then let in, records once each over several lives of a token."""
    said = []
    with TokenEndpoint() as endpoint, TokenBroker(run.folder / "kafka") as broker:
        for topic in ("hourly-steps", "minute-steps", "hourly_steps_reexport"):
            broker.create_topic(topic)
        total = 0
        for name, properties in identities(run, endpoint).items():
            platform = platform_with(run, broker, name, properties)
            endpoint.refusing, endpoint.given = True, 0
            platform.begin()
            try:
                until("the refusal is told at start", lambda: refused(platform), bool, 60)
                endpoint.refusing = False
                platform.wait_until_up()
                if name == "service-principal":
                    with Numbered(broker.bootstrap) as sender:
                        time.sleep(SECONDS_STEADY)
                    total = exactly_once(sender, platform, platform.table("raw", "hourly_steps"))
                    endpoint.refusing = True
                    until("the refusal is told later", lambda: refused(platform), bool, 60)
                    endpoint.refusing = False
                    until("nothing is told to be away", lambda: told_nothing(platform), True, 60)
                else:
                    count = "SELECT COUNT(*), COUNT(DISTINCT subject_id) FROM raw.hourly_steps"
                    until("records in SQL", lambda: platform.row(count), (total, total), 60)
            finally:
                platform.stop()
            log = platform.log.read_text(errors="replace")
            need("secrets in the log", [word for word in (SECRET, POD_TOKEN) if word in log], [])
            need("requests that were wrong", endpoint.wrong, [])
            said.append(f"{name} with {endpoint.given} tokens")
        if not total:
            raise Failed("no record was sent")
    return f"{total} records once each by each of {', '.join(said)}; a refusal told at start and later, without the secret"
