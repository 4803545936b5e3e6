//! One expression of Druid's SQL as the planner knows it: FLOOR … TO, EXTRACT, casts, and functions under other names.
//!
//! Casts to time, text and integers go through functions of the session, because Druid casts in the session's time zone
//! and counts time in milliseconds.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, TrimWhereField, TypedString,
    UnaryOperator, Value,
};

use super::interval;
use super::rewrite_call::rewrite_call;
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
    if let Some(new) = rewritten(expr)? {
        *expr = new;
    }
    Ok(())
}

/// What takes the place of an expression, whose parts it then has; `None` where the expression stays.
fn rewritten(expr: &mut Expr) -> Result<Option<Expr>, QueryError> {
    let new = match expr {
        Expr::Floor { expr: inner, field } => rounded("floor", take(inner), field)?,
        Expr::Ceil { expr: inner, field } => rounded("ceil", take(inner), field)?,
        Expr::Extract { field, expr: inner, .. } => call("__extract", vec![take(inner), text(extracted(field)?)]),
        Expr::TypedString(typed) => typed_literal(typed)?,
        Expr::Cast { kind: CastKind::Cast, expr: inner, data_type, .. } => cast(take(inner), data_type)?,
        Expr::Value(value) => match &value.value {
            Value::UnicodeStringLiteral(plain) | Value::NationalStringLiteral(plain) => text(plain.clone()),
            other => return check_number(other).map(|()| None),
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }
            if matches!(right.as_ref(), Expr::Subquery(_)) =>
        {
            return Ok(in_subquery(left, right, false));
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right, .. }
            if matches!(right.as_ref(), Expr::Subquery(_)) =>
        {
            return Ok(in_subquery(left, right, true));
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match inner.as_ref() {
            Expr::Value(value) if !is_zero(&value.value) => return Ok(None),
            // Druid reads minus zero as zero.
            Expr::Value(_) => take(inner),
            Expr::Interval(_) => return Ok(None),
            _ => call("__negative", vec![take(inner)]),
        },
        Expr::BinaryOp { left, op, right } => return binary(left, op, right),
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } => return like(expr),
        Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
            let mut arguments = vec![take(inner)];
            arguments.push(substring_from.take().map_or_else(|| number(1), |from| *from));
            arguments.extend(substring_for.take().map(|count| *count));
            call("substring", arguments)
        }
        Expr::Position { expr: inner, r#in } => call("position", vec![take(inner), take(r#in)]),
        Expr::Trim { trim_where, trim_what, expr: inner, trim_characters } => {
            let mut arguments = vec![take(inner)];
            arguments.extend(trim_what.take().map(|what| *what));
            arguments.extend(trim_characters.take().unwrap_or_default());
            call(trim_function(trim_where.as_ref()), arguments)
        }
        Expr::Function(function) => return rewrite_call(function),
        other => return not_known(other).map_or(Ok(None), |reason| Err(QueryError::invalid(reason))),
    };
    Ok(Some(new))
}

/// Why a form is refused that Druid or its dialect here does not have.
fn not_known(expr: &Expr) -> Option<&'static str> {
    Some(match expr {
        Expr::Cast { .. } => {
            "TRY_CAST, SAFE_CAST and :: are not supported; use CAST, which gives NULL for a value of another form"
        }
        Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            "ANY and ALL are not supported here; use IN, or compare with MIN or MAX"
        }
        Expr::AtTimeZone { .. } => "AT TIME ZONE is not supported; use TIME_FORMAT or TIME_FLOOR with a zone",
        Expr::Overlay { .. } => "OVERLAY is not supported; use SUBSTRING and CONCAT",
        _ => return None,
    })
}

fn typed_literal(typed: &TypedString) -> Result<Expr, QueryError> {
    let value = literal(typed.value.value.clone());
    match typed.data_type {
        DataType::Timestamp(..) | DataType::Datetime(_) => Ok(call("__timestamp_literal", vec![value])),
        DataType::Date if is_day(&typed.value.value) => Ok(call("__date", vec![value])),
        DataType::Date => Err(QueryError::invalid("Illegal DATE literal: not in format 'yyyy-MM-dd'")),
        _ => Err(QueryError::invalid("a literal of this type is not supported; use TIMESTAMP or DATE")),
    }
}

/// `= ANY (SELECT …)` and `<> ALL (SELECT …)` as IN and NOT IN.
fn in_subquery(left: &mut Expr, right: &mut Expr, negated: bool) -> Option<Expr> {
    let Expr::Subquery(subquery) = take(right) else { return None };
    Some(Expr::InSubquery { expr: Box::new(take(left)), subquery, negated })
}

fn trim_function(side: Option<&TrimWhereField>) -> &'static str {
    match side {
        Some(TrimWhereField::Leading) => "ltrim",
        Some(TrimWhereField::Trailing) => "rtrim",
        _ => "btrim",
    }
}

pub(super) fn number(value: i64) -> Expr {
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

pub(super) fn unit_period(unit: &str) -> Result<String, QueryError> {
    Period::of_unit(unit).map(str::to_owned).ok_or_else(|| {
        QueryError::invalid(format!(
            "'{unit}' is not a unit of time; use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
        ))
    })
}
