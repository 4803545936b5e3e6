//! One dashboard's file: what stands on the page as a whole, and its layout.
//!
//! Invariant: a page without a finding has every piece in one row, and no row wider than the page.

use std::collections::BTreeMap;

use super::chart;
use super::file::{File, did_you_mean};
use crate::dashboard::{COLUMNS, Dashboard, Filter, Period, Piece, TIME};
use crate::length::length;
use crate::yaml::{Node, shorten};

const KEYS: [&str; 8] = ["title", "description", "dataset", "period", "refresh", "filters", "rows", "charts"];
const FILTER_KEYS: [&str; 4] = ["dimension", "title", "multiple", "default"];
/// Charts and texts of one page.
const PIECES_MAX: usize = 100;
/// Seconds between two refreshes: every page that is open asks anew.
const REFRESH_MIN_S: u64 = 10;
const REFRESH_MAX_S: u64 = 86_400;

/// The dashboard of a file whose name without its ending is `stem`.
pub(super) fn dashboard(file: &mut File<'_>, stem: &str, root: &Node) -> Option<Dashboard> {
    if !file.is_map(root, "a dashboard", "begin it with `title:`") {
        return None;
    }
    file.is_name(stem, root.place, "dashboard");
    file.keys(root, &KEYS);
    for key in ["title", "rows", "charts"] {
        if root.get(key).is_none() {
            let help = match key {
                "title" => "add `title:` with what stands above the page",
                "rows" => "add `rows:` with the names of charts, a list for each row: `- [patients, readings]`",
                _ => "add `charts:` with a name for each chart, and its `type:` below",
            };
            file.error(root.place, "missing-key", format!("the dashboard has no `{key}`"), help);
        }
    }
    let title = file.title(root, "title");
    let description = file.long(root, "description");
    let pieces = pieces(file, root);
    let rows = rows(file, root, &pieces);
    let period = period(file, root).unwrap_or(Period::DEFAULT);
    let (refresh_s, filters) = (refresh(file, root), filters(file, root));
    Some(Dashboard { name: stem.to_owned(), title: title?, description, period, refresh_s, filters, rows, pieces })
}

/// `period:` of a page or a chart.
pub(super) fn period(file: &mut File<'_>, node: &Node) -> Option<Period> {
    let value = node.get("period")?;
    let period = value.text().and_then(Period::parse);
    if period.is_none() {
        let help = "write one such as `last 24 hours`, `last 7 days`, `today`, `yesterday` or `all`";
        file.error(value.place, "bad-period", "this is no stretch of time", help);
    }
    period
}

fn refresh(file: &mut File<'_>, root: &Node) -> Option<u32> {
    let value = root.get("refresh")?;
    let seconds = value.text().and_then(length).map(|length| length.as_secs());
    let seconds = seconds.filter(|seconds| (REFRESH_MIN_S..=REFRESH_MAX_S).contains(seconds));
    if seconds.is_none() {
        let help = "write one such as 1m, from 10s to 1d";
        file.error(value.place, "bad-duration", "`refresh` is not a length of time", help);
    }
    seconds.and_then(|seconds| u32::try_from(seconds).ok())
}

fn filters(file: &mut File<'_>, root: &Node) -> Vec<Filter> {
    let Some(node) = root.get("filters") else { return Vec::new() };
    if node.items().is_empty() {
        let help = "list names of dimensions, and `time`: [time, cohort]";
        file.error(node.place, "wrong-type", "`filters` must be a list", help);
    }
    let mut filters: Vec<Filter> = Vec::new();
    for item in node.items() {
        let plain = |name: &str| Filter {
            dimension: name.to_owned(),
            title: None,
            multiple: name != TIME,
            default: Vec::new(),
            dataset: None,
        };
        let filter = match item.text() {
            Some(name) => Some(plain(name)),
            None => filter(file, item, plain),
        };
        let Some(filter) = filter else { continue };
        if filters.iter().any(|known| known.dimension == filter.dimension) {
            let message = format!("there is a filter by `{}` already", shorten(&filter.dimension));
            file.error(item.place, "duplicate-name", message, "remove one");
            continue;
        }
        filters.push(filter);
    }
    filters
}

fn filter(file: &mut File<'_>, item: &Node, plain: impl Fn(&str) -> Filter) -> Option<Filter> {
    if !file.is_map(item, "a filter", "write a dimension's name, or `{dimension: cohort, title: Care pathway}`") {
        return None;
    }
    file.keys(item, &FILTER_KEYS);
    let Some(name) = item.get("dimension").and_then(Node::text) else {
        file.error(item.place, "missing-key", "the filter has no `dimension`", "name one, or `time`");
        return None;
    };
    let default = if item.get("default").is_some() { file.names(item, "default") } else { Vec::new() };
    if name == TIME
        && let Some(entry) = item.entries().iter().find(|entry| matches!(entry.key.as_str(), "multiple" | "default"))
    {
        let help = "the page's `period` is what is shown until another is chosen";
        file.error(entry.place, "not-allowed", format!("a filter by time has no `{}`", entry.key), help);
    }
    let multiple = file.flag(item, "multiple").unwrap_or(name != TIME);
    if !multiple
        && default.len() > 1
        && let Some(value) = item.get("default")
    {
        file.error(value.place, "not-allowed", "one value can be chosen, and several are", "keep one");
    }
    Some(Filter { title: file.title(item, "title"), multiple, default, ..plain(name) })
}

fn pieces(file: &mut File<'_>, root: &Node) -> Vec<Piece> {
    let Some(node) = root.get("charts") else { return Vec::new() };
    file.is_map(node, "charts", "write a name for each chart, and its `type:` below");
    if let Some(extra) = node.entries().get(PIECES_MAX) {
        let help = "make two dashboards of it";
        file.error(extra.place, "too-many", format!("a page has at most {PIECES_MAX} charts"), help);
    }
    let dataset = root.get("dataset");
    node.entries().iter().filter_map(|entry| chart::piece(file, entry, dataset)).collect()
}

fn rows(file: &mut File<'_>, root: &Node, pieces: &[Piece]) -> Vec<Vec<String>> {
    let Some(node) = root.get("rows") else { return Vec::new() };
    let charts = root.get("charts").map(Node::entries).unwrap_or_default();
    if node.items().is_empty() {
        let help = "write a list for each row: `- [patients, readings]`";
        file.error(node.place, "wrong-type", "`rows` must be a list of lists", help);
        return Vec::new();
    }
    let mut rows = Vec::new();
    let mut placed: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, row) in node.items().iter().enumerate() {
        let items: Vec<&Node> = if row.text().is_some() { vec![row] } else { row.items().iter().collect() };
        if items.is_empty() {
            file.error(row.place, "wrong-type", "a row is a list of charts", "write their names, such as [patients]");
        }
        let mut names = Vec::new();
        for item in items {
            let name = item.text().unwrap_or_default();
            if !charts.iter().any(|entry| entry.key == name) {
                let help = did_you_mean(name, charts.iter().map(|entry| entry.key.as_str()))
                    .unwrap_or_else(|| "write it below `charts:`, or remove it here".to_owned());
                file.error(item.place, "unknown-chart", format!("there is no chart `{}`", shorten(name)), help);
            } else if let Some(first) = placed.insert(name, number) {
                let message = format!("the chart `{name}` stands in row {} already", first + 1);
                file.error(item.place, "duplicate-name", message, "a chart stands once on a page: remove one");
            } else {
                names.push(name.to_owned());
            }
        }
        check_width(file, row, &names, pieces);
        rows.push(names);
    }
    for entry in charts.iter().filter(|entry| !placed.contains_key(entry.key.as_str())) {
        let message = format!("the chart `{}` stands in no row", shorten(&entry.key));
        file.error(entry.place, "unplaced-chart", message, "name it in `rows`, or remove it");
    }
    rows
}

fn check_width(file: &mut File<'_>, row: &Node, names: &[String], pieces: &[Piece]) {
    let of = |name: &String| pieces.iter().find(|piece| piece.name == *name).and_then(|piece| piece.width);
    let width: usize = names.iter().map(|name| of(name).map_or(1, usize::from)).sum();
    if width > usize::from(COLUMNS) {
        let message = format!("the row is {width} columns wide, and a page has {COLUMNS}");
        file.error(row.place, "too-wide", message, "give its charts less `width`, or begin another row");
    }
}
