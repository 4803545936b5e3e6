// Answers of the API with everything in them that a sender, a colleague or an attacker could write: for the tests that
// nothing of it ever becomes markup, and that faults are told in words.

/** Texts that become script wherever a text becomes HTML. Each would set `window.hurt`. */
export const HOSTILE = [
  '<img src=x onerror="window.hurt=1">',
  '"><script>window.hurt=2</script>',
  "javascript:window.hurt=3//",
  '<svg/onload=window.hurt=4>',
  '{{constructor.constructor("window.hurt=5")()}}',
  '</title></textarea></style><iframe srcdoc="<script>parent.hurt=6</script>">',
  '\u202Egpj.exe\u0000\u2028<a href="javascript:window.hurt=7">x</a>',
];
const all = HOSTILE.join(' ');
const at = '2026-11-29T07:00:00.000Z';

export const alert = {
  fingerprint: 'f00dcafef00dcafe', alert: HOSTILE[0], state: 'firing', open: true, dataset: `raw.${HOSTILE[1]}`, severity: HOSTILE[3], owner: HOSTILE[4], since: at,
  summary: all, reason: HOSTILE[5], runbook: 'gate_held', notify: [], acknowledged_by: HOSTILE[3], silenced_until: null, inhibited_by: null, labels: { a: HOSTILE[0] },
};

export const delivery = {
  at, dataset: `raw.${HOSTILE[0]}`, state: 'held', id: 'd1', feed: HOSTILE[1], business_date: HOSTILE[3], delivery: 1, sha256: 'x', offered: 5, accepted: 0,
  quarantined: 5, duplicate: 0, since: at, reason: all, actor: HOSTILE[1], open: true,
};

export const gate = { dataset: `serving.${HOSTILE[0]}`, state: 'held', since: at, stale: true, by: HOSTILE[1], reasons: [{ rule: HOSTILE[0], got: HOSTILE[1], want: HOSTILE[3] }] };

const dataset = { name: HOSTILE[0], layer: 'raw', state: 'trouble', freshness_ms: 5, sla_ms: 3, rows: 3, rows_last_hour: 1, quarantined: 1, quarantined_last_hour: 1, reason: all };

export const today = {
  at, ready: true, waiting_for: [], datasets: [dataset], held: [gate], alerts: [alert],
  feeds: [{ name: HOSTILE[0], dataset: HOSTILE[1], state: 'late', due: at, late_by_ms: 5, last: null, message: all }],
  came_in: { from: at, step_ms: 3_600_000, series: [{ dataset: `raw.${HOSTILE[0]}`, counts: [1, 2, 3] }] }, deliveries: [delivery],
};

export const feed = {
  feed: HOSTILE[0], dataset: HOSTILE[1], source: HOSTILE[3], runs: HOSTILE[4], state: 'late', message: all, last_look_at: at, last_delivery_at: at, last_delivery: 1,
  last_date: HOSTILE[1], next_run_at: at, next_due_at: at, late_since: at, missed_runs: 0, files_waiting: 1, files_taken: 1, not_read: [HOSTILE[0]],
};

const entry = { name: HOSTILE[0], layer: 'raw', title: HOSTILE[1], description: all, owner: HOSTILE[3], kind: HOSTILE[3], tags: [HOSTILE[0], HOSTILE[3]], columns: 2, upstream: [`raw.${HOSTILE[1]}`], downstream: [] };
export const catalogue = [entry];

export const page = {
  ...entry, purpose: all, version: HOSTILE[0], sla: [{ property: HOSTILE[0], value: HOSTILE[1], unit: HOSTILE[3] }], topic: HOSTILE[0], delivery: HOSTILE[1],
  model: { sql: `SELECT '${all}'`, kind: HOSTILE[0], engine: HOSTILE[1] },
  schema: [{ name: HOSTILE[0], title: HOSTILE[1], type: HOSTILE[3], required: true, key: 1, is_time: true, description: all, unit: HOSTILE[0], classification: HOSTILE[1], mask: HOSTILE[3], seen_as: 'masked', path: HOSTILE[0] }],
  rules: [{ name: HOSTILE[0], column: HOSTILE[1], text: all, severity: HOSTILE[3], scope: 'set', latest: { at, state: 'broken', got: all, want: HOSTILE[0], failed: 3 } }],
  gate, now: dataset, versions: [{ version: 1, at, rows_added: 1, rows_removed: 0, operation: HOSTILE[0] }], quarantine: [{ rule: HOSTILE[0], rows: 3, last: at }],
};

export const lineage = {
  nodes: [{ name: HOSTILE[0], layer: 'raw', kind: HOSTILE[3], state: HOSTILE[1] }, { name: 'b', layer: 'serving', kind: 'model', state: 'held' }],
  edges: [{ from: `raw.${HOSTILE[0]}`, to: 'serving.b' }],
};

/** What a server would send that forgot to escape: the page's own sanitiser is the second lock. */
export const runbook = {
  name: 'gate_held', title: HOSTILE[0],
  sections: [
    { kind: 'text', html: `<h1>${HOSTILE.join('</h1><p>')}</p><p onclick="window.hurt=8">a</p><a href=" jav&#x09;ascript:window.hurt=9">b</a><a href="https://example.org/x">c</a><style>body{display:none}</style><form action=/x><input name=y></form><b>bold</b>` },
    { kind: 'sql', sql: `SELECT '${all}'`, now: { at, columns: [HOSTILE[0]], rows: [[HOSTILE[1]]], more: false, error: null }, then: { at, columns: ['a'], rows: [], error: HOSTILE[0] } },
  ],
};

export const dashboard = {
  name: 'x', title: HOSTILE[0], description: all, period: HOSTILE[1], from: at, to: at, refresh_s: null,
  problems: [{ file: 'dashboards/x.yaml', line: 12, column: 7, severity: 'error', code: 'unknown-key', message: `unknown key \`messure\` ${HOSTILE[0]}`, help: 'did you mean `measure`?' }],
  filters: [{ dimension: 'd', title: HOSTILE[0], multiple: true, default: [], sql: 'SELECT 1' }],
  rows: [
    [
      { id: 'a', type: 'text', width: 6, html: `<b>${all}</b>`, runbook: HOSTILE[0] },
      { id: 'b', type: 'table', title: HOSTILE[0], width: 6, sql: 'SELECT 1', dataset: 'x', measures: [{ name: 'm', title: HOSTILE[1], unit: HOSTILE[0], format: HOSTILE[3] }], dimensions: [], time: null, form: { by: [], measures: ['m'] } },
      { id: 'c', type: 'bar', title: HOSTILE[0], width: 6, sql: 'SELECT 2', dataset: 'x', measures: [{ name: 'm', title: HOSTILE[1], unit: HOSTILE[0], format: '' }], dimensions: [{ name: 'd', title: 'd', is_time: false }], time: null, form: { x: 'd', measures: ['m'] } },
      { id: 'e', type: 'line', title: HOSTILE[0], width: 6, problem: all },
    ],
  ],
};

export const audit = [{ sequence: 1, at, who: HOSTILE[0], surface: HOSTILE[1], action: HOSTILE[3], outcome: HOSTILE[0], datasets: [{ dataset: HOSTILE[0], columns: { [HOSTILE[1]]: 'clear' } }], rows: 1, purpose: HOSTILE[0], statement: { shape: all } }];

export const runbooks = [{ name: 'gate_held', title: HOSTILE[0], origin: HOSTILE[1], owners: [HOSTILE[0]], alerts: [HOSTILE[1]] }];
/** NDJSON of a query: hostile column names and values. */
export const rows = HOSTILE.map((value, i) => JSON.stringify({ d: value, m: i, [HOSTILE[0]]: value })).join('\n');
