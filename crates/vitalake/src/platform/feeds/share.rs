//! How many of a project's feeds one process runs, of those that could.
//!
//! Pure. Invariant: the shares of all that know the same number of processes are enough for every feed, and a process that
//! is alone runs all.

use std::time::Duration;

/// How often it is asked who is there: a part of the time for which that is believed.
const ASKED_EVERY: Duration = Duration::from_secs(3);

/// A process's share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    asked_at: Option<Duration>,
    feeds_max: usize,
}

impl Share {
    /// Whether it is time to ask who is there.
    pub(super) fn is_to_be_asked(&self, now: Duration) -> bool {
        self.asked_at.is_none_or(|at| now.saturating_sub(at) >= ASKED_EVERY)
    }

    /// So many processes are there for so many feeds.
    pub(super) fn learn(&mut self, feeds: usize, processes: usize, now: Duration) {
        self.feeds_max = feeds.div_ceil(processes.max(1));
        self.asked_at = Some(now);
    }

    /// How many feeds it runs at most.
    pub(super) fn feeds_max(&self) -> usize {
        self.feeds_max
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(3, 1, 3)]
    #[case(3, 2, 2)]
    #[case(2, 2, 1)]
    #[case(1, 3, 1)]
    #[case(3, 0, 3)]
    fn feeds_are_divided_by_those_who_are_there(#[case] feeds: usize, #[case] processes: usize, #[case] most: usize) {
        let mut share = Share::default();
        assert!(share.is_to_be_asked(Duration::ZERO) && share.feeds_max() == 0);
        share.learn(feeds, processes, Duration::from_secs(7));
        assert_eq!(share.feeds_max(), most);
        assert!(!share.is_to_be_asked(Duration::from_secs(9)) && share.is_to_be_asked(Duration::from_secs(10)));
    }
}
