//! The standard's metrics as rules: on a row where no row may break them, else as a count over a set.
//!
//! What they count is decided here and said in `docs/contracts.md`: a null is missing and never invalid; every row of a
//! group of duplicates is counted, and a null makes no duplicate. Invariant: values are compared as their column's type.

use super::columns::Columns;
use super::quality::{Made, Rule};
use super::sql::{column_name, count, quoted};
use super::{Context, pattern};
use crate::contract::{Column, ColumnType};
use crate::rule::{Check, Measure};
use crate::yaml::{Node, Value};

/// The metric that a name of any version of the standard means.
pub(super) fn metric_of(written: &str) -> Option<&'static str> {
    Some(match written {
        "rowCount" => "rowCount",
        "duplicateValues" | "duplicateCount" | "duplicatePercent" => "duplicateValues",
        "nullValues" | "nullCheck" | "nullCount" | "nullPercent" => "nullValues",
        "missingValues" | "missingCount" | "missingPercent" => "missingValues",
        "invalidValues" | "invalidCount" | "invalidPercent" | "validValues" => "invalidValues",
        _ => return None,
    })
}

/// Rules of 3.0.x that need no comparison: no value may break them.
pub(super) fn needs_no_comparison(written: &str) -> bool {
    matches!(written, "nullCheck" | "validValues")
}

impl Context<'_> {
    pub(super) fn metric(&mut self, rule: &Rule<'_>, metric: &str, columns: &Columns) -> Option<Made> {
        if rule.allows_no_count() {
            let message = "no count can be as this rule wants it";
            self.error(rule.place, "never-holds", message, "write a number that a count can have");
            return None;
        }
        match metric {
            "rowCount" if rule.percent => {
                self.error(rule.place, "not-allowed", "a row count has no percentage", "set `unit: rows`");
                None
            }
            "rowCount" => Some(Made::Set(Measure::RowCount)),
            "duplicateValues" => self.duplicates(rule, columns),
            "nullValues" => {
                let index = self.one_column(rule, columns)?;
                if rule.allows_only_zero() {
                    return Some(Made::Row(Check::Required, Some(index)));
                }
                let name = column_name(&columns.columns.get(index)?.name);
                Some(Made::Set(match rule.percent {
                    true => count(&format!("{name} IS NULL"), true),
                    false => Measure::NullValues(index),
                }))
            }
            "missingValues" => self.missing(rule, columns),
            "invalidValues" => self.invalid(rule, columns),
            _ => None,
        }
    }

    fn duplicates(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let named = self.named_columns(rule, columns)?;
        if !rule.percent {
            return Some(Made::Set(Measure::DuplicateValues(named)));
        }
        let names: Vec<String> =
            named.iter().filter_map(|index| columns.columns.get(*index)).map(|c| column_name(&c.name)).collect();
        let whole: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
        let (names, whole) = (names.join(", "), whole.join(" AND "));
        Some(Made::Set(Measure::Sql(format!(
            "SELECT COALESCE(100.0 * SUM(CASE WHEN _rows > 1 AND {whole} THEN _rows ELSE 0 END) / NULLIF(SUM(_rows), 0), 0) FROM \
             (SELECT {names}, COUNT(*) AS _rows FROM {{object}} GROUP BY {names}) AS g"
        ))))
    }

    /// Nulls, and the values that stand for nothing.
    fn missing(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let index = self.one_column(rule, columns)?;
        let column = columns.columns.get(index)?;
        let name = column_name(&column.name);
        let values = literals(column, rule.arguments("missingValues"));
        if values.is_empty() && rule.allows_only_zero() {
            return Some(Made::Row(Check::Required, Some(index)));
        }
        let predicate = match values.is_empty() {
            true => format!("{name} IS NULL"),
            false => format!("{name} IS NULL OR {} IN ({})", comparable(column), values.join(", ")),
        };
        Some(match rule.allows_only_zero() {
            true => Made::Row(Check::NotSql(predicate), Some(index)),
            false => Made::Set(count(&predicate, rule.percent)),
        })
    }

    /// Values that are not among the valid ones, or do not match the pattern.
    fn invalid(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let index = self.one_column(rule, columns)?;
        let column = columns.columns.get(index)?;
        let values = rule.arguments("validValues");
        let written =
            rule.node.get("arguments").and_then(|a| a.get("pattern")).and_then(|n| Some((n.text()?, n.place)));
        let regex = match written.map(|(text, place)| (pattern::compile(text), place)) {
            None => None,
            Some((Ok(regex), _)) => Some(regex),
            Some((Err(reason), place)) => {
                let message = format!("the pattern is not understood: {reason}");
                let help = "write it in ECMA 262 without look-around and back-references";
                self.error(place, "bad-pattern", message, help);
                return None;
            }
        };
        let allowed = literals(column, values);
        match (values.is_empty(), &regex) {
            (true, None) => {
                let message = "invalidValues needs to know what is valid";
                let help = "add `arguments:` with `validValues: […]` or `pattern:`";
                self.error(rule.place, "no-arguments", message, help);
                return None;
            }
            (false, _) if allowed.is_empty() => {
                let message = format!("none of the valid values is one of the type of `{}`", column.name);
                self.error(rule.place, "wrong-type", message, "write values of the column's type");
                return None;
            }
            (false, None) if rule.allows_only_zero() => {
                return Some(Made::Row(Check::OneOf(texts(values)), Some(index)));
            }
            (true, Some(regex)) if rule.allows_only_zero() => {
                return Some(Made::Row(Check::Pattern(regex.clone()), Some(index)));
            }
            _ => {}
        }
        let mut forbidden = Vec::new();
        if !allowed.is_empty() {
            forbidden.push(format!("{} NOT IN ({})", comparable(column), allowed.join(", ")));
        }
        if let Some(regex) = regex {
            forbidden.push(format!("NOT regexp_like({}, {})", column_name(&column.name), quoted(regex.as_str())));
        }
        let predicate = forbidden.join(" OR ");
        Some(match rule.allows_only_zero() {
            true => Made::Row(Check::NotSql(predicate), Some(index)),
            false => Made::Set(count(&predicate, rule.percent)),
        })
    }
}

/// The column as it is compared with literals: numbers and booleans as they are, times as their text.
fn comparable(column: &Column) -> String {
    let name = column_name(&column.name);
    match column.kind {
        ColumnType::Date(_) | ColumnType::Timestamp(_) => format!("CAST({name} AS STRING)"),
        _ => name,
    }
}

/// Values as literals of the column's type; what is none of that type is no value that the column could have.
fn literals(column: &Column, values: &[Node]) -> Vec<String> {
    let number = |node: &Node| match &node.value {
        Value::Text(text) => text.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(|_| text.trim().to_owned()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Real(value) => Some(value.to_string()),
        _ => None,
    };
    let literal = |node: &Node| match &column.kind {
        ColumnType::Long | ColumnType::Int | ColumnType::Double | ColumnType::Float => number(node),
        ColumnType::Boolean => {
            text_of(node).map(|text| text.to_lowercase()).filter(|text| matches!(text.as_str(), "true" | "false"))
        }
        _ => text_of(node).map(|text| quoted(&text)),
    };
    values.iter().filter_map(literal).collect()
}

fn texts(values: &[Node]) -> Vec<String> {
    values.iter().filter_map(text_of).collect()
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Real(value) => Some(value.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}
