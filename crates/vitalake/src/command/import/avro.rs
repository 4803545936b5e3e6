//! A contract out of an Avro schema: an `.avsc` file, or the schema in the header of an Avro file.
//!
//! Of an Avro file the header alone is read. Records within records become columns of their own. Invariant: a schema that
//! names itself ends as an object.

use std::collections::HashMap;
use std::io::Read;

use serde_json::Value;

use super::page::{Column, Page};
use super::{Files, Sample};

/// What an Avro file begins with.
const MAGIC: &[u8] = b"Obj\x01";
/// A header, and a schema, are smaller.
const SCHEMA_BYTES_MAX: u64 = 8 << 20;
/// How deep records become columns of their own.
const DEPTH_MAX: usize = 6;

pub(super) fn draft(sample: &Sample) -> anyhow::Result<Files> {
    let mut bytes = Vec::new();
    sample.open()?.take(SCHEMA_BYTES_MAX).read_to_end(&mut bytes)?;
    let schema = schema(&bytes).map_err(|reason| sample.refused(reason))?;
    let name = schema.get("name").and_then(Value::as_str).unwrap_or("a record").to_owned();
    let mut about = vec![
        format!(
            "Drafted by `vitalake contract import` from the Avro schema {name} ({}): names and types as it has",
            sample.file_name
        ),
        "them, and `required` for what it does not let be null. Look at each line, then take these comments away."
            .to_owned(),
    ];
    about.extend(schema.get("doc").and_then(Value::as_str).map(ToOwned::to_owned));
    let mut drafting = Drafting { page: Page::new(&sample.dataset, about), named: HashMap::new() };
    drafting.record(&schema, &mut Vec::new(), true).map_err(|reason| sample.refused(reason))?;
    if drafting.page.columns().is_empty() {
        return Err(sample.refused("has a schema without fields"));
    }
    drafting.page.custom("source", "stream", "a Kafka topic of JSON records; `feed` for delivered files");
    Ok(vec![sample.contract(drafting.page.text())])
}

/// The schema that a file is or has.
fn schema(bytes: &[u8]) -> Result<Value, String> {
    let text = match bytes.strip_prefix(MAGIC) {
        Some(header) => in_header(header).ok_or("has no schema in its header")?,
        None => bytes,
    };
    serde_json::from_slice(text).map_err(|error| format!("has a schema that is not JSON, at line {}", error.line()))
}

/// `avro.schema` of a header's metadata: blocks of names and bytes, each block after its count.
fn in_header(header: &[u8]) -> Option<&[u8]> {
    let mut rest = header;
    loop {
        let count = long(&mut rest)?;
        if count == 0 {
            return None;
        }
        if count < 0 {
            long(&mut rest)?;
        }
        for _ in 0..count.unsigned_abs() {
            let (name, value) = (sized(&mut rest)?, sized(&mut rest)?);
            if name == b"avro.schema" {
                return Some(value);
            }
        }
    }
}

/// A number in Avro's variable length.
fn long(rest: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return i64::try_from(value >> 1).ok().map(|half| half ^ -i64::try_from(value & 1).unwrap_or(0));
        }
    }
    None
}

fn sized<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(long(rest)?).ok()?;
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

struct Drafting {
    page: Page,
    /// Types by the names that they were given.
    named: HashMap<String, Value>,
}

impl Drafting {
    /// The fields of a record; those of one that may be null are not required.
    fn record(&mut self, schema: &Value, path: &mut Vec<String>, always: bool) -> Result<(), String> {
        self.name(schema);
        if schema.get("type").and_then(Value::as_str) != Some("record") {
            return Err("holds a schema that is no record".to_owned());
        }
        for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = field.get("name").and_then(Value::as_str) else { continue };
            let (kind, nullable) = self.resolved(field.get("type").unwrap_or(&Value::Null));
            path.push(name.to_owned());
            let nested = kind.get("type").and_then(Value::as_str) == Some("record");
            if nested && path.len() < DEPTH_MAX {
                self.record(&kind, path, always && !nullable)?;
            } else {
                self.column(&kind, path, always && !nullable, field.get("doc"));
            }
            path.pop();
        }
        Ok(())
    }

    fn column(&mut self, kind: &Value, path: &[String], required: bool, doc: Option<&Value>) {
        let (logical, remark) = logical(kind);
        let description = doc.and_then(Value::as_str).filter(|doc| !doc.is_empty()).map(ToOwned::to_owned);
        self.page.add(Column { path: path.to_vec(), logical, required, description, remark, ..Column::default() });
    }

    /// A type without the null that it may be, and whether it may.
    fn resolved(&mut self, kind: &Value) -> (Value, bool) {
        let mut nullable = false;
        let mut kind = kind.clone();
        if let Value::Array(kinds) = &kind {
            nullable = kinds.iter().any(|kind| kind == "null");
            let mut others = kinds.iter().filter(|kind| *kind != "null");
            kind = match (others.next(), others.next()) {
                (Some(only), None) => only.clone(),
                _ => Value::from("union"),
            };
        }
        // A type may stand alone in an object of its own: {"type": {"type": "record", …}}.
        while let Some(inner) = kind.get("type").filter(|inner| inner.is_object()).cloned() {
            kind = inner;
        }
        self.name(&kind);
        if let Some(known) = kind.as_str().and_then(|name| self.named.get(name)) {
            kind = known.clone();
        }
        (kind, nullable)
    }

    fn name(&mut self, kind: &Value) {
        let Some(name) = kind.get("name").and_then(Value::as_str) else { return };
        if let Some(space) = kind.get("namespace").and_then(Value::as_str) {
            self.named.insert(format!("{space}.{name}"), kind.clone());
        }
        self.named.insert(name.to_owned(), kind.clone());
    }
}

fn logical(kind: &Value) -> (&'static str, &'static str) {
    let name = kind.as_str().or_else(|| kind.get("type").and_then(Value::as_str)).unwrap_or_default();
    let said = kind.get("logicalType").and_then(Value::as_str).unwrap_or_default();
    match (name, said) {
        (_, "date") => ("date", "days since 1970 in Avro's own form, written as yyyy-MM-dd in JSON"),
        (_, "timestamp-millis" | "timestamp-micros" | "timestamp-nanos") => {
            ("timestamp", "a number in Avro's own form, written as RFC 3339 in JSON")
        }
        (_, "time-millis" | "time-micros") => ("time", ""),
        (_, "decimal") => ("string", "a decimal: kept with all its digits"),
        ("boolean", _) => ("boolean", ""),
        ("int" | "long", _) => ("integer", ""),
        ("float" | "double", _) => ("number", ""),
        ("enum", _) => ("string", "an enum: add `invalidValues` where other symbols must not come"),
        ("bytes" | "fixed", _) => ("string", "bytes: write how they are encoded"),
        ("array", _) => ("array", ""),
        ("map" | "record", _) => ("object", ""),
        ("union", _) => ("string", "several types in the schema: text alone fits here"),
        _ => ("string", ""),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_schema_in_a_header_is_found_and_a_cut_header_is_none() {
        let schema = br#"{"type":"record","name":"a","fields":[]}"#;
        let mut file = MAGIC.to_vec();
        file.push(4);
        for (name, value) in [(&b"avro.codec"[..], &b"null"[..]), (b"avro.schema", schema)] {
            for part in [name, value] {
                file.push(u8::try_from(part.len() * 2).unwrap());
                file.extend_from_slice(part);
            }
        }
        file.extend_from_slice(&[0, 1, 2, 3]);
        assert_eq!(super::schema(&file).unwrap().get("name").unwrap(), "a");
        for end in 0..file.len() - 5 {
            assert!(super::schema(&file[..end]).is_err(), "{end}");
        }
        assert!(in_header(&[0xff; 40]).is_none());
    }
}
