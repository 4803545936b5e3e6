#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::path::Path;

use serde_json::{Value as Json, json};

use super::super::tests::{EVERY_TYPE, Parts, files};
use super::*;

fn exported(parts: &Parts, change: impl FnOnce(&mut [(String, Json)])) -> Exported {
    let mut files = files(parts);
    change(&mut files);
    export(&files, &parts.source())
}

/// What Superset does to what it was given: other paths, its own numbers, texts of JSON, defaults.
fn as_superset_exports(files: &mut [(String, Json)]) {
    for (path, file) in files.iter_mut() {
        *path = format!("assets_export/{}_7.yaml", path.trim_end_matches(".yaml"));
        if path.contains("/charts/") {
            file["params"]["datasource"] = json!("7__table");
            file["params"]["slice_id"] = json!(12);
            file["query_context"] = Json::Null;
        }
        if path.contains("/dashboards/") {
            for element in file["position"].as_object_mut().unwrap().values_mut() {
                if let Some(id) = element.pointer_mut("/meta/chartId") {
                    *id = json!(id.as_u64().unwrap() + 40);
                }
            }
            file["css"] = Json::Null;
        }
        // A dataset's columns and measures come back in no order.
        for list in ["columns", "metrics"] {
            file.get_mut(list).and_then(Json::as_array_mut).into_iter().for_each(|items| items.reverse());
        }
        file.as_object_mut().unwrap().remove("is_managed_externally");
        file.as_object_mut().unwrap().remove("external_url");
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("# ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_examples_yaml_comes_back_as_it_is_written() {
    let exported = exported(&Parts::example(), as_superset_exports);
    assert_eq!(exported.refused, []);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care");
    assert_eq!(exported.files.len(), 3);
    for (path, text) in &exported.files {
        let written = std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(*text, without_comments(&written), "{path}");
    }
}

#[test]
fn every_type_comes_back_as_the_same_dashboard() {
    let parts = Parts::with(EVERY_TYPE);
    let exported = exported(&parts, as_superset_exports);
    assert_eq!(exported.refused, []);
    let page = &exported.files.iter().find(|(path, _)| path == "dashboards/morning_round.yaml").unwrap().1;
    assert_eq!(Parts::with(page).dashboards, parts.dashboards, "{page}");
}

fn of<'a>(files: &'a mut [(String, Json)], path: &str) -> &'a mut Json {
    &mut files.iter_mut().find(|(known, _)| known == path).unwrap().1
}

const LINE: &str = "charts/morning_round__line.yaml";
const PAGE: &str = "dashboards/morning_round.yaml";

#[test]
fn a_setting_of_supersets_own_goes_under_its_key() {
    let exported = exported(&Parts::with(EVERY_TYPE), |files| {
        of(files, LINE)["params"]["markerEnabled"] = json!(true);
    });
    assert_eq!(exported.refused, []);
    let page = &exported.files.iter().find(|(path, _)| path == PAGE).unwrap().1;
    assert!(page.contains("    superset: {\"markerEnabled\":true}\n"), "{page}");
}

#[rstest::rstest]
#[case::kind(LINE, "/viz_type", json!("pie"), "pie")]
#[case::adhoc_measure(LINE, "/params/metrics/0", json!({"expressionType": "SQL"}), "a measure of its own")]
#[case::unknown_measure(LINE, "/params/metrics/0", json!("nosuch"), "nosuch")]
#[case::dimension(LINE, "/params/groupby", json!([{"sqlExpression": "1"}]), "expression of its own")]
#[case::time(LINE, "/params/adhoc_filters/0/comparator", json!("Last week"), "Last week")]
#[case::condition(LINE, "/params/adhoc_filters/0/operator", json!("IN"), "condition")]
#[case::grain(LINE, "/params/time_grain_sqla", json!("PT10M"), "PT10M")]
#[case::tabs(PAGE, "/position/ROW-1/type", json!("TABS"), "TABS")]
#[case::styles(PAGE, "/css", json!("a {}"), "styles")]
#[case::filter(PAGE, "/metadata/native_filter_configuration/1/filterType", json!("filter_range"), "filter_range")]
#[case::column("datasets/vitalake/vitals_hourly.yaml", "/columns/2/column_name", json!("nosuch"), "nosuch")]
fn what_cannot_be_said_is_refused_with_the_reason(
    #[case] path: &str,
    #[case] pointer: &str,
    #[case] value: Json,
    #[case] reason: &str,
) {
    let exported = exported(&Parts::with(EVERY_TYPE), |files| {
        *of(files, path).pointer_mut(pointer).unwrap() = value;
    });
    assert!(exported.refused.iter().any(|refusal| refusal.reason.contains(reason)), "{:?}", exported.refused);
}
