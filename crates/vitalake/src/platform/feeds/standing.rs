//! Where a feed stands: what its last look and its last delivery said.
//!
//! Invariant: names of files, counts and times only.

use std::collections::HashSet;

use chrono::NaiveDate;
use vitalake_ops::feeds::{self, FeedReport, NotRead};

use super::super::outside::instant;
use super::keeper::{Kept, Refused};
use super::lateness::Came;

/// Entries that are not read which are named.
const NAMED_MAX: usize = 20;
/// Refused deliveries that are remembered.
const REFUSED_MAX: usize = 200;

/// What is known beside what looks found.
pub(super) struct NowOf<'a> {
    pub(super) running: bool,
    pub(super) late_since_ms: Option<i64>,
    /// Deliveries that wait for somebody to decide.
    pub(super) held: usize,
    /// Why this process does not run the feed.
    pub(super) elsewhere: Option<&'a str>,
}

/// Where a feed stands.
#[derive(Clone, Default)]
pub(super) struct Standing {
    pub(super) last_look_ms: Option<i64>,
    /// The version of the table that was last looked at for deliveries that others brought.
    pub(super) table_version: Option<u64>,
    /// The table that its deliveries go to.
    table: Option<String>,
    /// As it was last kept.
    kept: Kept,
    pub(super) came: Came,
    pub(super) last_delivery: Option<String>,
    /// How far a database was read.
    pub(super) watermark: Option<String>,
    /// Why its source cannot be read, and since when.
    pub(super) away: Option<(String, i64)>,
    /// From when on every file is known that was taken.
    pub(super) remembers_since_ms: i64,
    /// What was refused and is there as it was, the oldest first.
    refused: Vec<Refused>,
    /// The due time of which it was told that the delivery is late.
    pub(super) told_late_ms: Option<i64>,
    pub(super) waiting: usize,
    pub(super) taken: usize,
    pub(super) not_read: Vec<(String, &'static str)>,
}

impl std::fmt::Debug for Standing {
    /// A watermark is a value of the source.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("came", &self.came).finish_non_exhaustive()
    }
}

impl Standing {
    /// Goes on from what was kept, with the table as it is.
    pub(super) fn remember(&mut self, kept: Kept, table: Option<String>) {
        self.table = table;
        self.came.last_ms = kept.last_delivery_ms;
        self.came.newest_date = kept.newest_date.as_ref().and_then(|date| date.parse().ok());
        self.last_delivery.clone_from(&kept.last_delivery);
        self.watermark.clone_from(&kept.watermark);
        self.refused.clone_from(&kept.refused);
        self.remembers_since_ms = kept.remembers_since_ms;
        self.kept = kept;
    }

    /// What is to be kept, where that is not what was: also the time of a look where a schedule has to know it.
    pub(super) fn changed(&mut self, is_scheduled: bool) -> Option<Kept> {
        let now = Kept {
            table: self.table.clone().or_else(|| self.kept.table.clone()),
            last_run_ms: if is_scheduled { self.last_look_ms.or(self.kept.last_run_ms) } else { None },
            last_delivery_ms: self.came.last_ms,
            last_delivery: self.last_delivery.clone(),
            newest_date: self.came.newest_date.map(|date| date.to_string()),
            watermark: self.watermark.clone(),
            refused: self.refused.clone(),
            remembers_since_ms: self.remembers_since_ms,
        };
        (now != self.kept).then(|| {
            self.kept = now.clone();
            now
        })
    }

    /// It was looked.
    pub(super) fn looked_at(&mut self, now_ms: i64) {
        self.last_look_ms = Some(now_ms);
    }

    /// Keeps that a delivery came; one that was there before is no news but for its date.
    pub(super) fn came(&mut self, name: String, date: Option<NaiveDate>, now_ms: Option<i64>) {
        self.came.newest_date = self.came.newest_date.max(date);
        if now_ms.is_some() {
            self.came.last_ms = now_ms;
            self.last_delivery = Some(name);
        }
    }

    /// It was refused for what it is.
    pub(super) fn refused(&mut self, key: &str, name: &str, why: String) {
        self.mended(key);
        self.refused.push(Refused { key: key.to_owned(), name: name.to_owned(), why });
        let beyond = self.refused.len().saturating_sub(REFUSED_MAX);
        self.refused.drain(..beyond);
    }

    /// What was refused before is well now.
    pub(super) fn mended(&mut self, key: &str) {
        self.refused.retain(|refused| refused.key != key);
    }

    /// Keeps what was refused of what is there; what somebody has moved away is none of the feed any longer.
    pub(super) fn keep_refused(&mut self, there: &HashSet<String>) {
        self.refused.retain(|refused| there.contains(&refused.key));
    }

    /// The source could not be read. Gives whether that is news.
    pub(super) fn failed(&mut self, reason: String, now_ms: i64) -> bool {
        let since_ms = self.away.as_ref().map_or(now_ms, |(_, since_ms)| *since_ms);
        let before = self.away.replace((reason, since_ms));
        before.map(|(reason, _)| reason).as_deref() != self.away.as_ref().map(|(reason, _)| reason.as_str())
    }

    /// Its state, and why it is not well.
    fn state(&self, now: &NowOf<'_>) -> (&'static str, Option<String>) {
        if let Some(reason) = now.elsewhere {
            return (feeds::ELSEWHERE, Some(reason.to_owned()));
        }
        let late = now.late_since_ms.and_then(instant).map(|due| format!("the delivery due at {due} is not here"));
        match (&self.away, late, self.refused.last()) {
            (Some((reason, _)), ..) => (feeds::AWAY, Some(reason.clone())),
            (None, late @ Some(_), _) => (feeds::LATE, late),
            (None, None, Some(last)) => (feeds::REFUSED, Some(last.in_words())),
            _ if now.held > 0 => (feeds::HELD, Some(format!("{} of its deliveries wait for a decision", now.held))),
            _ if now.running => (feeds::RUNNING, None),
            _ => (feeds::WAITING, None),
        }
    }

    /// Adds what is known to what the feed's file says.
    pub(super) fn report(&self, feed: FeedReport, now: &NowOf<'_>) -> FeedReport {
        let (state, message) = self.state(now);
        let not_read = self.not_read.iter().take(NAMED_MAX);
        FeedReport {
            state: state.to_owned(),
            message,
            last_look_at: self.last_look_ms.and_then(instant),
            last_delivery_at: self.came.last_ms.and_then(instant),
            last_delivery: self.last_delivery.clone(),
            last_date: self.came.newest_date.map(|date| date.to_string()),
            late_since: now.late_since_ms.and_then(instant),
            files_waiting: self.waiting as u64,
            files_taken: self.taken as u64,
            refused: self.refused.iter().rev().take(NAMED_MAX).map(Refused::told).collect(),
            not_read: not_read.map(|(name, why)| NotRead { name: name.clone(), reason: (*why).to_owned() }).collect(),
            ..feed
        }
    }
}

impl Refused {
    fn in_words(&self) -> String {
        format!("{}: {}", self.name, self.why)
    }

    fn told(&self) -> NotRead {
        NotRead { name: self.name.clone(), reason: self.why.clone() }
    }
}
