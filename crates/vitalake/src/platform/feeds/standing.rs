//! Where a feed stands: what its last look and its last delivery said.
//!
//! Invariant: names of files, counts and times only.

use chrono::NaiveDate;
use vitalake_ops::feeds::{self, FeedReport, NotRead};

use super::super::outside::instant;
use super::lateness::Came;

/// Entries that are not read which are named.
const NAMED_MAX: usize = 20;

/// Where a feed stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) last_look_ms: Option<i64>,
    pub(super) came: Came,
    pub(super) last_delivery: Option<String>,
    /// Why its source cannot be read, and since when.
    pub(super) away: Option<(String, i64)>,
    /// Why its last delivery was refused.
    pub(super) refused: Option<String>,
    /// The due time of which it was told that the delivery is late.
    pub(super) told_late_ms: Option<i64>,
    pub(super) waiting: usize,
    pub(super) taken: usize,
    pub(super) not_read: Vec<(String, &'static str)>,
}

impl Standing {
    /// Keeps that a delivery came; one that was there before is no news but for its date.
    pub(super) fn came(&mut self, name: String, date: Option<NaiveDate>, now_ms: Option<i64>) {
        self.refused = None;
        self.came.newest_date = self.came.newest_date.max(date);
        if now_ms.is_some() {
            self.came.last_ms = now_ms;
            self.last_delivery = Some(name);
        }
    }

    /// The source could not be read. Gives whether that is news.
    pub(super) fn failed(&mut self, reason: String, now_ms: i64) -> bool {
        let since_ms = self.away.as_ref().map_or(now_ms, |(_, since_ms)| *since_ms);
        let before = self.away.replace((reason, since_ms));
        before.map(|(reason, _)| reason).as_deref() != self.away.as_ref().map(|(reason, _)| reason.as_str())
    }

    /// Its state, and why it is not well.
    fn state(&self, running: bool, late_since_ms: Option<i64>) -> (&'static str, Option<String>) {
        let late = late_since_ms.and_then(instant).map(|due| format!("the delivery due at {due} is not here"));
        match (&self.away, late, &self.refused) {
            (Some((reason, _)), ..) => (feeds::AWAY, Some(reason.clone())),
            (None, late @ Some(_), _) => (feeds::LATE, late),
            (None, None, Some(refused)) => (feeds::REFUSED, Some(refused.clone())),
            _ if running => (feeds::RUNNING, None),
            _ => (feeds::WAITING, None),
        }
    }

    /// Adds what is known to what the feed's file says.
    pub(super) fn report(&self, feed: FeedReport, running: bool, late_since_ms: Option<i64>) -> FeedReport {
        let (state, message) = self.state(running, late_since_ms);
        let not_read = self.not_read.iter().take(NAMED_MAX);
        FeedReport {
            state: state.to_owned(),
            message,
            last_look_at: self.last_look_ms.and_then(instant),
            last_delivery_at: self.came.last_ms.and_then(instant),
            last_delivery: self.last_delivery.clone(),
            last_date: self.came.newest_date.map(|date| date.to_string()),
            late_since: late_since_ms.and_then(instant),
            files_waiting: self.waiting as u64,
            files_taken: self.taken as u64,
            not_read: not_read.map(|(name, why)| NotRead { name: name.clone(), reason: (*why).to_owned() }).collect(),
            ..feed
        }
    }
}
