import { describe, expect, it } from 'vitest';
import { EventReader, FIRST_MS, MOST_MS, wait } from '../../src/lib/backoff';

describe('waiting before the next try', () => {
  it('grows to half a minute and no further', () => {
    const waits = Array.from({ length: 20 }, (_, i) => wait(i, 1));
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits[0]).toBe(FIRST_MS);
    expect(waits.at(-1)).toBe(MOST_MS);
  });
  it('is spread by chance, so that not all browsers come back at once', () => {
    expect(wait(5, 0)).toBeLessThan(wait(5, 1));
    expect(wait(5, 0)).toBeGreaterThan(0);
  });
});

describe('an event stream is read', () => {
  const text = 'retry: 2000\nevent: alive\ndata: {}\n\nevent: changed\ndata: {"datasets":["raw.x"]}\n\n: a comment\n\n';
  const events = [{ event: 'alive', data: '{}' }, { event: 'changed', data: '{"datasets":["raw.x"]}' }];
  it('in one piece', () => expect(new EventReader().take(text)).toEqual(events));
  it('cut anywhere', () => {
    for (let cut = 0; cut < text.length; cut += 1) {
      const reader = new EventReader();
      expect([...reader.take(text.slice(0, cut)), ...reader.take(text.slice(cut))]).toEqual(events);
    }
  });
  it('with lines of data that belong together', () => expect(new EventReader().take('data: a\ndata: b\n\n')).toEqual([{ event: 'message', data: 'a\nb' }]));
  it('with the line ends of other systems', () => expect(new EventReader().take(text.replaceAll('\n', '\r\n'))).toEqual(events));
});
