//! One file of measures, key by key.
//!
//! Invariant: a measure's SQL is one expression's text; whether it can be computed is asked where it can be planned.

use super::file::File;
use crate::contract::DatasetName;
use crate::dashboard::{Dimension, Measure, MeasureSet, TIME, title_of};
use crate::yaml::{Node, Place};

const KEYS: [&str; 2] = ["measures", "dimensions"];
const MEASURE_KEYS: [&str; 6] = ["sql", "title", "description", "unit", "format", "decimals"];
const DIMENSION_KEYS: [&str; 3] = ["sql", "title", "description"];
/// Measures or dimensions of one dataset.
const NAMES_MAX: usize = 500;
const DECIMALS_MAX: i64 = 9;

/// The measures of a file whose name without its ending is `stem`.
pub(super) fn measures(file: &mut File<'_>, stem: &str, root: &Node) -> Option<MeasureSet> {
    if !file.is_map(root, "a file of measures", "begin it with `measures:`") {
        return None;
    }
    file.keys(root, &KEYS);
    let dataset = DatasetName::new(stem);
    if let Err(reason) = &dataset {
        let message = format!("the file's name is no dataset's: {reason}");
        file.error(root.place, "bad-name", message, "name the file as the serving dataset that it is about");
    }
    if root.get("measures").is_none() {
        let help = "add `measures:` with one line each, such as `steps_total: SUM(steps)`";
        file.error(root.place, "missing-key", "the file has no `measures`", help);
    }
    let entries = |key| root.get(key).map(Node::entries).unwrap_or_default();
    for key in KEYS {
        if let Some(node) = root.get(key) {
            file.is_map(node, key, "write one name on each line, with what it is");
        }
        if let Some(extra) = entries(key).get(NAMES_MAX) {
            file.error(extra.place, "too-many", format!("at most {NAMES_MAX} {key} are read"), "remove some");
        }
    }
    let measures = entries("measures").iter().filter_map(|e| measure(file, &e.key, e.place, &e.node)).collect();
    let dimensions = entries("dimensions").iter().filter_map(|e| dimension(file, &e.key, e.place, &e.node)).collect();
    Some(MeasureSet { dataset: dataset.ok()?, measures, dimensions })
}

fn measure(file: &mut File<'_>, name: &str, place: Place, node: &Node) -> Option<Measure> {
    let is_name = file.is_name(name, place, "measure");
    // One line is the whole measure: `steps_total: SUM(steps)`.
    if let Some(sql) = node.text() {
        let sql = expression(file, sql, node.place)?;
        let (title, description) = (title_of(name), None);
        return is_name.then(|| Measure { name: name.to_owned(), title, description, sql, ..silent() });
    }
    if !file.is_map(node, "a measure", "write its SQL, or `sql:` with it below") {
        return None;
    }
    file.keys(node, &MEASURE_KEYS);
    let Some(sql) = node.get("sql") else {
        file.error(
            place,
            "missing-key",
            format!("the measure {name} has no `sql`"),
            "add one, such as `sql: SUM(steps)`",
        );
        return None;
    };
    let text = sql.text().unwrap_or_default();
    let sql = expression(file, text, sql.place);
    let title = file.title(node, "title").unwrap_or_else(|| title_of(name));
    let description = file.long(node, "description");
    let unit = file.title(node, "unit").unwrap_or_default();
    let format = format(file, node);
    is_name.then_some(Measure { name: name.to_owned(), title, description, sql: sql?, unit, format })
}

/// A measure whose unit and format the contract says.
fn silent() -> Measure {
    let empty = String::new;
    Measure { name: empty(), title: empty(), description: None, sql: empty(), unit: empty(), format: empty() }
}

/// A d3 format, given as such or as a number of decimals.
fn format(file: &mut File<'_>, node: &Node) -> String {
    match (node.get("format"), node.get("decimals")) {
        (Some(format), Some(_)) => {
            let message = "a measure has `format` or `decimals`, not both";
            file.error(format.place, "not-allowed", message, "keep one of the two");
            String::new()
        }
        (Some(value), None) => {
            let text = value.text().unwrap_or_default();
            let is_format = !text.is_empty() && text.len() <= 30 && text.chars().all(|c| c.is_ascii_graphic());
            if !is_format {
                let help = "write a d3 format in quotes, such as ',.1f', or `decimals: 1`";
                file.error(value.place, "bad-format", "this is no format of numbers", help);
            }
            text.to_owned()
        }
        (None, Some(value)) => {
            let decimals = value.integer().filter(|decimals| (0..=DECIMALS_MAX).contains(decimals));
            if decimals.is_none() {
                let help = format!("write how many, from 0 to {DECIMALS_MAX}");
                file.error(value.place, "bad-number", "`decimals` must be a whole number", help);
            }
            decimals.map_or_else(String::new, |decimals| format!(",.{decimals}f"))
        }
        (None, None) => String::new(),
    }
}

fn dimension(file: &mut File<'_>, name: &str, place: Place, node: &Node) -> Option<Dimension> {
    if name == TIME {
        file.error(place, "bad-name", "`time` is the dataset's time column", "give the dimension another name");
        return None;
    }
    if !file.is_name(name, place, "dimension") || !file.is_map(node, "a dimension", "write `title:` below it") {
        return None;
    }
    file.keys(node, &DIMENSION_KEYS);
    let sql = match node.get("sql") {
        Some(sql) => Some(expression(file, sql.text().unwrap_or_default(), sql.place)?),
        None => None,
    };
    let (title, description) = (file.title(node, "title"), file.long(node, "description"));
    Some(Dimension { name: name.to_owned(), title, description, sql })
}

/// SQL as far as its form goes: there is some, and it does not end a statement or hide what follows it.
pub(super) fn expression(file: &mut File<'_>, sql: &str, place: Place) -> Option<String> {
    let sql = sql.trim();
    let outside: String = sql.split('\'').step_by(2).collect();
    let reason = match () {
        () if sql.is_empty() => "there is no SQL here",
        () if outside.contains(';') => "SQL in a dashboard is an expression, and has no `;`",
        () if outside.contains("--") || outside.contains("/*") => "SQL in a dashboard has no comments",
        () if sql.len() > 4_000 => "SQL in a dashboard has at most 4000 bytes",
        () => return Some(sql.to_owned()),
    };
    file.error(place, "bad-sql", reason, "write one expression over the dataset's columns, such as SUM(steps)");
    None
}
