import { expect, it } from 'vitest';
import { safeHref } from '../../src/lib/sanitise';

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
