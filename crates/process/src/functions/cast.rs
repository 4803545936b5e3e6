//! CAST between all types, as Spark has it with ANSI off: what cannot be is null, what does not fit wraps or is null.
//!
//! Used by the binder for written and for implicit casts. Invariant: a cast fails on no value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, i256,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Cast, Expr};

use crate::functions::calendar::{DAY_US, SECOND_US, day32, split};
use crate::functions::call::{Args, Kernel, binaries, call, flags, numbers, texts, values};
use crate::functions::kinds::{BYTES, TEXT, canonical, element_of, is_instant, is_integer, is_number};
use crate::functions::show;
use crate::functions::text_number::{
    decimal_text, double_text, float_text, parse_decimal, parse_double, parse_long, power_of_ten, rescaled,
};
use crate::functions::text_time::{day_text, instant_text, parse_day, parse_instant, trimmed};

/// An expression of one type as another; `None` where Spark has no such cast.
pub(crate) fn cast(expr: Expr, from: &DataType, to: &DataType) -> Option<Expr> {
    if from == to {
        return Some(expr);
    }
    if from.is_null() {
        return ScalarValue::try_from(to).ok().map(|null| Expr::Literal(null, None));
    }
    if canonical(from) == *to || lossless(from, to) {
        return Some(native(expr, to));
    }
    if let Some(inner) = long_first(from, to) {
        return cast(native(expr, &inner), &inner, to);
    }
    let kernel = kernel(from, to)?;
    Some(call("cast", to.clone(), vec![expr], kernel))
}

/// Casts that the engine makes as Spark does.
fn lossless(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64};
    matches!(
        (from, to),
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
            | (Int16, Int32 | Int64 | Float32 | Float64)
            | (Int32, Int64 | Float64 | Float32)
            | (Int64, Float64 | Float32)
            | (Float32, Float64)
    )
}

fn native(expr: Expr, to: &DataType) -> Expr {
    if let Expr::Literal(value, _) = &expr
        && let Ok(made) = value.cast_to(to)
    {
        return Expr::Literal(made, None);
    }
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// Small integers go over BIGINT, so that there is one kernel for each other type.
fn long_first(from: &DataType, to: &DataType) -> Option<DataType> {
    let small = matches!(from, DataType::Int8 | DataType::Int16 | DataType::Int32);
    let narrows = is_integer(to);
    (small && *to != DataType::Int64 && !(narrows && lossless(from, to)) && *to != BYTES).then_some(DataType::Int64)
}

/// The code of a cast, from a type that is no small integer.
fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    if *to == TEXT {
        return text_kernel(from);
    }
    if let (Some(inner), Some(target)) = (element_of(from), element_of(to)) {
        return list_kernel(&inner, &target);
    }
    match from {
        DataType::Utf8View => from_text(to),
        DataType::Int64 => from_long(to),
        DataType::Float64 => from_double(to, |args, row| args.double(0, row)),
        DataType::Float32 => from_double(to, |args, row| args.float(0, row).map(f64::from)),
        DataType::Decimal128(_, scale) => from_decimal(to, i32::from(*scale)),
        DataType::Boolean => from_flag(to),
        DataType::Date32 if is_instant(to) => {
            Some(numbers::<TimestampMicrosecondType, _>(|args, row| i64::from(args.day(0, row)?).checked_mul(DAY_US)))
        }
        // A day is no number: Spark gives null, which hides a mistake.
        kind if is_instant(kind) => from_instant(to),
        DataType::Int8 | DataType::Int16 | DataType::Int32 if *to == BYTES => None,
        _ => None,
    }
}

fn list_kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    let column = datafusion::logical_expr::col("element");
    // One expression for the elements, whatever they are; it is run over the values of all rows at once.
    let _ = cast(column, from, to)?;
    let inner = element_kernel(from, to)?;
    Some(Arc::new(move |args: &Args<'_>| {
        let list = args.column(0)?;
        let list = list.as_list::<i32>();
        let values = inner(list.values())?;
        let field = Arc::new(arrow::datatypes::Field::new("item", values.data_type().clone(), true));
        let made = arrow::array::ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?;
        Ok(Arc::new(made) as ArrayRef)
    }))
}

type Elements = Arc<dyn Fn(&ArrayRef) -> Result<ArrayRef, datafusion::common::DataFusionError> + Send + Sync>;

fn element_kernel(from: &DataType, to: &DataType) -> Option<Elements> {
    if from == to {
        return Some(Arc::new(|values| Ok(Arc::clone(values))));
    }
    if from.is_null() || lossless(from, to) {
        let to = to.clone();
        return Some(Arc::new(move |values| Ok(arrow::compute::cast(values, &to)?)));
    }
    if let Some(long) = long_first(from, to) {
        let first = element_kernel(from, &long)?;
        let second = element_kernel(&long, to)?;
        return Some(Arc::new(move |values| second(&first(values)?)));
    }
    let kernel = kernel(from, to)?;
    let to = to.clone();
    Some(Arc::new(move |values| crate::functions::call::over(&kernel, &to, values)))
}

fn text_kernel(from: &DataType) -> Option<Kernel> {
    Some(match from {
        DataType::Int64 => texts(|args, row| args.long(0, row).map(|v| v.to_string())),
        DataType::Float64 => texts(|args, row| args.double(0, row).map(double_text)),
        DataType::Float32 => texts(|args, row| args.float(0, row).map(float_text)),
        DataType::Decimal128(_, scale) => {
            let scale = i32::from(*scale);
            texts(move |args, row| args.decimal(0, row).map(|v| decimal_text(v, scale)))
        }
        DataType::Boolean => texts(|args, row| args.flag(0, row).map(|v| v.to_string())),
        DataType::Date32 => texts(|args, row| args.day(0, row).map(|v| day_text(i64::from(v)))),
        DataType::BinaryView => texts(|args, row| args.bytes(0, row).map(|v| String::from_utf8_lossy(v).into_owned())),
        kind if is_instant(kind) => texts(|args, row| args.instant(0, row).map(instant_text)),
        DataType::List(_) | DataType::Struct(_) | DataType::Map(_, _) => values(|args, row| {
            let value = args.value(0, row)?;
            Ok(ScalarValue::Utf8View((!value.is_null()).then(|| show::text(&value))))
        }),
        _ => return None,
    })
}

fn from_text(to: &DataType) -> Option<Kernel> {
    Some(match to {
        DataType::Int64 => numbers::<Int64Type, _>(|args, row| parse_long(args.text(0, row)?)),
        DataType::Int32 => numbers::<Int32Type, _>(|args, row| i32::try_from(parse_long(args.text(0, row)?)?).ok()),
        DataType::Int16 => numbers::<Int16Type, _>(|args, row| i16::try_from(parse_long(args.text(0, row)?)?).ok()),
        DataType::Int8 => numbers::<Int8Type, _>(|args, row| i8::try_from(parse_long(args.text(0, row)?)?).ok()),
        DataType::Float64 => numbers::<Float64Type, _>(|args, row| parse_double(args.text(0, row)?)),
        DataType::Float32 => numbers::<Float32Type, _>(|args, row| {
            let text = args.text(0, row)?;
            let wide = parse_double(text)?;
            let digits = trimmed(text).trim_end_matches(['d', 'D', 'f', 'F']);
            Some(digits.parse::<f32>().ok().filter(|_| wide.is_finite()).unwrap_or(narrow(wide)))
        }),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            numbers::<Decimal128Type, _>(move |args, row| {
                let (value, from) = parse_decimal(args.text(0, row)?)?;
                rescaled(value, from, scale, precision)
            })
        }
        DataType::Boolean => flags(|args, row| parse_flag(args.text(0, row)?)),
        DataType::Date32 => numbers::<Date32Type, _>(|args, row| parse_day(args.text(0, row)?)),
        DataType::BinaryView => binaries(|args, row| args.text(0, row).map(|t| t.as_bytes().to_vec())),
        kind if is_instant(kind) => {
            numbers::<TimestampMicrosecondType, _>(|args, row| parse_instant(args.text(0, row)?))
        }
        _ => return None,
    })
}

fn parse_flag(text: &str) -> Option<bool> {
    match trimmed(text).to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "Spark's casts between integers wrap")]
fn from_long(to: &DataType) -> Option<Kernel> {
    Some(match to {
        DataType::Int32 => numbers::<Int32Type, _>(|args, row| args.long(0, row).map(|v| v as i32)),
        DataType::Int16 => numbers::<Int16Type, _>(|args, row| args.long(0, row).map(|v| v as i16)),
        DataType::Int8 => numbers::<Int8Type, _>(|args, row| args.long(0, row).map(|v| v as i8)),
        DataType::Boolean => flags(|args, row| args.long(0, row).map(|v| v != 0)),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            numbers::<Decimal128Type, _>(move |args, row| rescaled(i128::from(args.long(0, row)?), 0, scale, precision))
        }
        kind if is_instant(kind) => numbers::<TimestampMicrosecondType, _>(|args, row| {
            // Seconds past the range stay at its ends.
            Some(args.long(0, row)?.saturating_mul(SECOND_US))
        }),
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a float has fewer digits; that is what the cast is for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// To an integer a double is cut, and stays at the ends of the range; to the small ones it goes over INT.
#[expect(clippy::cast_possible_truncation, reason = "Spark's casts of doubles saturate, and then wrap")]
fn from_double<F>(to: &DataType, get: F) -> Option<Kernel>
where
    F: Fn(&Args<'_>, usize) -> Option<f64> + Send + Sync + Copy + 'static,
{
    Some(match to {
        DataType::Int64 => numbers::<Int64Type, _>(move |args, row| get(args, row).map(|v| v as i64)),
        DataType::Int32 => numbers::<Int32Type, _>(move |args, row| get(args, row).map(|v| v as i32)),
        DataType::Int16 => numbers::<Int16Type, _>(move |args, row| get(args, row).map(|v| v as i32 as i16)),
        DataType::Int8 => numbers::<Int8Type, _>(move |args, row| get(args, row).map(|v| v as i32 as i8)),
        DataType::Float32 => numbers::<Float32Type, _>(move |args, row| get(args, row).map(narrow)),
        DataType::Boolean => flags(move |args, row| get(args, row).map(|v| v != 0.0)),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            numbers::<Decimal128Type, _>(move |args, row| {
                let (value, from) = parse_decimal(&double_text(get(args, row).filter(|v| v.is_finite())?))?;
                rescaled(value, from, scale, precision)
            })
        }
        kind if is_instant(kind) => numbers::<TimestampMicrosecondType, _>(move |args, row| {
            let seconds = get(args, row).filter(|v| v.is_finite())?;
            Some((seconds * 1e6) as i64)
        }),
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "Spark's casts of decimals to integers wrap")]
fn from_decimal(to: &DataType, scale: i32) -> Option<Kernel> {
    let whole = move |args: &Args<'_>, row: usize| Some(args.decimal(0, row)? / power_of_ten(scale)?);
    Some(match to {
        DataType::Int64 => numbers::<Int64Type, _>(move |args, row| whole(args, row).map(|v| v as i64)),
        DataType::Int32 => numbers::<Int32Type, _>(move |args, row| whole(args, row).map(|v| v as i32)),
        DataType::Int16 => numbers::<Int16Type, _>(move |args, row| whole(args, row).map(|v| v as i16)),
        DataType::Int8 => numbers::<Int8Type, _>(move |args, row| whole(args, row).map(|v| v as i8)),
        DataType::Float64 => {
            numbers::<Float64Type, _>(move |args, row| decimal_text(args.decimal(0, row)?, scale).parse().ok())
        }
        DataType::Float32 => {
            numbers::<Float32Type, _>(move |args, row| decimal_text(args.decimal(0, row)?, scale).parse().ok())
        }
        DataType::Boolean => flags(|args, row| args.decimal(0, row).map(|v| v != 0)),
        DataType::Decimal128(precision, target) => {
            let (precision, target) = (i32::from(*precision), i32::from(*target));
            numbers::<Decimal128Type, _>(move |args, row| rescaled(args.decimal(0, row)?, scale, target, precision))
        }
        kind if is_instant(kind) => numbers::<TimestampMicrosecondType, _>(move |args, row| {
            let micros = i256::from_i128(args.decimal(0, row)?).wrapping_mul(i256::from_i128(i128::from(SECOND_US)));
            let micros = micros.checked_div(i256::from_i128(power_of_ten(scale)?))?;
            // What does not fit wraps, as Spark's does.
            Some(micros.to_parts().0 as i64)
        }),
        _ => return None,
    })
}

fn from_flag(to: &DataType) -> Option<Kernel> {
    let one = |args: &Args<'_>, row: usize| args.flag(0, row).map(i8::from);
    Some(match to {
        DataType::Int64 => numbers::<Int64Type, _>(move |args, row| one(args, row).map(i64::from)),
        DataType::Int32 => numbers::<Int32Type, _>(move |args, row| one(args, row).map(i32::from)),
        DataType::Int16 => numbers::<Int16Type, _>(move |args, row| one(args, row).map(i16::from)),
        DataType::Int8 => numbers::<Int8Type, _>(one),
        DataType::Float64 => numbers::<Float64Type, _>(move |args, row| one(args, row).map(f64::from)),
        DataType::Float32 => numbers::<Float32Type, _>(move |args, row| one(args, row).map(f32::from)),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            numbers::<Decimal128Type, _>(move |args, row| rescaled(i128::from(one(args, row)?), 0, scale, precision))
        }
        kind if is_instant(kind) => {
            numbers::<TimestampMicrosecondType, _>(move |args, row| one(args, row).map(i64::from))
        }
        _ => return None,
    })
}

/// An instant as a number is in seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "Spark's casts of seconds do")]
fn from_instant(to: &DataType) -> Option<Kernel> {
    let seconds = |args: &Args<'_>, row: usize| args.instant(0, row).map(|v| v.div_euclid(SECOND_US));
    Some(match to {
        DataType::Int64 => numbers::<Int64Type, _>(seconds),
        DataType::Int32 => numbers::<Int32Type, _>(move |args, row| i32::try_from(seconds(args, row)?).ok()),
        DataType::Int16 => numbers::<Int16Type, _>(move |args, row| i16::try_from(seconds(args, row)?).ok()),
        DataType::Int8 => numbers::<Int8Type, _>(move |args, row| i8::try_from(seconds(args, row)?).ok()),
        DataType::Float64 => numbers::<Float64Type, _>(|args, row| args.instant(0, row).map(|v| v as f64 / 1e6)),
        DataType::Float32 => {
            numbers::<Float32Type, _>(|args, row| args.instant(0, row).map(|v| (v as f64 / 1e6) as f32))
        }
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            numbers::<Decimal128Type, _>(move |args, row| {
                rescaled(i128::from(args.instant(0, row)?), 6, scale, precision)
            })
        }
        DataType::Boolean => flags(|args, row| args.instant(0, row).map(|v| v != 0)),
        DataType::Date32 => numbers::<Date32Type, _>(|args, row| day32(split(args.instant(0, row)?).0)),
        _ => return None,
    })
}

/// Whether Spark makes this cast without being asked, for an argument of a function.
pub(crate) fn implicit(from: &DataType, to: &DataType) -> bool {
    let atomic = is_number(from) || is_instant(from) || matches!(from, DataType::Boolean | DataType::Date32);
    match to {
        _ if from == to || from.is_null() || canonical(from) == *to => true,
        DataType::Utf8View => atomic || *from == BYTES,
        DataType::BinaryView => *from == TEXT,
        DataType::Date32 => *from == TEXT || is_instant(from),
        to if is_instant(to) => *from == TEXT || *from == DataType::Date32,
        to if is_number(to) => *from == TEXT || is_number(from),
        DataType::List(inner) => element_of(from).is_some_and(|e| implicit(&e, inner.data_type())),
        _ => false,
    }
}
