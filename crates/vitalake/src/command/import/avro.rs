//! A contract out of an Avro schema: an `.avsc` file, or the schema in the header of an Avro file.
//!
//! Of an Avro file the header alone is read. Records within records become columns of their own. Invariant: a record that
//! names itself ends as an object, and a schema of any size ends.

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
    if !is_record(&schema) {
        return Err(sample.refused("holds a schema that is no record"));
    }
    let page = Page::new(&sample.dataset, about);
    let mut drafting = Drafting { page, named: HashMap::new(), within: Vec::new() };
    drafting.learn(&schema, "");
    drafting.record(&schema, "", &mut Vec::new(), true);
    if drafting.page.columns().is_empty() {
        return Err(sample.refused("has a schema without fields"));
    }
    drafting.page.custom("source", "stream", "a Kafka topic of JSON records; `feed` for delivered files");
    Ok(vec![sample.contract(drafting.page.text())])
}

/// The schema that a file is or has.
fn schema(bytes: &[u8]) -> Result<Value, String> {
    let text = match bytes.strip_prefix(MAGIC) {
        Some(header) => in_header(header).ok_or("has a header that is cut off, or holds no schema")?,
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

/// What Avro itself names; every other name is of a type that a schema says.
const BUILT_IN: &[&str] = &[
    "null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "error", "enum", "array", "map",
    "fixed",
];

/// The type of a field that says none.
static NO_TYPE: Value = Value::Null;

struct Drafting<'s> {
    page: Page,
    /// The types that have names, by their whole names.
    named: HashMap<String, &'s Value>,
    /// The records that the walk is within.
    within: Vec<String>,
}

/// A type where it is used.
struct Used<'s> {
    /// The schemas of which it may be one, without null.
    schemas: Vec<&'s Value>,
    /// What names within are relative to.
    space: String,
    nullable: bool,
}

impl<'s> Drafting<'s> {
    /// Takes note of every type that has a name, wherever a schema says it.
    fn learn(&mut self, schema: &'s Value, space: &str) {
        match schema {
            Value::Array(kinds) => kinds.iter().for_each(|kind| self.learn(kind, space)),
            Value::Object(parts) => {
                let whole = whole_name(schema, space);
                let space = whole.as_deref().map_or(space, space_of).to_owned();
                if let Some(whole) = whole {
                    self.named.insert(whole, schema);
                }
                let fields = parts.get("fields").and_then(Value::as_array).into_iter().flatten();
                let fields = fields.filter_map(|field| field.get("type"));
                let within = ["type", "items", "values"].iter().filter_map(|part| parts.get(*part));
                fields.chain(within).for_each(|kind| self.learn(kind, &space));
            }
            _ => {}
        }
    }

    /// The fields of a record; those of one that may be null are not required.
    fn record(&mut self, schema: &'s Value, space: &str, path: &mut Vec<String>, always: bool) {
        let whole = whole_name(schema, space).unwrap_or_default();
        let space = space_of(&whole).to_owned();
        self.within.push(whole);
        for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = field.get("name").and_then(Value::as_str) else { continue };
            if self.page.is_full() {
                break;
            }
            let used = self.used(field.get("type").unwrap_or(&NO_TYPE), &space);
            path.push(name.to_owned());
            match used.record(self) {
                Some(record) => self.record(record, &used.space, path, always && !used.nullable),
                None => self.column(&used, path, always && !used.nullable, field.get("doc")),
            }
            path.pop();
        }
        self.within.pop();
    }

    fn column(&mut self, used: &Used<'s>, path: &[String], required: bool, doc: Option<&Value>) {
        let (logical, remark) = used.logical();
        let description = doc.and_then(Value::as_str).filter(|doc| !doc.is_empty()).map(ToOwned::to_owned);
        let zoneless = remark == ZONELESS;
        let format = zoneless.then_some("yyyy-MM-dd'T'HH:mm:ss");
        let zone = zoneless.then_some("Etc/UTC");
        let path = path.to_vec();
        self.page.add(Column { path, logical, format, zone, required, description, remark, ..Column::default() });
    }

    /// A type without the null that it may be; a name is the type that has it.
    fn used(&self, schema: &'s Value, space: &str) -> Used<'s> {
        let mut used = Used { schemas: Vec::new(), space: space.to_owned(), nullable: false };
        self.use_of(schema, &mut used);
        used
    }

    fn use_of(&self, schema: &'s Value, used: &mut Used<'s>) {
        match schema {
            Value::Array(kinds) => kinds.iter().for_each(|kind| self.use_of(kind, used)),
            Value::String(name) if name == "null" => used.nullable = true,
            Value::String(name) => match self.known(name, &used.space) {
                Some((whole, known)) => {
                    used.space = space_of(&whole).to_owned();
                    used.schemas.push(known);
                }
                None => used.schemas.push(schema),
            },
            // A type may stand alone in an object of its own: {"type": {"type": "record", …}}.
            _ => match schema.get("type") {
                Some(inner @ (Value::Object(_) | Value::Array(_))) => self.use_of(inner, used),
                Some(inner @ Value::String(name)) if !BUILT_IN.contains(&name.as_str()) => self.use_of(inner, used),
                _ => used.schemas.push(schema),
            },
        }
    }

    /// The type that a name means, relative to where it stands.
    fn known(&self, name: &str, space: &str) -> Option<(String, &'s Value)> {
        let relative = if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
        let found = |whole: String| self.named.get(&whole).map(|schema| (whole, *schema));
        if BUILT_IN.contains(&name) { None } else { found(relative).or_else(|| found(name.to_owned())) }
    }
}

impl<'s> Used<'s> {
    /// The record that it is, where its fields become columns.
    fn record(&self, drafting: &Drafting<'_>) -> Option<&'s Value> {
        let [only] = self.schemas.as_slice() else { return None };
        let has_fields = only.get("fields").and_then(Value::as_array).is_some_and(|fields| !fields.is_empty());
        let names_itself = whole_name(only, &self.space).is_some_and(|whole| drafting.within.contains(&whole));
        (is_record(only) && has_fields && !names_itself && drafting.within.len() < DEPTH_MAX).then_some(*only)
    }

    /// The logical type that has room for every value, with what a person should look at.
    fn logical(&self) -> (&'static str, &'static str) {
        let kinds: Vec<_> = self.schemas.iter().map(|schema| logical(schema)).collect();
        let are_all = |wanted: &[&str]| kinds.iter().all(|(kind, _)| wanted.contains(kind));
        match kinds.as_slice() {
            [] => ("string", "always null in the schema"),
            [only] => *only,
            [(first, _), ..] if are_all(&[*first]) => (*first, "several types in the schema"),
            _ if are_all(&["integer", "number"]) => ("number", "whole numbers too"),
            _ => ("string", "several types in the schema: text alone fits here"),
        }
    }
}

fn is_record(schema: &Value) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("record" | "error"))
}

/// The whole name of a type that has one.
fn whole_name(schema: &Value, space: &str) -> Option<String> {
    let name = schema.get("name").and_then(Value::as_str)?;
    let space = schema.get("namespace").and_then(Value::as_str).unwrap_or(space);
    Some(if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") })
}

fn space_of(whole: &str) -> &str {
    whole.rsplit_once('.').map_or("", |(space, _)| space)
}

/// What is remarked of a time without a zone.
const ZONELESS: &str = "a local time: a number in Avro's own form, written as yyyy-MM-ddTHH:mm:ss in JSON";

/// A logical type counts where it goes with its type, as the specification has it; elsewhere it says nothing.
fn logical(kind: &Value) -> (&'static str, &'static str) {
    let name = kind.as_str().or_else(|| kind.get("type").and_then(Value::as_str)).unwrap_or_default();
    let said = kind.get("logicalType").and_then(Value::as_str).unwrap_or_default();
    match (name, said) {
        ("int", "date") => ("date", "days since 1970 in Avro's own form, written as yyyy-MM-dd in JSON"),
        ("long", "timestamp-millis" | "timestamp-micros" | "timestamp-nanos") => {
            ("timestamp", "a number in Avro's own form, written as RFC 3339 in JSON")
        }
        ("long", "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos") => {
            ("timestamp", ZONELESS)
        }
        ("int", "time-millis") | ("long", "time-micros") => {
            ("time", "a number in Avro's own form, written as HH:mm:ss in JSON")
        }
        ("bytes" | "fixed", "decimal") => ("string", "a decimal: kept with all its digits"),
        ("string" | "fixed", "uuid") => ("string", ""),
        ("boolean", _) => ("boolean", ""),
        ("int" | "long", _) => ("integer", ""),
        ("float" | "double", _) => ("number", ""),
        ("enum", _) => ("string", "an enum: add `invalidValues` where other symbols must not come"),
        ("bytes" | "fixed", _) => ("string", "bytes: write how they are encoded"),
        ("array", _) => ("array", ""),
        ("map" | "record" | "error", _) => ("object", ""),
        ("string", _) => ("string", ""),
        _ => ("string", "its type is not in this schema: write it"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

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

    #[test]
    fn a_schema_that_multiplies_itself_ends() {
        let fields = |of: &str| (0..300).map(|n| json!({"name": format!("f{n}"), "type": of})).collect::<Vec<_>>();
        let mut kinds = vec![json!({"type": "record", "name": "R5", "fields": []})];
        for n in (0..5).rev() {
            kinds.push(json!({"type": "record", "name": format!("R{n}"), "fields": fields(&format!("R{}", n + 1))}));
        }
        let mut whole = json!({"type": "record", "name": "All", "fields": [{"name": "first", "type": kinds}]});
        whole["fields"].as_array_mut().unwrap().push(json!({"name": "then", "type": "R0"}));
        let mut drafting = Drafting { page: Page::new("all", Vec::new()), named: HashMap::new(), within: Vec::new() };
        drafting.learn(&whole, "");
        drafting.record(&whole, "", &mut Vec::new(), true);
        assert!(drafting.page.is_full() && drafting.page.text().contains("and what comes after it"));
    }
}
