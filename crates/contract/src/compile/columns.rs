//! The properties of the schema object: columns, their types, the primary key, and the rules of `required`, `unique`
//! and `logicalTypeOptions`.
//!
//! Invariant: a column is kept in its place even when something about it is wrong, so that indices stay those of the
//! document.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::custom::{self, Level};
use super::{Context, Taken};
use crate::contract::{Column, ColumnType, Layer, Reference};
use crate::odcs::Version;
use crate::rule::{Check, Measure, Must, RowRule, SetRule, Severity};
use crate::time_format::TimeFormat;
use crate::yaml::{Node, Place, shorten};

/// What the properties of a schema object become.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    /// Where each column's name stands.
    pub(super) places: Vec<Place>,
    pub(super) primary_key: Vec<usize>,
    pub(super) row_rules: Vec<RowRule>,
    pub(super) set_rules: Vec<SetRule>,
    /// The names of rules so far.
    pub(super) rule_names: Taken,
    /// Where each rule of `quality` is written: its query, where it has one.
    pub(super) rule_places: BTreeMap<String, Place>,
    /// References to other datasets, and where each is written.
    pub(super) references: Vec<(Reference, Place)>,
}

impl Columns {
    pub(super) fn row_rule(&mut self, column: usize, what: &str, check: Check) {
        let Some(name) = self.columns.get(column).map(|c| format!("{}.{what}", c.name)) else {
            return;
        };
        self.rule_names.insert(name.clone(), column);
        self.row_rules.push(RowRule { name, column: Some(column), check, severity: Severity::Error });
    }

    /// A name that no rule has yet: this one, or numbered.
    pub(super) fn free_name(&self, base: &str) -> String {
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|name| !self.rule_names.contains_key(name))
            .unwrap_or_else(|| base.to_owned())
    }
}

impl<'d> Context<'d> {
    pub(super) fn columns(&mut self, object: &'d Node) -> Columns {
        let mut columns = Columns {
            columns: Vec::new(),
            places: Vec::new(),
            primary_key: Vec::new(),
            row_rules: Vec::new(),
            set_rules: Vec::new(),
            rule_names: Taken::new(),
            rule_places: BTreeMap::new(),
            references: Vec::new(),
        };
        let properties = object.get("properties").map_or(&[][..], Node::items);
        if properties.is_empty() {
            let place = object.entry("name").map_or(object.place, |entry| entry.place);
            self.error(place, "no-columns", "the dataset has no columns", "list them under `properties:`");
        }
        let mut taken = Taken::new();
        for (index, property) in properties.iter().enumerate() {
            self.column(property, index, &mut columns, &mut taken);
        }
        columns.primary_key = self.primary_key(properties);
        self.column_rules(properties, &mut columns);
        columns
    }

    fn column(&mut self, property: &'d Node, index: usize, columns: &mut Columns, taken: &mut Taken) {
        let name_node = property.get("name");
        let place = name_node.map_or(property.place, |node| node.place);
        let name = name_node.and_then(Node::text).unwrap_or_default();
        if name_node.is_some_and(|node| node.text().is_some()) {
            if let Some(first) = taken.insert(name.to_lowercase(), index) {
                let message = format!("the column `{}` stands twice, here and as number {}", shorten(name), first + 1);
                self.error(place, "duplicate-name", message, "rename one; upper and lower case count as the same");
            } else {
                self.column_name(name, place);
            }
        }
        let custom = custom::collect(self, &[property.get("customProperties")], Level::Column);
        let path = match custom.text(self, "path") {
            Some((path, place)) => self.path(path, place),
            None => vec![name.to_owned()],
        };
        let text_of = |key| property.get(key).and_then(Node::text).map(ToOwned::to_owned);
        let flag = |key| property.get(key).and_then(Node::boolean) == Some(true);
        let kind = self.kind(property, place);
        columns.columns.push(Column {
            name: Arc::from(name),
            mask: self.mask(property, &custom, &kind),
            subject: self.subject(&custom, &kind),
            declassified: custom.text(self, "declassified").map(|(reason, _)| reason.to_owned()),
            kind,
            required: flag("required") || flag("primaryKey"),
            path,
            classification: self.classification(property),
            description: text_of("description"),
            title: text_of("businessName"),
            unit: custom.text(self, "unit").map(|(unit, _)| unit.to_owned()),
        });
        columns.places.push(place);
    }

    fn column_name(&mut self, name: &str, place: Place) {
        let shown = shorten(name);
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.starts_with('_') {
            let message = format!("the column `{shown}` begins with `_`, as only vitalake's own columns do");
            self.error(place, "reserved-name", message, "rename it; `path` can still name the field of the record");
        } else if !name.chars().next().is_some_and(|c| c.is_ascii_alphabetic()) || !name.chars().all(legal) {
            let message = format!("`{shown}` cannot be a column's name");
            let help = "use letters, digits and `_`, a letter first; `path` can still name the field of the record";
            self.error(place, "bad-name", message, help);
        } else if name.len() > 255 {
            self.error(place, "bad-name", "a column's name has at most 255 characters", "shorten it");
        } else if name.chars().any(|c| c.is_ascii_uppercase()) {
            let message = format!("the column `{shown}` has capitals, so every query must write it in quotes");
            let help = format!("name it `{}`; `path` can still name the field of the record", name.to_lowercase());
            self.warn(place, "capitals", message, help);
        }
    }

    /// `$.vitals.hr` as its steps.
    fn path(&mut self, path: &str, place: Place) -> Vec<String> {
        let steps: Vec<String> =
            path.strip_prefix("$.").map(|rest| rest.split('.').map(ToOwned::to_owned).collect()).unwrap_or_default();
        let plain = |step: &String| !step.is_empty() && !step.contains(['[', ']', '*', '\'', '"', '$']);
        if steps.is_empty() || steps.len() > 32 || !steps.iter().all(plain) {
            let message = format!("`{}` is not a path", shorten(path));
            self.error(place, "bad-path", message, "write `$.` and the names of the fields: `$.vitals.hr`");
        }
        steps
    }

    fn kind(&mut self, property: &Node, place: Place) -> ColumnType {
        let Some(node) = property.get("logicalType") else {
            let help = "add `logicalType:`: string, integer, number, boolean, date, timestamp, time, object or array";
            self.error(place, "no-type", "the column has no `logicalType`", help);
            return ColumnType::String;
        };
        let options = property.get("logicalTypeOptions");
        let format = options.and_then(|options| options.get("format"));
        match node.text().unwrap_or_default() {
            "integer" => self.integer(format),
            "number" if format.and_then(Node::text) == Some("f32") => ColumnType::Float,
            "number" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "date" => self.date(property, options),
            "timestamp" => self.timestamp(options),
            "time" => ColumnType::Time(self.time_format(options, None)),
            "object" | "array" => ColumnType::Json,
            _ => ColumnType::String,
        }
    }

    fn integer(&mut self, format: Option<&Node>) -> ColumnType {
        match format.and_then(|node| node.text().map(|text| (text, node.place))) {
            Some(("i8" | "i16" | "i32" | "u8" | "u16", _)) => ColumnType::Int,
            Some((wide @ ("u64" | "i128" | "u128"), place)) => {
                let message = format!("`{wide}` does not fit a Delta table, whose widest integer is i64");
                self.error(place, "unsupported-type", message, "use i64; keep identifiers as `string`");
                ColumnType::Long
            }
            _ => ColumnType::Long,
        }
    }

    /// A day. 3.0.x has no timestamps: there a date is one whose physical type says so, or whose format has an hour.
    fn date(&mut self, property: &Node, options: Option<&Node>) -> ColumnType {
        let format = self.time_format(options, None);
        let physical = property.get("physicalType").and_then(Node::text).unwrap_or_default().to_lowercase();
        let is_instant = ["timestamp", "datetime"].iter().any(|name| physical.starts_with(name))
            || format.as_ref().is_some_and(TimeFormat::has_time);
        if self.version < Version::V3_1_0 && is_instant { self.timestamp(options) } else { ColumnType::Date(format) }
    }

    fn timestamp(&mut self, options: Option<&Node>) -> ColumnType {
        let zone_node = options.and_then(|options| options.get("defaultTimezone"));
        let zone = zone_node.and_then(|node| {
            let name = node.text()?;
            let zone = name.parse::<chrono_tz::Tz>().ok();
            if zone.is_none() {
                let message = format!("there is no time zone `{}`", shorten(name));
                self.error(
                    node.place,
                    "unknown-zone",
                    message,
                    "use a name of the IANA database: Etc/UTC, Europe/Berlin",
                );
            }
            zone
        });
        let format = self.time_format(options, zone);
        if self.layer == Layer::Raw {
            match (&format, options.and_then(|options| options.get("format"))) {
                (Some(compiled), Some(node)) if !compiled.has_zone() && zone_node.is_none() => {
                    let message = "input in this format names no time zone, and the contract gives none";
                    let help = "add `defaultTimezone: Etc/UTC`, or the zone that the source writes in";
                    self.error(node.place, "no-zone", message, help);
                }
                _ => self.zone_without_format(options, zone_node),
            }
        }
        ColumnType::Timestamp(format)
    }

    /// Without a format the input is RFC 3339, which always says its zone.
    fn zone_without_format(&mut self, options: Option<&Node>, zone: Option<&Node>) {
        let option = |key| options.and_then(|options| options.get(key));
        if option("format").is_some() {
            return;
        }
        if let Some(zone) = zone {
            let message =
                "`defaultTimezone` has no effect without a `format`: the input is then RFC 3339, with its zone";
            self.warn(zone.place, "no-effect", message, "add the `format` of the input, or remove the zone");
        } else if let Some(node) = option("timezone").filter(|node| node.boolean() == Some(false)) {
            let message = "input without a time zone needs a `format` and a `defaultTimezone`";
            self.error(
                node.place,
                "no-zone",
                message,
                "add both, such as `format: yyyy-MM-dd HH:mm:ss` and `defaultTimezone: Etc/UTC`",
            );
        }
    }

    /// Key columns in key order: positions 1 to n without gaps, or none at all and the order of the document.
    fn primary_key(&mut self, properties: &[Node]) -> Vec<usize> {
        let mut keys: Vec<(usize, Option<&Node>)> = Vec::new();
        for (index, property) in properties.iter().enumerate() {
            let position = property.get("primaryKeyPosition").filter(|node| node.integer() != Some(-1));
            if property.get("primaryKey").and_then(Node::boolean) == Some(true) {
                keys.push((index, position));
            } else if let Some(position) = position {
                let help = "add `primaryKey: true`, or remove the position";
                self.error(
                    position.place,
                    "bad-key",
                    "a position in the primary key on a column that is not part of it",
                    help,
                );
            }
        }
        if keys.iter().all(|(_, position)| position.is_none()) {
            return keys.into_iter().map(|(index, _)| index).collect();
        }
        let count = keys.len();
        let mut ordered: Vec<Option<usize>> = vec![None; count];
        for (index, position) in keys {
            let Some(node) = position else {
                let place =
                    properties.get(index).and_then(|p| p.entry("primaryKey")).map_or(Place::default(), |e| e.place);
                self.error(
                    place,
                    "bad-key",
                    "a column of the primary key has no position while others have",
                    "add `primaryKeyPosition:`",
                );
                continue;
            };
            let slot = node.integer().and_then(|n| usize::try_from(n).ok()).and_then(|n| n.checked_sub(1));
            match slot.and_then(|slot| ordered.get_mut(slot)) {
                Some(free @ None) => *free = Some(index),
                Some(Some(_)) => self.error(
                    node.place,
                    "bad-key",
                    "two columns have this position in the primary key",
                    format!("number them from 1 to {count}"),
                ),
                None => self.error(
                    node.place,
                    "bad-key",
                    "the positions in the primary key leave a gap",
                    format!("number them from 1 to {count}"),
                ),
            }
        }
        ordered.into_iter().flatten().collect()
    }

    fn column_rules(&mut self, properties: &'d [Node], columns: &mut Columns) {
        for (index, property) in properties.iter().enumerate() {
            // A null key equals no other key, so that it could never be told from a duplicate: keys are required.
            if columns.columns.get(index).is_some_and(|column| column.required) {
                columns.row_rule(index, "required", Check::Required);
            }
            if let Some(options) = property.get("logicalTypeOptions") {
                self.option_rules(options, index, columns);
            }
            if property.get("unique").and_then(Node::boolean) == Some(true)
                && let Some(name) = columns.columns.get(index).map(|column| format!("{}.unique", column.name))
            {
                columns.rule_names.insert(name.clone(), index);
                let measure = Measure::DuplicateValues(vec![index]);
                let (must, severity) = (Must::Be(0.0), Severity::Error);
                columns.set_rules.push(SetRule { name, measure, must, severity, schedule: None });
            }
        }
        for (index, property) in properties.iter().enumerate() {
            self.column_quality(property, index, columns);
            let mut references = self.references(property, Some(index), columns);
            columns.references.append(&mut references);
        }
    }
}
