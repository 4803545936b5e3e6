//! A model's SELECT as a plan of the engine: the tables and their joins, the condition, the groups, the columns.
//!
//! Between the parser and the engine; every expression in it comes from the binder. Invariant: the plan is a projection
//! over an aggregate, a filter, or the joined tables, in this order.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{BinaryOperator, JoinConstraint, JoinOperator, SelectItem, Spanned};

use crate::functions::bind::{Binder, Refusal, Typed};
use crate::functions::operators::compare;
use crate::problem::{ModelProblem, Place};

/// Makes the plan over tables that are plans already, the driving one first.
pub(crate) struct Planner {
    pub(crate) place: Place,
    problems: Vec<ModelProblem>,
    merged: Vec<String>,
}

impl Planner {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, problems: Vec::new(), merged: Vec::new() }
    }

    /// Plans a SELECT.
    pub(crate) fn plan(
        mut self,
        select: &ast::Select,
        tables: Vec<LogicalPlan>,
    ) -> Result<LogicalPlan, Vec<ModelProblem>> {
        let planned = self.whole(select, tables);
        match planned {
            Ok(Some(plan)) if self.problems.is_empty() => Ok(plan),
            Ok(_) => Err(self.problems),
            Err(error) => {
                self.problems.push(crate::plan::engine_problem(&error, self.place));
                Err(self.problems)
            }
        }
    }

    fn whole(
        &mut self,
        select: &ast::Select,
        tables: Vec<LogicalPlan>,
    ) -> Result<Option<LogicalPlan>, DataFusionError> {
        let Some(mut plan) = self.joined(select, tables)? else { return Ok(None) };
        if let Some(condition) = &select.selection {
            let binder = self.binder(plan.schema());
            match binder.condition(condition) {
                Ok(condition) => plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?,
                Err(refusal) => self.refuse(refusal),
            }
        }
        let schema = Arc::clone(plan.schema());
        let columns = self.columns(select, &schema);
        let groups = self.groups(select, &schema, &columns);
        if !self.problems.is_empty() {
            return Ok(None);
        }
        let aggregates = find_aggregate_exprs(columns.iter());
        if groups.is_empty() && aggregates.is_empty() {
            return LogicalPlanBuilder::from(plan).project(columns)?.build().map(Some);
        }
        self.aggregated(plan, columns, groups, aggregates)
    }

    fn binder<'s>(&self, schema: &'s DFSchema) -> Binder<'s> {
        Binder { schema, place: self.place, merged: self.merged.clone(), aggregates: false }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let problem = refusal.problem(self.place);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn joined(
        &mut self,
        select: &ast::Select,
        tables: Vec<LogicalPlan>,
    ) -> Result<Option<LogicalPlan>, DataFusionError> {
        let mut tables = tables.into_iter();
        let Some(mut plan) = tables.next() else { return Ok(None) };
        let joins = select.from.iter().flat_map(|from| &from.joins);
        for (join, table) in joins.zip(tables) {
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinType::Left, c),
                JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinType::Inner, c),
                _ => return Ok(None),
            };
            let both = plan.schema().join(table.schema())?;
            let condition = match constraint {
                JoinConstraint::On(on) => self.binder(&both).condition(on),
                JoinConstraint::Using(names) => self.using(names, plan.schema(), table.schema()),
                _ => return Ok(None),
            };
            match condition {
                Ok(condition) => plan = LogicalPlanBuilder::from(plan).join_on(table, kind, [condition])?.build()?,
                Err(refusal) => {
                    self.refuse(refusal);
                    return Ok(None);
                }
            }
        }
        Ok(Some(plan))
    }

    /// USING: the columns of both sides are equal, and their name alone means that of the left.
    fn using(&mut self, names: &[ast::ObjectName], left: &DFSchema, right: &DFSchema) -> Result<Expr, Refusal> {
        let mut whole: Option<Expr> = None;
        for name in names {
            let ident = ast::Expr::Identifier(ast::Ident::new(name.to_string().replace('`', "")));
            let sides = (self.binder(left).bind(&ident)?, self.binder(right).bind(&ident)?);
            let same = compare(sides.0, &BinaryOperator::Eq, sides.1)?.expr;
            whole = Some(match whole {
                Some(before) => before.and(same),
                None => same,
            });
            self.merged.push(name.to_string().replace('`', "").to_lowercase());
        }
        whole.ok_or_else(|| Refusal::new("USING names no column", "write USING (column)"))
    }

    /// The columns of the SELECT, named.
    fn columns(&mut self, select: &ast::Select, schema: &DFSchema) -> Vec<Expr> {
        let mut columns = Vec::new();
        for item in &select.projection {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.to_lowercase())),
                other => {
                    let problem = Refusal::new("this column has several names, or none", "write expression AS name");
                    self.refuse(problem.at(Place::of(other.span(), self.place)));
                    continue;
                }
            };
            let binder = Binder { aggregates: true, ..self.binder(schema) };
            match binder.bind(expr) {
                Ok(Typed { expr: bound, .. }) => {
                    let name = alias.unwrap_or_else(|| unnamed(expr, &bound));
                    columns.push(bound.alias(name));
                }
                Err(refusal) => self.refuse(refusal),
            }
        }
        columns
    }

    /// The groups: expressions, places in the SELECT, or names of its columns.
    fn groups(&mut self, select: &ast::Select, schema: &DFSchema, columns: &[Expr]) -> Vec<Expr> {
        let ast::GroupByExpr::Expressions(groups, _) = &select.group_by else { return Vec::new() };
        let bare = |expr: &Expr| expr.clone().unalias();
        let mut made = Vec::new();
        for group in groups {
            let place = match group {
                ast::Expr::Value(value) => match &value.value {
                    ast::Value::Number(text, _) => text.parse::<usize>().ok(),
                    _ => None,
                },
                _ => None,
            };
            if let Some(column) = place.and_then(|p| columns.get(p.wrapping_sub(1))) {
                made.push(bare(column));
                continue;
            }
            match self.binder(schema).bind(group) {
                Ok(bound) => made.push(bound.expr),
                Err(refusal) => match named(group, columns) {
                    Some(column) => made.push(bare(column)),
                    None => self.refuse(refusal),
                },
            }
        }
        made
    }

    fn aggregated(
        &mut self,
        plan: LogicalPlan,
        columns: Vec<Expr>,
        groups: Vec<Expr>,
        aggregates: Vec<Expr>,
    ) -> Result<Option<LogicalPlan>, DataFusionError> {
        let plan = LogicalPlanBuilder::from(plan).aggregate(groups.clone(), aggregates.clone())?.build()?;
        let schema = Arc::clone(plan.schema());
        let known: Vec<Expr> = groups.into_iter().chain(aggregates).collect();
        let mut outputs = Vec::with_capacity(columns.len());
        for column in columns {
            let made = column.transform_down(|part| {
                let Some(index) = known.iter().position(|k| *k == part) else { return Ok(Transformed::no(part)) };
                let (qualifier, field) = schema.qualified_field(index);
                let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            });
            outputs.push(made.data()?);
        }
        let loose = outputs.iter().flat_map(Expr::column_refs).find(|c| !schema.has_column(c)).map(|c| c.name.clone());
        if let Some(name) = loose {
            self.refuse(Refusal::new(
                format!("column {name:?} is neither grouped nor aggregated"),
                "add it to GROUP BY, or write min or max of it",
            ));
            return Ok(None);
        }
        LogicalPlanBuilder::from(plan).project(outputs)?.build().map(Some)
    }
}

/// The column that a name in GROUP BY means.
fn named<'c>(group: &ast::Expr, columns: &'c [Expr]) -> Option<&'c Expr> {
    let ast::Expr::Identifier(name) = group else { return None };
    let wanted = name.value.to_lowercase();
    columns.iter().find(|column| matches!(column, Expr::Alias(alias) if alias.name == wanted))
}

/// The name of a column that was given none.
fn unnamed(written: &ast::Expr, bound: &Expr) -> String {
    match (written, bound) {
        (ast::Expr::Identifier(name), _) => name.value.to_lowercase(),
        (ast::Expr::CompoundIdentifier(parts), _) => parts.last().map(|p| p.value.to_lowercase()).unwrap_or_default(),
        (written, _) => written.to_string().to_lowercase(),
    }
}
