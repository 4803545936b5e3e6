// Asking SQL: rows as they come, with progress and an end that can be cancelled.
// Invariant: a number that JavaScript cannot hold exactly stays as it was written.
import { api, ask, Failure } from './api';
import type { Grid } from './types';

export interface Progress {
  rows: number;
  bytes: number;
}
export interface Answer extends Grid {
  types: string[];
  /** Whether there was more than was asked for. */
  more: boolean;
  ms: number;
}
export interface Asked {
  limit?: number;
  queryId?: string;
  purpose?: string;
  signal?: AbortSignal;
  /** Called now and then with what is here already. */
  progress?: (progress: Progress, soFar: Answer) => void;
}

const OFTEN_MS = 150;

/** One line of NDJSON; whole numbers beyond 2^53 come back as their digits. */
export function readLine(line: string): Record<string, unknown> {
  const read = JSON.parse(line) as Record<string, unknown>;
  if (!/\d{16}/.test(line)) return read;
  // The source of a number is known to newer browsers alone; elsewhere the number is as exact as it can be.
  type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;
  const exact: Reviver = (_key, value, context) =>
    typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source ? context.source : value;
  return JSON.parse(line, exact as (key: string, value: unknown) => unknown) as Record<string, unknown>;
}

/** The columns that the server names in a header, for an answer without rows. */
function named(response: Response): [string, string][] {
  try {
    const read: unknown = JSON.parse(decodeURIComponent(response.headers.get('X-Columns') ?? '[]'));
    return Array.isArray(read) ? (read as [string, string][]) : [];
  } catch {
    return [];
  }
}

function body(sql: string, format: string, asked: Asked): RequestInit {
  const sent: Record<string, unknown> = { sql, format };
  // One row more tells whether there is more.
  if (asked.limit !== undefined) sent.limit = asked.limit + 1;
  if (asked.queryId) sent.query_id = asked.queryId;
  if (asked.purpose) sent.purpose = asked.purpose;
  const init: RequestInit = { method: 'POST', body: JSON.stringify(sent), headers: { 'Content-Type': 'application/json' } };
  if (asked.signal) init.signal = asked.signal;
  return init;
}

/** Asks a question and gives its rows. */
export async function query(sql: string, asked: Asked = {}): Promise<Answer> {
  const began = performance.now();
  const response = await ask('query', body(sql, 'ndjson', asked));
  const columns = named(response);
  const answer: Answer = { columns: columns.map((c) => c[0]), types: columns.map((c) => c[1]), rows: [], more: false, ms: 0 };
  const take = (line: string): void => {
    if (!line) return;
    const row = readLine(line);
    if (answer.columns.length === 0) answer.columns = Object.keys(row);
    answer.rows.push(answer.columns.map((column) => row[column]));
  };
  if (!response.body) throw new Failure(0, 'the answer has no body');
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let bytes = 0;
  let told = began;
  for (;;) {
    let part: ReadableStreamReadResult<string>;
    try {
      part = await reader.read();
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') throw error;
      // The server breaks the connection where a query fails after rows were sent.
      throw new Failure(0, `the answer broke off after ${answer.rows.length} rows: the query failed, or the connection did`);
    }
    if (part.done) break;
    bytes += part.value.length;
    const lines = (rest + part.value).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
    const now = performance.now();
    if (asked.progress && now - told > OFTEN_MS) {
      told = now;
      answer.ms = now - began;
      asked.progress({ rows: answer.rows.length, bytes }, answer);
    }
  }
  take(rest);
  if (asked.limit !== undefined && answer.rows.length > asked.limit) {
    answer.more = true;
    answer.rows.length = asked.limit;
  }
  answer.ms = performance.now() - began;
  return answer;
}

/** Asks for a file of the whole answer, made by the server. */
export async function download(sql: string, format: 'csv' | 'parquet', asked: Asked = {}): Promise<Blob> {
  const whole: Asked = { ...asked };
  delete whole.limit;
  const response = await ask('query', body(sql, format, whole));
  return response.blob();
}

/** Offers a file to the reader. */
export function offer(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Ends a query at the server; that it is over already is no failure. */
export async function cancel(id: string): Promise<void> {
  try {
    await api.cancel(id);
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 404) throw error;
  }
}
