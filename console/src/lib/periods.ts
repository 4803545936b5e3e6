// Stretches of time that a reader of a dashboard can choose. Pure.

export interface Period {
  key: string;
  title: string;
  ms: number;
}

const HOUR = 3_600_000;
export const PERIODS: Period[] = [
  { key: '1h', title: 'Last hour', ms: HOUR },
  { key: '6h', title: 'Last 6 hours', ms: 6 * HOUR },
  { key: '24h', title: 'Last 24 hours', ms: 24 * HOUR },
  { key: '7d', title: 'Last 7 days', ms: 7 * 24 * HOUR },
  { key: '30d', title: 'Last 30 days', ms: 30 * 24 * HOUR },
  { key: '90d', title: 'Last 90 days', ms: 90 * 24 * HOUR },
];

/** What is asked for a choice: to the minute, so that a question stays the same for as long. */
export function stretch(key: string, now: number): { from: string; to: string } | null {
  const period = PERIODS.find((each) => each.key === key);
  if (!period) return null;
  const end = Math.ceil(now / 60_000) * 60_000;
  return { from: new Date(end - period.ms).toISOString(), to: new Date(end).toISOString() };
}

/** The API's words for what the address says: a period or two moments, and `where.DIMENSION`. */
export function asked(query: URLSearchParams, now: number): string {
  const made = new URLSearchParams();
  const relative = stretch(query.get('period') ?? '', now);
  for (const key of ['from', 'to'] as const) {
    const at = relative?.[key] ?? query.get(key);
    if (at && !Number.isNaN(Date.parse(at))) made.set(key, new Date(at).toISOString());
  }
  for (const [key, value] of query) if (key.startsWith('where.')) made.append(key, value);
  return made.toString();
}
