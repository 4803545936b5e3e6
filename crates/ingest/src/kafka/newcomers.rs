//! Connections that have not sent a whole request yet: they give way when there is no place left, the oldest first.
//!
//! Invariant: a connection that has sent a request never gives way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// How often a shortage of places is said.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// The newcomers of a server, by age.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Newcomer {
    number: u64,
    all: Newcomers,
}

impl Newcomers {
    /// Starts a connection's task as a newcomer.
    pub(super) fn admit(&self, start: impl FnOnce(Newcomer) -> AbortHandle) {
        // The task may be done before it is entered: it waits for this lock to leave.
        let mut known = self.0.lock();
        let number = known.next;
        known.next += 1;
        let task = start(Newcomer { number, all: self.clone() });
        known.tasks.insert(number, task);
    }

    /// Ends the oldest; false when there is none.
    pub(super) fn evict_oldest(&self) -> bool {
        self.0.lock().tasks.pop_first().map(|(_, task)| task.abort()).is_some()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.all.0.lock().tasks.remove(&self.number);
    }
}

/// Counts connections that found no place, and says when that is to be logged.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    said: Option<Instant>,
    refused: u64,
    gave_way: u64,
}

impl Shortage {
    /// Notes one connection that came when all places were taken. Answers how many were refused and how many gave way
    /// since that was last said, when it is time to say so.
    pub(super) fn note(&mut self, gave_way: bool, now: Instant) -> Option<(u64, u64)> {
        *(if gave_way { &mut self.gave_way } else { &mut self.refused }) += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAID_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some((std::mem::take(&mut self.refused), std::mem::take(&mut self.gave_way)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_refusals_is_said_once_in_ten_seconds_with_its_count() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        assert_eq!(shortage.note(false, start), Some((1, 0)));
        for _ in 0..1_000 {
            assert_eq!(shortage.note(false, start + Duration::from_secs(9)), None);
        }
        assert_eq!(shortage.note(true, start + Duration::from_secs(10)), Some((1_000, 1)));
    }
}
