//! A chart's question in SQL of our own, and whether two answers to it are one.
//!
//! Made from the chart's saved question and the dataset's measures, not from the SQL that Superset writes; only what the
//! words of a period mean now is taken from its answer. Invariant: a question that cannot be put wholly is not put at all.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Map, Value as Json};

use super::client::ChartData;
use super::plan::Asset;

/// How far two numbers may be apart, as a part of the larger: sums in another order differ in their last digits.
const TOLERANCE: f64 = 1e-9;

/// A question to the project's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The SQL; its columns are the dimensions, then the measures.
    pub sql: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// How many of them are dimensions.
    pub dimensions: usize,
    /// How many rows the chart asks for at most.
    pub limit: Option<usize>,
}

/// The chart's saved question without what Superset does to the rows afterwards, for a dataset's number there.
#[must_use]
pub fn plain_context(chart: &Asset, dataset_id: i64) -> Option<Json> {
    let mut context: Json = match chart.body.get("query_context")? {
        Json::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    *context.pointer_mut("/datasource/id")? = dataset_id.into();
    context.as_object_mut()?.insert("force".into(), true.into());
    context.as_object_mut()?.remove("form_data");
    for query in context.get_mut("queries")?.as_array_mut()? {
        query.as_object_mut()?.insert("post_processing".into(), Json::Array(Vec::new()));
    }
    Some(context)
}

/// The question of a chart's context; nothing where it asks for something that this does not put into words.
#[must_use]
pub fn question(context: &Json, dataset: &Asset, data: &ChartData) -> Option<Question> {
    let query = context.pointer("/queries/0")?;
    let writer = Writer { dataset, data };
    let list = |key: &str| query.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let dimensions: Vec<Named> = list("columns").iter().map(|column| writer.column(column)).collect::<Option<_>>()?;
    let measures: Vec<Named> = list("metrics").iter().map(|metric| writer.measure(metric)).collect::<Option<_>>()?;
    let mut conditions: Vec<String> =
        list("filters").iter().map(|filter| writer.condition(filter)).collect::<Option<Vec<_>>>()?;
    let words = query.pointer("/extras/where").and_then(Json::as_str).filter(|words| !words.trim().is_empty());
    conditions.extend(words.map(|words| format!("({words})")));
    conditions.retain(|condition| !condition.is_empty());
    let selected = dimensions.iter().chain(&measures).map(|(label, sql)| format!("{sql} AS {}", quoted(label)));
    let selected: Vec<String> = selected.collect();
    if selected.is_empty() {
        return None;
    }
    let text = |key: &str| dataset.body.get(key).and_then(Json::as_str);
    let mut sql =
        format!("SELECT {} FROM {}.{}", selected.join(", "), quoted(text("schema")?), quoted(text("table_name")?));
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    if !measures.is_empty() && !dimensions.is_empty() {
        let grouped: Vec<&str> = dimensions.iter().map(|(_, sql)| sql.as_str()).collect();
        sql.push_str(&format!(" GROUP BY {}", grouped.join(", ")));
    }
    let limit = query.get("row_limit").and_then(Json::as_u64).filter(|limit| *limit > 0);
    let raw = measures.is_empty();
    Some(Question {
        sql,
        columns: dimensions.iter().chain(&measures).map(|(label, _)| label.clone()).collect(),
        dimensions: if raw { selected.len() } else { dimensions.len() },
        limit: limit.and_then(|limit| usize::try_from(limit).ok()),
    })
}

/// A label and its SQL.
type Named = (String, String);

struct Writer<'a> {
    dataset: &'a Asset,
    data: &'a ChartData,
}

impl Writer<'_> {
    fn named(&self, list: &str, key: &str, name: &str) -> Option<&Json> {
        let items = self.dataset.body.get(list)?.as_array()?;
        items.iter().find(|item| item.get(key).and_then(Json::as_str) == Some(name))
    }

    fn column_sql(&self, name: &str) -> String {
        let expression =
            self.named("columns", "column_name", name).and_then(|column| column.get("expression")?.as_str());
        expression.filter(|sql| !sql.is_empty()).map_or_else(|| quoted(name), |sql| format!("({sql})"))
    }

    fn column(&self, column: &Json) -> Option<Named> {
        if let Some(name) = column.as_str() {
            return Some((name.to_owned(), self.column_sql(name)));
        }
        let text = |key: &str| column.get(key).and_then(Json::as_str);
        let (label, sql) = (text("label")?.to_owned(), self.column_sql(text("sqlExpression")?));
        Some((
            label,
            text("timeGrain").map_or(sql.clone(), |grain| format!("TIME_FLOOR(CAST({sql} AS TIMESTAMP), '{grain}')")),
        ))
    }

    fn measure(&self, metric: &Json) -> Option<Named> {
        if let Some(name) = metric.as_str() {
            let sql = self.named("metrics", "metric_name", name)?.get("expression")?.as_str()?;
            return Some((name.to_owned(), sql.to_owned()));
        }
        let text = |key: &str| metric.get(key).and_then(Json::as_str);
        Some((text("label")?.to_owned(), text("sqlExpression")?.to_owned()))
    }

    /// A condition; empty where it says nothing.
    fn condition(&self, filter: &Json) -> Option<String> {
        let name = filter.get("col")?.as_str()?;
        let column = self.column_sql(name);
        let value = filter.get("val");
        match filter.get("op")?.as_str()? {
            "TEMPORAL_RANGE" => {
                // Superset asks for whole days where the column has days: up to today, which is not among them.
                let of_column =
                    self.named("columns", "column_name", name).and_then(|column| column.get("type")?.as_str());
                let bound = |sign: &str, ms: Option<i64>| {
                    let at = DateTime::from_timestamp_millis(ms?)?;
                    Some(match of_column {
                        Some("DATE") => format!("{column} {sign} DATE '{}'", at.format("%Y-%m-%d")),
                        _ => format!(
                            "CAST({column} AS TIMESTAMP) {sign} TIMESTAMP '{}'",
                            at.format("%Y-%m-%d %H:%M:%S%.3f")
                        ),
                    })
                };
                let bounds = [bound(">=", self.data.from_ms), bound("<", self.data.to_ms)];
                Some(bounds.into_iter().flatten().collect::<Vec<_>>().join(" AND "))
            }
            op @ ("==" | "!=" | ">" | "<" | ">=" | "<=") => {
                Some(format!("{column} {} {}", if op == "==" { "=" } else { op }.replace("!=", "<>"), literal(value?)?))
            }
            op @ ("IN" | "NOT IN") => {
                let values: Option<Vec<String>> = value?.as_array()?.iter().map(literal).collect();
                Some(format!("{column} {op} ({})", values?.join(", ")))
            }
            "IS NULL" => Some(format!("{column} IS NULL")),
            "IS NOT NULL" => Some(format!("{column} IS NOT NULL")),
            _ => None,
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(format!("'{}'", text.replace('\'', "''"))),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether the rows that Superset has are those of our own answer; else what differs, without any value.
///
/// # Errors
/// In words: how many rows, or which measure.
pub fn same(question: &Question, theirs: &[Map<String, Json>], ours: &[Vec<Json>]) -> Result<(), String> {
    let cut = question.limit.is_some_and(|limit| theirs.len() >= limit && ours.len() > limit);
    if theirs.len() != ours.len() && !cut {
        return Err(format!("{} rows, and {} by our own SQL", theirs.len(), ours.len()));
    }
    let mut known: BTreeMap<String, Vec<&[Json]>> = BTreeMap::new();
    for row in ours {
        let (key, measures) = row.split_at(question.dimensions.min(row.len()));
        known.entry(key_of(key.iter())).or_default().push(measures);
    }
    for row in theirs {
        let value = |name: &String| row.get(name).unwrap_or(&Json::Null);
        let (dimensions, measures) = question.columns.split_at(question.dimensions.min(question.columns.len()));
        let found = known.get_mut(&key_of(dimensions.iter().map(value))).and_then(Vec::pop);
        let found = found.ok_or("a row that our own SQL has not")?;
        for (name, ours) in measures.iter().zip(found) {
            if !is_equal(value(name), ours) {
                return Err(format!("other values of {name} than our own SQL"));
            }
        }
    }
    Ok(())
}

fn key_of<'a>(values: impl Iterator<Item = &'a Json>) -> String {
    values.map(|value| plain(value).to_string()).collect::<Vec<_>>().join("\u{1f}")
}

/// A value without its form: a time as milliseconds, a number as a real one.
fn plain(value: &Json) -> Json {
    let time = value.as_str().filter(|text| text.len() >= 10).and_then(|text| {
        let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_millis());
        parsed
            .ok()
            .or_else(|| Some(format!("{text}T00:00:00Z").parse::<DateTime<chrono::Utc>>().ok()?.timestamp_millis()))
    });
    match time {
        Some(ms) => Json::from(ms as f64),
        None => value.as_f64().map_or_else(|| value.clone(), Json::from),
    }
}

fn is_equal(one: &Json, other: &Json) -> bool {
    match (plain(one).as_f64(), plain(other).as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()),
        _ => plain(one) == plain(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::superset::bundle::AssetKind;

    fn dataset() -> Asset {
        let body = json!({
            "schema": "druid", "table_name": "hourly",
            "columns": [{"column_name": "site"}, {"column_name": "old", "expression": "age > 65"}],
            "metrics": [{"metric_name": "avg_bpm", "expression": "SUM(s) / SUM(n)"}],
        });
        Asset { kind: AssetKind::Dataset, uuid: uuid::Uuid::nil(), name: "hourly".into(), path: String::new(), body }
    }

    #[test]
    fn a_chart_is_put_into_sql_of_our_own() {
        let context = json!({"queries": [{
            "columns": [{"columnType": "BASE_AXIS", "timeGrain": "PT1H", "sqlExpression": "__time", "label": "__time"}, "site", "old"],
            "metrics": ["avg_bpm"], "row_limit": 100, "extras": {"where": "n > 3"},
            "filters": [{"col": "__time", "op": "TEMPORAL_RANGE", "val": "Last week"}, {"col": "site", "op": "IN", "val": ["a", "b'c"]}],
        }]});
        let data = ChartData { from_ms: Some(0), to_ms: Some(1_000), ..ChartData::default() };
        let question = question(&context, &dataset(), &data).unwrap();
        assert_eq!(
            question.sql,
            "SELECT TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H') AS \"__time\", \"site\" AS \"site\", (age > 65) AS \"old\", \
             SUM(s) / SUM(n) AS \"avg_bpm\" FROM \"druid\".\"hourly\" WHERE CAST(\"__time\" AS TIMESTAMP) >= TIMESTAMP \
             '1970-01-01 00:00:00.000' AND CAST(\"__time\" AS TIMESTAMP) < TIMESTAMP '1970-01-01 00:00:01.000' AND \"site\" IN \
             ('a', 'b''c') AND (n > 3) GROUP BY TIME_FLOOR(CAST(\"__time\" AS TIMESTAMP), 'PT1H'), \"site\", (age > 65)"
        );
        assert_eq!((question.dimensions, question.limit), (3, Some(100)));
    }

    #[test]
    fn days_are_asked_for_by_day() {
        let context = json!({"queries": [{
            "columns": ["day"], "metrics": ["n"], "filters": [{"col": "day", "op": "TEMPORAL_RANGE", "val": "Last 14 days"}],
        }]});
        let mut dataset = dataset();
        dataset.body["columns"] = json!([{"column_name": "day", "type": "DATE"}]);
        dataset.body["metrics"] = json!([{"metric_name": "n", "expression": "COUNT(*)"}]);
        let data = ChartData { from_ms: Some(3_600_000), to_ms: Some(90_000_000), ..ChartData::default() };
        let sql = question(&context, &dataset, &data).unwrap().sql;
        assert!(sql.contains("WHERE \"day\" >= DATE '1970-01-01' AND \"day\" < DATE '1970-01-02'"), "{sql}");
    }

    fn of_site() -> Question {
        Question { sql: String::new(), columns: vec!["t".into(), "m".into()], dimensions: 1, limit: Some(2) }
    }

    #[rstest]
    #[case::the_same(json!([{"t": 0.0, "m": 1.0}]), json!([["1970-01-01T00:00:00.000Z", 1]]), true)]
    #[case::last_digit(json!([{"t": 0.0, "m": 0.3}]), json!([["1970-01-01T00:00:00.000Z", 0.30000000000000004]]), true)]
    #[case::other_value(json!([{"t": 0.0, "m": 1.0}]), json!([["1970-01-01T00:00:00.000Z", 1.1]]), false)]
    #[case::null_is_no_number(json!([{"t": 0.0, "m": null}]), json!([["1970-01-01T00:00:00.000Z", 0]]), false)]
    #[case::a_row_less(json!([{"t": 0.0, "m": 1}]), json!([["1970-01-01", 1], ["1970-01-02", 1]]), false)]
    #[case::cut_by_the_limit(json!([{"t": "a", "m": 1}, {"t": "b", "m": 1}]), json!([["a", 1], ["b", 1], ["c", 1]]), true)]
    #[case::twice_the_same_row(json!([{"t": "a", "m": 1}, {"t": "a", "m": 1}]), json!([["a", 1], ["b", 1]]), false)]
    fn answers_are_compared_by_what_they_say(#[case] theirs: Json, #[case] ours: Json, #[case] same_: bool) {
        let theirs: Vec<Map<String, Json>> = serde_json::from_value(theirs).unwrap();
        let ours: Vec<Vec<Json>> = serde_json::from_value(ours).unwrap();
        assert_eq!(same(&of_site(), &theirs, &ours).is_ok(), same_);
    }
}
