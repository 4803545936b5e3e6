//! A chart's file: the settings that Superset's page draws by, and the question that its API and its reports ask.
//!
//! Both say the same: a chart without a saved question cannot be asked over the API. Invariant: a chart of a dataset that
//! has a time has a filter by it, as the page's time would not reach it otherwise.

use serde_json::{Map, Value as Json, json};
use vitalake_contract::dashboard::{Chart, Dashboard, Form, SeriesStyle, TIME};

use super::context::{Charted, VERSION};
use super::query::query_context;
use super::uuid::AssetKind;
use super::words::time_range;
use super::{BundleError, Source};

/// How numbers are written where the measures of a chart differ in it.
const SMART: &str = "SMART_NUMBER";

/// A chart's file.
pub(super) fn chart(
    source: &Source<'_>,
    dashboard: &Dashboard,
    (name, chart): (&str, &Chart),
) -> Result<Json, BundleError> {
    let charted = Charted::find(source, chart.dataset.as_str())?;
    let params = params(&charted, dashboard, chart)?;
    let context = query_context(&charted, chart, &params)?;
    Ok(json!({
        "slice_name": chart.title,
        "description": chart.description,
        "certified_by": null,
        "certification_details": null,
        "viz_type": viz_type(&chart.form),
        "params": params,
        "query_context": context.to_string(),
        "cache_timeout": null,
        "is_managed_externally": true,
        "external_url": source.external_url(&format!("dashboards/{}.yaml", dashboard.name)),
        "uuid": source.uuid(AssetKind::Chart, &format!("{}/{name}", dashboard.name)),
        "dataset_uuid": source.uuid(AssetKind::Dataset, chart.dataset.as_str()),
        "version": VERSION,
    }))
}

/// Superset's name of a form.
pub(super) fn viz_type(form: &Form) -> &'static str {
    match form {
        Form::Number { trend: false, .. } => "big_number_total",
        Form::Number { trend: true, .. } => "big_number",
        Form::Series { style: SeriesStyle::Line, .. } => "echarts_timeseries_line",
        Form::Series { style: SeriesStyle::Bar, .. } => "echarts_timeseries_bar",
        Form::Series { style: SeriesStyle::Area, .. } => "echarts_area",
        Form::Table { .. } | Form::Rows { .. } => "table",
        Form::Heatmap { .. } => "heatmap_v2",
        Form::Pivot { .. } => "pivot_table_v2",
    }
}

/// The settings of a chart, those of its own `superset:` last.
pub(super) fn params(
    charted: &Charted<'_>,
    dashboard: &Dashboard,
    chart: &Chart,
) -> Result<Map<String, Json>, BundleError> {
    let mut params = common(charted, dashboard, chart);
    for measure in chart.form.measures() {
        charted.measure(measure)?;
    }
    params.extend(of_form(charted, chart)?.as_object().cloned().unwrap_or_default());
    if matches!(chart.form, Form::Series { style: SeriesStyle::Line | SeriesStyle::Bar, .. }) {
        params.remove("opacity");
    }
    params.extend(chart.superset.clone());
    Ok(params)
}

/// The settings that a form has for itself.
fn of_form(charted: &Charted<'_>, chart: &Chart) -> Result<Json, BundleError> {
    let column = |name: &String| charted.column(name);
    let columns = |names: &[String]| names.iter().map(column).collect::<Result<Vec<_>, _>>();
    let format = format(charted, chart)?;
    let sort = chart.sort.as_ref().map(|sort| sort.measure.as_str());
    let descending = chart.sort.as_ref().is_none_or(|sort| sort.descending);
    let limit = chart.limit();
    Ok(match &chart.form {
        Form::Number { measure, trend: false } => json!({
            "metric": measure, "y_axis_format": format, "header_font_size": 0.4, "subheader_font_size": 0.15,
            "time_format": "smart_date",
        }),
        Form::Number { measure, trend: true } => json!({
            "metric": measure, "x_axis": charted.column(TIME)?, "y_axis_format": format, "header_font_size": 0.4,
            "subheader_font_size": 0.15, "time_format": "smart_date", "aggregation": "LAST_VALUE",
            "show_trend_line": true, "start_y_axis_at_zero": true, "show_timestamp": false, "rolling_type": "None",
        }),
        Form::Series { style, measures, x, by, stacked } => json!({
            "x_axis": charted.column(x)?, "metrics": measures, "groupby": columns(by)?, "x_axis_sort_asc": true,
            "timeseries_limit_metric": sort, "order_desc": descending, "row_limit": limit, "truncate_metric": true,
            "show_empty_columns": true, "comparison_type": "values", "annotation_layers": [],
            "color_scheme": "supersetColors", "seriesType": if *style == SeriesStyle::Bar { "bar" } else { "line" },
            "stack": if *stacked { json!("Stack") } else { Json::Null }, "show_legend": true, "legendType": "scroll",
            "legendOrientation": "top", "rich_tooltip": true, "tooltipTimeFormat": "smart_date",
            "x_axis_time_format": "smart_date", "y_axis_format": format, "y_axis_bounds": [null, null],
            // The course of a line is in its differences; bars and areas stand on zero.
            "truncateYAxis": *style == SeriesStyle::Line,
            "zoomable": false, "markerEnabled": false, "only_total": true, "opacity": 0.5,
        }),
        Form::Table { by, measures } => json!({
            "query_mode": "aggregate", "groupby": columns(by)?, "metrics": measures, "all_columns": [],
            "percent_metrics": [], "temporal_columns_lookup": lookup(charted), "timeseries_limit_metric": sort,
            "order_by_cols": [], "order_desc": descending, "row_limit": limit, "server_page_length": 10,
            "table_timestamp_format": "smart_date", "show_cell_bars": false, "color_pn": false,
            "conditional_formatting": [], "include_search": false,
        }),
        Form::Rows { columns: names } => json!({
            "query_mode": "raw", "all_columns": columns(names)?, "groupby": [], "metrics": [], "percent_metrics": [],
            "temporal_columns_lookup": lookup(charted), "order_by_cols": [], "row_limit": limit,
            "server_page_length": 10, "table_timestamp_format": "smart_date", "show_cell_bars": false,
            "color_pn": false, "conditional_formatting": [], "include_search": false,
        }),
        Form::Heatmap { x, y, measure } => json!({
            "x_axis": charted.column(x)?, "groupby": charted.column(y)?, "metric": measure, "row_limit": limit,
            "sort_x_axis": "alpha_asc", "sort_y_axis": "alpha_asc", "normalize_across": "heatmap",
            "legend_type": "continuous", "linear_color_scheme": "schemeBlues", "xscale_interval": -1,
            "yscale_interval": -1, "left_margin": 100, "bottom_margin": 50, "value_bounds": [null, null],
            "y_axis_format": format, "x_axis_time_format": "smart_date", "show_legend": true,
            "show_percentage": false, "show_values": false,
        }),
        Form::Pivot { rows, columns: across, measures } => json!({
            "groupbyRows": columns(rows)?, "groupbyColumns": columns(across)?, "metrics": measures,
            "temporal_columns_lookup": lookup(charted), "metricsLayout": "COLUMNS", "aggregateFunction": "Sum",
            "valueFormat": format, "date_format": "smart_date", "rowOrder": "key_a_to_z", "colOrder": "key_a_to_z",
            "series_limit_metric": sort, "order_desc": descending, "row_limit": limit, "series_limit": 0,
        }),
    })
}

fn common(charted: &Charted<'_>, dashboard: &Dashboard, chart: &Chart) -> Map<String, Json> {
    let mut filters = Vec::new();
    let mut params = Map::new();
    params.insert("datasource".into(), "1__table".into());
    params.insert("viz_type".into(), viz_type(&chart.form).into());
    params.insert("extra_form_data".into(), json!({}));
    if let Some(time) = charted.time {
        let range = time_range(chart.period.unwrap_or(dashboard.period), charted.is_by_day());
        filters.push(json!({
            "clause": "WHERE", "expressionType": "SIMPLE", "subject": time.sql_name, "operator": "TEMPORAL_RANGE",
            "comparator": range, "filterOptionName": "filter_time",
        }));
        params.insert("time_grain_sqla".into(), chart.grain.unwrap_or(time.grain).iso().into());
    }
    if let Some(only) = &chart.only {
        filters.push(json!({
            "clause": "WHERE", "expressionType": "SQL", "sqlExpression": only, "filterOptionName": "filter_where",
        }));
    }
    params.insert("adhoc_filters".into(), Json::Array(filters));
    params
}

/// The format that all measures of a chart have.
fn format(charted: &Charted<'_>, chart: &Chart) -> Result<String, BundleError> {
    let formats: Vec<&str> = chart
        .form
        .measures()
        .into_iter()
        .map(|name| charted.measure(name).map(|measure| measure.format.as_str()))
        .collect::<Result<_, _>>()?;
    Ok(match formats.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => (*first).to_owned(),
        _ => SMART.to_owned(),
    })
}

fn lookup(charted: &Charted<'_>) -> Json {
    let times = charted.time.map(|time| (time.sql_name.to_owned(), Json::Bool(true)));
    Json::Object(times.into_iter().collect())
}
