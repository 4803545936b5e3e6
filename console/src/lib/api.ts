// The one client of the API. Invariant: every failure becomes a Failure with words that can be shown, never a silent null.
import type * as T from './types';

/** Why a request was not answered as hoped. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
  }
  /** Whatever was thrown, as one. */
  static of(error: unknown): Failure {
    return error instanceof Failure ? error : new Failure(0, error instanceof Error ? error.message : String(error));
  }
  /** Nobody answered: the network, or a server that is away. */
  get isAway(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** What is done when a name is needed; the shell sets it. */
export const hooks: { unauthorized: (failure: Failure) => void; answered: () => void; away: () => void } = {
  unauthorized: () => {},
  answered: () => {},
  away: () => {},
};

/** Reads what a refusal says: an RFC 9457 document, or whatever it is. */
async function failureOf(response: Response): Promise<Failure> {
  const text = await response.text().catch(() => '');
  let body: Record<string, unknown> = {};
  try {
    const read: unknown = JSON.parse(text);
    if (read && typeof read === 'object') body = read as Record<string, unknown>;
  } catch {
    // A proxy's page is not shown; the status says enough.
  }
  const said = body.message ?? body.detail ?? body.title;
  const message = typeof said === 'string' && said ? said : `the server answered ${response.status} ${response.statusText}`.trim();
  return new Failure(response.status, message, body);
}

/** Asks, and gives the answer as it comes; a refusal is a Failure. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  // Proves to the server that a page of this origin asks, and not a form of somebody else's.
  headers.set('X-Requested-With', 'vitalake');
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, { ...init, headers, credentials: 'same-origin', cache: 'no-cache' });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    hooks.away();
    throw new Failure(0, 'the server cannot be reached');
  }
  if (!response.ok) {
    const failure = await failureOf(response);
    if (failure.status === 401) hooks.unauthorized(failure);
    if (failure.isAway) hooks.away();
    else hooks.answered();
    throw failure;
  }
  hooks.answered();
  return response;
}

async function get<A>(path: string, signal?: AbortSignal): Promise<A> {
  const response = await ask(path, signal ? { signal } : {});
  return (await response.json()) as A;
}

async function send<A>(method: string, path: string, body?: unknown): Promise<A> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  const response = await ask(path, init);
  const text = await response.text();
  return (text ? JSON.parse(text) : null) as A;
}

const at = encodeURIComponent;

/** Who decides, where nobody has to say who he is; a proved name goes before it. */
let by = 'console';
export function signAs(name: string | null): void {
  by = name ?? 'console';
}

/** A query string of what is set. */
export function params(of: Record<string, string | number | undefined | null>): string {
  const made = new URLSearchParams();
  for (const [key, value] of Object.entries(of)) if (value !== undefined && value !== null && value !== '') made.set(key, String(value));
  const text = made.toString();
  return text ? `?${text}` : '';
}

type Signal = AbortSignal | undefined;

export const api = {
  session: (signal?: Signal) => get<T.Session>('session', signal),
  logIn: (token: string) => send<T.Session | null>('POST', 'session', { token }),
  logOut: () => send<null>('DELETE', 'session'),
  today: (signal?: Signal) => get<T.Today>('today', signal),
  catalogue: (signal?: Signal) => get<T.CatalogueEntry[]>('catalogue', signal),
  dataset: (name: string, signal?: Signal) => get<T.DatasetPage>(`catalogue/${at(name)}`, signal),
  lineage: (signal?: Signal) => get<T.Lineage>('lineage', signal),
  origins: (name: string, signal?: Signal) => get<T.Origins>(`lineage/${at(name)}`, signal),
  gates: (signal?: Signal) => get<T.Gate[]>('gates', signal),
  decideGate: (dataset: string, word: 'hold' | 'release', reason: string) => send<unknown>('POST', `gates/${at(dataset)}/${word}`, { reason, by }),
  feeds: (signal?: Signal) => get<T.Feed[]>('feeds', signal),
  runFeed: (name: string) => send<Record<string, unknown>>('POST', `feeds/${at(name)}/run`),
  deliveries: (of: { of?: string; state?: string; limit?: number }, signal?: Signal) => get<T.Delivery[]>(`deliveries${params(of)}`, signal),
  decideDelivery: (id: string, word: 'release' | 'reject', reason: string) => send<unknown>('POST', `deliveries/${at(id)}/${word}`, { reason, by }),
  rejects: (dataset: string, rule: string, signal?: Signal) =>
    get<Record<string, unknown>[]>(`quarantine/${at(dataset)}${params({ rule, limit: 50 })}`, signal),
  replay: (dataset: string, body: { rule?: string; dry_run?: boolean }) => send<Record<string, unknown>>('POST', `quarantine/${at(dataset)}/replay`, body),
  discard: (dataset: string, body: { rule?: string; reason: string }) => send<Record<string, unknown>>('POST', `quarantine/${at(dataset)}/discard`, { ...body, by }),
  alerts: (signal?: Signal) => get<T.Alert[]>('alerts', signal),
  acknowledge: (fingerprint: string, comment: string) => send<unknown>('POST', `alerts/${at(fingerprint)}/ack`, { comment, by }),
  silence: (alert: string, until: string, reason: string) => send<unknown>('POST', 'silences', { alert, until, reason, by }),
  runbooks: (signal?: Signal) => get<T.RunbookEntry[]>('runbooks', signal),
  runbook: (name: string, alert: string, signal?: Signal) => get<T.Runbook>(`runbooks/${at(name)}${params({ alert, as: 'html' })}`, signal),
  dashboards: (signal?: Signal) => get<T.DashboardEntry[]>('dashboards', signal),
  dashboard: (name: string, chosen: string, signal?: Signal) => get<T.Dashboard>(`dashboards/${at(name)}${chosen ? `?${chosen}` : ''}`, signal),
  audit: (of: Record<string, string | number | undefined>, signal?: Signal) => get<T.AuditEntry[]>(`audit${params(of)}`, signal),
  cancel: (id: string) => send<null>('DELETE', `query/${at(id)}`),
};
