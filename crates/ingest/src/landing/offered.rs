//! How many records a step was offered, by the offsets that it moved past.
//!
//! Counted before anything is decoded, so that the commit can find what was lost on the way. An offset of the embedded log
//! is a record; a broker's has gaps, which are counted as its records come. Invariant: nothing here looks at rows.

/// The offsets of a step that are no record of their own.
#[derive(Default)]
pub(super) struct Offered {
    next: i64,
    /// Where in the partition, and how many.
    apart: Vec<(i64, i64)>,
    /// Offsets that quarantine has from before a crash.
    known: Vec<i64>,
    /// Offsets whose records an erasure has emptied.
    erased: Vec<i64>,
}

impl Offered {
    pub(super) fn from(offset: i64) -> Self {
        Self { next: offset, ..Self::default() }
    }

    /// A batch of the embedded log.
    pub(super) fn batch(&mut self, last_offset: i64) {
        self.next = last_offset + 1;
    }

    /// The records of a batch from one on are one reject: they cannot be told apart.
    pub(super) fn unreadable(&mut self, offset: i64, last_offset: i64) {
        self.apart.push((offset, last_offset - offset));
    }

    /// A record of a broker; what lies between it and the one before is none.
    pub(super) fn record(&mut self, offset: i64) {
        if offset > self.next {
            self.apart.push((self.next, offset - self.next));
        }
        self.next = offset + 1;
    }

    /// Records that are gone at the source are one reject.
    pub(super) fn gone(&mut self, first: i64, last: i64) {
        self.apart.push((last, last - first));
        self.next = last + 1;
    }

    /// A record that is in quarantine already.
    pub(super) fn known(&mut self, offset: i64) {
        self.known.push(offset);
    }

    /// A record that an erasure has emptied.
    pub(super) fn erased(&mut self, offset: i64) {
        self.erased.push(offset);
    }

    /// How many of those before an offset are empty.
    pub(super) fn erased_before(&self, end: i64) -> i64 {
        i64::try_from(self.erased.iter().filter(|offset| **offset < end).count()).unwrap_or(i64::MAX)
    }

    /// How many records were offered between two offsets, the second left out.
    pub(super) fn count(&self, from: i64, end: i64) -> i64 {
        let apart: i64 = self.apart.iter().filter(|(at, _)| *at < end).map(|(_, count)| count).sum();
        end - from - apart
    }

    /// How many of those before an offset quarantine has already.
    pub(super) fn known_before(&self, end: i64) -> i64 {
        i64::try_from(self.known.iter().filter(|offset| **offset < end).count()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_a_broker_are_no_records_and_what_stands_behind_a_stop_is_not_counted() {
        let mut offered = Offered::from(10);
        for offset in [10, 11, 15, 16, 20] {
            offered.record(offset);
        }
        assert_eq!(offered.count(10, 21), 5);
        assert_eq!(offered.count(10, 16), 3, "a rule stops the partition before 16");
        assert_eq!(offered.count(10, 15), 2);
    }

    #[test]
    fn an_unreadable_rest_and_a_range_that_is_gone_are_one_each() {
        let mut offered = Offered::from(0);
        offered.gone(0, 9);
        offered.batch(19);
        offered.unreadable(15, 19);
        offered.known(15);
        assert_eq!((offered.count(0, 20), offered.known_before(20), offered.known_before(15)), (1 + 5 + 1, 1, 0));
    }
}
