//! The steps of a batch of records on its way from the socket to a published version, for whoever traces it.
//!
//! Whoever takes records in asks [`Following::begins`] whether this batch is one to follow; from then on, until nothing is
//! followed any longer, each later step says how far it has come. Invariant: while nobody traces, a step costs one load of
//! an atomic, and a second never begins more traces than were asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Batches that are followed at once.
const OPEN_MAX: usize = 64;

/// One step. Names, ids and counts alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A batch was taken in and is durable.
    Produced {
        /// The transaction under which its partition lands.
        partition: Arc<str>,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition's number.
        number: i32,
        /// The offset of its first record.
        offset: i64,
        /// When the request had been read.
        arrived: SystemTime,
        /// Until it could be answered.
        took: Duration,
    },
    /// Records of a partition were decoded, checked and made visible.
    Landed {
        /// The transaction under which the partition lands.
        partition: Arc<str>,
        /// The dataset.
        dataset: Arc<str>,
        /// The last offset among them.
        through: i64,
        /// Rows that entered the dataset.
        rows: u64,
        /// Rows that went to quarantine.
        rejects: u64,
        /// From reading the log to the publication.
        took: Duration,
    },
    /// A table was committed.
    Committed {
        /// The table, as `layer.dataset`.
        table: Arc<str>,
        /// The id in its metadata.
        table_id: Arc<str>,
        /// The version.
        version: u64,
        /// How far its sources have come in it: id and version of each transaction.
        txns: Vec<(Arc<str>, i64)>,
        /// How long it took.
        took: Duration,
    },
}

/// Which batches are followed. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Following(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Traces that may begin in a second; nobody traces while it is zero.
    per_second: AtomicU64,
    /// The second that is counted, and how many have begun in it.
    second: AtomicU64,
    begun: AtomicU64,
    open: AtomicUsize,
    since: Instant,
}

impl Default for Inner {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { per_second: zero(), second: zero(), begun: zero(), open: AtomicUsize::new(0), since: Instant::now() }
    }
}

impl Following {
    /// Begins up to so many traces a second from now on.
    pub fn set_rate(&self, per_second: u64) {
        self.0.per_second.store(per_second, Ordering::Release);
    }

    /// Whether a batch that has just been taken in is to be followed. A `true` is to be followed by a [`Step::Produced`].
    #[must_use]
    pub fn begins(&self) -> bool {
        let per_second = self.0.per_second.load(Ordering::Acquire);
        if per_second == 0 || self.0.open.load(Ordering::Acquire) >= OPEN_MAX {
            return false;
        }
        let now = self.0.since.elapsed().as_secs();
        if self.0.second.swap(now, Ordering::AcqRel) != now {
            self.0.begun.store(0, Ordering::Release);
        }
        let begins = self.0.begun.fetch_add(1, Ordering::AcqRel) < per_second;
        if begins {
            self.0.open.fetch_add(1, Ordering::AcqRel);
        }
        begins
    }

    /// Whether any batch is followed: only then is a later step of interest.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.open.load(Ordering::Acquire) > 0
    }

    /// So many batches are followed no longer.
    pub fn ended(&self, count: usize) {
        let less = |open: usize| Some(open.saturating_sub(count));
        let _ = self.0.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_followed_until_asked_and_then_no_more_than_asked() {
        let following = Following::default();
        assert!(!following.begins() && !following.is_any());
        following.set_rate(3);
        let begun = (0..100).filter(|_| following.clone().begins()).count();
        // The test may see the next second begin.
        assert!((3..=6).contains(&begun), "{begun}");
        assert!(following.is_any());
        following.ended(begun);
        assert!(!following.is_any());
        following.ended(1);
        assert!(!following.is_any());
    }

    #[test]
    fn so_many_are_followed_at_once_and_no_more() {
        let following = Following::default();
        following.set_rate(1_000);
        assert_eq!((0..1_000).filter(|_| following.begins()).count(), OPEN_MAX);
        following.ended(1);
        assert!(following.begins());
    }
}
