//! What the ops datasets know already, for who begins: read from their rows, committed and waiting.
//!
//! Invariant: nothing is changed, and what cannot be read is an error, never an empty answer.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use vitalake_lake::CONSERVATION_RULE;

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
