//! Which columns each column of a model is made of, how, and which columns decide about its rows. Pure, from the model's plan.
//!
//! `origins` asks the same for classes and leans to the strict side; this says what is so, in the words of OpenLineage:
//! a column is taken as it is, computed, or made of many rows; others filter, join, group or order. Invariant: where it is not
//! known what a column is made of, it is computed from every column below.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result as EngineResult};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::graph::Contracts;
use crate::model::Model;
use crate::origins::{ColumnName, names, of_scan, planned};

/// How a column is made of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direct {
    /// It is the other as it stands.
    Identity,
    /// It is computed from it, row by row.
    Transformation,
    /// It is computed from it over many rows.
    Aggregation,
}

impl Direct {
    /// Its name in OpenLineage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "IDENTITY",
            Self::Transformation => "TRANSFORMATION",
            Self::Aggregation => "AGGREGATION",
        }
    }
}

/// How a column decides about rows without being in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Indirect {
    /// A condition asks for it.
    Filter,
    /// Tables are joined by it.
    Join,
    /// Rows are grouped by it.
    GroupBy,
    /// Rows are ordered by it.
    Sort,
    /// A window is laid by it.
    Window,
}

impl Indirect {
    /// Its name in OpenLineage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "FILTER",
            Self::Join => "JOIN",
            Self::GroupBy => "GROUP_BY",
            Self::Sort => "SORT",
            Self::Window => "WINDOW",
        }
    }
}

/// What a column is made of.
pub type MadeOf = BTreeMap<ColumnName, Direct>;

/// Where a model's dataset comes from, by columns. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnLineage {
    /// What each column that the SELECT gives is made of.
    pub columns: BTreeMap<String, MadeOf>,
    /// The columns that decide about all rows, each with how.
    pub conditions: BTreeMap<ColumnName, BTreeSet<Indirect>>,
}

/// The columns of a model's dataset with what they are made of; none when the model cannot be planned.
#[must_use]
pub fn column_lineage(model: &Model, contracts: &Contracts) -> Option<ColumnLineage> {
    let plan = planned(model, contracts)?;
    let mut trace = Trace::default();
    let made = trace.plan(&plan).ok()?;
    let mut conditions = trace.conditions;
    for name in &model.sequence {
        // Of the versions of a key the newest by these columns stays.
        let by = names(&plan).position(|column| column == *name).and_then(|at| made.get(at));
        for column in by.into_iter().flat_map(BTreeMap::keys) {
            conditions.entry(column.clone()).or_default().insert(Indirect::Sort);
        }
    }
    Some(ColumnLineage { columns: names(&plan).zip(made).collect(), conditions })
}

#[derive(Default)]
struct Trace {
    conditions: BTreeMap<ColumnName, BTreeSet<Indirect>>,
}

impl Trace {
    /// What each column of a plan is made of.
    fn plan(&mut self, plan: &LogicalPlan) -> EngineResult<Vec<MadeOf>> {
        let count = plan.schema().fields().len();
        let found = match plan {
            LogicalPlan::TableScan(scan) => {
                let as_it_is = |column| MadeOf::from([(column, Direct::Identity)]);
                let found: Vec<MadeOf> = of_scan(scan).map(|column| column.map(as_it_is).unwrap_or_default()).collect();
                self.note(&scan.filters, plan.schema(), &found, Indirect::Filter);
                found
            }
            LogicalPlan::Projection(projection) => {
                let below = self.plan(&projection.input)?;
                let made = |expression| made_of(expression, projection.input.schema(), &below, Direct::Transformation);
                projection.expr.iter().map(made).collect()
            }
            LogicalPlan::Filter(filter) => {
                let below = self.plan(&filter.input)?;
                self.note([&filter.predicate], filter.input.schema(), &below, Indirect::Filter);
                below
            }
            LogicalPlan::Aggregate(aggregate) => {
                let (below, schema) = (self.plan(&aggregate.input)?, aggregate.input.schema());
                self.note(&aggregate.group_expr, schema, &below, Indirect::GroupBy);
                let keys = aggregate.group_expr.iter().map(|key| made_of(key, schema, &below, Direct::Transformation));
                let values =
                    aggregate.aggr_expr.iter().map(|value| made_of(value, schema, &below, Direct::Aggregation));
                keys.chain(values).collect()
            }
            LogicalPlan::Window(window) => {
                let (below, schema) = (self.plan(&window.input)?, window.input.schema());
                self.note(&window.window_expr, schema, &below, Indirect::Window);
                let made = window.window_expr.iter().map(|value| made_of(value, schema, &below, Direct::Aggregation));
                let made: Vec<MadeOf> = made.collect();
                below.into_iter().chain(made).collect()
            }
            LogicalPlan::Sort(sort) => {
                let below = self.plan(&sort.input)?;
                self.note(sort.expr.iter().map(|by| &by.expr), sort.input.schema(), &below, Indirect::Sort);
                below
            }
            LogicalPlan::Join(join) => {
                let mut found = self.plan(&join.left)?;
                found.extend(self.plan(&join.right)?);
                let keys = join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
                self.note(keys, &join_schema(plan, join)?, &found, Indirect::Join);
                found
            }
            LogicalPlan::Limit(_) | LogicalPlan::Repartition(_) | LogicalPlan::SubqueryAlias(_) => {
                match plan.inputs().first() {
                    Some(input) => self.plan(input)?,
                    None => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        if found.len() == count { Ok(found) } else { self.everything(plan) }
    }

    /// Notes that expressions decide about rows.
    fn note<'e>(
        &mut self,
        expressions: impl IntoIterator<Item = &'e Expr>,
        schema: &DFSchemaRef,
        below: &[MadeOf],
        how: Indirect,
    ) {
        for expression in expressions {
            for column in made_of(expression, schema, below, Direct::Transformation).into_keys() {
                self.conditions.entry(column).or_default().insert(how);
            }
        }
    }

    /// Every column may be computed from every column below.
    fn everything(&mut self, plan: &LogicalPlan) -> EngineResult<Vec<MadeOf>> {
        let mut all = MadeOf::new();
        for input in plan.inputs() {
            let below = self.plan(input)?;
            all.extend(below.into_iter().flatten().map(|(column, _)| (column, Direct::Transformation)));
        }
        Ok(vec![all; plan.schema().fields().len()])
    }
}

/// The columns of both sides of a join, also where its own schema has those of one alone.
fn join_schema(plan: &LogicalPlan, join: &datafusion::logical_expr::Join) -> EngineResult<DFSchemaRef> {
    let both = join.left.schema().join(join.right.schema());
    Ok(both.map_or_else(|_| plan.schema().clone(), std::sync::Arc::new))
}

/// What an expression is made of. A bare column is what it is below; all else is made of its columns in this way at least.
fn made_of(expression: &Expr, schema: &DFSchemaRef, below: &[MadeOf], how: Direct) -> MadeOf {
    let at = |column: &Column| schema.index_of_column(column).ok().and_then(|index| below.get(index));
    if let Expr::Column(column) = expression.clone().unalias_nested().data
        && let Some(same) = at(&column)
    {
        return same.clone();
    }
    let (mut found, mut is_known) = (MadeOf::new(), true);
    let _whole = expression.apply(|part| {
        match part {
            Expr::Column(column) => match at(column) {
                Some(made) => found.extend(made.iter().map(|(column, before)| (column.clone(), how.max(*before)))),
                None => is_known = false,
            },
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..) => {
                is_known = false;
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if is_known { found } else { below.iter().flatten().map(|(column, _)| (column.clone(), how)).collect() }
}

#[cfg(test)]
mod tests;
