//! How large a query is once its parts are written out, measured on the tree before it is planned.
//!
//! The planner copies: a WITH part that is named twice is planned twice, and a filter over computed columns is written
//! in terms of what they are computed from. A short text can thereby ask for billions of expressions, and a planner
//! that works on them stops for nobody. Invariant: what passes here is planned in bounded time and memory.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, ObjectName, Query, Select, SelectItem, Visit, Visitor,
};

use super::parse::TextLimits;
use crate::error::QueryError;

/// A wildcard counts as so many columns of a select list.
const WILDCARD_COLUMNS: usize = 20;
/// Grouping sets that CUBE, ROLLUP and GROUPING SETS of one query may make.
const GROUPING_SETS_MAX: u64 = 1024;

/// Refuses a query that is too large to be planned.
///
/// # Errors
/// [`QueryError::ResourceLimit`] that names the limit.
pub fn check_tree(query: &Query, limits: &TextLimits) -> Result<(), QueryError> {
    let mut scale = Scale { limits, frames: vec![], expressions: 0, list_values: 0 };
    match query.visit(&mut scale) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What one query, written out, weighs.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    /// Expressions and tables in all.
    total: u64,
    /// Expressions of its largest column.
    column: u64,
}

/// A query whose parts are being visited.
#[derive(Debug, Default)]
struct Frame {
    /// Names of WITH parts that have not been visited yet: they come first, in their order.
    pending: VecDeque<String>,
    parts: Vec<(String, Weight)>,
    expressions: u64,
    columns: u64,
    /// Expressions and columns of the largest select item.
    item: (u64, u64),
    /// The largest column of what is read here.
    source: u64,
    inner: u64,
}

impl Frame {
    fn weight(&self) -> Weight {
        let written_out = |expressions: u64, columns: u64| {
            expressions.saturating_add(columns.saturating_mul(self.source.saturating_sub(1)))
        };
        Weight {
            total: written_out(self.expressions, self.columns).saturating_add(self.inner),
            column: written_out(self.item.0, self.item.1).max(self.source),
        }
    }

    fn read(&mut self, weight: Weight) {
        self.inner = self.inner.saturating_add(weight.total);
        self.source = self.source.max(weight.column);
    }
}

struct Scale<'a> {
    limits: &'a TextLimits,
    frames: Vec<Frame>,
    expressions: usize,
    list_values: usize,
}

type Flow = ControlFlow<QueryError>;

fn refuse(message: String) -> Flow {
    ControlFlow::Break(QueryError::ResourceLimit(message))
}

impl Visitor for Scale<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let pending = tables.map(|table| table.alias.name.value.clone()).collect();
        self.frames.push(Frame { pending, ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        let Some(frame) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let weight = frame.weight();
        if weight.total > self.limits.written_out_max {
            return refuse(format!(
                "the query's parts, written out, have more than {} expressions: each part of WITH counts as often as it \
                 is named, and a column as much as what it is computed from; name such parts once, or compute in fewer steps",
                self.limits.written_out_max
            ));
        }
        if let Some(outer) = self.frames.last_mut() {
            match outer.pending.pop_front() {
                Some(name) => outer.parts.push((name, weight)),
                None => outer.read(weight),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        let width = select.projection.iter().map(|item| match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => WILDCARD_COLUMNS,
            _ => 1,
        });
        if width.sum::<usize>() > self.limits.columns_max {
            return refuse(format!(
                "a select list has more than {} columns (a * counts as {WILDCARD_COLUMNS}); ask for fewer at a time",
                self.limits.columns_max
            ));
        }
        if grouping_sets(&select.group_by) > GROUPING_SETS_MAX {
            return refuse(format!(
                "CUBE, ROLLUP and GROUPING SETS make more than {GROUPING_SETS_MAX} sets; name fewer columns in them"
            ));
        }
        if let Some(frame) = self.frames.last_mut() {
            for item in &select.projection {
                let mut size = Size::default();
                let _ = item.visit(&mut size);
                frame.item = (frame.item.0.max(size.expressions), frame.item.1.max(size.columns));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> Flow {
        let name = match relation.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.as_str()),
            _ => None,
        };
        let part = name.and_then(|name| self.part(name)).unwrap_or(Weight { total: 1, column: 1 });
        if let Some(frame) = self.frames.last_mut() {
            frame.read(part);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        self.expressions += 1;
        if let Some(frame) = self.frames.last_mut() {
            frame.expressions += 1;
            frame.columns += u64::from(is_column(expr));
        }
        if let Expr::InList { list, .. } = expr
            && list.iter().all(|value| matches!(value, Expr::Value(_)))
        {
            self.list_values += list.len();
            // Each is visited after this, and a list of values is one thing to the planner.
            self.check_lists()?;
        }
        if self.expressions - self.list_values.min(self.expressions) > self.limits.expressions_max {
            return refuse(format!(
                "the query has more than {} expressions; use IN (…) for long lists of values, or ask in several queries",
                self.limits.expressions_max
            ));
        }
        ControlFlow::Continue(())
    }
}

impl Scale<'_> {
    fn check_lists(&self) -> Flow {
        if self.list_values > self.limits.list_values_max {
            return refuse(format!(
                "the query's lists IN (…) have more than {} values; filter by a range, or by a join with a table that has them",
                self.limits.list_values_max
            ));
        }
        ControlFlow::Continue(())
    }

    fn part(&self, name: &str) -> Option<Weight> {
        let mut parts = self.frames.iter().rev().flat_map(|frame| frame.parts.iter().rev());
        parts.find(|(part, _)| part == name).map(|(_, weight)| *weight)
    }
}

/// The size of one expression.
#[derive(Debug, Default)]
struct Size {
    expressions: u64,
    columns: u64,
}

impl Visitor for Size {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.expressions += 1;
        self.columns += u64::from(is_column(expr));
        ControlFlow::Continue(())
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn grouping_sets(group_by: &GroupByExpr) -> u64 {
    let power = |count: usize| 2_u64.saturating_pow(u32::try_from(count).unwrap_or(u32::MAX));
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
    let none = vec![];
    let expressions = match group_by {
        GroupByExpr::Expressions(expressions, _) => expressions,
        GroupByExpr::All(_) => &none,
    };
    let of_lists = expressions.iter().map(|expr| match expr {
        Expr::Cube(columns) => power(columns.len()),
        Expr::Rollup(columns) => columns.len() as u64 + 1,
        Expr::GroupingSets(sets) => sets.len() as u64,
        _ => 1,
    });
    let of_modifiers = modifiers.iter().map(|modifier| match modifier {
        GroupByWithModifier::Cube => power(expressions.len()),
        GroupByWithModifier::Rollup => expressions.len() as u64 + 1,
        _ => 1,
    });
    of_lists.chain(of_modifiers).fold(1, u64::saturating_mul)
}
