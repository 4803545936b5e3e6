//! Rescued fields: what a record has and its contract does not name, or names with another type, as JSON text.
//!
//! The text has the record's own shape: an unknown `x` in `vitals` is rescued as `{"vitals":{"x":1}}`, names and values
//! as they came. Invariant: a rescued row's text is one JSON object.

use std::ops::Range;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::error::ArrowError;

use super::plan::Plan;

/// The rescued fields of a batch.
#[derive(Debug, Default)]
pub(super) struct Rescued {
    text: String,
    rows: Vec<(usize, Range<usize>)>,
    /// Where the open record's object begins; none while it has nothing to rescue.
    begun: Option<usize>,
    /// How many objects are open within it.
    open: usize,
}

impl Rescued {
    /// Adds a field of the record that was begun: the objects around it, its name in quotes, its value as JSON.
    pub(super) fn field(&mut self, plan: &Plan, path: &[u16], name: &str, value: &str) {
        if self.begun.is_none() {
            self.begun = Some(self.text.len());
            self.open = 0;
            self.text.push('{');
        }
        for node in path.iter().skip(self.open) {
            let name = plan.nodes.get(usize::from(*node)).map_or("\"\"", |node| node.quoted.as_str());
            self.name(name);
            self.text.push('{');
            self.open += 1;
        }
        self.name(name);
        self.text.push_str(value);
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push(':');
    }

    /// Keeps what is written as the row's, where anything is.
    pub(super) fn write(&mut self, row: usize, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        if self.text.len() > start {
            self.rows.push((row, start..self.text.len()));
        }
    }

    /// Leaves an object of the record that stands `depth` objects below its root.
    #[inline]
    pub(super) fn leave(&mut self, depth: usize) {
        if self.begun.is_some() && self.open >= depth {
            self.text.push('}');
            self.open = depth - 1;
        }
    }

    /// Keeps the record's fields as the row's.
    #[inline]
    pub(super) fn keep(&mut self, row: usize) {
        if let Some(start) = self.begun.take() {
            self.text.push('}');
            self.rows.push((row, start..self.text.len()));
        }
    }

    /// Forgets the record's fields.
    pub(super) fn abandon(&mut self) {
        if let Some(start) = self.begun.take() {
            self.text.truncate(start);
        }
    }

    /// How many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
        self.begun = None;
    }

    /// The column of so many rows; begins anew.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let mut builder = StringViewBuilder::with_capacity(rows);
        let mut at = 0;
        for (row, range) in self.rows.drain(..) {
            (at..row).for_each(|_| builder.append_null());
            builder.try_append_value(self.text.get(range).unwrap_or("{}"))?;
            at = row + 1;
        }
        (at..rows).for_each(|_| builder.append_null());
        self.text.clear();
        Ok(std::sync::Arc::new(builder.finish()))
    }
}
