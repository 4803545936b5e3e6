//! Waiting longer and longer between attempts, with jitter, up to a limit.

use std::time::Duration;

use crate::error::{Classified, Retry};

/// How attempts are spaced and when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, before jitter.
    pub first: Duration,
    /// The longest wait, before jitter.
    pub longest: Duration,
    /// The most attempts, the first included; no limit when none.
    pub attempts_max: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(10), attempts_max: None }
    }
}

impl Backoff {
    /// How long to wait after this many failed attempts; `None` when no attempt is left. `noise` is any random number:
    /// the wait lies between half of the full one and the full one.
    pub fn wait(&self, attempts_failed: u32, noise: u64) -> Option<Duration> {
        if self.attempts_max.is_some_and(|most| attempts_failed >= most) {
            return None;
        }
        let doublings = attempts_failed.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = full / 2;
        let share = (noise % 1_000) as u32;
        Some(half + (half * share) / 1_000)
    }

    /// Calls until it succeeds, fails with an error that a later attempt cannot mend, or no attempt is left.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn run<T, E: Classified>(&self, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
        let mut attempts_failed = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempts_failed += 1;
            match self.wait(attempts_failed, rand::random()) {
                Some(wait) if error.retry() == Retry::Later => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Class;
    use std::cell::Cell;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(2), longest: Duration::from_millis(12), attempts_max: Some(6) };

    #[rstest::rstest]
    #[case::first(1, 0, Some(1_000))]
    #[case::doubled(2, 0, Some(2_000))]
    #[case::at_the_longest(5, 0, Some(6_000))]
    #[case::with_jitter(2, 500, Some(3_000))]
    #[case::no_attempt_left(6, 0, None)]
    fn waits_grow_up_to_the_longest(#[case] failed: u32, #[case] noise: u64, #[case] micros: Option<u64>) {
        assert_eq!(BACKOFF.wait(failed, noise), micros.map(Duration::from_micros));
    }

    #[test]
    fn a_wait_without_a_limit_of_attempts_never_overflows() {
        let backoff = Backoff::default();
        assert!(backoff.wait(u32::MAX, u64::MAX).unwrap() <= backoff.longest);
    }

    #[derive(Debug)]
    struct Failure(Retry);

    impl Classified for Failure {
        fn class(&self) -> Class {
            Class::External
        }
        fn retry(&self) -> Retry {
            self.0
        }
    }

    #[tokio::test]
    async fn tries_again_only_what_may_go_away() {
        let tries = Cell::new(0);
        let counted = |retry: Retry| {
            let tries = &tries;
            async move || {
                tries.set(tries.get() + 1);
                if tries.get() == 3 { Ok(()) } else { Err(Failure(retry)) }
            }
        };
        BACKOFF.run(counted(Retry::Later)).await.unwrap();
        assert_eq!(tries.get(), 3);
        tries.set(0);
        assert!(BACKOFF.run(counted(Retry::Never)).await.is_err());
        assert_eq!(tries.get(), 1);
    }
}
