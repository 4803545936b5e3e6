// What the API answers, as far as the pages read it. A field that an older server does not send is optional.

export interface Session {
  name: string | null;
  roles: string[];
  may: { operate: boolean; deliver?: boolean; steward: boolean; watch?: boolean; audit: boolean };
  log_in: LogIn;
  project: string;
  version: string;
  started_at: string;
}
export type LogIn = 'none' | 'token' | 'oidc' | 'both';

export interface Today {
  at: string;
  datasets: TodayDataset[];
  held: { dataset: string; since: string; reasons: Reason[] }[];
  alerts: Alert[];
  feeds: { name: string; dataset: string; state: string; due: string | null; late_by_ms: number | null; last: string | null }[];
  came_in: { from: string; step_ms: number; series: { dataset: string; counts: number[] }[] };
  deliveries: Delivery[];
}
export interface TodayDataset {
  name: string;
  layer: string;
  state: string;
  freshness_ms: number | null;
  sla_ms: number | null;
  rows: number | null;
  rows_last_hour: number | null;
  quarantined_last_hour: number | null;
  reason: string | null;
}

export interface CatalogueEntry {
  name: string;
  layer: string;
  title: string | null;
  description: string | null;
  owner: string | null;
  kind: string;
  tags: string[];
  columns: number;
  model?: string | null;
  upstream: string[];
  downstream: string[];
}
export interface Column {
  name: string;
  type: string;
  title?: string | null;
  unit?: string | null;
  is_time?: boolean;
  required: boolean;
  key: number | boolean | null;
  description: string | null;
  classification: string | null;
  mask: string | null;
  seen_as: string;
  path: string | null;
}
export interface Rule {
  name: string;
  column: string | null;
  text: string;
  severity: string;
  scope: string | null;
  latest: { at: string; state: string; got: unknown; want: unknown; failed: number | null } | null;
}
export interface DatasetPage {
  name: string;
  layer: string;
  title: string | null;
  purpose: string | null;
  description?: string | null;
  owner: string | null;
  version: string | null;
  sla: { property: string; value: unknown; unit: string | null }[];
  kind: string;
  model: { sql: string; kind: string; engine: string | null } | null;
  topic: string | null;
  delivery: unknown;
  schema: Column[];
  rules: Rule[];
  gate: Gate | null;
  now?: TodayDataset | null;
  upstream: string[];
  downstream: string[];
  versions: { version: number; at: string; rows_added: number | null; rows_removed: number | null; operation: string | null }[];
  quarantine: { rule: string; rows: number; last: string | null }[];
}

export type Reason = string | { rule?: string; message?: string; got?: unknown; want?: unknown; [key: string]: unknown };
export interface Gate {
  dataset: string;
  state: string;
  since: string;
  reasons: Reason[];
  stale: boolean;
  freshness_seconds?: number | null;
  waiting_rows?: number | null;
  by?: string | null;
}

export interface Feed {
  feed: string;
  dataset: string;
  source: string;
  runs: string;
  state: string;
  message: string | null;
  last_look_at: string | null;
  last_delivery_at: string | null;
  last_delivery: number | string | null;
  last_date: string | null;
  next_run_at: string | null;
  next_due_at: string | null;
  late_since: string | null;
  missed_runs: number;
  files_waiting: number;
  files_taken: number;
  not_read: unknown[];
}
export interface Delivery {
  since?: string | null;
  at: string;
  dataset: string;
  state: string;
  id: string | null;
  feed: string | null;
  business_date: string | null;
  delivery: number | null;
  sha256: string | null;
  offered: number | null;
  accepted: number | null;
  quarantined: number | null;
  duplicate: number | null;
  reason: string | null;
  actor: string | null;
  open: boolean;
}

export interface Alert {
  labels?: Record<string, string>;
  reason?: string | null;
  notify?: string[];
  inhibited_by?: string | null;
  fingerprint: string;
  alert: string;
  state: string;
  dataset: string | null;
  rule?: string | null;
  severity: string;
  owner?: string | null;
  since: string | null;
  summary: string | null;
  runbook: string | null;
  open?: boolean;
  silenced_until?: string | null;
  acknowledged_by?: string | null;
  comment?: string | null;
}

export interface Grid {
  at?: string;
  columns: string[];
  rows: unknown[][];
  error?: string | null;
  more?: boolean;
}
export interface Runbook {
  name: string;
  title: string;
  sections: ({ kind: 'text'; html: string } | { kind: 'sql'; sql: string; now: Grid | null; then: Grid | null })[];
}
export interface RunbookEntry {
  name: string;
  title: string;
  origin: string;
  owners: string[];
  alerts: string[];
}

export interface Problem {
  file: string;
  line: number;
  column: number;
  severity?: string;
  code?: string;
  message: string;
  help: string | null;
}
export interface Measure {
  name: string;
  title: string;
  unit: string | null;
  format: string | null;
  description?: string | null;
}
export interface Dimension {
  name: string;
  title: string;
  is_time: boolean;
}
/** Which of a chart's names goes where. */
export interface Form {
  measure?: string;
  measures?: string[];
  trend?: boolean;
  x?: string;
  y?: string;
  by?: string | string[] | null;
  stacked?: boolean;
  rows?: string[];
  columns?: string[];
}
export interface Chart {
  id: string;
  title: string | null;
  description?: string | null;
  type: string;
  width: number;
  height?: number | null;
  sql?: string;
  dataset?: string;
  unit?: string | null;
  format?: string | null;
  measures?: Measure[];
  dimensions?: Dimension[];
  time?: string | null;
  grain?: string | null;
  form?: Form;
  limit?: number;
  problem?: string;
  html?: string;
  runbook?: string | null;
}
export interface DashboardFilter {
  dimension: string;
  title: string;
  multiple?: boolean;
  default?: string[] | string | null;
  sql?: string;
}
export interface Dashboard {
  name: string;
  title: string;
  description?: string | null;
  period?: string;
  from?: string | null;
  to?: string | null;
  refresh_s?: number | null;
  problems: Problem[];
  filters: DashboardFilter[];
  rows: Chart[][];
}
export interface DashboardEntry {
  name: string;
  title: string;
  description?: string | null;
  problems: number;
  charts: number;
}

export interface AuditEntry {
  sequence?: number;
  at: string;
  who: string | null;
  by?: string | null;
  roles?: string[];
  surface: string;
  action: string;
  outcome: string;
  datasets?: unknown;
  purpose?: string | null;
  policy?: string | null;
  rows?: number | null;
  statement?: { shape?: string } | null;
  [key: string]: unknown;
}
export interface Lineage {
  nodes: { name: string; layer: string; kind: string; state: string | null }[];
  edges: { from: string; to: string }[];
}
export interface Origin {
  dataset: string;
  column: string;
  how: string;
}
export interface Origins {
  name: string;
  layer: string;
  columns: { name: string; from: Origin[] }[];
  conditions: Origin[];
}
