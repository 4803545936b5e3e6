//! The crash double's own generator (SplitMix64), so that a seed means the same crash with any version of any crate.

/// A seeded generator.
#[derive(Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`, both included.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        let choices = (most as u64).saturating_add(1);
        usize::try_from(self.next() % choices).unwrap_or(most)
    }

    pub(super) fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
