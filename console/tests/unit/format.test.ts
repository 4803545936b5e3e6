import { describe, expect, it } from 'vitest';
import { ago, brief, clock, count, moment, span, value, words } from '../../src/lib/format';

describe('a length of time is told in its two largest steps', () => {
  it.each([
    [0, '0 s'],
    [400, '<1 s'],
    [1_000, '1 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [792_000, '13 min'],
    [3_600_000, '1 h'],
    [12_000_000, '3 h 20 min'],
    [90_000_000, '1 d 1 h'],
    [-120_000, '−2 min'],
    [null, '–'],
  ])('%s ms', (ms, said) => expect(span(ms)).toBe(said));
});

describe('times say their zone', () => {
  const at = Date.UTC(2026, 10, 29, 7, 5, 9);
  it('with the day, where that is asked', () => expect(moment(at, 'utc')).toBe('2026-11-29 07:05:09 UTC'));
  it('today needs no date', () => expect(clock(at, 'utc', at + 3_600_000)).toBe('07:05'));
  it('yesterday does', () => expect(clock(at, 'utc', at + 86_400_000)).toBe('29 Nov 07:05'));
  it('ages have a direction', () => {
    expect(ago(at, at + 125_000)).toBe('2 min ago');
    expect(ago(at, at - 125_000)).toBe('in 2 min');
    expect(ago(at, at + 500)).toBe('now');
  });
});

it('counts keep every digit, and short forms three', () => {
  expect(count(1234567)).toBe('1,234,567');
  expect(brief(61_637)).toBe('61.6 k');
  expect(brief(745)).toBe('745');
  expect(count(null)).toBe('–');
});

it('values have the decimals that their measure says', () => {
  expect(value(72.349, 1)).toBe('72.3');
  expect(value(98, 1)).toBe('98.0');
  expect(value(0.0421)).toBe('0.042');
  expect(value('north')).toBe('north');
});

it('a name is made words', () => expect(words('patients_seen')).toBe('Patients seen'));
