import { describe, expect, it } from 'vitest';
import { cells, formatted, grouped, pivot, SERIES_MAX, seconds, stacked, ticks, timed } from '../../src/lib/shape';

const m = [{ name: 'n', title: 'Rows' }];
const at = (hour: number): string => `2026-11-29T0${hour}:00:00.000Z`;

describe('an answer becomes series over time', () => {
  it('one for each value that it is split by, with a gap where a step has none', () => {
    const grid = { columns: ['__time', 'site', 'n'], rows: [[at(2), 'north', 3], [at(1), 'north', 1], [at(2), 'south', 5]] };
    const made = timed(grid, '__time', ['site'], m);
    expect(made.at).toEqual([seconds(at(1)), seconds(at(2))]);
    expect(made.series).toEqual([{ label: 'north', values: [1, 3] }, { label: 'south', values: [null, 5] }]);
  });
  it('measures are told apart by their titles, with the split where there are both', () => {
    const grid = { columns: ['t', 'site', 'n', 'x'], rows: [[at(1), null, 3, '4']] };
    const both = [...m, { name: 'x', title: 'Steps' }];
    expect(timed(grid, 't', [], both).series.map((one) => one.label)).toEqual(['Rows', 'Steps']);
    expect(timed(grid, 't', ['site'], both).series.map((one) => one.label)).toEqual(['(none) · Rows', '(none) · Steps']);
    expect(timed(grid, 't', [], both).series[1]?.values).toEqual([4]);
  });
  it('keeps the largest, and says how many it left', () => {
    const rows = Array.from({ length: SERIES_MAX + 3 }, (_, i) => [at(1), `s${i}`, i]);
    const made = timed({ columns: ['t', 's', 'n'], rows }, 't', ['s'], m);
    expect(made.series.length).toBe(SERIES_MAX);
    expect(made.left).toBe(3);
    expect(made.series.some((one) => one.label === 's0')).toBe(false);
  });
  it('a row without a time is no step', () => expect(timed({ columns: ['t', 'n'], rows: [[null, 1]] }, 't', [], m).at).toEqual([]));
});

it('times are read as they come', () => {
  expect(seconds('2026-11-29')).toBe(Date.UTC(2026, 10, 29) / 1000);
  expect(seconds(1_000)).toBe(1);
  expect(seconds('soon')).toBeNull();
});

it('stacked series are drawn at the sum up to them, a gap being nothing', () => {
  expect(stacked([{ label: 'a', values: [1, null] }, { label: 'b', values: [2, 3] }]).map((one) => one.values)).toEqual([[1, 0], [3, 3]]);
});

it('bars keep the order of the answer', () => {
  const made = grouped({ columns: ['d', 'n'], rows: [['z', 9], ['a', 1]] }, 'd', [], m);
  expect(made.names).toEqual(['z', 'a']);
  expect(made.series).toEqual([{ label: 'Rows', values: [9, 1] }]);
});

it('a heatmap knows its least and most, and leaves what is not there', () => {
  const made = cells({ columns: ['x', 'y', 'n'], rows: [['b', 'p10', 4], ['a', 'p9', 2], ['a', 'p10', null]] }, 'x', 'y', 'n');
  expect([made.xs, made.ys]).toEqual([['a', 'b'], ['p9', 'p10']]);
  expect([made.least, made.most, made.cells.length]).toEqual([2, 4, 2]);
});

it('a pivot has a column for each value', () => {
  const made = pivot({ columns: ['r', 'c', 'n'], rows: [['x', '2', 1], ['x', '10', 2], ['y', '2', 3]] }, ['r'], ['c'], m);
  expect(made.head).toEqual(['2', '10']);
  expect(made.rows).toEqual([{ names: ['x'], values: [1, 2] }, { names: ['y'], values: [3, null] }]);
});

it.each([
  [1234.5, ',d', '1,235'],
  [72.25, '.1f', '72.3'],
  [98, '.1f', '98.0'],
  [0.0512, '.1%', '5.1%'],
  [12.5, '', '12.5'],
  [null, '.1f', '–'],
  ['north', '.1f', 'north'],
  ['7', ',d', '7'],
])('%s by the format %s is %s', (v, format, said) => expect(formatted(v, format)).toBe(said));

it('an axis has round steps that hold all values', () => {
  expect(ticks(0, 97)).toEqual([0, 50, 100]);
  expect(ticks(-3, 3).at(0)).toBeLessThanOrEqual(-3);
});
