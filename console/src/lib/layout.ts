// Where the boxes of a lineage stand: a column for each step from the sources, rows so that few lines cross. Pure.

export interface Place {
  name: string;
  column: number;
  row: number;
}

type Edge = { from: string; to: string };

/** The step of each: sources at 0, all else one after the last of what it is made of. A cycle ends where it closes. */
function steps(names: readonly string[], edges: readonly Edge[]): Map<string, number> {
  const into = new Map<string, string[]>(names.map((name) => [name, []]));
  for (const { from, to } of edges) if (into.has(from)) into.get(to)?.push(from);
  const found = new Map<string, number>();
  const open = new Set<string>();
  const step = (name: string): number => {
    const known = found.get(name);
    if (known !== undefined) return known;
    if (open.has(name)) return 0;
    open.add(name);
    const made = Math.max(-1, ...(into.get(name) ?? []).map(step)) + 1;
    open.delete(name);
    found.set(name, made);
    return made;
  };
  names.forEach(step);
  return found;
}

export function layout(names: readonly string[], edges: readonly Edge[]): Place[] {
  const known = new Set(names);
  const real = edges.filter((edge) => known.has(edge.from) && known.has(edge.to) && edge.from !== edge.to);
  const step = steps(names, real);
  const columns: string[][] = [];
  for (const name of names) (columns[step.get(name) ?? 0] ??= []).push(name);
  const rows = new Map<string, number>();
  const number = (column: string[]): void => column.forEach((name, i) => rows.set(name, i - (column.length - 1) / 2));
  columns.forEach(number);
  const sides = new Map<string, string[]>();
  for (const { from, to } of real) {
    sides.set(from, [...(sides.get(from) ?? []), to]);
    sides.set(to, [...(sides.get(to) ?? []), from]);
  }
  const middle = (name: string): number => {
    const near = (sides.get(name) ?? []).map((other) => rows.get(other) ?? 0);
    return near.length ? near.reduce((a, b) => a + b, 0) / near.length : (rows.get(name) ?? 0);
  };
  // Each goes to the middle of its neighbours, to and fro, until it is calm enough.
  for (let round = 0; round < 8; round += 1) {
    const order = round % 2 === 0 ? columns : [...columns].reverse();
    for (const column of order) {
      const wanted = new Map(column.map((name) => [name, middle(name)]));
      column.sort((a, b) => (wanted.get(a) ?? 0) - (wanted.get(b) ?? 0) || a.localeCompare(b));
      number(column);
    }
  }
  const most = Math.max(0, ...columns.map((column) => column.length));
  return columns.flatMap((column, c) => column.map((name, i) => ({ name, column: c, row: i + (most - column.length) / 2 })));
}

/** Everything that a dataset is made of and that is made of it, itself included. */
export function related(name: string, edges: readonly Edge[]): Set<string> {
  const walk = (next: (at: string) => string[]): Set<string> => {
    const seen = new Set([name]);
    const open = [name];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const other of next(at)) {
        if (seen.has(other)) continue;
        seen.add(other);
        open.push(other);
      }
    }
    return seen;
  };
  const up = walk((at) => edges.filter((edge) => edge.to === at).map((edge) => edge.from));
  const down = walk((at) => edges.filter((edge) => edge.from === at).map((edge) => edge.to));
  return new Set([...up, ...down]);
}
