"""A project's dashboards in a real Superset: made, made again, changed, removed; what is somebody else's stays."""
import contextlib
import hashlib
import http.server
import json
import threading

from druid import PROJECT, deliver, project
from parts import Failed, Skipped, Vitalake, need, until
from parts_superset import PASSWORD, USER, Session, Superset, screenshot


def check(run):
    """What a user does there, one after the other."""
    with started(run) as (tool, session, superset):
        steps = (refused, too_old, made, again, changed, edited_by_hand, somebody_elses, adopted, shown)
        return "; ".join(step(tool, session, superset) for step in steps)


@contextlib.contextmanager
def started(run):
    """A Superset, and the example with wearers, an hour of which has come in."""
    with Superset(run.folder / "superset") as superset:
        platform = Vitalake(project(run.folder / "vitalake"), run.binary, PROJECT, settings=settings(superset))
        platform.settings["VITALAKE_HTTP__PUBLIC_URL"] = platform.server
        with platform:
            deliver(platform)
            platform.command_line("simulate", "--kafka", platform.bootstrap, "--wearers", 20, "--history", 26, "--count", 500,
                                  "--malformed", 0)
            platform.flush()
            until("there are hours", lambda: platform.row("SELECT COUNT(*) > 0 FROM serving.vitals_hourly")[0], True, 60)
            yield Tool(platform), Session(superset), superset


def settings(superset):
    return {"VITALAKE_STORAGE__COMMIT_INTERVAL_MS": "500", "VITALAKE_SUPERSET__URL": superset.url,
            "VITALAKE_SUPERSET__USER": USER, "VITALAKE_SUPERSET__PASSWORD": PASSWORD}


class Tool:
    """`vitalake superset` on the project's copy."""

    def __init__(self, platform, project=None):
        self.platform, self.project = platform, project or platform.project
        self.dashboards, self.measures = self.project / "dashboards", self.project / "measures"

    def __call__(self, command, *arguments, status=0):
        ended, out, error = self.platform.run("superset", command, self.project, *arguments, seconds=300)
        if ended != status:
            raise Failed(f"superset {command} {arguments} ended with {ended}: {out[-600:]} {error[-600:]}")
        return out if status in (0, 4) else error

    def changes(self, status):
        return [(change["action"], change["kind"]) for change in self.plan(status)]

    def plan(self, status):
        return json.loads(self("plan", "--json", status=status))["changes"]

    def apply(self, *arguments):
        """Applies; what is told of each dashboard's data, where every chart has the same as our SQL."""
        dashboards = json.loads(self("apply", "--json", *arguments))["dashboards"]
        for dashboard in dashboards:
            need(f"problems of {dashboard['dashboard']}", dashboard["problems"] + dashboard["not_compared"], [])
            need("charts with data, and the same as ours", (dashboard["fetched"], dashboard["same"]), (dashboard["charts"],) * 2)
        return dashboards


def refused(tool, session, superset):
    tool.platform.settings["VITALAKE_SUPERSET__PASSWORD"] = "another one"
    said = tool("apply", status=1)
    tool.platform.settings["VITALAKE_SUPERSET__PASSWORD"] = PASSWORD
    need("a wrong password is said", ("the user or the password is wrong" in said, "another one" in said), (True, False))
    return "a wrong password is refused"


class Old(http.server.BaseHTTPRequestHandler):
    """A Superset before the interface that is needed."""

    def do_GET(self):
        body = json.dumps({"version_string": "4.1.2"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def too_old(tool, session, superset):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tool.platform.settings["VITALAKE_SUPERSET__URL"] = f"http://127.0.0.1:{server.server_port}"
        said = tool("plan", status=1)
        server.shutdown()
    tool.platform.settings["VITALAKE_SUPERSET__URL"] = superset.url
    need("an old version is said", "is 4.1.2; 6.0 or newer is needed" in said, True)
    return "an old version is refused"


def made(tool, session, superset):
    dashboard = tool.apply()[0]
    need("dashboards", session.names("dashboard"), ["Morning round"])
    return f"{dashboard['charts']} charts made, all with the same data as our SQL"


def again(tool, session, superset):
    need("what would change after an apply", tool.changes(0), [])
    out = tool.project.parent / "exported"
    tool("export", "--out", out)
    for folder in ("dashboards", "measures"):
        for file in (tool.project / folder).glob("*.yaml"):
            lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
            need(f"what export gives of {file.name}", (out / folder / file.name).read_text().splitlines(), lines)
    return "nothing to do after it, and export gives the same YAML"


def changed(tool, session, superset):
    file, before = tool.dashboards / "morning_round.yaml", session.names("chart")
    text = file.read_text().replace("Oxygen below 92 %", "Oxygen under 92 %").replace("  - [steps_by_hour]\n", "")
    file.write_text(text.replace("  steps_by_hour:\n    type: bar\n    measure: steps_total\n", ""))
    need("removals", [change for change in tool.changes(4) if change[0] == "remove"], [("remove", "chart")])
    tool.apply()
    need("charts less", len(before) - len(session.names("chart")), 1)
    need("the new title is there", "Oxygen under 92 %" in session.names("chart"), True)
    need("what would change then", tool.changes(0), [])
    return "a title changed and a chart removed"


def edited_by_hand(tool, session, superset):
    chart, page = session.one("chart", "slice_name", "Heart rate"), session.one("dashboard", "dashboard_title", "Morning round")
    session.put(f"chart/{chart['id']}", {"slice_name": "Pulse", "is_managed_externally": False})
    session.put(f"dashboard/{page['id']}", {"dashboard_title": "Evening round"})
    told = {(change["kind"], word) for change in tool.plan(4) for word in change["what"]}
    need("what is told of an edit by hand", told, {("chart", "title: Pulse → Heart rate"), ("dashboard", "title: Evening round → Morning round")})
    tool.apply()
    need("what would change then", tool.changes(0), [])
    need("it is managed again", session.get(f"chart/{chart['id']}")["result"]["is_managed_externally"], True)
    return "an edit by hand is told and undone"


def somebody_elses(tool, session, superset):
    session.post("dashboard/", {"dashboard_title": "By hand"})
    mine = session.get(f"chart/{session.one('chart', 'slice_name', 'Heart rate')['id']}")["result"]
    copied = {"slice_name": "A copy", "params": mine["params"], "datasource_id": mine["datasource_id"], "datasource_type": "table", "viz_type": mine["viz_type"]}
    session.post("chart/", copied)
    session.post("security/roles/", {"name": "remote-care: mine"})
    second, text = tool.dashboards / "second.yaml", (tool.dashboards / "morning_round.yaml").read_text()
    second.write_text(text.replace("title: Morning round", "title: By hand", 1))
    need("the dashboard in the way is named", "By hand" in tool("apply", status=1), True)
    second.unlink()
    tool.apply()
    need("dashboards", session.names("dashboard"), ["By hand", "Morning round"])
    need("the copy of a chart is there", "A copy" in session.names("chart"), True)
    return "a dashboard and a copy of a chart made by hand stay"


def adopted(tool, session, superset):
    before, file = session.one("dashboard", "dashboard_title", "By hand"), tool.dashboards / "second.yaml"
    text = (tool.dashboards / "morning_round.yaml").read_text().replace("title: Morning round", "title: By hand", 1)
    file.write_text(text)
    tool.apply("--adopt")
    need("it is the same dashboard", session.one("dashboard", "dashboard_title", "By hand")["id"], before["id"])
    need("what would change then", tool.changes(0), [])
    file.unlink()
    need("what goes with it", sorted(set(tool.changes(4))), [("remove", "chart"), ("remove", "dashboard")])
    tool.apply()
    need("dashboards", session.names("dashboard"), ["Morning round"])
    return "it is taken over when that is asked for, and removed as ours"


def shown(tool, session, superset):
    """As a reader sees it, where there is a browser."""
    try:
        page = screenshot(superset, "/superset/dashboard/remote-care-morning-round/", tool.project.parent / "morning-round.png")
    except Skipped as reason:
        return f"not looked at: {reason}"
    need("charts and texts drawn, with an error, buttons to edit", page, {"charts": 10, "wrong": 0, "editable": 0})
    return "the page is drawn whole in Chromium"


def by_token(run):
    """The endpoint lets nobody in without a token: Superset has one, in the address of its database."""
    token = "a-token-for-superset-0123456789abcdef"
    with Superset(run.folder / "superset") as superset:
        folder = project(run.folder / "vitalake")
        settings_file = folder / "project/vitalake.yaml"
        digest = hashlib.sha256(token.encode()).hexdigest()
        settings_file.write_text(settings_file.read_text() + ACCESS.format(digest=digest))
        platform = Vitalake(folder, run.binary, PROJECT, settings=settings(superset))
        platform.settings["VITALAKE_TOKEN"] = token
        platform.settings["VITALAKE_SUPERSET__DATABASE_URI"] = f"druid://superset:{token}@127.0.0.1:{platform.http_port}/druid/v2/sql/?header=true"
        with platform:
            for dataset in ("patients", "device_assignments"):
                platform.command_line("ingest", dataset, platform.project / f"deliveries/{dataset}.csv")
            platform.command_line("simulate", "--kafka", platform.bootstrap, "--wearers", 5, "--history", 3, "--malformed", 0, "--count", 50)
            platform.command_line("flush")
            tool, session = Tool(platform), Session(superset)
            charts = tool.apply()[0]["charts"]
            need("what would change then", tool.changes(0), [])
            database = session.get(f"database/{session.one('database', 'database_name', 'remote-care')['id']}/connection")
            need("the token in what Superset shows", token in json.dumps(database), False)
            return f"{charts} charts have the same data as our SQL, over an endpoint that asks for a token"


ACCESS = """
access:
  roles:
    charts: {{clearance: restricted, layers: [raw, curated, serving], records: true, may: [deliver, operate]}}
  clients:
    superset:
      roles: [charts]
      token: sha256:{digest}
"""
