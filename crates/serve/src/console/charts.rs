//! Dashboards as the console draws them: rows of charts, each with the query that it asks for a stretch of time.
//!
//! The browser sends the queries by itself, under its own session. Invariant: a chart that names what somebody cannot see
//! says so in place of its query, and a reader's choice enters a query as a quoted text alone.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Days, Months, SecondsFormat, TimeDelta, Timelike as _, Utc};
use serde_json::{Value, json};
use vitalake_contract::dashboard::{
    Chart, Content, Dashboard, Form, MeasureSet, Period, PeriodUnit, Piece, TIME, sql, time_of, title_of,
};
use vitalake_contract::{Contract, Layer};
use vitalake_ops::runbooks::html;

use super::described::names_hidden;
use super::facts::{Catalogue, DashboardTold};
use super::told::written;
use crate::policy::Seen;

/// Values of a filter that are offered.
const OFFERED_MAX: usize = 200;
/// What is said in the place of a chart.
const HIDDEN: &str = "you may not see what this chart asks for; ask whoever keeps `access:`";

/// What a reader has chosen.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// From when on.
    pub from: Option<DateTime<Utc>>,
    /// Before when.
    pub to: Option<DateTime<Utc>>,
    /// Values of dimensions.
    pub values: Vec<(String, String)>,
}

/// All dashboards.
pub(super) fn list(catalogue: &Catalogue, seen: &Seen) -> Vec<u8> {
    let shows_any = |told: &DashboardTold| match &told.dashboard {
        Some(dashboard) => dashboard.charts().any(|(_, chart)| contract_of(catalogue, chart, seen).is_some()),
        None => seen.watches(),
    };
    let entry = |told: &DashboardTold| {
        let dashboard = told.dashboard.as_ref();
        json!({
            "name": told.name,
            "title": dashboard.map_or_else(|| title_of(&told.name), |dashboard| dashboard.title.clone()),
            "description": dashboard.and_then(|dashboard| dashboard.description.clone()),
            "charts": dashboard.map_or(0, |dashboard| dashboard.charts().count()),
            "problems": told.problems.len(),
        })
    };
    written(&catalogue.dashboards.iter().filter(|told| shows_any(told)).map(entry).collect::<Vec<_>>())
}

/// One dashboard, asked for what a reader has chosen; none where there is no such.
pub(super) fn one(
    catalogue: &Catalogue,
    name: &str,
    (chosen, now): (&Chosen, DateTime<Utc>),
    seen: &Seen,
) -> Option<Vec<u8>> {
    let told = catalogue.dashboards.iter().find(|told| told.name == name)?;
    let Some(dashboard) = &told.dashboard else {
        let problems = if seen.watches() { json!(told.problems) } else { json!([]) };
        let answer = json!({"name": name, "title": title_of(name), "problems": problems, "filters": [], "rows": []});
        return Some(written(&answer));
    };
    let drawing = Drawing { catalogue, dashboard, chosen, now, seen };
    let (from, to) = drawing.stretch(dashboard.period).unzip();
    let rows = dashboard.rows.iter().map(|row| {
        let pieces = row.iter().zip(dashboard.widths(row));
        pieces.filter_map(|(name, width)| Some(drawing.piece(dashboard.piece(name)?, width))).collect::<Vec<_>>()
    });
    let answer = json!({
        "name": name,
        "title": dashboard.title,
        "description": dashboard.description,
        "period": dashboard.period.to_string(),
        "from": from.map(moment),
        "to": to.map(moment),
        "refresh_s": dashboard.refresh_s,
        "problems": if seen.watches() { json!(told.problems) } else { json!([]) },
        "filters": drawing.filters(),
        "rows": rows.collect::<Vec<_>>(),
    });
    Some(written(&answer))
}

struct Drawing<'a> {
    catalogue: &'a Catalogue,
    dashboard: &'a Dashboard,
    chosen: &'a Chosen,
    now: DateTime<Utc>,
    seen: &'a Seen,
}

impl Drawing<'_> {
    fn piece(&self, piece: &Piece, width: u8) -> Value {
        match &piece.content {
            Content::Text { text, runbook } => json!({
                "id": piece.name, "type": "text", "width": width, "height": piece.height, "html": html(text),
                "runbook": runbook,
            }),
            Content::Chart(chart) => self.chart(piece, chart, width),
        }
    }

    fn chart(&self, piece: &Piece, chart: &Chart, width: u8) -> Value {
        let mut told = json!({
            "id": piece.name, "type": chart.form.word(), "title": chart.title, "description": chart.description,
            "width": width, "height": piece.height,
        });
        let more = match contract_of(self.catalogue, chart, self.seen) {
            Some(contract) => self.question(chart, contract),
            None => json!({"problem": HIDDEN}),
        };
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }

    /// What a chart asks, and how its answer is drawn.
    fn question(&self, chart: &Chart, contract: &Contract) -> Value {
        let set = self.catalogue.measures.iter().find(|set| set.dataset == chart.dataset);
        let mut asked = chart.clone();
        asked.only = self.condition(chart, contract, set);
        let stretch =
            self.stretch(chart.period.unwrap_or(self.dashboard.period)).filter(|_| time_of(contract).is_some());
        let (from, to) = stretch.map(|(from, to)| (seconds(from), seconds(to))).unzip();
        let text = sql::query(&asked, set, contract, from.as_deref().zip(to.as_deref()));
        if names_hidden(contract, &text, self.seen) {
            return json!({"problem": HIDDEN});
        }
        let measures: Vec<Value> = chart.form.measures().into_iter().map(|name| measure_told(name, set)).collect();
        let dimensions: Vec<Value> =
            chart.form.dimensions().into_iter().map(|name| dimension_told(name, contract, set)).collect();
        let first = |key: &str| measures.first().map(|measure| measure[key].clone());
        let time = time_of(contract).filter(|_| chart.form.dimensions().contains(&TIME)).map(|axis| axis.sql_name);
        json!({
            "sql": text,
            "dataset": contract.dataset.as_str(),
            "unit": first("unit"),
            "format": first("format"),
            "measures": measures,
            "dimensions": dimensions,
            "time": time,
            "grain": chart.grain.or(contract.time_grain).map(|grain| grain.iso()),
            "form": form_told(&chart.form),
            "limit": chart.limit(),
        })
    }

    /// The chart's own condition and what a reader has chosen.
    fn condition(&self, chart: &Chart, contract: &Contract, set: Option<&MeasureSet>) -> Option<String> {
        let mut conditions: Vec<String> = chart.only.iter().map(|only| format!("(\n{only}\n)")).collect();
        for filter in self.dashboard.filters.iter().filter(|filter| filter.dimension != TIME) {
            let chosen = self.chosen.values.iter().filter(|(name, _)| *name == filter.dimension);
            let mut values: Vec<&str> = chosen.map(|(_, value)| value.as_str()).collect();
            let is_chosen = !values.is_empty();
            if !is_chosen {
                values = filter.default.iter().map(String::as_str).collect();
            }
            let Some(dimension) = dimension_sql(&filter.dimension, contract, set).filter(|_| !values.is_empty()) else {
                continue;
            };
            let listed = values.into_iter().fold(String::new(), |mut listed, value| {
                // Writing to a string cannot fail.
                let _ = write!(listed, "{}{}", if listed.is_empty() { "" } else { ", " }, text(value));
                listed
            });
            conditions.push(format!("CAST({dimension} AS VARCHAR) IN ({listed})"));
        }
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }

    /// The stretch of time that is asked for; none where it is all of it.
    fn stretch(&self, period: Period) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let (from, to) = range(period, self.now).unzip();
        let all = DateTime::<Utc>::UNIX_EPOCH;
        match (self.chosen.from, self.chosen.to) {
            (None, None) => from.zip(to),
            (chosen_from, chosen_to) => {
                Some((chosen_from.or(from).unwrap_or(all), chosen_to.or(to).unwrap_or(self.now)))
            }
        }
    }

    fn filters(&self) -> Vec<Value> {
        let told = |filter: &vitalake_contract::dashboard::Filter| {
            let dataset = filter.dataset.as_ref();
            let contract = dataset.and_then(|name| serving(self.catalogue, name.as_str(), self.seen));
            if filter.dimension == TIME {
                let title = filter.title.clone().unwrap_or_else(|| "Time".to_owned());
                return Some(json!({"dimension": TIME, "title": title, "default": filter.default}));
            }
            let contract = contract?;
            let set = self.catalogue.measures.iter().find(|set| set.dataset == contract.dataset);
            let dimension = dimension_sql(&filter.dimension, contract, set)?;
            if names_hidden(contract, &dimension, self.seen) {
                return None;
            }
            let title = filter.title.clone().unwrap_or_else(|| title(&filter.dimension, contract, set));
            let offered = format!(
                "SELECT DISTINCT {dimension} AS \"value\" FROM druid.\"{}\" WHERE {dimension} IS NOT NULL ORDER BY 1 LIMIT {OFFERED_MAX}",
                contract.dataset
            );
            Some(json!({
                "dimension": filter.dimension, "title": title, "multiple": filter.multiple, "default": filter.default,
                "sql": offered,
            }))
        };
        self.dashboard.filters.iter().filter_map(told).collect()
    }
}

/// The contract of a chart's dataset, where that is there.
fn contract_of<'c>(catalogue: &'c Catalogue, chart: &Chart, seen: &Seen) -> Option<&'c Contract> {
    serving(catalogue, chart.dataset.as_str(), seen)
}

fn serving<'c>(catalogue: &'c Catalogue, name: &str, seen: &Seen) -> Option<&'c Contract> {
    let is_it = |contract: &&Contract| contract.layer == Layer::Serving && contract.dataset.as_str() == name;
    let contract = catalogue.datasets.iter().map(|described| &*described.contract).find(is_it)?;
    seen.table("serving", name).then_some(contract)
}

fn dimension_sql(name: &str, contract: &Contract, set: Option<&MeasureSet>) -> Option<String> {
    let computed = set.and_then(|set| set.dimension(name)).and_then(|dimension| dimension.sql.clone());
    let is_column = || contract.columns.iter().any(|column| &*column.name == name);
    computed
        .map(|sql| format!("(\n{sql}\n)"))
        .or_else(|| is_column().then(|| format!("\"{}\"", name.replace('"', "\"\""))))
}

fn measure_told(name: &str, set: Option<&MeasureSet>) -> Value {
    match set.and_then(|set| set.measure(name)) {
        Some(measure) => json!({
            "name": name, "title": measure.title, "unit": measure.unit, "format": measure.format,
            "description": measure.description,
        }),
        None => json!({"name": name, "title": title_of(name), "unit": "", "format": "", "description": null}),
    }
}

fn dimension_told(name: &str, contract: &Contract, set: Option<&MeasureSet>) -> Value {
    match time_of(contract).filter(|_| name == TIME) {
        Some(axis) => {
            let title = axis.column.title.clone().unwrap_or_else(|| "Time".to_owned());
            json!({"name": axis.sql_name, "title": title, "is_time": true})
        }
        None => json!({"name": name, "title": title(name, contract, set), "is_time": false}),
    }
}

fn title(name: &str, contract: &Contract, set: Option<&MeasureSet>) -> String {
    let said = set.and_then(|set| set.dimension(name)).and_then(|dimension| dimension.title.clone());
    let column = || contract.columns.iter().find(|column| &*column.name == name)?.title.clone();
    said.or_else(column).unwrap_or_else(|| title_of(name))
}

/// Which of a chart's names goes where.
fn form_told(form: &Form) -> Value {
    match form {
        Form::Number { measure, trend } => json!({"measure": measure, "trend": trend}),
        Form::Series { measures, x, by, stacked, .. } => {
            json!({"measures": measures, "x": x, "by": by, "stacked": stacked})
        }
        Form::Table { by, measures } => json!({"by": by, "measures": measures}),
        Form::Rows { columns } => json!({"columns": columns}),
        Form::Heatmap { x, y, measure } => json!({"x": x, "y": y, "measure": measure}),
        Form::Pivot { rows, columns, measures } => json!({"rows": rows, "columns": columns, "measures": measures}),
    }
}

/// Where a period begins and ends, to the minute; none where it is all of time.
fn range(period: Period, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let end = now.with_second(0)?.with_nanosecond(0)? + TimeDelta::minutes(1);
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    match period {
        Period::All => None,
        Period::Today => Some((midnight, end)),
        Period::Yesterday => Some((midnight.checked_sub_days(Days::new(1))?, midnight)),
        Period::Last { count, unit } => {
            let begin = match unit {
                PeriodUnit::Minute => end.checked_sub_signed(TimeDelta::minutes(count.into())),
                PeriodUnit::Hour => end.checked_sub_signed(TimeDelta::hours(count.into())),
                PeriodUnit::Day => end.checked_sub_days(Days::new(count.into())),
                PeriodUnit::Week => end.checked_sub_days(Days::new(u64::from(count) * 7)),
                PeriodUnit::Month => end.checked_sub_months(Months::new(count)),
                PeriodUnit::Year => end.checked_sub_months(Months::new(count.saturating_mul(12))),
            };
            Some((begin.filter(|begin| begin.year() >= 1)?, end))
        }
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A text as SQL has it.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("last 24 hours", Some(("2026-11-28T10:31:00Z", "2026-11-29T10:31:00Z")))]
    #[case("last 3 months", Some(("2026-08-29T10:31:00Z", "2026-11-29T10:31:00Z")))]
    #[case("today", Some(("2026-11-29T00:00:00Z", "2026-11-29T10:31:00Z")))]
    #[case("yesterday", Some(("2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z")))]
    #[case("all", None)]
    fn a_period_is_a_stretch_of_time(#[case] period: &str, #[case] want: Option<(&str, &str)>) {
        let now = "2026-11-29T10:30:12.5Z".parse().unwrap();
        let found = range(Period::parse(period).unwrap(), now).map(|(from, to)| (seconds(from), seconds(to)));
        assert_eq!(found.as_ref().map(|(from, to)| (from.as_str(), to.as_str())), want);
    }

    #[test]
    fn a_choice_is_a_text_whatever_it_holds() {
        assert_eq!(text("a') OR 1=1 --"), "'a'') OR 1=1 --'");
    }
}
