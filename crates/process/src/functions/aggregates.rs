//! The aggregates of a roll-up, with Spark's types: the sum of integers is a BIGINT, every average a DOUBLE.
//!
//! Used by the binder. Which of them can be merged is for the roll-up to say. Invariant: the argument has the type that
//! the engine's aggregate computes in, so that nothing is cast on the way.

use arrow::datatypes::DataType;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, lit};
use datafusion::sql::sqlparser::ast;

use crate::functions::bind::{Binder, Bound, Refusal, Typed};
use crate::functions::kinds::{is_decimal, is_integer, is_number, is_real, is_text};
use crate::plan::spark_name;

/// Whether a name is one of the aggregates that a roll-up merges.
pub(crate) fn is_aggregate(name: &str) -> bool {
    matches!(name, "count" | "sum" | "min" | "max" | "avg" | "mean")
}

pub(crate) fn bind(binder: &Binder<'_>, name: &str, call: &ast::Function) -> Bound {
    if !binder.aggregates {
        return Err(Refusal::new(
            format!("{name} is an aggregate, which cannot stand here"),
            "aggregate in the SELECT of a rollup: -- kind: rollup",
        ));
    }
    let inner = Binder { schema: binder.schema, place: binder.place, merged: binder.merged.clone(), aggregates: false };
    let (args, distinct) = arguments(&inner, name, call)?;
    let filter = call.filter.as_ref().map(|f| inner.condition(f)).transpose()?.map(Box::new);
    let made = |function, args, kind| {
        let expr =
            Expr::AggregateFunction(AggregateFunction::new_udf(function, args, distinct, filter.clone(), vec![], None));
        Ok(Typed::new(expr, kind))
    };
    if name == "count" {
        let args = if args.is_empty() { vec![lit(1_i64)] } else { args.into_iter().map(|a| a.expr).collect() };
        return made(count_udaf(), args, DataType::Int64);
    }
    let Some(arg) = args.into_iter().next() else {
        return Err(Refusal::new(format!("{name} takes one argument"), "write the value to aggregate"));
    };
    let kind = arg.kind.clone();
    match name {
        "min" => made(min_udaf(), vec![arg.expr], kind),
        "max" => made(max_udaf(), vec![arg.expr], kind),
        _ if is_decimal(&kind) => Err(Refusal::new(
            format!("{name} of {} is not known here", spark_name(&kind)),
            "cast the argument to DOUBLE or BIGINT",
        )),
        _ if !is_number(&kind) && !is_text(&kind) => {
            Err(Refusal::new(format!("{name} is of numbers, and this is {}", spark_name(&kind)), "write a CAST"))
        }
        "sum" => {
            let wide = if is_integer(&kind) { DataType::Int64 } else { DataType::Float64 };
            debug_assert!(is_integer(&kind) || is_real(&kind) || is_text(&kind));
            made(sum_udaf(), vec![arg.to(&wide)?], wide)
        }
        // The engine casts integers itself; as they are, their count is that of `count` of the same column.
        _ if is_integer(&kind) => made(avg_udaf(), vec![arg.expr], DataType::Float64),
        _ => made(avg_udaf(), vec![arg.to(&DataType::Float64)?], DataType::Float64),
    }
}

/// The arguments of an aggregate, `*` as none, and whether they are DISTINCT.
fn arguments(binder: &Binder<'_>, name: &str, call: &ast::Function) -> Result<(Vec<Typed>, bool), Refusal> {
    let ast::FunctionArguments::List(list) = &call.args else { return Ok((Vec::new(), false)) };
    let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => args.push(binder.bind(expr)?),
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if name == "count" => {}
            _ => return Err(Refusal::new(format!("{name} takes an expression"), "write the value to aggregate")),
        }
    }
    if args.len() > 1 {
        return Err(Refusal::new(format!("{name} takes one argument here"), "write an aggregate for each"));
    }
    Ok((args, distinct))
}
