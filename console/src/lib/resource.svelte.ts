// Something that the server was asked for: what came, whether it is being asked again, and why it failed.
// Invariant: what is shown stays while it is asked again; an answer to an older question never replaces a newer one's.
import { Failure } from './api';
import { live } from './live.svelte';

/** Changes come in bursts; a page is asked again at most so often. */
const CALM_MS = 2_000;

export class Resource<A> {
  data = $state.raw<A | undefined>(undefined);
  failure = $state.raw<Failure | undefined>(undefined);
  loading = $state(true);
  at = $state<number | null>(null);
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #askedAt = 0;

  constructor(
    private readonly asks: (signal: AbortSignal) => Promise<A>,
    private readonly concerns: (datasets: string[]) => boolean = () => true,
    private readonly calmMs = CALM_MS,
  ) {}

  async ask(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#askedAt = Date.now();
    this.loading = true;
    try {
      const data = await this.asks(abort.signal);
      if (this.#abort !== abort) return;
      this.data = data;
      this.failure = undefined;
      this.at = Date.now();
    } catch (error) {
      if (this.#abort !== abort) return;
      this.failure = Failure.of(error);
    }
    this.loading = false;
  }

  /** Asks soon, once for a burst. */
  soon(): void {
    if (this.#timer || document.hidden) return;
    const waited = Date.now() - this.#askedAt;
    this.#timer = setTimeout(() => void this.ask(), Math.max(50, this.calmMs - waited));
  }

  /** Follows what changes, for as long as a component lives. */
  follow(): () => void {
    return live.on((datasets) => {
      if (datasets === null || this.concerns(datasets)) this.soon();
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = undefined;
  }
}

/** A resource for a component: asked when what it depends on changes, followed while it lives. */
export function resource<A>(
  asks: (signal: AbortSignal) => Promise<A>,
  options: { depends?: () => unknown; concerns?: (datasets: string[]) => boolean; follows?: boolean; calmMs?: number } = {},
): Resource<A> {
  const made = new Resource(asks, options.concerns, options.calmMs);
  $effect(() => {
    options.depends?.();
    void made.ask();
  });
  $effect(() => {
    const leave = options.follows === false ? undefined : made.follow();
    return () => {
      leave?.();
      made.end();
    };
  });
  return made;
}
