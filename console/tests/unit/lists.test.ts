import { describe, expect, it } from 'vitest';
import { needs, reasonText } from '../../src/lib/attention';
import { layout, related } from '../../src/lib/layout';
import { readLine } from '../../src/lib/query';
import { runbookAddress, tone } from '../../src/lib/states';
import type { Alert, Today } from '../../src/lib/types';
import { csv, csvField, order, visible, widths } from '../../src/lib/windowed';

describe('which rows are in the document', () => {
  it.each([
    [0, 400, 100_000],
    [1_300_000, 400, 100_000],
    [2_600_000, 400, 100_000],
    [0, 400, 3],
    [999_999_999, 400, 100_000],
  ])('scrolled to %s of %s pixels', (top, height, rows) => {
    const win = visible(top, height, 26, rows);
    expect(win.first).toBeGreaterThanOrEqual(0);
    expect(win.end).toBeLessThanOrEqual(rows);
    expect(win.end - win.first).toBeLessThanOrEqual(Math.ceil(height / 26) + 24);
    const seen = Math.min(rows - 1, Math.floor(top / 26));
    expect(win.first).toBeLessThanOrEqual(seen);
    expect(win.end).toBeGreaterThan(Math.min(rows - 1, seen));
  });
  it('columns are as wide as they need to be, within bounds', () => expect(widths(['id', 'a'], [['x'.repeat(80), 1]], String)).toEqual([42, 6]));
  it('sorting is by value, nulls last both ways, and stable', () => {
    const rows = [[10], [null], [9], [10]];
    expect(order(rows, 0, false)).toEqual([2, 0, 3, 1]);
    expect(order(rows, 0, true)).toEqual([0, 3, 2, 1]);
  });
});

describe('CSV', () => {
  it.each([
    ['a,b', '"a,b"'],
    ['say "x"', '"say ""x"""'],
    ['=1+1', "'=1+1"],
    [-5, '-5'],
    [null, ''],
    [{ a: 1 }, '"{""a"":1}"'],
  ])('%s', (v, said) => expect(csvField(v)).toBe(said));
  it('has a header, and line ends of the standard', () => expect(csv(['a', 'b'], [[1, 'x']])).toBe('a,b\r\n1,x\r\n'));
});

describe('a line of an answer', () => {
  it('keeps whole numbers that a double cannot hold', () => {
    // Older engines give no source of a number: there it is as exact as it can be.
    const v = readLine('{"id":9007199254740993,"n":5}');
    expect(v.n).toBe(5);
    expect(['9007199254740993', 9007199254740992]).toContain(v.id);
  });
  it('leaves long digits within texts', () => expect(readLine('{"id":"12345678901234567890"}').id).toBe('12345678901234567890'));
});

describe('the drawing of lineage', () => {
  const edges = [{ from: 'a', to: 'c' }, { from: 'b', to: 'c' }, { from: 'c', to: 'd' }];
  it('goes from left to right', () => {
    const at = new Map(layout(['d', 'c', 'b', 'a'], edges).map((place) => [place.name, place.column]));
    expect([at.get('a'), at.get('b'), at.get('c'), at.get('d')]).toEqual([0, 0, 1, 2]);
  });
  it('gives each a place of its own, also where it goes in a circle', () => {
    const places = layout(['a', 'b', 'c'], [{ from: 'a', to: 'b' }, { from: 'b', to: 'a' }, { from: 'x', to: 'c' }]);
    expect(new Set(places.map((place) => `${place.column} ${place.row}`)).size).toBe(3);
  });
  it('knows what has to do with what', () => {
    expect([...related('a', edges)].sort()).toEqual(['a', 'c', 'd']);
    expect([...related('c', edges)].sort()).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('what needs somebody', () => {
  const none: Today = { at: '', datasets: [], held: [], alerts: [], feeds: [], came_in: { from: '', step_ms: 1, series: [] }, deliveries: [] };
  const alert = (name: string, state: string, dataset: string): Alert => ({ fingerprint: name + dataset, alert: name, state, dataset, severity: 'error', since: null, summary: 's', runbook: `http://x/runbooks/${name}` });
  it('is nothing where all is well', () => expect(needs({ ...none, alerts: [alert('a', 'resolved', 'raw.x')] })).toEqual([]));
  it('is told once where an alert says it too', () => {
    const held = [{ dataset: 'serving.x', since: '', reasons: [] }];
    expect(needs({ ...none, held }).map((need) => need.state)).toEqual(['held']);
    expect(needs({ ...none, held, alerts: [alert('gate_held', 'firing', 'serving.x')] }).map((need) => need.state)).toEqual(['firing']);
  });
  it('each leads to a runbook, worst first', () => {
    const feeds = [{ name: 'f', dataset: 'd', state: 'late', due: null, late_by_ms: 60_000, last: null }];
    const list = needs({ ...none, feeds, held: [{ dataset: 'serving.x', since: '', reasons: [{ rule: 'r', got: '1', want: '2' }] }], alerts: [alert('a', 'acknowledged', 'raw.x')] });
    expect(list.map((need) => need.state)).toEqual(['late', 'held', 'acknowledged']);
    expect(list.every((need) => need.runbook?.startsWith('/alerts/runbooks/'))).toBe(true);
  });
  it('a reason is a sentence', () => expect(reasonText({ rule: 'month_is_there', got: '446', want: 'at least 900' })).toBe('month_is_there: 446 in place of at least 900'));
});

it('a runbook has an address of ours, whatever address the alert names', () => {
  expect(runbookAddress('gate_held')).toBe('/alerts/runbooks/gate_held');
  expect(runbookAddress('https://elsewhere.example/runbooks/gate_held?x', 'fp')).toBe('/alerts/runbooks/gate_held?alert=fp');
  expect(runbookAddress('javascript:alert(1)')).toBe('/alerts/runbooks/javascript%3Aalert(1)');
});

it('a word that is not known is calm, and no error', () => expect(tone('whatever')).toBe('calm'));
