//! dashboards/*.yaml and measures/*.yaml as dashboards and measures, every mistake with its place.
//!
//! What only the project shows (datasets, columns, measures of other files) is checked by `check`, SQL where it can be
//! planned. Invariant: a dashboard or a set of measures is given exactly when its file has no error.

mod chart;
mod check;
mod file;
mod measures;
mod page;

use super::places::Places;
use crate::dashboard::{Dashboard, MeasureSet};
use crate::diagnostic::Diagnostic;
use crate::yaml::{self, Node, Place, Value};

pub(super) use check::check;
use file::File;

/// The most dashboards of a project.
pub const DASHBOARDS_MAX: usize = 200;

/// A dashboard and where it is written.
#[derive(Clone, Debug)]
pub struct DashboardFile {
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub dashboard: Dashboard,
    places: Places,
}

/// Measures of a dataset and where they are written.
#[derive(Clone, Debug)]
pub struct MeasureFile {
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub measures: MeasureSet,
    places: Places,
}

impl DashboardFile {
    /// An error that points at the value of a key, as `charts.trend.measures.0`, or at the nearest key around it.
    #[must_use]
    pub fn error_at(&self, key: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        error_at(&self.places, (&self.path, &self.text), key, code, message.into())
    }
}

impl MeasureFile {
    /// An error that points at the value of a key, as `measures.steps.sql`, or at the nearest key around it.
    #[must_use]
    pub fn error_at(&self, key: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        error_at(&self.places, (&self.path, &self.text), key, code, message.into())
    }
}

fn error_at(places: &Places, file: (&str, &str), key: &str, code: &'static str, message: String) -> Diagnostic {
    let mut known = key;
    while !places.0.iter().any(|(name, _)| name == known) {
        let Some((around, _)) = known.rsplit_once('.') else { break };
        known = around;
    }
    places.error_at(file, known, code, message)
}

/// Reads one dashboard's file; `stem` is its name without the ending.
pub(super) fn read(path: &str, stem: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Option<DashboardFile> {
    let (text, root) = parsed(path, bytes, found)?;
    let mut file = File { path, text: &text, found: Vec::new() };
    let dashboard = page::dashboard(&mut file, stem, &root);
    let is_whole = file.found.is_empty();
    found.append(&mut file.found);
    let places = Places(places(&root));
    dashboard.filter(|_| is_whole).map(|dashboard| DashboardFile { path: path.to_owned(), text, dashboard, places })
}

/// Reads one file of measures; `stem` is its name without the ending.
pub(super) fn read_measures(path: &str, stem: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Option<MeasureFile> {
    let (text, root) = parsed(path, bytes, found)?;
    let mut file = File { path, text: &text, found: Vec::new() };
    let measures = measures::measures(&mut file, stem, &root);
    let is_whole = file.found.is_empty();
    found.append(&mut file.found);
    let places = Places(places(&root));
    measures.filter(|_| is_whole).map(|measures| MeasureFile { path: path.to_owned(), text, measures, places })
}

fn parsed(path: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Option<(String, Node)> {
    yaml::parse_bytes(path, bytes).map_err(|wrong| found.extend(wrong)).ok()
}

/// The place of every value by the keys that lead to it, `charts.trend.measures.0`; of a map, the key's own.
fn places(root: &Node) -> Vec<(String, Place)> {
    let mut places = Vec::new();
    let mut open = vec![(String::new(), root)];
    while let Some((prefix, node)) = open.pop() {
        let named = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        for entry in node.entries() {
            let is_map = matches!(entry.node.value, Value::Map(_));
            places.push((named(&entry.key), if is_map { entry.place } else { entry.node.place }));
            open.push((named(&entry.key), &entry.node));
        }
        for (at, item) in node.items().iter().enumerate() {
            places.push((named(&at.to_string()), item.place));
            open.push((named(&at.to_string()), item));
        }
    }
    places
}

#[cfg(test)]
mod tests;
