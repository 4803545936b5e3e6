//! `consent`: what binds a dataset's rows to the decisions of those they are about.
//!
//! That the decisions' dataset has these columns is looked at with the whole project. Invariant: a `consent` that cannot be
//! read is an error, so that no dataset is less bound than its contract says.

use super::Context;
use super::columns::Columns;
use super::custom::Custom;
use super::gate::without_layer;
use crate::consent::{Consent, GIVEN_DEFAULT};
use crate::contract::{ColumnType, DatasetName};
use crate::verdict::nearest;
use crate::yaml::{Node, Place, shorten};

const KEYS: [&str; 8] = ["dataset", "subject", "purpose", "decision", "given", "time", "own", "without"];
const HELP: &str =
    "write it as {dataset: consents, subject: patient_id, purpose: purpose, decision: decision, time: decided_at}";

impl Context<'_> {
    /// The consent that binds the dataset's rows, and the place that findings may point at.
    pub(super) fn consent(&mut self, custom: &Custom<'_>, columns: &Columns) -> Option<(Consent, Place)> {
        let node = custom.get("consent")?;
        if node.entries().is_empty() {
            self.error(node.place, "bad-consent", "`consent` is no map", HELP);
            return None;
        }
        for entry in node.entries() {
            if !KEYS.contains(&entry.key.as_str()) {
                let message = format!("`consent` has an unknown key `{}`", shorten(&entry.key));
                let help = nearest(&entry.key, KEYS).map_or(HELP.to_owned(), |near| format!("did you mean `{near}`?"));
                self.error(entry.place, "bad-consent", message, help);
            }
        }
        let dataset = self.consent_word(node, "dataset")?;
        let Ok(dataset) = DatasetName::new(without_layer(&dataset)) else {
            self.error(node.place, "bad-consent", "the `dataset` of `consent` is no name of a dataset", HELP);
            return None;
        };
        let (subject, purpose) = (self.consent_word(node, "subject")?, self.consent_word(node, "purpose")?);
        let (decision, time) = (self.consent_word(node, "decision")?, self.consent_word(node, "time")?);
        let given = node.get("given").and_then(Node::text).unwrap_or(GIVEN_DEFAULT).to_owned();
        let (own, place) =
            node.get("own").map_or((subject.as_str(), node.place), |own| (own.text().unwrap_or_default(), own.place));
        let own = columns.find(self, own, place)?;
        if !columns.columns.get(own).is_some_and(|column| is_id(&column.kind)) {
            self.error(
                place,
                "bad-consent",
                "the column that says whose row it is holds no text or whole number",
                HELP,
            );
        }
        let without = node.get("without").map_or(&[][..], Node::items).iter();
        let without = without.filter_map(|word| word.text().map(str::to_owned)).collect();
        Some((Consent { dataset, subject, purpose, decision, given, time, own, without }, node.place))
    }

    fn consent_word(&mut self, node: &Node, key: &str) -> Option<String> {
        let word = node.get(key).and_then(Node::text).filter(|word| !word.is_empty());
        if word.is_none() {
            self.error(node.place, "bad-consent", format!("`consent` has no `{key}`"), HELP);
        }
        word.map(str::to_owned)
    }
}

/// Whether a column of this type can say whose row it is.
pub(crate) fn is_id(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::String | ColumnType::Long | ColumnType::Int)
}
