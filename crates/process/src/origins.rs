//! Where each column of a model comes from, and what that says of who may see it: the strictest class of its origins.
//!
//! Pure, from the model's plan over empty tables. Invariant: where the origins of a column are not known, they are all
//! columns of all of the model's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result as EngineResult};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator, TableScan};
use vitalake_contract::access::{Classification, Unnamed};
use vitalake_contract::{Contract, DatasetName};

use crate::graph::{Contracts, Graph};
use crate::model::Model;
use crate::plan;

/// A column of a dataset, in lower case.
pub type ColumnName = (DatasetName, String);

/// The columns that a column is computed from.
pub type Origins = BTreeSet<ColumnName>;

/// The columns of a model's dataset that carry one column of an input unchanged, by name in lower case: that column.
#[must_use]
pub fn carried(model: &Model, contracts: &Contracts) -> BTreeMap<String, ColumnName> {
    let Some(plan) = planned(model, contracts) else { return BTreeMap::new() };
    names(&plan).zip(unchanged(&plan)).filter_map(|(name, from)| Some((name, from?))).collect()
}

/// Whether no row of a model is made of rows of an input that its carried columns do not name: the input is read once, and
/// no window looks from one row at others.
#[must_use]
pub fn keeps_apart(model: &Model, contracts: &Contracts, input: &DatasetName) -> bool {
    let Some(plan) = planned(model, contracts) else { return false };
    let (mut scans, mut windows) = (0, 0);
    let walked = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == input.as_str() => scans += 1,
            LogicalPlan::Window(_) => windows += 1,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && scans == 1 && windows == 0
}

/// The model's plan over empty tables.
pub(crate) fn planned(model: &Model, contracts: &Contracts) -> Option<LogicalPlan> {
    let schemas = plan::input_schemas(model, contracts).ok()?;
    Some(plan::plan_all(model, &model.query, &schemas).ok()?.plan)
}

/// The names of a plan's columns, in lower case.
pub(crate) fn names(plan: &LogicalPlan) -> impl Iterator<Item = String> {
    plan.schema().fields().iter().map(|field| field.name().to_lowercase())
}

/// The columns of a scan; none of a table whose name is no dataset's.
pub(crate) fn of_scan(scan: &TableScan) -> impl Iterator<Item = Option<ColumnName>> {
    let dataset = DatasetName::new(scan.table_name.table()).ok();
    let fields = scan.projected_schema.fields().iter();
    fields.map(move |field| Some((dataset.clone()?, field.name().to_lowercase())))
}

/// What each column of a plan is, where it is a column of a table as it stands.
fn unchanged(plan: &LogicalPlan) -> Vec<Option<ColumnName>> {
    let count = plan.schema().fields().len();
    let of = |expressions: &mut dyn Iterator<Item = &Expr>, input: &LogicalPlan| {
        let below = unchanged(input);
        let bare = |expression: &Expr| match expression.clone().unalias_nested().data {
            Expr::Column(column) => input.schema().index_of_column(&column).ok().and_then(|at| below.get(at)?.clone()),
            _ => None,
        };
        expressions.map(bare).collect::<Vec<_>>()
    };
    let found = match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan).collect(),
        LogicalPlan::Projection(projection) => of(&mut projection.expr.iter(), &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let mut keys = of(&mut aggregate.group_expr.iter(), &aggregate.input);
            keys.resize(count, None);
            keys
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().map_or_else(Vec::new, |input| unchanged(input))
        }
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left) => {
            let mut found = unchanged(&join.left);
            found.extend(unchanged(&join.right));
            found
        }
        _ => Vec::new(),
    };
    if found.len() == count { found } else { vec![None; count] }
}

/// The origins of a model's columns, by name in lower case; none when the model cannot be planned.
#[must_use]
pub fn origins(model: &Model, contracts: &Contracts) -> Option<BTreeMap<String, Origins>> {
    let plan = planned(model, contracts)?;
    let found = of_plan(&plan).ok()?;
    Some(names(&plan).zip(found).collect())
}

/// The contracts with each column of a model at least as strict as what it comes from, unless its contract declassifies
/// it by name. Of a model that cannot be planned every column is restricted.
#[must_use]
pub fn with_inherited_classes(models: &[Model], contracts: &Contracts) -> Contracts {
    let mut classed = contracts.clone();
    let order = match Graph::build(models, contracts) {
        Ok(graph) => graph.order().to_vec(),
        Err(_) => (0..models.len()).collect(),
    };
    for model in order.into_iter().filter_map(|index| models.get(index)) {
        let Some(contract) = classed.get(&model.dataset) else { continue };
        let origins = origins(model, contracts);
        let mut contract = Contract::clone(contract);
        for column in contract.columns.iter_mut().filter(|column| column.declassified.is_none()) {
            let inherited = match origins.as_ref().map(|all| all.get(&column.name.to_lowercase())) {
                Some(Some(from)) => strictest(from, &classed),
                // A column of the contract that the SELECT does not give is ours: counts and times of versions.
                Some(None) => Classification::Public,
                None => Classification::Restricted,
            };
            column.classification = Some(column.classification.unwrap_or_default().max(inherited));
        }
        classed.insert(model.dataset.clone(), Arc::new(contract));
    }
    classed
}

/// The strictest class of columns. Records as they came are restricted; what else is ours says where and when.
fn strictest(columns: &Origins, contracts: &Contracts) -> Classification {
    let class = |(dataset, name): &ColumnName| {
        let Some(contract) = contracts.get(dataset) else { return Classification::Restricted };
        match contract.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)) {
            Some(column) => column.classification.unwrap_or_default(),
            None => {
                Unnamed::of(name).class(contract.columns.iter().map(|column| column.classification.unwrap_or_default()))
            }
        }
    };
    columns.iter().map(class).max().unwrap_or(Classification::Public)
}

/// The origins of each column of a plan.
fn of_plan(plan: &LogicalPlan) -> EngineResult<Vec<Origins>> {
    let inputs = plan.inputs();
    match plan {
        LogicalPlan::TableScan(scan) => Ok(of_scan(scan).map(|column| column.into_iter().collect()).collect()),
        LogicalPlan::Projection(projection) => of_expressions(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let expressions: Vec<Expr> = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned().collect();
            let found = of_expressions(&expressions, &aggregate.input)?;
            if found.len() == plan.schema().fields().len() { Ok(found) } else { everything(plan) }
        }
        LogicalPlan::Window(window) => {
            let mut found = of_plan(&window.input)?;
            found.extend(of_expressions(&window.window_expr, &window.input)?);
            Ok(found)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::SubqueryAlias(_) => inputs.first().map_or_else(|| everything(plan), |input| of_plan(input)),
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full) =>
        {
            let mut found = of_plan(&join.left)?;
            found.extend(of_plan(&join.right)?);
            equalled(join, plan.schema(), &mut found);
            Ok(found)
        }
        _ => everything(plan),
    }
}

/// Columns that a join holds equal say the same: each has the origins of both.
fn equalled(join: &Join, schema: &DFSchemaRef, found: &mut [Origins]) {
    let mut conditions: Vec<Vec<&Column>> = join.on.iter().map(|(left, right)| columns_of([left, right])).collect();
    // A condition that only orders says little; any other may be an equality in the form of a function.
    let orders = |part: &Expr| {
        matches!(part, Expr::BinaryExpr(BinaryExpr { op, .. })
            if matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::NotEq))
    };
    let parts = join.filter.iter().flat_map(split_conjunction).filter(|part| !orders(part));
    conditions.extend(parts.map(|part| columns_of([part])));
    for condition in conditions {
        let columns: Vec<usize> =
            condition.into_iter().filter_map(|column| schema.index_of_column(column).ok()).collect();
        let both: Origins = columns.iter().filter_map(|index| found.get(*index)).flatten().cloned().collect();
        for index in columns {
            if let Some(origins) = found.get_mut(index) {
                origins.clone_from(&both);
            }
        }
    }
}

fn columns_of<'e>(expressions: impl IntoIterator<Item = &'e Expr>) -> Vec<&'e Column> {
    expressions.into_iter().flat_map(Expr::column_refs).collect()
}

fn of_expressions(expressions: &[Expr], input: &LogicalPlan) -> EngineResult<Vec<Origins>> {
    let below = of_plan(input)?;
    expressions.iter().map(|expression| of_expression(expression, input.schema(), &below)).collect()
}

fn of_expression(expression: &Expr, schema: &DFSchemaRef, below: &[Origins]) -> EngineResult<Origins> {
    let mut found = Origins::new();
    let mut is_known = true;
    expression.apply(|part| {
        match part {
            Expr::Column(column) => match schema.index_of_column(column).ok().and_then(|index| below.get(index)) {
                Some(origins) => found.extend(origins.iter().cloned()),
                None => is_known = false,
            },
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..) => {
                is_known = false;
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(if is_known { found } else { below.iter().flatten().cloned().collect() })
}

/// Every column may come from every column below.
fn everything(plan: &LogicalPlan) -> EngineResult<Vec<Origins>> {
    let mut all = Origins::new();
    for input in plan.inputs() {
        all.extend(of_plan(input)?.into_iter().flatten());
    }
    Ok(vec![all; plan.schema().fields().len()])
}

#[cfg(test)]
mod tests;
