//! The `customProperties` that mean something to vitalake: the one list of them.
//!
//! What the standard has no word for is written here and nowhere else. `docs/contracts.md` shows the same list; a test
//! compares the two.

use std::collections::BTreeMap;

use super::Context;
use crate::contract::Layer;
use crate::verdict::nearest;
use crate::yaml::{Node, Place, shorten};

/// Where a custom property stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Under the contract, or under its schema object.
    Contract,
    /// Under a property of the schema object: a column.
    Column,
    /// Under a relationship.
    Relationship,
    /// Under a role.
    Role,
}

/// A name that vitalake understands.
#[derive(Clone, Copy, Debug)]
pub struct CustomProperty {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub level: Level,
    /// The layers whose datasets it is for.
    pub layers: &'static [Layer],
    /// What its value is and does.
    pub about: &'static str,
}

const RAW: &[Layer] = &[Layer::Raw];

/// All of them.
pub const CUSTOM_PROPERTIES: [CustomProperty; 27] = [
    CustomProperty {
        name: "topic",
        level: Level::Contract,
        layers: RAW,
        about: "the Kafka topic; default: the file's name",
    },
    CustomProperty {
        name: "partitions",
        level: Level::Contract,
        layers: RAW,
        about: "how many partitions the topic has, 1 to 1024; default 4",
    },
    CustomProperty {
        name: "source",
        level: Level::Contract,
        layers: RAW,
        about: "`stream` (default: a Kafka topic) or `feed` (delivered files only, no topic)",
    },
    CustomProperty {
        name: "delivery",
        level: Level::Contract,
        layers: RAW,
        about: "`append` (default) or `replace`: each delivery takes the place of all rows, in one commit",
    },
    CustomProperty {
        name: "controlTotals",
        level: Level::Contract,
        layers: RAW,
        about: "`optional` (default) or `required`: each delivery comes with its count of rows, its hash or sums of columns",
    },
    CustomProperty {
        name: "snapshotLossMax",
        level: Level::Contract,
        layers: RAW,
        about: "with `delivery: replace`, the share of its rows that a dataset may lose by a delivery: `0.2` or `20%`; default: all but one row",
    },
    CustomProperty {
        name: "view",
        level: Level::Contract,
        layers: RAW,
        about: "the view in views/ through which delivered FHIR resources become rows (docs/fhir.md); with `source: feed`",
    },
    CustomProperty {
        name: "csv",
        level: Level::Contract,
        layers: RAW,
        about: "how delivered CSV is written where it is not the usual form: delimiter, encoding, decimal comma and so on (docs/files.md)",
    },
    CustomProperty {
        name: "rowsPath",
        level: Level::Contract,
        layers: RAW,
        about: "where in a delivered JSON document its rows stand: `$.entry[*].resource`",
    },
    CustomProperty {
        name: "onNewColumn",
        level: Level::Contract,
        layers: RAW,
        about: "`rescue` (default: kept in `_rescued`) or `refuse`: what a file's columns mean that the contract does not name",
    },
    CustomProperty {
        name: "dedupHorizon",
        level: Level::Contract,
        layers: &[Layer::Curated],
        about: "how long a primary key is remembered to drop duplicates, an ISO 8601 duration; default PT24H",
    },
    CustomProperty {
        name: "history",
        level: Level::Contract,
        layers: &[Layer::Curated, Layer::Serving],
        about: "`true`: a model of kind upsert keeps each version of a row, with `_valid_from` and `_valid_to`; default `false`",
    },
    CustomProperty {
        name: "sortBy",
        level: Level::Contract,
        layers: &[Layer::Raw, Layer::Curated],
        about: "a column or a list of them that queries filter by: compaction sorts files by them, so that less is read; default: as rows came",
    },
    CustomProperty {
        name: "gateWindow",
        level: Level::Contract,
        layers: &[Layer::Serving],
        about: "the column by whose values the gate decides, window by window",
    },
    CustomProperty {
        name: "gateInputs",
        level: Level::Contract,
        layers: &[Layer::Serving],
        about: "a list of datasets whose freshness the gate asks one by one; default: the age of the newest row",
    },
    CustomProperty {
        name: "onStale",
        level: Level::Contract,
        layers: &[Layer::Serving],
        about: "`hold` (default) or `publish`: what becomes of a version that is complete and past its freshness",
    },
    CustomProperty {
        name: "publishGroup",
        level: Level::Contract,
        layers: &[Layer::Serving],
        about: "a name that datasets share which are published together or not at all",
    },
    CustomProperty {
        name: "timeColumn",
        level: Level::Contract,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "the timestamp that queries know as `__time`; default: the first required timestamp, else `_timestamp`",
    },
    CustomProperty {
        name: "timeGrain",
        level: Level::Contract,
        layers: &[Layer::Serving],
        about: "the step of time that a row stands for, by which charts group: `hour`, `day`, `15 minutes`; default: a day where the time is a date, else an hour",
    },
    CustomProperty {
        name: "unit",
        level: Level::Column,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "what the numbers are counted in: `bpm`, `%`; charts show it",
    },
    CustomProperty {
        name: "mask",
        level: Level::Column,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "what readers see who may not see the value: `redact`, `year`, `first3`, `bucket(WIDTH)` or `hash`; default: they may not use the column (docs/access.md)",
    },
    CustomProperty {
        name: "declassified",
        level: Level::Column,
        layers: &[Layer::Curated, Layer::Serving],
        about: "why the column's own `classification` holds although it is computed from stricter columns (docs/access.md); default: it is as strict as they are",
    },
    CustomProperty {
        name: "subject",
        level: Level::Column,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "`true`: the column names the person that the row is about, by which rows are erased and disclosures are found (docs/erasure.md); a dataset may have several; default `false`",
    },
    CustomProperty {
        name: "rowFilter",
        level: Level::Role,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "which rows the role sees: columns compared with constants, `consent = true AND clinic IN ('north', 'south')`; default: all",
    },
    CustomProperty {
        name: "consent",
        level: Level::Contract,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "binds rows to the decisions of those they are about: `{dataset, subject, purpose, decision, time}`, with `own`, `given` and `without` (docs/consent.md); default: rows are bound to nothing",
    },
    CustomProperty {
        name: "path",
        level: Level::Column,
        layers: RAW,
        about: "where the value stands in a record: `$.vitals.hr`, a CSV column as `$.Column`; default: the column's name",
    },
    CustomProperty {
        name: "severity",
        level: Level::Relationship,
        layers: &[Layer::Raw, Layer::Curated, Layer::Serving],
        about: "what a key that is missing means: `error` (default), `warning` or `fatal`",
    },
];

/// The custom properties found at one place of a contract.
pub(super) struct Custom<'d> {
    values: BTreeMap<&'static str, &'d Node>,
}

impl<'d> Custom<'d> {
    pub(super) fn get(&self, name: &str) -> Option<&'d Node> {
        self.values.get(name).copied()
    }

    /// A value that must be text.
    pub(super) fn text(&self, context: &mut Context<'_>, name: &str) -> Option<(&'d str, Place)> {
        let node = self.get(name)?;
        if node.text().is_none() {
            context.error(node.place, "wrong-type", format!("the value of `{name}` must be text"), "put it in quotes");
        }
        node.text().map(|text| (text, node.place))
    }
}

/// Reads lists of custom properties that stand at one level.
pub(super) fn collect<'d>(context: &mut Context<'_>, lists: &[Option<&'d Node>], level: Level) -> Custom<'d> {
    let mut values = BTreeMap::new();
    for item in lists.iter().flatten().flat_map(|list| list.items()) {
        let (Some(name), Some(value)) = (item.get("property"), item.get("value")) else {
            continue;
        };
        let Some(text) = name.text() else { continue };
        let Some(known) = CUSTOM_PROPERTIES.iter().find(|known| known.name == text) else {
            unknown(context, text, name.place, level);
            continue;
        };
        if known.level != level {
            let place = match known.level {
                Level::Contract => "the contract",
                Level::Column => "a column",
                Level::Relationship => "a relationship",
                Level::Role => "a role",
            };
            context.error(
                name.place,
                "misplaced-custom-property",
                format!("the custom property `{text}` has no meaning here"),
                format!("write it under the `customProperties` of {place}"),
            );
        } else if !known.layers.contains(&context.layer) {
            let layers: Vec<&str> = known.layers.iter().map(|layer| layer.as_str()).collect();
            let message = format!("the custom property `{text}` has no meaning in a {} contract", context.layer);
            let help = format!("it is for {} contracts: remove it here", layers.join(", "));
            context.error(name.place, "misplaced-custom-property", message, help);
        } else if values.insert(known.name, value).is_some() {
            let message = format!("the custom property `{text}` is given twice");
            context.error(name.place, "duplicate-name", message, "keep one of the two");
        }
    }
    Custom { values }
}

/// A name close to one of ours is a slip of the pen and an error; any other may be another tool's.
fn unknown(context: &mut Context<'_>, name: &str, place: Place, level: Level) {
    let names: Vec<&str> = CUSTOM_PROPERTIES.iter().filter(|p| p.level == level).map(|p| p.name).collect();
    let shown = shorten(name);
    match nearest(name, names.iter().copied()) {
        Some(near) => {
            let message = format!("vitalake knows no custom property `{shown}`");
            context.error(place, "unknown-custom-property", message, format!("did you mean `{near}`?"));
        }
        None => {
            let message = format!("the custom property `{shown}` means nothing to vitalake");
            let help = format!("fine when another tool reads it; known here: {}", names.join(", "));
            context.warn(place, "unknown-custom-property", message, help);
        }
    }
}
