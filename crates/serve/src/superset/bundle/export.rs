//! Assets as Superset exports them, back as our YAML.
//!
//! What our files can say is read out of them; then the assets are made of it anew and compared. Invariant: what is given
//! makes the same assets, and what it cannot say is refused by name, with the reason.

mod page;
mod question;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use vitalake_contract::dashboard::{Chart, Dashboard, MeasureSet, write};

use super::context::Charted;
use super::{BundleError, Source, chart, dataset, page as made};
use page::Pages;

/// A thing that our files cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What: `chart "Average"`.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What became of an export.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Files of a project, by their paths.
    pub files: Vec<(String, String)>,
    /// What is not in them.
    pub refused: Vec<Refusal>,
}

/// Assets by their paths, read, as texts within them are (`params`, `query_context`).
pub type Assets = [(String, Json)];

/// The YAML of the dashboards among assets, and of the measures of their datasets.
///
/// Of `source`, project, contracts and addresses are used: its dashboards and measures are what the project has now.
#[must_use]
pub fn export(assets: &Assets, source: &Source<'_>) -> Exported {
    let mut exported = Exported::default();
    let sets = measures(assets, source, &mut exported);
    let with_sets = Source { measures: &sets, ..source.clone() };
    let mut pages = Pages { assets, source: &with_sets, refused: Vec::new(), read: BTreeMap::new() };
    let dashboards: Vec<Dashboard> =
        of_kind(assets, "dashboards").filter_map(|(_, page)| pages.dashboard(page)).collect();
    exported.refused.append(&mut pages.refused);
    for dashboard in dashboards {
        let path = format!("dashboards/{}.yaml", dashboard.name);
        exported.files.push((path, write::dashboard(&dashboard)));
    }
    exported.files.sort();
    exported
}

fn of_kind<'a>(assets: &'a Assets, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Json)> {
    let is_kind = move |path: &str| path.split('/').any(|part| part == kind);
    assets.iter().filter(move |(path, _)| is_kind(path)).map(|(path, file)| (path.as_str(), file))
}

/// The measures of every dataset that has a serving contract.
fn measures(assets: &Assets, source: &Source<'_>, exported: &mut Exported) -> Vec<MeasureSet> {
    let mut sets = Vec::new();
    for (_, file) in of_kind(assets, "datasets") {
        let name = text(file, "/table_name").unwrap_or_default();
        let Ok(charted) = Charted::find(source, name) else {
            let reason = "the project has no serving contract of this name".to_owned();
            exported.refused.push(Refusal { what: format!("dataset \"{name}\""), reason });
            continue;
        };
        let set = in_order(question::measure_set(file, &charted), charted.set);
        for reason in lost_columns(file, source, &charted, &set) {
            exported.refused.push(Refusal { what: format!("dataset \"{name}\""), reason });
        }
        if !set.measures.is_empty() || !set.dimensions.is_empty() {
            let path = format!("measures/{name}.yaml");
            exported.files.push((path, write::measures(&set, charted.contract)));
        }
        sets.push(set);
    }
    sets
}

/// Measures in the order in which the project has them, as Superset keeps none; others after these, by name.
fn in_order(mut set: MeasureSet, known: Option<&MeasureSet>) -> MeasureSet {
    let measure = |name: &str| known?.measures.iter().position(|measure| measure.name == name);
    let dimension = |name: &str| known?.dimensions.iter().position(|dimension| dimension.name == name);
    let place = |at: Option<usize>, name: &str| (at.unwrap_or(usize::MAX), name.to_owned());
    set.measures.sort_by_key(|one| place(measure(&one.name), &one.name));
    set.dimensions.sort_by_key(|one| place(dimension(&one.name), &one.name));
    set
}

/// What the dataset's file says that the measures made of it do not.
fn lost_columns(file: &Json, source: &Source<'_>, charted: &Charted<'_>, set: &MeasureSet) -> Vec<String> {
    let again = dataset::dataset(source, &Charted { set: Some(set), ..*charted });
    let mut lost = Vec::new();
    for (list, name, what) in [("columns", "column_name", "column"), ("metrics", "metric_name", "measure")] {
        let (theirs, ours) = (by_name(file, list, name), by_name(&again, list, name));
        for (item, theirs) in theirs {
            let keys = ["expression", "verbose_name", "description", "d3format"];
            let differs = |ours: &Json| {
                keys.into_iter().find(|key| !is_same(theirs.get(*key), ours.get(*key))).map(|key| {
                    format!("the {what} {item} has another `{key}` than a contract and a file of measures can say")
                })
            };
            match ours.get(&item) {
                Some(ours) => lost.extend(differs(ours)),
                None => lost.push(format!("the {what} {item} cannot be said")),
            }
        }
    }
    lost
}

fn by_name(file: &Json, list: &str, name: &str) -> BTreeMap<String, Json> {
    let items = file.get(list).and_then(Json::as_array).into_iter().flatten();
    items.filter_map(|item| Some((item.get(name)?.as_str()?.to_owned(), item.clone()))).collect()
}

/// A chart's settings that differ from what its YAML gives: those that are Superset's own go under `superset:`.
fn own_settings(
    params: &Map<String, Json>,
    charted: &Charted<'_>,
    dashboard: &Dashboard,
    chart: &Chart,
) -> Result<Map<String, Json>, BundleError> {
    // Keys that Superset writes itself, or that our files say.
    const NOTHING: [&str; 8] = [
        "datasource",
        "slice_id",
        "url_params",
        "dashboards",
        "viz_type",
        "vitalake_project",
        "adhoc_filters",
        "extra_form_data",
    ];
    let made = chart::params(charted, dashboard, chart)?;
    let other = params
        .iter()
        .filter(|(key, value)| !NOTHING.contains(&key.as_str()) && !is_same(Some(value), made.get(key.as_str())));
    Ok(other.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Whether two values say the same; none and nothing do.
fn is_same(one: Option<&Json>, other: Option<&Json>) -> bool {
    let said = |value: Option<&Json>| match value {
        None | Some(Json::Null | Json::Bool(false)) => Json::Null,
        Some(Json::String(text)) if text.is_empty() => Json::Null,
        Some(Json::Array(items)) if items.is_empty() => Json::Null,
        Some(Json::Object(items)) if items.is_empty() => Json::Null,
        Some(Json::Number(number)) => number.as_f64().map_or(Json::Null, Json::from),
        Some(value) => value.clone(),
    };
    said(one) == said(other)
}

fn text<'a>(file: &'a Json, pointer: &str) -> Option<&'a str> {
    file.pointer(pointer).and_then(Json::as_str).filter(|text| !text.is_empty())
}

/// A value that may be written as a text of JSON.
fn parsed(file: &Json, key: &str) -> Json {
    match file.get(key) {
        Some(Json::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
        None => Json::Null,
    }
}

#[cfg(test)]
mod tests;
