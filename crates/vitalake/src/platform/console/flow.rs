//! What came in within the last hour, minute by minute: told by the balances of commits, and kept in memory.
//!
//! What came before the process began is read once of the same balances in `ops.checks`. Invariant: a commit is counted once.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use vitalake_ops::alerts::rates::Brought;
use vitalake_ops::record::brought;
use vitalake_runtime::events::Event;

/// One step of time.
pub(super) const STEP_MS: i64 = 60_000;
/// How many are kept.
pub(super) const STEPS: usize = 60;

/// Rows and rejects of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) accepted: u64,
    pub(super) quarantined: u64,
}

/// What came in lately, by dataset (`layer.name`) and step.
#[derive(Debug)]
pub(super) struct Flow {
    began_ms: i64,
    came: Mutex<BTreeMap<String, BTreeMap<i64, Came>>>,
    is_whole: Mutex<bool>,
}

impl Flow {
    pub(super) fn new(began_ms: i64) -> Self {
        Self { began_ms, came: Mutex::default(), is_whole: Mutex::default() }
    }

    /// Counts what an event brought.
    pub(super) fn note(&self, event: &Event, now_ms: i64) {
        if let Some(brought) = brought(event, now_ms) {
            self.count(&brought);
        }
    }

    fn count(&self, brought: &Brought) {
        let step = brought.at_ms.div_euclid(STEP_MS);
        let mut came = self.came.lock();
        let steps = came.entry(brought.dataset.clone()).or_default();
        let of_step = steps.entry(step).or_default();
        of_step.accepted = of_step.accepted.saturating_add(brought.accepted);
        of_step.quarantined = of_step.quarantined.saturating_add(brought.quarantined);
        while steps.len() > STEPS {
            steps.pop_first();
        }
    }

    /// Since when it is to be read what came before; none once that was taken in.
    pub(super) fn missing_since(&self) -> Option<i64> {
        (!*self.is_whole.lock()).then(|| self.began_ms - STEP_MS * STEPS as i64)
    }

    /// Takes in what came before the process began.
    pub(super) fn take_up(&self, before: &[Brought]) {
        if !std::mem::replace(&mut *self.is_whole.lock(), true) {
            before.iter().filter(|one| one.at_ms < self.began_ms).for_each(|one| self.count(one));
        }
    }

    /// Where the first of the last steps begins.
    pub(super) fn from_ms(now_ms: i64) -> i64 {
        (now_ms.div_euclid(STEP_MS) - STEPS as i64 + 1) * STEP_MS
    }

    /// What came into a dataset, step by step, the step of now last.
    pub(super) fn course(&self, dataset: &str, now_ms: i64) -> Vec<Came> {
        let first = Self::from_ms(now_ms) / STEP_MS;
        let came = self.came.lock();
        let steps = came.get(dataset);
        let of = |step| steps.and_then(|steps| steps.get(&step)).copied().unwrap_or_default();
        (first..first + STEPS as i64).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(at_ms: i64, accepted: u64, quarantined: u64) -> Brought {
        Brought { dataset: "raw.a".to_owned(), at_ms, accepted, quarantined }
    }

    #[test]
    fn commits_are_counted_by_minute_and_what_came_before_once() {
        let hour = STEP_MS * STEPS as i64;
        let flow = Flow::new(2 * hour);
        assert_eq!(flow.missing_since(), Some(hour));
        flow.count(&one(2 * hour + 1, 5, 1));
        flow.count(&one(2 * hour + 2, 2, 0));
        // The last is of this process's own time: it was an event already.
        let before = [one(2 * hour - 1, 10, 2), one(hour - 1, 99, 0), one(2 * hour + 1, 5, 1)];
        flow.take_up(&before);
        flow.take_up(&before);
        assert_eq!(flow.missing_since(), None);
        let course = flow.course("raw.a", 2 * hour + 30_000);
        assert_eq!(course.len(), STEPS);
        assert_eq!(course[STEPS - 1], Came { accepted: 7, quarantined: 1 });
        assert_eq!(course[STEPS - 2], Came { accepted: 10, quarantined: 2 });
        assert_eq!(course.iter().map(|came| came.accepted).sum::<u64>(), 17);
        assert!(flow.course("raw.b", 2 * hour).iter().all(|came| *came == Came::default()));
    }
}
