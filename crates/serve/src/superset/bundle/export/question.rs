//! What an exported dataset and an exported chart say, as measures and as a chart.
//!
//! Invariant: a setting that says what is asked is read, or the chart is refused for it.

use serde_json::{Map, Value as Json};
use vitalake_contract::dashboard::{
    Chart, Dimension, Form, Grain, Measure, MeasureSet, Period, SeriesStyle, Sort, TIME, title_of,
};

use super::super::context::Charted;
use super::super::words::period;
use super::{parsed, text};

/// The measures of a dataset's file, and what it says of dimensions beyond the contract.
pub(super) fn measure_set(file: &Json, charted: &Charted<'_>) -> MeasureSet {
    let items = |list: &str| file.get(list).and_then(Json::as_array).into_iter().flatten();
    let measures = items("metrics").filter_map(measure).collect();
    let plain = Charted { set: None, ..*charted };
    let dimensions = items("columns").filter_map(|column| dimension(column, &plain)).collect();
    MeasureSet { dataset: charted.contract.dataset.clone(), measures, dimensions }
}

fn measure(metric: &Json) -> Option<Measure> {
    let name = text(metric, "/metric_name")?.to_owned();
    let extra = parsed(metric, "extra");
    let unit = text(&extra, "/unit").unwrap_or_default().to_owned();
    let label = text(metric, "/verbose_name").map_or_else(|| title_of(&name), ToOwned::to_owned);
    let title = label.strip_suffix(&format!(" ({unit})")).unwrap_or(&label).to_owned();
    Some(Measure {
        title,
        description: text(metric, "/description").map(ToOwned::to_owned),
        sql: text(metric, "/expression")?.to_owned(),
        unit,
        format: text(metric, "/d3format").unwrap_or_default().to_owned(),
        name,
    })
}

/// What a column's file says that the contract does not.
fn dimension(column: &Json, plain: &Charted<'_>) -> Option<Dimension> {
    let column_name = text(column, "/column_name")?;
    let title = text(column, "/verbose_name");
    let description = text(column, "/description").map(ToOwned::to_owned);
    if let Some(sql) = text(column, "/expression") {
        let title = title.filter(|title| *title != title_of(column_name)).map(ToOwned::to_owned);
        return Some(Dimension { name: column_name.to_owned(), title, description, sql: Some(sql.to_owned()) });
    }
    let of_time = plain.time.filter(|time| time.sql_name == column_name).map(|time| time.column);
    let own = of_time.or_else(|| plain.contract.columns.iter().find(|own| *own.name == *column_name))?;
    let unit = own.unit.as_deref().map_or_else(String::new, |unit| format!(" ({unit})"));
    let title = title.map(|title| title.strip_suffix(&unit).unwrap_or(title));
    let title = title.filter(|title| *title != plain.title(&own.name)).map(ToOwned::to_owned);
    let description = description.filter(|said| own.description.as_ref() != Some(said));
    let says = title.is_some() || description.is_some();
    says.then(|| Dimension { name: own.name.to_string(), title, description, sql: None })
}

/// A chart's file as a chart with its own period, of a dataset; its `superset` is empty yet.
///
/// # Errors
/// Why it cannot be said.
pub(super) fn chart(file: &Json, params: &Map<String, Json>, charted: &Charted<'_>) -> Result<Chart, String> {
    let reader = Reader { params, charted };
    let kind = text(file, "/viz_type").unwrap_or_default();
    let form = reader.form(kind)?;
    let (range, only) = reader.filters()?;
    let grain = match params.get("time_grain_sqla").and_then(Json::as_str) {
        Some(iso) => Some(Grain::parse(iso).ok_or_else(|| format!("its step of time {iso} has no word here"))?),
        None => None,
    };
    let sorted =
        ["timeseries_limit_metric", "series_limit_metric"].into_iter().find_map(|key| params.get(key)?.as_str());
    let descending = params.get("order_desc").and_then(Json::as_bool).unwrap_or(true);
    let limit = params.get("row_limit").and_then(Json::as_u64).and_then(|limit| u32::try_from(limit).ok());
    let mut chart = Chart {
        title: text(file, "/slice_name").unwrap_or_default().to_owned(),
        description: text(file, "/description").map(ToOwned::to_owned),
        dataset: charted.contract.dataset.clone(),
        period: range,
        grain: grain.filter(|grain| charted.time.is_some_and(|time| time.grain != *grain)),
        only,
        sort: sorted.map(|measure| Sort { measure: measure.to_owned(), descending }),
        limit: None,
        form,
        superset: Map::new(),
    };
    chart.limit = limit.filter(|limit| *limit != chart.limit());
    for measure in chart.form.measures() {
        if charted.measure(measure).is_err() {
            return Err(format!("its measure {measure} is not one of the dataset"));
        }
    }
    Ok(chart)
}

struct Reader<'a> {
    params: &'a Map<String, Json>,
    charted: &'a Charted<'a>,
}

impl Reader<'_> {
    fn form(&self, kind: &str) -> Result<Form, String> {
        let stacked = self.params.get("stack").is_some_and(|stack| stack == "Stack" || stack == true);
        let series = |style| {
            let (measures, by) = (self.measures("metrics")?, self.dimensions("groupby")?);
            Ok(Form::Series { style, measures, x: self.dimension("x_axis")?, by, stacked })
        };
        match kind {
            "big_number_total" => Ok(Form::Number { measure: self.measure("metric")?, trend: false }),
            "big_number" => Ok(Form::Number { measure: self.measure("metric")?, trend: true }),
            "echarts_timeseries_line" => series(SeriesStyle::Line),
            "echarts_timeseries_bar" => series(SeriesStyle::Bar),
            "echarts_area" => series(SeriesStyle::Area),
            "table" if self.params.get("query_mode").is_some_and(|mode| mode == "raw") => {
                Ok(Form::Rows { columns: self.dimensions("all_columns")? })
            }
            "table" => Ok(Form::Table { by: self.dimensions("groupby")?, measures: self.measures("metrics")? }),
            "heatmap_v2" => Ok(Form::Heatmap {
                x: self.dimension("x_axis")?,
                y: self.dimension("groupby")?,
                measure: self.measure("metric")?,
            }),
            "pivot_table_v2" => Ok(Form::Pivot {
                rows: self.dimensions("groupbyRows")?,
                columns: self.dimensions("groupbyColumns")?,
                measures: self.measures("metrics")?,
            }),
            other => Err(format!("charts of Superset's type {other} have no form here")),
        }
    }

    fn measure(&self, key: &str) -> Result<String, String> {
        name_of_measure(self.params.get(key).unwrap_or(&Json::Null))
    }

    fn measures(&self, key: &str) -> Result<Vec<String>, String> {
        self.params.get(key).and_then(Json::as_array).into_iter().flatten().map(name_of_measure).collect()
    }

    fn dimension(&self, key: &str) -> Result<String, String> {
        self.name_of_dimension(self.params.get(key).unwrap_or(&Json::Null))
    }

    fn dimensions(&self, key: &str) -> Result<Vec<String>, String> {
        let items = self.params.get(key).and_then(Json::as_array).into_iter().flatten();
        items.map(|item| self.name_of_dimension(item)).collect()
    }

    fn name_of_dimension(&self, value: &Json) -> Result<String, String> {
        let column = value.as_str().ok_or("it groups by an expression of its own: make a dimension of it")?;
        if self.charted.time.is_some_and(|time| time.sql_name == column) {
            return Ok(TIME.to_owned());
        }
        let found = self.charted.column(column).map(ToOwned::to_owned);
        found.map_err(|_| format!("it groups by {column}, which is no column of the dataset"))
    }

    /// The period and the condition.
    fn filters(&self) -> Result<(Option<Period>, Option<String>), String> {
        let (mut range, mut only) = (None, None);
        for filter in self.params.get("adhoc_filters").and_then(Json::as_array).into_iter().flatten() {
            let said = |key: &str| filter.get(key).and_then(Json::as_str).unwrap_or_default();
            let is_time = self.charted.time.is_some_and(|time| time.sql_name == said("subject"));
            match (said("expressionType"), said("operator")) {
                ("SIMPLE", "TEMPORAL_RANGE") if is_time && range.is_none() => {
                    let comparator = said("comparator");
                    let read = period(comparator, self.charted.is_by_day())
                        .ok_or_else(|| format!("its time `{comparator}` has no words here"))?;
                    range = Some(read);
                }
                ("SQL", _) if only.is_none() && said("clause") == "WHERE" => {
                    only = Some(said("sqlExpression").to_owned())
                }
                _ => return Err("it has a condition that is none of time and SQL on rows".to_owned()),
            }
        }
        if range.is_none() && self.charted.time.is_some() {
            return Err("it has no condition on time, so that the page's time would not reach it".to_owned());
        }
        Ok((range, only))
    }
}

fn name_of_measure(value: &Json) -> Result<String, String> {
    let name = value.as_str().map(ToOwned::to_owned);
    name.ok_or_else(|| "it has a measure of its own: make it one of the dataset".to_owned())
}
