//! Normal forms: what two files of one asset say alike however they are written, and the words for where they differ.
//!
//! Superset's export adds keys, its own numbers and defaults, and the page adds colours when somebody looks at it. So what is
//! compared is what our file says; only a layout, a dataset's columns and its measures are compared whole. Invariant: what
//! has been imported and not changed since has no difference.

use serde_json::{Map, Value as Json};

use super::asset::Asset;
use crate::superset::bundle::AssetKind;
use crate::superset::client::form::{split_password, with_options_in_order};

/// One place where two files differ, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: `measure avg_bpm: expression`.
    pub what: String,
    /// What is there; nothing where there is none.
    pub from: Option<String>,
    /// What will be.
    pub to: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from.is_empty() && to.is_empty() => write!(f, "{}", self.what),
            (Some(from), Some(to)) => write!(f, "{}: {from} → {to}", self.what),
            (None, Some(to)) if to.is_empty() => write!(f, "{} is new", self.what),
            (None, Some(to)) => write!(f, "{}: {to} is new", self.what),
            (Some(from), None) if from.is_empty() => write!(f, "{} goes", self.what),
            (Some(from), None) => write!(f, "{}: {from} goes", self.what),
            (None, None) => write!(f, "{}", self.what),
        }
    }
}

/// Keys that say nothing of what an asset is.
const NOTHING: &[&str] = &["uuid", "version", "is_managed_externally", "external_url", "allow_csv_upload", "timestamp"];
const TEXT_CHARS_MAX: usize = 60;

/// Where ours says something else than theirs.
#[must_use]
pub fn differences(ours: &Asset, theirs: &Asset) -> Vec<Difference> {
    let (ours, theirs) = (normal(ours), normal(theirs));
    let mut found = Vec::new();
    compare(&mut Vec::new(), &ours, &theirs, &mut found);
    // The query context follows from the settings: it is told only where nothing else is.
    if found.iter().any(|difference| !difference.what.starts_with(QUERY)) {
        found.retain(|difference| !difference.what.starts_with(QUERY));
    } else {
        found.truncate(1);
    }
    found.dedup();
    found
}

const QUERY: &str = "query";

/// The normal form of an asset.
#[must_use]
pub fn normal(asset: &Asset) -> Json {
    let mut body = asset.body.as_object().cloned().unwrap_or_default();
    for key in NOTHING {
        body.remove(*key);
    }
    for key in ["params", "query_context", "extra", "metadata", "position"] {
        let parsed = body.get(key).and_then(Json::as_str).and_then(|text| serde_json::from_str(text).ok());
        if let Some(parsed) = parsed {
            body.insert(key.to_owned(), parsed);
        }
    }
    match asset.kind {
        AssetKind::Database => {
            let uri = body.get("sqlalchemy_uri").and_then(Json::as_str).map(|uri| {
                // Its password is not shown, and its options are written anew.
                with_options_in_order(&split_password(uri).0)
            });
            uri.into_iter().for_each(|uri| drop(body.insert("sqlalchemy_uri".into(), uri.into())));
        }
        AssetKind::Dataset => {
            for (list, name) in [("columns", "column_name"), ("metrics", "metric_name")] {
                let named = body.get(list).and_then(Json::as_array).map(|items| by_name(items, name));
                named.into_iter().for_each(|named| drop(body.insert(list.into(), Json::Object(named))));
            }
        }
        AssetKind::Chart => {
            without(body.get_mut("params"), &["datasource", "slice_id", "annotation_layers"]);
            let context = body.get_mut("query_context");
            if let Some(Json::Object(context)) = context {
                context.remove("datasource");
                context.remove("form_data");
                context.remove("slice_id");
            }
        }
        AssetKind::Dashboard => {
            without(body.get_mut("metadata"), &["chart_configuration", "global_chart_configuration"]);
            name_excluded_charts(&mut body);
            for (_, piece) in body.get_mut("position").and_then(Json::as_object_mut).into_iter().flatten() {
                without(piece.get_mut("meta"), &["chartId"]);
            }
        }
    }
    Json::Object(body)
}

/// A filter names the charts that it leaves alone by their numbers there, or in our file: here by their ids.
fn name_excluded_charts(body: &mut Map<String, Json>) {
    let pieces = body.get("position").and_then(Json::as_object).into_iter().flatten();
    let ids: Vec<(Json, Json)> = pieces
        .filter_map(|(_, piece)| Some((piece.pointer("/meta/chartId")?.clone(), piece.pointer("/meta/uuid")?.clone())))
        .collect();
    let filters = body.get_mut("metadata").and_then(|metadata| metadata.get_mut("native_filter_configuration"));
    for filter in filters.and_then(Json::as_array_mut).into_iter().flatten() {
        let Some(Json::Array(excluded)) = filter.pointer_mut("/scope/excluded") else { continue };
        let id = |number: &Json| ids.iter().find(|(known, _)| known == number).map(|(_, id)| id.clone());
        let mut named: Vec<Json> = excluded.iter().filter_map(id).collect();
        named.sort_by_key(ToString::to_string);
        *excluded = named;
    }
}

fn without(object: Option<&mut Json>, keys: &[&str]) {
    if let Some(Json::Object(object)) = object {
        keys.iter().for_each(|key| drop(object.remove(*key)));
    }
}

fn by_name(items: &[Json], key: &str) -> Map<String, Json> {
    let named = items.iter().filter_map(|item| {
        let name = item.get(key)?.as_str()?.to_owned();
        let mut item = item.clone();
        // A piece of an asset is not marked by its kind; extra may be a text.
        if let Some(Json::String(text)) = item.get("extra") {
            let parsed: Option<Json> = serde_json::from_str(text).ok();
            if let (Some(parsed), Some(item)) = (parsed, item.as_object_mut()) {
                item.insert("extra".into(), parsed);
            }
        }
        Some((name, item))
    });
    named.collect()
}

fn compare(path: &mut Vec<String>, ours: &Json, theirs: &Json, found: &mut Vec<Difference>) {
    if is_same(ours, theirs) {
        return;
    }
    match (ours, theirs) {
        (Json::Object(ours), Json::Object(theirs)) => {
            for (key, value) in ours {
                path.push(key.clone());
                compare(path, value, theirs.get(key).unwrap_or(&Json::Null), found);
                path.pop();
            }
            if is_whole(path) {
                for (key, value) in theirs.iter().filter(|(key, _)| !ours.contains_key(*key)) {
                    path.push(key.clone());
                    found.push(told(path, Some(value), None));
                    path.pop();
                }
            }
        }
        (Json::Array(ours), Json::Array(theirs)) if ours.len() == theirs.len() && !is_plain_list(ours) => {
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                let name = ours.get("name").and_then(Json::as_str);
                path.push(name.map_or_else(|| (at + 1).to_string(), str::to_owned));
                compare(path, ours, theirs, found);
                path.pop();
            }
        }
        _ => found.push(told(path, (!is_nothing(theirs)).then_some(theirs), (!is_nothing(ours)).then_some(ours))),
    }
}

/// Whether what only theirs has is a difference here.
fn is_whole(path: &[String]) -> bool {
    matches!(path, [one] if matches!(one.as_str(), "position" | "columns" | "metrics"))
}

fn is_plain_list(items: &[Json]) -> bool {
    items.iter().all(|item| !item.is_object() && !item.is_array())
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(object) => object.values().all(is_nothing),
        Json::Bool(_) | Json::Number(_) => false,
    }
}

fn is_same(ours: &Json, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Json::Number(one), Json::Number(other)) => one.as_f64() == other.as_f64(),
        // What an empty or a false setting is where there is none.
        (Json::Bool(false), Json::Null) => true,
        _ => ours == theirs || is_nothing(ours) && is_nothing(theirs),
    }
}

fn told(path: &[String], from: Option<&Json>, to: Option<&Json>) -> Difference {
    let what = words(path);
    let in_words_alone = |piece: Option<&String>| piece.is_some_and(|piece| piece == "position" || piece == "excluded");
    if in_words_alone(path.first()) || in_words_alone(path.last()) {
        let (from, to) = (from.map(|_| String::new()), to.map(|_| String::new()));
        return Difference { what, from: from.or(Some(String::new())), to: to.or(Some(String::new())) };
    }
    Difference { what, from: from.map(shown), to: to.map(shown) }
}

/// A value as it is shown: short, and nothing of an object's inside.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) if text.chars().count() > TEXT_CHARS_MAX => {
            format!("{}…", text.chars().take(TEXT_CHARS_MAX).collect::<String>().replace('\n', " "))
        }
        Json::String(text) => text.replace('\n', " "),
        Json::Array(items) if is_plain_list(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Json::Array(_) | Json::Object(_) => String::new(),
        other => other.to_string(),
    }
}

/// A place of a file in the words of a dashboard.
fn words(path: &[String]) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let [first, rest @ ..] = path.as_slice() else { return "all of it".into() };
    let last = rest.last().copied().unwrap_or_default();
    match (*first, rest) {
        ("position", _) => "layout".into(),
        ("query_context", _) => format!("{QUERY} of its data"),
        ("metadata", ["native_filter_configuration", ..]) => "filters".into(),
        ("metadata", ["refresh_frequency"]) => "refreshed every (seconds)".into(),
        ("columns", [name]) => format!("column {name}"),
        ("columns", [name, ..]) => format!("column {name}: {}", word(last)),
        ("metrics", [name]) => format!("measure {name}"),
        ("metrics", [name, ..]) => format!("measure {name}: {}", word(last)),
        ("params", ["adhoc_filters", ..]) => "conditions".into(),
        ("params" | "metadata" | "extra", [key, ..]) => word(key).into(),
        (key, _) => word(key).into(),
    }
}

fn word(key: &str) -> &str {
    match key {
        "slice_name" | "dashboard_title" | "verbose_name" => "title",
        "viz_type" => "type",
        "metric" | "metrics" => "measure",
        "groupby" | "groupbyColumns" => "by",
        "groupbyRows" => "rows",
        "x_axis" => "axis",
        "time_grain_sqla" => "step of time",
        "y_axis_format" | "d3format" | "valueFormat" => "format",
        "row_limit" => "limit",
        "sqlalchemy_uri" => "address",
        "main_dttm_col" => "time column",
        "vitalake_project" => "mark of the project",
        "certified_by" | "certification" => "certified by",
        other => other,
    }
}

#[cfg(test)]
mod tests;
