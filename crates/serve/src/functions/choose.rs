//! GREATEST and LEAST: nulls are left out; times count as milliseconds, and text wins over numbers.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::Call;
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::time::refuse;

/// The functions that choose one of their arguments.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("greatest", &[Argument::Any], Returns::Of(common), |call| choose(call, true)).needs(0).repeats(),
    Definition::new("least", &[Argument::Any], Returns::Of(common), |call| choose(call, false)).needs(0).repeats(),
];

fn common(types: &[DataType]) -> Result<DataType> {
    if types.iter().any(DataType::is_nested) {
        return Err(refuse("GREATEST and LEAST take no arrays; compare their elements".to_owned()));
    }
    let given = || types.iter().filter(|data_type| !data_type.is_null());
    Ok(if given().any(DataType::is_string) || given().next().is_none() {
        DataType::Utf8
    } else if given().any(|data_type| data_type.is_floating() || matches!(data_type, DataType::Decimal128(..))) {
        DataType::Float64
    } else {
        DataType::Int64
    })
}

fn choose(call: &Call<'_>, greatest: bool) -> Result<ArrayRef> {
    match call.returns {
        DataType::Utf8 => {
            let columns = call.all().iter().map(|array| cast::texts(array, call.zone)).collect::<Result<Vec<_>>>()?;
            call.texts(|row| {
                let values = columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row));
                if greatest { values.max() } else { values.min() }
            })
        }
        DataType::Float64 => {
            let columns = call.all().iter().map(|array| cast::doubles(array, call.zone)).collect::<Result<Vec<_>>>()?;
            call.doubles(|row| {
                let mut values = columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row));
                // Beside a NaN both are NaN.
                let first = values.next()?;
                let further = |held: f64, value: f64| {
                    let keep = if greatest { held.total_cmp(&value).is_ge() } else { held.total_cmp(&value).is_le() };
                    if held.is_nan() || value.is_nan() {
                        f64::NAN
                    } else if keep {
                        held
                    } else {
                        value
                    }
                };
                Some(values.fold(first, further))
            })
        }
        _ => {
            let columns =
                call.all().iter().map(|array| cast::integers(array, call.zone)).collect::<Result<Vec<_>>>()?;
            call.integers(|row| {
                let values = columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row));
                if greatest { values.max() } else { values.min() }
            })
        }
    }
}
