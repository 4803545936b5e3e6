import { describe, expect, it } from 'vitest';
import { safeHref, tokens } from '../../src/lib/sanitise';

it.each([
  ['https://example.org/a', 'https://example.org/a'],
  ['mailto:ops@example.org', 'mailto:ops@example.org'],
  ['/datasets/raw.x', '/datasets/raw.x'],
  ['#evidence', '#evidence'],
  ['javascript:alert(1)', null],
  [' JaVa\tscript:alert(1)', null],
  ['java\u0000script:alert(1)', null],
  ['data:text/html,<script>', null],
  ['vbscript:x', null],
  ['//elsewhere.example', null],
  ['/\\elsewhere.example', null],
  ['relative', null],
  [null, null],
])('the address %s', (href, safe) => expect(safeHref(href)).toBe(safe));

describe('a text of HTML is read without any parser that runs or loads something', () => {
  const shape = (html: string): string => tokens(html).map((token) => (token.kind === 'text' ? token.text : `[${token.kind === 'close' ? '/' : ''}${token.tag}${token.kind === 'open' && token.href ? ` ${token.href}` : ''}]`)).join('');
  it.each([
    ['<p>a &amp; b &lt;img&gt;</p>', '[p]a & b <img>[/p]'],
    ['<b onclick="x()">b</b>', '[strong]b[/strong]'],
    ['<script>alert(1)</script>after', 'after'],
    ['<style>p{}</style>x', 'x'],
    ['<SCRIPT >a<b>c</SCRIPT>d', 'd'],
    ['<!-- <p> -->x', 'x'],
    ['<!-- never closed <p>', ''],
    ['<a href="https://example.org/?a=1&amp;b=2">x</a>', '[a https://example.org/?a=1&b=2]x[/a]'],
    ['<a href="jav&#x09;ascript:x">x</a>', '[a]x[/a]'],
    ["<a title='href=\"javascript:x\"' href='/y'>x</a>", '[a /y]x[/a]'],
    ['1 < 2 > 0', '1 < 2 > 0'],
    ['<img src=x onerror=y', '<img src=x onerror=y'],
    ['&#0;&#x110000;&unknown;', '\ufffd\ufffd&unknown;'],
  ])('%s', (html, said) => expect(shape(html)).toBe(said));
  it('ends on what is long and never closed', () => {
    expect(tokens('<a '.repeat(20_000)).map((token) => token.kind === 'text')).not.toContain(false);
    expect(tokens(`<a ${'"'.repeat(20_001)}`)[0]).toEqual({ kind: 'text', text: '<' });
  });
});
