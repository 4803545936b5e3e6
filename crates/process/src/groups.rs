//! Groups, DISTINCT, minima and maxima of floating point in a plan that is run over all rows at once, as Spark has them.
//!
//! The engine tells `-0.0` from `0.0` and one NaN from another, and its minima and maxima depend on where a NaN stands among
//! the rows. Invariant: a rewritten plan gives the same columns under the same names.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};

use crate::functions::bind::Typed;
use crate::functions::operators::comparable;
use crate::rollup::order::{of_order_key, order_key};

/// The same plan with Spark's groups.
pub(crate) fn as_spark_groups(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = |node| match node {
        LogicalPlan::Aggregate(aggregate) => Ok(Transformed::yes(grouped(aggregate)?)),
        LogicalPlan::Distinct(Distinct::All(input)) => Ok(Transformed::yes(distinct(&input)?)),
        other => Ok(Transformed::no(other)),
    };
    plan.transform_up(rewritten).data()
}

fn grouped(aggregate: Aggregate) -> Result<LogicalPlan> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let rows = input.schema();
    let groups = group_expr.into_iter().map(|group| one_of_each(group, rows)).collect::<Result<Vec<_>>>()?;
    let mut keyed: Vec<Option<DataType>> = vec![None; groups.len()];
    let mut calls = Vec::with_capacity(aggr_expr.len());
    for call in aggr_expr {
        let (call, kind) = called(call, rows)?;
        calls.push(call);
        keyed.push(kind);
    }
    let plan = LogicalPlanBuilder::from(Arc::clone(&input)).aggregate(groups, calls)?.build()?;
    let made = Arc::clone(plan.schema());
    let columns = keyed.into_iter().enumerate().map(|(index, kind)| {
        let (qualifier, field) = made.qualified_field(index);
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let column = match kind {
            Some(DataType::Float64) => of_order_key(column),
            Some(kind) => Expr::Cast(Cast::new(Box::new(of_order_key(column)), kind)),
            None => column,
        };
        let (qualifier, field) = schema.qualified_field(index);
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// An aggregate; where it is taken over order keys, also the type of its numbers.
fn called(call: Expr, rows: &DFSchema) -> Result<(Expr, Option<DataType>)> {
    let Expr::AggregateFunction(AggregateFunction { func, mut params }) = call else { return Ok((call, None)) };
    let kind = params.args.first().map(|arg| arg.get_type(rows)).transpose()?.filter(DataType::is_floating);
    let is_extreme = matches!(func.name(), "min" | "max");
    if kind.is_some() && is_extreme {
        let as_double = |arg: Expr| Expr::Cast(Cast::new(Box::new(arg), DataType::Float64));
        params.args = params.args.into_iter().map(|arg| order_key(as_double(arg))).collect();
    } else if params.distinct {
        params.args = params.args.into_iter().map(|arg| one_of_each(arg, rows)).collect::<Result<_>>()?;
    }
    Ok((Expr::AggregateFunction(AggregateFunction { func, params }), kind.filter(|_| is_extreme)))
}

fn distinct(input: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let schema = input.schema();
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        Ok(one_of_each(column, schema)?.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.distinct()?.build()
}

/// A value with one NaN for all and one nought.
fn one_of_each(value: Expr, rows: &DFSchema) -> Result<Expr> {
    let kind = value.get_type(rows)?;
    Ok(comparable(Typed::new(value, kind)))
}
