//! The order of rows: each row that is sent has a number, which goes with what comes of it.
//!
//! Which of two rows with one key is the first depends on it, and Spark keeps no order. Invariant: rows that come back
//! are in the order of those that they come from, with the columns of the plan and no number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::engine::spark::Input;
use crate::error::{Error, Result};
use crate::slot::conform;

/// The column of the numbers.
pub(super) const NUMBER: &str = "__row";

fn failed(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { attempted: "putting rows in order", source }
}

/// Rows with their numbers.
pub(super) fn numbered(name: &str, schema: &Schema, rows: &[RecordBatch]) -> Result<Input> {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(NUMBER, DataType::Int64, true)));
    let schema = Arc::new(Schema::new(fields));
    let mut next = 0_i64;
    let mut with_numbers = Vec::with_capacity(rows.len());
    for batch in rows {
        let end = next.saturating_add(i64::try_from(batch.num_rows()).unwrap_or(i64::MAX));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(next..end));
        next = end;
        let columns = batch.columns().iter().cloned().chain([numbers]).collect();
        with_numbers.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?);
    }
    Ok(Input { name: name.to_owned(), schema, rows: with_numbers })
}

/// What came back, with the columns of the plan; by the numbers where there are some.
pub(super) fn in_order(rows: Vec<RecordBatch>, schema: &SchemaRef, is_numbered: bool) -> Result<Vec<RecordBatch>> {
    let as_planned = |batch: &RecordBatch| conform("what Spark gives", batch, schema);
    if !is_numbered || is_sorted(&rows)? {
        return rows.iter().map(as_planned).collect();
    }
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let all = concat_batches(first.schema_ref(), &rows).map_err(failed)?;
    let numbers = numbers(&all)?;
    let mut order: Vec<u32> = (0..u32::try_from(all.num_rows()).unwrap_or(u32::MAX)).collect();
    order.sort_by_key(|row| numbers.value(*row as usize));
    let sorted = take_record_batch(&all, &UInt32Array::from(order)).map_err(failed)?;
    Ok(vec![as_planned(&sorted)?])
}

fn is_sorted(rows: &[RecordBatch]) -> Result<bool> {
    let mut last = i64::MIN;
    for batch in rows {
        for number in numbers(batch)?.values() {
            if *number < last {
                return Ok(false);
            }
            last = *number;
        }
    }
    Ok(true)
}

fn numbers(rows: &RecordBatch) -> Result<&Int64Array> {
    let numbers = rows.column_by_name(NUMBER).and_then(|column| column.as_primitive_opt::<Int64Type>());
    numbers.filter(|numbers| numbers.null_count() == 0).ok_or_else(|| Error::Columns {
        what: "what Spark gives".to_owned(),
        detail: format!("there is no {NUMBER}, by which the rows are put in order"),
    })
}
