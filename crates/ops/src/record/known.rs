//! What the ops datasets know already, for who begins: read from their rows, committed and waiting.
//!
//! Invariant: nothing is changed, and what cannot be read is an error, never an empty answer.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use vitalake_lake::CONSERVATION_RULE;
use vitalake_runtime::events::Event;

use super::{RecordError, Recorder, name};
use crate::alerts::rates::Brought;
use crate::tables::OpsTable;

/// A hold or a release by a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateDecided {
    /// The dataset, as `serving.x`.
    pub dataset: String,
    /// A hold, or else a release.
    pub is_hold: bool,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a rule found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// The rule.
    pub rule: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Rows that broke it, of a rule on single rows.
    pub rows: Option<u64>,
    /// What was measured.
    pub got: Option<f64>,
    /// What it wants, in words.
    pub want: Option<String>,
    /// Whether it holds.
    pub passed: Option<bool>,
}

impl Recorder {
    /// The last hold and the last release of each gate by a person.
    ///
    /// # Errors
    /// When there is no lake, or its rows cannot be read.
    pub async fn decisions_of_people(&self) -> Result<Vec<GateDecided>, RecordError> {
        let columns = ["at", "dataset", "decision", "actor", "comment"];
        let mut last: BTreeMap<(String, bool), GateDecided> = BTreeMap::new();
        for batch in self.read(OpsTable::Gates, &columns, None).await? {
            let times = column(&batch, "at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let named = texts(&batch, "dataset").zip(texts(&batch, "decision"));
            let said = texts(&batch, "actor").zip(texts(&batch, "comment"));
            for ((at_us, (dataset, decision)), (by, reason)) in times.into_iter().flatten().zip(named).zip(said) {
                let (Some(at_us), Some(dataset), Some(decision)) = (at_us, dataset, decision) else { continue };
                if !matches!(decision, "hold" | "release") {
                    continue;
                }
                let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                let (dataset, is_hold) = (dataset.to_owned(), decision == "hold");
                let (key, by, reason) = ((dataset.clone(), is_hold), text(by), text(reason));
                let decided = GateDecided { dataset, is_hold, at_us, by, reason };
                let known = last.entry(key).or_insert_with(|| decided.clone());
                if known.at_us < at_us {
                    *known = decided;
                }
            }
        }
        Ok(last.into_values().collect())
    }

    /// What commits brought since a moment, of datasets that have books, by their balances in `ops.checks`.
    ///
    /// # Errors
    /// As [`Recorder::decisions_of_people`].
    pub async fn brought_since(&self, since_ms: i64) -> Result<Vec<Brought>, RecordError> {
        let since_us = since_ms.saturating_mul(1000);
        let mut found = Vec::new();
        for batch in self.read(OpsTable::Checks, &["at", "dataset", "rule", "want", "passed"], Some(since_us)).await? {
            let times = column(&batch, "at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let passed = column(&batch, "passed").and_then(|column| column.as_boolean_opt());
            let checks = times.into_iter().flatten().zip(texts(&batch, "dataset")).zip(texts(&batch, "rule"));
            for (((at, rule), want), passed) in checks.zip(texts(&batch, "want")).zip(passed.into_iter().flatten()) {
                let ((Some(at_us), Some(dataset)), Some(CONSERVATION_RULE), Some(want), Some(true)) =
                    (at, rule, want, passed)
                else {
                    continue;
                };
                if let (Some(accepted), Some(quarantined)) = (said(want, "accepted"), said(want, "quarantined"))
                    && at_us >= since_us
                {
                    found.push(Brought { dataset: dataset.to_owned(), at_ms: at_us / 1000, accepted, quarantined });
                }
            }
        }
        Ok(found)
    }

    /// What rules found since a moment: of each rule of a dataset the newest.
    ///
    /// # Errors
    /// As [`Recorder::decisions_of_people`].
    pub async fn checked_since(&self, since_ms: i64) -> Result<Vec<Checked>, RecordError> {
        let columns = ["at", "dataset", "rule", "rows", "got", "want", "passed"];
        let mut newest: BTreeMap<(String, String), Checked> = BTreeMap::new();
        for batch in self.read(OpsTable::Checks, &columns, Some(since_ms.saturating_mul(1000))).await? {
            let times = column(&batch, "at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let rows = column(&batch, "rows").and_then(|column| column.as_primitive_opt::<Int64Type>());
            let got = column(&batch, "got").and_then(|column| column.as_primitive_opt::<Float64Type>());
            let passed = column(&batch, "passed").and_then(|column| column.as_boolean_opt());
            let named = texts(&batch, "dataset").zip(texts(&batch, "rule")).zip(texts(&batch, "want"));
            for (at, ((dataset, rule), want)) in named.enumerate() {
                let (Some(dataset), Some(rule)) = (dataset, rule) else { continue };
                let at_ms = times.filter(|times| times.is_valid(at)).map_or(0, |times| times.value(at) / 1000);
                let checked = Checked {
                    dataset: dataset.to_owned(),
                    rule: rule.to_owned(),
                    at_ms,
                    rows: rows.filter(|rows| rows.is_valid(at)).and_then(|rows| u64::try_from(rows.value(at)).ok()),
                    got: got.filter(|got| got.is_valid(at)).map(|got| got.value(at)),
                    want: want.map(ToOwned::to_owned),
                    passed: passed.filter(|passed| passed.is_valid(at)).map(|passed| passed.value(at)),
                };
                let known = newest.entry((dataset.to_owned(), rule.to_owned())).or_insert_with(|| checked.clone());
                if known.at_ms < at_ms {
                    *known = checked;
                }
            }
        }
        Ok(newest.into_values().collect())
    }

    pub(super) async fn read(
        &self,
        table: OpsTable,
        columns: &[&str],
        since_us: Option<i64>,
    ) -> Result<Vec<RecordBatch>, RecordError> {
        let journal = self.journals().and_then(|journals| journals.tables.get(&table).cloned());
        let journal = journal.ok_or_else(|| RecordError::NotOpen { table: name(table) })?;
        journal.read(columns, since_us).await.map_err(|source| RecordError::Read { table: name(table), source })
    }
}

/// What the balance of a commit says that it brought; nothing of an event that is none, or of a sum that does not come out.
#[must_use]
pub fn brought(event: &Event, at_ms: i64) -> Option<Brought> {
    let Event::Measured { dataset, rule, want, passed: Some(true), .. } = event else { return None };
    let want = Some(want).filter(|_| **rule == *CONSERVATION_RULE)?;
    let (accepted, quarantined) = (said(want, "accepted")?, said(want, "quarantined")?);
    Some(Brought { dataset: dataset.to_string(), at_ms, accepted, quarantined })
}

pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref)
}

/// The number before a word of a balance, which are those that `vitalake_lake::Balance` prints.
fn said(balance: &str, what: &str) -> Option<u64> {
    let (before, _) = balance.split_once(&format!(" {what}"))?;
    before.rsplit(' ').next()?.parse().ok()
}

/// The texts of a column; none where there is no such column.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> impl Iterator<Item = Option<&'a str>> {
    column(batch, name).and_then(|column| column.as_string_view_opt()).into_iter().flatten()
}
