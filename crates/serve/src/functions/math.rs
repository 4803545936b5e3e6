//! Numbers: rounding, logarithms, angles, bits, division. Whole numbers wrap as Java's do, and a result that is no number
//! is NaN or an infinity.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type};
use datafusion::common::{DataFusionError, Result};
use vitalake_contract::java_format::rounded;

use super::call::Call;
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::time::refuse;
use crate::error::QueryError;

use Argument::{Any, Double, Integer};

/// The functions of numbers.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("abs", &[Any], Returns::Of(number), |call| {
        unary(call, i64::wrapping_abs, |value| Some(value.abs()))
    }),
    Definition::new("ceil", &[Any], Returns::Of(number), |call| {
        unary(call, through_double, |value| Some(value.ceil()))
    }),
    Definition::new("ceiling", &[Any], Returns::Of(number), |call| {
        unary(call, through_double, |value| Some(value.ceil()))
    }),
    Definition::new("floor", &[Any], Returns::Of(number), |call| {
        unary(call, through_double, |value| Some(value.floor()))
    }),
    Definition::new("round", &[Any, Integer], Returns::Of(number), round).needs(1),
    Definition::new("trunc", &[Any, Integer], Returns::Of(number), truncate).needs(1),
    Definition::new("truncate", &[Any, Integer], Returns::Of(number), truncate).needs(1),
    Definition::new("__negative", &[Any], Returns::Of(number), |call| {
        unary(call, i64::wrapping_neg, |value| Some(-value))
    }),
    Definition::new("sqrt", &[Double], Returns::Double, |call| of_double(call, |value| power(value, 0.5))),
    Definition::new("exp", &[Double], Returns::Double, |call| of_double(call, f64::exp)),
    Definition::new("ln", &[Double], Returns::Double, |call| of_double(call, f64::ln)),
    Definition::new("log10", &[Double], Returns::Double, |call| of_double(call, f64::log10)),
    Definition::new("degrees", &[Double], Returns::Double, |call| {
        of_double(call, |value| value * 57.295_779_513_082_32)
    }),
    Definition::new("radians", &[Double], Returns::Double, |call| {
        of_double(call, |value| value * 0.017_453_292_519_943_295)
    }),
    Definition::new("sin", &[Double], Returns::Double, |call| of_double(call, f64::sin)),
    Definition::new("cos", &[Double], Returns::Double, |call| of_double(call, f64::cos)),
    Definition::new("tan", &[Double], Returns::Double, |call| of_double(call, f64::tan)),
    Definition::new("cot", &[Double], Returns::Double, |call| of_double(call, |value| value.cos() / value.sin())),
    Definition::new("asin", &[Double], Returns::Double, |call| of_double(call, f64::asin)),
    Definition::new("acos", &[Double], Returns::Double, |call| of_double(call, f64::acos)),
    Definition::new("atan", &[Double], Returns::Double, |call| of_double(call, f64::atan)),
    Definition::new("atan2", &[Double, Double], Returns::Double, |call| of_two(call, f64::atan2)),
    Definition::new("power", &[Double, Double], Returns::Double, |call| of_two(call, power)),
    Definition::new("pi", &[], Returns::Double, |call| call.doubles(|_| Some(std::f64::consts::PI))),
    Definition::new("div", &[Any, Any], Returns::Integer, div),
    Definition::new("__divide", &[Any, Any], Returns::Of(quotient), divide),
    Definition::new("mod", &[Any, Any], Returns::Of(wider), modulo),
    Definition::new("safe_divide", &[Any, Any], Returns::Of(wider), safe_divide),
    Definition::new("bitwise_and", &[Integer, Integer], Returns::Integer, |call| {
        bits(call, |left, right| left & right)
    }),
    Definition::new("bitwise_or", &[Integer, Integer], Returns::Integer, |call| bits(call, |left, right| left | right)),
    Definition::new("bitwise_xor", &[Integer, Integer], Returns::Integer, |call| {
        bits(call, |left, right| left ^ right)
    }),
    Definition::new("bitwise_shift_left", &[Integer, Integer], Returns::Integer, |call| {
        bits(call, |left, right| left.wrapping_shl(right as u32))
    }),
    Definition::new("bitwise_shift_right", &[Integer, Integer], Returns::Integer, |call| {
        bits(call, |left, right| left.wrapping_shr(right as u32))
    }),
    Definition::new("bitwise_complement", &[Integer], Returns::Integer, |call| {
        call.integers(|row| call.integer_at(0, row).map(|value| !value))
    }),
    Definition::new("bitwise_convert_double_to_long_bits", &[Double], Returns::Integer, |call| {
        call.integers(|row| call.double_at(0, row).map(|value| value.to_bits().cast_signed()))
    }),
    Definition::new("bitwise_convert_long_bits_to_double", &[Any], Returns::Double, |call| {
        let bits = cast::integers(call.any(0)?, call.zone)?;
        call.doubles(|row| bits.is_valid(row).then(|| f64::from_bits(bits.value(row).cast_unsigned())))
    }),
];

fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type == &DataType::Boolean
}

/// The type of a number that stays what it is; text counts as a double.
fn number(types: &[DataType]) -> Result<DataType> {
    let given = types.first().cloned().unwrap_or(DataType::Null);
    Ok(match given {
        DataType::Float32 => DataType::Float32,
        whole if whole.is_integer() => DataType::Int64,
        other if other.is_numeric() || other.is_string() || other.is_null() => DataType::Float64,
        _ => {
            return Err(refuse("Cannot apply a function of numbers to arguments of these types; CAST them".to_owned()));
        }
    })
}

/// The wider type of two numbers.
fn wider(types: &[DataType]) -> Result<DataType> {
    let wide = |data_type: &DataType| number(std::slice::from_ref(data_type));
    match types {
        [left, right] if left.is_null() && !right.is_null() => wide(right),
        [left, right] if right.is_null() => wide(left),
        [left, right] => Ok(match (wide(left)?, wide(right)?) {
            (DataType::Int64, other) | (other, DataType::Int64) => other,
            (DataType::Float32, DataType::Float32) => DataType::Float32,
            _ => DataType::Float64,
        }),
        _ => Err(refuse("Invalid number of arguments: two numbers are wanted".to_owned())),
    }
}

/// The type of `/`: text beside a whole number counts as its whole part.
fn quotient(types: &[DataType]) -> Result<DataType> {
    match types {
        [text, whole] | [whole, text] if text.is_string() && whole.is_integer() => Ok(DataType::Int64),
        _ => wider(types),
    }
}

/// A computation that has a form for whole numbers and one for doubles.
fn unary(call: &Call<'_>, whole: impl Fn(i64) -> i64, double: impl Fn(f64) -> Option<f64>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    if is_whole(array.data_type()) {
        let values = cast::integers(array, call.zone)?;
        return call.integers(|row| values.is_valid(row).then(|| whole(values.value(row))));
    }
    let values = cast::doubles(array, call.zone)?;
    let result = call.doubles(|row| values.is_valid(row).then(|| double(values.value(row))).flatten())?;
    narrowed(call, &result)
}

/// FLOAT where the result is one.
fn narrowed(call: &Call<'_>, result: &ArrayRef) -> Result<ArrayRef> {
    if call.returns != &DataType::Float32 {
        return Ok(Arc::clone(result));
    }
    let doubles = result.as_primitive::<arrow::datatypes::Float64Type>();
    let floats = doubles.iter().map(|value| Some(value? as f32));
    Ok(Arc::new(floats.collect::<arrow::array::PrimitiveArray<Float32Type>>()))
}

/// FLOOR and CEIL of a whole number are the number itself.
fn through_double(value: i64) -> i64 {
    value
}

fn of_double(call: &Call<'_>, compute: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    call.doubles(|row| call.double_at(0, row).map(&compute))
}

fn of_two(call: &Call<'_>, compute: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    call.doubles(|row| Some(compute(call.double_at(0, row)?, call.double_at(1, row)?)))
}

/// Java's power: one with NaN is NaN, and so is minus or plus one with an infinity.
fn power(base: f64, exponent: f64) -> f64 {
    if exponent.is_nan() || (base.abs() == 1.0 && exponent.is_infinite()) { f64::NAN } else { base.powf(exponent) }
}

fn bits(call: &Call<'_>, compute: impl Fn(i64, i64) -> i64) -> Result<ArrayRef> {
    call.integers(|row| Some(compute(call.integer_at(0, row)?, call.integer_at(1, row)?)))
}

fn places(call: &Call<'_>, row: usize) -> Option<i32> {
    if call.count() < 2 {
        return Some(0);
    }
    call.integer_at(1, row).map(|places| i32::try_from(places.clamp(-400, 400)).unwrap_or(0))
}

/// ROUND: half away from zero, of the decimal digits that the number shows.
fn round(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    if is_whole(array.data_type()) {
        let values = cast::integers(array, call.zone)?;
        return call.integers(|row| {
            let value = values.is_valid(row).then(|| values.value(row))?;
            let places = places(call, row)?;
            if places >= 0 {
                return Some(value);
            }
            let step = 10_i128.checked_pow(places.unsigned_abs())?;
            let value = i128::from(value);
            let rounded = if places < -19 { 0 } else { (value.abs() + step / 2) / step * step * value.signum() };
            // As Java narrows a number that is too large: its lowest bits.
            Some(rounded as i64)
        });
    }
    let values = cast::doubles(array, call.zone)?;
    let result = call.doubles(|row| {
        let value = values.is_valid(row).then(|| values.value(row))?;
        // As in Druid, infinities become the largest numbers, NaN becomes nought, and no nought has a sign.
        let rounded = rounded(value, places(call, row)?);
        Some(if rounded.is_nan() { 0.0 } else { rounded.clamp(f64::MIN, f64::MAX) + 0.0 })
    })?;
    narrowed(call, &result)
}

/// TRUNCATE: Druid moves the point by a multiplication, makes a whole number of it, and moves it back.
fn truncate(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    let values = cast::doubles(array, call.zone)?;
    let moved = |row: usize| {
        let value = values.is_valid(row).then(|| values.value(row))?;
        let factor = 10_f64.powi(places(call, row)?);
        Some(((value * factor) as i64) as f64 / factor)
    };
    if is_whole(array.data_type()) {
        let whole = cast::integers(array, call.zone)?;
        return call.integers(|row| {
            let value = whole.is_valid(row).then(|| whole.value(row))?;
            if places(call, row)? >= 0 { Some(value) } else { moved(row).map(|value| value as i64) }
        });
    }
    narrowed(call, &call.doubles(moved)?)
}

fn by_zero() -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::Runtime("/ by zero".to_owned())))
}

fn whole_pairs(call: &Call<'_>, compute: impl Fn(i64, i64) -> Result<Option<i64>>) -> Result<ArrayRef> {
    let (left, right) = (cast::integers(call.any(0)?, call.zone)?, cast::integers(call.any(1)?, call.zone)?);
    let values = (0..call.rows).map(|row| {
        if left.is_null(row) || right.is_null(row) { Ok(None) } else { compute(left.value(row), right.value(row)) }
    });
    let values: arrow::array::Int64Array = values.collect::<Result<Vec<_>>>()?.into();
    Ok(Arc::new(values))
}

fn double_pairs(call: &Call<'_>, compute: impl Fn(f64, f64) -> Option<f64>) -> Result<ArrayRef> {
    let (left, right) = (cast::doubles(call.any(0)?, call.zone)?, cast::doubles(call.any(1)?, call.zone)?);
    let result = call.doubles(|row| {
        if left.is_null(row) || right.is_null(row) { None } else { compute(left.value(row), right.value(row)) }
    })?;
    narrowed(call, &result)
}

fn divide(call: &Call<'_>) -> Result<ArrayRef> {
    if call.returns == &DataType::Int64 {
        return whole_pairs(
            call,
            |left, right| {
                if right == 0 { Err(by_zero()) } else { Ok(Some(left.wrapping_div(right))) }
            },
        );
    }
    double_pairs(call, |left, right| Some(left / right))
}

fn modulo(call: &Call<'_>) -> Result<ArrayRef> {
    if call.returns == &DataType::Int64 {
        return whole_pairs(
            call,
            |left, right| {
                if right == 0 { Err(by_zero()) } else { Ok(Some(left.wrapping_rem(right))) }
            },
        );
    }
    double_pairs(call, |left, right| Some(left % right))
}

fn div(call: &Call<'_>) -> Result<ArrayRef> {
    let whole = call.all().iter().all(|array| is_whole(array.data_type()) || array.data_type().is_null());
    if whole {
        return whole_pairs(
            call,
            |left, right| {
                if right == 0 { Err(by_zero()) } else { Ok(Some(left.wrapping_div(right))) }
            },
        );
    }
    let (left, right) = (cast::doubles(call.any(0)?, call.zone)?, cast::doubles(call.any(1)?, call.zone)?);
    call.integers(|row| {
        if left.is_null(row) || right.is_null(row) { None } else { Some((left.value(row) / right.value(row)) as i64) }
    })
}

fn safe_divide(call: &Call<'_>) -> Result<ArrayRef> {
    if call.returns == &DataType::Int64 {
        return whole_pairs(call, |left, right| Ok((right != 0).then(|| left.wrapping_div(right))));
    }
    // Nothing over nothing is nothing here, and anything else over it is null.
    double_pairs(call, |left, right| match (left, right) {
        (0.0, 0.0) => Some(0.0),
        (_, 0.0) => None,
        _ => Some(left / right),
    })
}
