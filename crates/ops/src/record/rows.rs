//! Events as rows: each alone, or summed up where there are many of a kind in a second.
//!
//! Invariant: a row holds names, counts, times and what a person typed as a reason, never a record's value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vitalake_runtime::events::{DeliveryTold, Event, Outcome};

use super::cells::{Cell, Row};
use crate::tables::OpsTable;

/// Rows that may wait to be shown; what comes beyond is dropped and counted.
const ROWS_MAX: usize = 20_000;

/// Datasets by their bare names, as `layer.name`.
pub(crate) type Names = BTreeMap<String, String>;

/// How far a dataset, or a partition of its topic, is behind its source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LagSample {
    /// The dataset.
    pub dataset: String,
    /// The topic and its partition, of a stream.
    pub partition: Option<(String, i32)>,
    /// Records or changes of the input that are not in it yet.
    pub lag_records: Option<u64>,
    /// Age of its newest row, in seconds.
    pub age_seconds: Option<f64>,
}

/// What a process uses and lacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourcesSample {
    /// Free bytes on the disk of the data folder.
    pub disk_free_bytes: Option<u64>,
    /// Rows in memory that are in no file yet, in bytes.
    pub tail_bytes: Option<u64>,
    /// Parts outside the process that do not answer now.
    pub away: Vec<String>,
    /// Events that came faster than they were read.
    pub events_dropped: u64,
}

/// What one query of a runbook found when an alert fired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvidenceRow {
    /// Tells the alert from others.
    pub fingerprint: String,
    /// The alert's name.
    pub alert: String,
    /// The dataset that it is about.
    pub dataset: Option<String>,
    /// The runbook's name.
    pub runbook: String,
    /// The number of the query, from one.
    pub block: u64,
    /// The query, as it was run.
    pub query: String,
    /// What it found, as JSON.
    pub found: String,
}

#[derive(Default)]
struct RunSum {
    runs: u64,
    rows_in: u64,
    rows_out: u64,
    took: Duration,
}

/// What was told and is not shown yet.
#[derive(Default)]
pub(crate) struct Gathered {
    rows: Vec<Row>,
    runs: BTreeMap<(String, &'static str, Option<&'static str>), RunSum>,
    broken: BTreeMap<(String, Arc<str>, &'static str), u64>,
    pub(crate) dropped: u64,
}

/// Who says it, and when.
#[derive(Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) names: &'a Names,
    pub(crate) process: &'a Arc<str>,
    pub(crate) at_ms: i64,
}

impl Stamp<'_> {
    fn dataset(&self, name: &str) -> String {
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// A row that begins with the time and ends with the process.
    fn row(&self, table: OpsTable, between: impl IntoIterator<Item = Cell>) -> Row {
        let cells = [Cell::At(self.at_ms)].into_iter().chain(between).chain([Cell::text(Arc::clone(self.process))]);
        Row { table, cells: cells.collect() }
    }

    /// The row of an event that stands for itself; none of those that are summed up or have no table.
    pub(crate) fn single(&self, event: &Event) -> Option<Row> {
        let text = |text: &str| Cell::text(text);
        let dataset = |name: &str| Cell::text(self.dataset(name));
        Some(match event {
            Event::Commit { table, outcome, version, rows, error, took } => {
                let error = Cell::Text(error.map(Into::into));
                let (version, took) = (Cell::maybe_count(*version), milliseconds(*took));
                let cells = [dataset(table), text(outcome.as_str()), error, version, Cell::count(*rows), took];
                self.row(OpsTable::Commits, cells)
            }
            Event::Delivery(told) => self.delivery(told),
            Event::Measured { dataset: of, rule, severity, scope, got, want, passed } => {
                let names = [dataset(of), text(rule), text(severity), text(scope), Cell::Long(None)];
                let found = [Cell::Double(*got), text(want), Cell::Boolean(*passed)];
                self.row(OpsTable::Checks, names.into_iter().chain(found))
            }
            Event::Gate { dataset: of, decision, version, reasons, actor, comment } => {
                let comment = Cell::Text(comment.clone());
                let version = Cell::maybe_count(*version);
                let cells = [dataset(of), text(decision), version, text(reasons), text(actor), comment];
                self.row(OpsTable::Gates, cells)
            }
            Event::Alert { fingerprint, alert, dataset: of, state, severity, owner, summary } => {
                let of = Cell::Text(of.as_deref().map(|of| self.dataset(of).into()));
                let names = [text(fingerprint), text(alert), of, text(state)];
                let rest = [text(severity), text(owner), text(summary)];
                self.row(OpsTable::Alerts, names.into_iter().chain(rest))
            }
            Event::Discard { dataset: of, number, rows, reason, actor } => {
                let said = [Cell::count(*rows), text(reason), text(actor), Cell::Long(Some(*number))];
                self.row(OpsTable::Discards, [dataset(of)].into_iter().chain(said))
            }
            Event::Run { .. } | Event::Check { .. } | Event::Step(_) | Event::Query { .. } => return None,
        })
    }

    fn delivery(&self, told: &DeliveryTold) -> Row {
        let text = |text: &Option<Arc<str>>| Cell::Text(text.clone());
        let date = told.business_date.as_deref().and_then(|date| date.parse().ok());
        let counts = [Cell::maybe_count(told.delivery), Cell::count(told.accepted), Cell::count(told.quarantined)];
        let first = [Cell::text(self.dataset(&told.dataset)), Cell::text(told.outcome().as_str())];
        let stands = [Cell::text(told.state), text(&told.held), text(&told.feed), Cell::Day(date)];
        let content = [Cell::maybe_count(told.corrects), text(&told.sha256), Cell::maybe_count(told.offered)];
        let decided =
            [Cell::count(told.duplicate), Cell::MaybeAt(told.since_ms), text(&told.reason), text(&told.actor)];
        let cells = first.into_iter().chain(counts).chain([milliseconds(told.took)]);
        self.row(OpsTable::Deliveries, cells.chain(stands).chain(content).chain(decided))
    }

    pub(crate) fn evidence(&self, evidence: &EvidenceRow) -> Row {
        let text = |text: &str| Cell::text(text);
        let dataset = Cell::Text(evidence.dataset.as_deref().map(|of| self.dataset(of).into()));
        let names = [text(&evidence.fingerprint), text(&evidence.alert), dataset, text(&evidence.runbook)];
        let found = [Cell::count(evidence.block), text(&evidence.query), text(&evidence.found)];
        self.row(OpsTable::Evidence, names.into_iter().chain(found))
    }

    pub(crate) fn lag(&self, sample: &LagSample) -> Row {
        let topic = sample.partition.as_ref().map(|(topic, _)| topic.as_str().into());
        let partition = sample.partition.as_ref().map(|(_, partition)| i64::from(*partition));
        let lag = [Cell::maybe_count(sample.lag_records), Cell::Double(sample.age_seconds)];
        let names = [Cell::text(self.dataset(&sample.dataset)), Cell::Text(topic), Cell::Long(partition)];
        self.row(OpsTable::Lag, names.into_iter().chain(lag))
    }

    pub(crate) fn resources(&self, sample: &ResourcesSample, usage: super::usage::Usage, rows_dropped: u64) -> Row {
        let away = (!sample.away.is_empty()).then(|| sample.away.join(", ").into());
        let used = [Cell::maybe_count(usage.memory_bytes), Cell::Double(usage.cpu_seconds)];
        let left = [Cell::maybe_count(sample.disk_free_bytes), Cell::maybe_count(sample.tail_bytes), Cell::Text(away)];
        let dropped = [Cell::count(sample.events_dropped), Cell::count(rows_dropped)];
        self.row(OpsTable::Resources, used.into_iter().chain(left).chain(dropped))
    }
}

fn milliseconds(took: Duration) -> Cell {
    Cell::Double(Some(took.as_secs_f64() * 1000.0))
}

impl Gathered {
    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event, stamp: Stamp<'_>) {
        match event {
            Event::Run { dataset, outcome, rows_in, rows_out, error, took } => {
                let key = (stamp.dataset(dataset), Outcome::as_str(*outcome), *error);
                let sum = self.runs.entry(key).or_default();
                sum.runs += 1;
                sum.rows_in += rows_in;
                sum.rows_out += rows_out;
                sum.took += *took;
            }
            Event::Check { dataset, rule, severity, rows } => {
                *self.broken.entry((stamp.dataset(dataset), Arc::clone(rule), severity)).or_default() += rows;
            }
            Event::Delivery(told) if told.kept => {}
            event => {
                if let Some(row) = stamp.single(event) {
                    self.push(row);
                }
            }
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        if self.rows.len() < ROWS_MAX {
            self.rows.push(row);
        } else {
            self.dropped += 1;
        }
    }

    /// Everything that was taken in, as rows.
    pub(crate) fn drain(&mut self, stamp: Stamp<'_>) -> Vec<Row> {
        for ((dataset, outcome, error), sum) in std::mem::take(&mut self.runs) {
            let names = [Cell::text(dataset), Cell::text(outcome), Cell::Text(error.map(Into::into))];
            let counts = [sum.runs, sum.rows_in, sum.rows_out].map(Cell::count);
            let row = stamp.row(OpsTable::Runs, names.into_iter().chain(counts).chain([milliseconds(sum.took)]));
            self.push(row);
        }
        for ((dataset, rule, severity), rows) in std::mem::take(&mut self.broken) {
            let names = [Cell::text(dataset), Cell::text(rule), Cell::text(severity), Cell::text("rows")];
            let found =
                [Cell::count(rows), Cell::Double(None), Cell::text("no row breaks it"), Cell::Boolean(Some(false))];
            let row = stamp.row(OpsTable::Checks, names.into_iter().chain(found));
            self.push(row);
        }
        std::mem::take(&mut self.rows)
    }
}
