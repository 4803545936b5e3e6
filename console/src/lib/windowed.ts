// Which rows of a long table are in the document. Pure.

export interface Window {
  first: number;
  /** One past the last. */
  end: number;
}

/** Rows that can be seen, with some before and after, so that scrolling finds them there. */
export function visible(scrollTop: number, height: number, rowHeight: number, rows: number, spare = 12): Window {
  const top = Math.max(0, Math.floor(scrollTop / rowHeight) - spare);
  const shown = Math.ceil(height / rowHeight) + 2 * spare;
  const first = Math.min(top, Math.max(0, rows - shown));
  return { first, end: Math.min(rows, first + shown) };
}

/** Widths of columns in characters, from their names and first rows. */
export function widths(columns: readonly string[], rows: readonly unknown[][], show: (v: unknown) => string, least = 6, most = 42): number[] {
  return columns.map((name, i) => {
    let size = name.length + 2;
    for (let r = 0; r < Math.min(rows.length, 200); r += 1) size = Math.max(size, show(rows[r]?.[i]).length);
    return Math.min(most, Math.max(least, size));
  });
}

/** Order of rows by a column: numbers as numbers, nulls last whichever way. */
export function order(rows: readonly unknown[][], column: number, descending: boolean): number[] {
  const places = rows.map((_, i) => i);
  const sign = descending ? -1 : 1;
  return places.sort((a, b) => {
    const [x, y] = [rows[a]?.[column], rows[b]?.[column]];
    const [noX, noY] = [x === null || x === undefined, y === null || y === undefined];
    if (noX || noY) return noX && noY ? a - b : noX ? 1 : -1;
    if (typeof x === 'number' && typeof y === 'number') return (x - y) * sign || a - b;
    const [s, t] = [String(x), String(y)];
    return (s < t ? -1 : s > t ? 1 : 0) * sign || a - b;
  });
}

/** One field of CSV. What a spreadsheet would take for a formula is made text. */
export function csvField(v: unknown): string {
  if (v === null || v === undefined) return '';
  const text = typeof v === 'object' ? JSON.stringify(v) : String(v);
  const safe = typeof v === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(columns: readonly string[], rows: readonly unknown[][]): string {
  return [columns.map(csvField).join(','), ...rows.map((row) => row.map(csvField).join(','))].join('\r\n') + '\r\n';
}
