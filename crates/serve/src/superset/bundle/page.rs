//! A dashboard's file: its layout on Superset's grid, and what a reader can choose by.
//!
//! Invariant: every chart of the layout has a number of its own and the id of a chart of the bundle: Superset finds them by
//! both, and forgets the rest of the page at the first that it does not find.

use serde_json::{Map, Value as Json, json};
use vitalake_contract::dashboard::{Content, Dashboard, Filter, Form, Piece, TIME};

use super::context::{Charted, VERSION};
use super::uuid::AssetKind;
use super::words::time_range;
use super::{BundleError, Source};

/// Heights in steps of 8 pixels.
const HEIGHT_NUMBER: u16 = 22;
const HEIGHT_TEXT: u16 = 20;
const HEIGHT_CHART: u16 = 44;

/// A dashboard's file.
pub(super) fn dashboard(source: &Source<'_>, dashboard: &Dashboard) -> Result<Json, BundleError> {
    let filters = dashboard.filters.iter().map(|filter| native_filter(source, dashboard, filter));
    Ok(json!({
        "dashboard_title": dashboard.title,
        "description": dashboard.description,
        "css": "",
        "slug": slug(source.project, &dashboard.name),
        "certified_by": source.project,
        "certification_details": format!("dashboards/{}.yaml", dashboard.name),
        "published": true,
        "position": position(source, dashboard),
        "metadata": {
            "color_scheme": "supersetColors",
            "cross_filters_enabled": true,
            "refresh_frequency": dashboard.refresh_s.unwrap_or(0),
            "chart_configuration": {},
            "global_chart_configuration": {
                "scope": { "rootPath": ["ROOT_ID"], "excluded": [] }, "chartsInScope": [],
            },
            "native_filter_configuration": filters.collect::<Result<Vec<_>, _>>()?,
        },
        "is_managed_externally": true,
        "external_url": source.external_url(&format!("dashboards/{}.yaml", dashboard.name)),
        "uuid": source.uuid(AssetKind::Dashboard, &dashboard.name),
        "version": VERSION,
    }))
}

/// The dashboard's address: `remote-care-morning-round`.
pub(super) fn slug(project: &str, name: &str) -> String {
    format!("{project}-{}", name.replace('_', "-"))
}

fn position(source: &Source<'_>, dashboard: &Dashboard) -> Json {
    let rows: Vec<String> = (1..=dashboard.rows.len()).map(|number| format!("ROW-{number}")).collect();
    let mut position = Map::new();
    position.insert("DASHBOARD_VERSION_KEY".into(), "v2".into());
    position.insert("ROOT_ID".into(), json!({ "type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"] }));
    let grid = json!({ "type": "GRID", "id": "GRID_ID", "parents": ["ROOT_ID"], "children": rows });
    position.insert("GRID_ID".into(), grid);
    let header = json!({ "type": "HEADER", "id": "HEADER_ID", "meta": { "text": dashboard.title } });
    position.insert("HEADER_ID".into(), header);
    for (row, names) in rows.iter().zip(&dashboard.rows) {
        let pieces: Vec<&Piece> = names.iter().filter_map(|name| dashboard.piece(name)).collect();
        let children: Vec<String> = pieces.iter().map(|piece| piece_id(piece)).collect();
        let parents = json!(["ROOT_ID", "GRID_ID"]);
        let meta = json!({ "background": "BACKGROUND_TRANSPARENT" });
        let element = json!({ "type": "ROW", "id": row, "parents": parents, "children": children, "meta": meta });
        position.insert(row.clone(), element);
        let silent = height_of_row(&pieces);
        for (piece, width) in pieces.iter().zip(dashboard.widths(names)) {
            let size = (width, piece.height.unwrap_or(silent));
            position.insert(piece_id(piece), element_of(source, dashboard, piece, row, size));
        }
    }
    Json::Object(position)
}

/// What pieces of a row are as high as that do not say it: as the highest of them needs.
pub(super) fn height_of_row(pieces: &[&Piece]) -> u16 {
    let needed = pieces.iter().map(|piece| match &piece.content {
        Content::Text { .. } => HEIGHT_TEXT,
        Content::Chart(chart) if matches!(chart.form, Form::Number { .. }) => HEIGHT_NUMBER,
        Content::Chart(_) => HEIGHT_CHART,
    });
    needed.max().unwrap_or(HEIGHT_CHART)
}

fn piece_id(piece: &Piece) -> String {
    match piece.content {
        Content::Text { .. } => format!("MARKDOWN-{}", piece.name),
        Content::Chart(_) => format!("CHART-{}", piece.name),
    }
}

fn element_of(
    source: &Source<'_>,
    dashboard: &Dashboard,
    piece: &Piece,
    row: &str,
    (width, height): (u8, u16),
) -> Json {
    let parents = json!(["ROOT_ID", "GRID_ID", row]);
    let id = piece_id(piece);
    match &piece.content {
        Content::Text { text, runbook } => json!({
            "type": "MARKDOWN", "id": id, "parents": parents, "children": [],
            "meta": { "code": markdown(source, text, runbook.as_deref()), "width": width, "height": height },
        }),
        Content::Chart(chart) => {
            let name = format!("{}/{}", dashboard.name, piece.name);
            json!({
                "type": "CHART", "id": id, "parents": parents, "children": [],
                "meta": {
                    "uuid": source.uuid(AssetKind::Chart, &name), "chartId": chart_id(dashboard, &piece.name),
                    "sliceName": chart.title, "width": width, "height": height,
                },
            })
        }
    }
}

/// A text with the link to its runbook.
pub(super) fn markdown(source: &Source<'_>, text: &str, runbook: Option<&str>) -> String {
    match runbook {
        Some(name) => format!("{text}\n\n[Runbook: {name}]({}/{name})", source.runbooks_at.trim_end_matches('/')),
        None => text.to_owned(),
    }
}

/// The number of a chart within the bundle's file; Superset gives it one of its own.
fn chart_id(dashboard: &Dashboard, name: &str) -> usize {
    dashboard.charts().position(|(known, _)| known == name).map_or(0, |at| at + 1)
}

fn native_filter(source: &Source<'_>, dashboard: &Dashboard, filter: &Filter) -> Result<Json, BundleError> {
    // The page's time is not that of a chart with a period of its own.
    let own: Vec<usize> = dashboard
        .charts()
        .filter(|(_, chart)| filter.dimension == TIME && chart.period.is_some())
        .map(|(name, _)| chart_id(dashboard, name))
        .collect();
    let mut made = json!({
        "id": format!("NATIVE_FILTER-{}", filter.dimension),
        "type": "NATIVE_FILTER",
        "description": "",
        "cascadeParentIds": [],
        "scope": { "rootPath": ["ROOT_ID"], "excluded": own },
    });
    let own = match filter.dimension.as_str() {
        TIME => {
            let range = time_range(dashboard.period, source.is_by_day(dashboard));
            json!({
                "filterType": "filter_time",
                "name": filter.title.as_deref().unwrap_or("Time"),
                "targets": [{}],
                "controlValues": { "enableEmptyFilter": false },
                "defaultDataMask": {
                    "extraFormData": { "time_range": range }, "filterState": { "value": range }, "ownState": {},
                },
            })
        }
        _ => select(source, filter)?,
    };
    if let (Some(made), Some(own)) = (made.as_object_mut(), own.as_object()) {
        made.extend(own.clone());
    }
    Ok(made)
}

fn select(source: &Source<'_>, filter: &Filter) -> Result<Json, BundleError> {
    let dataset = filter.dataset.as_ref().ok_or_else(|| BundleError::NoName {
        dataset: "the page's datasets".to_owned(),
        what: "column",
        name: filter.dimension.clone(),
    })?;
    let charted = Charted::find(source, dataset.as_str())?;
    let column = charted.column(&filter.dimension)?;
    let mask = match filter.default.as_slice() {
        [] => json!({ "extraFormData": {}, "filterState": {}, "ownState": {} }),
        chosen => json!({
            "extraFormData": { "filters": [{ "col": column, "op": "IN", "val": chosen }] },
            "filterState": { "value": chosen, "label": chosen.join(", ") },
            "ownState": {},
        }),
    };
    Ok(json!({
        "filterType": "filter_select",
        "name": filter.title.clone().unwrap_or_else(|| charted.title(&filter.dimension)),
        "targets": [{ "datasetUuid": source.uuid(AssetKind::Dataset, dataset.as_str()), "column": { "name": column } }],
        "controlValues": {
            "multiSelect": filter.multiple, "enableEmptyFilter": false, "searchAllOptions": false,
            "inverseSelection": false, "defaultToFirstItem": false,
        },
        "defaultDataMask": mask,
    }))
}
