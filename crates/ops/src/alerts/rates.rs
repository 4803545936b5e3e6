//! What is measured over a stretch of time: totals as they were, and what they say of a window.
//!
//! Kept in memory; what was committed before a start is taken from the books of that time. Invariant: a window that was
//! not seen whole is never taken for well.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use vitalake_contract::alert::AlertDataset;

use super::machine::Observation;
use super::signal::{DatasetFacts, Facts};

/// How far apart totals are kept.
const SAMPLE_EVERY_MS: i64 = 30_000;
/// How long totals are kept: as long as the longest window.
pub const KEPT_MS: i64 = 86_400_000;

#[derive(Clone, Copy, Debug)]
struct Totals {
    /// On the clock that never steps back; below nought before the process began.
    at_ms: i64,
    taken: u64,
    quarantined: u64,
}

/// What is to be counted for an alert on drift: rows of a window that have something in `_rescued`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The alert's name.
    pub alert: String,
    /// The raw dataset.
    pub dataset: AlertDataset,
    /// How far back.
    pub window: Duration,
}

impl Drift {
    /// The query that counts them. Files whose statistics say that they have none are not opened.
    #[must_use]
    pub fn query(&self, wall_ms: i64) -> String {
        let from_ms = wall_ms.saturating_sub(i64::try_from(self.window.as_millis()).unwrap_or(0));
        let from = super::volume::literal(from_ms);
        format!("SELECT COUNT(*) FROM {} WHERE _rescued IS NOT NULL AND _ingested_at >= {from}", self.dataset)
    }
}

/// What one commit of before the start brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Rows.
    pub accepted: u64,
    /// Rejects.
    pub quarantined: u64,
}

/// Totals as they were, for what is measured over a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    totals: BTreeMap<AlertDataset, VecDeque<Totals>>,
    newest: BTreeMap<AlertDataset, Totals>,
    drifted: BTreeMap<(String, AlertDataset), u64>,
    /// What came before the start, newest first, with times of the clock that never steps back.
    before: BTreeMap<String, Vec<Brought>>,
    now_ms: i64,
}

impl Rates {
    /// Takes in what was committed before the start, as far back as totals are kept.
    pub fn take_up(&mut self, brought: Vec<Brought>, wall_ms: i64, steady_ms: u64) {
        let steady_ms = i64::try_from(steady_ms).unwrap_or(i64::MAX);
        for one in brought.into_iter().filter(|one| one.at_ms <= wall_ms) {
            let at_ms = steady_ms.saturating_sub(wall_ms.saturating_sub(one.at_ms));
            self.before.entry(one.dataset.clone()).or_default().push(Brought { at_ms, ..one });
        }
        self.before.values_mut().for_each(|brought| brought.sort_by_key(|one| std::cmp::Reverse(one.at_ms)));
    }

    /// Keeps the totals of a moment.
    pub fn keep(&mut self, facts: &Facts, steady_ms: u64) {
        let steady_ms = i64::try_from(steady_ms).unwrap_or(i64::MAX);
        self.now_ms = steady_ms;
        for facts in facts.datasets.iter().filter(|facts| facts.ready) {
            let now = totals(facts, steady_ms);
            let mut before = || self.before.remove(&facts.dataset.to_string()).map(|brought| earlier(now, &brought));
            let kept = self.totals.entry(facts.dataset.clone()).or_insert_with(|| before().unwrap_or_default());
            // What was replayed or discarded leaves the past too: else it would hide as many new rejects.
            if let Some(last) = self.newest.insert(facts.dataset.clone(), now) {
                let gone = last.quarantined.saturating_sub(now.quarantined);
                let untaken = last.taken.saturating_sub(now.taken);
                for past in kept.iter_mut().filter(|_| gone > 0 || untaken > 0) {
                    past.quarantined = past.quarantined.saturating_sub(gone);
                    past.taken = past.taken.saturating_sub(untaken);
                }
            }
            if kept.back().is_some_and(|last| steady_ms.saturating_sub(last.at_ms) < SAMPLE_EVERY_MS) {
                continue;
            }
            while kept.front().is_some_and(|first| steady_ms.saturating_sub(first.at_ms) > KEPT_MS) {
                kept.pop_front();
            }
            kept.push_back(now);
        }
    }

    /// Keeps how many rows do not look like their contract.
    pub fn drifted(&mut self, drift: Drift, rows: u64) {
        self.drifted.insert((drift.alert, drift.dataset), rows);
    }

    pub(super) fn rows_drifted(&self, alert: &str, dataset: &AlertDataset) -> Option<u64> {
        self.drifted.get(&(alert.to_owned(), dataset.clone())).copied()
    }

    /// The share of what came within a window that is in quarantine, and whether all of the window was seen.
    pub(super) fn judge(&self, facts: &DatasetFacts, window: Duration, most: f64) -> (Observation, bool) {
        let young = || (Observation::NoData("it has not been watched for long enough".into()), false);
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let Some(kept) = self.totals.get(&facts.dataset) else { return young() };
        let from_ms = self.now_ms.saturating_sub(window_ms);
        let before = kept.iter().rev().find(|totals| totals.at_ms <= from_ms);
        let (Some(base), now) = (before.or(kept.front()), totals(facts, self.now_ms)) else { return young() };
        let bad = now.quarantined.saturating_sub(base.quarantined);
        let all = now.taken.saturating_sub(base.taken);
        let share = if all == 0 { 0.0 } else { bad as f64 / all as f64 };
        if share > most {
            let (minutes, share) = (window.as_secs_f64() / 60.0, share * 100.0);
            let words = format!("{bad} rejected within {minutes:.0} min, {share:.1}% of what came");
            return (Observation::Holds(words), true);
        }
        // Not enough was seen to say that nothing was bad.
        if before.is_some() { (Observation::Clear, true) } else { young() }
    }
}

fn totals(facts: &DatasetFacts, at_ms: i64) -> Totals {
    Totals { at_ms, taken: facts.rows.saturating_add(facts.quarantined), quarantined: facts.quarantined }
}

/// Totals before what was brought came, oldest first. Of a dataset that was watched at all it is known for as long as totals
/// are kept.
fn earlier(now: Totals, brought: &[Brought]) -> VecDeque<Totals> {
    let (mut kept, mut then) = (VecDeque::from([now]), now);
    for one in brought {
        then.at_ms = one.at_ms;
        // Of several within a short while the last is enough.
        if kept.front().is_some_and(|first| first.at_ms - then.at_ms >= SAMPLE_EVERY_MS) {
            kept.push_front(then);
        }
        then.taken = then.taken.saturating_sub(one.accepted + one.quarantined);
        then.quarantined = then.quarantined.saturating_sub(one.quarantined);
    }
    kept.push_front(Totals { at_ms: now.at_ms.saturating_sub(KEPT_MS), ..then });
    kept
}
