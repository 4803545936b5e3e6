//! A chart's saved question: what `GET /api/v1/chart/ID/data/`, reports and alerts ask.
//!
//! Superset writes it itself only when a person opens the chart and saves it. Invariant: it asks what the chart's settings
//! say.

use serde_json::{Map, Value as Json, json};
use vitalake_contract::dashboard::{Chart, Form, TIME};

use super::BundleError;
use super::context::Charted;

/// The question of a chart with its settings.
pub(super) fn query_context(
    charted: &Charted<'_>,
    chart: &Chart,
    params: &Map<String, Json>,
) -> Result<Json, BundleError> {
    let measures = chart.form.measures();
    let names = chart.form.dimensions();
    let columns = names.iter().map(|name| column(charted, chart, name)).collect::<Result<Vec<_>, _>>()?;
    let filters: Vec<Json> = list(params, "adhoc_filters").filter(|f| f.get("subject").is_some()).map(simple).collect();
    let conditions: Vec<String> = list(params, "adhoc_filters")
        .filter_map(|filter| Some(format!("({})", filter.get("sqlExpression")?.as_str()?)))
        .collect();
    let mut query = json!({
        "filters": filters,
        "extras": { "having": "", "where": conditions.join(" AND ") },
        "applied_time_extras": {},
        "columns": columns,
        "metrics": measures,
        "orderby": order(chart),
        "annotation_layers": [],
        "row_limit": chart.limit(),
        "series_limit": 0,
        "order_desc": chart.sort.as_ref().is_none_or(|sort| sort.descending),
        "url_params": {},
        "custom_params": {},
        "custom_form_data": {},
        "time_offsets": [],
        "post_processing": post_processing(charted, chart)?,
    });
    if let Some(grain) = params.get("time_grain_sqla") {
        set(&mut query, "/extras", "time_grain_sqla", grain.clone());
    }
    if let Form::Series { by, .. } = &chart.form {
        let series = by.iter().map(|name| charted.column(name)).collect::<Result<Vec<_>, _>>()?;
        set(&mut query, "", "series_columns", json!(series));
    }
    if matches!(chart.form, Form::Rows { .. }) {
        // A question with measures, were there none, would be one about groups.
        set(&mut query, "", "metrics", Json::Null);
    }
    Ok(json!({
        "datasource": { "id": 1, "type": "table" },
        "force": false,
        "queries": [query],
        "form_data": params,
        "result_format": "json",
        "result_type": "full",
    }))
}

fn set(query: &mut Json, pointer: &str, key: &str, value: Json) {
    if let Some(Json::Object(object)) = query.pointer_mut(pointer) {
        object.insert(key.to_owned(), value);
    }
}

fn list<'a>(params: &'a Map<String, Json>, key: &str) -> impl Iterator<Item = &'a Json> {
    params.get(key).and_then(Json::as_array).into_iter().flatten()
}

fn simple(filter: &Json) -> Json {
    json!({ "col": filter.get("subject"), "op": filter.get("operator"), "val": filter.get("comparator") })
}

/// A dimension as a question has it: the axis, and time wherever it stands, with its step.
fn column(charted: &Charted<'_>, chart: &Chart, name: &str) -> Result<Json, BundleError> {
    let column = charted.column(name)?;
    let is_axis = match &chart.form {
        Form::Series { x, .. } | Form::Heatmap { x, .. } => x == name,
        Form::Rows { .. } => return Ok(json!(column)),
        _ => false,
    };
    if name != TIME && !is_axis {
        return Ok(json!(column));
    }
    let mut axis = json!({
        "columnType": "BASE_AXIS", "sqlExpression": column, "label": column, "expressionType": "SQL",
    });
    if let Some(time) = charted.time.filter(|_| name == TIME) {
        set(&mut axis, "", "timeGrain", json!(chart.grain.unwrap_or(time.grain).iso()));
    }
    Ok(axis)
}

fn order(chart: &Chart) -> Json {
    match (&chart.sort, chart.form.measures().first()) {
        (Some(sort), _) => json!([[sort.measure, !sort.descending]]),
        (None, _) if matches!(chart.form, Form::Number { .. } | Form::Rows { .. }) => json!([]),
        (None, Some(first)) => json!([[first, false]]),
        (None, None) => json!([]),
    }
}

fn post_processing(charted: &Charted<'_>, chart: &Chart) -> Result<Json, BundleError> {
    let measures = chart.form.measures();
    let (x, by) = match &chart.form {
        Form::Number { trend: true, .. } => (charted.column(TIME)?, Vec::new()),
        Form::Series { x, by, .. } => {
            let by = by.iter().map(|name| charted.column(name)).collect::<Result<Vec<_>, _>>()?;
            (charted.column(x)?, by)
        }
        _ => return Ok(json!([])),
    };
    let mean = json!({ "operator": "mean" });
    let aggregates: Map<String, Json> = measures.iter().map(|name| ((*name).to_owned(), mean.clone())).collect();
    let pivot = json!({
        "operation": "pivot",
        "options": { "index": [x], "columns": by, "aggregates": aggregates, "drop_missing_columns": false },
    });
    let mut steps = vec![pivot];
    if let ([one], false) = (measures.as_slice(), by.is_empty()) {
        // The series of one measure are called by their values alone.
        let renamed: Map<String, Json> = std::iter::once(((*one).to_owned(), Json::Null)).collect();
        let options = json!({ "columns": renamed, "level": 0, "inplace": true });
        steps.push(json!({ "operation": "rename", "options": options }));
    }
    steps.push(json!({ "operation": "flatten" }));
    Ok(Json::Array(steps))
}
