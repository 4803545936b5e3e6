//! Delivered FHIR resources → rows of the contract's view → the decoder of JSON, which reads them by the contract.
//!
//! A record of the file is a resource, or a Bundle whose entries' resources are taken one after the other. A row is
//! written as JSON with the view's columns as its fields, and judged by itself; a resource that becomes no rows is one
//! reject with its bytes. Invariant: a resource of the view's type becomes rows, nothing because a condition of the view
//! says so, or one reject; every other resource is counted.

use std::sync::Arc;

use vitalake_contract::fhir::{Cell, Json, Object, Row, View, json};

use super::first_bytes::BYTE_ORDER_MARK;
use super::json::JsonDecoder;
use super::plan::{Plan, quote};
use super::{DecodeError, Decoded, RULE_FHIR, RecordMeta, Rules};

/// The rows of one record of the file have at most so many bytes.
const ROWS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a delivery of FHIR resources held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceTotals {
    /// Resources read, of whatever type; a Bundle is none when its entries are taken.
    pub read: u64,
    /// Those of another type than the view's: nothing was made of them.
    pub of_another_type: u64,
    /// Those of the view's type of which it makes no rows.
    pub without_rows: u64,
}

impl ResourceTotals {
    /// Adds what another file held.
    pub(super) fn add(&mut self, other: Self) {
        self.read += other.read;
        self.of_another_type += other.of_another_type;
        self.without_rows += other.without_rows;
    }
}

/// Decodes resources by a view.
#[derive(Debug)]
pub(super) struct FhirDecoder {
    view: Arc<View>,
    /// The columns' names as they stand in a row, with a colon.
    names: Vec<String>,
    json: JsonDecoder,
    totals: ResourceTotals,
    /// The rows of one resource, one after the other, and where each ends.
    text: String,
    ends: Vec<usize>,
}

impl FhirDecoder {
    /// A decoder for the resources that a contract's view reads.
    pub(super) fn new(rules: Rules, view: Arc<View>) -> Self {
        let named = |column: &vitalake_contract::fhir::ViewColumn| {
            let mut name = String::new();
            quote(&column.name, &mut name);
            name + ":"
        };
        let topic = Plan::feed_of(&rules.contract);
        let names = view.columns.iter().map(named).collect();
        let json = JsonDecoder::with_topic(rules, topic);
        Self { view, names, json, totals: ResourceTotals::default(), text: String::new(), ends: Vec::new() }
    }

    /// Takes a record of the file; says how many rows and rejects it became.
    pub(super) fn append(&mut self, record: &[u8], meta: RecordMeta) -> i64 {
        let mut taking = Taking { decoder: self, meta, taken: 0, bytes: 0 };
        taking.record(record);
        taking.taken
    }

    /// What was read so far.
    pub(super) fn totals(&self) -> ResourceTotals {
        self.totals
    }

    /// How many records and bytes are held.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.json.records(), self.json.bytes())
    }

    /// The rows and rejects so far.
    pub(super) fn finish(&mut self) -> Result<Decoded, DecodeError> {
        self.json.finish()
    }

    /// Writes the rows of a resource; false where they have too many bytes.
    fn write(&mut self, rows: &[Row<'_>], bytes_max: usize) -> bool {
        self.text.clear();
        self.ends.clear();
        for row in rows {
            self.text.push('{');
            let mut first = true;
            for (name, cell) in self.names.iter().zip(row).filter(|(_, cell)| !matches!(cell, Cell::Null)) {
                if !first {
                    self.text.push(',');
                }
                first = false;
                self.text.push_str(name);
                cell.write(&mut self.text);
            }
            self.text.push('}');
            self.ends.push(self.text.len());
            if self.text.len() > bytes_max {
                return false;
            }
        }
        true
    }
}

/// One record of the file on its way.
struct Taking<'d> {
    decoder: &'d mut FhirDecoder,
    /// Where its first row stands.
    meta: RecordMeta,
    taken: i64,
    bytes: usize,
}

impl Taking<'_> {
    fn record(&mut self, record: &[u8]) {
        let unmarked = record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record);
        let marked = record.len() - unmarked.len();
        let text = match std::str::from_utf8(unmarked) {
            Ok(text) => text,
            Err(error) => {
                return self.refuse(record, format!("not UTF-8 at byte {}", marked + error.valid_up_to()));
            }
        };
        let value = match json::parse(text) {
            Ok(value) => value,
            Err(wrong) => {
                return self.refuse(record, format!("not JSON: {}, at byte {}", wrong.what, marked + wrong.at));
            }
        };
        match value.object() {
            Some(resource) if is_bundle(resource) && self.decoder.view.resource != "Bundle" => {
                self.bundle(resource);
            }
            _ => self.resource(&value, record),
        }
    }

    /// The resources of a Bundle's entries; an entry without one says what was done, and brings nothing.
    fn bundle(&mut self, bundle: &Object<'_>) {
        let entries = match bundle.get("entry") {
            Some(Json::List(entries)) => entries.as_slice(),
            None => return,
            Some(_) => return self.refuse(bundle.text().as_bytes(), "the Bundle's `entry` is no list".to_owned()),
        };
        for entry in entries {
            let Some(object) = entry.object() else {
                let mut text = String::new();
                entry.write(&mut text);
                self.refuse(text.as_bytes(), "an entry of the Bundle is no object".to_owned());
                continue;
            };
            if let Some(resource) = object.get("resource") {
                self.resource(resource, resource.object().unwrap_or(object).text().as_bytes());
            }
        }
    }

    fn resource(&mut self, value: &Json<'_>, bytes: &[u8]) {
        let kind = value.object().and_then(|object| object.get("resourceType")).and_then(Json::text);
        let Some(object) = value.object().filter(|_| kind.is_some_and(|kind| !kind.is_empty())) else {
            return self.refuse(bytes, "not a FHIR resource: an object with `resourceType` was expected".to_owned());
        };
        let view = Arc::clone(&self.decoder.view);
        self.decoder.totals.read += 1;
        if !view.is_of(object) {
            self.decoder.totals.of_another_type += 1;
            return;
        }
        match view.rows(value) {
            Ok(rows) if rows.is_empty() => self.decoder.totals.without_rows += 1,
            Ok(rows) if !self.decoder.write(&rows, ROWS_BYTES_MAX - self.bytes) => {
                self.refuse(bytes, format!("the rows of the resource have more than {ROWS_BYTES_MAX} bytes"));
            }
            Ok(_) => self.keep(),
            Err(error) => self.refuse(bytes, error.to_string()),
        }
    }

    /// Gives the rows that were written to the decoder of JSON.
    fn keep(&mut self) {
        let mut start = 0;
        for at in 0..self.decoder.ends.len() {
            let Some(&end) = self.decoder.ends.get(at) else { break };
            let row = self.decoder.text.get(start..end).unwrap_or("");
            let meta = RecordMeta { offset: self.meta.offset + self.taken, ..self.meta };
            self.decoder.json.append(Some(row.as_bytes()), meta);
            self.taken += 1;
            start = end;
        }
        self.bytes += start;
    }

    fn refuse(&mut self, bytes: &[u8], reason: String) {
        let meta = RecordMeta { offset: self.meta.offset + self.taken, ..self.meta };
        self.decoder.json.refuse(bytes, meta, RULE_FHIR, reason);
        self.taken += 1;
    }
}

fn is_bundle(resource: &Object<'_>) -> bool {
    resource.get("resourceType").and_then(Json::text) == Some("Bundle")
}
