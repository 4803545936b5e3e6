"""The two further ways from Superset to the rows: our endpoint over TLS (`druid+https`), and a real Druid that was published to."""
import hashlib
import json
import ssl
import urllib.request

from druid import PROJECT, is_up_to_date, project
from parts import Vitalake, need, until
from parts_druid import Druid
from parts_superset import Session, Superset
from secure_kafka import Certificates
from superset import ACCESS, Tool, settings

TOKEN = "a-token-for-superset-0123456789abcdef"


class SecureVitalake(Vitalake):
    """HTTPS under a certificate of an authority of the check's own; every client has a token."""

    def __init__(self, folder, binary, certificates, settings):
        self.certificates = certificates
        super().__init__(folder, binary, PROJECT, settings=settings)
        self.server = f"https://127.0.0.1:{self.http_port}"

    def environment(self):
        return {**super().environment(), "SSL_CERT_FILE": str(self.certificates.authority), "VITALAKE_TOKEN": TOKEN}

    def get(self, path):
        trusted = ssl.create_default_context(cafile=self.certificates.authority)
        with urllib.request.urlopen(self.server + path, timeout=5, context=trusted) as answer:
            return answer.status, answer.read().decode()


def by_tls(run):
    """The authority's certificate is named in the address of the database, which pydruid takes its options from."""
    certificates, folder = Certificates(run.folder / "certificates"), project(run.folder / "vitalake")
    certificate, key = certificates.issue("server")
    file = folder / "project/vitalake.yaml"
    listed = ACCESS.format(digest=hashlib.sha256(TOKEN.encode()).hexdigest())
    file.write_text(file.read_text().replace("http:\n", f"http:\n  tls: {{certificate: {certificate}, key: {key}}}\n") + listed)
    with Superset(run.folder / "superset") as superset:
        platform = SecureVitalake(folder, run.binary, certificates, settings(superset))
        uri = f"druid+https://superset:{TOKEN}@127.0.0.1:{platform.http_port}/druid/v2/sql/?header=true"
        platform.settings["VITALAKE_SUPERSET__DATABASE_URI"] = uri
        with platform:
            fill(platform, 5)
            tool, session = Tool(platform), Session(superset)
            said = json.loads(tool("apply", "--json", status=4))["dashboards"][0]
            need("charts with data over an authority that Superset does not know", said["fetched"], 0)
            platform.settings["VITALAKE_SUPERSET__DATABASE_URI"] = f"{uri}&ssl_verify_cert={certificates.authority}"
            charts = tool.apply()[0]["charts"]
            need("what would change then", tool.changes(0), [])
            connection = session.get(f"database/{session.one('database', 'database_name', 'remote-care')['id']}/connection")
            need("the token in what Superset shows", TOKEN in json.dumps(connection), False)
    return f"{charts} charts have the same data as our SQL, over TLS; without the authority's certificate: {said['problems'][0]}"


def fill(platform, wearers):
    for dataset in ("patients", "device_assignments"):
        platform.command_line("ingest", dataset, platform.project / f"deliveries/{dataset}.csv")
    platform.command_line("simulate", "--kafka", platform.bootstrap, "--wearers", wearers, "--history", 3, "--malformed", 0, "--count", 50)
    platform.command_line("flush")


def by_druid(run):
    """Charts ask a real Druid; what they show is compared with our SQL over the version that was published."""
    with Druid(run.folder / "druid") as druid, Superset(run.folder / "superset") as superset:
        asked = f"druid://127.0.0.1:{druid.ports['broker']}/druid/v2/sql/?header=true"
        more = {**settings(superset), **druid.settings(), "VITALAKE_SUPERSET__DATABASE_URI": asked}
        with Vitalake(project(run.folder / "vitalake"), run.binary, PROJECT, settings=more) as platform:
            platform.settings["VITALAKE_HTTP__PUBLIC_URL"] = platform.server
            fill(platform, 20)
            until("there are hours", lambda: platform.row("SELECT COUNT(*) > 0 FROM serving.vitals_hourly")[0], True, 60)
            for dataset in ("vitals_hourly", "engagement_daily"):
                until(f"{dataset} is published", lambda dataset=dataset: is_up_to_date(platform, dataset), ("published", True), 300)
            tool = Tool(platform)
            charts = tool.apply()[0]["charts"]
            need("what would change then", tool.changes(0), [])
            druid.kill("broker")
            said = json.loads(tool("apply", "--compare", "--json", status=4))["dashboards"][0]
            need("charts with data while Druid's broker is away", said["fetched"], 0)
            druid.start("broker")
            until("they have data again", lambda: json.loads(tool_said(tool))["dashboards"][0]["same"], charts, 120)
    return f"{charts} charts over a real Druid have the same data as our SQL; its broker away: {said['problems'][0]}"


def tool_said(tool):
    return tool.platform.run("superset", "apply", tool.project, "--compare", "--json", seconds=300)[1]
