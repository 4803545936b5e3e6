//! `sortBy`: the columns by which a dataset's large files are sorted.
//!
//! Invariant: each is a column of the contract, and none stands twice.

use super::Context;
use super::columns::Columns;
use super::custom::Custom;
use crate::yaml::{Node, shorten};

impl Context<'_> {
    pub(super) fn sort_by(&mut self, custom: &Custom<'_>, columns: &Columns) -> Vec<usize> {
        let Some(node) = custom.get("sortBy") else { return Vec::new() };
        let names: Vec<&Node> = if node.text().is_some() { vec![node] } else { node.items().iter().collect() };
        let help = "write a column, or a list of them: [device_id, measured_at]";
        if names.is_empty() {
            self.error(node.place, "wrong-type", "`sortBy` names no column", help);
        }
        let mut found = Vec::new();
        for name in names {
            let Some(text) = name.text() else {
                self.error(name.place, "wrong-type", "`sortBy` has an item that is no column's name", help);
                continue;
            };
            match columns.find(self, text, name.place) {
                Some(at) if found.contains(&at) => {
                    let message = format!("`sortBy` names `{}` twice", shorten(text));
                    self.error(name.place, "not-allowed", message, "keep the first");
                }
                at => found.extend(at),
            }
        }
        found
    }
}
