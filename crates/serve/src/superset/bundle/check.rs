//! Whether files of a bundle hold together: what Superset would take without a word, or refuse without saying which.
//!
//! Invariant: in a bundle that passes, every id that is referred to is a file's, every file has an id of its own, and every
//! number and name of a chart's place is there once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::BundleError;

/// Looks through files by their paths below the bundle's folder.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(files: &[(String, Json)]) -> Result<(), BundleError> {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (path, file) in files.iter().filter(|(path, _)| path.contains('/')) {
        let id = text(file, "/uuid").ok_or_else(|| wrong(path, "it has no uuid"))?;
        if !ids.insert(id) {
            return Err(wrong(path, "its uuid is another's, too"));
        }
        known.entry(folder(path)).or_default().insert(id);
    }
    let is_known =
        |kind: &str, id: Option<&str>| id.is_some_and(|id| known.get(kind).is_some_and(|ids| ids.contains(id)));
    for (path, file) in files {
        match folder(path) {
            "datasets" => {
                if !is_known("databases", text(file, "/database_uuid")) {
                    return Err(wrong(path, "its database is not in the bundle"));
                }
                check_names(path, file, "columns", "column_name")?;
                check_names(path, file, "metrics", "metric_name")?;
            }
            "charts" => {
                if !is_known("datasets", text(file, "/dataset_uuid")) {
                    return Err(wrong(path, "its dataset is not in the bundle"));
                }
                let context = text(file, "/query_context").unwrap_or_default();
                if serde_json::from_str::<Json>(context).is_err() {
                    return Err(wrong(path, "it has no question"));
                }
            }
            "dashboards" => check_dashboard(path, file, &is_known)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_dashboard(path: &str, file: &Json, is_known: &dyn Fn(&str, Option<&str>) -> bool) -> Result<(), BundleError> {
    let elements =
        file.pointer("/position").and_then(Json::as_object).ok_or_else(|| wrong(path, "it has no layout"))?;
    let mut numbers = BTreeSet::new();
    for (name, element) in elements.iter().filter(|(_, element)| element.is_object()) {
        let children = element.pointer("/children").and_then(Json::as_array).into_iter().flatten();
        if let Some(child) = children.filter_map(Json::as_str).find(|child| !elements.contains_key(*child)) {
            return Err(wrong(path, &format!("{name} holds {child}, which is not there")));
        }
        if text(element, "/type") != Some("CHART") {
            continue;
        }
        if !is_known("charts", text(element, "/meta/uuid")) {
            return Err(wrong(path, &format!("the chart of {name} is not in the bundle")));
        }
        let number = element.pointer("/meta/chartId").and_then(Json::as_u64).filter(|number| *number > 0);
        if number.is_none_or(|number| !numbers.insert(number)) {
            return Err(wrong(path, &format!("{name} has no number of its own")));
        }
    }
    let filters = file.pointer("/metadata/native_filter_configuration").and_then(Json::as_array);
    for filter in filters.into_iter().flatten() {
        let targets = filter.pointer("/targets").and_then(Json::as_array).into_iter().flatten();
        let mut named = targets.filter_map(|target| target.get("datasetUuid"));
        if named.any(|id| !is_known("datasets", id.as_str())) {
            return Err(wrong(path, "a filter's dataset is not in the bundle"));
        }
        let excluded = filter.pointer("/scope/excluded").and_then(Json::as_array).into_iter().flatten();
        if excluded.filter_map(Json::as_u64).any(|number| !numbers.contains(&number)) {
            return Err(wrong(path, "a filter leaves out a chart that is not there"));
        }
    }
    Ok(())
}

fn check_names(path: &str, file: &Json, list: &str, key: &str) -> Result<(), BundleError> {
    let mut names = BTreeSet::new();
    let items = file.get(list).and_then(Json::as_array).into_iter().flatten();
    for name in items.filter_map(|item| item.get(key)?.as_str()) {
        if !names.insert(name) {
            return Err(wrong(path, &format!("{name} stands twice among its {list}")));
        }
    }
    Ok(())
}

fn folder(path: &str) -> &str {
    path.split_once('/').map_or("", |(folder, _)| folder)
}

fn text<'a>(file: &'a Json, pointer: &str) -> Option<&'a str> {
    file.pointer(pointer).and_then(Json::as_str)
}

fn wrong(file: &str, reason: &str) -> BundleError {
    BundleError::Wrong { file: file.to_owned(), reason: reason.to_owned() }
}
