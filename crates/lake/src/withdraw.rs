//! Rejects of deliveries that were cut short between their two commits: taken out of the quarantine again once their
//! number has gone to another delivery, so that each number's rows and rejects are of one file.
//!
//! A delivery that still has its number is left as it is: the same file, or the process that is at it, finishes it.
//! Invariant: what is taken away are rejects whose rows are not in the table and cannot come into it any longer.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::ScalarValue;

use crate::commit::Commit;
use crate::delta::{DataFile, DeltaError, Snapshot};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::{TxnId, TxnKind};

/// The column that holds a delivery's number.
const NUMBER_COLUMN: &str = "_partition";

/// A delivery whose rows cannot come any longer.
struct CutShort {
    number: i32,
    /// Says that its rejects are gone.
    withdrawn: TxnId,
}

impl Table {
    /// Takes away the rejects of all deliveries that were cut short and whose number has gone to another. Gives how many
    /// deliveries these were.
    ///
    /// # Errors
    /// When the quarantine cannot be read or written; what was not taken away then is with the next call.
    pub async fn withdraw_cut_short(&self) -> Result<usize, LakeError> {
        if self.cut_short().is_empty() {
            return Ok(0);
        }
        let mut turn = self.turn().await;
        self.catch_up(&mut turn, SideName::Rejects).await?;
        self.catch_up(&mut turn, SideName::Rows).await?;
        let cut_short = self.cut_short();
        if cut_short.is_empty() {
            return Ok(0);
        }
        let (_, head) = self.at(SideName::Rejects);
        let mut commit = Commit::to(SideName::Rejects, "DELETE");
        for file in head.files().filter(|file| may_hold(file, &cut_short)) {
            let batches = self.read_rejects(file).await?;
            let kept = batches.iter().map(|batch| self.without(batch, &cut_short)).collect::<Result<Vec<_>, _>>()?;
            let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            if rows(&kept) < rows(&batches) {
                commit.removes.push(file.path().clone());
                commit.adds.extend(self.write_rejects(kept).await?);
            }
        }
        let deliveries = cut_short.len();
        commit.txns = cut_short.into_iter().map(|gone| (gone.withdrawn, i64::from(gone.number))).collect();
        let done = self.carry_out(&mut turn, &commit).await?;
        let mut state = self.state.lock();
        state.rejects.head = Arc::new(done.head);
        self.publish_value(&state);
        drop(state);
        tracing::warn!(table = %self.id(), deliveries, "rejects of deliveries that were cut short were taken out of quarantine: their files were not loaded; deliver them again");
        Ok(deliveries)
    }

    /// The delivery of a content whose rejects are in the quarantine without its rows.
    #[must_use]
    pub fn rejects_ahead(&self, sha256: &str) -> Option<i64> {
        let state = self.state.lock();
        ahead(&state.rows.head, &state.rejects.head, self.contract.dataset.as_str(), sha256)
    }

    fn cut_short(&self) -> Vec<CutShort> {
        let (rows, rejects) = {
            let state = self.state.lock();
            (Arc::clone(&state.rows.head), Arc::clone(&state.rejects.head))
        };
        let Some(last) = rows.txn(TxnId::delivery(&self.contract.dataset).as_str()) else { return Vec::new() };
        let mut found = Vec::new();
        for said in rejects.txns() {
            let id = TxnId::parse(&said.app_id);
            let TxnKind::DeliveredContent { dataset, sha256 } = id.kind() else { continue };
            let number = ahead(&rows, &rejects, dataset, sha256).filter(|number| *number <= last);
            if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
                found.push(CutShort { number, withdrawn: TxnId::withdrawn(dataset, sha256) });
            }
        }
        found
    }

    /// A batch without the rejects of these deliveries.
    fn without(&self, batch: &RecordBatch, cut_short: &[CutShort]) -> Result<RecordBatch, LakeError> {
        let topic = format!("feed/{}", self.contract.dataset);
        let topics = batch.column_by_name("_topic").and_then(|column| column.as_string_view_opt());
        let numbers = batch.column_by_name(NUMBER_COLUMN).and_then(|column| column.as_primitive_opt::<Int32Type>());
        let (Some(topics), Some(numbers)) = (topics, numbers) else { return Ok(batch.clone()) };
        let is_of = |number: Option<i32>| cut_short.iter().any(|gone| Some(gone.number) == number);
        let keep: BooleanArray =
            topics.iter().zip(numbers).map(|(of, number)| Some(of != Some(topic.as_str()) || !is_of(number))).collect();
        filter_record_batch(batch, &keep).map_err(|source| LakeError::Parquet {
            attempt: "taking rejects away",
            table: self.id(),
            source: DeltaError::arrow("quarantine", source),
        })
    }
}

/// The number under which a content's rejects are in the quarantine, where its rows are not in the table under it.
fn ahead(rows: &Snapshot, rejects: &Snapshot, dataset: &str, sha256: &str) -> Option<i64> {
    let content = TxnId::delivered_content(dataset, sha256);
    let number = rejects.txn(content.as_str())?;
    let committed = rows.txn(content.as_str()).is_some_and(|committed| committed >= number);
    let withdrawn = rejects.txn(TxnId::withdrawn(dataset, sha256).as_str()) == Some(number);
    (!committed && !withdrawn).then_some(number)
}

/// Whether a file's bounds allow that it holds a reject of them.
fn may_hold(file: &DataFile, cut_short: &[CutShort]) -> bool {
    let bound = |value: Option<ScalarValue>| match value {
        Some(ScalarValue::Int32(number)) => number,
        _ => None,
    };
    let Some(stats) = file.stats() else { return true };
    let kind = &DataType::Int32;
    match (bound(stats.min(NUMBER_COLUMN, kind)), bound(stats.max(NUMBER_COLUMN, kind))) {
        (Some(min), Some(max)) => cut_short.iter().any(|gone| (min..=max).contains(&gone.number)),
        _ => true,
    }
}
