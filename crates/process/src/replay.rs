//! Rejects of a derived dataset, out of quarantine again: through the rules of its contract as they are now, or, where the
//! model itself failed on a row of its input, through the model.
//!
//! The model's own task does it between two steps, since it alone knows which keys the table has. Invariant: a row whose
//! key was judged new here is in the table, or the keys are read from the table again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Int32Array, RecordBatch, RecordBatchOptions,
    new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use vitalake_contract::DatasetName;
use vitalake_contract::quarantine::{BrokenRule, rules_text};
use vitalake_lake::{FilePath, Portion, RejectFilter, ReplayProgress, Terms, Tried, Walk};

use crate::error::{Error, Result};
use crate::plan::{INGESTED_AT, LINEAGE};
use crate::run::Models;

/// A portion of quarantine for a model's task.
pub(crate) struct Request {
    pub(crate) portion: Portion,
    pub(crate) filter: RejectFilter,
    pub(crate) dry_run: bool,
    pub(crate) progress: Arc<ReplayProgress>,
    pub(crate) answer: oneshot::Sender<Result<Came>>,
}

/// What came of a portion, with the files of those that stay; none when something had moved meanwhile.
pub(crate) type Came = Option<(Tried, Vec<FilePath>)>;

impl Models {
    /// Puts rejects of a model's dataset through again. Everything that its input's ended epochs hold is to be committed
    /// before. With `dry_run` it says what would come of it, and changes nothing.
    ///
    /// # Errors
    /// `NoReplay` where the model's kind has none, or the model is not at work. What was committed before an error stays.
    pub async fn replay(
        &self,
        dataset: &DatasetName,
        filter: RejectFilter,
        dry_run: bool,
        progress: Arc<ReplayProgress>,
    ) -> Result<Tried> {
        let no_replay = |why: &'static str| Error::NoReplay { dataset: dataset.clone(), why };
        let Some((table, requests)) = self.replays_of(dataset) else {
            return Err(no_replay("no model of this process makes it"));
        };
        let _one_at_a_time = table.turn_to_take_back().await;
        if table.rejects_are_ahead(self.transaction_of(dataset).as_slice()) {
            return Err(no_replay("it still works through what a crash had cut short; try again in a moment"));
        }
        let mut walk = Walk::begin(&table, filter).await?;
        progress.of.store(walk.rejects, Ordering::Relaxed);
        while let Some(portion) = walk.next_portion() {
            let (answer, answered) = oneshot::channel();
            let (filter, progress) = (walk.filter().clone(), Arc::clone(&progress));
            let stopped = "its model is not at work: `vitalake status` says why; mend that first";
            requests
                .send(Request { portion, filter, dry_run, progress, answer })
                .await
                .map_err(|_| no_replay(stopped))?;
            let came = answered.await.map_err(|_| no_replay(stopped))??;
            walk.came(&table, came).await?;
        }
        Ok(walk.tried().clone())
    }
}

/// Under what terms a portion is committed.
pub(crate) fn terms() -> Terms {
    Terms::default()
}

/// The groups of rejects that count the same attempts.
pub(crate) fn by_attempts(rejects: &RecordBatch) -> Result<Vec<(i32, RecordBatch)>> {
    let column = rejects.column_by_name("_attempts").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let attempts: Vec<i32> = match column {
        Some(column) => column.iter().map(|attempts| attempts.unwrap_or(0)).collect(),
        None => vec![0; rejects.num_rows()],
    };
    let mut distinct = attempts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let group = |count: i32| {
        let of_group: BooleanArray = attempts.iter().map(|attempts| Some(*attempts == count)).collect();
        Ok((count, pick(rejects, &of_group)?))
    };
    distinct.into_iter().map(group).collect()
}

/// The rejects of a rule, and the others.
pub(crate) fn by_rule(rejects: &RecordBatch, rule: &str) -> Result<(RecordBatch, RecordBatch)> {
    let rules = rejects.column_by_name("_rule").and_then(|column| column.as_string_view_opt());
    let is = |row: usize| rules.is_some_and(|rules| rules.is_valid(row) && rules.value(row) == rule);
    let of_rule: BooleanArray = (0..rejects.num_rows()).map(|row| Some(is(row))).collect();
    let others: BooleanArray = (0..rejects.num_rows()).map(|row| Some(!is(row))).collect();
    Ok((pick(rejects, &of_rule)?, pick(rejects, &others)?))
}

fn pick(rejects: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    filter_record_batch(rejects, mask).map_err(|source| Error::Arrow { attempted: "dividing rejects", source })
}

/// Rejects whose `_raw` has all these columns, and those that lack one, with the reason.
pub(crate) fn with_columns(
    rejects: &RecordBatch,
    columns: &[String],
    fingerprint: &str,
    rule: &str,
) -> Result<(RecordBatch, RecordBatch)> {
    let raw = raw(rejects)?;
    let lacking: Vec<Option<String>> = (0..rejects.num_rows()).map(|row| lacks(raw, row, columns)).collect();
    let whole: BooleanArray = lacking.iter().map(|lacks| Some(lacks.is_none())).collect();
    let broken: BooleanArray = lacking.iter().map(|lacks| Some(lacks.is_some())).collect();
    let stays = pick(rejects, &broken)?;
    let reasons: Vec<BrokenRule> = lacking.into_iter().flatten().map(|reason| BrokenRule::new(rule, reason)).collect();
    let text = |pick: &dyn Fn(&BrokenRule) -> String| -> ArrayRef {
        Arc::new(reasons.iter().map(|broken| Some(pick(broken))).collect::<arrow::array::StringViewArray>())
    };
    let stays = replaced(&stays, |name| match name {
        "_rule" => Some(text(&|broken| broken.rule.clone())),
        "_reason" => Some(text(&|broken| broken.reason.clone())),
        "_rules" => Some(text(&|broken| rules_text(std::slice::from_ref(broken), fingerprint))),
        _ => None,
    })?;
    Ok((pick(rejects, &whole)?, stays))
}

fn lacks(raw: &BinaryViewArray, row: usize, columns: &[String]) -> Option<String> {
    let read = raw.is_valid(row).then(|| serde_json::from_slice::<Map<String, Value>>(raw.value(row)).ok()).flatten();
    let Some(kept) = read else { return Some("the row was not kept as one JSON object".to_owned()) };
    let lacking = columns.iter().find(|column| !kept.keys().any(|key| key.eq_ignore_ascii_case(column)))?;
    Some(format!(
        "the model reads the column {lacking} now, which was not kept with the row: let its record come again"
    ))
}

/// Rejects with their attempts set.
pub(crate) fn with_attempts(rejects: &RecordBatch, attempts: i32) -> Result<RecordBatch> {
    let count = rejects.num_rows();
    replaced(rejects, |name| {
        (name == "_attempts").then(|| Arc::new(Int32Array::from(vec![attempts; count])) as ArrayRef)
    })
}

fn replaced(batch: &RecordBatch, given: impl Fn(&str) -> Option<ArrayRef>) -> Result<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| given(field.name()).unwrap_or_else(|| Arc::clone(column))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
        .map_err(|source| Error::Arrow { attempted: "writing rejects anew", source })
}

/// The rows that `_raw` holds, with the values that they had, and with where they come from: columns of a schema, of which
/// those that say where a row comes from are the reject's own.
pub(crate) fn rows_of(rejects: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let arrow = |source| Error::Arrow { attempted: "reading rejected rows", source };
    let fields = schema.fields().iter().filter(|field| !LINEAGE.contains(&field.name().as_str()));
    let fields: Vec<Field> = fields.map(|field| read_as(field)).collect();
    let values = Arc::new(Schema::new(fields));
    let raw = raw(rejects)?;
    let mut decoder = ReaderBuilder::new(Arc::clone(&values))
        .with_batch_size(rejects.num_rows().max(1))
        .build_decoder()
        .map_err(arrow)?;
    for row in 0..rejects.num_rows() {
        let line = if raw.is_valid(row) { raw.value(row) } else { b"{}" };
        decoder.decode(line).map_err(arrow)?;
        decoder.decode(b"\n").map_err(arrow)?;
    }
    let read = decoder.flush().map_err(arrow)?.unwrap_or_else(|| RecordBatch::new_empty(values));
    let from = |name: &str| rejects.column_by_name(if name == INGESTED_AT { "_quarantined_at" } else { name }).cloned();
    let count = rejects.num_rows();
    let columns = schema.fields().iter().map(|field| {
        let column = match LINEAGE.contains(&field.name().as_str()) {
            true => from(field.name()),
            false => read.column_by_name(field.name()).cloned(),
        };
        let column = column.unwrap_or_else(|| new_null_array(field.data_type(), count));
        match column.data_type() == field.data_type() {
            true => Ok(column),
            false => arrow::compute::cast(&column, field.data_type()).map_err(arrow),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(arrow)
}

/// The type by which a column is read of JSON, nullable; views are made of it after.
fn read_as(field: &Field) -> Field {
    let kind = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    };
    Field::new(field.name(), kind, true)
}

fn raw(rejects: &RecordBatch) -> Result<&BinaryViewArray> {
    rejects
        .column_by_name("_raw")
        .and_then(|column| column.as_binary_view_opt())
        .ok_or_else(|| Error::Columns { what: "a batch of rejects".to_owned(), detail: "there is no _raw".to_owned() })
}
