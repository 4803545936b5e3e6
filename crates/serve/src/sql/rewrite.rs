//! Druid's SQL rewritten into what the planner knows: parameters become values, date forms become functions, unnamed
//! columns get Druid's names.
//!
//! Everything that is not a plain query over named tables is refused here, so no plan can reach a file or a function
//! that makes rows.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, Value, VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::parse::position;
use super::refused;
use super::rewrite_function::{literal, rewrite_expression};
use crate::error::QueryError;

/// What the rewriting needs to know of the session.
pub trait Names {
    /// Whether a function of that lower-case name may be called.
    fn has_function(&self, name: &str) -> bool;
    /// Checks that a table is there; `None` when it is, otherwise what to say.
    fn missing_table(&self, parts: &[&str]) -> Option<String>;
}

/// Rewrites a parsed query in place. Returns the labels of its columns where they differ from the plan's names.
///
/// # Errors
/// [`QueryError::Invalid`] for a form that is not supported, an unknown table or function, or a missing parameter.
pub fn rewrite(query: &mut Query, parameters: &[Expr], names: &dyn Names) -> Result<Option<Vec<String>>, QueryError> {
    let mut visitor = Rewriter { parameters, names, ctes: BTreeSet::new() };
    if let ControlFlow::Break(error) = query.visit(&mut visitor) {
        return Err(error);
    }
    Ok(leftmost_select(&mut query.body).and_then(label))
}

struct Rewriter<'a> {
    parameters: &'a [Expr],
    names: &'a dyn Names,
    ctes: BTreeSet<String>,
}

/// What rewriting goes on with, or why it ended.
pub type Flow = ControlFlow<QueryError>;

/// Refuses a form of SQL by its name.
pub(crate) fn refuse(what: &str) -> Flow {
    ControlFlow::Break(QueryError::invalid(format!("{what} is not supported")))
}

impl VisitorMut for Rewriter<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        if let Some(with) = &query.with {
            if with.recursive {
                return refuse("WITH RECURSIVE");
            }
            self.ctes.extend(with.cte_tables.iter().map(|table| table.alias.name.value.clone()));
        }
        if let Some(fetch) = query.fetch.take() {
            if fetch.percent || fetch.with_ties || query.limit_clause.is_some() {
                return refuse("FETCH with PERCENT, TIES or a LIMIT");
            }
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: fetch.quantity, offset: None, limit_by: vec![] });
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
            return refuse("a FOR or SETTINGS clause");
        }
        if query.format_clause.is_some() || !query.pipe_operators.is_empty() {
            return refuse("a FORMAT clause or pipe operator");
        }
        check_body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        if select.into.is_some() || !select.lateral_views.is_empty() {
            return refuse("SELECT INTO or LATERAL VIEW");
        }
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            // GROUP BY () is one group of everything, which is what an aggregate without it is.
            expressions.retain(|expr| !matches!(expr, Expr::Tuple(items) if items.is_empty()));
            for expr in expressions {
                if let Expr::Cube(sets) | Expr::Rollup(sets) | Expr::GroupingSets(sets) = expr {
                    sets.iter_mut().flatten().for_each(|column| by_place(column, &select.projection));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> Flow {
        for (index, item) in select.projection.iter_mut().enumerate() {
            if let SelectItem::UnnamedExpr(expr) = item
                && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            {
                let expr = std::mem::replace(expr, literal(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("EXPR${index}")) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        if let TableFactor::Derived { subquery, alias, .. } = factor
            && let SetExpr::Values(values) = subquery.body.as_ref()
        {
            name_values(alias, values.rows.first().map_or(0, |row| row.content.len()));
        }
        match factor {
            TableFactor::Table { args: None, version: None, json_path: None, sample: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::UNNEST { array_exprs, .. } if array_exprs.iter().all(is_constant) => ControlFlow::Continue(()),
            TableFactor::UNNEST { .. } => ControlFlow::Break(QueryError::invalid(
                "UNNEST of a column is not supported; filter by ARRAY_CONTAINS or ARRAY_OVERLAP, or group by the array",
            )),
            _ => ControlFlow::Break(QueryError::invalid(
                "No match found for function signature in FROM; only tables, subqueries and UNNEST may stand there",
            )),
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> Flow {
        let idents: Vec<&Ident> = relation.0.iter().filter_map(|part| part.as_ident()).collect();
        let parts: Vec<&str> = idents.iter().map(|ident| ident.value.as_str()).collect();
        if let [name] = parts.as_slice()
            && self.ctes.contains(*name)
        {
            return ControlFlow::Continue(());
        }
        let Some(message) = self.names.missing_table(&parts) else { return ControlFlow::Continue(()) };
        let span = idents.iter().fold(Span::empty(), |span, ident| span.union(&ident.span));
        ControlFlow::Break(with_place(message, span))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
        {
            let number = name.trim_start_matches('$').parse::<usize>().unwrap_or_default();
            return match self.parameters.get(number.wrapping_sub(1)) {
                Some(parameter) => {
                    *expr = parameter.clone();
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(QueryError::invalid(format!(
                    "No value bound for parameter (position [{number}])"
                ))),
            };
        }
        if let Err(error) = rewrite_expression(expr) {
            return ControlFlow::Break(error);
        }
        self.check_function(expr)
    }
}

impl Rewriter<'_> {
    fn check_function(&self, expr: &Expr) -> Flow {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let ident = match function.name.0.as_slice() {
            [part] => part.as_ident(),
            _ => None,
        };
        let name = function.name.to_string();
        if ident.is_some_and(|ident| self.names.has_function(&ident.value.to_ascii_lowercase())) {
            return ControlFlow::Continue(());
        }
        let span = ident.map_or_else(Span::empty, |ident| ident.span);
        let help = refused::instead(&name).unwrap_or("docs/druid-functions.md lists the functions");
        ControlFlow::Break(with_place(format!("No match found for function signature {name}; {help}"), span))
    }
}

/// Whether an expression names no column.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    let named = visit_expressions(expr, |part| match part {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    named.is_continue()
}

/// A number in a set of columns is a place in the select list, as it is in GROUP BY itself.
fn by_place(column: &mut Expr, projection: &[SelectItem]) {
    let Expr::Value(value) = &*column else { return };
    let Value::Number(digits, _) = &value.value else { return };
    let item = digits.parse::<usize>().ok().and_then(|place| projection.get(place.wrapping_sub(1)));
    if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item {
        *column = expr.clone();
    }
}

/// Columns of VALUES have Druid's names unless the query gives them others.
fn name_values(alias: &mut Option<TableAlias>, width: usize) {
    if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return;
    }
    let columns = (0..width)
        .map(|index| TableAliasColumnDef { name: Ident::with_quote('"', format!("EXPR${index}")), data_type: None });
    match alias {
        Some(alias) => alias.columns = columns.collect(),
        None => {
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', "values$"),
                columns: columns.collect(),
                at: None,
            });
        }
    }
}

fn with_place(message: String, span: Span) -> QueryError {
    let place = position(span);
    let message = match place {
        Some(place) => format!("{message} (line [{}], column [{}])", place.start.0, place.start.1),
        None => message,
    };
    QueryError::invalid_at(message, place)
}

/// Whether a body only reads.
pub(crate) fn check_body(body: &SetExpr) -> Flow {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        _ => refuse("a statement that changes data"),
    }
}

/// The select list that names the columns.
pub(crate) fn leftmost_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => leftmost_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => leftmost_select(left),
        _ => None,
    }
}

/// The labels of a select list that names a column twice, whose later ones get names of ours inside the plan.
fn label(select: &mut Select) -> Option<Vec<String>> {
    let mut labels = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        labels.push(match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => idents.last()?.value.clone(),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => return None,
        });
    }
    let mut seen = BTreeSet::new();
    for (index, (item, label)) in select.projection.iter_mut().zip(&labels).enumerate() {
        if seen.insert(label) {
            continue;
        }
        let unique = Ident::with_quote('"', format!("{label}${index}"));
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            *alias = unique;
        } else if let SelectItem::UnnamedExpr(expr) = item {
            let expr = std::mem::replace(expr, literal(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias: unique };
        }
    }
    Some(labels)
}
