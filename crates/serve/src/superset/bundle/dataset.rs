//! A database's and a dataset's file: columns in the contract's words, measures with their formats, and who stands for it.
//!
//! Invariant: a column that Superset takes for a time is the dataset's time column.

use serde_json::{Value as Json, json};
use vitalake_contract::dashboard::title_of;
use vitalake_contract::{Column, ColumnType};

use super::Source;
use super::context::{Charted, DATABASE, VERSION};
use super::uuid::AssetKind;
use super::words::sql_type;

/// The database's file.
pub(super) fn database(source: &Source<'_>) -> Json {
    let extra = json!({
        "allows_virtual_table_explore": true, "cost_estimate_enabled": false,
        "metadata_params": {}, "engine_params": {},
    });
    json!({
        "database_name": source.project,
        "sqlalchemy_uri": source.database.uri,
        "expose_in_sqllab": true,
        "allow_run_async": false,
        "allow_ctas": false,
        "allow_cvas": false,
        "allow_dml": false,
        "allow_csv_upload": false,
        // Superset comes as one client of ours: another name would not go with its token.
        "impersonate_user": false,
        "extra": extra,
        "uuid": source.uuid(AssetKind::Database, DATABASE),
        "version": VERSION,
    })
}

/// A dataset's file.
pub(super) fn dataset(source: &Source<'_>, charted: &Charted<'_>) -> Json {
    let contract = charted.contract;
    let name = contract.dataset.as_str();
    let time = charted.time.map(|time| time.sql_name);
    let mut columns: Vec<Json> = Vec::new();
    if let Some(time) = charted.time {
        columns.push(column(time.sql_name, time.column, charted, true));
    }
    let is_time = |column: &&Column| charted.time.is_some_and(|time| time.column.name == column.name);
    let others = contract.columns.iter().filter(|column| !is_time(column));
    columns.extend(others.map(|own| column(&own.name, own, charted, false)));
    let computed = charted.set.into_iter().flat_map(|set| &set.dimensions).filter(|dimension| dimension.sql.is_some());
    columns.extend(computed.map(|dimension| {
        let title = dimension.title.clone().unwrap_or_else(|| title_of(&dimension.name));
        let text = (title, dimension.description.as_deref());
        column_json(&dimension.name, "VARCHAR", text, Flags { time: false, groupby: true }, dimension.sql.as_deref())
    }));
    let said_by = certification(source, charted);
    let measures = charted.set.into_iter().flat_map(|set| &set.measures).map(|measure| {
        json!({
            "metric_name": measure.name,
            "verbose_name": measure.label(),
            "expression": measure.sql,
            "description": measure.description,
            "d3format": measure.format,
            "metric_type": null,
            "warning_text": null,
            "extra": { "certification": said_by, "unit": measure.unit },
        })
    });
    let path = match charted.set {
        Some(_) => format!("measures/{name}.yaml"),
        None => format!("contracts/serving/{name}.yaml"),
    };
    json!({
        "table_name": name,
        "schema": source.database.schema,
        "main_dttm_col": time,
        "description": description(charted),
        "extra": { "certification": said_by, "warning_markdown": null },
        "always_filter_main_dttm": false,
        "normalize_columns": false,
        "columns": columns,
        "metrics": measures.collect::<Vec<_>>(),
        "is_managed_externally": true,
        "external_url": source.external_url(&path),
        "uuid": source.uuid(AssetKind::Dataset, name),
        "database_uuid": source.uuid(AssetKind::Database, DATABASE),
        "version": VERSION,
    })
}

fn description(charted: &Charted<'_>) -> String {
    let contract = charted.contract;
    let from = format!("From contracts/serving/{}.yaml {}.", contract.dataset, contract.version);
    match &contract.purpose {
        Some(purpose) => format!("{purpose} {from}"),
        None => from,
    }
}

fn certification(source: &Source<'_>, charted: &Charted<'_>) -> Json {
    let contract = charted.contract;
    let by = contract.team.clone().unwrap_or_else(|| source.project.to_owned());
    let details = match source.gates.get(contract.dataset.as_str()) {
        Some(gate) => format!("Contract {}, {gate}", contract.version),
        None => format!("Contract {}", contract.version),
    };
    json!({ "certified_by": by, "details": details })
}

#[derive(Clone, Copy)]
struct Flags {
    time: bool,
    groupby: bool,
}

fn column(name: &str, own: &Column, charted: &Charted<'_>, is_time: bool) -> Json {
    let said = charted.set.and_then(|set| set.dimension(&own.name));
    let mut title = charted.title(&own.name);
    if let Some(unit) = own.unit.as_deref().filter(|unit| !unit.is_empty()) {
        title = format!("{title} ({unit})");
    }
    let description = said.and_then(|said| said.description.as_deref()).or(own.description.as_deref());
    let is_number = matches!(own.kind, ColumnType::Double | ColumnType::Float);
    column_json(name, sql_type(&own.kind), (title, description), Flags { time: is_time, groupby: !is_number }, None)
}

fn column_json(
    name: &str,
    kind: &str,
    (title, description): (String, Option<&str>),
    flags: Flags,
    sql: Option<&str>,
) -> Json {
    json!({
        "column_name": name,
        "verbose_name": title,
        "is_dttm": flags.time,
        "is_active": true,
        "type": kind,
        "advanced_data_type": null,
        "groupby": flags.groupby,
        "filterable": true,
        "expression": sql,
        "description": description,
        "python_date_format": null,
        "extra": {},
    })
}
