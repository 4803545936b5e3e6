// HTML that the server made of Markdown, put in by an allow-list: what is not listed becomes its text, or nothing.
// The server escapes raw HTML already; this is the second lock on the same door.

/** What may stand, and as what. */
const TAGS: Record<string, string> = {
  P: 'p', UL: 'ul', OL: 'ol', LI: 'li', CODE: 'code', PRE: 'pre', STRONG: 'strong', B: 'strong', EM: 'em', I: 'em', DEL: 'del', BLOCKQUOTE: 'blockquote', TABLE: 'table', THEAD: 'thead', TBODY: 'tbody', TR: 'tr', TH: 'th', TD: 'td', HR: 'hr', BR: 'br', A: 'a',
};
/** Elements whose text is no text for people. */
const DROPPED = new Set(['SCRIPT', 'STYLE', 'TEMPLATE', 'IFRAME', 'OBJECT', 'EMBED', 'NOSCRIPT', 'SVG', 'MATH', 'TITLE', 'HEAD', 'TEXTAREA']);

/** An address that a link may have; none for what could run or load something. */
export function safeHref(href: string | null): string | null {
  if (!href) return null;
  // Browsers skip control characters and blanks within a scheme.
  const plain = href.replaceAll(/[\u0000-\u0020\u007f-\u009f]/g, '');
  if (/^(https?:\/\/|mailto:)/i.test(plain)) return plain;
  return /^(\/(?![/\\])|#|\?)/.test(plain) ? plain : null;
}

/** Headings of a text begin below the page's own, and leave no step out, however its author counted. */
function headings(body: Element): Map<string, string> {
  const used = [...new Set([...body.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((each) => each.tagName.toUpperCase()))].sort();
  return new Map(used.map((tag, i) => [tag, `h${Math.min(6, i + 2)}`]));
}

function copy(from: Node, to: Node, levels: Map<string, string>): void {
  for (const child of [...from.childNodes]) {
    if (child.nodeType === Node.TEXT_NODE) to.appendChild(document.createTextNode(child.textContent ?? ''));
    if (!(child instanceof Element)) continue;
    const tag = child.tagName.toUpperCase();
    if (DROPPED.has(tag)) continue;
    const name = levels.get(tag) ?? (Object.hasOwn(TAGS, tag) ? TAGS[tag] : undefined);
    if (!name) {
      copy(child, to, levels);
      continue;
    }
    const made = document.createElement(name);
    if (name === 'a') {
      const href = safeHref(child.getAttribute('href'));
      if (href) made.setAttribute('href', href);
      if (href && !href.startsWith('/') && !href.startsWith('#')) {
        made.setAttribute('rel', 'noopener noreferrer');
        made.setAttribute('target', '_blank');
      }
    }
    if (name === 'th') made.setAttribute('scope', 'col');
    copy(child, made, levels);
    to.appendChild(made);
  }
}

/** What may be shown of a text of HTML. It is parsed where nothing runs and nothing is loaded. */
export function sanitised(html: string): DocumentFragment {
  const inert = new DOMParser().parseFromString(html, 'text/html');
  const fragment = document.createDocumentFragment();
  copy(inert.body, fragment, headings(inert.body));
  return fragment;
}
