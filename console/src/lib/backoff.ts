// How long to wait before the next try, and how an event stream's text is read. Pure.

export const FIRST_MS = 500;
export const MOST_MS = 30_000;
/** A connection that held so long was good: the next one needs no waiting. */
export const GOOD_MS = 5_000;

/** Waits double up to half a minute; chance spreads browsers that lost the same server at the same moment. */
export function wait(failures: number, chance: number): number {
  if (failures <= 0) return FIRST_MS * chance;
  const most = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures, 16));
  return most / 2 + (most / 2) * chance;
}

export interface StreamEvent {
  event: string;
  data: string;
}

/** Reads server-sent events from text that comes in pieces cut anywhere. */
export class EventReader {
  #rest = '';
  take(piece: string): StreamEvent[] {
    const blocks = (this.#rest + piece).replaceAll('\r\n', '\n').split('\n\n');
    this.#rest = blocks.pop() ?? '';
    return blocks.map(read).filter((event): event is StreamEvent => event !== null);
  }
}

function read(block: string): StreamEvent | null {
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith(':')) continue;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }
  return event === 'message' && data.length === 0 ? null : { event, data: data.join('\n') };
}
