// An answer's rows made into what a chart draws. Pure.
import type { Grid } from './types';

export interface Series {
  label: string;
  values: (number | null)[];
}
export interface Timed {
  /** Seconds since 1970, ascending. */
  at: number[];
  series: Series[];
}

/** A number of whatever the answer has; null where it is none. */
export function num(v: unknown): number | null {
  if (v === null || v === undefined || v === '') return null;
  const n = typeof v === 'number' ? v : Number(v);
  return Number.isNaN(n) ? null : n;
}

/** A time of the answer in seconds: RFC 3339, a date, or milliseconds. */
export function seconds(v: unknown): number | null {
  if (typeof v === 'number') return v / 1000;
  if (typeof v !== 'string' || v === '') return null;
  const ms = Date.parse(/^\d{4}-\d\d-\d\d$/.test(v) ? `${v}T00:00:00Z` : v);
  return Number.isNaN(ms) ? null : ms / 1000;
}

const place = (answer: Grid, name: string): number => answer.columns.indexOf(name);
const label = (v: unknown): string => (v === null || v === undefined || v === '' ? '(none)' : String(v));

/** The key that tells series apart: values of the columns that a chart splits by, and the measure where there are several. */
function splitKey(row: unknown[], by: number[], title: string, several: boolean): string {
  const values = by.map((column) => label(row[column])).join(' · ');
  if (!values) return title;
  return several ? `${values} · ${title}` : values;
}

/** Most series in one chart: more cannot be told apart. */
export const SERIES_MAX = 8;

/** Keeps the largest series; the rest would be lines that nobody can tell apart. */
function largest<A extends { values: (number | null)[] }>(series: A[]): A[] {
  const size = (one: A): number => one.values.reduce<number>((sum, v) => sum + Math.abs(v ?? 0), 0);
  if (series.length <= SERIES_MAX) return series;
  const kept = new Set([...series].sort((a, b) => size(b) - size(a)).slice(0, SERIES_MAX));
  return series.filter((one) => kept.has(one));
}

/** A series for each value of what is split by and each measure; `at` says where a row stands. */
function split(
  answer: Grid,
  by: readonly string[],
  measures: readonly { name: string; title: string }[],
  length: number,
  at: (row: readonly unknown[]) => number | undefined,
): { series: Series[]; left: number } {
  const byAt = by.map((name) => place(answer, name)).filter((column) => column >= 0);
  const found = new Map<string, Series>();
  for (const row of answer.rows) {
    const i = at(row);
    if (i === undefined) continue;
    for (const measure of measures) {
      const key = splitKey(row, byAt, measure.title, measures.length > 1);
      let series = found.get(key);
      if (!series) found.set(key, (series = { label: key, values: new Array<number | null>(length).fill(null) }));
      series.values[i] = num(row[place(answer, measure.name)]);
    }
  }
  const all = [...found.values()];
  const kept = largest(all);
  return { series: kept, left: all.length - kept.length };
}

/** Series over time. */
export function timed(answer: Grid, time: string, by: readonly string[], measures: readonly { name: string; title: string }[]): Timed & { left: number } {
  const timeAt = place(answer, time);
  const moments = [...new Set(answer.rows.map((row) => seconds(row[timeAt])).filter((at) => at !== null))].sort((a, b) => a - b);
  const index = new Map(moments.map((at, i) => [at, i]));
  return { at: moments, ...split(answer, by, measures, moments.length, (row) => index.get(seconds(row[timeAt]) ?? NaN)) };
}

export interface Grouped {
  names: string[];
  series: Series[];
  left: number;
}

/** Bars of a dimension that is no time. */
export function grouped(answer: Grid, x: string, by: readonly string[], measures: readonly { name: string; title: string }[]): Grouped {
  const at = place(answer, x);
  const names = [...new Set(answer.rows.map((row) => label(row[at])))];
  const index = new Map(names.map((name, i) => [name, i]));
  return { names, ...split(answer, by, measures, names.length, (row) => index.get(label(row[at]))) };
}

/** One above the other: what is drawn is the sum up to each series. */
export function stacked(series: readonly Series[]): Series[] {
  const sums: number[] = [];
  return series.map((one) => ({ label: one.label, values: one.values.map((v, i) => (sums[i] = (sums[i] ?? 0) + (v ?? 0))) }));
}

export interface Cells {
  xs: string[];
  ys: string[];
  cells: { x: number; y: number; v: number }[];
  least: number;
  most: number;
}

/** A heatmap's cells, both ways in order. */
export function cells(answer: Grid, x: string, y: string, measure: string): Cells {
  const [xAt, yAt, mAt] = [place(answer, x), place(answer, y), place(answer, measure)];
  const sorted = (at: number): string[] => [...new Set(answer.rows.map((row) => label(row[at])))].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const [xs, ys] = [sorted(xAt), sorted(yAt)];
  const [xi, yi] = [new Map(xs.map((v, i) => [v, i])), new Map(ys.map((v, i) => [v, i]))];
  const found: Cells['cells'] = [];
  for (const row of answer.rows) {
    const v = num(row[mAt]);
    if (v !== null) found.push({ x: xi.get(label(row[xAt])) ?? 0, y: yi.get(label(row[yAt])) ?? 0, v });
  }
  const values = found.map((cell) => cell.v);
  return { xs, ys, cells: found, least: Math.min(...values, Infinity), most: Math.max(...values, -Infinity) };
}

export interface Pivot {
  head: string[];
  rows: { names: string[]; values: (number | null)[] }[];
}

/** A pivot table: rows by the first dimensions, a column for each value of the others and each measure. */
export function pivot(answer: Grid, rows: readonly string[], columns: readonly string[], measures: readonly { name: string; title: string }[]): Pivot {
  const text = (row: unknown[], names: readonly string[]): string[] => names.map((name) => label(row[place(answer, name)]));
  const head: string[] = [];
  const found = new Map<string, { names: string[]; at: Map<string, number | null> }>();
  for (const row of answer.rows) {
    const names = text(row, rows);
    const key = JSON.stringify(names);
    let line = found.get(key);
    if (!line) found.set(key, (line = { names, at: new Map() }));
    for (const measure of measures) {
      const column = splitKey(row, columns.map((name) => place(answer, name)), measure.title, measures.length > 1);
      if (!head.includes(column)) head.push(column);
      line.at.set(column, num(row[place(answer, measure.name)]));
    }
  }
  head.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return { head, rows: [...found.values()].map((line) => ({ names: line.names, values: head.map((column) => line.at.get(column) ?? null) })) };
}

/** A number by d3's format, as far as measures use it: `,d`, `.1f`, `,.2f`, `.1%`, `.3s`. */
export function formatted(v: unknown, format: string | null | undefined): string {
  const n = num(v);
  if (n === null) return v === null || v === undefined || v === '' ? '–' : String(v);
  const read = /^(,)?(?:\.(\d+))?(~)?([dfsrg%])?$/.exec(format ?? '');
  if (!read || !format) return new Intl.NumberFormat('en-GB', { maximumFractionDigits: Number.isInteger(n) ? 0 : Math.abs(n) < 1 ? 3 : 1 }).format(n);
  const digits = read[2] === undefined ? undefined : Number(read[2]);
  const options: Intl.NumberFormatOptions = { useGrouping: true };
  switch (read[4]) {
    case '%':
      return new Intl.NumberFormat('en-GB', { ...options, style: 'percent', minimumFractionDigits: digits ?? 0, maximumFractionDigits: digits ?? 0 }).format(n);
    case 'd':
      return new Intl.NumberFormat('en-GB', { ...options, maximumFractionDigits: 0 }).format(n);
    case 's':
    case 'r':
    case 'g':
      return new Intl.NumberFormat('en-GB', { ...options, maximumSignificantDigits: Math.max(1, digits ?? 6), notation: read[4] === 's' ? 'compact' : 'standard' }).format(n);
    default:
      return new Intl.NumberFormat('en-GB', { ...options, minimumFractionDigits: digits ?? 0, maximumFractionDigits: digits ?? 6 }).format(n);
  }
}

/** Round steps of an axis from 0 or below to above the largest value. */
export function ticks(least: number, most: number, wanted = 4): number[] {
  const low = Math.min(0, least);
  const high = most > low ? most : low + 1;
  const rough = (high - low) / wanted;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((times) => times * size >= rough) ?? 10) * size;
  const first = Math.floor(low / step);
  return Array.from({ length: Math.ceil(high / step) - first + 1 }, (_, i) => (first + i) * step);
}
