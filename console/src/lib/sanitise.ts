// HTML that the server made of Markdown, put in by an allow-list: what is not listed leaves its text, or nothing.
//
// The server escapes raw HTML already; this is the second lock on the same door. No HTML parser of the browser sees the text:
// it is read into tokens here, and of these only listed elements are made, with no attribute but a link's address.

/** What may stand. Headings get their level from `headings`. */
const TAGS = new Set('p ul ol li code pre strong em del blockquote table thead tbody tr th td hr br a'.split(' '));
const SAME: Record<string, string> = { b: 'strong', i: 'em' };
const VOID = new Set(['hr', 'br']);
/** Elements whose text is no text for people. */
const DROPPED = new Set(['script', 'style']);

export type Token = { kind: 'text'; text: string } | { kind: 'open'; tag: string; href: string | null } | { kind: 'close'; tag: string };

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

function decoded(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,6}));/gi, (whole, hex?: string, digits?: string, name?: string) => {
    if (name) return Object.hasOwn(NAMED, name) ? (NAMED[name] ?? whole) : whole;
    const code = hex ? Number.parseInt(hex, 16) : Number(digits);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
  });
}

/** An address that a link may have; none for what could run or load something. */
export function safeHref(href: string | null): string | null {
  if (!href) return null;
  // Browsers skip control characters and blanks within a scheme.
  const plain = href.replaceAll(/[\u0000-\u0020\u007f-\u009f]/g, '');
  if (/^(https?:\/\/|mailto:)/i.test(plain)) return plain;
  return /^(\/(?![/\\])|#|\?)/.test(plain) ? plain : null;
}

const PIECE = /<!--[\s\S]*?(?:-->|$)|<(\/?)([a-z][a-z0-9]*)((?:[^<>"']|"[^"]*"|'[^']*')*)>|[^<]+|</gi;

/** Reads a text of HTML. What is no tag is text, whatever it looks like. */
export function tokens(html: string): Token[] {
  const found: Token[] = [];
  let dropped = '';
  for (const [piece, slash, name, attributes] of html.matchAll(PIECE)) {
    if (name === undefined) {
      if (!dropped && !piece.startsWith('<!--')) found.push({ kind: 'text', text: decoded(piece) });
      continue;
    }
    const tag = SAME[name.toLowerCase()] ?? name.toLowerCase();
    if (dropped) {
      if (slash && tag === dropped) dropped = '';
    } else if (DROPPED.has(tag)) dropped = slash ? '' : tag;
    else if (slash) found.push({ kind: 'close', tag });
    else {
      const href = /(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/i.exec(attributes ?? '');
      found.push({ kind: 'open', tag, href: href ? safeHref(decoded(href[1] ?? href[2] ?? href[3] ?? '')) : null });
    }
  }
  return found;
}

/** Headings of a text begin below the page's own, and leave no step out, however its author counted. */
function headings(all: readonly Token[]): Map<string, string> {
  const used = [...new Set(all.flatMap((token) => (token.kind === 'open' && /^h[1-6]$/.test(token.tag) ? [token.tag] : [])))].sort();
  return new Map(used.map((tag, i) => [tag, `h${Math.min(6, i + 2)}`]));
}

function element(name: string, href: string | null): HTMLElement {
  const made = document.createElement(name);
  if (name === 'th') made.setAttribute('scope', 'col');
  if (name !== 'a' || !href) return made;
  made.setAttribute('href', href);
  if (!href.startsWith('/') && !href.startsWith('#')) {
    made.setAttribute('rel', 'noopener noreferrer');
    made.setAttribute('target', '_blank');
  }
  return made;
}

/** What may be shown of a text of HTML. */
export function sanitised(html: string): DocumentFragment {
  const all = tokens(html);
  const levels = headings(all);
  const nameOf = (tag: string): string | undefined => levels.get(tag) ?? (TAGS.has(tag) ? tag : undefined);
  const fragment = document.createDocumentFragment();
  const open: { name: string; node: Node }[] = [];
  for (const token of all) {
    const top = open.at(-1)?.node ?? fragment;
    if (token.kind === 'text') {
      top.appendChild(document.createTextNode(token.text));
      continue;
    }
    const name = nameOf(token.tag);
    if (!name) continue;
    if (token.kind === 'close') {
      const at = open.findLastIndex((each) => each.name === name);
      if (at >= 0) open.length = at;
      continue;
    }
    const node = element(name, token.href);
    top.appendChild(node);
    if (!VOID.has(name)) open.push({ name, node });
  }
  return fragment;
}
