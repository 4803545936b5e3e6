//! What comparisons mean between values of different types, decided on the plan, where types are known.
//!
//! Text compared with a time is read in the session's zone, text compared with a number as the number that it shows, a
//! day compared with a time as its local midnight. Runs before the engine's own coercion, which knows no zone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Between, Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

/// The rule.
#[derive(Debug)]
pub struct Meaning {
    casts: HashMap<&'static str, Arc<ScalarUDF>>,
}

const TIME: &str = "__timestamp";
const DATE: &str = "__date";
const DOUBLE: &str = "__as_double";
const INTEGER: &str = "__as_bigint";
const BOOLEAN: &str = "__boolean";
const TEXT: &str = "__varchar";

impl Meaning {
    /// The rule over a session's functions.
    pub fn new(functions: &[Arc<ScalarUDF>]) -> Self {
        let find = |name: &'static str| {
            let found = functions.iter().find(|function| function.name() == name);
            found.map(|function| (name, Arc::clone(function)))
        };
        Self { casts: [TIME, DATE, DOUBLE, INTEGER, BOOLEAN, TEXT].into_iter().filter_map(find).collect() }
    }

    fn cast(&self, name: &str, expr: Expr) -> Result<Expr> {
        let function = self.casts.get(name).ok_or_else(|| DataFusionError::Plan(format!("{name} not found")))?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![expr])))
    }

    fn plan(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::Join(join) = &plan {
            schema.merge(&join.schema);
        }
        let names = NamePreserver::new(&plan);
        let mapped = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| self.expression(expr, &schema))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?;
        if mapped.transformed { mapped.map_data(LogicalPlan::recompute_schema) } else { Ok(mapped) }
    }

    fn expression(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() || is_distinct(op) => {
                let (left, right, changed) = self.pair(*left, *right, schema)?;
                let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
                if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
            }
            Expr::Between(between) => self.between(between, schema)?,
            Expr::InList(list) => self.list(list, schema)?,
            Expr::Like(like) => self.like(like, schema)?,
            Expr::Case(case) if case.expr.is_some() => self.case(case, schema)?,
            Expr::AggregateFunction(function) => self.aggregate(function, schema)?,
            other => Transformed::no(other),
        })
    }

    /// Two values brought to types that can be compared.
    fn pair(&self, left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr, bool)> {
        let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok((left, right, false));
        };
        if let Some(exact) = as_number(&left, &right_type) {
            return Ok((exact, right, true));
        }
        if let Some(exact) = as_number(&right, &left_type) {
            return Ok((left, exact, true));
        }
        let (to_left, to_right) = (wanted(&left_type, &right_type), wanted(&right_type, &left_type));
        let changed = to_left.is_some() || to_right.is_some();
        let left = match to_left {
            Some(name) => self.cast(name, left)?,
            None => left,
        };
        let right = match to_right {
            Some(name) => self.cast(name, right)?,
            None => right,
        };
        Ok((left, right, changed))
    }

    fn between(&self, between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let (expr, low, first) = self.pair(*between.expr, *between.low, schema)?;
        let (expr, high, second) = self.pair(expr, *between.high, schema)?;
        let expr = Expr::Between(Between::new(Box::new(expr), between.negated, Box::new(low), Box::new(high)));
        Ok(if first || second { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    fn list(&self, list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let Ok(kind) = list.expr.get_type(schema) else { return Ok(Transformed::no(Expr::InList(list))) };
        let kinds: Vec<Option<DataType>> = list.list.iter().map(|item| item.get_type(schema).ok()).collect();
        let of_items = kinds.iter().flatten().find_map(|item| wanted(&kind, item));
        let mut expr = *list.expr;
        let mut kind = kind;
        if let Some(name) = of_items {
            expr = self.cast(name, expr)?;
            kind = expr.get_type(schema)?;
        }
        let mut changed = of_items.is_some();
        let mut items = Vec::with_capacity(list.list.len());
        for (item, item_kind) in list.list.into_iter().zip(kinds) {
            let name = item_kind.and_then(|item_kind| wanted(&item_kind, &kind));
            changed |= name.is_some();
            items.push(match name {
                Some(name) => self.cast(name, item)?,
                None => item,
            });
        }
        let expr = Expr::InList(InList::new(Box::new(expr), items, list.negated));
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    fn like(&self, mut like: Like, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let mut changed = false;
        for side in [&mut like.expr, &mut like.pattern] {
            if side.get_type(schema).is_ok_and(|kind| !kind.is_string() && !kind.is_null()) {
                **side = self.cast(TEXT, std::mem::take(side.as_mut()))?;
                changed = true;
            }
        }
        let expr = Expr::Like(like);
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    fn case(&self, mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let mut changed = false;
        let Some(expr) = case.expr.take() else { return Ok(Transformed::no(Expr::Case(case))) };
        let mut expr = *expr;
        for (when, _) in &mut case.when_then_expr {
            let (left, right, one) = self.pair(expr, std::mem::take(when.as_mut()), schema)?;
            expr = left;
            **when = right;
            changed |= one;
        }
        case.expr = Some(Box::new(expr));
        let expr = Expr::Case(case);
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }

    /// Quantiles of text are those of the numbers that it shows.
    fn aggregate(&self, mut function: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let name = match function.func.name() {
            "approx_percentile_cont" => DOUBLE,
            _ => return Ok(Transformed::no(Expr::AggregateFunction(function))),
        };
        let mut changed = false;
        if let Some(first) = function.params.args.first_mut()
            && first.get_type(schema).is_ok_and(|kind| kind.is_string())
        {
            *first = self.cast(name, std::mem::take(first))?;
            changed = true;
        }
        let expr = Expr::AggregateFunction(function);
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

impl AnalyzerRule for Meaning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| self.plan(plan)).map(|plan| plan.data)
    }

    fn name(&self) -> &'static str {
        "meaning"
    }
}

/// A constant number brought to the type of what it is compared with: a BIGINT is compared exactly, a FLOAT as one.
fn as_number(expr: &Expr, with: &DataType) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Float64(Some(value)), _) = expr else { return None };
    match with {
        DataType::Float32 => Some(Expr::Literal(ScalarValue::Float32(Some(*value as f32)), None)),
        DataType::Int64 | DataType::Int32 if value.fract() == 0.0 && value.abs() < 9.2e18 => {
            Some(Expr::Literal(ScalarValue::Int64(Some(*value as i64)), None))
        }
        _ => None,
    }
}

fn is_distinct(op: datafusion::logical_expr::Operator) -> bool {
    use datafusion::logical_expr::Operator;
    matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// The cast that brings a value to what it is compared with; none where it can stay.
fn wanted(kind: &DataType, with: &DataType) -> Option<&'static str> {
    let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(..));
    let is_day = |kind: &DataType| matches!(kind, DataType::Date32 | DataType::Date64);
    if is_time(with) && (kind.is_string() || is_day(kind)) {
        return Some(TIME);
    }
    if is_day(with) && kind.is_string() {
        return Some(DATE);
    }
    if with == &DataType::Boolean && (kind.is_string() || kind.is_numeric()) {
        return Some(BOOLEAN);
    }
    // Compared with a whole number, text counts as the whole part of the number that it shows.
    (with.is_numeric() && kind.is_string()).then_some(if with.is_integer() { INTEGER } else { DOUBLE })
}
