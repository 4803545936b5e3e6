//! What a rollup's SELECT consists of: groups, the state of its aggregates, and how the contract's columns follow from
//! them. Made when the model is validated, and again when it is compiled.
//!
//! Pure. Invariant: merging the state columns of two partial results and computing the outputs gives what the
//! aggregates over both inputs give.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::prelude::ident;
use vitalake_contract::Contract;

use crate::model::Model;
use crate::plan::{engine_problem, spark_name, widens};
use crate::problem::ModelProblem;

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
        let states = states.into_iter().map(|s| s.column).collect();
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
fn bare(expr: &Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other.clone(),
    }
}

/// A state and the name that it was given; states without a name yet are hidden ones.
struct BuiltState {
    column: StateColumn,
}

struct Builder<'a> {
    model: &'a Model,
    aggregate: &'a Aggregate,
    problems: Vec<ModelProblem>,
    states: Vec<BuiltState>,
}

/// What an expression over the aggregation refers to.
enum Reference {
    Group(usize),
    Aggregate(usize),
}

impl Builder<'_> {
    fn problem(&mut self, message: String, help: impl Into<String>) {
        self.problems.push(ModelProblem::at(self.model.place, message, help));
    }

    fn reference(&self, column: &Column) -> Option<Reference> {
        let index = self.aggregate.schema.index_of_column(column).ok()?;
        let groups = self.aggregate.group_expr.len();
        Some(if index < groups { Reference::Group(index) } else { Reference::Aggregate(index - groups) })
    }

    /// Every group must be an output, or rows of different groups could not be told apart.
    fn groups(&mut self, contract: &Contract, selected: &[(String, Expr)]) -> Vec<GroupColumn> {
        let mut groups = Vec::new();
        for (index, expr) in self.aggregate.group_expr.iter().enumerate() {
            let output = selected.iter().find(|(_, e)| {
                matches!(e, Expr::Column(c) if matches!(self.reference(c), Some(Reference::Group(i)) if i == index))
            });
            let column = output.and_then(|(name, _)| contract.columns.iter().find(|c| c.name.to_lowercase() == *name));
            match column {
                Some(column) => groups.push(GroupColumn { name: column.name.to_string(), kind: column.kind.arrow() }),
                None => {
                    let message =
                        format!("the rollup groups by {}, which is not one of its columns", expr.human_display());
                    self.problem(message, "add it to the SELECT and to the contract, or take it out of GROUP BY");
                }
            }
        }
        groups
    }

    /// States that are themselves a column of the contract.
    fn direct_states(&mut self, contract: &Contract, selected: &[(String, Expr)]) {
        for (name, expr) in selected {
            let Expr::Column(column) = expr else { continue };
            let Some(Reference::Aggregate(index)) = self.reference(column) else { continue };
            let Some(column) = contract.columns.iter().find(|c| c.name.to_lowercase() == *name) else { continue };
            let parts = self.parts(index);
            if let [(source, merge, _)] = parts.as_slice() {
                let kind = self.kind_of(source);
                if kind.is_some_and(|kind| widens(&kind, &column.kind.arrow())) {
                    self.add_state(source.clone(), *merge, column.name.to_string(), Some(column.kind.arrow()));
                }
            }
        }
    }

    /// Every aggregate as an expression over states, with hidden states for those that no column holds.
    fn hidden_states(&mut self, selected: &[(String, Expr)], groups: &[GroupColumn]) -> Vec<Expr> {
        let mut replaced = Vec::new();
        for index in 0..self.aggregate.aggr_expr.len() {
            let user = selected.iter().find(|(_, expr)| self.uses(expr, index));
            let output = user.map_or_else(|| format!("aggregate_{index}"), |(name, _)| name.clone());
            let mut names = Vec::new();
            for (source, merge, suffix) in self.parts(index) {
                names.push(self.add_state(source, merge, format!("_{output}_{suffix}"), None));
            }
            replaced.push(match names.as_slice() {
                [sum, count] => average(sum, count),
                [one] => ident(one.clone()),
                _ => lit(datafusion::common::ScalarValue::Null),
            });
        }
        debug_assert!(groups.len() <= self.aggregate.group_expr.len());
        replaced
    }

    fn uses(&self, expr: &Expr, aggregate: usize) -> bool {
        let mut found = false;
        let _ = expr.apply(|part| {
            if let Expr::Column(c) = part {
                found |= matches!(self.reference(c), Some(Reference::Aggregate(i)) if i == aggregate);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        found
    }

    /// The name of the state with this source, which is added when it is new.
    fn add_state(&mut self, source: Expr, merge: Merge, name: String, kind: Option<DataType>) -> String {
        if let Some(known) = self.states.iter().find(|s| s.column.source == source) {
            return known.column.name.clone();
        }
        let taken: HashSet<&str> = self.states.iter().map(|s| s.column.name.as_str()).collect();
        let mut unique = name.clone();
        let mut number = 2;
        while taken.contains(unique.as_str()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        let kind = kind.or_else(|| self.kind_of(&source)).unwrap_or(DataType::Null);
        if !mergeable(&kind, merge) {
            let message = format!("a rollup cannot keep {} as {}", source.human_display(), spark_name(&kind));
            self.problem(message, "CAST the argument to BIGINT or DOUBLE");
        }
        self.states.push(BuiltState { column: StateColumn { name: unique.clone(), kind, merge, source } });
        unique
    }

    fn kind_of(&self, source: &Expr) -> Option<DataType> {
        source.get_type(self.aggregate.input.schema()).ok()
    }

    /// What an aggregate keeps: aggregates whose results merge, with the suffix of their hidden column.
    fn parts(&mut self, index: usize) -> Vec<(Expr, Merge, &'static str)> {
        let Some(expr) = self.aggregate.aggr_expr.get(index) else { return Vec::new() };
        let Expr::AggregateFunction(call) = bare(expr) else { return Vec::new() };
        let name = call.func.name().to_lowercase();
        if call.params.distinct {
            self.refuse(&format!("{name}(DISTINCT …)"));
            return Vec::new();
        }
        if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
            self.refuse(&format!("{name} with an order"));
            return Vec::new();
        }
        match name.as_str() {
            "count" => vec![(Expr::AggregateFunction(call), Merge::Add, "count")],
            "sum" => vec![(Expr::AggregateFunction(call), Merge::Add, "sum")],
            "min" => vec![(Expr::AggregateFunction(call), Merge::Min, "min")],
            "max" => vec![(Expr::AggregateFunction(call), Merge::Max, "max")],
            "avg" | "mean" => average_parts(&call),
            other => {
                self.refuse(other);
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, what: &str) {
        let message = format!("a rollup cannot merge {what}");
        if self.problems.iter().all(|p| p.message != message) {
            self.problem(message, "use count, sum, min, max or avg");
        }
    }

    fn outputs(
        &mut self,
        contract: &Contract,
        selected: &[(String, Expr)],
        groups: &[GroupColumn],
        replaced: &[Expr],
    ) -> Vec<(Field, Output)> {
        let kept: Vec<String> =
            groups.iter().map(|g| g.name.clone()).chain(self.states.iter().map(|s| s.column.name.clone())).collect();
        let mut outputs = Vec::new();
        for column in &contract.columns {
            let field = Field::new(column.name.as_ref(), column.kind.arrow(), true);
            if let Some(index) = kept.iter().position(|name| *name == *column.name) {
                outputs.push((field, Output::Kept(index)));
                continue;
            }
            let Some((_, expr)) = selected.iter().find(|(name, _)| *name == column.name.to_lowercase()) else {
                continue;
            };
            let computed = expr.clone().transform(|part| self.over_states(part, groups, replaced)).data();
            match computed {
                Ok(expr) => {
                    outputs.push((field, Output::Computed(Expr::Cast(Cast::new(Box::new(expr), column.kind.arrow())))))
                }
                Err(error) => self.problems.push(engine_problem(&error, self.model.place)),
            }
        }
        outputs
    }

    fn over_states(
        &self,
        part: Expr,
        groups: &[GroupColumn],
        replaced: &[Expr],
    ) -> Result<Transformed<Expr>, DataFusionError> {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let found = match self.reference(column) {
            Some(Reference::Group(index)) => groups.get(index).map(|g| ident(g.name.clone())),
            Some(Reference::Aggregate(index)) => replaced.get(index).cloned(),
            None => None,
        };
        // Jump: what was put in is over states already.
        Ok(found.map_or_else(|| Transformed::no(part), |expr| Transformed::new(expr, true, TreeNodeRecursion::Jump)))
    }

    fn time(&mut self, contract: &Contract, groups: &[GroupColumn]) -> usize {
        let time = self.model.time.clone().unwrap_or_default();
        let found = groups.iter().position(|g| g.name.to_lowercase() == time);
        let kind = found.and_then(|index| groups.get(index)).map(|g| g.kind.clone());
        match kind {
            Some(DataType::Date32 | DataType::Timestamp(_, _)) => {}
            Some(kind) => {
                let message = format!("the time column {time:?} is {}", spark_name(&kind));
                self.problem(message, "group by a DATE or TIMESTAMP, such as date_trunc('hour', t)");
            }
            None if contract.columns.iter().any(|c| c.name.to_lowercase() == time) => {
                let message = format!("the time column {time:?} is not one of the groups");
                self.problem(message, "add its expression to GROUP BY");
            }
            None => {
                let message = format!("the model has no column {time:?}, which its header names as the time");
                self.problem(message, "write `-- time:` with the name of the column that holds the time bucket");
            }
        }
        found.unwrap_or_default()
    }

    fn check_key(&mut self, contract: &Contract, groups: &[GroupColumn]) {
        let key: HashSet<&str> =
            contract.primary_key.iter().filter_map(|i| contract.columns.get(*i)).map(|c| c.name.as_ref()).collect();
        let grouped: HashSet<&str> = groups.iter().map(|g| g.name.as_str()).collect();
        if !key.is_empty() && key != grouped && groups.len() == self.aggregate.group_expr.len() {
            let list = |names: HashSet<&str>| {
                let mut names: Vec<&str> = names.into_iter().collect();
                names.sort_unstable();
                names.join(", ")
            };
            let message =
                format!("the contract's primary key is {}, the rollup groups by {}", list(key), list(grouped));
            self.problem(message, "make them the same columns");
        }
    }
}

fn average_parts(call: &AggregateFunction) -> Vec<(Expr, Merge, &'static str)> {
    let params = &call.params;
    let as_double: Vec<Expr> =
        params.args.iter().map(|arg| Expr::Cast(Cast::new(Box::new(arg.clone()), DataType::Float64))).collect();
    let part = |func, args: &[Expr]| {
        Expr::AggregateFunction(AggregateFunction::new_udf(
            func,
            args.to_vec(),
            false,
            params.filter.clone(),
            Vec::new(),
            None,
        ))
    };
    vec![(part(sum_udaf(), &as_double), Merge::Add, "sum"), (part(count_udaf(), &params.args), Merge::Add, "count")]
}

/// sum / count, null for a group with nothing to average.
fn average(sum: &str, count: &str) -> Expr {
    let count = Expr::Cast(Cast::new(Box::new(ident(count)), DataType::Float64));
    let divisor = datafusion::functions::core::expr_fn::nullif(count, lit(0.0));
    Expr::BinaryExpr(BinaryExpr::new(Box::new(ident(sum)), Operator::Divide, Box::new(divisor)))
}

fn mergeable(kind: &DataType, merge: Merge) -> bool {
    match merge {
        Merge::Add => matches!(kind, DataType::Int64 | DataType::Float64),
        Merge::Min | Merge::Max => matches!(
            kind,
            DataType::Int64
                | DataType::Int32
                | DataType::Float64
                | DataType::Float32
                | DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Utf8View
        ),
    }
}
