//! A chart's question as Druid's SQL: what its picture is made of, for checks, for comparisons and for other readers.
//!
//! Invariant: every name is quoted, and what a user wrote in SQL stands in parentheses on lines of its own, so that a
//! position in an error's text can be led back to it.

use super::{Chart, Form, MeasureSet, TIME, time_of};
use crate::contract::Contract;

/// A stretch of time: from the first on, before the second, as `2026-01-01T00:00:00Z`.
pub type Between<'a> = Option<(&'a str, &'a str)>;

/// What a chart asks of `druid.DATASET`. A name that stands for nothing is left as it is written.
#[must_use]
pub fn query(chart: &Chart, set: Option<&MeasureSet>, contract: &Contract, between: Between<'_>) -> String {
    let dimensions = chart.form.dimensions();
    let mut selected: Vec<String> = dimensions
        .iter()
        .map(|name| format!("{} AS {}", dimension(name, chart, set, contract), label(name, contract)))
        .collect();
    for name in chart.form.measures() {
        let sql = set.and_then(|set| set.measure(name)).map_or_else(|| quoted(name), |measure| within(&measure.sql));
        selected.push(format!("{sql} AS {}", quoted(name)));
    }
    let mut text = format!("SELECT {}\nFROM druid.{}", selected.join(", "), quoted(chart.dataset.as_str()));
    let conditions = conditions(chart, contract, between);
    if !conditions.is_empty() {
        text.push_str(&format!("\nWHERE {}", conditions.join(" AND ")));
    }
    let is_raw = matches!(chart.form, Form::Rows { .. });
    if !is_raw && !dimensions.is_empty() {
        let groups: Vec<String> = dimensions.iter().map(|name| dimension(name, chart, set, contract)).collect();
        text.push_str(&format!("\nGROUP BY {}", groups.join(", ")));
    }
    if let Some(order) = order(chart, contract) {
        text.push_str(&format!("\nORDER BY {order}"));
    }
    text.push_str(&format!("\nLIMIT {}", chart.limit()));
    text
}

/// A query that can be planned exactly when a text is an aggregate over a dataset's rows.
#[must_use]
pub fn measure_check(contract: &Contract, sql: &str) -> String {
    format!("SELECT COUNT(*) AS n, {} AS m\nFROM druid.{}", within(sql), quoted(contract.dataset.as_str()))
}

/// A query that can be planned exactly when a text is a value of a dataset's row.
#[must_use]
pub fn dimension_check(contract: &Contract, sql: &str) -> String {
    format!("SELECT {} AS d\nFROM druid.{}", within(sql), quoted(contract.dataset.as_str()))
}

/// A query that can be planned exactly when a text is a condition on a dataset's rows.
#[must_use]
pub fn condition_check(contract: &Contract, sql: &str) -> String {
    format!("SELECT COUNT(*) AS n\nFROM druid.{}\nWHERE {}", quoted(contract.dataset.as_str()), within(sql))
}

/// The label of a dimension in an answer: time has its column's name in SQL.
fn label(name: &str, contract: &Contract) -> String {
    match time_of(contract) {
        Some(time) if name == TIME => quoted(time.sql_name),
        _ => quoted(name),
    }
}

fn dimension(name: &str, chart: &Chart, set: Option<&MeasureSet>, contract: &Contract) -> String {
    if name == TIME
        && let Some(time) = time_of(contract)
    {
        let column = quoted(time.sql_name);
        // The rows of a table that groups nothing keep their moments.
        return match chart.form {
            Form::Rows { .. } => column,
            _ => format!("TIME_FLOOR(CAST({column} AS TIMESTAMP), '{}')", chart.grain.unwrap_or(time.grain).iso()),
        };
    }
    let computed = set.and_then(|set| set.dimension(name)).and_then(|dimension| dimension.sql.as_deref());
    computed.map_or_else(|| quoted(name), within)
}

fn conditions(chart: &Chart, contract: &Contract, between: Between<'_>) -> Vec<String> {
    let mut conditions = Vec::new();
    if let (Some((from, to)), Some(time)) = (between, time_of(contract)) {
        let moment = format!("CAST({} AS TIMESTAMP)", quoted(time.sql_name));
        conditions.push(format!("{moment} >= TIME_PARSE('{from}') AND {moment} < TIME_PARSE('{to}')"));
    }
    conditions.extend(chart.only.as_deref().map(within));
    conditions
}

fn order(chart: &Chart, contract: &Contract) -> Option<String> {
    if let Some(sort) = &chart.sort {
        return Some(format!("{} {}", quoted(&sort.measure), if sort.descending { "DESC" } else { "ASC" }));
    }
    let dimensions = chart.form.dimensions();
    match chart.form {
        Form::Rows { .. } => None,
        _ if dimensions.first() == Some(&TIME) => Some(format!("{} ASC", label(TIME, contract))),
        _ if dimensions.is_empty() => None,
        _ => chart.form.measures().first().map(|measure| format!("{} DESC", quoted(measure))),
    }
}

fn within(sql: &str) -> String {
    format!("(\n{sql}\n)")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
