//! When two columns, ours and Spark's, are the same: the same type, and in each row the same value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::ScalarValue;

use crate::corpus::simple;

/// The functions whose last digit is not said by any standard: Java computes them by other polynomials than we do.
const TOLERANT: [&str; 29] = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "cot", "csc", "exp", "expm1",
    "ln", "log", "log10", "log1p", "log2", "pow", "power", "sec", "sin", "sinh", "tan", "tanh", "degrees", "radians",
    "hypot",
];
const TOLERANCE: f64 = 2e-15;
/// Sums of DOUBLE are added in another order.
const SUM_TOLERANCE: f64 = 1e-12;

fn tolerance(expr: &str) -> f64 {
    let lower = expr.to_lowercase();
    let calls = |names: &[&str]| names.iter().any(|name| lower.contains(&format!("{name}(")));
    match expr {
        _ if calls(&["sum", "avg"]) => SUM_TOLERANCE,
        _ if calls(&TOLERANT) => TOLERANCE,
        _ => 0.0,
    }
}

/// Whether no digit of an answer may be another.
pub fn is_exact(expr: &str) -> bool {
    tolerance(expr) == 0.0
}

/// How a column of ours differs from Spark's.
pub fn difference(expr: &str, ours: &ArrayRef, theirs: &ArrayRef) -> Option<String> {
    let (kind, wanted) = (simple(ours.data_type()), simple(theirs.data_type()));
    if kind != wanted {
        return Some(format!("{kind}, and Spark {wanted}"));
    }
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, and Spark {}", ours.len(), theirs.len()));
    }
    // The layout may be another for the same type: views of texts, names within lists.
    let theirs = cast(theirs, ours.data_type()).unwrap();
    let tolerance = tolerance(expr);
    let row = (0..ours.len()).find(|row| !same(ours, &theirs, *row, tolerance))?;
    let shown = |column: &ArrayRef| {
        let value = ScalarValue::try_from_array(column, row).unwrap();
        match &value {
            ScalarValue::BinaryView(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => value.to_string(),
        }
    };
    Some(format!("row {row}: {}, and Spark {}", shown(ours), shown(&theirs)))
}

fn same(ours: &dyn Array, theirs: &dyn Array, row: usize, tolerance: f64) -> bool {
    if ours.is_null(row) || theirs.is_null(row) {
        return ours.is_null(row) == theirs.is_null(row);
    }
    let all = |ours: &dyn Array, theirs: &dyn Array| {
        ours.len() == theirs.len() && (0..ours.len()).all(|row| same(ours, theirs, row, tolerance))
    };
    match ours.data_type() {
        DataType::Float64 => close(
            ours.as_primitive::<Float64Type>().value(row),
            theirs.as_primitive::<Float64Type>().value(row),
            tolerance,
        ),
        DataType::Float32 => {
            let value = |column: &dyn Array| f64::from(column.as_primitive::<Float32Type>().value(row));
            close(value(ours), value(theirs), tolerance * 1e8)
        }
        DataType::List(_) => all(&ours.as_list::<i32>().value(row), &theirs.as_list::<i32>().value(row)),
        DataType::Map(_, _) => all(&ours.as_map().value(row), &theirs.as_map().value(row)),
        DataType::Struct(_) => {
            let columns = ours.as_struct().columns().iter().zip(theirs.as_struct().columns());
            columns.into_iter().all(|(ours, theirs)| same(ours, theirs, row, tolerance))
        }
        _ => ScalarValue::try_from_array(ours, row).unwrap() == ScalarValue::try_from_array(theirs, row).unwrap(),
    }
}

/// The same number, sign of zero and all; a NaN is a NaN.
fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
    ours.to_bits() == theirs.to_bits()
        || (ours.is_nan() && theirs.is_nan())
        || (ours - theirs).abs() < theirs.abs() * tolerance
}
