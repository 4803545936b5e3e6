// The keyboard, first: letters go to pages, j and k through a list, Enter opens, Esc closes.
// Invariant: nothing is taken from somebody who types into a field.
import { router } from './router.svelte';

export interface Shortcut {
  keys: string;
  what: string;
}

/** `g` and then a letter goes to a page. */
export const PAGES: { key: string; path: string; title: string }[] = [
  { key: 't', path: '/', title: 'Today' },
  { key: 'd', path: '/datasets', title: 'Datasets' },
  { key: 'l', path: '/lineage', title: 'Lineage' },
  { key: 'h', path: '/gates', title: 'Gates' },
  { key: 'f', path: '/feeds', title: 'Feeds and deliveries' },
  { key: 'a', path: '/alerts', title: 'Alerts' },
  { key: 'b', path: '/dashboards', title: 'Dashboards' },
  { key: 's', path: '/sql', title: 'SQL' },
  { key: 'u', path: '/audit', title: 'Audit' },
];

export const SHORTCUTS: Shortcut[] = [
  { keys: '⌘K or Ctrl K', what: 'find anything and go there' },
  { keys: 'g then a letter', what: PAGES.map((page) => `${page.key} ${page.title}`).join(', ') },
  { keys: 'j k', what: 'next and previous row of a list; Enter opens it' },
  { keys: '/', what: 'to the filter of a page' },
  { keys: 'Ctrl Enter', what: 'in SQL: run what is written' },
  { keys: 'Esc', what: 'close, cancel, leave a field' },
  { keys: '?', what: 'this list' },
];

class Overlays {
  palette = $state(false);
  help = $state(false);
}
export const overlays = new Overlays();

/** Whether a key goes to a field that takes text. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** Moves the focus among the rows of the page's lists. */
function step(by: 1 | -1): boolean {
  const rows = [...document.querySelectorAll<HTMLElement>('main [data-row]')].filter((row) => row.offsetParent !== null);
  if (rows.length === 0) return false;
  const links = rows.map((row) => (row.matches('a, button') ? row : row.querySelector<HTMLElement>('[data-open]'))).filter((link) => link !== null);
  const now = links.findIndex((link) => link === document.activeElement || link.closest('[data-row]')?.contains(document.activeElement));
  const next = links[now < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, now + by))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
  return true;
}

let leader = 0;
const LEADER_MS = 1_500;

export function onKey(event: KeyboardEvent): void {
  if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    overlays.palette = !overlays.palette;
    return;
  }
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
  if (isTyping(event)) {
    if (event.key === 'Escape' && event.target instanceof HTMLElement && !document.querySelector('dialog[open]')) event.target.blur();
    return;
  }
  if (document.querySelector('dialog[open]')) return;
  if (event.timeStamp - leader < LEADER_MS && leader > 0) {
    leader = 0;
    const page = PAGES.find((each) => each.key === event.key);
    if (page) {
      event.preventDefault();
      router.go(page.path);
      return;
    }
  }
  if (take(event)) event.preventDefault();
}

function take(event: KeyboardEvent): boolean {
  switch (event.key) {
    case 'g':
      leader = event.timeStamp;
      return true;
    case 'j':
      return step(1);
    case 'k':
      return step(-1);
    case '?':
      overlays.help = true;
      return true;
    case '/': {
      const field = document.querySelector<HTMLElement>('main [data-filter]');
      field?.focus();
      return field !== null;
    }
    default:
      return false;
  }
}
