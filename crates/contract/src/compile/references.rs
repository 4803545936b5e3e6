//! `relationships`: columns whose values must be keys of another dataset of the project.
//!
//! A file alone does not show the other dataset: `project` looks for it and makes the rule. Invariant: a reference has as
//! many columns as keys, and its columns are the contract's.

use super::Context;
use super::columns::Columns;
use super::custom::{self, Level};
use super::gate::without_layer;
use crate::contract::{DatasetName, Reference};
use crate::rule::Severity;
use crate::yaml::{Node, Place, shorten};

/// A dataset and a column of it, as a relationship names them.
type Target = (String, String);

impl Context<'_> {
    /// The references of a column, or with `None` of the schema object, each with the place that finds may point at.
    pub(super) fn references(
        &mut self,
        node: &Node,
        column: Option<usize>,
        columns: &mut Columns,
    ) -> Vec<(Reference, Place)> {
        let mut found = Vec::new();
        for relationship in node.get("relationships").map_or(&[][..], Node::items) {
            let Some(to) = relationship.get("to") else { continue };
            let own = match column {
                Some(column) => Some(vec![column]),
                None => relationship.get("from").and_then(|from| self.own_columns(from, columns)),
            };
            let keys: Option<Vec<Target>> = listed(to).iter().map(|item| self.target(item)).collect();
            let (Some(own), Some(keys)) = (own, keys) else { continue };
            let Some((dataset, _)) = keys.first().cloned() else { continue };
            let help = "name one key of one dataset for each column: [patients.site, patients.number]";
            if keys.len() != own.len() || keys.iter().any(|(other, _)| *other != dataset) {
                self.error(to.place, "bad-reference", "`to` has not the keys that the columns need", help);
                continue;
            }
            let Ok(dataset) = DatasetName::new(without_layer(&dataset)) else {
                let message = format!("`{}` is no name of a dataset", shorten(&dataset));
                self.error(to.place, "bad-reference", message, "write it as dataset.column");
                continue;
            };
            let first = own.first().and_then(|index| columns.columns.get(*index));
            let base = first.map_or_else(String::new, |column| format!("{}.references", column.name));
            let name = columns.free_name(&base);
            columns.rule_names.insert(name.clone(), 0);
            let keys = keys.into_iter().map(|(_, key)| key).collect();
            let severity = self.missing_key(relationship);
            found.push((Reference { name, columns: own, dataset, keys, severity }, to.place));
        }
        found
    }

    /// What a key that is missing means.
    fn missing_key(&mut self, relationship: &Node) -> Severity {
        let custom = custom::collect(self, &[relationship.get("customProperties")], Level::Relationship);
        let Some((written, place)) = custom.text(self, "severity") else { return Severity::Error };
        Severity::named(written).unwrap_or_else(|| {
            let message = format!("the severity `{}` is not known", shorten(written));
            self.error(place, "not-allowed", message, "allowed: error, warning, fatal");
            Severity::Error
        })
    }

    fn own_columns(&mut self, from: &Node, columns: &Columns) -> Option<Vec<usize>> {
        let mut own = Vec::new();
        for item in listed(from) {
            let (dataset, column) = self.target(item)?;
            if without_layer(&dataset) != self.dataset.as_str() {
                let message = format!("`{}` is not this dataset", shorten(&dataset));
                let help = format!("write the columns of {}: {}.column", self.dataset, self.dataset);
                self.error(item.place, "bad-reference", message, help);
                return None;
            }
            own.push(columns.find(self, &column, item.place)?);
        }
        Some(own)
    }

    /// `dataset.column`, or `/schema/dataset/properties/column`, a file before it or not.
    fn target(&mut self, node: &Node) -> Option<Target> {
        let written = node.text()?;
        let path = written.rsplit_once('#').map_or(written, |(_, path)| path).trim_start_matches('/');
        let target = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["schema", dataset, "properties", column] => Some(((*dataset).to_owned(), (*column).to_owned())),
            [short] => short.split_once('.').map(|(dataset, column)| (dataset.to_owned(), column.to_owned())),
            _ => None,
        };
        if target.is_none() {
            let message = format!("`{}` names no column of a dataset", shorten(written));
            self.error(node.place, "bad-reference", message, "write it as dataset.column");
        }
        target
    }
}

/// The items of a list, or the one that stands alone.
fn listed(node: &Node) -> &[Node] {
    if node.text().is_some() { std::slice::from_ref(node) } else { node.items() }
}
