//! PostgreSQL's operators, types and forms of subqueries as the planner has them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, SelectItem,
    SetExpr, Value,
};

use super::catalogue::{self, oid};
use super::emptiness::reads_catalogue_alone;
use super::label::counted;
use super::parameter::{cast, literal, text, text_items};
use super::rewrite::{Flow, Rewriter};
use crate::error::QueryError;

/// A call of a function.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// A whole number.
pub fn number(value: impl ToString) -> Expr {
    literal(Value::Number(value.to_string(), false))
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, literal(Value::Null))
}

/// Rewrites what has to be before the parts of an expression are looked at.
pub fn before(expr: &mut Expr) {
    match expr {
        Expr::Collate { expr: inner, .. } => *expr = take(inner),
        // The number of a table by its name, or by its number.
        Expr::Cast { expr: inner, data_type, .. } if is_number(data_type) => {
            if let Expr::Cast { expr: named, data_type: kind, .. } = inner.as_mut()
                && registered(kind) == Some("regclass")
                && !matches!(named.as_ref(), Expr::Value(_))
            {
                **inner = call("__relation_number", vec![take(named)]);
            }
        }
        Expr::Subquery(query) if reads_catalogue_alone(query) => one_row(query),
        Expr::Function(function) if counted_name(function) == "array" => {
            if let FunctionArguments::Subquery(query) = &mut function.args {
                let mut query = query.clone();
                aggregate(&mut query, "array_agg");
                *expr = Expr::Subquery(query);
            }
        }
        _ => {}
    }
}

/// The last part of a function's name.
pub fn counted_name(function: &Function) -> String {
    function.name.0.last().and_then(ObjectNamePart::as_ident).map(counted).unwrap_or_default()
}

/// A subquery over the catalogue that stands for one value gives one row at most: the planner wants to see that it does.
fn one_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let said = select.projection.first().map(ToString::to_string).unwrap_or_default().to_lowercase();
    let aggregates = ["count(", "max(", "min(", "sum(", "agg(", "array("].iter().any(|name| said.contains(name));
    if select.projection.len() == 1 && !grouped && !aggregates {
        aggregate(query, "max");
    }
}

fn aggregate(query: &mut Query, name: &str) {
    (query.order_by, query.limit_clause) = (None, None);
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    select.distinct = None;
    match select.projection.as_mut_slice() {
        [SelectItem::UnnamedExpr(expr)] | [SelectItem::ExprWithAlias { expr, .. }] => {
            *expr = call(name, vec![take(expr)])
        }
        _ => {}
    }
}

/// Rewrites an expression whose parts have been.
pub fn after(expr: &mut Expr, rewriter: &Rewriter<'_>) -> Flow {
    match expr {
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                match parts.last().and_then(|sign| operator(sign)) {
                    Some(known) => *op = known,
                    None => return refuse(&format!("OPERATOR({})", parts.join("."))),
                }
            }
        }
        Expr::AnyOp { left, compare_op, right, .. } if *compare_op == BinaryOperator::Eq => {
            if let Some(list) = items(right) {
                *expr = in_list(take(left), list, false);
            }
        }
        Expr::AllOp { left, compare_op, right } if *compare_op == BinaryOperator::NotEq => {
            if let Some(list) = items(right) {
                *expr = in_list(take(left), list, true);
            }
        }
        Expr::Like { pattern, escape_char: escape @ Some(_), .. }
        | Expr::ILike { pattern, escape_char: escape @ Some(_), .. } => {
            if let Some(sign) = escape.take() {
                **pattern = call("__like_pattern", vec![take(pattern), literal(sign.value)]);
            }
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
        }
        Expr::TypedString(typed) => {
            if let Some(known) = planned(&typed.data_type) {
                typed.data_type = known;
            }
        }
        Expr::Cast { expr: inner, data_type, .. } => return cast_to(expr_of(inner, data_type, rewriter)?, expr),
        _ => {}
    }
    ControlFlow::Continue(())
}

fn refuse(what: &str) -> Flow {
    ControlFlow::Break(QueryError::invalid(format!("{what} is not supported")))
}

fn cast_to(new: Option<Expr>, expr: &mut Expr) -> Flow {
    if let Some(new) = new {
        *expr = new;
    }
    ControlFlow::Continue(())
}

fn operator(sign: &str) -> Option<BinaryOperator> {
    use BinaryOperator as Op;
    Some(match sign {
        "~" => Op::PGRegexMatch,
        "~*" => Op::PGRegexIMatch,
        "!~" => Op::PGRegexNotMatch,
        "!~*" => Op::PGRegexNotIMatch,
        "~~" => Op::PGLikeMatch,
        "~~*" => Op::PGILikeMatch,
        "!~~" => Op::PGNotLikeMatch,
        "!~~*" => Op::PGNotILikeMatch,
        "=" => Op::Eq,
        "<>" => Op::NotEq,
        "<" => Op::Lt,
        "<=" => Op::LtEq,
        ">" => Op::Gt,
        ">=" => Op::GtEq,
        "+" => Op::Plus,
        "-" => Op::Minus,
        "*" => Op::Multiply,
        "/" => Op::Divide,
        "||" => Op::StringConcat,
        _ => return None,
    })
}

/// The values of an array that is written out.
fn items(expr: &mut Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Array(array) => Some(std::mem::take(&mut array.elem)),
        Expr::Nested(inner) => items(inner),
        Expr::Cast { expr: inner, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(kind, _)), .. } => {
            let kind = kind.as_ref().clone();
            Some(items(inner)?.into_iter().map(|item| cast(item, kind.clone())).collect())
        }
        _ => None,
    }
}

fn in_list(left: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    if list.is_empty() {
        return literal(Value::Boolean(negated));
    }
    Expr::InList { expr: Box::new(left), list, negated }
}

/// What a cast is instead; none where it stays.
fn expr_of(inner: &mut Expr, kind: &mut DataType, rewriter: &Rewriter<'_>) -> ControlFlow<QueryError, Option<Expr>> {
    let said = match inner {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(said) | Value::EscapedStringLiteral(said) => Some(said.clone()),
            _ => None,
        },
        _ => None,
    };
    if let (DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)), Some(said)) = (&*kind, &said) {
        let item = planned(item).unwrap_or_else(|| item.as_ref().clone());
        let values = text_items(said).ok_or_else(|| QueryError::invalid("a value could not be cast to an array"));
        let values = match values {
            Ok(values) => values,
            Err(error) => return ControlFlow::Break(error),
        };
        let value = |value: Option<Vec<u8>>| match value.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(value) => cast(text(value), item.clone()),
            None => cast(literal(Value::Null), item.clone()),
        };
        let elem = values.into_iter().map(value).collect();
        return ControlFlow::Continue(Some(Expr::Array(datafusion::sql::sqlparser::ast::Array { elem, named: true })));
    }
    let name = registered(kind);
    let new = match (name, said) {
        (Some("regclass"), Some(said)) => match relation(&said, rewriter) {
            Some(found) => Some(number(found)),
            None => {
                return ControlFlow::Break(QueryError::invalid(format!("relation \"{said}\" does not exist")));
            }
        },
        (Some("regtype"), Some(said)) => catalogue::types::by_name(&said).map(|kind| number(kind.oid)),
        (Some("regproc"), Some(said)) => catalogue::types::procedure(&said).map(number),
        (Some("regnamespace"), Some(said)) => oid::of_schema(&said).map(number),
        (Some("regclass"), None) => Some(call("__relation_name", vec![take(inner)])),
        (Some("regtype"), None) => Some(call("format_type", vec![take(inner), literal(Value::Null)])),
        (Some("regnamespace"), None) => Some(call("__schema_name", vec![take(inner)])),
        (Some("regrole"), _) => Some(call("pg_get_userbyid", vec![take(inner)])),
        _ => None,
    };
    if new.is_none()
        && let Some(known) = planned(kind)
    {
        *kind = known;
    }
    ControlFlow::Continue(new)
}

/// The number of a relation by its name, with or without a schema.
pub fn relation(said: &str, rewriter: &Rewriter<'_>) -> Option<u32> {
    let part = |part: &str| match part.trim().strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(quoted) => quoted.to_owned(),
        None => part.trim().to_lowercase(),
    };
    if let Ok(number) = said.parse() {
        return Some(number);
    }
    let parts: Vec<String> = said.split('.').map(part).collect();
    match parts.as_slice() {
        [table] => rewriter.schema_of(table).map(|schema| oid::of_table(&schema, table)),
        [.., schema, table] => rewriter.has(schema, table).then(|| oid::of_table(schema, table)),
        [] => None,
    }
}

/// The name of a type whose values are names of things.
fn registered(kind: &DataType) -> Option<&'static str> {
    let name = match kind {
        DataType::Regclass => return Some("regclass"),
        DataType::Custom(name, _) => name.0.last().and_then(ObjectNamePart::as_ident).map(counted)?,
        _ => return None,
    };
    match name.as_str() {
        "regclass" => Some("regclass"),
        "regtype" => Some("regtype"),
        "regproc" | "regprocedure" => Some("regproc"),
        "regnamespace" => Some("regnamespace"),
        "regrole" => Some("regrole"),
        _ => None,
    }
}

/// Whether a type is of numbers that things have.
fn is_number(kind: &DataType) -> bool {
    match kind {
        DataType::Custom(name, _) => {
            let name = name.0.last().and_then(ObjectNamePart::as_ident).map(counted);
            name.is_some_and(|name| matches!(name.as_str(), "oid" | "int8" | "int4"))
        }
        DataType::Integer(_) | DataType::Int(_) | DataType::BigInt(_) => true,
        _ => false,
    }
}

/// A type as the planner has it; none where it is one of the planner's.
fn planned(kind: &DataType) -> Option<DataType> {
    Some(match kind {
        DataType::Timestamp(None, zone) => DataType::Timestamp(Some(6), *zone),
        DataType::Timestamp(Some(1 | 2 | 4 | 5), zone) => DataType::Timestamp(Some(6), *zone),
        DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) | DataType::Float(_) => {
            DataType::Double(ExactNumberInfo::None)
        }
        DataType::Dec(info) => DataType::Decimal(*info),
        DataType::Varchar(_)
        | DataType::Char(_)
        | DataType::Character(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::JSON
        | DataType::JSONB
        | DataType::Uuid => DataType::Text,
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, size)) => {
            DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(planned(item)?), *size))
        }
        DataType::Custom(name, _) => {
            let name = name.0.last().and_then(ObjectNamePart::as_ident).map(counted)?;
            match name.as_str() {
                "bool" | "boolean" => DataType::Boolean,
                "int2" => DataType::SmallInt(None),
                "int4" | "int" | "integer" => DataType::Integer(None),
                "int8" | "bigint" => DataType::BigInt(None),
                "float4" => DataType::Real,
                "float8" | "numeric" => DataType::Double(ExactNumberInfo::None),
                "oid" | "xid" | "regproc" | "regprocedure" | "regtype" | "cid" => DataType::IntUnsigned(None),
                "date" => DataType::Date,
                "timestamp" => DataType::Timestamp(Some(6), datafusion::sql::sqlparser::ast::TimezoneInfo::None),
                "timestamptz" => {
                    DataType::Timestamp(Some(6), datafusion::sql::sqlparser::ast::TimezoneInfo::WithTimeZone)
                }
                _ => DataType::Text,
            }
        }
        _ => return None,
    })
}
