//! The supervisor that streams a topic into Druid, made of a raw dataset's contract: pure.
//!
//! Its rows are the topic's records as they come: no rule judges them, no model works on them, and none is left out that came
//! twice. So it goes into a datasource of its own. Invariant: a specification carries what it was made of, so that it is known
//! again, and whether the contract has changed since.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vitalake_contract::contract::{Column, ColumnType};
use vitalake_contract::time_format::TimeFormat;
use vitalake_contract::{Contract, Source};
use vitalake_runtime::hex;

use super::spec::{PublishedColumn, columns, dimension, iso_of};

/// The column of a record's own time, where the contract has none.
const RECORD_TIME: &str = "_timestamp";
/// What zones without an offset are called.
const UTC_NAMES: [&str; 5] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu"];
/// Letters of a time's pattern that Druid reads as we do.
const SAME_LETTERS: &str = "yMdHmsS";

/// A topic that is streamed in.
#[derive(Clone, Debug)]
pub struct Streamed<'a> {
    /// The raw dataset's contract.
    pub contract: &'a Contract,
    /// The id of its table, which tells whose supervisor it is.
    pub table: &'a str,
    /// Where it goes.
    pub datasource: &'a str,
    /// How Druid reaches the brokers.
    pub bootstrap: &'a str,
    /// Further properties of its consumer.
    pub properties: &'a BTreeMap<String, Value>,
    /// How many days of it Druid keeps, which is told to it beside the specification.
    pub days: u64,
}

impl Streamed<'_> {
    /// The specification.
    ///
    /// # Errors
    /// When Druid cannot read such records as the contract says, in words.
    pub fn specification(&self) -> Result<Value, String> {
        let Some(Source::Stream { topic, .. }) = &self.contract.source else {
            return Err("it has no topic: files alone come into it".to_owned());
        };
        if self.contract.view.is_some() {
            return Err("its rows are made of resources by a view, which Druid does not do".to_owned());
        }
        let consumer: BTreeMap<&str, Value> = [("bootstrap.servers", self.bootstrap.into())]
            .into_iter()
            .chain(self.properties.iter().map(|(name, value)| (name.as_str(), value.clone())))
            .collect();
        let spec = json!({
            "dataSchema": self.data_schema()?,
            "ioConfig": {
                "topic": topic,
                "inputFormat": self.input_format(),
                "consumerProperties": consumer,
                "useEarliestOffset": true,
                "taskCount": 1,
                "replicas": 1,
                "taskDuration": "PT1H",
            },
            "tuningConfig": {"type": "kafka", "logParseExceptions": false, "maxSavedParseExceptions": 0},
        });
        let made_of = json!({
            "dataset": self.contract.dataset.as_str(),
            "table": self.table,
            "specification": fingerprint(&json!([spec, self.days])),
        });
        Ok(json!({"type": "kafka", "spec": spec, "context": {"vitalake": made_of}}))
    }

    fn data_schema(&self) -> Result<Value, String> {
        let published = columns(self.contract);
        let mut transforms = Vec::new();
        for (column, published) in self.contract.columns.iter().zip(&published) {
            transforms.extend(transform(column, published)?);
        }
        Ok(json!({
            "dataSource": self.datasource,
            "timestampSpec": self.timestamp()?,
            "dimensionsSpec": {"dimensions": published.iter().map(dimension).collect::<Vec<_>>()},
            "transformSpec": {"transforms": transforms},
            "metricsSpec": [],
            "granularitySpec": {
                "type": "uniform",
                "segmentGranularity": "DAY",
                "queryGranularity": "NONE",
                "rollup": false,
            },
        }))
    }

    fn time(&self) -> Option<&Column> {
        self.contract.time_column.and_then(|index| self.contract.columns.get(index))
    }

    fn timestamp(&self) -> Result<Value, String> {
        let Some(column) = self.time() else { return Ok(json!({"column": RECORD_TIME, "format": "millis"})) };
        let pattern = match &column.kind {
            ColumnType::Timestamp(format) | ColumnType::Date(format) => pattern(column, format.as_ref())?,
            _ => None,
        };
        Ok(json!({"column": column.name.as_ref(), "format": pattern.unwrap_or("iso")}))
    }

    /// JSON, of which the contract says where each value stands. The record's own time is asked for where it is needed.
    fn input_format(&self) -> Value {
        let field =
            |column: &Column| json!({"type": "path", "name": column.name.as_ref(), "expr": json_path(&column.path)});
        let fields: Vec<Value> = self.contract.columns.iter().map(field).collect();
        let json = json!({"type": "json", "flattenSpec": {"useFieldDiscovery": false, "fields": fields}});
        match self.time() {
            Some(_) => json,
            None => json!({"type": "kafka", "timestampColumnName": RECORD_TIME, "valueFormat": json}),
        }
    }
}

/// Whether a specification that is there is of this table, and if so, whether it is this very one. `made_of` is what it
/// carries.
#[must_use]
pub fn is_of(made_of: &Value, table: &str) -> bool {
    made_of.get("table").and_then(Value::as_str) == Some(table)
}

/// Whether what is there was made from what a specification is made from.
#[must_use]
pub fn is_same(made_of: &Value, specification: &Value) -> bool {
    let wanted = specification.pointer("/context/vitalake/specification");
    wanted.is_some() && made_of.get("specification") == wanted
}

fn fingerprint(spec: &Value) -> String {
    hex::encode(&Sha256::digest(spec.to_string())[..16])
}

/// Where a value stands, as Druid writes it: `$['vitals']['hr']`.
fn json_path(path: &[String]) -> String {
    let step = |name: &String| format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"));
    std::iter::once("$".to_owned()).chain(path.iter().map(step)).collect()
}

/// A pattern that Druid reads as we do; `None` where the contract has none, which is ISO 8601.
fn pattern<'a>(column: &Column, format: Option<&'a TimeFormat>) -> Result<Option<&'a str>, String> {
    let Some(format) = format else { return Ok(None) };
    let mut quoted = false;
    let mut is_same = true;
    for letter in format.pattern.chars() {
        quoted ^= letter == '\'';
        is_same &= quoted || !letter.is_ascii_alphabetic() || SAME_LETTERS.contains(letter);
    }
    let is_utc = format.default_zone.is_none_or(|zone| UTC_NAMES.contains(&zone.name()));
    if is_same && is_utc && !format.pattern.contains(['[', ']']) {
        return Ok(Some(&format.pattern));
    }
    Err(format!("Druid does not read times such as those of its column {}: its format or its zone", column.name))
}

/// Times and days as the published datasource has them, and objects as their JSON.
fn transform(column: &Column, published: &PublishedColumn) -> Result<Option<Value>, String> {
    let expression = |said: String| Some(json!({"type": "expression", "name": published.name, "expression": said}));
    let name = published.quoted();
    Ok(match &column.kind {
        ColumnType::Timestamp(format) => {
            let read = match pattern(column, format.as_ref())? {
                Some(pattern) => format!("timestamp_parse({name}, '{}', 'UTC')", pattern.replace('\'', "\\'")),
                None => format!("timestamp_parse({name})"),
            };
            expression(iso_of(published, &read))
        }
        ColumnType::Date(Some(format)) => {
            let pattern = pattern(column, Some(format))?.unwrap_or_default().replace('\'', "\\'");
            expression(iso_of(published, &format!("timestamp_parse({name}, '{pattern}', 'UTC')")))
        }
        ColumnType::Json => expression(format!("to_json_string({name})")),
        ColumnType::Boolean => expression(format!("case_searched({name} == 'true', 1, {name} == 'false', 0, null)")),
        _ => None,
    })
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
