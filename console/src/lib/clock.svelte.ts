// What time it is, and in which zone times are shown. Invariant: while the tab is hidden nothing ticks.
import type { Zone } from './format';
import { keep, kept } from './theme.svelte';

const KEY = 'vitalake.zone';
const TICK_MS = 5_000;

class Clock {
  now = $state(Date.now());
  zone = $state<Zone>(kept(KEY) === 'local' ? 'local' : 'utc');
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    const turn = (): void => {
      clearInterval(this.#timer);
      if (document.hidden) return;
      this.now = Date.now();
      this.#timer = setInterval(() => (this.now = Date.now()), TICK_MS);
    };
    document.addEventListener('visibilitychange', turn);
    turn();
  }

  choose(zone: Zone): void {
    this.zone = zone;
    keep(KEY, zone);
  }
}

export const clock = new Clock();
