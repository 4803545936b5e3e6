//! How far the workspace is behind, for status and metrics; and what sending costs.
//!
//! Filled by the sender alone. Invariant: counts, times and names of tables; no row.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vitalake_runtime::telemetry::{MetricName, metric};

use super::schema::log_tables;
use crate::metrics::Metrics;
use crate::status::MonitorStatus;

/// What is known of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TableSaid {
    /// Commits that wait.
    pub(super) waiting: u64,
    /// When the oldest of them was made, milliseconds since 1970.
    pub(super) oldest_ms: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Whether this process is the one that sends.
    sends: bool,
    tables: BTreeMap<&'static str, TableSaid>,
    rows_sent: u64,
    rows_refused: u64,
    commits_given_up: u64,
    last_sent_ms: Option<i64>,
    clock_behind_s: i64,
}

/// What is said of sending. Clones are the same.
#[derive(Clone, Debug)]
pub struct MonitorSaid {
    known: Arc<Mutex<Known>>,
    metrics: Arc<Metrics>,
}

impl MonitorSaid {
    /// Nothing was sent yet: every number is there, and nought.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let said = Self { known: Arc::default(), metrics };
        for table in log_tables() {
            let table = table.ops.as_str();
            said.note_sent(table, (0, 0), 0);
            said.note_given_up(table, 0);
            said.note_table(table, TableSaid::default(), 0);
        }
        said.note_calls("taken", 0);
        said.note_cpu(0.0);
        said.known.lock().last_sent_ms = None;
        said
    }

    /// As status has it.
    #[must_use]
    pub fn status(&self, now_ms: i64) -> MonitorStatus {
        let known = self.known.lock();
        let instant = |ms: i64| {
            let at = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
            at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        };
        MonitorStatus {
            sends: known.sends,
            commits_waiting: known.tables.values().map(|table| table.waiting).sum(),
            behind_seconds: known.behind_s(now_ms),
            rows_sent: known.rows_sent,
            rows_refused: known.rows_refused,
            commits_given_up: known.commits_given_up,
            last_sent: known.last_sent_ms.map(instant),
            clock_behind_seconds: known.clock_behind_s,
        }
    }

    pub(super) fn note_turn(&self, sends: bool) {
        let mut known = self.known.lock();
        if !sends {
            known.tables.clear();
        }
        known.sends = sends;
    }

    pub(super) fn note_table(&self, table: &'static str, said: TableSaid, now_ms: i64) {
        let mut known = self.known.lock();
        known.tables.insert(table, said);
        let behind_s = known.behind_s(now_ms);
        drop(known);
        self.metrics.value(metric::MONITOR_COMMITS_WAITING, &labels(table)).set(said.waiting as f64);
        self.metrics.value(metric::MONITOR_BEHIND, &Vec::new()).set(behind_s);
    }

    pub(super) fn note_sent(&self, table: &'static str, (taken, refused): (u64, u64), now_ms: i64) {
        let mut known = self.known.lock();
        known.rows_sent += taken;
        known.rows_refused += refused;
        known.last_sent_ms = Some(now_ms);
        drop(known);
        self.count(metric::MONITOR_ROWS_SENT, table, taken);
        self.count(metric::MONITOR_ROWS_REFUSED, table, refused);
    }

    pub(super) fn note_given_up(&self, table: &'static str, commits: u64) {
        self.known.lock().commits_given_up += commits;
        self.count(metric::MONITOR_COMMITS_GIVEN_UP, table, commits);
    }

    /// Gives whether it is news that a clock is that wrong.
    pub(super) fn note_clock(&self, behind_s: i64, wrong_from_s: i64) -> bool {
        let behind_s = if behind_s.abs() < wrong_from_s { 0 } else { behind_s };
        let before = std::mem::replace(&mut self.known.lock().clock_behind_s, behind_s);
        before == 0 && behind_s != 0
    }

    pub(super) fn note_calls(&self, outcome: &str, calls: u64) {
        let labels = vec![("outcome", outcome.to_owned())];
        self.metrics.counter(metric::MONITOR_REQUESTS, &labels).inc_by(calls);
    }

    pub(super) fn note_cpu(&self, seconds: f64) {
        self.metrics.seconds(metric::MONITOR_CPU_SECONDS, &Vec::new()).inc_by(seconds);
    }

    fn count(&self, name: MetricName, table: &'static str, count: u64) {
        self.metrics.counter(name, &labels(table)).inc_by(count);
    }
}

impl Known {
    fn behind_s(&self, now_ms: i64) -> f64 {
        let oldest = self.tables.values().filter_map(|table| table.oldest_ms).min();
        oldest.map_or(0.0, |oldest| (now_ms - oldest).max(0) as f64 / 1000.0)
    }
}

fn labels(table: &'static str) -> crate::metrics::Labels {
    vec![("table", table.to_owned())]
}

/// Processor time of this thread so far, in seconds, where the system says so: Linux does, in billionths.
pub(super) fn thread_cpu_seconds() -> Option<f64> {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    said.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
