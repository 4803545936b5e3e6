//! What a client sends to `/api/v1/query`, read without trusting any of it.
//!
//! Unknown keys are refused: who misspells a limit must not get all. Invariant: the form of the answer is one that the
//! client takes.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use datafusion::sql::sqlparser::ast::Expr;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::druid::request::parameters;

/// In which form rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array of objects.
    Json,
    /// A JSON object a line.
    Lines,
    /// Comma-separated values with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Form {
    /// Word, media type and form, the one first that is sent where a client does not care.
    pub(super) const ALL: [(&'static str, &'static str, Self); 5] = [
        ("json", "application/json", Self::Json),
        ("ndjson", "application/x-ndjson", Self::Lines),
        ("csv", "text/csv", Self::Csv),
        ("arrow", "application/vnd.apache.arrow.stream", Self::Arrow),
        ("parquet", "application/vnd.apache.parquet", Self::Parquet),
    ];

    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        Self::ALL.iter().find(|(.., form)| *form == self).map_or("application/json", |(_, kind, _)| kind)
    }

    /// The form that a client's `Accept` likes best; none where it takes none of them.
    fn accepted(accept: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            let takes = |(_, media, _): &&(&str, &str, Self)| {
                kind.is_empty() || kind == *media || kind == "*/*" || {
                    let group = media.split('/').next().unwrap_or_default();
                    kind.strip_suffix("/*") == Some(group)
                }
            };
            let Some((.., form)) = Self::ALL.iter().find(takes) else { continue };
            if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, *form));
            }
        }
        best.map(|(_, form)| form)
    }
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
    format: Option<String>,
    limit: Option<u64>,
    timeout_ms: Option<u64>,
    query_id: Option<String>,
    purpose: Option<String>,
}

/// A request, checked.
#[derive(Debug)]
pub(super) struct QueryRequest {
    pub(super) sql: String,
    pub(super) parameters: Vec<Expr>,
    pub(super) form: Form,
    pub(super) limit: Option<u64>,
    pub(super) timeout: Option<Duration>,
    pub(super) query_id: Option<String>,
    pub(super) purpose: Option<String>,
}

/// Longest id of a query, and longest word for a purpose.
const WORD_BYTES_MAX: usize = 128;
/// Headers that say what for.
const PURPOSE: [&str; 2] = ["x-purpose", "x-vitalake-purpose"];

/// What a request's headers say that it is for; one that cannot be read is nobody's purpose.
pub(super) fn stated(headers: &HeaderMap) -> Option<String> {
    let said = PURPOSE.iter().find_map(|name| headers.get(*name))?;
    Some(said.to_str().unwrap_or("\u{0}").trim().to_owned())
}

impl QueryRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(body: &[u8], headers: &HeaderMap) -> Result<Self, Problem> {
        let sent: Sent = serde_json::from_slice(body).map_err(|error| unread(&error))?;
        let typed: Vec<Value> = sent.parameters.into_iter().map(typed).collect();
        let typed = (!typed.is_empty()).then_some(Value::Array(typed));
        let parameters = parameters(typed.as_ref()).map_err(|error| invalid(error.to_string()))?;
        let form = form(sent.format.as_deref(), headers)?;
        let said = stated(headers);
        if said.is_some() && sent.purpose.is_some() && said != sent.purpose {
            return Err(invalid("the purpose in the body and that of the header X-Purpose differ; state one"));
        }
        Ok(Self {
            sql: sent.sql,
            parameters,
            form,
            limit: sent.limit,
            timeout: sent.timeout_ms.map(|ms| Duration::from_millis(ms.max(1))),
            query_id: word("query_id", sent.query_id)?,
            purpose: word("purpose", said.or(sent.purpose))?,
        })
    }
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid", message)
}

/// Why a body is not a request. What serde says may quote the body, which may hold values.
fn unread(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let message = if error.is_data() {
        format!(
            "the body is not a request, at line {line}, column {column}: it is one JSON object with sql, and maybe parameters, format, limit, timeout_ms, query_id, purpose"
        )
    } else {
        format!("the body is not JSON: it cannot be read at line {line}, column {column}")
    };
    invalid(message).with("line", line).with("column", column)
}

/// A parameter that has no type gets that of its value.
fn typed(value: Value) -> Value {
    let name = match &value {
        Value::Object(_) => return value,
        Value::Bool(_) => "BOOLEAN",
        Value::Number(number) if number.is_i64() => "BIGINT",
        Value::Number(_) => "DOUBLE",
        Value::Array(_) => "ARRAY",
        Value::String(_) | Value::Null => "VARCHAR",
    };
    json!({"type": name, "value": value})
}

fn word(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    let fits = |text: &String| {
        !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    match value {
        Some(text) if !fits(&text) => {
            Err(invalid(format!("{name} is not a text of 1 to {WORD_BYTES_MAX} printable ASCII characters")))
        }
        value => Ok(value),
    }
}

/// What `format` says; else what `Accept` likes best.
fn form(format: Option<&str>, headers: &HeaderMap) -> Result<Form, Problem> {
    if let Some(word) = format {
        let known = Form::ALL.iter().find(|(known, ..)| *known == word);
        return known
            .map(|(.., form)| *form)
            .ok_or_else(|| invalid("format is not one of json, ndjson, csv, arrow, parquet"));
    }
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if accept.is_empty() {
        return Ok(Form::Json);
    }
    let kinds: Vec<&str> = Form::ALL.iter().map(|(_, kind, _)| *kind).collect();
    Form::accepted(&accept.join(",")).ok_or_else(|| {
        let message = format!("none of the forms in Accept is sent here; accept one of {}", kinds.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("*/*", Some(Form::Json))]
    #[case("text/csv", Some(Form::Csv))]
    #[case("text/*;q=0.5, application/vnd.apache.parquet;q=0.4", Some(Form::Csv))]
    #[case("text/html, application/xhtml+xml;q=0.9, */*;q=0.8", Some(Form::Json))]
    #[case("application/vnd.apache.arrow.stream;q=0.2, application/json;q=0.1", Some(Form::Arrow))]
    #[case("text/html", None)]
    #[case("application/json;q=0", None)]
    fn the_form_is_the_one_that_accept_likes_best(#[case] accept: &str, #[case] form: Option<Form>) {
        assert_eq!(Form::accepted(accept), form);
    }
}
