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
        let reason = reason.into();
        if self.note(reason.clone()) {
            tracing::warn!(part = self.0.part, reason, "it does not answer; what needs it waits");
        }
    }

    /// The same where the caller says it in the log. Gives whether it is the first in a row.
    pub fn note(&self, reason: String) -> bool {
        let mut away = self.0.away.lock();
        match away.as_mut() {
            Some(known) => known.reason = reason,
            None => {
                *away = Some(Away { part: self.0.part, since_ms: self.0.clock.now_ms(), reason });
                return true;
            }
        }
        false
    }

    /// Since when it does not answer; `None` while it does.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        self.0.away.lock().clone()
    }
}

/// How often what has not changed is said again.
const SAY_AGAIN_MS: i64 = 60_000;

/// What is found again and again, and is to be in the log when it changes and once a minute otherwise.
#[derive(Debug)]
pub struct LogThrottle<T> {
    clock: Clock,
    last: Option<(T, i64)>,
}

impl<T: PartialEq> LogThrottle<T> {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, last: None }
    }

    /// Whether it is to be said now.
    pub fn is_news(&mut self, what: T) -> bool {
        let now_ms = self.clock.now_ms();
        let known = self.last.as_ref().is_some_and(|(last, at_ms)| *last == what && now_ms - at_ms < SAY_AGAIN_MS);
        if !known {
            self.last = Some((what, now_ms));
        }
        !known
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

    #[test]
    fn what_does_not_change_is_said_once_a_minute() {
        let clock = Clock::manual(0);
        let mut said = LogThrottle::new(clock.clone());
        let mut after = |seconds, what: &'static str| {
            clock.advance(std::time::Duration::from_secs(seconds));
            said.is_news(what)
        };
        assert!(after(0, "a") && !after(2, "a") && after(2, "a, b"));
        assert!(!after(58, "a, b") && after(2, "a, b") && !after(2, "a, b"));
    }
}
