//! What an epoch of an upsert's input brings, and epochs that wait for their commit as one.
//!
//! Filled by the model's work, written by `write`. Invariant: events keep the order in which they came.

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_lake::Seal;

use crate::upsert::{Change, Range};

/// What an epoch brings.
#[derive(Default)]
pub(super) struct Gathered {
    /// Events, in the order in which they came.
    pub(super) changes: Vec<Change>,
    /// Of an input that comes as a whole: its rows, once any came.
    pub(super) whole: Option<Vec<RecordBatch>>,
    /// Rows of a whole that were rejected: their keys are not absent.
    pub(super) rejected: Vec<RecordBatch>,
    /// The day for which a whole stands, in days since 1970.
    pub(super) business_date: Option<i32>,
    pub(super) has_rejects: bool,
    /// Events and rows that are in memory.
    pub(super) rows: u64,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Ranges whose events a part of the epoch has brought into the state already.
    pub(super) touched: Vec<Range>,
}

impl Gathered {
    /// How many events and rows are in memory.
    pub(super) fn held(&self) -> usize {
        let events = self.changes.iter().map(|(Change::Add(events) | Change::Retract(events))| events.num_rows());
        let whole = self.whole.iter().flatten().map(RecordBatch::num_rows);
        events.chain(whole).sum()
    }
}

/// An epoch of the input that has ended.
pub(super) struct OpenEpoch {
    pub(super) input: Arc<Seal>,
    pub(super) gathered: Gathered,
    /// The output's own seal, where rows were rejected.
    pub(super) rejects: Option<Arc<Seal>>,
}

impl OpenEpoch {
    /// Whether one commit can hold both: rejects end an epoch of the output, and a whole is compared with what is there.
    pub(super) fn can_take(&self, next: &Self) -> bool {
        self.rejects.is_none() && self.gathered.whole.is_none() && next.gathered.whole.is_none()
    }

    pub(super) fn take(&mut self, next: Self) {
        let Self { input, gathered, rejects } = next;
        self.gathered.changes.extend(gathered.changes);
        self.gathered.touched.extend(gathered.touched);
        self.gathered.rows += gathered.rows;
        self.gathered.bytes += gathered.bytes;
        (self.input, self.rejects) = (input, rejects);
    }
}
