//! Errors of `/ingest` and of queries under `/api/v1` as documents of RFC 9457.
//!
//! They say the same in the words of all other errors of `/api/v1` too (`error`, `message`). Invariant: what is wrong is
//! one of a fixed list of words; the sentence beside it holds no record's value.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error as it is sent.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    error: &'static str,
    message: String,
    retry_after_seconds: Option<u32>,
    more: Map<String, Value>,
}

impl Problem {
    /// An error by its word.
    pub fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), retry_after_seconds: None, more: Map::new() }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The same, that may go away by itself.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// The same with something more.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut document = json!({
            "type": format!("urn:vitalake:error:{}", self.error),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.message,
            "error": self.error,
            "message": self.message,
        });
        if let Value::Object(members) = &mut document {
            members.extend(self.more);
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, document.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
