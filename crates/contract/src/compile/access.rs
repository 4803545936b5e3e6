//! Who may see what: `classification` and `mask` of columns, `roles` with their `rowFilter`.
//!
//! Invariant: a word that is not known makes a column restricted, never open.

use super::Context;
use super::columns::Columns;
use super::custom::{self, Custom, Level};
use super::predicate;
use crate::access::{Classification, Mask, Reader};
use crate::contract::ColumnType;
use crate::rule::Check;
use crate::verdict::nearest;
use crate::yaml::{Node, shorten};

impl Context<'_> {
    /// The class of a column; none where the contract is silent.
    pub(super) fn classification(&mut self, property: &Node) -> Option<Classification> {
        let node = property.get("classification")?;
        let word = node.text().unwrap_or_default();
        Some(Classification::named(word).unwrap_or_else(|| {
            let message = format!("the classification `{}` is not known, and counts as restricted", shorten(word));
            let help = match nearest(word, Classification::words()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write public, internal, confidential or restricted".to_owned(),
            };
            self.warn(node.place, "unknown-classification", message, help);
            Classification::Restricted
        }))
    }

    /// What a reader sees in the place of a value above its clearance.
    pub(super) fn mask(&mut self, property: &Node, custom: &Custom<'_>, kind: &ColumnType) -> Option<Mask> {
        let (text, place) = custom.text(self, "mask")?;
        match Mask::parse(text) {
            Ok(mask) if mask.fits(kind) => {
                if property.get("classification").is_none() {
                    let message =
                        "the column has a mask and no classification: it is internal, and masked for `public` alone";
                    self.warn(place, "mask-without-class", message, "write its `classification:`");
                }
                Some(mask)
            }
            Ok(mask) => {
                let message = format!("the mask `{}` cannot mask values of this type", mask.as_str());
                let help = "year masks dates and timestamps, first3 and hash texts, bucket numbers, redact anything";
                self.error(place, "bad-mask", message, help);
                None
            }
            Err(allowed) => {
                let message = format!("`{}` is not a mask", shorten(text));
                self.error(place, "bad-mask", message, allowed);
                None
            }
        }
    }

    /// Whether a column names the person that a row is about.
    pub(super) fn subject(&mut self, custom: &Custom<'_>, kind: &ColumnType) -> bool {
        let Some(node) = custom.get("subject") else { return false };
        match node.boolean() {
            Some(is) if !is || matches!(kind, ColumnType::String | ColumnType::Long | ColumnType::Int) => is,
            Some(_) => {
                let message = "a person is named by a text or a whole number";
                self.error(node.place, "bad-subject", message, "write `subject: true` under the column with the id");
                false
            }
            None => {
                self.error(node.place, "bad-subject", "`subject` is neither true nor false", "write `true` or `false`");
                false
            }
        }
    }

    /// A hash over few values is a dictionary: who knows the values knows whose hash is whose.
    pub(super) fn hashed_columns(&mut self, columns: &Columns) {
        let hashed = columns.columns.iter().enumerate().filter(|(_, column)| column.mask == Some(Mask::Hash));
        for (index, column) in hashed {
            let listed = columns.row_rules.iter().any(|rule| {
                rule.column == Some(index) && matches!(&rule.check, Check::OneOf(values) if values.len() < FEW_VALUES)
            });
            if listed && let Some(place) = columns.places.get(index) {
                let message = format!(
                    "the column `{}` has fewer than {FEW_VALUES} values, so that its hash would be a dictionary of them",
                    column.name
                );
                self.error(*place, "bad-mask", message, "mask it with `redact`");
            }
        }
    }

    /// The roles that may read the dataset, and those that may hand it in; none listed where roles by themselves decide.
    pub(super) fn roles(&mut self, root: &Node, columns: &Columns) -> (Vec<Reader>, Vec<String>) {
        let (mut readers, mut writers): (Vec<Reader>, Vec<String>) = (Vec::new(), Vec::new());
        if let Some(entry) = root.entry("roles").filter(|entry| entry.node.items().is_empty()) {
            let help = "list those who read it, or remove `roles`: then the layers of a role decide";
            self.error(entry.place, "no-roles", "the contract's `roles` is empty", help);
        }
        for item in root.get("roles").map_or(&[][..], Node::items) {
            let custom = custom::collect(self, &[item.get("customProperties")], Level::Role);
            let Some(name) = item.get("role") else { continue };
            let (reads, writes) = item.get("access").map_or((true, false), |access| self.access(access));
            let role = name.text().unwrap_or_default().to_owned();
            let filter = custom.text(self, "rowFilter");
            let written = filter.map(|(text, _)| text.split_whitespace().collect::<Vec<_>>().join(" "));
            let rows = filter.and_then(|(text, place)| {
                predicate::parse(text, &columns.columns)
                    .map_err(|(message, help)| self.error(place, "bad-row-filter", message, help))
                    .ok()
            });
            if readers.iter().any(|reader| reader.role == role) || writers.contains(&role) {
                let message = format!("the role `{}` stands twice", shorten(&role));
                self.error(name.place, "duplicate-name", message, "keep one of the two, with one `rowFilter`");
            }
            if let Some((_, place)) = filter.filter(|_| !reads) {
                let message = format!("the role `{}` has a row filter and reads nothing", shorten(&role));
                self.error(place, "bad-row-filter", message, "write `access: readWrite`, or remove the filter");
            }
            if writes {
                writers.push(role.clone());
            }
            if reads {
                readers.push(Reader { role, rows, written });
            }
        }
        (readers, writers)
    }

    /// Whether a role reads, and whether it writes. One whose access is not understood does neither.
    fn access(&mut self, access: &Node) -> (bool, bool) {
        let word = access.text().unwrap_or_default();
        match ACCESS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(word)) {
            Some((_, reads, writes)) => (*reads, *writes),
            None => {
                let message = format!("`{}` is no access that is understood", shorten(word));
                let help = "write `access: read`, `write` or `readWrite`; a role that is not listed reads nothing";
                self.error(access.place, "bad-access", message, help);
                (false, false)
            }
        }
    }
}

/// Words for what a role does with the dataset: whether it reads, and whether it writes.
const ACCESS: [(&str, bool, bool); 4] =
    [("read", true, false), ("write", false, true), ("read/write", true, true), ("readWrite", true, true)];
/// Below this a column's values are few.
const FEW_VALUES: usize = 1_000;
