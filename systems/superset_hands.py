"""What a Superset may hold or be before anything of ours is in it: a database, a dataset and a role of our names made by hand, a user
without the rights, an address of something else, a database of its own that is locked, and an end of it at each step of an apply.
Nothing of others changes, and each is told in words of ours."""
import http.server
import os
import re
import sqlite3
import subprocess
import threading

from parts import Failed, need
from superset import started

STEPS = ("importing", "looking whether", "setting what roles", "fetching each")


def check(run):
    with started(run) as (tool, session, superset):
        steps = (not_superset, without_rights, names_taken, locked, ended_at_each_step)
        return "; ".join(step(tool, session, superset) for step in steps)


class Page(http.server.BaseHTTPRequestHandler):
    """A page of something else at the address, such as one that asks people to log in."""

    def do_GET(self):
        body = b"<html><body>Please log in</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def with_settings(tool, said, **changed):
    """What a command says, and with which status, under other settings."""
    before = dict(tool.platform.settings)
    tool.platform.settings.update({f"VITALAKE_SUPERSET__{key.upper()}": value for key, value in changed.items()})
    try:
        status, out, error = tool.platform.run("superset", said, tool.project, seconds=300)
    finally:
        tool.platform.settings = before
    return status, (out + error)[-400:]


def not_superset(tool, session, superset):
    said = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for url in (f"http://127.0.0.1:{server.server_port}", tool.platform.server):
            status, words = with_settings(tool, "apply", url=url)
            need(f"the status at {url}: {words}", status != 0, True)
            need(f"it is no word of ours: {words}", "Please log in" in words or "panicked" in words, False)
            said.append(words.strip().splitlines()[-1])
        server.shutdown()
    return f"what is no Superset: {said}"


def without_rights(tool, session, superset):
    role = session.one("security/roles", "name", "Gamma")["id"]
    person = {"username": "reader", "password": "reader-of-this-check", "first_name": "R", "last_name": "R", "email": "r@localhost", "active": True}
    session.post("security/users/", {**person, "roles": [role]})
    before = session.names("dashboard"), session.names("chart"), session.names("dataset")
    status, said = with_settings(tool, "apply", user="reader", password=person["password"])
    need(f"the status of a user without rights: {said}", status != 0, True)
    need("what is there then", (session.names("dashboard"), session.names("chart"), session.names("dataset")), before)
    need("the password in what is said", person["password"] in said, False)
    return f"a user without rights: {said.strip().splitlines()[-1]}"


def names_taken(tool, session, superset):
    """By hand: a database of our name, then a dataset of our database's name and address, then a role that may more."""
    uri = f"druid://127.0.0.1:{tool.platform.http_port}/druid/v2/sql/?header=true"
    mine = session.post("database/", {"database_name": "remote-care", "sqlalchemy_uri": uri})["id"]
    dataset = session.post("dataset/", {"database": mine, "schema": "druid", "table_name": "vitals_hourly"})["id"]
    session.put(f"dataset/{dataset}", {"description": "by hand"})
    status, said = with_settings(tool, "apply")
    need(f"the status where the database's name is taken: {said}", status, 1)
    need("the database in the way is named", "remote-care" in said, True)
    need("what was made by hand", session.get(f"dataset/{dataset}")["result"]["description"], "by hand")
    tool.apply("--adopt")
    need("it is the same database", session.one("database", "database_name", "remote-care")["id"], mine)
    need("what would change then", tool.changes(0), [])
    role = session.one("security/roles", "name", "remote-care: Morning round")["id"]
    rights = session.get(f"security/roles/{role}/permissions/")["result"]
    more = [right for right in all_rights(session) if right["permission"]["name"] == "all_database_access"]
    session.post(f"security/roles/{role}/permissions", {"permission_view_menu_ids": [right["id"] for right in rights] + [right["id"] for right in more]})
    status, role_said = with_settings(tool, "apply")
    need(f"the status where a role of ours may more: {role_said}", status != 0, True)
    now = {right["id"] for right in session.get(f"security/roles/{role}/permissions/")["result"]}
    need("the role as somebody left it", now >= {right["id"] for right in more}, True)
    session.post(f"security/roles/{role}/permissions", {"permission_view_menu_ids": [right["id"] for right in rights]})
    tool.apply()
    need("what would change then", tool.changes(0), [])
    return f"a database and a dataset by hand: {said.strip().splitlines()[-1]}; a role that may more: {role_said.strip().splitlines()[-1]}"


def all_rights(session):
    """Every right that a role may have; a list of them comes in pages."""
    rights, page = [], 0
    while found := session.get(f"security/permissions-resources/?q=(page:{page},page_size:100)")["result"]:
        rights, page = rights + found, page + 1
    return rights


def locked(tool, session, superset):
    """Superset can write nothing, as on a full disk: its own database is locked by another."""
    page = tool.dashboards / "morning_round.yaml"
    page.write_text(page.read_text().replace("description: Whom to call", "description: Whom to  call"))
    before = session.names("chart")
    with sqlite3.connect(superset.folder / "superset.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        status, said = with_settings(tool, "apply")
        other.execute("ROLLBACK")
    need(f"the status of an import that cannot be written: {said}", status != 0, True)
    need("charts then", session.names("chart"), before)
    tool.apply()
    need("what would change then", tool.changes(0), [])
    return f"a Superset that cannot write: {said.strip().splitlines()[-1]}"


def ended_at_each_step(tool, session, superset):
    page, said = tool.dashboards / "morning_round.yaml", []
    for number, step in enumerate(STEPS):
        page.write_text(re.sub(r"description: Whom to.*", f"description: Whom to call in round {number}", page.read_text(), count=1))
        # Roles are set where there is something to set.
        session.delete(f"security/roles/{session.one('security/roles', 'name', 'remote-care: Morning round')['id']}")
        begun = subprocess.Popen([tool.platform.binary, "superset", "apply", str(tool.project)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 text=True, env={**os.environ, **tool.platform.environment(), **tool.platform.settings})
        while step not in (line := begun.stderr.readline()):
            if not line:
                raise Failed(f"apply ended before it was {step}")
        superset.kill()
        words, status = begun.stderr.read(), begun.wait(180)
        need(f"the status when it ends while {step}: {words[-300:]}", status != 0, True)
        superset.start()
        tool.apply()
        need("what would change then", tool.changes(0), [])
        said.append(f"{step}: {' '.join(words.split())[:120]}")
    names = session.names("chart")
    need("charts that are there twice", len(names) - len(set(names)), 0)
    return f"ended at each step: {said}"
