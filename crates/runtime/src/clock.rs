//! The one source of time, so that a test can hold it still.
//!
//! Invariant: nothing above this crate asks the system for the time; it is given a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's time, or a time that a test moves. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Durations are measured from the start, so that a step of the system's clock does not show in them.
    System {
        start: Instant,
    },
    Manual {
        start_ms: i64,
        now_ms: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self { source: Kind::System { start: Instant::now() } }
    }

    /// A time that stands still at this many milliseconds since 1970 until it is moved.
    pub fn manual(now_ms: i64) -> Self {
        Self { source: Kind::Manual { start_ms: now_ms, now_ms: Arc::new(AtomicI64::new(now_ms)) } }
    }

    /// Milliseconds since 1970, UTC. May step back when the system's clock is set.
    pub fn now_ms(&self) -> i64 {
        match &self.source {
            Kind::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Kind::Manual { now_ms, .. } => now_ms.load(Ordering::SeqCst),
        }
    }

    /// The time since this clock was made. Never steps back.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Kind::System { start } => start.elapsed(),
            Kind::Manual { start_ms, now_ms } => {
                let passed_ms = now_ms.load(Ordering::SeqCst).saturating_sub(*start_ms);
                Duration::from_millis(u64::try_from(passed_ms).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock on; the system's clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { now_ms, .. } = &self.source {
            now_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved_and_in_all_its_clones() {
        let clock = Clock::manual(1_000);
        let clone = clock.clone();
        assert_eq!((clone.now_ms(), clone.monotonic()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_millis(250));
        assert_eq!((clone.now_ms(), clone.monotonic()), (1_250, Duration::from_millis(250)));
    }

    #[test]
    fn the_system_clock_shows_this_century_and_does_not_step_back() {
        let clock = Clock::system();
        let earlier = clock.monotonic();
        assert!(clock.now_ms() > 1_700_000_000_000);
        assert!(clock.monotonic() >= earlier);
    }
}
