//! What a serving contract says of its gate beyond its rules: the window, the inputs, the stale candidate, the group.
//!
//! Read from `customProperties`. Invariant: a window is a column of the contract.

use super::Context;
use super::columns::Columns;
use super::custom::Custom;
use crate::contract::{DatasetName, OnStale};
use crate::yaml::{Node, shorten};

impl Context<'_> {
    pub(super) fn gate_window(&mut self, custom: &Custom<'_>, columns: &Columns) -> Option<usize> {
        let (name, place) = custom.text(self, "gateWindow")?;
        columns.find(self, name, place)
    }

    /// Names of datasets, with or without their layer.
    pub(super) fn gate_inputs(&mut self, custom: &Custom<'_>) -> Vec<DatasetName> {
        let Some(node) = custom.get("gateInputs") else { return Vec::new() };
        let help = "write the names of datasets: [steps, patients]";
        if node.items().is_empty() {
            self.error(node.place, "wrong-type", "`gateInputs` is no list of datasets", help);
        }
        let mut inputs = Vec::new();
        for item in node.items() {
            let written = item.text().unwrap_or_default();
            match DatasetName::new(without_layer(written)) {
                Ok(name) => inputs.push(name),
                Err(_) => {
                    let message = format!("`{}` is no name of a dataset", shorten(written));
                    self.error(item.place, "bad-name", message, help);
                }
            }
        }
        inputs
    }

    pub(super) fn on_stale(&mut self, custom: &Custom<'_>) -> OnStale {
        match custom.get("onStale").map(|node: &Node| (node.text().unwrap_or_default(), node.place)) {
            None | Some(("hold", _)) => OnStale::Hold,
            Some(("publish", _)) => OnStale::Publish,
            Some((other, place)) => {
                let message = format!("`onStale` cannot be `{}`", shorten(other));
                self.error(place, "not-allowed", message, "allowed: hold, publish");
                OnStale::Hold
            }
        }
    }
}

/// A dataset's name is unique in a project whatever its layer, which may be said or left out.
pub(super) fn without_layer(written: &str) -> &str {
    let layers = ["raw.", "curated.", "serving."];
    layers.iter().find_map(|layer| written.strip_prefix(layer)).unwrap_or(written)
}
