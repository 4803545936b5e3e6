//! One expression of Druid's SQL as the planner knows it: FLOOR … TO, EXTRACT, casts, and functions under other names.
//!
//! Casts to time, text and integers go through functions of the session, because Druid casts in the session's time zone
//! and counts time in milliseconds.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, DuplicateTreatment, Expr,
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, OrderByExpr, OrderByOptions, TrimWhereField, UnaryOperator, Value,
};

use datafusion::sql::sqlparser::ast::Interval;

use super::interval;
use crate::error::QueryError;
use crate::functions::period::Period;

/// Druid's functions that are rewritten here, and whether each makes one value of many.
pub const REWRITTEN: [(&str, bool); 20] = [
    ("ANY_VALUE", true),
    ("APPROX_COUNT_DISTINCT", true),
    ("APPROX_COUNT_DISTINCT_BUILTIN", true),
    ("APPROX_COUNT_DISTINCT_DS_HLL", true),
    ("APPROX_COUNT_DISTINCT_DS_THETA", true),
    ("APPROX_QUANTILE", true),
    ("APPROX_QUANTILE_DS", true),
    ("ARRAY_CONCAT_AGG", true),
    ("CURRENT_TIMESTAMP", false),
    ("DATE_TRUNC", false),
    ("EARLIEST", true),
    ("EARLIEST_BY", true),
    ("IFNULL", false),
    ("LATEST", true),
    ("LATEST_BY", true),
    ("LISTAGG", true),
    ("LOCALTIMESTAMP", false),
    ("NVL", false),
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
/// [`QueryError::Invalid`] for a form that Druid has not, or that we have not.
pub fn rewrite_expression(expr: &mut Expr) -> Result<(), QueryError> {
    let new = match expr {
        Expr::Floor { expr: inner, field } => rounded("floor", take(inner), field)?,
        Expr::Ceil { expr: inner, field } => rounded("ceil", take(inner), field)?,
        Expr::Extract { field, expr: inner, .. } => call("__extract", vec![take(inner), text(extracted(field)?)]),
        Expr::TypedString(typed) => {
            let value = literal(typed.value.value.clone());
            match typed.data_type {
                DataType::Timestamp(..) | DataType::Datetime(_) => call("__timestamp_literal", vec![value]),
                DataType::Date if is_day(&typed.value.value) => call("__date", vec![value]),
                DataType::Date => {
                    return Err(QueryError::invalid("Illegal DATE literal: not in format 'yyyy-MM-dd'"));
                }
                _ => return Err(QueryError::invalid("a literal of this type is not supported; use TIMESTAMP or DATE")),
            }
        }
        Expr::Cast { kind: CastKind::Cast, expr: inner, data_type, .. } => cast(take(inner), data_type)?,
        Expr::Cast { .. } => {
            return Err(QueryError::invalid(
                "TRY_CAST, SAFE_CAST and :: are not supported; use CAST, which gives NULL for a value of another form",
            ));
        }
        Expr::Value(value) => match &value.value {
            Value::UnicodeStringLiteral(plain) | Value::NationalStringLiteral(plain) => text(plain.clone()),
            other => {
                check_number(other)?;
                return Ok(());
            }
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }
            if matches!(right.as_ref(), Expr::Subquery(_)) =>
        {
            let Expr::Subquery(subquery) = take(right) else { return Ok(()) };
            Expr::InSubquery { expr: Box::new(take(left)), subquery, negated: false }
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right, .. }
            if matches!(right.as_ref(), Expr::Subquery(_)) =>
        {
            let Expr::Subquery(subquery) = take(right) else { return Ok(()) };
            Expr::InSubquery { expr: Box::new(take(left)), subquery, negated: true }
        }
        Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            return Err(QueryError::invalid("ANY and ALL are not supported here; use IN, or compare with MIN or MAX"));
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match inner.as_ref() {
            Expr::Value(value) if !is_zero(&value.value) => return Ok(()),
            // Druid reads minus zero as zero.
            Expr::Value(_) => take(inner),
            Expr::Interval(_) => return Ok(()),
            _ => call("__negative", vec![take(inner)]),
        },
        Expr::BinaryOp { left, op, right } => match binary(left, op, right)? {
            Some(new) => new,
            None => return Ok(()),
        },
        Expr::Interval(_) => return Ok(()),
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } => match like(expr)? {
            Some(new) => new,
            None => return Ok(()),
        },
        Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
            let mut arguments = vec![take(inner)];
            arguments.push(substring_from.take().map_or_else(|| number(1), |from| *from));
            arguments.extend(substring_for.take().map(|count| *count));
            call("substring", arguments)
        }
        Expr::Position { expr: inner, r#in } => call("position", vec![take(inner), take(r#in)]),
        Expr::Trim { trim_where, trim_what, expr: inner, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let mut arguments = vec![take(inner)];
            arguments.extend(trim_what.take().map(|what| *what));
            arguments.extend(trim_characters.take().unwrap_or_default());
            call(name, arguments)
        }
        Expr::Function(function) => match rewrite_call(function)? {
            Some(new) => new,
            None => return Ok(()),
        },
        Expr::AtTimeZone { .. } => {
            return Err(QueryError::invalid(
                "AT TIME ZONE is not supported; use TIME_FORMAT or TIME_FLOOR with a zone",
            ));
        }
        Expr::Overlay { .. } => return Err(QueryError::invalid("OVERLAY is not supported; use SUBSTRING and CONCAT")),
        _ => return Ok(()),
    };
    *expr = new;
    Ok(())
}

fn number(value: i64) -> Expr {
    literal(Value::Number(value.to_string(), false))
}

fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Number(digits, _) if digits.parse::<f64>() == Ok(0.0))
}

fn is_day(value: &Value) -> bool {
    matches!(value, Value::SingleQuotedString(text) if !text.contains([':', 'T', ' ']))
}

/// A number that no type holds is refused, not bent.
fn check_number(value: &Value) -> Result<(), QueryError> {
    let Value::Number(digits, _) = value else { return Ok(()) };
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    // The least BIGINT is written as the minus of one more than the greatest.
    let fits = if whole {
        digits.parse::<i128>().is_ok_and(|number| number <= i128::from(i64::MAX) + 1)
    } else {
        digits.parse::<f64>().is_ok_and(f64::is_finite)
    };
    if fits { Ok(()) } else { Err(QueryError::invalid(format!("Numeric literal '{digits}' out of range"))) }
}

fn rounded(name: &str, value: Expr, field: &CeilFloorKind) -> Result<Expr, QueryError> {
    match field {
        CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Ok(call(name, vec![value])),
        CeilFloorKind::DateTimeField(unit) => {
            let unit = unit.to_string().to_ascii_uppercase();
            if matches!(unit.as_str(), "DECADE" | "CENTURY" | "MILLENNIUM") {
                return Err(QueryError::invalid(format!("FLOOR and CEIL TO {unit} are not supported; use DATE_TRUNC")));
            }
            Ok(call(&format!("__{name}_to"), vec![value, text(unit_period(&unit)?)]))
        }
        CeilFloorKind::Scale(scale) => {
            Err(QueryError::invalid(format!("FLOOR to {scale} is not supported; use ROUND")))
        }
    }
}

fn extracted(field: &DateTimeField) -> Result<String, QueryError> {
    let unit = field.to_string().to_ascii_uppercase();
    if matches!(unit.as_str(), "MICROSECOND" | "MICROSECONDS" | "NANOSECOND") {
        return Err(QueryError::invalid(format!("EXTRACT({unit} …) is not supported; times have milliseconds")));
    }
    Ok(unit)
}

fn binary(left: &mut Box<Expr>, op: &BinaryOperator, right: &mut Box<Expr>) -> Result<Option<Expr>, QueryError> {
    let sign = match op {
        BinaryOperator::Plus => 1,
        BinaryOperator::Minus => -1,
        BinaryOperator::Divide => return Ok(Some(call("__divide", vec![take(left), take(right)]))),
        BinaryOperator::Modulo => return Ok(Some(call("mod", vec![take(left), take(right)]))),
        _ => return Ok(None),
    };
    if sign == 1 && matches!(left.as_ref(), Expr::Interval(_)) {
        std::mem::swap(left, right);
    }
    if sign == 1 && multiple(left).is_some() {
        std::mem::swap(left, right);
    }
    if let Some((interval, count)) = multiple(right) {
        let (months, millis) = interval::parts(interval)?;
        let times = |length: i64| Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(count.clone()))),
            op: BinaryOperator::Multiply,
            right: Box::new(signed(sign * length)),
        };
        return Ok(Some(call("__add", vec![take(left), times(months), times(millis)])));
    }
    let Expr::Interval(interval) = right.as_ref() else { return Ok(None) };
    let (months, millis) = interval::parts(interval)?;
    Ok(Some(call("__add", vec![take(left), signed(sign * months), signed(sign * millis)])))
}

/// An interval that is taken several times.
fn multiple(expr: &Expr) -> Option<(&Interval, &Expr)> {
    match expr {
        Expr::Nested(inner) => multiple(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Interval(interval), count) | (count, Expr::Interval(interval)) => Some((interval, count)),
            _ => None,
        },
        _ => None,
    }
}

fn signed(value: i64) -> Expr {
    let digits = literal(Value::Number(value.unsigned_abs().to_string(), false));
    if value < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits }
}

/// LIKE stays with the engine where both mean the same: with a constant pattern without a backslash.
fn like(expr: &mut Expr) -> Result<Option<Expr>, QueryError> {
    let Expr::Like { negated, any: false, expr: value, pattern, escape_char } = expr else {
        return Err(QueryError::invalid("ILIKE, SIMILAR TO and RLIKE are not supported; use LIKE or REGEXP_LIKE"));
    };
    let plain = matches!(pattern.as_ref(), Expr::Value(pattern) if matches!(&pattern.value, Value::SingleQuotedString(text) if !text.contains('\\')));
    if plain && escape_char.is_none() {
        return Ok(None);
    }
    let mut arguments = vec![take(value), take(pattern)];
    arguments.extend(escape_char.take().map(|escape| literal(escape.value)));
    let found = call("__like", arguments);
    Ok(Some(if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) } } else { found }))
}

fn cast(value: Expr, data_type: &DataType) -> Result<Expr, QueryError> {
    let name = match data_type {
        DataType::Timestamp(..) | DataType::Datetime(_) => "__timestamp",
        DataType::Date => "__date",
        DataType::Varchar(_) | DataType::Char(_) | DataType::CharVarying(_) | DataType::Text | DataType::String(_) => {
            "__varchar"
        }
        DataType::BigInt(_) => "__bigint",
        DataType::Integer(_) | DataType::Int(_) | DataType::SmallInt(_) | DataType::TinyInt(_) => "__integer",
        DataType::Double(_)
        | DataType::DoublePrecision
        | DataType::Real
        | DataType::Decimal(_)
        | DataType::Numeric(_)
        | DataType::Dec(_) => "__double",
        DataType::Float(_) => "__float",
        DataType::Boolean | DataType::Bool => "__boolean",
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, None)) => match item.as_ref() {
            DataType::Varchar(_) | DataType::Char(_) => "__cast_list_text",
            DataType::BigInt(_) | DataType::Integer(_) | DataType::Int(_) => "__cast_list_integer",
            DataType::Double(_) | DataType::Float(_) => "__cast_list_double",
            _ => {
                return Err(QueryError::invalid(
                    "an ARRAY of this type is not supported; use VARCHAR, BIGINT or DOUBLE",
                ));
            }
        },
        other => {
            return Err(QueryError::invalid(format!(
                "CAST AS {other} is not supported; use VARCHAR, BIGINT, DOUBLE, BOOLEAN, TIMESTAMP or DATE"
            )));
        }
    };
    Ok(call(name, vec![value]))
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
