// What the server says has changed, as it says it. Pages register what they show; each is asked again when that changed.
// Invariant: a hidden tab has no connection and asks nothing; a tab that was away asks for everything when it is back.
import { ask, Failure, hooks } from './api';
import { EventReader, GOOD_MS, wait } from './backoff';

/** Without a stream (an older server, a proxy that buffers) it is asked now and then. */
const POLL_MS = 10_000;
/** After so many times it is tried to listen again. */
const COME_BACK = 6;
/** So long without a word from the server is told, and not only shown as a grey dot. */
const TOLD_MS = 4_000;
/** An absence that people should know of when it is over. */
const LONG_MS = 5 * 60_000;
/** The server says that it lives every 15 s; a connection without a word for longer is dead, whatever TCP thinks. */
const SILENT_MS = 40_000;

export type Link = 'connecting' | 'live' | 'polling' | 'away' | 'paused';
type Listener = (datasets: string[] | null) => void;

class Live {
  link = $state<Link>('connecting');
  /** Since when nothing was heard; null while all is well. */
  awaySince = $state<number | null>(null);
  /** How long the last absence was, for a note that can be closed. */
  wasAwayMs = $state<number | null>(null);
  #listeners = new Set<Listener>();
  #failures = 0;
  #lastWord = Date.now();
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  start(): void {
    if (this.#running) return;
    this.#running = true;
    hooks.answered = () => this.#heard();
    hooks.away = () => this.#lost();
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#pause() : this.#again()));
    window.addEventListener('online', () => this.#again());
    window.addEventListener('offline', () => {
      this.#stop();
      this.#lost();
      this.link = 'away';
    });
    if (document.hidden) this.link = 'paused';
    else void this.#connect();
  }

  /** Calls when something changed: with the datasets, or with null where all may have. */
  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tries at once, instead of waiting for the next try. */
  retry(): void {
    this.#again();
  }

  #tell(datasets: string[] | null): void {
    for (const listener of this.#listeners) listener(datasets);
  }

  #heard(): void {
    const now = Date.now();
    if (this.awaySince !== null) {
      const away = now - this.awaySince;
      if (away > LONG_MS) this.wasAwayMs = away;
      this.awaySince = null;
    }
    this.#lastWord = now;
  }

  #lost(): void {
    if (this.awaySince === null && (Date.now() - this.#lastWord > TOLD_MS || !navigator.onLine)) this.awaySince = this.#lastWord;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = undefined;
  }

  #pause(): void {
    this.#stop();
    this.link = 'paused';
  }

  #again(): void {
    if (!this.#running || document.hidden) return;
    this.#stop();
    this.#failures = 0;
    this.#tell(null);
    void this.#connect();
  }

  #later(ms: number, next: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(next, ms);
  }

  async #connect(): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const began = Date.now();
    try {
      const response = await ask('events', { signal: abort.signal, headers: { Accept: 'text/event-stream' } });
      const missed = this.link === 'away';
      this.link = 'live';
      if (missed) this.#tell(null);
      await this.#listen(response, abort);
    } catch (error) {
      if (abort.signal.aborted && this.#abort !== abort) return;
      if (error instanceof Failure && (error.status === 404 || error.status === 405)) return this.#poll();
      // As many browsers listen as may: this one asks now and then, and comes back for a place.
      if (error instanceof Failure && error.body.error === 'capacity') {
        this.#heard();
        return this.#poll(COME_BACK);
      }
      if (error instanceof Failure && error.status === 401) {
        this.link = 'paused';
        return;
      }
    }
    if (this.#abort !== abort) return;
    const good = Date.now() - began > GOOD_MS;
    this.#failures = good ? 0 : this.#failures + 1;
    if (!good) {
      this.#lost();
      if (this.#failures > 1) this.link = 'away';
    }
    this.#later(wait(this.#failures, Math.random()), () => void this.#connect());
  }

  async #listen(response: Response, abort: AbortController): Promise<void> {
    if (!response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const events = new EventReader();
    let guard = setTimeout(() => abort.abort(), SILENT_MS);
    try {
      for (;;) {
        const part = await reader.read();
        if (part.done) return;
        clearTimeout(guard);
        guard = setTimeout(() => abort.abort(), SILENT_MS);
        this.#heard();
        for (const event of events.take(part.value)) if (event.event === 'changed') this.#tell(changed(event.data));
      }
    } finally {
      clearTimeout(guard);
    }
  }

  #poll(times = Infinity): void {
    this.link = 'polling';
    this.#later(POLL_MS, () => {
      this.#tell(null);
      if (times > 1) this.#poll(times - 1);
      else void this.#connect();
    });
  }
}

/** The datasets that an event names; null where it does not say. */
function changed(data: string): string[] | null {
  try {
    const read = JSON.parse(data) as { datasets?: unknown };
    return Array.isArray(read.datasets) ? read.datasets.map(String) : null;
  } catch {
    return null;
  }
}

export const live = new Live();
