//! What a rollup asks of Spark: its groups, and of each aggregate the state that merges.
//!
//! Each aggregate of the model's text is planned alone, which says whose states it makes. Pure. Invariant: a state that
//! Spark gives is what the plan's source of that state gives.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{GroupByExpr, Query, SetExpr};
use vitalake_contract::Contract;

use crate::engine::spark::layout::{Aggregate, Layout};
use crate::engine::spark::statement::{Column, Part, Statement, Wanted, quoted};
use crate::graph::Contracts;
use crate::model::{Model, parse_query};
use crate::plan::{named_schemas, plan};
use crate::problem::ModelProblem;
use crate::rollup::build::Builder;
use crate::rollup::shape::RollupShape;

/// The statement of a rollup.
///
/// # Errors
/// When a state cannot be written in Spark's SQL.
pub(crate) fn sent(model: &Model, contract: &Contract, contracts: &Contracts) -> Result<Statement, ModelProblem> {
    let schemas = named_schemas(model, contracts)?;
    let planned = plan(model, model.query.as_ref().clone(), &schemas)?;
    let first = |problems: Vec<ModelProblem>| problems.into_iter().next();
    let shape = RollupShape::of(model, contract, &planned.plan).map_err(|problems| {
        first(problems).unwrap_or_else(|| ModelProblem::at(model.place, "the rollup cannot be planned", "simplify it"))
    })?;
    Statement::of(model, wanted(model, &schemas, &shape)?)
}

/// What the statement of a rollup has to give.
///
/// # Errors
/// When a state cannot be written in Spark's SQL.
pub(super) fn wanted(model: &Model, schemas: &[SchemaRef], shape: &RollupShape) -> Result<Wanted, ModelProblem> {
    let layout = Layout::of(model)?;
    let mut known: Vec<(Expr, Vec<Part>)> = Vec::new();
    for aggregate in &layout.aggregates {
        let sources = sources(model, schemas, aggregate)?;
        known.extend(sources.into_iter().zip(states(aggregate)));
    }
    let lower = |name: &str| name.to_lowercase();
    let group = |name: &String, kind: &DataType| Column { from: lower(name), to: name.clone(), kind: kind.clone() };
    let mut columns: Vec<Column> = shape.groups.iter().map(|of| group(&of.name, &of.kind)).collect();
    let mut added = Vec::new();
    for (index, state) in shape.states.iter().enumerate() {
        let Some((_, parts)) = known.iter().find(|(source, _)| *source == state.source) else {
            let message = format!("the state {:?} of the rollup cannot be written for Spark", state.name);
            return Err(ModelProblem::at(model.place, message, "write `-- engine: datafusion` into the header"));
        };
        let from = format!("__state_{index}");
        let named = Part::Text(format!(" AS {}", quoted(&from)));
        added.push(parts.iter().cloned().chain([named]).collect());
        columns.push(Column { from, to: state.name.clone(), kind: state.kind.clone() });
    }
    Ok(Wanted { added, columns, is_divisible: true, is_numbered: false })
}

/// The sources of an aggregate's states: it is planned as the only column, without groups.
fn sources(model: &Model, schemas: &[SchemaRef], aggregate: &Aggregate) -> Result<Vec<Expr>, ModelProblem> {
    let text = model.text.get(aggregate.call.clone()).unwrap_or_default();
    let (alone, _) = parse_query(&format!("SELECT {text} AS aggregate"))?;
    let mut query: Query = model.query.as_ref().clone();
    if let (SetExpr::Select(select), SetExpr::Select(alone)) = (query.body.as_mut(), *alone.body) {
        select.projection = alone.projection;
        select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    }
    let planned = plan(model, query, schemas)?;
    let LogicalPlan::Projection(projection) = &planned.plan else { return Ok(Vec::new()) };
    let LogicalPlan::Aggregate(aggregate) = Arc::as_ref(&projection.input) else { return Ok(Vec::new()) };
    let mut builder = Builder { model, aggregate, problems: Vec::new(), states: Vec::new() };
    Ok(builder.sources(0))
}

/// The states of an aggregate in Spark's SQL, in the order of their sources.
fn states(aggregate: &Aggregate) -> Vec<Vec<Part>> {
    let text = |text: &str| Part::Text(text.to_owned());
    let filtered = |mut parts: Vec<Part>| {
        if let Some(filter) = &aggregate.filter {
            parts.extend([text(" "), Part::Source(filter.clone())]);
        }
        parts
    };
    let of = |range: &Range<usize>| Part::Source(range.clone());
    match aggregate.name.as_str() {
        "avg" | "mean" => vec![
            filtered(vec![text("sum(CAST(("), of(&aggregate.arguments), text(") AS DOUBLE))")]),
            filtered(vec![text("count("), of(&aggregate.arguments), text(")")]),
        ],
        _ => vec![vec![of(&aggregate.call)]],
    }
}
