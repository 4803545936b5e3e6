//! `round`, `bround`, `ceil` and `floor`, over every kind of number, with Spark's types.
//!
//! A part of the table of functions. Invariant: a double is rounded by the decimal digits that it is printed with.

use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::ScalarValue;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::numbers;
use crate::functions::kinds::{decimal, digits, is_decimal, is_integer, is_text};
use crate::functions::table::{Calling, Function, function};
use crate::functions::text_number::{fits, half_up, power_of_ten};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    HalfUp,
    HalfEven,
    Up,
    Down,
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("round", 1, 2, |c| rounded(c, Mode::HalfUp)),
    function("bround", 1, 2, |c| rounded(c, Mode::HalfEven)),
    function("ceil", 1, 2, |c| cut(c, Mode::Up)),
    function("ceiling", 1, 2, |c| cut(c, Mode::Up)),
    function("floor", 1, 2, |c| cut(c, Mode::Down)),
];

/// A whole number of steps, rounded.
fn steps(value: i128, step: i128, mode: Mode) -> i128 {
    match mode {
        Mode::HalfUp => half_up(value, step),
        Mode::HalfEven => {
            let (low, rest) = (value.div_euclid(step), value.rem_euclid(step));
            match (rest * 2).cmp(&step) {
                std::cmp::Ordering::Less => low,
                std::cmp::Ordering::Greater => low + 1,
                std::cmp::Ordering::Equal => low + low.rem_euclid(2),
            }
        }
        Mode::Down => value.div_euclid(step),
        Mode::Up => value.div_euclid(step) + i128::from(value.rem_euclid(step) != 0),
    }
}

fn number(c: &Calling) -> Result<Typed, Refusal> {
    let arg = c.arg(0)?;
    match &arg.kind {
        kind if is_text(kind) || kind.is_null() => Ok(Typed::new(arg.to(&DataType::Float64)?, DataType::Float64)),
        kind if is_integer(kind) || is_decimal(kind) => Ok(arg),
        DataType::Float32 | DataType::Float64 => Ok(arg),
        _ => Err(c.wrong(0, "a number")),
    }
}

fn rounded(c: Calling, mode: Mode) -> Bound {
    let c = c.or(1, ScalarValue::Int32(Some(0)));
    let arg = number(&c)?;
    let places = c.constant_int(1, "the number of places")?;
    let kind = arg.kind.clone();
    let Some(places) = places else { return crate::functions::table::null(&kind) };
    let one = Calling::new(c.name, vec![arg, c.arg(1)?]);
    match &kind {
        DataType::Float64 => one.make(
            kind.clone(),
            &[kind.clone(), DataType::Int32],
            numbers::<Float64Type, _>(move |args, row| args.double(0, row).map(|v| double(v, places, mode))),
        ),
        DataType::Float32 => one.make(
            kind.clone(),
            &[kind.clone(), DataType::Int32],
            numbers::<arrow::datatypes::Float32Type, _>(move |args, row| {
                args.float(0, row).map(|v| float(v, places, mode))
            }),
        ),
        DataType::Decimal128(_, _) => decimals(one, places, mode),
        _ => integers(one, kind, places, mode),
    }
}

/// The digits of a number as it is printed in scientific form, and how many of them are behind the point.
fn parts(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = text.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| i32::try_from(f.len()).unwrap_or(0));
    let value: i128 = mantissa.replace('.', "").parse().ok()?;
    Some((value, fraction - exponent))
}

/// A printed number rounded to places; `None` when it has no more of them.
fn printed(text: &str, places: i32, mode: Mode) -> Option<String> {
    let (value, scale) = parts(text)?;
    if scale <= places {
        return None;
    }
    let rounded = match power_of_ten(scale - places) {
        Some(step) => steps(value, step, mode),
        None => 0,
    };
    Some(format!("{rounded}e{}", -places))
}

fn double(value: f64, places: i32, mode: Mode) -> f64 {
    if !value.is_finite() {
        return value;
    }
    match printed(&format!("{value:e}"), places, mode) {
        Some(text) => text.parse().unwrap_or(value),
        // A decimal has no negative nought.
        None => value + 0.0,
    }
}

fn float(value: f32, places: i32, mode: Mode) -> f32 {
    if !value.is_finite() {
        return value;
    }
    match printed(&format!("{value:e}"), places, mode) {
        Some(text) => text.parse().unwrap_or(value),
        None => value + 0.0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "integers that do not fit wrap")]
fn integers(c: Calling, kind: DataType, places: i32, mode: Mode) -> Bound {
    if places >= 0 {
        return c.arg(0);
    }
    let made = c.make(
        DataType::Int64,
        &[DataType::Int64, DataType::Int32],
        numbers::<Int64Type, _>(move |args, row| {
            let value = i128::from(args.long(0, row)?);
            Some(match power_of_ten(places.saturating_neg()) {
                Some(step) => steps(value, step, mode).wrapping_mul(step) as i64,
                None => 0,
            })
        }),
    )?;
    Ok(Typed::new(made.to(&kind)?, kind))
}

/// A decimal rounded to places: one digit more before the point, and no more behind it than before.
fn decimals(c: Calling, places: i32, mode: Mode) -> Bound {
    let (precision, scale) = digits(&c.kind(0)).unwrap_or((38, 0));
    let whole = precision - scale + 1;
    let kind = if places < 0 {
        decimal(whole.max(places.saturating_neg().saturating_add(1)), 0)
    } else {
        decimal((whole + scale.min(places)).min(38), scale.min(places))
    };
    let (digits_made, scale_made) = digits(&kind).unwrap_or((38, 0));
    let from = c.kind(0);
    let made = numbers::<Decimal128Type, _>(move |args, row| {
        let value = args.decimal(0, row)?;
        let made = if places >= scale {
            value
        } else {
            let rounded = match power_of_ten(scale - places) {
                Some(step) => steps(value, step, mode),
                None => i128::from(mode == Mode::Up && value > 0) - i128::from(mode == Mode::Down && value < 0),
            };
            if places < 0 { rounded.checked_mul(power_of_ten(-places)?)? } else { rounded }
        };
        debug_assert!(scale_made <= scale);
        fits(made, digits_made).then_some(made)
    });
    c.make(kind, &[from, DataType::Int32], made)
}

/// `ceil` and `floor`: of a double a BIGINT, of a decimal a decimal; with places, always a decimal.
#[expect(clippy::cast_possible_truncation, reason = "what is outside of BIGINT stays at its ends")]
fn cut(c: Calling, mode: Mode) -> Bound {
    let arg = number(&c)?;
    if c.args.len() == 2 {
        let places = c.constant_int(1, "the number of places")?;
        let Some(places) = places else { return crate::functions::table::null(&DataType::Decimal128(38, 6)) };
        let arg = match &arg.kind {
            DataType::Float64 => Typed::new(arg.to(&decimal(30, 15))?, decimal(30, 15)),
            DataType::Float32 => Typed::new(arg.to(&decimal(14, 7))?, decimal(14, 7)),
            kind if is_integer(kind) => {
                let (precision, scale) = digits(kind).unwrap_or((20, 0));
                let kind = decimal(precision, scale);
                Typed::new(arg.to(&kind)?, kind)
            }
            _ => arg,
        };
        return decimals(Calling::new(c.name, vec![arg, c.arg(1)?]), places, mode);
    }
    let kind = arg.kind.clone();
    match &kind {
        DataType::Decimal128(_, _) => {
            let zero = Typed::new(datafusion::logical_expr::lit(0_i32), DataType::Int32);
            decimals(Calling::new(c.name, vec![arg, zero]), 0, mode)
        }
        DataType::Float32 | DataType::Float64 => {
            let one = Calling::new(c.name, vec![arg]);
            one.make(
                DataType::Int64,
                &[DataType::Float64],
                numbers::<Int64Type, _>(move |args, row| {
                    let value = args.double(0, row)?;
                    Some(if mode == Mode::Up { value.ceil() } else { value.floor() } as i64)
                }),
            )
        }
        _ => Ok(Typed::new(arg.to(&DataType::Int64)?, DataType::Int64)),
    }
}
