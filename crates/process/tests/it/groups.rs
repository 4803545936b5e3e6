//! Groups and extremes of floating point in full models, and nulls beside themselves: as Spark has them, in whatever order
//! rows come.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use vitalake_process::preview;

use crate::support::{batch, strings};

const NEGATIVE_NAN: f64 = f64::from_bits(0xfff8_0000_0000_0001);

fn numbers(numbers: &[f64]) -> RecordBatch {
    let groups = vec![Some("g"); numbers.len()];
    batch(vec![("g", strings(&groups)), ("d", Arc::new(Float64Array::from(numbers.to_vec())) as ArrayRef)])
}

async fn only(text: &str, rows: RecordBatch) -> RecordBatch {
    let made = preview(text, rows).await.unwrap();
    arrow::compute::concat_batches(made[0].schema_ref(), &made).unwrap()
}

#[tokio::test]
async fn a_nan_is_above_all_numbers_wherever_it_stands() {
    let text = "-- kind: full\nSELECT g, max(d) AS most, min(d) AS least FROM raw.t GROUP BY g";
    for rows in [[f64::NAN, 1.0, 2.0], [2.0, f64::NAN, 1.0], [1.0, 2.0, NEGATIVE_NAN]] {
        let made = only(text, numbers(&rows)).await;
        let of = |column: usize| made.column(column).as_primitive::<Float64Type>().value(0);
        assert!(of(1).is_nan() && of(2) == 1.0, "{rows:?}: {made:?}");
    }
}

#[tokio::test]
async fn noughts_are_one_group_and_so_are_what_is_no_number() {
    let text = "-- kind: full\nSELECT d, count(*) AS n FROM raw.t GROUP BY d";
    let made = only(text, numbers(&[0.0, f64::NAN, -0.0, NEGATIVE_NAN, 0.0])).await;
    let mut counts = made.column(1).as_primitive::<Int64Type>().values().to_vec();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3]);
    let text = "-- kind: full\nSELECT count(DISTINCT d) AS n FROM raw.t";
    let made = only(text, numbers(&[0.0, f64::NAN, -0.0, NEGATIVE_NAN])).await;
    assert_eq!(made.column(0).as_primitive::<Int64Type>().value(0), 2);
}

#[tokio::test]
async fn bits_of_a_null_are_null() {
    let rows = batch(vec![("i", Arc::new(Int32Array::from(vec![Some(6), None])) as ArrayRef)]);
    let text = "-- kind: append\nSELECT i ^ i AS a, i & i AS b, i | i AS c, i ^ ~i AS d FROM raw.t";
    let made = only(text, rows).await;
    for (column, wanted) in [0, 6, 6, -1].into_iter().enumerate() {
        let column: Vec<_> = made.column(column).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(column, [Some(wanted), None]);
    }
}
