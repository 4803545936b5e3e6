//! Parts outside this process, such as a broker or a storage account: whether each answers, and since when not.
//!
//! Who speaks to a part notes how that went; status and health pages ask. Invariant: a reason holds names and kinds of
//! failure, never a credential.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;

/// A part that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Which part, in the operator's words: `storage` or `Kafka`.
    pub part: &'static str,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// What the last attempt said.
    pub reason: String,
}

/// What is known of one part. Cheap to share.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    part: &'static str,
    clock: Clock,
    away: Mutex<Option<Away>>,
}

impl Health {
    /// A part that is taken to answer until it does not.
    #[must_use]
    pub fn new(part: &'static str, clock: Clock) -> Self {
        Self(Arc::new(Inner { part, clock, away: Mutex::new(None) }))
    }

    /// It answered.
    pub fn answered(&self) {
        let mut away = self.0.away.lock();
        if let Some(was) = away.take() {
            let seconds = (self.0.clock.now_ms() - was.since_ms) / 1000;
            tracing::info!(part = was.part, seconds, "it answers again");
        }
    }

    /// It did not; the first of such failures in a row dates its absence.
    pub fn failed(&self, reason: impl Into<String>) {
        let (mut away, reason) = (self.0.away.lock(), reason.into());
        match away.as_mut() {
            Some(known) => known.reason = reason,
            None => {
                tracing::warn!(part = self.0.part, reason, "it does not answer; what needs it waits");
                *away = Some(Away { part: self.0.part, since_ms: self.0.clock.now_ms(), reason });
            }
        }
    }

    /// Since when it does not answer; `None` while it does.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        self.0.away.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_failure_dates_the_absence_and_the_last_explains_it() {
        let clock = Clock::manual(1_000);
        let health = Health::new("storage", clock.clone());
        assert_eq!(health.away(), None);
        health.failed("refused");
        clock.advance(std::time::Duration::from_secs(5));
        health.failed("timed out");
        assert_eq!(health.away().unwrap(), Away { part: "storage", since_ms: 1_000, reason: "timed out".to_owned() });
        health.answered();
        assert_eq!(health.away(), None);
    }
}
