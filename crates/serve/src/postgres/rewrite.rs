//! PostgreSQL's SQL rewritten into what the planner knows: names get their schemas, parameters become constants,
//! PostgreSQL's own operators, types and catalogue functions become the planner's.
//!
//! Everything that is not a plain query over named tables is refused here, so no plan can reach a file or a function
//! that makes rows.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LimitClause, ObjectName, ObjectNamePart, OrderByKind, Query, Select, TableFactor, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::catalogue::PG_CATALOG;
use super::label::{counted, name, shown};
use super::parameter::{cast, literal};
use super::settings::{DATABASE, Settings};
use super::{emptiness, form, from, function, recursion};
use crate::error::QueryError;
use crate::sql::parse::position;
pub use crate::sql::rewrite::Flow;
use crate::sql::rewrite::{Names, check_body, is_constant, leftmost_select, refuse};

/// Rewrites a parsed query in place. Returns the labels of its columns where its list names all of them.
///
/// # Errors
/// [`QueryError::Invalid`] for a form that is not supported, an unknown table or function, or a missing parameter.
pub fn rewrite(
    query: &mut Query,
    parameters: &[Expr],
    names: &dyn Names,
    settings: &Settings,
) -> Result<Option<Vec<String>>, QueryError> {
    let mut visitor = Rewriter { parameters, names, settings, ctes: BTreeSet::new() };
    match query.visit(&mut visitor) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(leftmost_select(&mut query.body).and_then(|select| labels(select))),
    }
}

/// What rewriting knows.
pub struct Rewriter<'a> {
    parameters: &'a [Expr],
    names: &'a dyn Names,
    /// What the connection has set.
    pub settings: &'a Settings,
    ctes: BTreeSet<String>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        recursion::write_out(query);
        if let Some(with) = &query.with {
            if with.recursive {
                return refuse("WITH RECURSIVE");
            }
            self.ctes.extend(with.cte_tables.iter().map(|table| counted(&table.alias.name)));
        }
        if let Some(fetch) = query.fetch.take() {
            if fetch.percent || fetch.with_ties {
                return refuse("FETCH with PERCENT or TIES");
            }
            let offset = match query.limit_clause.take() {
                None => None,
                Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
                Some(_) => return refuse("FETCH beside LIMIT"),
            };
            let one = || literal(Value::Number("1".to_owned(), false));
            let limit = Some(fetch.quantity.unwrap_or_else(one));
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: vec![] });
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            let offset = offset.as_mut().map(|offset| &mut offset.value);
            limit.iter_mut().chain(offset).for_each(as_count);
        }
        if let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order.kind
        {
            // A key that stands there again decides nothing, and is too much for DISTINCT ON.
            let mut seen = HashSet::new();
            keys.retain(|key| seen.insert(key.expr.clone()));
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
            return refuse("a FOR clause");
        }
        if query.order_by.is_some() && emptiness::of_query(query, &self.ctes) {
            query.order_by = None;
        }
        if query.format_clause.is_some() || !query.pipe_operators.is_empty() {
            return refuse("a FORMAT clause or pipe operator");
        }
        check_body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        if select.into.is_some() || !select.lateral_views.is_empty() {
            return refuse("SELECT INTO");
        }
        if emptiness::of_select(select, &self.ctes) {
            emptiness::simplify(select);
        }
        // Before what tells of the session is a constant, which has no name.
        name(select);
        emptiness::of_catalogue(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        from::rewrite(factor);
        match factor {
            TableFactor::Table { args: None, version: None, json_path: None, sample: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::UNNEST { array_exprs, .. } if array_exprs.iter().all(is_constant) => ControlFlow::Continue(()),
            TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
                ControlFlow::Break(QueryError::invalid(format!(
                    "a function in FROM, {name}, is not supported; only tables and subqueries stand there"
                )))
            }
            _ => refuse("what stands in FROM"),
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> Flow {
        let idents: Vec<&Ident> = relation.0.iter().filter_map(ObjectNamePart::as_ident).collect();
        let parts: Vec<String> = idents.iter().map(|ident| counted(ident)).collect();
        let span = idents.iter().fold(Span::empty(), |span, ident| span.union(&ident.span));
        let (schema, table) = match parts.as_slice() {
            [table] if self.ctes.contains(table) => return ControlFlow::Continue(()),
            [table] => match self.schema_of(table) {
                Some(schema) => (schema, table),
                None => return ControlFlow::Break(self.missing(None, table, span)),
            },
            [schema, table] => (schema.clone(), table),
            [database, schema, table] if database == DATABASE => (schema.clone(), table),
            _ => return refuse("a name of another database"),
        };
        if self.names.missing_table(&[&schema, table]).is_some() {
            return ControlFlow::Break(self.missing(Some(&schema), table, span));
        }
        let quoted = |part: &str| ObjectNamePart::Identifier(Ident::with_quote('"', part));
        relation.0 = vec![quoted(&schema), quoted(table)];
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        emptiness::of_expression(expr, &self.ctes);
        form::before(expr);
        ControlFlow::Continue(())
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
                None => ControlFlow::Break(QueryError::invalid(format!("there is no parameter ${number}"))),
            };
        }
        form::after(expr, self)?;
        function::rewrite(expr, self)?;
        if let Expr::Identifier(ident) = expr
            && from::is_reserved(ident)
        {
            let message = format!("Incorrect syntax near '{}'", ident.value);
            return ControlFlow::Break(QueryError::invalid_at(message, position(ident.span)));
        }
        self.check_function(expr)
    }
}

impl Rewriter<'_> {
    /// The schema of a table that is named without one: the catalogue's first, then in the order of the search path.
    pub fn schema_of(&self, table: &str) -> Option<String> {
        let path = std::iter::once(PG_CATALOG.to_owned()).chain(self.settings.search_path());
        path.into_iter().find(|schema| self.names.missing_table(&[schema, table]).is_none())
    }

    /// Whether there is a table.
    pub fn has(&self, schema: &str, table: &str) -> bool {
        self.names.missing_table(&[schema, table]).is_none()
    }

    /// What to say of a table that is not there, or not for this client.
    fn missing(&self, schema: Option<&str>, table: &str, span: Span) -> QueryError {
        let path = self.settings.search_path();
        let schemata = schema.map_or_else(|| path.iter().map(String::as_str).collect(), |schema| vec![schema]);
        let said: Vec<String> =
            schemata.iter().filter_map(|schema| self.names.missing_table(&[schema, table])).collect();
        if let Some(refused) = said.iter().find(|message| message.starts_with("you may not")) {
            return QueryError::invalid_at(refused.clone(), position(span));
        }
        let near = said
            .first()
            .and_then(|message| message.split_once("; "))
            .map_or(String::new(), |(_, near)| format!("; {near}"));
        let named = schema.map_or_else(|| table.to_owned(), |schema| format!("{schema}.{table}"));
        QueryError::invalid_at(format!("relation \"{named}\" does not exist{near}"), position(span))
    }

    fn check_function(&self, expr: &Expr) -> Flow {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let ident = match function.name.0.as_slice() {
            [part] => part.as_ident(),
            _ => None,
        };
        if ident.is_some_and(|ident| self.names.has_function(&counted(ident))) {
            return ControlFlow::Continue(());
        }
        let message = format!("function {} does not exist; docs/postgres.md lists the functions", function.name);
        ControlFlow::Break(QueryError::invalid_at(message, ident.and_then(|ident| position(ident.span))))
    }
}

/// A parameter where a count stands is a whole number.
fn as_count(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && matches!(value.value, Value::Placeholder(_))
    {
        let bare = std::mem::replace(expr, literal(Value::Null));
        *expr = cast(bare, datafusion::sql::sqlparser::ast::DataType::BigInt(None));
    }
}

/// The labels of a select list; none where a `*` stands in it.
fn labels(select: &Select) -> Option<Vec<String>> {
    use datafusion::sql::sqlparser::ast::SelectItem;
    let label = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(counted(ident)),
        SelectItem::ExprWithAlias { alias, .. } => Some(shown(&alias.value).to_owned()),
        _ => None,
    };
    select.projection.iter().map(label).collect()
}
