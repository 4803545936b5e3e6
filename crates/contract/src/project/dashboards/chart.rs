//! One chart of a dashboard's file, key by key.
//!
//! Invariant: a key has a meaning for the chart's type, or it is a finding.

use super::file::{File, did_you_mean};
use super::measures::expression;
use super::page::period;
use crate::contract::DatasetName;
use crate::dashboard::{COLUMNS, Chart, Content, Form, Grain, Piece, SeriesStyle, Sort, TIME, title_of};
use crate::yaml::{Entry, Node, Place, shorten};

const TYPES: [&str; 8] = ["number", "line", "bar", "area", "table", "heatmap", "pivot", "text"];
/// What others call the types.
const OTHER_WORDS: [(&str, &str); 10] = [
    ("kpi", "number"),
    ("big_number", "number"),
    ("metric", "number"),
    ("timeseries", "line"),
    ("column", "bar"),
    ("columns", "bar"),
    ("heat_map", "heatmap"),
    ("pivot_table", "pivot"),
    ("markdown", "text"),
    ("note", "text"),
];
/// Keys of every chart.
const COMMON: [&str; 11] =
    ["type", "title", "description", "dataset", "period", "grain", "where", "limit", "width", "height", "superset"];
/// The keys of one type beside those.
const OWN: [(&str, &[&str]); 8] = [
    ("number", &["measure", "trend"]),
    ("line", &["measure", "measures", "by", "sort"]),
    ("bar", &["measure", "measures", "x", "by", "stacked", "sort"]),
    ("area", &["measure", "measures", "by", "stacked", "sort"]),
    ("table", &["by", "measure", "measures", "columns", "sort"]),
    ("heatmap", &["x", "y", "measure"]),
    ("pivot", &["rows", "columns", "measure", "measures", "sort"]),
    ("text", &["text", "runbook"]),
];
const TEXT_KEYS: [&str; 5] = ["type", "text", "runbook", "width", "height"];
const LIMIT_MAX: u32 = 50_000;
const HEIGHT_MAX: u32 = 200;

/// A chart or a text; `dataset` is the page's.
pub(super) fn piece(file: &mut File<'_>, entry: &Entry, dataset: Option<&Node>) -> Option<Piece> {
    let node = &entry.node;
    let is_name = file.is_name(&entry.key, entry.place, "chart");
    if !file.is_map(node, "a chart", "write its `type:` below its name") {
        return None;
    }
    let kind = kind(file, entry)?;
    check_keys(file, node, kind);
    let width = file.number(node, "width", COLUMNS.into()).and_then(|width| u8::try_from(width).ok());
    let height = file.number(node, "height", HEIGHT_MAX).and_then(|height| u16::try_from(height).ok());
    let content = match kind {
        "text" => text(file, entry),
        _ => chart(file, entry, kind, dataset).map(|chart| Content::Chart(Box::new(chart))),
    };
    Some(Piece { name: entry.key.clone(), width, height, content: content? }).filter(|_| is_name)
}

fn kind(file: &mut File<'_>, entry: &Entry) -> Option<&'static str> {
    let Some(node) = entry.node.get("type") else {
        if entry.node.get("text").is_some() {
            return Some("text");
        }
        let message = format!("the chart `{}` has no `type`", shorten(&entry.key));
        file.error(entry.place, "missing-key", message, format!("add one of {}", TYPES.join(", ")));
        return None;
    };
    let word = node.text().unwrap_or_default();
    let plain = word.to_ascii_lowercase().replace([' ', '-'], "_");
    if let Some((_, ours)) = OTHER_WORDS.iter().find(|(theirs, _)| *theirs == plain) {
        let message = format!("there is no chart type `{}`", shorten(word));
        file.error(node.place, "unknown-type", message, format!("did you mean `{ours}`?"));
        return None;
    }
    let found = TYPES.into_iter().find(|known| *known == word);
    if found.is_none() {
        let help = did_you_mean(word, TYPES).unwrap_or_else(|| format!("write one of {}", TYPES.join(", ")));
        file.error(node.place, "unknown-type", format!("there is no chart type `{}`", shorten(word)), help);
    }
    found
}

fn own(kind: &str) -> &'static [&'static str] {
    OWN.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys).unwrap_or_default()
}

fn check_keys(file: &mut File<'_>, node: &Node, kind: &str) {
    let known: Vec<&str> = match kind {
        "text" => TEXT_KEYS.to_vec(),
        _ => COMMON.iter().chain(own(kind)).copied().collect(),
    };
    let foreign = |key: &str| OWN.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name).collect();
    for entry in node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let others: Vec<&str> = foreign(&entry.key);
        let help = match others.is_empty() {
            false => format!("it is for {}; known here: {}", others.join(", "), known.join(", ")),
            true => did_you_mean(&entry.key, known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", known.join(", "))),
        };
        let message = match others.is_empty() && !COMMON.contains(&entry.key.as_str()) {
            true => format!("unknown key `{}`", shorten(&entry.key)),
            false => format!("`{}` has no meaning for the type {kind}", entry.key),
        };
        file.error(entry.place, "unknown-key", message, help);
    }
}

fn text(file: &mut File<'_>, entry: &Entry) -> Option<Content> {
    if entry.node.get("text").is_none() {
        let message = format!("`{}` has no `text`", shorten(&entry.key));
        file.error(entry.place, "missing-key", message, "add `text:` with Markdown");
    }
    let runbook = file.title(&entry.node, "runbook");
    Some(Content::Text { text: file.long(&entry.node, "text")?, runbook })
}

fn chart(file: &mut File<'_>, entry: &Entry, kind: &str, page: Option<&Node>) -> Option<Chart> {
    let node = &entry.node;
    let dataset = dataset(file, entry, page);
    let form = form(file, entry, kind);
    let only = node.get("where").map(|only| expression(file, only.text().unwrap_or_default(), only.place));
    let grain = grain(file, node);
    let sort = form.as_ref().and_then(|form| sort(file, node, form));
    let superset = node.get("superset").map(|escape| escape_of(file, escape));
    Some(Chart {
        title: file.title(node, "title").unwrap_or_else(|| title_of(&entry.key)),
        description: file.long(node, "description"),
        dataset: dataset?,
        period: period(file, node),
        grain,
        only: only.flatten(),
        sort,
        limit: file.number(node, "limit", LIMIT_MAX),
        form: form?,
        superset: superset.unwrap_or_default(),
    })
}

fn dataset(file: &mut File<'_>, entry: &Entry, page: Option<&Node>) -> Option<DatasetName> {
    let Some(node) = entry.node.get("dataset").or(page) else {
        let message = format!("the chart `{}` has no `dataset`", shorten(&entry.key));
        let help = "name a serving dataset, here or for all charts as `dataset:` of the page";
        file.error(entry.place, "missing-key", message, help);
        return None;
    };
    let name = node.text().map(|text| text.strip_prefix("serving.").unwrap_or(text));
    let name = name.and_then(|name| DatasetName::new(name).ok());
    if name.is_none() {
        file.error(node.place, "bad-dataset", "this is no dataset", "write the name of a serving contract's file");
    }
    name
}

fn form(file: &mut File<'_>, entry: &Entry, kind: &str) -> Option<Form> {
    let node = &entry.node;
    let mut measures = file.names(node, "measures");
    if let Some(measure) = node.get("measure") {
        if let Some(both) = node.entry("measures") {
            file.error(both.place, "not-allowed", "a chart has `measure` or `measures`, not both", "keep one");
        }
        if measure.text().is_none() {
            file.error(measure.place, "wrong-type", "`measure` is one name", "write `measures:` for several");
            return None;
        }
        measures = file.names(node, "measure");
    }
    let is_raw = kind == "table" && node.get("columns").is_some();
    if measures.is_empty() && !is_raw && node.get("measures").is_none() {
        let message = format!("the chart `{}` has no measure", shorten(&entry.key));
        file.error(entry.place, "missing-key", message, "add `measure:` with a name of measures/DATASET.yaml");
        return None;
    }
    let first = measures.first().cloned().unwrap_or_default();
    let by = file.names(node, "by");
    for (key, names) in [("by", by.as_slice()), ("y", file.title(node, "y").as_slice())] {
        // Along an axis, time goes across; elsewhere it has no step.
        if names.iter().any(|name| name == TIME)
            && kind != "table"
            && let Some(value) = node.get(key)
        {
            let message = format!("time goes across a chart of type {kind}, not into `{key}`");
            file.error(value.place, "not-allowed", message, "write it as `x`, or name another dimension");
        }
    }
    let stacked = file.flag(node, "stacked").unwrap_or(false);
    Some(match kind {
        "number" => Form::Number { measure: first, trend: file.flag(node, "trend").unwrap_or(false) },
        "line" => series(SeriesStyle::Line, measures, TIME.to_owned(), by, false),
        "area" => series(SeriesStyle::Area, measures, TIME.to_owned(), by, stacked),
        "bar" => {
            let x = file.title(node, "x").unwrap_or_else(|| TIME.to_owned());
            series(SeriesStyle::Bar, measures, x, by, stacked)
        }
        "table" if is_raw => raw(file, node)?,
        "table" => Form::Table { by: needed(file, entry, "by", by)?, measures },
        "heatmap" => {
            let (x, y) = (axis(file, entry, "x"), axis(file, entry, "y"));
            Form::Heatmap { x: x?, y: y?, measure: first }
        }
        _ => {
            let columns = file.names(node, "columns");
            let rows = file.names(node, "rows");
            Form::Pivot { rows: needed(file, entry, "rows", rows)?, columns, measures }
        }
    })
}

fn series(style: SeriesStyle, measures: Vec<String>, x: String, by: Vec<String>, stacked: bool) -> Form {
    Form::Series { style, measures, x, by, stacked }
}

/// A table of rows as they are has columns, and nothing that is computed.
fn raw(file: &mut File<'_>, node: &Node) -> Option<Form> {
    let computed = ["by", "measure", "measures", "sort"].into_iter().find_map(|key| node.entry(key));
    if let Some(entry) = computed {
        let message = format!("a table of `columns` shows rows as they are, and has no `{}`", entry.key);
        file.error(entry.place, "not-allowed", message, "keep `columns`, or `by` with `measures`");
        return None;
    }
    Some(Form::Rows { columns: file.names(node, "columns") })
}

fn needed(file: &mut File<'_>, entry: &Entry, key: &str, names: Vec<String>) -> Option<Vec<String>> {
    if names.is_empty() && entry.node.get(key).is_none() {
        let message = format!("the chart `{}` has no `{key}`", shorten(&entry.key));
        file.error(entry.place, "missing-key", message, format!("add `{key}: [...]` with dimensions or `time`"));
    }
    Some(names).filter(|names| !names.is_empty())
}

fn axis(file: &mut File<'_>, entry: &Entry, key: &str) -> Option<String> {
    if entry.node.get(key).is_none() {
        let message = format!("the chart `{}` has no `{key}`", shorten(&entry.key));
        file.error(entry.place, "missing-key", message, format!("add `{key}:` with a dimension or `time`"));
    }
    file.title(&entry.node, key)
}

fn grain(file: &mut File<'_>, node: &Node) -> Option<Grain> {
    let value = node.get("grain")?;
    let text = value.text().unwrap_or_default();
    let found = Grain::parse(text);
    if found.is_none() {
        file.choice(value.place, "step of time", text, &Grain::words());
    }
    found
}

/// `spo2_lowest`, or `spo2_lowest ascending`.
fn sort(file: &mut File<'_>, node: &Node, form: &Form) -> Option<Sort> {
    let value = node.get("sort")?;
    let text = value.text().unwrap_or_default();
    let mut words = text.split_whitespace();
    let (measure, order) = (words.next().unwrap_or_default(), words.next());
    let descending = match (order, words.next()) {
        (None | Some("descending" | "desc"), None) => true,
        (Some("ascending" | "asc"), None) => false,
        _ => {
            let help = "write a measure's name, and `ascending` or `descending`";
            file.error(value.place, "bad-sort", "this is no order", help);
            return None;
        }
    };
    let known = form.measures();
    if !known.contains(&measure) {
        let help = did_you_mean(measure, known.iter().copied())
            .unwrap_or_else(|| format!("a chart is sorted by one of its measures: {}", known.join(", ")));
        let message = format!("the chart has no measure `{}`", shorten(measure));
        file.error(value.place, "unknown-measure", message, help);
        return None;
    }
    Some(Sort { measure: measure.to_owned(), descending })
}

/// Settings of Superset's own; those that say what is asked are ours.
fn escape_of(file: &mut File<'_>, node: &Node) -> serde_json::Map<String, serde_json::Value> {
    const OURS: [&str; 4] = ["datasource", "viz_type", "adhoc_filters", "extra_form_data"];
    if !file.is_map(node, "superset", "write settings of Superset's form data below it") {
        return serde_json::Map::new();
    }
    let place_of = |key: &str| node.entry(key).map_or(node.place, |entry: &Entry| entry.place);
    for key in OURS.into_iter().filter(|key| node.get(key).is_some()) {
        let place: Place = place_of(key);
        let help = "remove it; type, dataset, period and where say the same";
        file.error(place, "not-allowed", format!("`{key}` follows from the chart"), help);
    }
    node.to_json().as_object().cloned().unwrap_or_default()
}
