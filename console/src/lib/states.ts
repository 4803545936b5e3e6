// What a state's word means for the eye: its tone, what it says, and which runbook helps. One table for all pages.

export type Tone = 'good' | 'warn' | 'bad' | 'held' | 'calm';

const TONES: Record<string, Tone> = {
  fresh: 'good', ok: 'good', passed: 'good', loaded: 'good', published: 'good', released: 'good', resolved: 'good', done: 'good', running: 'good', balanced: 'good', on_time: 'good', clear: 'calm',
  stale: 'warn', warning: 'warn', pending: 'warn', acknowledged: 'warn', no_data: 'calm', late: 'bad', silenced: 'calm', masked: 'warn', hidden: 'calm', catching_up: 'warn', recovering: 'warn', refused: 'warn', abandoned: 'warn', expired: 'warn',
  trouble: 'bad', failed: 'bad', stalled: 'bad', firing: 'bad', error: 'bad', critical: 'bad', away: 'bad', rejected: 'bad', broken: 'bad', unreachable: 'bad',
  held: 'held', hold: 'held',
  waiting: 'calm', info: 'calm', elsewhere: 'calm', begun: 'calm', idle: 'calm', replaced: 'calm', unknown: 'calm',
};

export function tone(state: string): Tone {
  return TONES[state.toLowerCase()] ?? 'calm';
}

/** Runbooks that every project has, by what is wrong. */
const RUNBOOKS: Record<string, string> = {
  stale: 'source_silent',
  held: 'gate_held',
  delivery: 'delivery_held',
  late: 'feed_late',
  away: 'feed_late',
  quarantine: 'poison_records',
  trouble: 'landing_lag',
  stalled: 'landing_lag',
  failed: 'landing_lag',
  error: 'landing_lag',
  unreachable: 'store_unreachable',
  books: 'conservation_broken',
};

/** The address of the runbook for a state; none where all is well. */
export function runbookFor(state: string): string | null {
  const name = RUNBOOKS[state];
  return name ? runbookAddress(name) : null;
}

/** A runbook's name, of what the API gives: the name, or a whole address that ends in it. */
export function runbookName(given: string): string {
  return given.split('?')[0]?.replace(/\/+$/, '').split('/').pop() ?? given;
}

export function runbookAddress(name: string, alert = ''): string {
  return `/alerts/runbooks/${encodeURIComponent(runbookName(name))}${alert ? `?alert=${encodeURIComponent(alert)}` : ''}`;
}

/** Worst first, as a list is read in the morning. */
const RANK: Record<Tone, number> = { bad: 0, held: 1, warn: 2, calm: 3, good: 3 };
export function rank(state: string): number {
  return RANK[tone(state)];
}
