// Numbers, times and ages in words. Pure: the zone and the moment come in as arguments.

export type Zone = 'utc' | 'local';

const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });

/** A count: 1,234,567. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined || Number.isNaN(n) ? '–' : whole.format(n);
}

/** A count in little room: 1.2 k, 3.4 M. */
export function brief(n: number | null | undefined): string {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  const size = Math.abs(n);
  if (size < 10_000) return Number.isInteger(n) ? whole.format(n) : String(Number(n.toPrecision(3)));
  for (const [limit, mark] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']] as const) {
    if (size >= limit) return `${Number((n / limit).toPrecision(3))} ${mark}`;
  }
  return whole.format(n);
}

/** A measured value with so many decimals. */
export function value(n: unknown, decimals?: number | null): string {
  if (n === null || n === undefined) return '–';
  if (typeof n !== 'number') return text(n);
  if (!Number.isFinite(n)) return String(n);
  const places = decimals ?? (Number.isInteger(n) ? 0 : Math.abs(n) < 1 ? 3 : 1);
  return new Intl.NumberFormat('en-GB', { minimumFractionDigits: decimals ?? 0, maximumFractionDigits: places }).format(n);
}

/** Any value of a row, as text. */
export function text(v: unknown): string {
  if (v === null || v === undefined) return '';
  if (typeof v === 'object') return JSON.stringify(v);
  return String(v);
}

const STEPS: [number, string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
];

/** A length of time in its two largest steps at most: 3 h 20 min. Beside minutes no seconds: nobody acts on them. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  const sign = ms < 0 ? '−' : '';
  const size = Math.abs(ms);
  if (size < 1) return '0 s';
  if (size < 1_000) return `${sign}<1 s`;
  const first = STEPS.findIndex(([step]) => size >= step);
  const [step, mark] = STEPS[first] ?? [1_000, 's'];
  const whole = Math.floor(size / step);
  const [finer, finerMark] = STEPS[first + 1] ?? [0, ''];
  const rest = finer > 1_000 ? Math.floor((size - whole * step) / finer) : 0;
  return `${sign}${whole} ${mark}${rest > 0 ? ` ${rest} ${finerMark}` : ''}`;
}

/** Milliseconds of a time that the API sent; null where there is none. */
export function millis(at: string | number | null | undefined): number | null {
  if (at === null || at === undefined || at === '') return null;
  const read = typeof at === 'number' ? at : Date.parse(at);
  return Number.isNaN(read) ? null : read;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** The zone's name as it stands beside times: UTC, or +02:00. */
export function zoneName(zone: Zone, ms: number): string {
  if (zone === 'utc') return 'UTC';
  const offset = -new Date(ms).getTimezoneOffset();
  if (offset === 0) return 'local, UTC+0';
  const size = Math.abs(offset);
  return `UTC${offset < 0 ? '−' : '+'}${Math.floor(size / 60)}${size % 60 ? `:${two(size % 60)}` : ''}`;
}

function parts(ms: number, zone: Zone): [number, number, number, number, number, number] {
  const d = new Date(ms);
  return zone === 'utc'
    ? [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()]
    : [d.getFullYear(), d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()];
}

/** 2026-11-29 07:12:30, with its zone. */
export function moment(ms: number, zone: Zone, seconds = true): string {
  const [y, m, d, h, min, s] = parts(ms, zone);
  return `${y}-${two(m)}-${two(d)} ${two(h)}:${two(min)}${seconds ? `:${two(s)}` : ''} ${zoneName(zone, ms)}`;
}

/** As short as it stays clear beside today: 07:12 today, else 28 Nov 07:12. The zone is added by whoever shows it. */
export function clock(ms: number, zone: Zone, now: number): string {
  const [y, m, d, h, min] = parts(ms, zone);
  const [ny, nm, nd] = parts(now, zone);
  const time = `${two(h)}:${two(min)}`;
  if (y === ny && m === nm && d === nd) return time;
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][m - 1] ?? '';
  return y === ny ? `${d} ${month} ${time}` : `${y}-${two(m)}-${two(d)} ${time}`;
}

/** How long ago, or in how long. */
export function ago(ms: number, now: number): string {
  const age = now - ms;
  if (Math.abs(age) < 2_000) return 'now';
  return age >= 0 ? `${span(age)} ago` : `in ${span(-age)}`;
}

/** A name in words: patients_seen → Patients seen. */
export function words(name: string): string {
  const spaced = name.replaceAll('_', ' ').trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** One and many. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`;
}
