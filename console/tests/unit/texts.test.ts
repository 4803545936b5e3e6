import { describe, expect, it } from 'vitest';
import { aliasesIn, offers, tablesIn } from '../../src/lib/completion';
import { best, fit } from '../../src/lib/find';
import { asked, stretch } from '../../src/lib/periods';
import { bareName, fullName, ident, literal, questions, sqlLink, table } from '../../src/lib/sqltext';

describe('what is written into SQL is quoted', () => {
  it.each([
    ['steps', 'steps'],
    ['hour', '"hour"'],
    ['a b', '"a b"'],
    ['x"; DROP', '"x""; DROP"'],
    ['9lives', '"9lives"'],
  ])('the name %s', (name, said) => expect(ident(name)).toBe(said));
  it('values', () => {
    expect(literal("o'clock")).toBe("'o''clock'");
    expect(literal(null)).toBe('NULL');
    expect(literal(5)).toBe('5');
    expect(literal(Number.NaN)).toBe("'NaN'");
  });
  it('a hostile dataset stays one name', () => {
    expect(table('raw.x y')).toBe('raw."x y"');
    expect(questions.checks("raw.a' OR 1=1 --")).toContain("dataset = 'raw.a'' OR 1=1 --'");
  });
});

it('names have their layer once', () => {
  expect(fullName('raw', 'x')).toBe('raw.x');
  expect(fullName('raw', 'raw.x')).toBe('raw.x');
  expect(bareName('raw.x')).toBe('x');
});

it('a question in an address comes back as it was', () => {
  const sql = "SELECT 'a&b=c#d', x\nFROM raw.y WHERE z > 5 AND p = '+%'";
  expect(new URL(sqlLink(sql), 'http://x').searchParams.get('q')).toBe(sql);
});

describe('completion', () => {
  const schema = { 'raw.readings': ['device', 'bpm'], 'serving.vitals': ['hour', 'steps'], 'serving.vitals_live': ['hour', 'steps', '_published'] };
  const labels = (before: string, text = before): string[] => offers(before, text, schema).map((each) => each.label);
  it('offers tables after FROM', () => expect(labels('SELECT * FROM ')).toEqual(Object.keys(schema)));
  it('offers what a layer has behind its point', () => expect(labels('SELECT * FROM serving.')).toEqual(['vitals', 'vitals_live']));
  it('offers columns of the tables that are named, wherever they are named', () => expect(labels('SELECT ', 'SELECT  FROM raw.readings').slice(0, 2)).toEqual(['device', 'bpm']));
  it('offers columns behind an alias', () => expect(labels('SELECT r.', 'SELECT r. FROM raw.readings AS r')).toEqual(['device', 'bpm']));
  it('a word of SQL is no alias', () => expect([...aliasesIn('FROM raw.readings WHERE x', schema)]).toEqual([]));
  it('knows quoted names', () => expect(tablesIn('SELECT 1 FROM "raw"."readings"', schema)).toEqual(['raw.readings']));
});

describe('finding', () => {
  it('a run beats scattered letters, a beginning beats a middle', () => {
    expect(best('vit', ['a very good item', 'serving.vitals_hourly', 'raw.invitations'], (x) => x, 3)[0]).toBe('serving.vitals_hourly');
  });
  it('what lacks a letter is not found', () => expect(fit('xyz', 'serving.vitals')).toBe(0));
  it('nothing typed finds all, in their order', () => expect(best('', ['b', 'a'], (x) => x, 9)).toEqual(['b', 'a']));
});

describe('a stretch of time', () => {
  const now = Date.UTC(2026, 10, 29, 7, 5, 30);
  it('ends at the next full minute', () => expect(stretch('1h', now)).toEqual({ from: '2026-11-29T06:06:00.000Z', to: '2026-11-29T07:06:00.000Z' }));
  it('an unknown one is none', () => expect(stretch('1y', now)).toBeNull());
  it('filters go on as they are, and other keys do not', () => {
    expect(asked(new URLSearchParams('where.a=1&where.a=2&x=3&from=rubbish'), now)).toBe('where.a=1&where.a=2');
    expect(asked(new URLSearchParams('from=2026-11-28T00:00:00Z'), now)).toBe('from=2026-11-28T00%3A00%3A00.000Z');
  });
});
