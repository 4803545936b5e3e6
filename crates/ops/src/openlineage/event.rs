//! Runs as OpenLineage has them: a START and its end, with schemas, column lineage and counts. Pure.
//!
//! Follows the specification 2-0-2 and its facets, whose addresses stand in the events. Invariant: names, types, counts and moments
//! alone; a failure is told by its class.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Who produces the events.
const PRODUCER: &str = concat!("urn:vitalake:", env!("CARGO_PKG_VERSION"));
/// Where the specification's facets are.
const FACETS: &str = "https://openlineage.io/spec/facets";
/// The specification of an event.
const RUN_EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// A column of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldTold {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What its contract says of it.
    pub description: Option<String>,
}

/// A column that another is made of, or that decides about rows, and how, in the specification's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// Its column.
    pub field: String,
    /// Such as `IDENTITY` or `FILTER`.
    pub how: &'static str,
}

/// What is known of a dataset from the project's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetTold {
    /// Its columns.
    pub fields: Vec<FieldTold>,
    /// The datasets that its model reads, as `layer.name`.
    pub inputs: Vec<String>,
    /// What its columns are made of.
    pub columns: BTreeMap<String, Vec<From>>,
    /// What decides about its rows.
    pub conditions: Vec<From>,
    /// The broker and the topic that it is landed from.
    pub topic: Option<(String, String)>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// So many rows were committed as this version.
    Complete {
        /// Rows.
        rows: u64,
        /// The version, where it is known.
        version: Option<u64>,
    },
    /// It failed; whose fault it was, as errors are classed.
    Fail(&'static str),
}

/// A run of a dataset's model, or of its landing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTold {
    /// A UUID.
    pub id: String,
    /// The dataset, as `layer.name`.
    pub dataset: String,
    /// When it began, as RFC 3339.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// How.
    pub outcome: Ended,
}

/// The events of a run: its start and its end.
#[must_use]
pub fn events(project: &str, datasets: &BTreeMap<String, DatasetTold>, run: &RunTold) -> [Value; 2] {
    let told = datasets.get(&run.dataset).cloned().unwrap_or_default();
    let namespace = format!("vitalake://{project}");
    let (kind, mut facets) = match &run.outcome {
        Ended::Complete { .. } => ("COMPLETE", json!({})),
        Ended::Fail(class) => ("FAIL", json!({"errorMessage": failure(class)})),
    };
    let run_facets = facets.as_object_mut().map(std::mem::take).unwrap_or_default();
    let event = |kind: &str, at: &str, outputs: Vec<Value>, run_facets: Map<String, Value>| {
        json!({
            "eventType": kind,
            "eventTime": at,
            "producer": PRODUCER,
            "schemaURL": RUN_EVENT,
            "run": {"runId": run.id, "facets": run_facets},
            "job": {"namespace": namespace, "name": job(&run.dataset, &told), "facets": {"jobType": job_type()}},
            "inputs": inputs(&namespace, datasets, &told),
            "outputs": outputs,
        })
    };
    let bare = json!({"namespace": namespace, "name": run.dataset, "facets": {"schema": schema(&told.fields)}});
    let outputs = match &run.outcome {
        Ended::Complete { rows, version } => vec![output(&namespace, &run.dataset, &told, (*rows, *version))],
        Ended::Fail(_) => vec![bare.clone()],
    };
    [event("START", &run.began, vec![bare], Map::new()), event(kind, &run.ended, outputs, run_facets)]
}

fn job(dataset: &str, told: &DatasetTold) -> String {
    if told.inputs.is_empty() { format!("landing.{dataset}") } else { format!("model.{dataset}") }
}

fn facet(name: &str, of: Value) -> Value {
    let mut facet = json!({"_producer": PRODUCER, "_schemaURL": format!("{FACETS}/{name}")});
    if let (Some(all), Value::Object(members)) = (facet.as_object_mut(), of) {
        all.extend(members);
    }
    facet
}

fn job_type() -> Value {
    let of = json!({"processingType": "STREAMING", "integration": "VITALAKE", "jobType": "JOB"});
    facet("2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet", of)
}

fn failure(class: &str) -> Value {
    let message = format!("the run failed; its cause is classed as {class} and stands in the platform's log");
    let of = json!({"message": message, "programmingLanguage": "SQL"});
    facet("1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet", of)
}

fn schema(fields: &[FieldTold]) -> Value {
    let field = |field: &FieldTold| {
        let mut told = json!({"name": field.name, "type": field.kind});
        if let (Some(members), Some(description)) = (told.as_object_mut(), &field.description) {
            members.insert("description".to_owned(), json!(description));
        }
        told
    };
    let fields: Vec<Value> = fields.iter().map(field).collect();
    facet("1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet", json!({"fields": fields}))
}

fn inputs(namespace: &str, datasets: &BTreeMap<String, DatasetTold>, told: &DatasetTold) -> Vec<Value> {
    let of = |name: &String| {
        let fields = datasets.get(name).map(|told| told.fields.as_slice()).unwrap_or_default();
        json!({"namespace": namespace, "name": name, "facets": {"schema": schema(fields)}})
    };
    let topic =
        told.topic.iter().map(|(broker, topic)| json!({"namespace": format!("kafka://{broker}"), "name": topic}));
    told.inputs.iter().map(of).chain(topic).collect()
}

fn output(namespace: &str, dataset: &str, told: &DatasetTold, (rows, version): (u64, Option<u64>)) -> Value {
    let statistics = facet(
        "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
        json!({"rowCount": rows}),
    );
    let metrics = facet(
        "1-0-0/DataQualityMetricsDatasetFacet.json#/$defs/DataQualityMetricsDatasetFacet",
        json!({"rowCount": rows, "columnMetrics": {}}),
    );
    let mut facets = json!({"schema": schema(&told.fields), "dataQualityMetrics": metrics});
    if let Some(members) = facets.as_object_mut() {
        if !told.columns.is_empty() {
            members.insert("columnLineage".to_owned(), column_lineage(namespace, told));
        }
        if let Some(version) = version {
            let of = json!({"datasetVersion": version.to_string()});
            members.insert(
                "version".to_owned(),
                facet("1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", of),
            );
        }
    }
    json!({"namespace": namespace, "name": dataset, "facets": facets, "outputFacets": {"outputStatistics": statistics}})
}

fn column_lineage(namespace: &str, told: &DatasetTold) -> Value {
    let from = |kind: &str, from: &From| {
        let transformation = json!({"type": kind, "subtype": from.how, "description": "", "masking": false});
        json!({"namespace": namespace, "name": from.dataset, "field": from.field, "transformations": [transformation]})
    };
    let fields: Map<String, Value> = told
        .columns
        .iter()
        .map(|(column, made)| {
            let made: Vec<Value> = made.iter().map(|of| from("DIRECT", of)).collect();
            (column.clone(), json!({"inputFields": made}))
        })
        .collect();
    let conditions: Vec<Value> = told.conditions.iter().map(|of| from("INDIRECT", of)).collect();
    let of = json!({"fields": fields, "dataset": conditions});
    facet("1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet", of)
}

#[cfg(test)]
mod tests;
