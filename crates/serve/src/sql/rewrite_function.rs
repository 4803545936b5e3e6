//! One expression of Druid's SQL as the planner knows it: FLOOR … TO, EXTRACT, casts, and functions under other names.
//!
//! Casts to time, text and integers go through functions of the session, because Druid casts in the session's time zone
//! and counts time in milliseconds.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderByExpr,
    OrderByOptions, Value,
};

use crate::error::QueryError;
use crate::functions::period::Period;

/// Druid's functions that are rewritten here, and whether each makes one value of many.
pub const REWRITTEN: [(&str, bool); 16] = [
    ("ANY_VALUE", true),
    ("APPROX_COUNT_DISTINCT", true),
    ("APPROX_COUNT_DISTINCT_BUILTIN", true),
    ("APPROX_COUNT_DISTINCT_DS_HLL", true),
    ("APPROX_COUNT_DISTINCT_DS_THETA", true),
    ("APPROX_QUANTILE", true),
    ("APPROX_QUANTILE_DS", true),
    ("ARRAY_CONTAINS", false),
    ("EARLIEST", true),
    ("EARLIEST_BY", true),
    ("LATEST", true),
    ("LATEST_BY", true),
    ("MOD", false),
    ("SAFE_DIVIDE", false),
    ("TIMESTAMPADD", false),
    ("TIMESTAMPDIFF", false),
];

/// A literal.
pub fn literal(value: Value) -> Expr {
    Expr::Value(value.into())
}

/// A text literal.
pub fn text(value: impl Into<String>) -> Expr {
    literal(Value::SingleQuotedString(value.into()))
}

/// A call of a function with plain arguments.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, literal(Value::Null))
}

/// Rewrites one expression whose parts are rewritten already.
///
/// # Errors
/// [`QueryError::Invalid`] for a time unit that has no period.
pub fn rewrite_expression(expr: &mut Expr) -> Result<(), QueryError> {
    let new = match expr {
        Expr::Floor { expr: inner, field: CeilFloorKind::DateTimeField(unit) }
            if *unit != DateTimeField::NoDateTime =>
        {
            call("time_floor", vec![take(inner), text(unit_period(&unit.to_string())?)])
        }
        Expr::Ceil { expr: inner, field: CeilFloorKind::DateTimeField(unit) } if *unit != DateTimeField::NoDateTime => {
            call("time_ceil", vec![take(inner), text(unit_period(&unit.to_string())?)])
        }
        Expr::Extract { field, expr: inner, .. } => call("time_extract", vec![take(inner), text(field.to_string())]),
        Expr::TypedString(typed) => {
            let value = literal(typed.value.value.clone());
            match typed.data_type {
                DataType::Timestamp(..) | DataType::Datetime(_) => call("__timestamp", vec![value]),
                DataType::Date => call("__date", vec![value]),
                _ => return Ok(()),
            }
        }
        Expr::Cast { kind: CastKind::Cast, expr: inner, data_type, .. } => match cast_function(data_type) {
            Some(name) => call(name, vec![take(inner)]),
            None => {
                widen_decimal(data_type);
                return Ok(());
            }
        },
        Expr::Function(function) => match rewrite_call(function)? {
            Some(new) => new,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    *expr = new;
    Ok(())
}

fn cast_function(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Timestamp(..) | DataType::Datetime(_) => Some("__timestamp"),
        DataType::Date => Some("__date"),
        DataType::Varchar(_) | DataType::Char(_) | DataType::CharVarying(_) | DataType::Text | DataType::String(_) => {
            Some("__varchar")
        }
        DataType::BigInt(_)
        | DataType::Integer(_)
        | DataType::Int(_)
        | DataType::SmallInt(_)
        | DataType::TinyInt(_) => Some("__bigint"),
        _ => None,
    }
}

/// Druid computes decimals as doubles.
fn widen_decimal(data_type: &mut DataType) {
    if matches!(data_type, DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_)) {
        *data_type = DataType::Double(ExactNumberInfo::None);
    }
}

fn unit_period(unit: &str) -> Result<String, QueryError> {
    Period::of_unit(unit).map(str::to_owned).ok_or_else(|| {
        QueryError::invalid(format!(
            "'{unit}' is not a unit of time; use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
        ))
    })
}

/// The plain arguments of a call, when it has only such.
fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn rewrite_call(function: &mut Function) -> Result<Option<Expr>, QueryError> {
    let name = function.name.to_string().to_ascii_uppercase();
    let Some(arguments) = arguments(function) else { return Ok(None) };
    let new = match (name.as_str(), arguments.as_slice()) {
        ("TIMESTAMPADD", [unit, count, time]) => {
            call("time_shift", vec![time.clone(), text(unit_period(&unit_name(unit))?), count.clone()])
        }
        ("TIMESTAMPDIFF", [unit, from, to]) => {
            call("__timestampdiff", vec![text(unit_name(unit)), from.clone(), to.clone()])
        }
        ("DATE_TRUNC", [unit, time]) => call("time_floor", vec![time.clone(), text(unit_period(&unit_name(unit))?)]),
        ("SAFE_DIVIDE", [left, right]) => Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(left.clone()))),
            op: BinaryOperator::Divide,
            right: Box::new(call("nullif", vec![right.clone(), literal(Value::Number("0".to_owned(), false))])),
        })),
        ("MOD", [left, right]) => Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(left.clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new(right.clone()))),
        })),
        (
            "APPROX_COUNT_DISTINCT"
            | "APPROX_COUNT_DISTINCT_BUILTIN"
            | "APPROX_COUNT_DISTINCT_DS_HLL"
            | "APPROX_COUNT_DISTINCT_DS_THETA",
            [value, ..],
        ) => aggregate(function, "approx_distinct", vec![value.clone()], None),
        ("APPROX_QUANTILE" | "APPROX_QUANTILE_DS", [value, share, ..]) => {
            aggregate(function, "approx_percentile_cont", vec![value.clone(), share.clone()], None)
        }
        ("EARLIEST", [value, ..]) => ordered(function, "first_value", value, Expr::Identifier(Ident::new("__time"))),
        ("LATEST", [value, ..]) => ordered(function, "last_value", value, Expr::Identifier(Ident::new("__time"))),
        ("EARLIEST_BY", [value, time, ..]) => ordered(function, "first_value", value, time.clone()),
        ("LATEST_BY", [value, time, ..]) => ordered(function, "last_value", value, time.clone()),
        ("ANY_VALUE", [value, ..]) => aggregate(function, "first_value", vec![value.clone()], None),
        ("ARRAY_CONTAINS", [array, wanted]) => {
            let name = if is_array(wanted) { "array_has_all" } else { "array_has" };
            call(name, vec![array.clone(), wanted.clone()])
        }
        ("TRUNCATE", _) => aggregate(function, "trunc", arguments, None),
        _ => return Ok(None),
    };
    Ok(Some(new))
}

fn is_array(expr: &Expr) -> bool {
    match expr {
        Expr::Array(_) => true,
        Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case("make_array"),
        _ => false,
    }
}

fn unit_name(unit: &Expr) -> String {
    match unit {
        Expr::Identifier(ident) => ident.value.to_ascii_uppercase(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(unit) => unit.to_ascii_uppercase(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn ordered(function: &Function, name: &str, value: &Expr, time: Expr) -> Expr {
    aggregate(function, name, vec![value.clone()], Some(time))
}

/// The same call with another name and arguments; FILTER and OVER stay.
fn aggregate(function: &Function, name: &str, arguments: Vec<Expr>, order: Option<Expr>) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
        list.clauses = order
            .map(|expr| {
                FunctionArgumentClause::OrderBy(vec![OrderByExpr {
                    expr,
                    options: OrderByOptions { asc: None, nulls_first: None },
                    with_fill: None,
                }])
            })
            .into_iter()
            .collect();
    }
    Expr::Function(function)
}
