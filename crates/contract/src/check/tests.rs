//! Each check against values that keep and break it, with nulls between.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::{BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray};
use arrow_schema::{Field, Schema};
use regex::Regex;
use rstest::rstest;

use super::*;
use crate::contract::{Column, DatasetName, Layer};
use crate::rule::Severity;

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringViewArray>())
}

fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Int64Array>())
}

fn reals(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Float64Array>())
}

fn rule(check: Check) -> RowRule {
    RowRule { name: "x.rule".to_owned(), column: Some(0), check, severity: Severity::Error }
}

fn rows(check: Check, array: ArrayRef) -> Result<Vec<usize>, CheckError> {
    let schema = Arc::new(Schema::new(vec![Field::new("x", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    Ok(violations(&[rule(check)], &batch)?.into_iter().map(|v| v.row).collect())
}

fn allowed(values: &[&str]) -> Check {
    Check::OneOf(values.iter().map(|&v| v.to_owned()).collect())
}

#[rstest]
#[case(Check::Required, longs(&[Some(1), None, Some(2), None]), &[1, 3])]
#[case(Check::Required, longs(&[Some(1)]), &[])]
#[case(Check::MinLength(3), texts(&[Some("ab"), Some("abc"), None, Some("äö"), Some("äöü")]), &[0, 3])]
#[case(Check::MaxLength(2), texts(&[Some("ab"), Some("abc"), None, Some("äö"), Some("äöü")]), &[1, 4])]
#[case(Check::MinLength(0), texts(&[Some("")]), &[])]
#[case(Check::MaxLength(0), texts(&[Some(""), Some("a")]), &[1])]
#[case(Check::Pattern(Regex::new("^[A-Z]+$").unwrap()), texts(&[Some("AB"), Some("Ab"), None]), &[1])]
#[case(allowed(&["a", "b"]), texts(&[Some("a"), Some("c"), None]), &[1])]
#[case(allowed(&["1", "2.0"]), longs(&[Some(1), Some(2), Some(3), None]), &[2])]
#[case(allowed(&["0.5"]), reals(&[Some(0.5), Some(0.25)]), &[1])]
#[case(allowed(&["true"]), Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), &[1])]
#[case(Check::Minimum(Bound::Whole(0)), longs(&[Some(0), Some(-1), None, Some(i64::MIN)]), &[1, 3])]
#[case(Check::Minimum(Bound::Whole(1)), longs(&[None, Some(1)]), &[])]
#[case(Check::Maximum(Bound::Real(1.5)), longs(&[Some(1), Some(2)]), &[1])]
#[case(Check::Maximum(Bound::Whole(100)), reals(&[Some(100.0), Some(100.1), None, Some(f64::NAN)]), &[1, 3])]
#[case(Check::ExclusiveMinimum(Bound::Whole(0)), Arc::new(Int32Array::from(vec![0, 1])), &[0])]
#[case(Check::ExclusiveMaximum(Bound::Whole(2)), Arc::new(Date32Array::from(vec![1, 2, 3])), &[1, 2])]
#[case(Check::MultipleOf(5.0), longs(&[Some(10), Some(-5), Some(7), None]), &[2])]
#[case(Check::MultipleOf(0.1), reals(&[Some(0.3), Some(0.35), Some(1e6)]), &[1])]
#[case(Check::MaxLength(1), Arc::new(StringArray::from(vec![Some("ab"), None])), &[0])]
#[case(Check::NotSql("x > 1".to_owned()), longs(&[Some(2)]), &[])]
fn finds_the_rows_that_break_a_check(#[case] check: Check, #[case] array: ArrayRef, #[case] expected: &[usize]) {
    assert_eq!(rows(check, array).unwrap(), expected);
}

#[test]
fn a_check_that_does_not_fit_the_column_is_an_error() {
    assert!(matches!(rows(Check::MinLength(1), longs(&[Some(1)])), Err(CheckError::Type { .. })));
    let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(matches!(violations(&[rule(Check::Required)], &batch), Err(CheckError::NoColumn { .. })));
}

#[test]
fn reasons_name_the_column_and_the_bound() {
    let column = Column::new;
    let contract = Contract {
        columns: vec![column("day", ColumnType::Date(None)), column("at", ColumnType::Timestamp(None))],
        ..Contract::new(DatasetName::new("d").unwrap(), Layer::Curated)
    };
    let mut least = rule(Check::Minimum(Bound::Whole(16903)));
    assert_eq!(reason(&least, &contract), "day is below the minimum of 2016-04-12");
    least.column = Some(1);
    assert_eq!(reason(&least, &contract), "at is below the minimum of 1970-01-01T00:00:00.016Z");
    assert_eq!(reason(&rule(Check::Required), &contract), "day is required and is absent or null");
}
