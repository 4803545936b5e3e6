//! What of a batch is a person's: rows that go whole, and cells of other rows that name them.
//!
//! A row goes where a column that the contract calls `subject` holds the id, or the record's key is it. A reject goes where
//! its bytes hold it, read by the contract where they can be. Invariant: what stays is what was there, but for cells that
//! name the person.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, RecordBatch, StringViewBuilder};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use serde_json::Value;
use vitalake_contract::Contract;

use super::places::Places;
use super::subject::Subject;

/// What stands where a person's id stood.
pub const ERASED: &str = "[erased]";

/// What a table's rows are.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Rows of a dataset with this contract.
    Of(&'a Contract),
    /// Rejects of one.
    Rejects(&'a Contract),
    /// What the platform says of itself: no row is a person's.
    Platform,
}

/// Whose rows are meant.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The person.
    pub subject: &'a Subject,
    /// Records that are the person's though they do not say so.
    pub places: &'a Places,
}

/// A batch without a person.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What stays.
    pub stays: RecordBatch,
    /// Rows that are gone.
    pub gone: usize,
    /// Rows of which a cell is another now.
    pub changed: usize,
}

/// A batch without a person: their rows, and what names them in others.
///
/// # Errors
/// When columns are not of the types that tables have.
pub fn without(who: Who<'_>, rows: Rows<'_>, batch: &RecordBatch) -> Result<Judged, ArrowError> {
    let Who { subject, places } = who;
    let mut theirs = theirs(std::slice::from_ref(subject), rows, batch);
    if !places.is_empty() && !matches!(rows, Rows::Platform) {
        Places::each(batch, |row, topic, partition, offset| {
            mark(&mut theirs, row, places.has(topic, partition, offset));
        });
    }
    let gone = theirs.iter().filter(|theirs| **theirs).count();
    let stays = match gone {
        0 => batch.clone(),
        _ => filter_record_batch(batch, &theirs.iter().map(|theirs| Some(!theirs)).collect::<BooleanArray>())?,
    };
    let (stays, changed) = cleaned(subject, &stays)?;
    Ok(Judged { stays, gone, changed })
}

/// A batch without the rows of persons, and how many went. Other rows are as they are.
///
/// # Errors
/// As [`without`].
pub fn refused(subjects: &[Subject], rows: Rows<'_>, batch: RecordBatch) -> Result<(RecordBatch, usize), ArrowError> {
    let theirs = theirs(subjects, rows, &batch);
    match theirs.iter().filter(|theirs| **theirs).count() {
        0 => Ok((batch, 0)),
        gone => {
            let stay: BooleanArray = theirs.iter().map(|theirs| Some(!theirs)).collect();
            Ok((filter_record_batch(&batch, &stay)?, gone))
        }
    }
}

/// Whether a record as it arrived is a person's, by its key or where its contract looks for one.
#[must_use]
pub fn is_record_of(
    subject: &Subject,
    contract: Option<&Contract>,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
) -> bool {
    contract.is_some_and(|contract| {
        contract.subjects().next().is_some()
            && (key.is_some_and(|key| subject.is(key)) || value.is_some_and(|value| reads_as(subject, contract, value)))
    })
}

/// Which rows are of one of these persons.
pub(super) fn theirs(subjects: &[Subject], rows: Rows<'_>, batch: &RecordBatch) -> Vec<bool> {
    let mut theirs = vec![false; batch.num_rows()];
    let column = |name: &str| batch.column_by_name(name);
    match rows {
        Rows::Platform => {}
        Rows::Of(contract) => {
            let mut named: Vec<&ArrayRef> = contract.subjects().filter_map(|of| column(&of.name)).collect();
            if !named.is_empty() {
                named.extend(column("_key"));
            }
            for values in named {
                each_value(values, |row, value| {
                    mark(&mut theirs, row, subjects.iter().any(|subject| subject.is(value)));
                });
            }
        }
        Rows::Rejects(contract) => {
            let is = |pair: (Option<&[u8]>, Option<&[u8]>)| {
                let names =
                    |subject: &Subject| [pair.0, pair.1].into_iter().flatten().any(|bytes| subject.is_in(bytes));
                subjects.iter().any(|subject| is_record_of(subject, Some(contract), pair) || names(subject))
            };
            if let Some(keys) = column("_key") {
                each_value(keys, |row, key| mark(&mut theirs, row, is((Some(key), None))));
            }
            for values in ["_raw", "_headers"].into_iter().filter_map(column) {
                each_value(values, |row, bytes| mark(&mut theirs, row, is((None, Some(bytes)))));
            }
        }
    }
    theirs
}

fn mark(theirs: &mut [bool], row: usize, is: bool) {
    if let Some(theirs) = theirs.get_mut(row) {
        *theirs |= is;
    }
}

/// The values of a column as the bytes of their text, but for nulls.
fn each_value(values: &ArrayRef, mut visit: impl FnMut(usize, &[u8])) {
    let mut number = |row: usize, value: i64| visit(row, value.to_string().as_bytes());
    match values.data_type() {
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            values.iter().enumerate().filter_map(|(row, value)| Some((row, value?))).for_each(|(r, v)| number(r, v));
        }
        DataType::Int32 => {
            let values = values.as_primitive::<Int32Type>();
            let values = values.iter().enumerate().filter_map(|(row, value)| Some((row, i64::from(value?))));
            values.for_each(|(r, v)| number(r, v));
        }
        _ => {
            for (row, value) in texts(values).into_iter().enumerate() {
                if let Some(value) = value {
                    visit(row, value);
                }
            }
        }
    }
}

/// The bytes of a column of text or bytes; nothing of another.
pub(super) fn texts(values: &ArrayRef) -> Vec<Option<&[u8]>> {
    match values.data_type() {
        DataType::Utf8View => values.as_string_view().iter().map(|value| value.map(str::as_bytes)).collect(),
        DataType::BinaryView => values.as_binary_view().iter().collect(),
        DataType::Utf8 => values.as_string::<i32>().iter().map(|value| value.map(str::as_bytes)).collect(),
        DataType::LargeUtf8 => values.as_string::<i64>().iter().map(|value| value.map(str::as_bytes)).collect(),
        DataType::Binary => values.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => values.as_binary::<i64>().iter().collect(),
        _ => Vec::new(),
    }
}

/// The values of a column of text or bytes.
pub(super) fn bytes_of(values: &ArrayRef) -> impl Iterator<Item = &[u8]> {
    texts(values).into_iter().flatten()
}

/// Whether a record's bytes, read as JSON or as a line of CSV, hold the id where a subject may stand.
fn reads_as(subject: &Subject, contract: &Contract, bytes: &[u8]) -> bool {
    if let Ok(record) = serde_json::from_slice::<Value>(bytes) {
        return contract.subjects().any(|column| {
            let by_path = column.path.iter().try_fold(&record, |at, step| at.get(step));
            by_path.or_else(|| record.get(&*column.name)).is_some_and(|value| match value {
                Value::String(text) => subject.is(text.as_bytes()),
                Value::Number(number) => subject.is(number.to_string().as_bytes()),
                _ => false,
            })
        });
    }
    let fields = bytes.split(|byte| matches!(byte, b',' | b';' | b'\t' | b'|' | b'\n' | b'\r'));
    fields.map(|field| field.trim_ascii()).any(|field| {
        let quoted = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""));
        subject.is(quoted.unwrap_or(field))
    })
}

/// A batch in which no text names the person, and how many rows that changed.
fn cleaned(subject: &Subject, batch: &RecordBatch) -> Result<(RecordBatch, usize), ArrowError> {
    let mut changed = vec![false; batch.num_rows()];
    let mut columns = batch.columns().to_vec();
    for (column, field) in columns.iter_mut().zip(batch.schema().fields()) {
        let hits: Vec<usize> = texts(column)
            .into_iter()
            .enumerate()
            .filter_map(|(row, text)| text.filter(|text| subject.is_in(text)).map(|_| row))
            .collect();
        if hits.is_empty() {
            continue;
        }
        hits.iter().for_each(|row| mark(&mut changed, *row, true));
        *column = replaced(subject, column, (&hits, field.is_nullable()))?;
    }
    let rows = changed.into_iter().filter(|changed| *changed).count();
    Ok((if rows == 0 { batch.clone() } else { RecordBatch::try_new(batch.schema(), columns)? }, rows))
}

/// A column whose values at some rows do not name the person.
fn replaced(subject: &Subject, column: &ArrayRef, (hits, nullable): (&[usize], bool)) -> Result<ArrayRef, ArrowError> {
    let is_hit = |row: usize| hits.binary_search(&row).is_ok();
    match column.data_type() {
        DataType::Utf8View => {
            let mut built = StringViewBuilder::with_capacity(column.len());
            for (row, value) in column.as_string_view().iter().enumerate() {
                match value {
                    Some(text) if is_hit(row) => match subject.without(text, ERASED) {
                        Some(text) if !subject.is_in(text.as_bytes()) => built.append_value(text),
                        _ if nullable => built.append_null(),
                        _ => built.append_value(ERASED),
                    },
                    other => built.append_option(other),
                }
            }
            Ok(Arc::new(built.finish()))
        }
        DataType::BinaryView => {
            let mut built = BinaryViewBuilder::with_capacity(column.len());
            for (row, value) in column.as_binary_view().iter().enumerate() {
                match value {
                    Some(_) if is_hit(row) && nullable => built.append_null(),
                    Some(_) if is_hit(row) => built.append_value(b""),
                    other => built.append_option(other),
                }
            }
            Ok(Arc::new(built.finish()))
        }
        other => Err(ArrowError::CastError(format!("a column of {other} cannot be written again"))),
    }
}
