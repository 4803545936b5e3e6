// The address is the state: which page, which filter, which row. Invariant: what is shown can be sent to somebody as a link.

class Router {
  path = $state(location.pathname);
  search = $state(location.search);
  readonly query = $derived(new URLSearchParams(this.search));

  constructor() {
    window.addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => this.#follow(event));
  }

  /** Goes to an address of ours. */
  go(address: string, replace = false): void {
    const before = this.path;
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#read();
    if (this.path !== before) window.scrollTo(0, 0);
  }

  /** Changes keys of the query; an empty value takes a key away. */
  set(changes: Record<string, string | string[] | null | undefined>, replace = true): void {
    const next = new URLSearchParams(this.search);
    for (const [key, value] of Object.entries(changes)) {
      next.delete(key);
      for (const each of Array.isArray(value) ? value : [value]) if (each) next.append(key, each);
    }
    const text = next.toString();
    const address = this.path + (text ? `?${text}` : '');
    if (address !== this.path + this.search) this.go(address, replace);
  }

  get(key: string): string {
    return this.query.get(key) ?? '';
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    // Links of drawings are SVG elements, which have no `origin` and no `pathname` of their own.
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const href = link?.getAttribute('href');
    if (!link || !href || link.getAttribute('target') || link.hasAttribute('download')) return;
    const to = new URL(href, location.href);
    if (to.origin !== location.origin || !isPage(to.pathname) || href.startsWith('#')) return;
    event.preventDefault();
    this.go(to.pathname + to.search);
  }
}

/** Whether an address is a page of ours, and not the server's own. */
export function isPage(path: string): boolean {
  return !/^\/(api|assets|ingest|druid|feeds\/[^/]+\/run|runbooks|health|metrics|status)(\/|$)/.test(path);
}

export const router = new Router();
