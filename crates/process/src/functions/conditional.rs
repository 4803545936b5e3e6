//! Functions that choose: `coalesce`, `if`, `nullif` and their kin, as CASE expressions of the engine.
//!
//! A part of the table of functions. Invariant: the type is the common one of what may be chosen.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use arrow::datatypes::DataType;

use crate::functions::bind::{Bound, Typed, choose, truth};
use crate::functions::operators::compare;
use crate::functions::table::{Calling, Function, MANY, function, null};

pub(crate) const FUNCTIONS: &[Function] = &[
    function("coalesce", 1, MANY, coalesce),
    function("equal_null", 2, 2, |c| compare(c.arg(0)?, &BinaryOperator::Spaceship, c.arg(1)?)),
    function("if", 3, 3, conditional),
    function("ifnull", 2, 2, coalesce),
    function("isnotnull", 1, 1, |c| Ok(Typed::flag(c.arg(0)?.expr.is_not_null()))),
    function("isnull", 1, 1, |c| Ok(Typed::flag(c.arg(0)?.expr.is_null()))),
    function("nullif", 2, 2, nullif),
    function("nullifzero", 1, 1, nullifzero),
    function("nvl", 2, 2, coalesce),
    function("nvl2", 3, 3, nvl2),
    function("zeroifnull", 1, 1, zeroifnull),
];

fn zero() -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Int32(Some(0)), None), DataType::Int32)
}

fn coalesce(c: Calling) -> Bound {
    let mut args = c.args;
    let Some(last) = args.pop() else { return null(&DataType::Null) };
    if args.is_empty() {
        return Ok(last);
    }
    let whens = args.into_iter().map(|arg| (arg.expr.clone().is_not_null(), arg)).collect();
    choose(whens, Some(last))
}

fn conditional(c: Calling) -> Bound {
    choose(vec![(truth(c.arg(0)?)?, c.arg(1)?)], Some(c.arg(2)?))
}

fn nullif(c: Calling) -> Bound {
    let value = c.arg(0)?;
    let same = compare(value.clone(), &BinaryOperator::Eq, c.arg(1)?)?;
    let none = null(&value.kind)?;
    choose(vec![(same.expr, none)], Some(value))
}

fn nullifzero(c: Calling) -> Bound {
    let value = c.arg(0)?;
    let same = compare(value.clone(), &BinaryOperator::Eq, zero())?;
    let none = null(&value.kind)?;
    choose(vec![(same.expr, none)], Some(value))
}

fn zeroifnull(c: Calling) -> Bound {
    let value = c.arg(0)?;
    choose(vec![(value.expr.clone().is_not_null(), value)], Some(zero()))
}

fn nvl2(c: Calling) -> Bound {
    choose(vec![(c.arg(0)?.expr.is_not_null(), c.arg(1)?)], Some(c.arg(2)?))
}
