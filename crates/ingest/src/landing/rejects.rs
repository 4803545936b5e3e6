//! Rows of quarantine that are no record of their own, and the offsets that quarantine has already.
//!
//! Invariant: every offset that is stepped over is in a row, in a reject, or in a reject's reason.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::quarantine::{BrokenRule, rules_text};

use super::LandingError;
use crate::decode::DecodeError;

/// Offsets whose records are in quarantine already, from before a crash that came before the commit of their epoch's
/// rows. They stay there, and there alone, whatever the contract says by now.
pub(super) type KnownRejects = Arc<HashSet<i64>>;

/// One row of quarantine that is no record of its own.
pub(super) struct Reject<'a> {
    pub(super) offset: i64,
    pub(super) raw: &'a [u8],
    pub(super) rule: &'static str,
    pub(super) reason: String,
    pub(super) at_ms: i64,
    /// The fingerprint of the contract that the record would have been judged by.
    pub(super) contract: &'a str,
}

/// A batch's offset, where it has one row.
pub(super) fn offset_of(row: &RecordBatch) -> Option<i64> {
    row.column_by_name("_offset")?.as_primitive_opt::<Int64Type>()?.values().first().copied()
}

pub(super) fn reject_row(topic: &str, partition: i32, reject: Reject<'_>) -> Result<RecordBatch, LandingError> {
    let at = TimestampMicrosecondArray::from(vec![reject.at_ms.saturating_mul(1000)]).with_timezone("UTC");
    let every = rules_text(&[BrokenRule::new(reject.rule, &reject.reason)], reject.contract);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![reject.raw])),
        Arc::new(StringViewArray::from(vec![topic])),
        Arc::new(Int32Array::from(vec![partition])),
        Arc::new(Int64Array::from(vec![reject.offset])),
        Arc::new(TimestampMicrosecondArray::new_null(1).with_timezone("UTC")),
        Arc::new(BinaryViewArray::new_null(1)),
        Arc::new(StringViewArray::new_null(1)),
        Arc::new(StringViewArray::from(vec![reject.rule])),
        Arc::new(StringViewArray::from(vec![reject.reason])),
        Arc::new(at),
        Arc::new(StringViewArray::from(vec![every])),
        Arc::new(Int32Array::from(vec![0])),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).map_err(|source| {
        let source = DecodeError::Build { dataset: topic.to_owned(), source };
        LandingError::Decode { topic: topic.to_owned(), source }
    })
}
