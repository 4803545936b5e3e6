//! Rejects of a raw dataset, out of quarantine again: through the decoders of the contract as it is now, into the table.
//!
//! What has landed is committed first, so that all of quarantine is in files; then portion by portion, each in a pair of
//! commits of its own, beside landing and deliveries. Of a dataset that each delivery replaces only the rejects of the
//! delivery that is in place come back. Invariant: a reject becomes one row or stays one reject.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, Date32Array, RecordBatch};
use arrow::datatypes::{Date32Type, Int32Type};
use chrono::NaiveDate;
use vitalake_contract::Delivery;
use vitalake_contract::check::SqlRules;
use vitalake_contract::contract::BUSINESS_DATE;
use vitalake_lake::{
    Again, LakeError, PutThrough, Putting, RejectFilter, ReplayProgress, Table, Terms, Tried, TxnId, Walk,
};
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::decode::{DecodeError, Redecoder, Rules};
use crate::delivery::dates;

/// Why a replay ended early; what was committed before stays.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A batch could not be decoded at all.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A crash came between two commits, and its records are still to be read again.
    #[error("{0} still lands what a crash had cut short; replay again when `vitalake status` shows nothing behind")]
    StillLanding(String),
    /// Rows went missing on the way.
    #[error(
        "of {taken} rejects of {dataset} {found} came out of the decoders; nothing of them was committed: report it"
    )]
    Unbalanced {
        /// The dataset.
        dataset: String,
        /// How many went in.
        taken: u64,
        /// How many came out.
        found: u64,
    },
}

impl Classified for ReplayError {
    fn class(&self) -> Class {
        match self {
            Self::Decode(_) | Self::Unbalanced { .. } => Class::Internal,
            Self::StillLanding(_) => Class::External,
            Self::Lake(error) => error.class(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Decode(_) | Self::Unbalanced { .. } => Retry::Never,
            Self::StillLanding(_) => Retry::Later,
            Self::Lake(error) => error.retry(),
        }
    }
}

/// A replay's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// What came of the rejects.
    pub tried: Tried,
    /// Rejects of deliveries that a later one has replaced, or that a crash has cut short: they stay where they are.
    pub superseded: u64,
}

/// What is asked of a replay.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The rejects that are meant.
    pub filter: RejectFilter,
    /// Whether it is only said what would come of it.
    pub dry_run: bool,
    /// The transactions under which the dataset lands here.
    pub landing: &'a [TxnId],
}

/// Puts the rejects that are meant through again. With `dry_run` it says what would come of it, and changes nothing.
///
/// # Errors
/// When the table or a batch refuses; portions that were committed before stay committed, the others are as they were.
pub async fn replay(
    table: &Arc<Table>,
    sql: Option<Arc<dyn SqlRules>>,
    asked: Asked<'_>,
    progress: &ReplayProgress,
) -> Result<Replayed, ReplayError> {
    let Asked { filter, dry_run, landing } = asked;
    table.flush().await?;
    table.withdraw().await?;
    let _one_at_a_time = table.turn_to_take_back().await;
    if table.rejects_are_ahead(landing) {
        return Err(ReplayError::StillLanding(table.contract().dataset.to_string()));
    }
    let (mut replayed, mut terms, asked) = (Replayed::default(), Terms::default(), filter.clone());
    let filter = of_loaded(table, filter, &mut terms);
    if filter != asked {
        replayed.superseded = count(table, &asked).await?;
    }
    let mut walk = Walk::begin(table, filter).await?;
    replayed.superseded = replayed.superseded.saturating_sub(walk.rejects);
    progress.of.store(walk.rejects, Ordering::Relaxed);
    let mut through = Decoders::new(table, sql);
    while let Some(portion) = walk.next_portion() {
        let filter = walk.filter().clone();
        let putting = Putting { filter: &filter, done: &progress.done };
        let came = match dry_run {
            true => Some((table.try_portion(&portion, putting, &mut through).await?, Vec::new())),
            false => table.put_portion_through(&portion, putting, &mut through, terms.clone()).await?,
        };
        if came.is_none() {
            table.withdraw().await?;
            // A delivery may have taken the place of the one whose rejects were meant.
            let filter = of_loaded(table, asked.clone(), &mut terms);
            let (all, meant) = (count(table, &asked).await?, count(table, &filter).await?);
            replayed.superseded = all.saturating_sub(meant);
            walk.mean(filter);
        }
        walk.came(table, came).await?;
    }
    replayed.tried = walk.tried().clone();
    Ok(replayed)
}

/// How many committed rejects are meant.
async fn count(table: &Table, filter: &RejectFilter) -> Result<u64, LakeError> {
    let portions = table.portions(filter, &HashSet::new()).await?;
    Ok(portions.iter().map(|portion| portion.rejects).sum())
}

/// Leaves out the rejects of deliveries whose rows are not in the table: nobody would know what became of the others.
fn of_loaded(table: &Table, filter: RejectFilter, terms: &mut Terms) -> RejectFilter {
    let deliveries = TxnId::delivery(&table.contract().dataset);
    let (loaded, rejected) = (table.committed_txn(&deliveries), table.rejects_txn(&deliveries));
    if table.contract().delivery == Delivery::Replace {
        let of_another = filter.delivery.is_some_and(|number| Some(number) != loaded);
        let number = if of_another { None } else { loaded };
        terms.unless_moved = Some((deliveries, loaded));
        return RejectFilter { delivery: Some(number.unwrap_or(i64::MIN)), ..filter };
    }
    match rejected.filter(|rejected| loaded.is_none_or(|loaded| loaded < *rejected)) {
        Some(_) => RejectFilter { delivery_max: Some(loaded.unwrap_or(0)), ..filter },
        None => filter,
    }
}

/// The decoders of one dataset.
struct Decoders {
    dataset: String,
    decoder: Redecoder,
    /// Of deliveries that stand for one.
    dates: BTreeMap<i32, NaiveDate>,
}

impl Decoders {
    fn new(table: &Table, sql: Option<Arc<dyn SqlRules>>) -> Self {
        let contract = table.contract();
        let decoder = Redecoder::new(Rules::new(Arc::clone(contract), sql));
        Self { dataset: contract.dataset.to_string(), decoder, dates: dates(table) }
    }

    /// Rows with the business dates of the deliveries that brought them.
    fn dated(&self, rows: &RecordBatch) -> Result<RecordBatch, DecodeError> {
        let numbers = rows.column_by_name("_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let (Some(numbers), Ok(at)) = (numbers, rows.schema_ref().index_of(BUSINESS_DATE)) else {
            return Ok(rows.clone());
        };
        let of = |number: Option<i32>| self.dates.get(&number?).map(|date| Date32Type::from_naive_date(*date));
        let mut columns = rows.columns().to_vec();
        if let Some(column) = columns.get_mut(at) {
            *column = Arc::new(Date32Array::from_iter(numbers.iter().map(of)));
        }
        let build = |source| DecodeError::Build { dataset: self.dataset.clone(), source };
        RecordBatch::try_new(rows.schema(), columns).map_err(build)
    }
}

impl PutThrough for Decoders {
    type Error = ReplayError;

    async fn put_through(&mut self, rejects: RecordBatch) -> Result<Again, ReplayError> {
        let mut again = self.decoder.redecode(&rejects)?;
        for rows in &mut again.rows {
            *rows = self.dated(rows)?;
        }
        let count = |batches: &[RecordBatch]| batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        let (taken, found) = (rejects.num_rows() as u64, count(&again.rows) + count(&again.rejects));
        if taken != found {
            return Err(ReplayError::Unbalanced { dataset: self.dataset.clone(), taken, found });
        }
        Ok(Again { rows: again.rows, rejects: again.rejects, duplicates: 0 })
    }
}
