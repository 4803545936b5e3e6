//! The host's calls and what they are answered, as its protocol for custom handlers has them.
//!
//! Invariant: a request's parts are taken as they came; which of them the platform knows, the platform says.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vitalake_ops::status::ErrorBody;

/// A call of the host.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(rename = "Data")]
    data: Map<String, Value>,
}

/// A request that came to the delivery function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// The dataset that it names.
    pub(super) dataset: String,
    /// What its address says besides.
    pub(super) query: BTreeMap<String, String>,
    /// The form of its body, as its header has it.
    pub(super) content_type: Option<String>,
    /// Its body.
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    query: Value,
    headers: BTreeMap<String, Value>,
    params: Value,
    body: Value,
}

impl Call {
    /// The request in it; none in a timer's call.
    pub(super) fn into_request(mut self) -> Option<Request> {
        let said: Said = serde_json::from_value(self.data.remove("req")?).ok()?;
        let content_type = said.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let mut query = texts(&said.query);
        // The key that lets a caller in at the host is the host's.
        query.remove("code");
        Some(Request {
            dataset: texts(&said.params).remove("dataset").unwrap_or_default(),
            query,
            content_type: content_type.and_then(|(_, values)| first(values)),
            body: match said.body {
                Value::Null => Vec::new(),
                Value::String(text) => text.into_bytes(),
                // The host has read a body of JSON already.
                read => serde_json::to_vec(&read).ok()?,
            },
        })
    }
}

/// A map of texts; the host writes some as JSON within a text.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let map = read.as_ref().unwrap_or(value).as_object().cloned().unwrap_or_default();
    map.into_iter().filter_map(|(name, value)| Some((name, first(&value)?))).collect()
}

fn first(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => values.first().and_then(first),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Object(_) => None,
    }
}

/// What a delivery's sender is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) status: u16,
    /// JSON.
    pub(super) body: String,
    /// Seconds after which it may be sent again.
    pub(super) retry_after: Option<String>,
    /// What the host's log is told.
    pub(super) log: String,
}

impl Delivered {
    /// What was not passed on, in the form of the platform's own errors.
    pub(super) fn refused(status: u16, words: &str) -> Self {
        let error = match status {
            413 => "too_large",
            504 => "timed_out",
            _ => "unavailable",
        };
        let body = ErrorBody { error: error.to_owned(), message: words.to_owned() };
        let body = serde_json::to_string(&body).unwrap_or_default();
        Self { status, body, retry_after: None, log: words.to_owned() }
    }
}

/// The answer to a delivery's call.
pub(super) fn delivered(answer: &Delivered) -> Value {
    let mut headers = json!({"content-type": "application/json"});
    if let (Some(seconds), Some(headers)) = (&answer.retry_after, headers.as_object_mut()) {
        headers.insert("retry-after".to_owned(), json!(seconds));
    }
    json!({
        "Outputs": {"res": {"statusCode": answer.status, "body": answer.body, "headers": headers}},
        "Logs": [answer.log],
        "ReturnValue": null
    })
}

/// The answer to a timer's call.
pub(super) fn run_done(words: &str) -> Value {
    json!({"Outputs": {}, "Logs": [words], "ReturnValue": null})
}
