// SQL that stands behind what is shown. Pure; every name and value goes through a quote.

/** A name as SQL has it; plain where it needs no quotes. */
export function ident(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !RESERVED.has(name.toUpperCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** A value as SQL has it. */
export function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (typeof value === 'boolean') return value ? 'TRUE' : 'FALSE';
  return `'${String(value).replaceAll("'", "''")}'`;
}

/** layer.name, quoted where that is needed. */
export function table(full: string): string {
  const point = full.indexOf('.');
  return point < 0 ? ident(full) : `${ident(full.slice(0, point))}.${ident(full.slice(point + 1))}`;
}

/** layer.name of what the API calls with or without its layer. */
export function fullName(layer: string | null | undefined, name: string): string {
  return name.includes('.') || !layer ? name : `${layer}.${name}`;
}

/** The name behind the layer. */
export function bareName(full: string): string {
  return full.slice(full.indexOf('.') + 1);
}

/** The address of the SQL page with a question in it, which is asked at once. */
export function sqlLink(sql: string): string {
  return `/sql?q=${encodeURIComponent(sql)}`;
}

export const questions = {
  rows: (full: string) => `SELECT COUNT(*) AS n\nFROM ${table(full)}`,
  lastHour: (all: readonly string[]) =>
    all.map((full) => `SELECT ${literal(full)} AS dataset, COUNT(*) AS n FROM ${table(full)} WHERE _ingested_at >= CURRENT_TIMESTAMP - INTERVAL '1' HOUR`).join('\nUNION ALL\n'),
  cameIn: (full: string) =>
    `SELECT TIME_FLOOR(_ingested_at, 'PT1H') AS hour, COUNT(*) AS n\nFROM ${table(full)}\nWHERE _ingested_at >= CURRENT_TIMESTAMP - INTERVAL '1' DAY\nGROUP BY 1\nORDER BY 1`,
  newest: (full: string) => `SELECT MAX(__time) AS newest\nFROM ${table(full)}`,
  first: (full: string) => `SELECT *\nFROM ${table(full)}\nORDER BY __time DESC\nLIMIT 100`,
  rejects: (full: string) =>
    `SELECT _rule, COUNT(*) AS n, MAX(_quarantined_at) AS last_at\nFROM ${table(`quarantine.${bareName(full)}`)}\nGROUP BY 1\nORDER BY n DESC`,
  rejectsOf: (full: string, rule: string) =>
    `SELECT _quarantined_at, _rule, _reason\nFROM ${table(`quarantine.${bareName(full)}`)}\nWHERE _rule = ${literal(rule)}\nORDER BY _quarantined_at DESC\nLIMIT 100`,
  checks: (full: string, rule?: string) =>
    `SELECT at, rule, scope, got, want, passed\nFROM ops.checks\nWHERE dataset = ${literal(full)}${rule ? ` AND rule = ${literal(rule)}` : ''}\nORDER BY at DESC\nLIMIT 100`,
  gates: (full: string) => `SELECT at, decision, reasons, actor, comment\nFROM ops.gates\nWHERE dataset = ${literal(full)}\nORDER BY at DESC\nLIMIT 100`,
  alerts: (name: string) => `SELECT at, alert, dataset, state, summary\nFROM ops.alerts\nWHERE alert = ${literal(name)}\nORDER BY at DESC\nLIMIT 100`,
  deliveries: (full: string) => `SELECT *\nFROM ops.deliveries\nWHERE dataset = ${literal(full)}\nORDER BY at DESC\nLIMIT 100`,
  waiting: (full: string) => `SELECT _published, COUNT(*) AS n\nFROM ${table(`${full}_live`)}\nGROUP BY 1`,
};

const RESERVED = new Set(
  'ALL AND ANY AS ASC AT BETWEEN BY CASE CAST COLUMN CROSS CURRENT DATE DAY DEFAULT DESC DISTINCT ELSE END EXISTS FALSE FETCH FILTER FOR FROM FULL GROUP HAVING HOUR IN INNER INTERVAL INTO IS JOIN LEFT LIKE LIMIT MINUTE MONTH NOT NULL OF OFFSET ON OR ORDER OUTER OVER PARTITION POSITION RANGE RIGHT ROW ROWS SECOND SELECT SET TABLE THEN TIME TIMESTAMP TO TRUE UNION UNIQUE USER USING VALUE VALUES WHEN WHERE WITH YEAR'.split(
    ' ',
  ),
);
