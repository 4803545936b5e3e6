//! Operators between two values: arithmetic, comparison, concatenation and bits, each with Spark's types.
//!
//! Used by the binder. Invariant: the engine's own operators stand between equal types only, and only where they do
//! what Spark does; integers wrap, division by nought is null, NaN is above all numbers and equals itself.

use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{call, numbers};
use crate::functions::kinds::{
    TEXT, compared, digits, is_decimal, is_instant, is_integer, is_number, is_real, is_text, wider,
};
use crate::functions::{decimals, table};
use crate::plan::spark_name;

pub(crate) fn binary(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    use BinaryOperator as B;
    match op {
        B::Plus | B::Minus => plus_minus(left, op, right),
        B::Multiply | B::Divide | B::Modulo | B::MyIntegerDivide => arithmetic(left, op, right),
        B::StringConcat => table::bind("concat", vec![left, right]),
        B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::Spaceship => compare(left, op, right),
        B::BitwiseAnd | B::BitwiseOr | B::BitwiseXor => bits(left, op, right),
        B::PGBitwiseShiftLeft => table::bind("shiftleft", vec![left, right]),
        B::PGBitwiseShiftRight => table::bind("shiftright", vec![left, right]),
        other => Err(Refusal::new(format!("the operator {other} is not Spark's"), "use a function in its place")),
    }
}

fn engine(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// A date moves by days; other sums are of numbers.
fn plus_minus(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    let day = |t: &Typed| t.kind == DataType::Date32;
    let step = |t: &Typed| matches!(t.kind, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null);
    let minus = *op == BinaryOperator::Minus;
    if day(&left) && step(&right) {
        return table::bind(if minus { "date_sub" } else { "date_add" }, vec![left, right]);
    }
    if day(&right) && step(&left) && !minus {
        return table::bind("date_add", vec![right, left]);
    }
    let time = |t: &Typed| day(t) || is_instant(&t.kind);
    if time(&left) || time(&right) {
        let help = if minus {
            "use datediff(a, b) for days, or unix_micros(a) - unix_micros(b)"
        } else {
            "use date_add(d, 1), or t + INTERVAL '1' DAY"
        };
        return Err(refused(op, &left, &right, help));
    }
    arithmetic(left, op, right)
}

fn refused(op: &BinaryOperator, left: &Typed, right: &Typed, help: &str) -> Refusal {
    Refusal::new(format!("{} {op} {} is not known here", spark_name(&left.kind), spark_name(&right.kind)), help)
}

/// A text in a sum is a DOUBLE; a null has the other's type.
fn operands(left: Typed, op: &BinaryOperator, right: Typed) -> Result<(Typed, Typed), Refusal> {
    let fix = |side: &Typed, other: &Typed| -> Result<Typed, Refusal> {
        let kind = match &side.kind {
            kind if is_text(kind) => DataType::Float64,
            DataType::Null if is_text(&other.kind) => DataType::Float64,
            DataType::Null if other.kind.is_null() => DataType::Float64,
            DataType::Null => other.kind.clone(),
            kind => kind.clone(),
        };
        if kind == side.kind {
            return Ok(side.clone());
        }
        Ok(Typed::new(side.clone().to(&kind)?, kind))
    };
    let (a, b) = (fix(&left, &right)?, fix(&right, &left)?);
    if is_number(&a.kind) && is_number(&b.kind) {
        Ok((a, b))
    } else {
        Err(refused(op, &left, &right, "write a CAST to a number"))
    }
}

/// Arithmetic of numbers.
pub(crate) fn arithmetic(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    let is_whole = |side: &Typed| is_integer(&side.kind) || is_decimal(&side.kind) || side.kind.is_null();
    if *op == BinaryOperator::MyIntegerDivide && !(is_whole(&left) && is_whole(&right)) {
        return Err(refused(op, &left, &right, "write CAST(a / b AS BIGINT), or a CAST of each side to BIGINT"));
    }
    let (left, right) = operands(left, op, right)?;
    let decimal = is_decimal(&left.kind) || is_decimal(&right.kind);
    if decimal && !is_real(&left.kind) && !is_real(&right.kind) {
        return decimals::arithmetic(as_decimal(left)?, op, as_decimal(right)?);
    }
    match op {
        BinaryOperator::Divide => divide(left, right),
        BinaryOperator::MyIntegerDivide => {
            let kind = DataType::Int64;
            Ok(Typed::new(whole("div", left.to(&kind)?, right.to(&kind)?, i64::wrapping_div), kind))
        }
        BinaryOperator::Modulo => modulo(left, right),
        _ => {
            let kind = wider(&left.kind, &right.kind).ok_or_else(|| refused(op, &left, &right, "write a CAST"))?;
            let op = match op {
                BinaryOperator::Plus => Operator::Plus,
                BinaryOperator::Minus => Operator::Minus,
                _ => Operator::Multiply,
            };
            Ok(Typed::new(engine(left.to(&kind)?, op, right.to(&kind)?), kind))
        }
    }
}

/// An integer as the decimal that holds it: a constant takes no more digits than it has.
pub(crate) fn as_decimal(value: Typed) -> Result<Typed, Refusal> {
    let constant = match value.literal().filter(|_| value.written) {
        Some(ScalarValue::Int32(Some(v))) => Some(i64::from(*v)),
        Some(ScalarValue::Int64(Some(v))) => Some(*v),
        Some(ScalarValue::Int16(Some(v))) => Some(i64::from(*v)),
        Some(ScalarValue::Int8(Some(v))) => Some(i64::from(*v)),
        _ => None,
    };
    let written = constant.map(|v| i32::try_from(v.unsigned_abs().to_string().len()).unwrap_or(20));
    let Some((precision, scale)) = written.map(|digits| (digits, 0)).or_else(|| digits(&value.kind)) else {
        return Ok(value);
    };
    let kind = crate::functions::kinds::decimal(precision, scale);
    Ok(Typed::new(value.to(&kind)?, kind))
}

fn divide(left: Typed, right: Typed) -> Bound {
    let kind = DataType::Float64;
    let made = numbers::<Float64Type, _>(|args, row| {
        let (a, b) = (args.double(0, row)?, args.double(1, row)?);
        (b != 0.0).then(|| a / b)
    });
    Ok(Typed::new(call("/", kind.clone(), vec![left.to(&kind)?, right.to(&kind)?], made), kind))
}

fn whole(name: &str, left: Expr, right: Expr, make: fn(i64, i64) -> i64) -> Expr {
    let made = numbers::<Int64Type, _>(move |args, row| {
        let (a, b) = (args.long(0, row)?, args.long(1, row)?);
        (b != 0).then(|| make(a, b))
    });
    call(name, DataType::Int64, vec![left, right], made)
}

fn modulo(left: Typed, right: Typed) -> Bound {
    remainder("%", left, right, i64::wrapping_rem, |a, b| a % b)
}

/// A remainder in the common type of two numbers; integers are computed as BIGINT, which holds them all.
pub(crate) fn remainder(
    name: &str,
    left: Typed,
    right: Typed,
    integers: fn(i64, i64) -> i64,
    reals: fn(f64, f64) -> f64,
) -> Bound {
    let kind = wider(&left.kind, &right.kind).unwrap_or(DataType::Float64);
    if is_integer(&kind) {
        let (a, b) = (left.to(&DataType::Int64)?, right.to(&DataType::Int64)?);
        return Ok(Typed::new(Typed::new(whole(name, a, b, integers), DataType::Int64).to(&kind)?, kind));
    }
    let real = DataType::Float64;
    let made = numbers::<Float64Type, _>(move |args, row| {
        let (a, b) = (args.double(0, row)?, args.double(1, row)?);
        (b != 0.0).then(|| reals(a, b))
    });
    let (a, b) = (left.to(&kind)?, right.to(&kind)?);
    let (a, b) = (Typed::new(a, kind.clone()).to(&real)?, Typed::new(b, kind.clone()).to(&real)?);
    Ok(Typed::new(Typed::new(call(name, real.clone(), vec![a, b], made), real).to(&kind)?, kind))
}

fn bits(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    let kind = wider(&left.kind, &right.kind).filter(|kind| is_integer(kind) || kind.is_null());
    let Some(kind) = kind else {
        return Err(refused(op, &left, &right, "cast both sides to BIGINT"));
    };
    if kind.is_null() {
        return Ok(Typed::new(lit(ScalarValue::Int32(None)), DataType::Int32));
    }
    // The engine's own are simplified as if no value were null: `i ^ i` would be nought where i is null.
    let (name, make): (_, fn(i64, i64) -> i64) = match op {
        BinaryOperator::BitwiseAnd => ("bit_and", |a, b| a & b),
        BinaryOperator::BitwiseOr => ("bit_or", |a, b| a | b),
        _ => ("bit_xor", |a, b| a ^ b),
    };
    let long = DataType::Int64;
    let made = numbers::<Int64Type, _>(move |args, row| Some(make(args.long(0, row)?, args.long(1, row)?)));
    let sides = vec![left.to(&long)?, right.to(&long)?];
    Ok(Typed::new(Typed::new(call(name, long.clone(), sides, made), long).to(&kind)?, kind))
}

/// A comparison in the type that Spark compares two values in.
pub(crate) fn compare(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    let (left, right) = truth_and_number(left, op, right)?;
    let kind = compared(&left.kind, &right.kind).filter(|kind| !matches!(kind, DataType::Map(_, _)));
    let Some(kind) = kind else {
        return Err(refused(op, &left, &right, "write a CAST to one type"));
    };
    let kind = if kind.is_null() { TEXT } else { kind };
    let a = comparable(Typed::new(left.to(&kind)?, kind.clone()));
    let b = comparable(Typed::new(right.to(&kind)?, kind));
    let op = match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => Operator::IsNotDistinctFrom,
    };
    Ok(Typed::flag(engine(a, op, b)))
}

/// `flag = 1`: for equality a truth value is a number where the other is.
fn truth_and_number(left: Typed, op: &BinaryOperator, right: Typed) -> Result<(Typed, Typed), Refusal> {
    let equality = matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::Spaceship);
    let flag = |t: &Typed| t.kind == DataType::Boolean;
    if equality && flag(&left) && is_number(&right.kind) {
        let kind = right.kind.clone();
        return Ok((Typed::new(left.to(&kind)?, kind), right));
    }
    if equality && flag(&right) && is_number(&left.kind) {
        let kind = left.kind.clone();
        return Ok((left, Typed::new(right.to(&kind)?, kind)));
    }
    Ok((left, right))
}

/// The engine orders doubles by their bits: with one NaN and one nought that is Spark's order.
pub(crate) fn comparable(value: Typed) -> Expr {
    let Typed { expr, kind, .. } = value;
    match kind {
        DataType::Float64 => call(
            "comparable",
            kind,
            vec![expr],
            numbers::<Float64Type, _>(|args, row| {
                let value = args.double(0, row)?;
                Some(if value.is_nan() { f64::NAN } else { value + 0.0 })
            }),
        ),
        DataType::Float32 => call(
            "comparable",
            kind,
            vec![expr],
            numbers::<arrow::datatypes::Float32Type, _>(|args, row| {
                let value = args.float(0, row)?;
                Some(if value.is_nan() { f32::NAN } else { value + 0.0 })
            }),
        ),
        _ => expr,
    }
}
