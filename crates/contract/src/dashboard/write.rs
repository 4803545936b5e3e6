//! Dashboards and measures as YAML: one way to write what is said, without what follows by itself.
//!
//! Invariant: what is written is read as the same dashboard, or the same measures.

use serde_json::Value as Json;

use super::{Chart, Content, Dashboard, Filter, Form, MeasureSet, Piece, TIME, format_of, title_of};
use crate::contract::Contract;

/// A dashboard's file.
#[must_use]
pub fn dashboard(dashboard: &Dashboard) -> String {
    let mut page = Page::default();
    page.line(0, "title", &dashboard.title);
    page.maybe(0, "description", dashboard.description.as_deref());
    let common = common_dataset(dashboard);
    page.maybe(0, "dataset", common);
    if dashboard.period != super::Period::DEFAULT {
        page.plain(0, "period", &dashboard.period.to_string());
    }
    if let Some(seconds) = dashboard.refresh_s {
        page.plain(0, "refresh", &length(seconds));
    }
    if !dashboard.filters.is_empty() {
        page.text.push_str("filters:\n");
        dashboard.filters.iter().for_each(|filter| page.item(&filter_item(filter)));
    }
    page.text.push_str("rows:\n");
    dashboard.rows.iter().for_each(|row| page.item(&list(row)));
    page.text.push_str("charts:\n");
    for piece in &dashboard.pieces {
        page.piece(piece, common);
    }
    page.text
}

/// A file of measures, without what the contract says of them.
#[must_use]
pub fn measures(set: &MeasureSet, contract: &Contract) -> String {
    let mut page = Page::default();
    page.text.push_str("measures:\n");
    for measure in &set.measures {
        let (unit, format) = format_of(&measure.sql, contract);
        let title = (measure.title != title_of(&measure.name)).then_some(measure.title.as_str());
        let (own_unit, own_format) = (measure.unit != unit, measure.format != format);
        if title.is_none() && measure.description.is_none() && !own_unit && !own_format {
            page.line(1, &measure.name, &measure.sql);
            continue;
        }
        page.open(1, &measure.name);
        page.maybe(2, "title", title);
        page.maybe(2, "description", measure.description.as_deref());
        page.line(2, "sql", &measure.sql);
        page.maybe(2, "unit", own_unit.then_some(measure.unit.as_str()));
        match decimals(&measure.format).filter(|_| own_format) {
            Some(decimals) => page.plain(2, "decimals", decimals),
            None => page.maybe(2, "format", own_format.then_some(measure.format.as_str())),
        }
    }
    if !set.dimensions.is_empty() {
        page.text.push_str("dimensions:\n");
    }
    for dimension in &set.dimensions {
        page.open(1, &dimension.name);
        page.maybe(2, "title", dimension.title.as_deref());
        page.maybe(2, "description", dimension.description.as_deref());
        page.maybe(2, "sql", dimension.sql.as_deref());
    }
    page.text
}

/// `1` of `,.1f`.
fn decimals(format: &str) -> Option<&str> {
    let digits = format.strip_prefix(",.")?.strip_suffix('f')?;
    (digits.len() == 1 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// The dataset that most charts are of, the first of several, where more than one chart says so.
fn common_dataset(dashboard: &Dashboard) -> Option<&str> {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for (_, chart) in dashboard.charts() {
        match counted.iter_mut().find(|(name, _)| *name == chart.dataset.as_str()) {
            Some((_, count)) => *count += 1,
            None => counted.push((chart.dataset.as_str(), 1)),
        }
    }
    counted.iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| *name)
}

fn filter_item(filter: &Filter) -> String {
    let is_plain = filter.multiple != (filter.dimension == TIME);
    if filter.title.is_none() && is_plain && filter.default.is_empty() {
        return filter.dimension.clone();
    }
    let mut said = vec![format!("dimension: {}", filter.dimension)];
    said.extend(filter.title.as_ref().map(|title| format!("title: {}", quoted(title))));
    if !is_plain {
        said.push("multiple: false".to_owned());
    }
    if !filter.default.is_empty() {
        said.push(format!("default: {}", list(&filter.default)));
    }
    format!("{{{}}}", said.join(", "))
}

fn length(seconds: u32) -> String {
    match seconds {
        day if day % 86_400 == 0 => format!("{}d", day / 86_400),
        hour if hour % 3_600 == 0 => format!("{}h", hour / 3_600),
        minute if minute % 60 == 0 => format!("{}m", minute / 60),
        _ => format!("{seconds}s"),
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn open(&mut self, depth: usize, key: &str) {
        self.text.push_str(&format!("{}{key}:\n", "  ".repeat(depth)));
    }

    fn plain(&mut self, depth: usize, key: &str, value: &str) {
        self.text.push_str(&format!("{}{key}: {value}\n", "  ".repeat(depth)));
    }

    /// A text: on its line, or as a block where it has several.
    fn line(&mut self, depth: usize, key: &str, value: &str) {
        let fits_block = value.lines().all(|line| line.trim_end() == line) && !value.starts_with([' ', '\n']);
        if !value.contains('\n') || !fits_block || value.contains(|c: char| c.is_control() && c != '\n') {
            return self.plain(depth, key, &plain_or_quoted(value));
        }
        self.plain(depth, key, "|-");
        for line in value.split('\n') {
            let indent = if line.is_empty() { String::new() } else { "  ".repeat(depth + 1) };
            self.text.push_str(&format!("{indent}{line}\n"));
        }
    }

    fn maybe(&mut self, depth: usize, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(depth, key, value);
        }
    }

    fn item(&mut self, item: &str) {
        self.text.push_str(&format!("  - {item}\n"));
    }

    fn piece(&mut self, piece: &Piece, common: Option<&str>) {
        self.open(1, &piece.name);
        match &piece.content {
            Content::Text { text, runbook } => {
                self.plain(2, "type", "text");
                self.line(2, "text", text);
                self.maybe(2, "runbook", runbook.as_deref());
            }
            Content::Chart(chart) => self.chart(&piece.name, chart, common),
        }
        if let Some(width) = piece.width {
            self.plain(2, "width", &width.to_string());
        }
        if let Some(height) = piece.height {
            self.plain(2, "height", &height.to_string());
        }
        if let Content::Chart(chart) = &piece.content
            && !chart.superset.is_empty()
        {
            self.plain(2, "superset", &Json::Object(chart.superset.clone()).to_string());
        }
    }

    fn chart(&mut self, name: &str, chart: &Chart, common: Option<&str>) {
        self.plain(2, "type", chart.form.word());
        self.maybe(2, "title", (chart.title != title_of(name)).then_some(chart.title.as_str()));
        self.maybe(2, "description", chart.description.as_deref());
        self.maybe(2, "dataset", Some(chart.dataset.as_str()).filter(|dataset| Some(*dataset) != common));
        if let Some(period) = chart.period {
            self.plain(2, "period", &period.to_string());
        }
        self.form(&chart.form);
        if let Some(grain) = chart.grain {
            self.plain(2, "grain", grain.as_str());
        }
        self.maybe(2, "where", chart.only.as_deref());
        if let Some(sort) = &chart.sort {
            let order = if sort.descending { "" } else { " ascending" };
            self.plain(2, "sort", &format!("{}{order}", sort.measure));
        }
        if let Some(limit) = chart.limit {
            self.plain(2, "limit", &limit.to_string());
        }
    }

    fn form(&mut self, form: &Form) {
        match form {
            Form::Number { measure, trend } => {
                self.plain(2, "measure", measure);
                if *trend {
                    self.plain(2, "trend", "true");
                }
            }
            Form::Series { measures, x, by, stacked, .. } => {
                if x != TIME {
                    self.plain(2, "x", x);
                }
                self.measures(measures);
                self.list("by", by);
                if *stacked {
                    self.plain(2, "stacked", "true");
                }
            }
            Form::Table { by, measures } => {
                self.list("by", by);
                self.measures(measures);
            }
            Form::Rows { columns } => self.list("columns", columns),
            Form::Heatmap { x, y, measure } => {
                self.plain(2, "x", x);
                self.plain(2, "y", y);
                self.plain(2, "measure", measure);
            }
            Form::Pivot { rows, columns, measures } => {
                self.list("rows", rows);
                self.list("columns", columns);
                self.measures(measures);
            }
        }
    }

    fn measures(&mut self, measures: &[String]) {
        match measures {
            [one] => self.plain(2, "measure", one),
            several => self.list("measures", several),
        }
    }

    fn list(&mut self, key: &str, names: &[String]) {
        if !names.is_empty() {
            self.plain(2, key, &list(names));
        }
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", shown.join(", "))
}

/// A text within a list or a map of one line: bare where it is a simple word.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '))
        && plain_or_quoted(text) == text;
    if is_plain { text.to_owned() } else { Json::from(text).to_string() }
}

/// A text on a line of its own: bare where YAML reads it as the same text, else as JSON writes it, which is YAML.
fn plain_or_quoted(text: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '(');
    let is_plain = starts
        && text.trim() == text
        && !text.contains(": ")
        && !text.ends_with(':')
        && !text.contains(" #")
        && !text.contains(char::is_control)
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Json::from(text).to_string() }
}
