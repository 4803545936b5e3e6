// Dark or light: what the system says, until somebody chooses. The choice stays in this browser alone.
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'vitalake.theme';

/** Reads a setting; a browser that keeps nothing is no reason to fail. */
export function kept(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keeps a setting, where the browser keeps anything. */
export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

function first(): Theme {
  const said = kept(KEY);
  return said === 'light' || said === 'dark' ? said : 'system';
}

const dark = window.matchMedia('(prefers-color-scheme: dark)');

class Themes {
  chosen = $state<Theme>(first());
  #systemDark = $state(dark.matches);
  /** Charts draw on a canvas and have to know which one it is. */
  readonly isDark = $derived(this.chosen === 'dark' || (this.chosen === 'system' && this.#systemDark));

  constructor() {
    dark.addEventListener('change', (event) => (this.#systemDark = event.matches));
    this.#show();
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    keep(KEY, theme);
    this.#show();
  }

  #show(): void {
    if (this.chosen === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.chosen;
  }
}

export const theme = new Themes();
