//! Arithmetic of decimals, with the digits and the scale that Spark gives each result; what does not fit is null.
//!
//! Used by the operators. Invariant: intermediate results are exact, and rounded half up once.

use arrow::datatypes::{DataType, Decimal128Type, Int64Type, i256};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{call, numbers};
use crate::functions::kinds::{adjusted, digits};
use crate::functions::text_number::fits;

/// What one step of decimal arithmetic needs to know.
#[derive(Clone, Copy)]
struct Step {
    left_scale: i32,
    right_scale: i32,
    scale: i32,
    precision: i32,
}

/// Arithmetic of two decimals.
pub(crate) fn arithmetic(left: Typed, op: &BinaryOperator, right: Typed) -> Bound {
    let (Some((p1, s1)), Some((p2, s2))) = (digits(&left.kind), digits(&right.kind)) else {
        return Err(Refusal::new("this is no arithmetic of decimals", "write a CAST to DOUBLE"));
    };
    let whole = (p1 - s1).max(p2 - s2);
    let kind = match op {
        BinaryOperator::Plus | BinaryOperator::Minus => adjusted(whole + s1.max(s2) + 1, s1.max(s2)),
        BinaryOperator::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        BinaryOperator::Divide => {
            let scale = 6.max(s1 + p2 + 1);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        BinaryOperator::Modulo => adjusted((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
        _ => DataType::Int64,
    };
    if *op == BinaryOperator::MyIntegerDivide {
        return Ok(Typed::new(integral(left, right, s1, s2), kind));
    }
    let (precision, scale) = digits(&kind).unwrap_or((38, 0));
    let step = Step { left_scale: s1, right_scale: s2, scale, precision };
    if p1 + (scale + s2 - s1).max(0) > 75 {
        return Err(Refusal::new("this division has more digits than fit", "cast one side to a smaller DECIMAL"));
    }
    let make: fn(i128, i128, Step) -> Option<i256> = match op {
        BinaryOperator::Plus => |a, b, s| add(a, b, s, false),
        BinaryOperator::Minus => |a, b, s| add(a, b, s, true),
        BinaryOperator::Multiply => multiply,
        BinaryOperator::Divide => quotient,
        _ => rest,
    };
    let made = numbers::<Decimal128Type, _>(move |args, row| {
        let value = make(args.decimal(0, row)?, args.decimal(1, row)?, step)?.to_i128()?;
        fits(value, step.precision).then_some(value)
    });
    Ok(Typed::new(call(&format!("decimal {op}"), kind.clone(), vec![left.expr, right.expr], made), kind))
}

fn ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

/// A value at another scale, rounded half up.
fn scaled(value: i256, from: i32, to: i32) -> Option<i256> {
    if to >= from { value.checked_mul(ten(to - from)?) } else { half_up(value, ten(from - to)?) }
}

fn half_up(value: i256, divisor: i256) -> Option<i256> {
    let whole = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?;
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < divisor.wrapping_abs() {
        return Some(whole);
    }
    let negative = value.is_negative() != divisor.is_negative();
    let one = i256::from_i128(1);
    if negative { whole.checked_sub(one) } else { whole.checked_add(one) }
}

fn add(a: i128, b: i128, step: Step, minus: bool) -> Option<i256> {
    let common = step.left_scale.max(step.right_scale);
    let a = scaled(i256::from_i128(a), step.left_scale, common)?;
    let b = scaled(i256::from_i128(b), step.right_scale, common)?;
    let sum = if minus { a.checked_sub(b)? } else { a.checked_add(b)? };
    scaled(sum, common, step.scale)
}

fn multiply(a: i128, b: i128, step: Step) -> Option<i256> {
    let product = i256::from_i128(a).checked_mul(i256::from_i128(b))?;
    scaled(product, step.left_scale + step.right_scale, step.scale)
}

fn quotient(a: i128, b: i128, step: Step) -> Option<i256> {
    if b == 0 {
        return None;
    }
    let shift = step.scale + step.right_scale - step.left_scale;
    let (a, b) = (i256::from_i128(a), i256::from_i128(b));
    if shift >= 0 { half_up(a.checked_mul(ten(shift)?)?, b) } else { half_up(a, b.checked_mul(ten(-shift)?)?) }
}

fn rest(a: i128, b: i128, step: Step) -> Option<i256> {
    if b == 0 {
        return None;
    }
    let common = step.left_scale.max(step.right_scale);
    let a = scaled(i256::from_i128(a), step.left_scale, common)?;
    let b = scaled(i256::from_i128(b), step.right_scale, common)?;
    scaled(a.checked_rem(b)?, common, step.scale)
}

#[expect(clippy::cast_possible_truncation, reason = "the result wraps")]
fn integral(left: Typed, right: Typed, s1: i32, s2: i32) -> datafusion::logical_expr::Expr {
    let common = s1.max(s2);
    let made = numbers::<Int64Type, _>(move |args, row| {
        let a = scaled(i256::from_i128(args.decimal(0, row)?), s1, common)?;
        let b = scaled(i256::from_i128(args.decimal(1, row)?), s2, common)?;
        // What does not fit a BIGINT wraps, as Spark's does.
        Some(a.checked_div(b)?.to_parts().0 as i64)
    });
    call("decimal div", DataType::Int64, vec![left.expr, right.expr], made)
}
