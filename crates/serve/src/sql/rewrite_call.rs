//! A call of a function of Druid's as the planner knows it: under another name, or as an expression.
//!
//! Invariant: a call that is not rewritten stays as it was written.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions, Value,
};

use super::rewrite_function::{call, number, text};
use crate::error::QueryError;
use crate::functions::period::Period;

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

pub(super) fn rewrite_call(function: &mut Function) -> Result<Option<Expr>, QueryError> {
    let name = function.name.to_string().trim_matches('"').to_ascii_uppercase();
    if matches!(function.args, FunctionArguments::None)
        && matches!(name.as_str(), "LOCALTIMESTAMP" | "CURRENT_TIMESTAMP")
    {
        return Ok(Some(call("now", vec![])));
    }
    let Some(arguments) = arguments(function) else { return Ok(None) };
    let new = match (name.as_str(), arguments.as_slice()) {
        ("TIMESTAMPADD", [unit, count, time]) => added(&unit_name(unit), count, time)?,
        ("TIMESTAMPDIFF", [unit, from, to]) => {
            call("__timestampdiff", vec![text(unit_name(unit)), from.clone(), to.clone()])
        }
        ("DATE_TRUNC", [unit, time]) => truncated(&unit_name(unit), time)?,
        ("JSON_VALUE", [document, path, returning]) => json_value(document, path, returning)?,
        ("IFNULL" | "NVL", [value, other]) => call("coalesce", vec![value.clone(), other.clone()]),
        ("SUM" | "AVG" | "STDDEV" | "STDDEV_POP" | "STDDEV_SAMP" | "VARIANCE" | "VAR_POP" | "VAR_SAMP", [value]) => {
            aggregate(function, &name.to_ascii_lowercase(), vec![call("__number", vec![value.clone()])], None)
        }
        ("MIN", [value]) => extreme(function, "min", "__least_key", value),
        ("MAX", [value]) => extreme(function, "max", "__greatest_key", value),
        ("LOCALTIMESTAMP" | "CURRENT_TIMESTAMP", []) => call("now", vec![]),
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
        ("STRING_AGG" | "LISTAGG", [value, between, ..]) => {
            let value = call("__varchar", vec![value.clone()]);
            aggregate(function, "string_agg", vec![value.clone(), between.clone()], sorted(function, &value))
        }
        ("ARRAY_AGG", [value, ..]) => aggregate(function, "array_agg", vec![value.clone()], sorted(function, value)),
        ("ARRAY_CONCAT_AGG", [value, ..]) => {
            call("flatten", vec![aggregate(function, "array_agg", vec![value.clone()], None)])
        }
        _ => return Ok(None),
    };
    Ok(Some(new))
}

/// MIN and MAX over the keys of floating point; other types pass through.
fn extreme(function: &Function, name: &str, key: &str, value: &Expr) -> Expr {
    call("__of_key", vec![aggregate(function, name, vec![call(key, vec![value.clone()])], None)])
}

/// Distinct values come in their order.
fn sorted(function: &Function, value: &Expr) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    (list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && function.over.is_none()).then(|| value.clone())
}

fn added(unit: &str, count: &Expr, time: &Expr) -> Result<Expr, QueryError> {
    let times = |length: i64| Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(count.clone()))),
        op: BinaryOperator::Multiply,
        right: Box::new(number(length)),
    };
    let (months, millis) = match unit {
        "MILLISECOND" => (0, 1),
        "SECOND" => (0, 1000),
        "MINUTE" => (0, 60_000),
        "HOUR" => (0, 3_600_000),
        "DAY" => (0, 86_400_000),
        "WEEK" => (0, 7 * 86_400_000),
        "MONTH" => (1, 0),
        "QUARTER" => (3, 0),
        "YEAR" => (12, 0),
        _ => {
            return Err(QueryError::invalid(format!(
                "'{unit}' is not a valid time frame of TIMESTAMPADD; use DAY, MONTH, …"
            )));
        }
    };
    Ok(call("__add", vec![time.clone(), times(months), times(millis)]))
}

/// DATE_TRUNC takes the units of PostgreSQL.
fn truncated(unit: &str, time: &Expr) -> Result<Expr, QueryError> {
    let single = unit.strip_suffix('S').filter(|unit| Period::of_unit(unit).is_some());
    match unit {
        "MILLISECOND" | "MILLISECONDS" | "MICROSECOND" | "MICROSECONDS" => {
            return Ok(call("__timestamp", vec![time.clone()]));
        }
        "CENTURIES" => return Ok(call("__floor_to", vec![time.clone(), text("P100Y")])),
        _ => {}
    }
    let period = Period::of_unit(single.unwrap_or(unit)).ok_or_else(|| {
        QueryError::invalid(format!(
            "Operator[DATE_TRUNC] cannot truncate to[{unit}]; use 'hour', 'day', 'week', 'month', …"
        ))
    })?;
    Ok(call("__floor_to", vec![time.clone(), text(period)]))
}

fn json_value(document: &Expr, path: &Expr, returning: &Expr) -> Result<Expr, QueryError> {
    let arguments = vec![document.clone(), path.clone()];
    Ok(match unit_name(returning).as_str() {
        "VARCHAR" | "CHAR" => call("json_value", arguments),
        "BIGINT" | "INTEGER" => call("__json_value_bigint", arguments),
        "DOUBLE" | "FLOAT" | "DECIMAL" | "REAL" => call("__json_value_double", arguments),
        "BOOLEAN" => call("__json_value_boolean", arguments),
        "VARCHAR ARRAY" => call("__json_value_texts", arguments),
        "BIGINT ARRAY" => call("__cast_list_integer", vec![call("__json_value_texts", arguments)]),
        "DOUBLE ARRAY" => call("__cast_list_double", vec![call("__json_value_texts", arguments)]),
        other => {
            return Err(QueryError::invalid(format!(
                "JSON_VALUE … RETURNING {other} is not supported; return VARCHAR, BIGINT, DOUBLE or BOOLEAN, and CAST it"
            )));
        }
    })
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

/// The value of the first or last row that has a time.
fn ordered(function: &Function, name: &str, value: &Expr, time: Expr) -> Expr {
    let mut function = function.clone();
    let has_time = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(time.clone()))));
    function.filter = Some(Box::new(match function.filter.take() {
        Some(filter) => {
            Expr::BinaryOp { left: Box::new(Expr::Nested(filter)), op: BinaryOperator::And, right: Box::new(has_time) }
        }
        None => has_time,
    }));
    aggregate(&function, name, vec![value.clone()], Some(time))
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
