//! How a rollup's shape is made of the plan of its SELECT, and what is refused on the way.
//!
//! Pure. Invariant: what leaves here without a problem has a state for every aggregate, and states merge.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Cast, Expr, ExprSchemable, Operator, lit};
use datafusion::prelude::ident;
use vitalake_contract::Contract;

use crate::model::Model;
use crate::plan::{engine_problem, spark_name, widens};
use crate::problem::ModelProblem;
use crate::rollup::order::order_key;
use crate::rollup::shape::{GroupColumn, Merge, Output, StateColumn, bare};

/// What an aggregate keeps: an aggregate whose results merge.
struct Part {
    source: Expr,
    merge: Merge,
    /// The suffix of its hidden column.
    suffix: &'static str,
    /// The type of the numbers whose order keys the source gives.
    keyed: Option<DataType>,
}

impl Part {
    fn of(call: AggregateFunction, merge: Merge, suffix: &'static str) -> Self {
        Self { source: Expr::AggregateFunction(call), merge, suffix, keyed: None }
    }
}

pub(super) struct Builder<'a> {
    pub(super) model: &'a Model,
    pub(super) aggregate: &'a Aggregate,
    pub(super) problems: Vec<ModelProblem>,
    pub(super) states: Vec<StateColumn>,
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
    pub(super) fn groups(&mut self, contract: &Contract, selected: &[(String, Expr)]) -> Vec<GroupColumn> {
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
    pub(super) fn direct_states(&mut self, contract: &Contract, selected: &[(String, Expr)]) {
        for (name, expr) in selected {
            let Expr::Column(column) = expr else { continue };
            let Some(Reference::Aggregate(index)) = self.reference(column) else { continue };
            let Some(column) = contract.columns.iter().find(|c| c.name.to_lowercase() == *name) else { continue };
            let parts = self.parts(index);
            if let [part] = parts.as_slice()
                && self.kind_of(part).is_some_and(|kind| widens(&kind, &column.kind.arrow()))
            {
                self.add_state(part, column.name.to_string(), Some(column.kind.arrow()));
            }
        }
    }

    /// Every aggregate as an expression over states, with hidden states for those that no column holds.
    pub(super) fn hidden_states(&mut self, selected: &[(String, Expr)], groups: &[GroupColumn]) -> Vec<Expr> {
        let mut replaced = Vec::new();
        for index in 0..self.aggregate.aggr_expr.len() {
            let user = selected.iter().find(|(_, expr)| self.uses(expr, index));
            let output = user.map_or_else(|| format!("aggregate_{index}"), |(name, _)| name.clone());
            let mut names = Vec::new();
            for part in self.parts(index) {
                names.push(self.add_state(&part, format!("_{output}_{}", part.suffix), None));
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
    fn add_state(&mut self, part: &Part, name: String, kind: Option<DataType>) -> String {
        let (source, merge) = (part.source.clone(), part.merge);
        if let Some(known) = self.states.iter().find(|s| s.source == source) {
            return known.name.clone();
        }
        let taken: HashSet<&str> = self.states.iter().map(|s| s.name.as_str()).collect();
        let mut unique = name.clone();
        let mut number = 2;
        while taken.contains(unique.as_str()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        let kind = kind.or_else(|| self.kind_of(part)).unwrap_or(DataType::Null);
        if !mergeable(&kind, merge) {
            let message = format!("a rollup cannot keep {} as {}", source.human_display(), spark_name(&kind));
            self.problem(message, "CAST the argument to BIGINT or DOUBLE");
        }
        let keyed = part.keyed.is_some();
        self.states.push(StateColumn { name: unique.clone(), kind, merge, source, keyed });
        unique
    }

    fn kind_of(&self, part: &Part) -> Option<DataType> {
        part.keyed.clone().or_else(|| part.source.get_type(self.aggregate.input.schema()).ok())
    }

    /// A minimum or maximum; of floating point it is taken over order keys.
    fn extreme(&self, mut call: AggregateFunction, merge: Merge, suffix: &'static str) -> Part {
        let kind = call.params.args.first().and_then(|arg| arg.get_type(self.aggregate.input.schema()).ok());
        let keyed = kind.filter(DataType::is_floating);
        if keyed.is_some() {
            let as_double = |arg: Expr| Expr::Cast(Cast::new(Box::new(arg), DataType::Float64));
            call.params.args = call.params.args.into_iter().map(|arg| order_key(as_double(arg))).collect();
        }
        Part { keyed, ..Part::of(call, merge, suffix) }
    }

    /// What an aggregate keeps.
    fn parts(&mut self, index: usize) -> Vec<Part> {
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
            "count" => vec![Part::of(call, Merge::Add, "count")],
            "sum" => vec![Part::of(call, Merge::Add, "sum")],
            "min" => vec![self.extreme(call, Merge::Min, "min")],
            "max" => vec![self.extreme(call, Merge::Max, "max")],
            "avg" | "mean" => average_parts(&call),
            other => {
                self.refuse(other);
                Vec::new()
            }
        }
    }

    /// What the states of an aggregate are made by.
    pub(super) fn sources(&mut self, index: usize) -> Vec<Expr> {
        self.parts(index).into_iter().map(|part| part.source).collect()
    }

    fn refuse(&mut self, what: &str) {
        let message = format!("a rollup cannot merge {what}");
        if self.problems.iter().all(|p| p.message != message) {
            self.problem(message, "use count, sum, min, max or avg");
        }
    }

    pub(super) fn outputs(
        &mut self,
        contract: &Contract,
        selected: &[(String, Expr)],
        groups: &[GroupColumn],
        replaced: &[Expr],
    ) -> Vec<(Field, Output)> {
        let kept: Vec<String> =
            groups.iter().map(|g| g.name.clone()).chain(self.states.iter().map(|s| s.name.clone())).collect();
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

    pub(super) fn time(&mut self, contract: &Contract, groups: &[GroupColumn]) -> usize {
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

    pub(super) fn check_key(&mut self, contract: &Contract, groups: &[GroupColumn]) {
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

fn average_parts(call: &AggregateFunction) -> Vec<Part> {
    let params = &call.params;
    let as_double: Vec<Expr> =
        params.args.iter().map(|arg| Expr::Cast(Cast::new(Box::new(arg.clone()), DataType::Float64))).collect();
    let part = |func, args: &[Expr]| {
        AggregateFunction::new_udf(func, args.to_vec(), false, params.filter.clone(), Vec::new(), None)
    };
    vec![
        Part::of(part(sum_udaf(), &as_double), Merge::Add, "sum"),
        Part::of(part(count_udaf(), &params.args), Merge::Add, "count"),
    ]
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
