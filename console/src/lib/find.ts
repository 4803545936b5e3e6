// Finding by a few letters. Pure.

/** How well letters fit a text; 0 is not at all. Beginnings of words count most, then runs. */
export function fit(letters: string, text: string): number {
  const wanted = letters.toLowerCase().replaceAll(/\s+/g, '');
  if (!wanted) return 1;
  const lower = text.toLowerCase();
  const whole = lower.indexOf(wanted);
  if (whole >= 0) return 1000 - whole * 2 - text.length / 10 + (startsWord(text, whole) ? 200 : 0);
  let score = 0;
  let from = 0;
  let before = -2;
  for (const letter of wanted) {
    const found = lower.indexOf(letter, from);
    if (found < 0) return 0;
    score += startsWord(text, found) ? 12 : found === before + 1 ? 8 : 1;
    before = found;
    from = found + 1;
  }
  return Math.max(1, score - text.length / 20);
}

function startsWord(text: string, at: number): boolean {
  return at === 0 || /[\s._\-/:]/.test(text.charAt(at - 1));
}

/** The best of a list, best first. */
export function best<A>(letters: string, list: readonly A[], words: (item: A) => string, most: number): A[] {
  return list
    .map((item, place) => ({ item, place, score: fit(letters, words(item)) }))
    .filter((each) => each.score > 0)
    .sort((a, b) => b.score - a.score || a.place - b.place)
    .slice(0, most)
    .map((each) => each.item);
}
