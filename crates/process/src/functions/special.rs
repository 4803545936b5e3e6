//! What has a syntax of its own: EXTRACT, TRIM, SUBSTRING … FROM, LIKE, intervals, units of time as words, `a[0]`.
//!
//! Used by the binder. Invariant: each form becomes a call of the function that it stands for.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::lit;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Value};

use crate::functions::bind::{Binder, Bound, Refusal, Typed, arguments};
use crate::functions::calendar::SECOND_US;
use crate::functions::call::{call, values};
use crate::functions::kinds::entry_of;
use crate::functions::literals::text_value;
use crate::functions::making_times::{Step, plus, timestamp_add, timestamp_difference};
use crate::functions::{arrays, datetime, maps, regex, table};

/// Forms of the parser that stand for a function.
pub(crate) fn syntax(binder: &Binder<'_>, expr: &ast::Expr) -> Bound {
    use ast::Expr as E;
    match expr {
        E::Extract { field, expr, .. } => {
            let args = vec![text_value(&field.to_string()), binder.bind(expr)?];
            datetime::part_of(table::Calling::new("extract", args), 0, 1)
        }
        E::Ceil { expr: inner, field } => rounded(binder, "ceil", inner, field),
        E::Floor { expr: inner, field } => rounded(binder, "floor", inner, field),
        E::Position { expr: part, r#in } => {
            binder.function("position", vec![binder.bind(part)?, binder.bind(r#in)?], expr)
        }
        E::Substring { expr: inner, substring_from, substring_for, .. } => {
            let mut args = vec![binder.bind(inner)?];
            for part in [substring_from, substring_for].into_iter().flatten() {
                args.push(binder.bind(part)?);
            }
            binder.function("substring", args, expr)
        }
        E::Overlay { expr: inner, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![binder.bind(inner)?, binder.bind(overlay_what)?, binder.bind(overlay_from)?];
            args.extend(overlay_for.as_ref().map(|f| binder.bind(f)).transpose()?);
            binder.function("overlay", args, expr)
        }
        E::Trim { expr: inner, trim_where, trim_what, trim_characters } => {
            let mut args = vec![binder.bind(inner)?];
            args.extend(trim_what.as_ref().map(|w| binder.bind(w)).transpose()?);
            for character in trim_characters.iter().flatten() {
                args.push(binder.bind(character)?);
            }
            // `trim(a, b)` without FROM has the characters first.
            if trim_characters.is_some() && args.len() == 2 {
                args.swap(0, 1);
            }
            let (start, end) = match trim_where {
                Some(ast::TrimWhereField::Leading) => (true, false),
                Some(ast::TrimWhereField::Trailing) => (false, true),
                _ => (true, true),
            };
            crate::functions::strings::trim(table::Calling::new("trim", args), 0, start, end)
        }
        other => Err(Refusal::new(format!("{other} is not known here"), "docs/spark-functions.md lists what is")),
    }
}

fn rounded(binder: &Binder<'_>, name: &str, inner: &ast::Expr, field: &ast::CeilFloorKind) -> Bound {
    let mut args = vec![binder.bind(inner)?];
    match field {
        ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {}
        ast::CeilFloorKind::Scale(value) => args.push(crate::functions::literals::value(&value.value)?),
        ast::CeilFloorKind::DateTimeField(_) => {
            return Err(Refusal::new(format!("{name} has no unit of time"), "write date_trunc('HOUR', t)"));
        }
    }
    binder.function(name, args, inner)
}

/// LIKE and ILIKE; the flags are: negated, ANY, ignoring case.
pub(crate) fn like(
    binder: &Binder<'_>,
    (negated, any, ignore_case): (bool, bool, bool),
    expr: &ast::Expr,
    pattern: &ast::Expr,
    escape: Option<&ast::ValueWithSpan>,
) -> Bound {
    let escape = match escape.map(|e| &e.value) {
        None => '\\',
        Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => text.chars().next().unwrap_or('\\'),
        Some(_) => return Err(Refusal::new("the escape of LIKE is one character", "write ESCAPE '/'")),
    };
    let value = binder.bind(expr)?;
    let one = |pattern: &ast::Expr| {
        let found = like_values(value.clone(), binder.bind(pattern)?, escape, ignore_case)?.expr;
        Ok(if negated { datafusion::logical_expr::Expr::Not(Box::new(found)) } else { found })
    };
    let (patterns, all) = match quantified(pattern, any)? {
        Some(found) => found,
        None => (vec![pattern], false),
    };
    let found = patterns.into_iter().map(one).collect::<Result<Vec<_>, Refusal>>()?;
    let joined = found.into_iter().reduce(|a, b| if all { a.and(b) } else { a.or(b) });
    let none = || Refusal::new("LIKE ANY and LIKE ALL take patterns", "write LIKE ANY ('a%', 'b%')");
    joined.map(Typed::flag).ok_or_else(none)
}

/// The patterns after ANY, SOME or ALL, and whether all have to fit; the parser takes ALL and SOME for calls.
fn quantified(pattern: &ast::Expr, any: bool) -> Result<Option<(Vec<&ast::Expr>, bool)>, Refusal> {
    Ok(match pattern {
        ast::Expr::Tuple(patterns) if any => Some((patterns.iter().collect(), false)),
        ast::Expr::Nested(inner) if any => Some((vec![inner], false)),
        _ if any => Some((vec![pattern], false)),
        ast::Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            let known = matches!(name.as_str(), "all" | "some");
            if known { Some((arguments(call)?, name == "all")) } else { None }
        }
        _ => None,
    })
}

fn like_values(value: Typed, pattern: Typed, escape: char, ignore_case: bool) -> Bound {
    match pattern.literal() {
        Some(ScalarValue::Utf8View(Some(text))) => {
            let text = text.clone();
            regex::like(value, &text, escape, ignore_case)
        }
        Some(value) if value.is_null() => table::null(&DataType::Boolean),
        _ => regex::like_column(value, pattern, escape, ignore_case),
    }
}

/// Calls that are bound by their name and not by their values alone.
pub(crate) fn by_name(binder: &Binder<'_>, name: &str, call: &ast::Function) -> Option<Bound> {
    let args = match arguments(call) {
        Ok(args) => args,
        Err(_) if name == "count" => return None,
        Err(refusal) => return Some(Err(refusal)),
    };
    match (name, args.as_slice()) {
        ("timestampadd" | "dateadd" | "date_add", [unit, number, value]) => {
            Some(unit_call(binder, unit, number, value, timestamp_add))
        }
        ("timestampdiff" | "datediff" | "date_diff", [unit, from, to]) => {
            Some(unit_call(binder, unit, from, to, timestamp_difference))
        }
        ("like" | "ilike", [value, pattern]) => {
            Some(binder.bind(value).and_then(|v| like_values(v, binder.bind(pattern)?, '\\', name == "ilike")))
        }
        ("cast" | "try_cast", _) => Some(Err(Refusal::new("a cast names a type", "write CAST(x AS INT)"))),
        _ => None,
    }
}

fn unit_call(
    binder: &Binder<'_>,
    unit: &ast::Expr,
    first: &ast::Expr,
    second: &ast::Expr,
    make: fn(&str, Typed, Typed) -> Bound,
) -> Bound {
    let ast::Expr::Identifier(unit) = unit else {
        return Err(Refusal::new("the unit of time is a word", "write DAY, HOUR or MONTH without quotes"));
    };
    make(&unit.value, binder.bind(first)?, binder.bind(second)?)
}

/// A sum with an INTERVAL, when it is one.
pub(crate) fn interval_arithmetic(
    binder: &Binder<'_>,
    left: &ast::Expr,
    op: &BinaryOperator,
    right: &ast::Expr,
) -> Option<Bound> {
    let minus = *op == BinaryOperator::Minus;
    if !minus && *op != BinaryOperator::Plus {
        return None;
    }
    let (value, interval) = match (left, right) {
        (value, ast::Expr::Interval(interval)) => (value, interval),
        (ast::Expr::Interval(interval), value) if !minus => (value, interval),
        _ => return None,
    };
    Some(step(interval).and_then(|step| {
        let step = if minus { step.times(-1) } else { Some(step) };
        let step = step.ok_or_else(|| Refusal::new("this interval is too long", "write a shorter one"))?;
        plus(binder.bind(value)?, step)
    }))
}

/// A constant INTERVAL as a step.
fn step(interval: &ast::Interval) -> Result<Step, Refusal> {
    let bad = || Refusal::new("this form of INTERVAL is not known here", "write INTERVAL '1' DAY, with one unit");
    let text = match interval.value.as_ref() {
        ast::Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text.trim().to_owned(),
            _ => return Err(bad()),
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) | Value::Number(text, _) => format!("-{}", text.trim()),
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        },
        _ => return Err(bad()),
    };
    let unit = interval.leading_field.as_ref().ok_or_else(bad)?.to_string();
    if let Some(last) = &interval.last_field {
        return compound(&text, &unit, &last.to_string()).ok_or_else(bad);
    }
    let one = Step::unit(&unit).ok_or_else(bad)?;
    if let Some((whole, fraction)) = text.split_once('.') {
        return seconds(whole, fraction).filter(|_| unit.to_uppercase().starts_with("SECOND")).ok_or_else(bad);
    }
    let number: i64 = text.parse().map_err(|_| bad())?;
    one.times(number).ok_or_else(bad)
}

fn seconds(whole: &str, fraction: &str) -> Option<Step> {
    let negative = whole.starts_with('-');
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    let micros = whole.checked_mul(SECOND_US)?.checked_add(if negative { -micros } else { micros })?;
    Some(Step { micros, ..Step::default() })
}

/// `'1 02:03:04' DAY TO SECOND` and its shorter forms, and `'1-2' YEAR TO MONTH`.
fn compound(text: &str, first: &str, last: &str) -> Option<Step> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let sign = if negative { -1 } else { 1 };
    if first.eq_ignore_ascii_case("YEAR") && last.eq_ignore_ascii_case("MONTH") {
        let (years, months) = text.split_once('-')?;
        let months = years.parse::<i64>().ok()?.checked_mul(12)?.checked_add(months.parse().ok()?)?;
        return Step { months: 1, ..Step::default() }.times(sign * months);
    }
    let units = ["DAY", "HOUR", "MINUTE", "SECOND"];
    let from = units.iter().position(|u| first.eq_ignore_ascii_case(u))?;
    let to = units.iter().position(|u| last.eq_ignore_ascii_case(u))?;
    let pieces: Vec<&str> = text.split([' ', ':']).collect();
    if to <= from || pieces.len() != to - from + 1 {
        return None;
    }
    let mut made = Step::default();
    for (unit, piece) in units.get(from..=to)?.iter().zip(pieces) {
        let step = match piece.split_once('.') {
            Some((whole, fraction)) if *unit == "SECOND" => seconds(whole, fraction)?,
            _ => Step::unit(unit)?.times(piece.parse().ok()?)?,
        };
        made.days = made.days.checked_add(step.days)?;
        made.micros = made.micros.checked_add(step.micros)?;
    }
    made.times(sign)
}

/// `a[0]`, `m['key']`, `s.field`.
pub(crate) fn access(binder: &Binder<'_>, root: &ast::Expr, chain: &[ast::AccessExpr]) -> Bound {
    let mut found = binder.bind(root)?;
    for step in chain {
        found = match step {
            ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => field(found, &name.value)?,
            ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                let index = binder.bind(index)?;
                if entry_of(&found.kind).is_some() {
                    maps::value(table::Calling::new("element_at", vec![found, index]))?
                } else {
                    arrays::at(found, index)?
                }
            }
            _ => {
                return Err(Refusal::new("this way into a value is not known here", "write a[0], m['key'] or s.field"));
            }
        };
    }
    Ok(found)
}

/// A field of a struct.
pub(crate) fn field(value: Typed, name: &str) -> Bound {
    let DataType::Struct(fields) = &value.kind else {
        return Err(Refusal::new(
            format!("{name:?} is asked of a value that is no STRUCT"),
            "write table.column, or column",
        ));
    };
    let index = fields.iter().position(|f| f.name().eq_ignore_ascii_case(name));
    let Some((index, found)) = index.and_then(|i| fields.get(i).map(|f| (i, f))) else {
        return Err(Refusal::new(format!("the STRUCT has no field {name:?}"), "write one of its fields"));
    };
    let kind = found.data_type().clone();
    let made = values(move |args, row| match args.value(0, row)? {
        ScalarValue::Struct(row) if !ScalarValue::Struct(std::sync::Arc::clone(&row)).is_null() => {
            ScalarValue::try_from_array(row.column(index), 0)
        }
        _ => Ok(ScalarValue::Null),
    });
    let place = lit(i64::try_from(index).unwrap_or(0));
    Ok(Typed::new(call("field", kind.clone(), vec![value.expr, place], made), kind))
}
