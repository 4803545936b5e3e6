//! Rows of `ops.audit`, read on from the audit journal.
//!
//! The journal is the record, and the table is made of it: what a crash takes from the table's tail is read again. Invariant: each
//! entry of a journal is one row, whatever is killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use chrono::DateTime;
use serde::Serialize;
use vitalake_lake::Journal;
use vitalake_runtime::error::in_full;

use super::cells::{Cell, Row, batch};
use super::known::{column, texts};
use super::{Journals, Recorder};
use crate::audit::{Accessed, Audit, Cursor, Recorded};
use crate::tables::OpsTable;

/// Batches that are shown at once; the rest follows a second later.
const BATCHES_MAX: usize = 4;
/// Microseconds of the days before the journal's end in which rows of it are looked for first.
const LATELY_US: i64 = 2 * 24 * 3_600_000_000;

impl Recorder {
    /// Makes rows of a journal's entries from now on; the first journal holds.
    pub fn keep_audit(&self, audit: Audit) {
        let _first = self.0.audit.set(audit);
    }

    /// The place behind the last entry that the table has.
    pub(super) async fn audited_until(&self, tables: &BTreeMap<OpsTable, Arc<Journal>>) -> Option<Cursor> {
        let (audit, journal) = (self.0.audit.get().filter(|audit| audit.is_on())?, tables.get(&OpsTable::Audit)?);
        let chain = audit.tail().chain;
        let lately = self.0.clock.now_ms().saturating_mul(1000) - LATELY_US;
        for since in [Some(lately), None] {
            match journal.read(&["chain", "sequence"], since).await {
                Ok(batches) => match batches.iter().filter_map(|batch| newest(batch, &chain)).max() {
                    None if since.is_some() => {}
                    last => {
                        return Some(Cursor::at(
                            last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default() + 1,
                        ));
                    }
                },
                Err(error) => {
                    tracing::warn!(
                        error = in_full(&error),
                        "the rows of ops.audit cannot be read: it gets none in this life"
                    );
                    return None;
                }
            }
        }
        None
    }

    /// Shows entries that have become durable.
    pub(super) fn show_audit(&self, journals: &Journals) {
        let (Some(audit), Some(journal)) = (self.0.audit.get(), journals.tables.get(&OpsTable::Audit)) else { return };
        let mut audited = journals.audited.lock();
        let Some(cursor) = audited.as_mut() else { return };
        for _ in 0..BATCHES_MAX {
            let before = cursor.clone();
            let entries = audit.read_on(cursor).unwrap_or_default();
            if entries.is_empty() {
                return;
            }
            let (chain, process) = (audit.tail().chain, &self.0.process);
            let rows: Vec<Row> = entries.iter().map(|entry| row(&chain, entry, process)).collect();
            if batch(journal.schema(), &rows).and_then(|rows| journal.append(rows)).is_none() {
                // There is no room before the next commit: they are read again then.
                *cursor = before;
                return;
            }
        }
    }
}

/// The highest number of a chain.
fn newest(batch: &RecordBatch, chain: &str) -> Option<i64> {
    let numbers = column(batch, "sequence").and_then(|column| column.as_primitive_opt::<Int64Type>())?;
    let of_chain = texts(batch, "chain").zip(numbers).filter(|(of, _)| *of == Some(chain));
    of_chain.filter_map(|(_, number)| number).max()
}

fn row(chain: &str, recorded: &Recorded, process: &Arc<str>) -> Row {
    let entry = &recorded.entry;
    let at = DateTime::parse_from_rfc3339(&recorded.at).map(|at| at.timestamp_millis()).unwrap_or_default();
    let text = |text: Option<&str>| Cell::Text(text.map(Into::into));
    let some = |text: String| Cell::Text((!text.is_empty()).then(|| text.into()));
    let statement = entry.statement.as_ref();
    let names: Vec<&str> = entry.datasets.iter().map(|of| of.dataset.as_str()).collect();
    let cells = vec![
        Cell::At(at),
        Cell::text(chain),
        Cell::count(recorded.sequence),
        Cell::text(entry.id.as_str()),
        text(entry.who.name.as_deref()),
        text(entry.who.by.as_deref()),
        some(entry.who.roles.join(",")),
        some(word(&entry.surface)),
        some(word(&entry.action)),
        some(word(&entry.outcome)),
        text(entry.reason.as_deref()),
        some(names.join(",")),
        some(columns(&entry.datasets)),
        text(entry.purpose.as_deref()),
        text(entry.policy.as_deref()),
        text(statement.map(|of| of.fingerprint.as_str())),
        text(statement.map(|of| of.shape.as_str())),
        some(statement.map(|of| of.literals.join(",")).unwrap_or_default()),
        text(entry.subject.as_deref()),
        Cell::maybe_count(entry.rows),
        Cell::text(Arc::clone(process)),
    ];
    Row { table: OpsTable::Audit, cells }
}

/// A word as the journal writes it.
fn word(of: &impl Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// The columns of the datasets of which some were read.
fn columns(datasets: &[Accessed]) -> String {
    let read = datasets.iter().filter(|of| !of.columns.is_empty());
    let read: BTreeMap<&str, _> = read.map(|of| (of.dataset.as_str(), &of.columns)).collect();
    if read.is_empty() { String::new() } else { serde_json::to_string(&read).unwrap_or_default() }
}
