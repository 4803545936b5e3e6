//! Queries over parts of the catalogue that are always empty here: there are no indexes, constraints or triggers.
//!
//! What clients ask of those is often more than the planner can do, and its answer is known: no row. Invariant: a query
//! that reads one table of a dataset is left as it is.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, FunctionArguments, GroupByExpr, Ident, JoinConstraint,
    JoinOperator, ObjectNamePart, Query, Select, SelectItem, SetExpr, SetOperator, TableAlias, TableFactor,
    TableWithJoins, Value, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::catalogue;
use super::form::counted_name;
use super::label::{counted, label_of};
use super::parameter::{cast, literal};
use super::recursion::reads_catalogue;

type Ctes = BTreeSet<String>;

/// Whether a query over the catalogue gives no row, whatever else it asks.
pub fn of_select(select: &Select, ctes: &Ctes) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let aggregates = !grouped && select.projection.iter().any(|item| aggregates(&item.to_string()));
    !aggregates && select.from.iter().any(|from| is_empty(from, ctes))
}

/// Whether a text of an expression calls an aggregate, subqueries in it apart.
fn aggregates(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut own = text.as_str();
    let mut outside = String::new();
    while let Some(start) = own.find("(select ") {
        let (before, subquery) = own.split_at(start);
        outside.push_str(before);
        let mut depth = 0_usize;
        let end = subquery.char_indices().find(|(_, sign)| {
            match sign {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        own = end.and_then(|(at, _)| subquery.get(at + 1..)).unwrap_or_default();
    }
    outside.push_str(own);
    ["count(", "max(", "min(", "sum(", "array_agg(", "string_agg(", "bool_or(", "bool_and("]
        .iter()
        .any(|call| outside.contains(call))
}

/// Whether a query gives no row.
pub fn of_query(query: &Query, ctes: &Ctes) -> bool {
    query.with.is_none() && of_body(&query.body, ctes)
}

fn of_body(body: &SetExpr, ctes: &Ctes) -> bool {
    match body {
        SetExpr::Select(select) => of_select(select, ctes),
        SetExpr::Query(query) => of_query(query, ctes),
        SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
            of_body(left, ctes) && of_body(right, ctes)
        }
        SetExpr::SetOperation { left, .. } => of_body(left, ctes),
        _ => false,
    }
}

fn is_empty(from: &TableWithJoins, ctes: &Ctes) -> bool {
    let mut empty = factor(&from.relation, ctes);
    for join in &from.joins {
        let right = factor(&join.relation, ctes);
        empty = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => empty || right,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
            _ => empty && right,
        };
    }
    empty
}

fn factor(factor: &TableFactor, ctes: &Ctes) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(counted).collect();
            match parts.as_slice() {
                [table] => !ctes.contains(table) && catalogue::is_always_empty(catalogue::PG_CATALOG, table),
                [.., schema, table] => catalogue::is_always_empty(schema, table),
                [] => false,
            }
        }
        TableFactor::Table { name, args: Some(args), .. } => {
            let arguments: Vec<String> = args.args.iter().map(ToString::to_string).collect();
            of_function(&name.to_string().to_lowercase(), &arguments.join(","))
        }
        TableFactor::Function { name, args, .. } => {
            let arguments: Vec<String> = args.iter().map(ToString::to_string).collect();
            of_function(&name.to_string().to_lowercase(), &arguments.join(","))
        }
        TableFactor::Derived { subquery, .. } => of_query(subquery, ctes),
        TableFactor::NestedJoin { table_with_joins, .. } => is_empty(table_with_joins, ctes),
        _ => false,
    }
}

/// Columns of the catalogue with lists that nothing has here.
const LISTS: [&str; 12] = [
    "attacl",
    "attoptions",
    "conkey",
    "confkey",
    "datacl",
    "indkey",
    "nspacl",
    "prattrs",
    "relacl",
    "reloptions",
    "setconfig",
    "stxkind",
];

/// Whether a function makes rows of what the catalogue never has: rights, options, and lists in its columns.
fn of_function(name: &str, arguments: &str) -> bool {
    let name = name.rsplit('.').next().filter(|_| name.contains('.')).unwrap_or_default();
    match name {
        "aclexplode" | "pg_options_to_table" | "_pg_expandarray" | "pg_partition_ancestors" => true,
        "unnest" => LISTS.contains(&arguments.rsplit('.').next().unwrap_or_default().to_lowercase().as_str()),
        _ => false,
    }
}

fn null() -> Expr {
    cast(literal(Value::Null), DataType::Text)
}

/// NULL of an expression's type, as far as its text tells it.
fn null_of(expr: &Expr) -> Expr {
    match expr {
        Expr::Cast { data_type, .. } => cast(literal(Value::Null), data_type.clone()),
        Expr::Function(function) if catalogue::functions::counts(&counted_name(function)) => {
            cast(literal(Value::Null), DataType::BigInt(None))
        }
        Expr::Function(function) if counted_name(function) == "array_agg" => {
            let of_numbers = function.args.to_string().to_lowercase().contains("typid");
            let item = if of_numbers { DataType::IntUnsigned(None) } else { DataType::Text };
            cast(literal(Value::Null), DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), None)))
        }
        Expr::Identifier(ident) if counted(ident) == "oid" => cast(literal(Value::Null), DataType::IntUnsigned(None)),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => null_of(expr),
                _ => null(),
            },
            _ => null(),
        },
        Expr::Nested(inner) => null_of(inner),
        _ => null(),
    }
}

/// Kinds of types of which there are none here: composites, domains, enumerations, ranges of both sorts.
const KINDS: [&str; 5] = ["c", "d", "e", "m", "r"];

/// Whether a condition asks for a type of such a kind.
fn asks_for_no_type(condition: &Expr) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
    let (Expr::CompoundIdentifier(idents), Expr::Value(value)) = (left.as_ref(), right.as_ref()) else { return false };
    let Value::SingleQuotedString(kind) = &value.value else { return false };
    idents.last().is_some_and(|ident| counted(ident) == "typtype") && KINDS.contains(&kind.as_str())
}

/// Takes the branches of a CASE away that no type comes to.
fn without_kinds(expr: &mut Expr) {
    let Expr::Case { operand: None, conditions, else_result, .. } = expr else { return };
    let mut last = None;
    conditions.retain(|when| {
        let stays = !asks_for_no_type(&when.condition);
        if !stays {
            last = Some(null_of(&when.result));
        }
        stays
    });
    if let Some(null) = last.filter(|_| conditions.is_empty()) {
        let is_null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Value::Null);
        *expr = else_result.take().map_or(null.clone(), |other| if is_null(&other) { null } else { *other });
    }
}

fn truth(truth: bool) -> Expr {
    literal(Value::Boolean(truth))
}

/// Leaves of a select that gives no row its tables and the names of its columns.
pub fn simplify(select: &mut Select) {
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) if !is_plain(expr) => {
                let alias = Ident::with_quote('"', label_of(expr));
                *item = SelectItem::ExprWithAlias { expr: null_of(expr), alias };
            }
            SelectItem::ExprWithAlias { expr, .. } if !is_plain(expr) => *expr = null_of(expr),
            _ => {}
        }
    }
    select.selection = Some(truth(false));
    select.having = None;
    for from in &mut select.from {
        without_function(&mut from.relation);
        from.joins.iter_mut().for_each(|join| without_function(&mut join.relation));
    }
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint) = &mut join.join_operator
            && matches!(constraint, JoinConstraint::On(_))
        {
            *constraint = JoinConstraint::On(truth(false));
        }
    }
}

/// Puts a row of NULLs in the place of a function that makes rows, where there is none anyhow.
fn without_function(factor: &mut TableFactor) {
    let (TableFactor::Table { alias: Some(alias), args: Some(_), .. }
    | TableFactor::Function { alias: Some(alias), .. }) = &*factor
    else {
        return;
    };
    let named = alias.columns.iter().map(|column| counted(&column.name));
    let columns: Vec<String> = if alias.columns.is_empty() { vec![counted(&alias.name)] } else { named.collect() };
    let nulls: Vec<String> = columns.iter().map(|column| format!("CAST(NULL AS BIGINT) AS \"{column}\"")).collect();
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(&format!("SELECT {}", nulls.join(", ")));
    let Ok(subquery) = parsed.and_then(|mut parser| parser.parse_query()) else { return };
    let alias = Some(TableAlias { columns: Vec::new(), ..alias.clone() });
    *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
}

fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => true,
        Expr::Nested(inner) => is_plain(inner),
        _ => false,
    }
}

/// Puts the answer in the place of a subquery that gives no row.
pub fn of_expression(expr: &mut Expr, ctes: &Ctes) {
    let answer = match expr {
        Expr::Subquery(query) if of_query(query, ctes) => null(),
        Expr::Exists { subquery, negated } if of_query(subquery, ctes) => truth(*negated),
        Expr::InSubquery { subquery, negated, .. } if of_query(subquery, ctes) => truth(*negated),
        Expr::Function(function) => match &function.args {
            // ARRAY(SELECT …): a list.
            FunctionArguments::Subquery(query) if of_query(query, ctes) => {
                let texts = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
                cast(literal(Value::Null), DataType::Array(texts))
            }
            _ => return,
        },
        _ => return,
    };
    *expr = answer;
}

/// Columns that every table of PostgreSQL's has beside its own, and none here.
const SYSTEM_COLUMNS: [&str; 3] = ["tableoid", "xmax", "xmin"];

/// Takes away what the catalogue has nothing of, where a select reads it alone: columns of the system, kinds of types.
pub fn of_catalogue(select: &mut Select) {
    if !reads_catalogue(select, &Ctes::new()) {
        return;
    }
    let _ = visit_expressions_mut(select, |expr| {
        without_kinds(expr);
        let last = match &*expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        if last.is_some_and(|ident| SYSTEM_COLUMNS.contains(&counted(ident).as_str())) {
            *expr = cast(literal(Value::Number("0".to_owned(), false)), DataType::IntUnsigned(None));
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Whether a query reads the catalogue alone.
pub fn reads_catalogue_alone(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let of_catalogue = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(counted).collect();
            match parts.as_slice() {
                [table] => catalogue::columns::find(catalogue::PG_CATALOG, table).is_some(),
                [.., schema, table] => catalogue::columns::find(schema, table).is_some(),
                [] => false,
            }
        }
        _ => false,
    };
    let mut factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    !select.from.is_empty() && factors.all(of_catalogue)
}
