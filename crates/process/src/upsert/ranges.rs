//! Ranges of key hashes: a table begins with as many as its first rows fill by half, and one that has grown too large is
//! halved by the next bit.
//!
//! A range is named by the bits that its hashes begin with, `0110`. Invariant: ranges that were made by halving do not
//! overlap, and every hash lies in exactly one range that is there or could be made.

use std::collections::BTreeMap;
use std::fmt;

/// By how many bits a table's first rows are divided at most.
const FIRST_BITS_MAX: u8 = 12;

/// The hashes that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Range {
    /// The bits that are shared, the others nought.
    start: u64,
    /// How many are shared.
    bits: u8,
}

impl Range {
    /// All hashes.
    pub(crate) const WHOLE: Self = Self { start: 0, bits: 0 };

    /// The range of that name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bits = u8::try_from(text.len()).ok().filter(|bits| *bits <= 64)?;
        let mut start = 0;
        for (index, digit) in text.bytes().enumerate() {
            match digit {
                b'0' => {}
                b'1' => start |= 1 << (63 - index),
                _ => return None,
            }
        }
        Some(Self { start, bits })
    }

    /// The range of the first bits of a hash.
    fn of(hash: u64, bits: u8) -> Self {
        Self { start: hash & mask(bits), bits }
    }

    pub(crate) fn contains(self, hash: u64) -> bool {
        hash & mask(self.bits) == self.start
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        if self.bits <= other.bits { self.contains(other.start) } else { other.contains(self.start) }
    }

    /// The two ranges of one bit more; `None` where no bit is left.
    pub(crate) fn halves(self) -> Option<(Self, Self)> {
        let bits = self.bits + 1;
        (bits <= 64).then(|| (Self { bits, ..self }, Self { start: self.start | 1 << (64 - bits), bits }))
    }
}

/// Bits by which so many rows are divided into ranges that are about half full at most.
pub(crate) fn bits_for(rows: usize, rows_max: usize) -> u8 {
    let is_too_much = |bits: &u8| rows >> bits > (rows_max / 2).max(1);
    (0..FIRST_BITS_MAX).find(|bits| !is_too_much(bits)).unwrap_or(FIRST_BITS_MAX)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.bits).try_for_each(|bit| f.write_str(if self.start >> (63 - bit) & 1 == 1 { "1" } else { "0" }))
    }
}

fn mask(bits: u8) -> u64 {
    if bits == 0 { 0 } else { u64::MAX << (64 - bits) }
}

/// The ranges of a table, each with the files that hold it, of which none has a key that another has.
#[derive(Clone, Debug)]
pub(crate) struct Layout<T>(BTreeMap<Range, Vec<T>>);

impl<T> FromIterator<(Range, T)> for Layout<T> {
    fn from_iter<I: IntoIterator<Item = (Range, T)>>(files: I) -> Self {
        let mut ranges: BTreeMap<Range, Vec<T>> = BTreeMap::new();
        for (range, file) in files {
            ranges.entry(range).or_default().push(file);
        }
        Self(ranges)
    }
}

impl<T> Layout<T> {
    /// What holds a range; nothing where it is none of the table's.
    pub(crate) fn get(&self, range: Range) -> &[T] {
        self.0.get(&range).map_or(&[], Vec::as_slice)
    }

    /// The ranges that are there.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.keys().copied()
    }

    /// The range that a hash lies in; where none is there for it, the largest that overlaps none. A table without ranges
    /// begins with those of so many bits.
    pub(crate) fn range_of(&self, hash: u64, first_bits: u8) -> Range {
        if self.0.is_empty() {
            return Range::of(hash, first_bits);
        }
        let here = Range { start: hash, bits: u8::MAX };
        let (before, after) = (self.0.range(..here).next_back(), self.0.range(here..).next());
        if let Some((range, _)) = before.filter(|(range, _)| range.contains(hash)) {
            return *range;
        }
        let shared = |range: &Range| u8::try_from((range.start ^ hash).leading_zeros()).unwrap_or(64);
        let neighbours = [before, after].into_iter().flatten().map(|(range, _)| shared(range));
        Range::of(hash, neighbours.max().map_or(0, |shared| (shared + 1).min(64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_rows_are_divided_until_no_range_is_more_than_half_full() {
        for (rows, bits) in [(0, 0), (4, 0), (8, 1), (64, 4), (1 << 40, FIRST_BITS_MAX)] {
            assert_eq!(bits_for(rows, 8), bits, "{rows}");
        }
        let nothing: Layout<()> = std::iter::empty().collect();
        assert_eq!(nothing.range_of(u64::MAX, 2).to_string(), "11");
        let some: Layout<()> = [(Range::of(0, 1), ())].into_iter().collect();
        assert_eq!(some.range_of(u64::MAX, 2).to_string(), "1");
    }
}
