//! What a rollup's SELECT consists of: groups, the state of its aggregates, and how the contract's columns follow from
//! them. Made when the model is validated, and again when it is compiled.
//!
//! Pure. Invariant: merging the state columns of two partial results and computing the outputs gives what the
//! aggregates over both inputs give.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use vitalake_contract::Contract;

use crate::model::Model;
use crate::problem::ModelProblem;
use crate::rollup::build::Builder;

/// How two states of an aggregate become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Added; null adds nothing.
    Add,
    /// The smaller; null is ignored.
    Min,
    /// The larger; null is ignored.
    Max,
}

/// One column of an aggregate's state.
#[derive(Clone, Debug)]
pub(crate) struct StateColumn {
    pub(crate) name: String,
    pub(crate) kind: DataType,
    pub(crate) merge: Merge,
    pub(crate) source: Expr,
    /// Whether the source gives the order key of a number in its place.
    pub(crate) keyed: bool,
}

/// A column that identifies a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupColumn {
    pub(crate) name: String,
    pub(crate) kind: DataType,
}

/// Where a contract's column comes from.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// It is a group or state column, by index: groups first, then states.
    Kept(usize),
    /// It is computed from group and state columns.
    Computed(Expr),
}

/// A rollup, taken apart.
#[derive(Clone, Debug)]
pub struct RollupShape {
    pub(crate) aggregate: Aggregate,
    pub(crate) groups: Vec<GroupColumn>,
    pub(crate) states: Vec<StateColumn>,
    pub(crate) outputs: Vec<(Field, Output)>,
    /// The index of the time column among the groups.
    pub(crate) time: usize,
}

impl RollupShape {
    /// Takes the plan of a rollup's SELECT apart.
    ///
    /// # Errors
    /// What the merge cannot do.
    pub fn of(model: &Model, contract: &Contract, plan: &LogicalPlan) -> Result<Self, Vec<ModelProblem>> {
        let one = |message: String, help: &str| vec![ModelProblem::at(model.place, message, help)];
        let LogicalPlan::Projection(projection) = plan else {
            return Err(one("a rollup is SELECT … GROUP BY …".to_owned(), "write the groups and aggregates out"));
        };
        let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else {
            return Err(one("a rollup is SELECT … GROUP BY …".to_owned(), "write the groups and aggregates out"));
        };
        let mut builder = Builder { model, aggregate, problems: Vec::new(), states: Vec::new() };
        let selected: Vec<(String, Expr)> = projection.expr.iter().map(|e| (output_name(e), bare(e))).collect();
        let groups = builder.groups(contract, &selected);
        builder.direct_states(contract, &selected);
        let replaced = builder.hidden_states(&selected, &groups);
        let outputs = builder.outputs(contract, &selected, &groups, &replaced);
        let time = builder.time(contract, &groups);
        builder.check_key(contract, &groups);
        let Builder { problems, states, .. } = builder;
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { aggregate: aggregate.clone(), groups, states, outputs, time })
    }

    /// The columns in which groups are held and merged: groups, then states.
    #[must_use]
    pub fn state_schema(&self) -> SchemaRef {
        let groups = self.groups.iter().map(|g| Field::new(&g.name, g.kind.clone(), true));
        let states = self.states.iter().map(|s| Field::new(&s.name, s.kind.clone(), true));
        Arc::new(Schema::new(groups.chain(states).collect::<Vec<_>>()))
    }

    /// The columns of the stored table: the contract's, then the hidden ones that the merge needs.
    #[must_use]
    pub fn stored_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.outputs.iter().map(|(field, _)| field.clone()).collect();
        fields.extend(self.hidden().map(|s| Field::new(&s.name, s.kind.clone(), true)));
        Arc::new(Schema::new(fields))
    }

    /// The time column, by its name and type.
    #[must_use]
    pub fn time_column(&self) -> (&str, &DataType) {
        self.groups.get(self.time).map_or(("", &DataType::Null), |group| (group.name.as_str(), &group.kind))
    }

    /// The states that no contract column holds.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &StateColumn> {
        self.states.iter().filter(|s| self.outputs.iter().all(|(field, _)| *field.name() != s.name))
    }
}

fn output_name(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => alias.name.clone(),
        other => other.schema_name().to_string(),
    }
    .rsplit('.')
    .next()
    .unwrap_or_default()
    .to_owned()
}

/// An expression without its names, of which the planner may give several.
pub(super) fn bare(expr: &Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other.clone(),
    }
}
