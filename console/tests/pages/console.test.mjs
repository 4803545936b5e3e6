// The console in a browser, against the real binary with the example project.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { barriers, openPage, settled, startBrowser, tooWide } from './browser.mjs';
import * as hostile from './hostile.mjs';
import { DIST, startPages, startPlatform, until } from './server.mjs';

const PICTURES = process.env.PICTURES;
// A limit for what hangs, on a machine that does much else; no test is about time.
const LONG = { timeout: 600_000 };
let platform;
let pages;
let browser;
let base;

before(async () => {
  platform = await startPlatform();
  pages = await startPages(platform.server);
  base = pages.address;
  browser = await startBrowser();
  if (PICTURES) mkdirSync(PICTURES, { recursive: true });
}, LONG);
after(async () => {
  await browser?.close();
  await pages?.end();
  await platform?.end();
});

const api = async (path, init) => (await fetch(`${platform.server}/api/v1/${path}`, init)).json();
const ask = (sql) => `/sql?q=${encodeURIComponent(sql)}`;

/** Every page, in a state in which it has something to show. */
const PAGES = {
  today: '/',
  datasets: '/datasets',
  dataset: '/datasets/raw.wearable_readings',
  schema: '/datasets/raw.wearable_readings?tab=schema',
  rules: '/datasets/raw.wearable_readings?tab=rules',
  quarantine: '/datasets/raw.wearable_readings?tab=quarantine&rule=json',
  versions: '/datasets/raw.patients?tab=versions',
  origins: '/datasets/serving.vitals_hourly?tab=lineage',
  model: '/datasets/curated.vitals',
  lineage: '/lineage?of=curated.vitals',
  gates: '/gates',
  feeds: '/feeds',
  alerts: '/alerts',
  runbooks: '/alerts/runbooks',
  runbook: '/alerts/runbooks/gate_held',
  dashboards: '/dashboards',
  dashboard: '/dashboards/morning_round',
  sql: ask('SELECT * FROM raw.patients LIMIT 200'),
  audit: '/audit',
  lost: '/no/such/page',
};

describe('every page keeps the policy, has no barrier and fits a phone', () => {
  for (const [name, path] of Object.entries(PAGES)) {
    test(name, LONG, async () => {
      for (const [theme, width] of [['light', 1280], ['dark', 1280], ['light', 390]]) {
        const at = await openPage(browser, { colorScheme: theme, viewport: { width, height: width < 500 ? 844 : 860 } });
        await at.page.goto(base + path);
        await settled(at.page);
        assert.deepEqual(await barriers(at.page), [], `${name}, ${theme}, ${width}`);
        assert.equal(await tooWide(at.page), '', `${name} at ${width} is wider than the window`);
        if (PICTURES) await at.page.screenshot({ path: join(PICTURES, `${name}-${theme}-${width}.png`), fullPage: width < 500 });
        await at.check(`${name}, ${theme}, ${width}`);
        await at.end();
      }
    });
  }
});

test('the first load is small, and everything heavy comes when it is asked for', () => {
  const html = readFileSync(join(DIST, 'index.html'), 'utf8');
  const first = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((match) => match[1]);
  const seen = new Set();
  const add = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(join(DIST, file), 'utf8');
    if (!file.endsWith('.js')) return;
    for (const match of text.matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) add(`assets/${match[1]}`);
  };
  first.forEach(add);
  const size = [...seen].reduce((sum, file) => sum + gzipSync(readFileSync(join(DIST, file))).length, gzipSync(html).length);
  console.log(`first load: ${(size / 1024).toFixed(1)} KiB gzip in ${seen.size + 1} files`);
  assert.ok(size <= 120 * 1024, `${size} bytes`);
  assert.ok(![...seen].some((file) => /editor|Course/.test(file)), 'the editor and the charts are no part of it');
  assert.ok(!/<script(?![^>]*\bsrc=)/.test(html) && !/ style=/.test(html) && !/https?:\/\//.test(html), 'nothing is inline, nothing is elsewhere');
});

test('each built file that gains by it lies packed beside it', () => {
  const files = readdirSync(join(DIST, 'assets'));
  for (const file of files.filter((each) => /\.(js|css)$/.test(each))) {
    const plain = readFileSync(join(DIST, 'assets', file));
    if (gzipSync(plain, { level: 9 }).length < plain.length) assert.ok(existsSync(join(DIST, 'assets', `${file}.gz`)), file);
  }
});

test('the binary serves the same pages under the same policy', async (t) => {
  const response = await fetch(`${platform.server}/datasets/raw.patients`, { headers: { Accept: 'text/html' } });
  const html = await response.text();
  if (!html.includes('id="app"')) {
    t.skip('this binary was built without console/dist; `make console`, then build it again');
    return;
  }
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
  const script = /src="(\/assets\/[^"]+)"/.exec(html)[1];
  const packed = await fetch(platform.server + script, { headers: { 'Accept-Encoding': 'gzip' } });
  assert.match(packed.headers.get('cache-control') ?? '', /immutable/);
  const at = await openPage(browser);
  await at.page.goto(`${platform.server}/datasets/raw.patients`);
  await settled(at.page);
  assert.match(await at.page.textContent('h1'), /patients/);
  await at.check('the binary\'s own copy');
  await at.end();
});

test('with the keyboard alone: from Today to a dataset, to its rows, and back', LONG, async () => {
  const at = await openPage(browser);
  const { page } = at;
  const key = (name) => page.keyboard.press(name);
  await page.goto(base);
  await settled(page);
  await key('Tab');
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Skip to the page/);
  await key('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');

  await key('Control+k');
  await page.waitForSelector('dialog[open] [role=option]');
  await page.keyboard.type('vitals_hourly');
  await page.waitForFunction(() => /vitals_hourly/.test(document.querySelector('[role=option][aria-selected=true]')?.textContent ?? ''));
  await key('Enter');
  await page.waitForURL('**/datasets/serving.vitals_hourly');
  await settled(page);

  await key('g');
  await key('d');
  await page.waitForURL('**/datasets');
  await settled(page);
  await page.waitForSelector('main tr[data-row]');
  await key('j');
  await key('j');
  await key('k');
  await key('j');
  const second = await page.evaluate(() => document.activeElement.textContent);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid', 'the focus can be seen');
  await key('Enter');
  await settled(page);
  assert.ok((await page.textContent('h1')).includes(second.split('.').pop()));

  await key('g');
  await key('s');
  await page.waitForURL('**/sql');
  await page.waitForFunction(() => document.querySelector('.editor')?.shadowRoot?.activeElement);
  await page.keyboard.type('SELECT COUNT(*) AS n FROM raw.patients');
  await key('Escape');
  await key('Control+Enter');
  await page.waitForSelector('[role=grid] [role=gridcell]:text-is("200")');
  assert.match(page.url(), /q=SELECT/);

  await page.goto(`${base}/datasets`);
  await settled(page);
  await key('/');
  await page.keyboard.type('vitals');
  await page.waitForURL('**/datasets?find=vitals');
  await key('Escape');
  await key('?');
  await page.waitForSelector('dialog[open] dl');
  await key('Escape');
  assert.equal(await page.locator('dialog[open]').count(), 0);
  await at.check('the keyboard');
  await at.end();
});

describe('SQL', () => {

  test('100,000 rows stay a few dozen elements, and the last can be reached', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    const [{ n }] = await (await fetch(`${platform.server}/api/v1/query`, { method: 'POST', body: JSON.stringify({ sql: 'SELECT COUNT(*) AS n FROM raw.wearable_readings' }), headers: { 'Content-Type': 'application/json' } })).json();
    const times = Math.ceil(100_000 / n);
    const sql = `SELECT * FROM (${Array.from({ length: times }, () => 'SELECT device_id, recorded_at, heart_rate, spo2, steps FROM raw.wearable_readings').join(' UNION ALL ')}) LIMIT 100000`;
    await page.goto(`${base + ask(sql)}&limit=100000`);
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '100001', undefined, LONG);
    await page.waitForSelector('text=100,000 rows ·');
    const elements = () => page.evaluate(() => document.querySelectorAll('[role=grid] [role=row]').length);
    assert.ok((await elements()) < 120, `${await elements()} rows are in the document`);
    const figures = await page.evaluate(async () => {
      const box = document.querySelector('[role=grid]');
      const frames = [];
      let before = performance.now();
      for (let i = 0; i < 90; i += 1) {
        box.scrollTop = (box.scrollHeight / 90) * i;
        await new Promise((next) => requestAnimationFrame(next));
        const now = performance.now();
        frames.push(now - before);
        before = now;
      }
      box.scrollTop = box.scrollHeight;
      frames.sort((a, b) => a - b);
      return { median: frames[45], most: frames[89], p95: frames[85] };
    });
    console.log(`100,000 rows: a frame of scrolling takes ${figures.median.toFixed(1)} ms (median), ${figures.p95.toFixed(1)} (95 %), ${figures.most.toFixed(1)} (most)`);
    await page.waitForSelector('[role=row][aria-rowindex="100001"]');
    assert.ok((await elements()) < 120);
    await page.focus('[role=grid]');
    await page.keyboard.press('Home');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] dt:text("device_id")');
    await page.keyboard.press('Escape');
    await at.check('100,000 rows');
    await at.end();
  });

  test('a mistake is told with its place, and marked where it stands', async () => {
    const at = await openPage(browser);
    await at.page.goto(base + ask('SELECT nothing_like_it FROM raw.patients'));
    await at.page.waitForSelector('[role=alert]');
    assert.match(await at.page.textContent('[role=alert]'), /nothing_like_it/);
    await at.check('a mistake');
    await at.end();
  });

  test('completes tables behind a layer, and columns of a table that is named', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.goto(`${base}/sql`);
    await page.waitForSelector('.tables summary');
    await page.waitForFunction(() => document.querySelector('.editor')?.shadowRoot?.activeElement);
    const options = () => page.evaluate(() => [...document.querySelector('.editor').shadowRoot.querySelectorAll('.cm-tooltip-autocomplete li')].map((each) => each.textContent));
    await page.keyboard.type('SELECT * FROM serving.');
    await until('tables of a layer', async () => (await options()).some((each) => each.startsWith('vitals_hourly')));
    await page.keyboard.type('vitals_hourly WHERE heart');
    await until('columns of the table', async () => (await options()).some((each) => each.startsWith('heart_rate')));
    await page.keyboard.press('Tab');
    assert.match(await page.evaluate(() => document.querySelector('.editor').shadowRoot.querySelector('.cm-content').textContent), /heart_rate_/);
    await at.check('completion');
    await at.end();
  });

  test('a long question shows its time, can be cancelled, and is ended at the server', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    const slow = 'SELECT COUNT(*) AS n FROM raw.wearable_readings a CROSS JOIN raw.wearable_readings b WHERE a.heart_rate + b.steps > 1';
    const ended = page.waitForRequest((request) => request.method() === 'DELETE' && request.url().includes('/api/v1/query/'));
    await page.goto(base + ask(slow));
    await page.waitForSelector('button:has-text("Cancel")');
    await page.keyboard.press('Escape');
    const response = await (await ended).response();
    assert.ok([204, 202, 200, 404].includes(response.status()), `${response.status()}`);
    await page.waitForSelector('text=Cancelled after');
    await at.check('cancel');
    await at.end();
  });

  test('exports the whole answer as CSV and Parquet, and goes back to the question before', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.goto(base + ask('SELECT patient_id, cohort FROM raw.patients'));
    await page.waitForSelector('text=200 rows ·');
    for (const [button, magic] of [['CSV', 'patient_id,cohort'], ['Parquet', 'PAR1']]) {
      const [file] = await Promise.all([page.waitForEvent('download'), page.click(`button:text-is("${button}")`)]);
      const bytes = readFileSync(await file.path());
      assert.ok(bytes.subarray(0, magic.length).toString() === magic, `${button} begins with ${bytes.subarray(0, 20).toString()}`);
      if (button === 'CSV') assert.equal(bytes.toString().trim().split('\n').length, 201);
    }
    await page.evaluate((sql) => {
      const link = Object.assign(document.createElement('a'), { href: sql });
      document.body.append(link);
      link.click();
    }, ask('SELECT COUNT(*) AS other FROM raw.patients'));
    await page.waitForSelector('[role=columnheader]:has-text("other")');
    await page.goBack();
    await page.waitForSelector('[role=columnheader]:has-text("cohort")');
    await page.waitForFunction(() => /cohort/.test(document.querySelector('.editor').shadowRoot.querySelector('.cm-content').textContent));
    await at.check('export');
    await at.end();
  });
});

test('every number of Today opens the SQL that gives it', LONG, async () => {
  const at = await openPage(browser);
  const { page } = at;
  await page.goto(base);
  await settled(page);
  const links = await page.$$eval('main a.figure[href^="/sql"]', (all) => [...new Set(all.map((each) => new URL(each.href).searchParams.get('q')))]);
  assert.ok(links.length > 10, `${links.length} numbers`);
  for (const sql of links) {
    const response = await fetch(`${platform.server}/api/v1/query`, { method: 'POST', body: JSON.stringify({ sql }), headers: { 'Content-Type': 'application/json' } });
    assert.equal(response.status, 200, `${sql}\n${await response.text()}`);
  }
  await at.end();
});

describe('decisions', () => {
  test('a gate is held with a reason, is seen as held, and released', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    const state = async () => (await api('gates')).find((gate) => gate.dataset === 'serving.vitals_hourly').state;
    await page.goto(`${base}/gates`);
    await settled(page);
    const line = page.locator('tr', { hasText: 'serving.vitals_hourly' });
    await line.locator('button:has-text("Hold")').click();
    assert.ok(await page.isDisabled('dialog button:has-text("Hold it")'), 'nothing is decided without a reason');
    await page.fill('dialog textarea', 'a correction is on its way');
    await page.click('dialog button:has-text("Hold it")');
    await until('the hold', async () => (await state()) === 'held');
    await line.locator('text=held').first().waitFor();
    await page.goto(base);
    await page.waitForSelector('.needs >> text=serving.vitals_hourly');
    if (PICTURES) await page.screenshot({ path: join(PICTURES, 'today-held.png') });
    assert.deepEqual(await barriers(page), []);
    await page.goto(`${base}/gates?dataset=serving.vitals_hourly`);
    await line.locator('button:has-text("Release")').click();
    await page.fill('dialog textarea', 'checked by hand');
    await page.click('dialog button:has-text("Release it")');
    await until('the release', async () => (await state()) === 'passed');
    await at.check('gates');
    await at.end();
  });

  test('a feed is run, and a replay is tried without changing anything', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.goto(`${base}/feeds`);
    await settled(page);
    await page.locator('tr', { hasText: 'clinic_visits' }).locator('button:has-text("Run now")').first().click();
    await page.waitForSelector('[role=status]:has-text("clinic_visits:")', LONG);
    await page.goto(`${base}/datasets/raw.wearable_readings?tab=quarantine`);
    await settled(page);
    const counted = async () => (await api('quarantine?dataset=wearable_readings')).reduce((sum, each) => sum + each.rows, 0);
    const waiting = await counted();
    assert.ok(waiting > 0, 'the simulator sends records that break their contract');
    await page.click('button:has-text("Try a replay")');
    await page.waitForSelector('text=nothing was changed', LONG);
    assert.ok((await counted()) >= waiting);
    await at.check('feeds');
    await at.end();
  });
});

/** Answers the API with hostile texts. */
async function poison(page) {
  const answers = {
    today: hostile.today, catalogue: hostile.catalogue, lineage: hostile.lineage, gates: [hostile.gate], feeds: [hostile.feed], deliveries: [hostile.delivery],
    alerts: [hostile.alert], runbooks: hostile.runbooks, 'runbooks/gate_held': hostile.runbook, dashboards: [{ name: 'x', title: hostile.HOSTILE[0], description: hostile.HOSTILE[1], charts: 1, problems: 1 }],
    'dashboards/x': hostile.dashboard, audit: hostile.audit, 'catalogue/x': hostile.page, quarantine: [],
  };
  await page.route('**/api/v1/**', (route) => {
    const path = new URL(route.request().url()).pathname.replace('/api/v1/', '');
    if (path === 'query') return route.fulfill({ status: 200, contentType: 'application/x-ndjson', body: hostile.rows });
    if (path.startsWith('quarantine/')) return route.fulfill({ json: [{ topic: hostile.HOSTILE[0], partition: 0, offset: 1, reason: hostile.HOSTILE.join(' '), attempts: 0, quarantined_at: hostile.HOSTILE[1] }] });
    if (path.startsWith('lineage/')) return route.fulfill({ json: { name: 'x', layer: 'raw', columns: [{ name: hostile.HOSTILE[0], from: [{ dataset: `raw.${hostile.HOSTILE[0]}`, column: hostile.HOSTILE[1], how: 'IDENTITY' }] }], conditions: [] } });
    const answer = answers[decodeURIComponent(path)];
    return answer ? route.fulfill({ json: answer }) : route.continue();
  });
}

describe('what comes from data is text, and never markup', () => {
  const paths = ['/', '/datasets', '/datasets/x', '/datasets/x?tab=schema', '/datasets/x?tab=rules', '/datasets/x?tab=quarantine&rule=a', '/datasets/x?tab=versions', '/datasets/x?tab=lineage', '/lineage', '/gates', '/feeds', '/alerts', `/alerts/${hostile.alert.fingerprint}`, '/alerts/runbooks', '/alerts/runbooks/gate_held', '/dashboards', '/dashboards/x', '/audit', ask(hostile.HOSTILE[0]), `/datasets/${encodeURIComponent(hostile.HOSTILE[0])}`, `/datasets?find=${encodeURIComponent(hostile.HOSTILE[1])}`];
  for (const path of paths) {
    test(path.slice(0, 60), LONG, async () => {
      const at = await openPage(browser);
      const { page } = at;
      await poison(page);
      await page.goto(base + path);
      await settled(page);
      const found = await page.evaluate(() => ({
        hurt: window.hurt,
        bad: [...document.querySelectorAll('#app :is(script, iframe, object, embed, form[action], style), #app img, #app [onclick], #app [onerror], #app [onload]')].map((each) => each.outerHTML.slice(0, 100)),
        links: [...document.querySelectorAll('#app a[href]')].map((each) => each.getAttribute('href')).filter((href) => !/^(\/(?!\/)|#|https:\/\/example\.org)/.test(href)),
      }));
      assert.deepEqual(found, { hurt: undefined, bad: [], links: [] });
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).display), 'block');
      if (PICTURES) await page.screenshot({ path: join(PICTURES, `hostile-${path.replaceAll(/\W+/g, '_').slice(0, 40)}.png`) });
      await at.check(path);
      await at.end();
    });
  }

  test('in the palette and in a row that is opened, too', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await poison(page);
    await page.goto(base + ask('SELECT 1'));
    await page.waitForSelector('[role=grid]');
    await page.focus('[role=grid]');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] dt');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    await page.waitForSelector('dialog[open] [role=option]:has-text("onerror")');
    assert.equal(await page.evaluate(() => window.hurt), undefined);
    await at.check('palette');
    await at.end();
  });
});

test('a dashboard with a mistake shows file, line, column, and what to do', LONG, async () => {
  const at = await openPage(browser);
  await poison(at.page);
  await at.page.goto(`${base}/dashboards/x`);
  const said = await at.page.textContent('.problems');
  assert.match(said, /dashboards\/x\.yaml:12:7/);
  assert.match(said, /unknown key `messure`/);
  assert.match(said, /did you mean `measure`/);
  await at.end();
});

describe('alerts', () => {
  test('an alert shows its runbook with the evidence of then and now, and is taken on with a word', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    const alert = { ...hostile.alert, alert: 'gate_held', dataset: 'serving.vitals_hourly', summary: 'its gate holds a version back', acknowledged_by: null, severity: 'warning', owner: 'data-platform', inhibited_by: null, reason: null };
    const sent = [];
    await page.route('**/api/v1/alerts', (route) => route.fulfill({ json: [alert] }));
    await page.route('**/api/v1/alerts/*/ack', (route) => {
      sent.push(route.request().postDataJSON());
      alert.state = 'acknowledged';
      return route.fulfill({ json: {} });
    });
    await page.route('**/api/v1/silences', (route) => {
      sent.push(route.request().postDataJSON());
      return route.fulfill({ json: {} });
    });
    await page.goto(`${base}/alerts`);
    await settled(page);
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/alerts/${alert.fingerprint}`);
    await page.waitForSelector('.evidence table, .evidence p', LONG);
    assert.deepEqual(await barriers(page), []);
    await page.click('button:has-text("Take it on")');
    await page.fill('dialog textarea', 'the clinic sends the file again');
    await page.click('dialog button:has-text("Take it on")');
    await until('the acknowledgement', () => sent.length === 1);
    assert.equal(sent[0].comment, 'the clinic sends the file again');
    await page.waitForFunction(() => !document.querySelector('dialog[open]'));
    await page.click('button:has-text("Silence…")');
    await page.selectOption('dialog select', '8');
    await page.fill('dialog textarea', 'planned maintenance');
    await page.click('dialog button:has-text("Silence it")');
    await until('the silence', () => sent.length === 2);
    assert.equal(sent[1].alert, 'gate_held');
    const hours = (Date.parse(sent[1].until) - Date.now()) / 3_600_000;
    assert.ok(hours > 7.8 && hours < 8.2, `${hours} hours`);
    await at.check('alert');
    await at.end();
  });
});

describe('away and back', () => {
  test('a browser that was offline for an hour says so, and asks for everything when it is back', LONG, async () => {
    const at = await openPage(browser);
    const { page, context } = at;
    await page.clock.install();
    await page.goto(base);
    await settled(page);
    await page.clock.fastForward(10_000);
    await context.setOffline(true);
    await page.waitForSelector('.banner.away');
    await page.clock.fastForward(3_600_000);
    await page.waitForFunction(() => /No connection for (1 h|60 min|59 min)/.test(document.querySelector('.banner.away')?.textContent ?? ''));
    if (PICTURES) await page.screenshot({ path: join(PICTURES, 'offline.png') });
    assert.ok(await page.isVisible('text=Datasets'), 'what was there stays');
    const asked = page.waitForRequest((request) => request.url().endsWith('/api/v1/today'), LONG);
    await context.setOffline(false);
    const moved = (async () => {
      for (let i = 0; i < 40; i += 1) {
        await page.clock.fastForward(1_000);
        await new Promise((next) => setTimeout(next, 100));
      }
    })();
    await asked;
    await page.waitForSelector('.banner.back');
    assert.match(await page.textContent('.banner.back'), /Connected again after 1 h/);
    await moved;
    await at.end();
  });

  test('a hidden tab asks for nothing, and asks again when it is seen', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.clock.install();
    await page.goto(base);
    await settled(page);
    const hide = (hidden) => page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { value: is, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    const requests = [];
    page.on('request', (request) => requests.push(request.url()));
    for (let i = 0; i < 12; i += 1) {
      await page.clock.fastForward(30_000);
      await new Promise((next) => setTimeout(next, 30));
    }
    assert.deepEqual(requests, []);
    await hide(false);
    await page.clock.fastForward(10_000);
    await until('the next question', () => requests.some((url) => url.endsWith('/today')));
    await at.end();
  });

  test('what changes is shown without a reload', LONG, async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.goto(base);
    await settled(page);
    const rows = () => page.locator('tr', { hasText: 'raw.wearable_readings' }).locator('td').nth(3).textContent();
    const first = await rows();
    await until('more rows', async () => (await rows()) !== first);
    await at.check('live');
    await at.end();
  });

  test('a platform that does not answer is told, with a way to try again', async () => {
    const at = await openPage(browser);
    const { page } = at;
    let away = true;
    await page.route('**/api/v1/session', (route) => (away ? route.fulfill({ status: 503, json: { message: 'the platform is starting' } }) : route.continue()));
    await page.goto(base);
    await page.waitForSelector('[role=alert]:has-text("the platform is starting")');
    away = false;
    await page.click('text=Try again');
    await settled(page);
    await at.end();
  });
});

test('times say their zone, and are told in the reader\'s own where that is chosen', async () => {
  const at = await openPage(browser, { timezoneId: 'Asia/Kathmandu' });
  const { page } = at;
  await page.goto(base);
  await settled(page);
  assert.match(await page.textContent('.head'), /\d\d:\d\d\s+UTC/);
  await page.click('button:text-is("Local")');
  await page.waitForSelector('.head time:has-text("UTC+5:45")');
  await page.reload();
  await page.waitForSelector('.head time:has-text("UTC+5:45")');
  await at.end();
});

describe('log-in', () => {
  const needed = { status: 401, contentType: 'application/problem+json', body: JSON.stringify({ error: 'unauthorized', message: 'say who you are', log_in: 'both' }) };
  test('who is not known is asked first, and comes back to where he wanted to go', async () => {
    const at = await openPage(browser);
    const { page } = at;
    let known = false;
    await page.route('**/api/v1/session', (route) => {
      if (route.request().method() === 'POST') {
        known = route.request().postDataJSON().token === 'right';
        return known ? route.fulfill({ json: {} }) : route.fulfill(needed);
      }
      return known ? route.continue() : route.fulfill(needed);
    });
    await page.goto(`${base}/gates`);
    await page.waitForSelector('#token');
    assert.deepEqual(await barriers(page), []);
    assert.match(await page.getAttribute('a.oidc', 'href'), /^\/api\/v1\/login\?next=%2Fgates$/);
    if (PICTURES) await page.screenshot({ path: join(PICTURES, 'login.png') });
    await page.fill('#token', 'wrong');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[role=alert]');
    await page.fill('#token', 'right');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:text("Gates")');
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }).includes('right')), false, 'the token is kept nowhere');
    await at.check('log-in');
    await at.end();
  });

  test('a link does not lead elsewhere after log-in', async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.route('**/api/v1/session', (route) => route.fulfill(needed));
    for (const to of ['https://elsewhere.example', '//elsewhere.example', '/\\elsewhere.example']) {
      await page.goto(`${base}/login?next=${encodeURIComponent(to)}`);
      assert.equal(await page.getAttribute('a.oidc', 'href'), '/api/v1/login?next=%2F');
    }
    await at.end();
  });

  test('who may decide nothing is offered nothing to decide', async () => {
    const at = await openPage(browser);
    const { page } = at;
    await page.route('**/api/v1/session', async (route) => {
      const session = await api('session');
      return route.fulfill({ json: { ...session, name: 'grafana', roles: ['analyst'], may: { operate: false, deliver: false, steward: false, watch: false, audit: false }, log_in: 'token' } });
    });
    for (const path of ['/gates', '/feeds', '/datasets/raw.wearable_readings?tab=quarantine']) {
      await page.goto(base + path);
      await settled(page);
      assert.equal(await page.locator('button', { hasText: /Hold…|Release…|Run now|Replay|Discard/ }).count(), 0, path);
      assert.equal(await page.locator('nav >> text=Audit').count(), 0);
    }
    await page.route('**/api/v1/feeds', (route) => route.fulfill({ status: 403, json: { error: 'forbidden', message: 'feeds are for roles that may operate' } }));
    await page.goto(`${base}/feeds`);
    await page.waitForSelector('[role=alert]:has-text("feeds are for roles that may operate")');
    await at.check('roles');
    await at.end();
  });
});
