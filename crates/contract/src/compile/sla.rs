//! `slaProperties`: freshness, latency and retention. Others are notes to the reader.

use std::time::Duration;

use super::columns::Columns;
use super::{Context, duration};
use crate::contract::Sla;
use crate::yaml::{Node, Place, Value, shorten};

impl Context<'_> {
    pub(super) fn sla(&mut self, root: &Node, columns: &Columns) -> Sla {
        let mut sla = Sla::default();
        for item in root.get("slaProperties").map_or(&[][..], Node::items) {
            let Some(property) = item.get("property") else {
                continue;
            };
            let slot = match property.text() {
                Some("freshness") => &mut sla.freshness,
                Some("latency") => &mut sla.latency,
                Some("retention") => &mut sla.retention,
                _ => continue,
            };
            if slot.is_some() {
                let message = format!("`{}` is promised twice", property.text().unwrap_or_default());
                self.error(property.place, "duplicate-name", message, "keep one of the two");
                continue;
            }
            *slot = self.sla_duration(item);
            self.sla_element(item, columns);
        }
        sla
    }

    fn sla_duration(&mut self, item: &Node) -> Option<Duration> {
        let value = item.get("value")?;
        let number = value.number().or_else(|| value.text().and_then(|text| text.trim().parse().ok()));
        let length = match (number, item.get("unit")) {
            (Some(number), Some(unit)) => {
                let unit = unit.text().unwrap_or_default();
                // A bare m is minutes where minutes are meant; how long rows are kept could as well be in months.
                let is_retention = item.get("property").and_then(Node::text) == Some("retention");
                let unit = if unit == "m" && !is_retention { "min" } else { unit };
                duration::with_unit(number, unit)
            }
            (None, None) => value.text().and_then(duration::iso),
            (Some(_), None) | (None, Some(_)) => None,
        };
        if length.is_none() {
            let place = match (number, item.get("unit")) {
                (Some(number), Some(unit)) if number >= 0.0 => unit.place,
                _ => value.place,
            };
            let help =
                format!("give a number and a `unit` ({}), or an ISO 8601 duration such as PT15M", duration::UNITS);
            self.error(place, "bad-duration", "this is not a length of time", help);
        }
        length
    }

    /// `element` names columns, `column` or `dataset.column`, several with commas between.
    fn sla_element(&mut self, item: &Node, columns: &Columns) {
        let Some(Node { value: Value::Text(text), place }) = item.get("element") else {
            return;
        };
        for name in text.split(',').map(str::trim) {
            let dataset = self.dataset.as_str();
            let column = name.strip_prefix(dataset).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
            if column != dataset {
                columns.find(self, column, *place);
            }
        }
    }
}

impl Columns {
    /// The column with this name, or an error at the place that refers to it.
    pub(super) fn find(&self, context: &mut Context<'_>, name: &str, place: Place) -> Option<usize> {
        let found = self.columns.iter().position(|column| &*column.name == name);
        if found.is_none() {
            let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
            let help = match crate::verdict::nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its columns are {}", shorten(&names.join(", "))),
            };
            let message = format!("the dataset has no column `{}`", shorten(name));
            context.error(place, "unknown-column", message, help);
        }
        found
    }
}
