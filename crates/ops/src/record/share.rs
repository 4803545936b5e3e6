//! How many commits an ops table may have of its own accord, so that what the platform says of itself stays cheap where
//! something happens again and again: an alert that flaps, a file that is sent each minute.
//!
//! Beside the recorder, which asks before it commits at once. Invariant: in any hour a table has at most
//! [`COMMITS_AN_HOUR`] commits by what happens and by time; what people decide is not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::tables::OpsTable;

/// The most commits of a table in an hour.
pub(super) const COMMITS_AN_HOUR: u32 = 30;
/// Those that may come one after the other; as many again become free over an hour.
const AT_ONCE: u32 = COMMITS_AN_HOUR / 2;
const ONE_MORE: Duration = Duration::from_secs(3600 / AT_ONCE as u64);

/// The shares of all tables, over the lives of a process.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<OpsTable, Share>>);

#[derive(Clone, Copy, Debug)]
struct Share {
    left: u32,
    /// When what became free was last added.
    since: Instant,
}

impl Shares {
    /// Takes a commit out of a table's share; false where none is left. Tables whose rows all come by time have no share:
    /// the time between their commits is limit enough. Neither have those of people's decisions.
    pub(super) fn take(&self, table: OpsTable) -> bool {
        self.take_at(table, Instant::now())
    }

    fn take_at(&self, table: OpsTable, now: Instant) -> bool {
        if !matches!(table, OpsTable::Alerts | OpsTable::Evidence | OpsTable::Deliveries) {
            return true;
        }
        let mut shares = self.0.lock();
        let share = shares.entry(table).or_insert_with(|| Share { left: AT_ONCE, since: now });
        while now.duration_since(share.since) >= ONE_MORE {
            share.since += ONE_MORE;
            share.left = (share.left + 1).min(AT_ONCE);
        }
        let taken = share.left.checked_sub(1);
        share.left = taken.unwrap_or_default();
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hour_has_more_commits_than_a_table_may_have_and_each_has_some() {
        let (shares, hour) = (Shares::default(), Duration::from_secs(3600));
        let begun = Instant::now();
        let seconds = (0..6 * 3600).map(|second| begun + Duration::from_secs(second));
        let taken: Vec<Instant> = seconds.filter(|now| shares.take_at(OpsTable::Alerts, *now)).collect();
        let within = |from: Instant| taken.iter().filter(|at| (from..from + hour).contains(at)).count();
        assert!(taken.iter().all(|from| within(*from) <= COMMITS_AN_HOUR as usize), "{}", taken.len());
        assert!(taken.len() > 5 * AT_ONCE as usize, "{}", taken.len());
        assert!(shares.take(OpsTable::Deliveries), "each table has its own share");
    }

    #[test]
    fn what_people_decide_is_never_put_off() {
        let shares = Shares::default();
        assert!((0..1_000).all(|_| shares.take(OpsTable::Gates) && shares.take(OpsTable::Discards)));
    }
}
