//! Mathematical functions: those over doubles, and those that keep the type of a number.
//!
//! A part of the table of functions. Invariant: what has no value is null or NaN as Spark has it, never an error.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::bind::{Bound, Refusal, Typed, no_common};
use crate::functions::call::{flags, numbers, values};
use crate::functions::kinds::{digits, is_decimal, is_integer, is_number, is_text, wider};
use crate::functions::operators::{self, as_decimal, remainder};
use crate::functions::table::{Calling, Function, MANY, function, null};

const D: DataType = DataType::Float64;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("abs", 1, 1, |c| sign_change(c, false)),
    function("negative", 1, 1, |c| sign_change(c, true)),
    function("positive", 1, 1, positive),
    function("acos", 1, 1, |c| real(c, |x| Some(x.acos()))),
    function("acosh", 1, 1, |c| real(c, |x| Some(acosh(x)))),
    function("asin", 1, 1, |c| real(c, |x| Some(x.asin()))),
    function("asinh", 1, 1, |c| real(c, |x| Some(asinh(x)))),
    function("atan", 1, 1, |c| real(c, |x| Some(x.atan()))),
    function("atan2", 2, 2, |c| reals(c, |y, x| Some((y + 0.0).atan2(x + 0.0)))),
    function("atanh", 1, 1, |c| real(c, |x| Some(0.5 * (x.ln_1p() - (-x).ln_1p())))),
    function("cbrt", 1, 1, |c| real(c, |x| Some(x.cbrt()))),
    function("cos", 1, 1, |c| real(c, |x| Some(x.cos()))),
    function("cosh", 1, 1, |c| real(c, |x| Some(x.cosh()))),
    function("cot", 1, 1, |c| real(c, |x| Some(1.0 / x.tan()))),
    function("csc", 1, 1, |c| real(c, |x| Some(1.0 / x.sin()))),
    function("degrees", 1, 1, |c| real(c, |x| Some(x.to_degrees()))),
    function("e", 0, 0, |_| Ok(Typed::new(lit(std::f64::consts::E), D))),
    function("exp", 1, 1, |c| real(c, |x| Some(x.exp()))),
    function("expm1", 1, 1, |c| real(c, |x| Some(x.exp_m1()))),
    function("factorial", 1, 1, factorial),
    function("greatest", 2, MANY, |c| extreme(c, Ordering::Greater)),
    function("hypot", 2, 2, |c| reals(c, |a, b| Some(a.hypot(b)))),
    function("isnan", 1, 1, isnan),
    function("least", 2, MANY, |c| extreme(c, Ordering::Less)),
    function("ln", 1, 1, |c| real(c, ln)),
    function("log", 1, 2, log),
    function("log10", 1, 1, |c| real(c, |x| (x > 0.0 || x.is_nan()).then(|| x.log10()))),
    function("log1p", 1, 1, |c| real(c, |x| (x > -1.0 || x.is_nan()).then(|| x.ln_1p()))),
    function("log2", 1, 1, |c| real(c, |x| (x > 0.0 || x.is_nan()).then(|| x.log2()))),
    function("mod", 2, 2, |c| two(&c, &BinaryOperator::Modulo)),
    function("nanvl", 2, 2, nanvl),
    function("pi", 0, 0, |_| Ok(Typed::new(lit(std::f64::consts::PI), D))),
    function("pmod", 2, 2, pmod),
    function("pow", 2, 2, |c| reals(c, power)),
    function("power", 2, 2, |c| reals(c, power)),
    function("radians", 1, 1, |c| real(c, |x| Some(x.to_radians()))),
    function("rint", 1, 1, |c| real(c, |x| Some(x.round_ties_even()))),
    function("sec", 1, 1, |c| real(c, |x| Some(1.0 / x.cos()))),
    function("sign", 1, 1, |c| real(c, signum)),
    function("signum", 1, 1, |c| real(c, signum)),
    function("sin", 1, 1, |c| real(c, |x| Some(x.sin()))),
    function("sinh", 1, 1, |c| real(c, |x| Some(x.sinh()))),
    function("sqrt", 1, 1, |c| real(c, |x| Some(x.sqrt()))),
    function("tan", 1, 1, |c| real(c, |x| Some(x.tan()))),
    function("tanh", 1, 1, |c| real(c, |x| Some(x.tanh()))),
    function("try_add", 2, 2, |c| tried(&c, &BinaryOperator::Plus)),
    function("try_divide", 2, 2, |c| two(&c, &BinaryOperator::Divide)),
    function("try_mod", 2, 2, |c| two(&c, &BinaryOperator::Modulo)),
    function("try_multiply", 2, 2, |c| tried(&c, &BinaryOperator::Multiply)),
    function("try_subtract", 2, 2, |c| tried(&c, &BinaryOperator::Minus)),
    function("width_bucket", 4, 4, width_bucket),
];

fn real(c: Calling, make: fn(f64) -> Option<f64>) -> Bound {
    c.make(D, &[D], numbers::<Float64Type, _>(move |args, row| make(args.double(0, row)?)))
}

fn reals(c: Calling, make: fn(f64, f64) -> Option<f64>) -> Bound {
    c.make(D, &[D, D], numbers::<Float64Type, _>(move |args, row| make(args.double(0, row)?, args.double(1, row)?)))
}

/// From here on one is nothing beside the square, which may be too large to be a number.
const SQUARE_ALONE: f64 = (1_u64 << 28) as f64;

fn asinh(x: f64) -> f64 {
    if x.abs() > SQUARE_ALONE { (x.abs().ln() + std::f64::consts::LN_2).copysign(x) } else { x.asinh() }
}

fn acosh(x: f64) -> f64 {
    if x < 1.0 {
        return f64::NAN;
    }
    if x > SQUARE_ALONE { x.ln() + std::f64::consts::LN_2 } else { (x + (x * x - 1.0).sqrt()).ln() }
}

fn ln(x: f64) -> Option<f64> {
    (x > 0.0 || x.is_nan()).then(|| x.ln())
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for all")]
fn signum(x: f64) -> Option<f64> {
    Some(if x == 0.0 || x.is_nan() { x } else { x.signum() })
}

/// Java's power of one to infinity is NaN.
#[expect(clippy::unnecessary_wraps, reason = "one shape for all")]
fn power(base: f64, exponent: f64) -> Option<f64> {
    let undefined = (base.abs() == 1.0 && exponent.is_infinite()) || (base == 1.0 && exponent.is_nan());
    Some(if undefined { f64::NAN } else { base.powf(exponent) })
}

fn log(c: Calling) -> Bound {
    if c.args.len() == 1 {
        return real(c, ln);
    }
    reals(c, |base, x| {
        let defined = |v: f64| v > 0.0 || v.is_nan();
        (defined(base) && defined(x)).then(|| x.ln() / base.ln())
    })
}

fn two(c: &Calling, op: &BinaryOperator) -> Bound {
    operators::arithmetic(c.arg(0)?, op, c.arg(1)?)
}

/// A number, or a text as a DOUBLE.
fn number(c: &Calling, index: usize) -> Result<Typed, Refusal> {
    let arg = c.arg(index)?;
    match &arg.kind {
        kind if is_text(kind) || kind.is_null() => Ok(Typed::new(arg.to(&D)?, D)),
        kind if is_number(kind) => Ok(arg),
        _ => Err(c.wrong(index, "a number")),
    }
}

/// The number itself; a constant is one that was computed then.
fn positive(c: Calling) -> Bound {
    Ok(Typed { written: false, ..number(&c, 0)? })
}

/// The absolute or the negated value in its own type; the smallest integer wraps to itself.
fn sign_change(c: Calling, negate: bool) -> Bound {
    let arg = number(&c, 0)?;
    let c = Calling::new(c.name, vec![arg.clone()]);
    let kind = arg.kind;
    match &kind {
        DataType::Float64 => c.make(
            kind.clone(),
            std::slice::from_ref(&kind),
            numbers::<Float64Type, _>(move |args, row| args.double(0, row).map(|v| if negate { -v } else { v.abs() })),
        ),
        DataType::Float32 => c.make(
            kind.clone(),
            std::slice::from_ref(&kind),
            numbers::<Float32Type, _>(move |args, row| args.float(0, row).map(|v| if negate { -v } else { v.abs() })),
        ),
        DataType::Decimal128(_, _) => c.make(
            kind.clone(),
            std::slice::from_ref(&kind),
            numbers::<Decimal128Type, _>(move |args, row| {
                args.decimal(0, row).map(|v| if negate { -v } else { v.abs() })
            }),
        ),
        _ => {
            let long = DataType::Int64;
            let made = c.make(
                long.clone(),
                &[long],
                numbers::<Int64Type, _>(move |args, row| {
                    args.long(0, row).map(|v| if negate { v.wrapping_neg() } else { v.wrapping_abs() })
                }),
            )?;
            Ok(Typed::new(made.to(&kind)?, kind))
        }
    }
}

fn factorial(c: Calling) -> Bound {
    let made = numbers::<Int64Type, _>(|args, row| {
        let n = args.int(0, row).filter(|n| (0..=20).contains(n))?;
        Some((1..=i64::from(n)).product())
    });
    c.make(DataType::Int64, &[DataType::Int32], made)
}

fn isnan(c: Calling) -> Bound {
    c.make(DataType::Boolean, &[D], flags(|args, row| Some(args.double(0, row).is_some_and(f64::is_nan))))
}

fn nanvl(c: Calling) -> Bound {
    let made = numbers::<Float64Type, _>(|args, row| {
        let value = args.double(0, row)?;
        if value.is_nan() { args.double(1, row) } else { Some(value) }
    });
    if c.kind(0) == DataType::Float32 && c.kind(1) == DataType::Float32 {
        let arg = |i: usize| c.arg(i).and_then(|a| a.to(&D)).map(|e| Typed::new(e, D));
        let wide = Calling::new(c.name, vec![arg(0)?, arg(1)?]);
        let float = DataType::Float32;
        return Ok(Typed::new(wide.make(D, &[D, D], made)?.to(&float)?, float));
    }
    c.make(D, &[D, D], made)
}

fn pmod(c: Calling) -> Bound {
    let (a, b) = (number(&c, 0)?, number(&c, 1)?);
    let both = wider(&a.kind, &b.kind);
    if both.as_ref().is_some_and(is_decimal) {
        let (a, b) = (as_decimal(a)?, as_decimal(b)?);
        let rest = operators::arithmetic(a, &BinaryOperator::Modulo, b.clone())?;
        return positive_rest(rest, b);
    }
    // What is narrower than a BIGINT is added in 32 bits.
    let integers: fn(i64, i64) -> i64 = match both {
        Some(DataType::Int64) => |a, b| {
            let rest = a.wrapping_rem(b);
            if rest < 0 { rest.wrapping_add(b).wrapping_rem(b) } else { rest }
        },
        _ => |a, b| {
            let rest = a.wrapping_rem(b);
            if rest < 0 { wrapped(rest.wrapping_add(b)).wrapping_rem(b) } else { rest }
        },
    };
    remainder("pmod", a, b, integers, |a, b| {
        let rest = a % b;
        if rest < 0.0 { (rest + b) % b } else { rest }
    })
}

/// The last 32 bits, as a number.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond 32 bits is to go")]
fn wrapped(number: i64) -> i64 {
    i64::from(number as i32)
}

/// A negative remainder of decimals, made positive by adding the divisor once.
fn positive_rest(rest: Typed, divisor: Typed) -> Bound {
    let kind = rest.kind.clone();
    let (Some((precision, to)), Some((_, from))) = (digits(&kind), digits(&divisor.kind)) else { return Ok(rest) };
    let most = 10_i128.checked_pow(u32::try_from(precision).unwrap_or(u32::MAX)).unwrap_or(i128::MAX);
    let made = numbers::<Decimal128Type, _>(move |args, row| {
        let rest = args.decimal(0, row)?;
        if rest >= 0 {
            return Some(rest);
        }
        let factor = 10_i128.checked_pow(u32::try_from(to - from).ok()?)?;
        let divisor = args.decimal(1, row)?.checked_mul(factor)?;
        rest.checked_add(divisor)?.checked_rem(divisor).filter(|made| made.abs() < most)
    });
    let expr = crate::functions::call::call("pmod", kind.clone(), vec![rest.expr, divisor.expr], made);
    Ok(Typed::new(expr, kind))
}

/// The largest or the smallest of the values that are not null; NaN is above all numbers.
fn extreme(c: Calling, wanted: Ordering) -> Bound {
    let kind = c.args.iter().try_fold(DataType::Null, |found, arg| wider(&found, &arg.kind));
    let kind = kind.ok_or_else(|| no_common(c.name, &c.args))?;
    if kind.is_null() {
        return null(&kind);
    }
    let args = c.args.iter().map(|arg| arg.clone().to(&kind)).collect::<Result<Vec<Expr>, _>>()?;
    let made = values(move |args, row| {
        let mut best = ScalarValue::Null;
        for index in 0..args.args.len() {
            let value = args.value(index, row)?;
            if value.is_null() {
                continue;
            }
            let order = if best.is_null() { Some(wanted) } else { order(&value, &best) };
            if order == Some(wanted) {
                best = value;
            }
        }
        Ok(best)
    });
    Ok(Typed::new(crate::functions::call::call(c.name, kind.clone(), args, made), kind))
}

/// Two values of one type in Spark's order.
pub(crate) fn order(a: &ScalarValue, b: &ScalarValue) -> Option<Ordering> {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => Some(double_order(*a, *b)),
        (ScalarValue::Float32(Some(a)), ScalarValue::Float32(Some(b))) => {
            Some(double_order(f64::from(*a), f64::from(*b)))
        }
        (ScalarValue::List(a), ScalarValue::List(b)) => {
            let (a, b) = (a.value(0), b.value(0));
            let shorter = a.len().min(b.len());
            (0..shorter).find_map(|at| differing(&a, &b, at)).unwrap_or_else(|| Some(a.len().cmp(&b.len())))
        }
        (ScalarValue::Struct(a), ScalarValue::Struct(b)) => {
            let mut fields = a.columns().iter().zip(b.columns());
            fields.find_map(|(a, b)| differing(a, b, 0)).unwrap_or(Some(Ordering::Equal))
        }
        (a, b) => a.partial_cmp(b),
    }
}

/// How values within two others differ, a null before all else; nothing where they are the same.
fn differing(a: &ArrayRef, b: &ArrayRef, at: usize) -> Option<Option<Ordering>> {
    let found = match (a.is_null(at), b.is_null(at)) {
        (true, true) => return None,
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => {
            let value = |column: &ArrayRef| ScalarValue::try_from_array(column, at).ok();
            order(&value(a)?, &value(b)?)
        }
    };
    (found != Some(Ordering::Equal)).then_some(found)
}

fn double_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Sums and products of integers that do not fit are null; others are as without `try_`.
fn tried(c: &Calling, op: &BinaryOperator) -> Bound {
    let (a, b) = (c.arg(0)?, c.arg(1)?);
    let kind = wider(&a.kind, &b.kind).filter(is_integer);
    let Some(kind) = kind else { return operators::binary(a, op, b) };
    let make: fn(i64, i64) -> Option<i64> = match op {
        BinaryOperator::Plus => i64::checked_add,
        BinaryOperator::Minus => i64::checked_sub,
        _ => i64::checked_mul,
    };
    let (low, high) = match &kind {
        DataType::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let long = DataType::Int64;
    let made = c.make(
        long.clone(),
        &[long.clone(), long],
        numbers::<Int64Type, _>(move |args, row| {
            make(args.long(0, row)?, args.long(1, row)?).filter(|v| (low..=high).contains(v))
        }),
    )?;
    Ok(Typed::new(made.to(&kind)?, kind))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "Spark computes it in doubles")]
fn width_bucket(c: Calling) -> Bound {
    let made = numbers::<Int64Type, _>(|args, row| {
        let (value, low, high) = (args.double(0, row)?, args.double(1, row)?, args.double(2, row)?);
        let buckets = args.long(3, row)?;
        let bad = |v: f64| v.is_nan() || v.is_infinite();
        if buckets <= 0 || buckets == i64::MAX || value.is_nan() || low == high || bad(low) || bad(high) {
            return None;
        }
        let (from, to) = (low.min(high), low.max(high));
        let rising = low < high;
        if value < from {
            return Some(if rising { 0 } else { buckets + 1 });
        }
        // The end belongs to what is above when the range rises, and the start when it falls.
        if rising && value >= to {
            return Some(buckets + 1);
        }
        if !rising && value > to {
            return Some(0);
        }
        let way = if rising { value - from } else { to - value };
        Some(((buckets as f64 * way / (to - from)) as i64).wrapping_add(1))
    });
    c.make(DataType::Int64, &[D, D, D, DataType::Int64], made)
}

/// An integer of 32 bits as a kernel's result; here so that the modules of functions share it.
pub(crate) fn ints<F>(make: F) -> crate::functions::call::Kernel
where
    F: Fn(&crate::functions::call::Args<'_>, usize) -> Option<i32> + Send + Sync + 'static,
{
    numbers::<Int32Type, _>(make)
}
