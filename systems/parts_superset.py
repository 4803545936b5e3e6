"""Superset as a part: its database is the fresh one that install.sh made, copied, so that each check begins anew."""
import http.cookiejar
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from parts import Failed, Part, free_port, installed, listens

USER = PASSWORD = "admin"


class Superset(Part):
    """One process with threads, SQLite behind it."""

    seconds_to_start = 180

    def __init__(self, folder, port=None):
        super().__init__(folder)
        self.home, self.port = installed("superset"), port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if not (self.folder / "superset.db").exists():
            shutil.copy(self.home / "fresh/superset.db", self.folder / "superset.db")

    def command(self):
        return [self.home / "bin/superset", "run", "-h", "127.0.0.1", "-p", self.port, "--with-threads"]

    def environment(self):
        return {"SUPERSET_CONFIG_PATH": str(self.home / "superset_config.py"), "SUPERSET_HOME": str(self.folder),
                "SCARF_ANALYTICS": "false", "FLASK_DEBUG": "0"}

    def is_up(self):
        return listens(self.port) and self.raw("GET", "/health")[0] == 200

    def raw(self, method, path, body=None, headers=None):
        """Status and bytes of an answer."""
        request = urllib.request.Request(f"{self.url}{path}", body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class Session:
    """What a person or another tool does there, by REST."""

    def __init__(self, superset):
        self.url = superset.url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.headers = {"Accept": "application/json"}
        body = {"username": USER, "password": PASSWORD, "provider": "db", "refresh": True}
        self.headers["Authorization"] = f"Bearer {self.post('security/login', body)['access_token']}"
        self.headers["X-CSRFToken"] = self.get("security/csrf_token/")["result"]

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body):
        return self.ask("POST", path, body)

    def put(self, path, body):
        return self.ask("PUT", path, body)

    def delete(self, path):
        return self.ask("DELETE", path)

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        # A GET that says of itself that it is JSON is refused for having none.
        headers = self.headers if data is None else {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data, headers, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read()[:400]}") from None

    def listed(self, kind, **equal):
        """Of one kind, those whose columns are so: a list of what their list says."""
        filters = ",".join(f"(col:{column},opr:eq,value:'{value}')" for column, value in equal.items())
        return self.get(f"{kind}/?q=" + urllib.parse.quote(f"(filters:!({filters}),page_size:1000)"))["result"]

    def one(self, kind, column, value):
        """The one of a kind whose column is so."""
        found = self.listed(kind, **{column: value})
        if len(found) != 1:
            raise Failed(f"there are {len(found)} of {kind} with {column} {value}")
        return found[0]

    def names(self, kind):
        """All of one kind, sorted."""
        column = {"chart": "slice_name", "dashboard": "dashboard_title", "dataset": "table_name", "database": "database_name"}[kind]
        return sorted(one[column] for one in self.listed(kind))


SHOT = """
const {chromium} = require(process.argv[1]);
(async () => {
  const [url, user, password, path, file] = process.argv.slice(2);
  const browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox']});
  const page = await browser.newPage({viewport: {width: 1500, height: 1200}});
  await page.goto(url + '/login/', {waitUntil: 'domcontentloaded'});
  await page.locator('input[name=username], #username, [data-test=username-input]').first().fill(user);
  await page.locator('input[name=password], #password, [data-test=password-input]').first().fill(password);
  await page.locator('button[type=submit], input[type=submit], [data-test=login-button]').first().click();
  await page.waitForURL(address => !address.href.includes('/login'), {timeout: 120000, waitUntil: 'commit'});
  await page.goto(url + path, {waitUntil: 'domcontentloaded'});
  await page.waitForSelector('.dashboard-component-chart-holder', {timeout: 90000});
  await page.waitForFunction(() => !document.querySelector('.loading') && !document.querySelector('[aria-label=Loading]'), null, {timeout: 120000});
  await page.waitForTimeout(1500);  // the last chart's animation
  const wrong = await page.locator('.dashboard-component-chart-holder .ant-alert-error, .dashboard-component-chart-holder [data-test=error-alert]').count();
  const charts = await page.locator('.dashboard-component-chart-holder').count();
  await page.screenshot({path: file, fullPage: true});
  console.log(JSON.stringify({charts, wrong, editable: await page.locator('[data-test=edit-dashboard-button]').count()}));
  await browser.close();
})().catch(error => { console.error(String(error)); process.exit(1); });
"""


def screenshot(superset, path, file):
    """A page of it in headless Chromium; gives how many charts it shows, how many of them with an error."""
    module = installed("browser") / "node_modules/playwright-core"
    done = subprocess.run(["node", "-e", SHOT, str(module), superset.url, USER, PASSWORD, path, str(file)],
                          capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Failed(f"the page {path} was not drawn: {done.stderr[-600:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
