#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use vitalake_contract::dashboard::{Dashboard, MeasureSet};
use vitalake_contract::diagnostic::render;
use vitalake_contract::{Contract, Project};

use super::*;

/// A project that was read: its parts as a source wants them.
pub(super) struct Parts {
    pub(super) dashboards: Vec<Dashboard>,
    pub(super) measures: Vec<MeasureSet>,
    pub(super) contracts: Vec<Arc<Contract>>,
}

impl Parts {
    pub(super) fn load(root: &Path) -> Self {
        let (project, found) = Project::load(root);
        assert!(found.is_empty(), "{}", render(&found, false));
        Self {
            dashboards: project.dashboards.into_iter().map(|file| file.dashboard).collect(),
            measures: project.measures.into_iter().map(|file| file.measures).collect(),
            contracts: project.contracts,
        }
    }

    /// The example project.
    pub(super) fn example() -> Self {
        Self::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care"))
    }

    /// The example project with another dashboard.
    pub(super) fn with(dashboard: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care"), folder.path());
        std::fs::write(folder.path().join("dashboards/morning_round.yaml"), dashboard).unwrap();
        Self::load(folder.path())
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source {
            project: "remote-care",
            dashboards: &self.dashboards,
            measures: &self.measures,
            contracts: &self.contracts,
            database: Database { uri: "druid://h:1/druid/v2/sql/?header=true", schema: "druid" },
            gates: BTreeMap::from([("vitals_hourly".to_owned(), "gate passed".to_owned())]),
            managed_at: "https://git/remote-care/",
            runbooks_at: "http://h:8888/runbooks",
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

pub(super) fn files(parts: &Parts) -> Vec<(String, Json)> {
    let bundle = Bundle::of(&parts.source()).unwrap();
    bundle.files.iter().map(|(path, bytes)| (path.clone(), serde_json::from_slice(bytes).unwrap())).collect()
}

fn file(files: &[(String, Json)], path: &str) -> Json {
    files.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("no {path}")).1.clone()
}

#[test]
fn the_example_is_one_bundle_that_holds_together() {
    let files = files(&Parts::example());
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths.iter().filter(|path| path.starts_with("charts/")).count(), 10);
    assert!(paths.contains(&"datasets/vitalake/vitals_hourly.yaml") && paths.contains(&"metadata.yaml"));
    assert_eq!(check(&files), Ok(()));
}

#[test]
fn a_dataset_has_the_contracts_words_units_and_certification() {
    let dataset = file(&files(&Parts::example()), "datasets/vitalake/vitals_hourly.yaml");
    assert_eq!(dataset["main_dttm_col"], "__time");
    let column = |name: &str| {
        dataset["columns"].as_array().unwrap().iter().find(|column| column["column_name"] == name).cloned()
    };
    let time = column("__time").unwrap();
    assert_eq!((time["is_dttm"].clone(), time["verbose_name"].clone()), (json!(true), json!("Hour")));
    assert_eq!(column("hour"), None, "the time has one name");
    assert_eq!(column("spo2_min").unwrap()["verbose_name"], "Lowest oxygen saturation (%)");
    let metric = |name: &str| {
        dataset["metrics"].as_array().unwrap().iter().find(|metric| metric["metric_name"] == name).cloned().unwrap()
    };
    assert_eq!(metric("heart_rate")["verbose_name"], "Heart rate (bpm)");
    assert_eq!(metric("heart_rate")["d3format"], ",.1f");
    assert_eq!(metric("patients_low_oxygen")["d3format"], ",d");
    assert_eq!(
        metric("patients_low_oxygen")["verbose_name"],
        "Patients with low oxygen",
        "what is counted has no unit"
    );
    assert_eq!(dataset["extra"]["certification"]["details"], "Contract 1.0.0, gate passed");
}

pub(super) const EVERY_TYPE: &str = "
title: Every type
dataset: vitals_hourly
period: last 2 days
filters: [time, {dimension: patient_id, title: Who, multiple: false, default: [pat-0001]}]
rows:
  - [one, trend, note]
  - [line, bars, area]
  - [table, raw]
  - [heat, pivot]
charts:
  one: {type: number, measure: steps_total, where: steps > 0}
  trend: {type: number, measure: heart_rate, trend: true, grain: day}
  note: {type: text, text: Look, runbook: readings_silent}
  line: {type: line, measures: [heart_rate, oxygen], period: today}
  bars: {type: bar, measure: steps_total, x: patient_id, limit: 7, sort: steps_total ascending}
  area: {type: area, measure: steps_total, by: [patient_id], stacked: true, superset: {show_legend: false}}
  table: {type: table, by: [time, patient_id], measures: [heart_rate], grain: 6 hours, sort: heart_rate}
  raw: {type: table, columns: [time, patient_id, steps], limit: 50}
  heat: {type: heatmap, x: time, y: patient_id, measure: heart_rate}
  pivot: {type: pivot, rows: [patient_id], columns: [time], measures: [steps_total, oxygen]}
";

fn chart(files: &[(String, Json)], name: &str) -> (Json, Json) {
    let chart = file(files, &format!("charts/morning_round__{name}.yaml"));
    let context: Json = serde_json::from_str(chart["query_context"].as_str().unwrap()).unwrap();
    (chart, context["queries"][0].clone())
}

#[test]
fn every_type_has_settings_and_a_question_that_say_the_same() {
    let files = files(&Parts::with(EVERY_TYPE));
    let time = |grain: &str| json!({"timeGrain": grain, "columnType": "BASE_AXIS", "sqlExpression": "__time", "label": "__time", "expressionType": "SQL"});
    let cases: [(&str, &str, Json, Json); 9] = [
        ("one", "big_number_total", json!([]), json!(["steps_total"])),
        ("trend", "big_number", json!([time("P1D")]), json!(["heart_rate"])),
        ("line", "echarts_timeseries_line", json!([time("PT1H")]), json!(["heart_rate", "oxygen"])),
        (
            "bars",
            "echarts_timeseries_bar",
            json!([{"columnType": "BASE_AXIS", "sqlExpression": "patient_id", "label": "patient_id", "expressionType": "SQL"}]),
            json!(["steps_total"]),
        ),
        ("area", "echarts_area", json!([time("PT1H"), "patient_id"]), json!(["steps_total"])),
        ("table", "table", json!([time("PT6H"), "patient_id"]), json!(["heart_rate"])),
        ("raw", "table", json!(["__time", "patient_id", "steps"]), Json::Null),
        ("heat", "heatmap_v2", json!([time("PT1H"), "patient_id"]), json!(["heart_rate"])),
        ("pivot", "pivot_table_v2", json!(["patient_id", time("PT1H")]), json!(["steps_total", "oxygen"])),
    ];
    for (name, kind, columns, metrics) in cases {
        let (chart, query) = chart(&files, name);
        assert_eq!(chart["viz_type"], kind, "{name}");
        assert_eq!(query["columns"], columns, "{name}");
        assert_eq!(query["metrics"], metrics, "{name}");
        assert_eq!(chart["params"]["adhoc_filters"][0]["operator"], "TEMPORAL_RANGE", "{name}");
        assert_eq!(query["filters"][0]["val"], chart["params"]["adhoc_filters"][0]["comparator"], "{name}");
    }
    let (one, asked) = chart(&files, "one");
    assert_eq!(one["params"]["adhoc_filters"][1]["sqlExpression"], "steps > 0");
    assert_eq!(asked["extras"]["where"], "(steps > 0)");
    let (_, bars) = chart(&files, "bars");
    assert_eq!((bars["orderby"].clone(), bars["row_limit"].clone()), (json!([["steps_total", true]]), json!(7)));
    let (area, asked) = chart(&files, "area");
    assert_eq!(
        (area["params"]["show_legend"].clone(), area["params"]["stack"].clone()),
        (json!(false), json!("Stack"))
    );
    let steps: Vec<&Json> =
        asked["post_processing"].as_array().unwrap().iter().map(|step| &step["operation"]).collect();
    assert_eq!(steps, ["pivot", "rename", "flatten"]);
}

#[test]
fn the_pages_time_leaves_out_charts_that_have_their_own() {
    let files = files(&Parts::with(EVERY_TYPE));
    let page = file(&files, "dashboards/morning_round.yaml");
    let filters = &page["metadata"]["native_filter_configuration"];
    let line = page["position"]["CHART-line"]["meta"]["chartId"].clone();
    assert_eq!(filters[0]["scope"]["excluded"], json!([line]));
    assert_eq!(
        filters[0]["defaultDataMask"]["extraFormData"]["time_range"],
        "DATEADD(DATETIME(\"now\"), -2, day) : now"
    );
    assert_eq!(filters[1]["controlValues"]["multiSelect"], false);
    assert_eq!(filters[1]["defaultDataMask"]["extraFormData"]["filters"][0]["val"], json!(["pat-0001"]));
    assert!(
        page["position"]["MARKDOWN-note"]["meta"]["code"]
            .as_str()
            .unwrap()
            .contains("(http://h:8888/runbooks/readings_silent)")
    );
    let widths: Vec<&Json> =
        ["CHART-line", "CHART-bars", "CHART-area"].iter().map(|id| &page["position"][*id]["meta"]["width"]).collect();
    assert_eq!(widths, [&json!(4), &json!(4), &json!(4)]);
}

#[rstest::rstest]
#[case::chart("dashboards/morning_round.yaml", "/position/CHART-one/meta/uuid", json!("x"), "is not in the bundle")]
#[case::number("dashboards/morning_round.yaml", "/position/CHART-one/meta/chartId", json!(2), "no number of its own")]
#[case::child("dashboards/morning_round.yaml", "/position/ROW-1/children/0", json!("CHART-x"), "which is not there")]
#[case::filter("dashboards/morning_round.yaml", "/metadata/native_filter_configuration/1/targets/0/datasetUuid", json!("x"), "filter's dataset")]
#[case::dataset("charts/morning_round__one.yaml", "/dataset_uuid", json!("x"), "its dataset is not")]
#[case::question("charts/morning_round__one.yaml", "/query_context", Json::Null, "no question")]
#[case::database("datasets/vitalake/vitals_hourly.yaml", "/database_uuid", json!("x"), "its database is not")]
#[case::column("datasets/vitalake/vitals_hourly.yaml", "/columns/1/column_name", json!("__time"), "stands twice")]
fn what_superset_would_swallow_is_refused(
    #[case] path: &str,
    #[case] pointer: &str,
    #[case] value: Json,
    #[case] reason: &str,
) {
    let mut files = files(&Parts::with(EVERY_TYPE));
    let (_, changed) = files.iter_mut().find(|(known, _)| known == path).unwrap();
    *changed.pointer_mut(pointer).unwrap() = value;
    let error = check(&files).unwrap_err().to_string();
    assert!(error.contains(path) && error.contains(reason), "{error}");
}
