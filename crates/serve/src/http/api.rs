//! Health, metrics, and `/api/v1`: what the command line and operators ask for.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use vitalake_ops::status::{ErrorBody, Readiness};
use vitalake_runtime::telemetry::metric;

use super::App;
use crate::platform::ApiError;

/// An error of `/api/v1`.
pub fn error_response(status: StatusCode, error: &str, message: impl Into<String>) -> (StatusCode, Json<ErrorBody>) {
    (status, Json(ErrorBody { error: error.to_owned(), message: message.into() }))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = match &self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TimedOut(_) => (StatusCode::REQUEST_TIMEOUT, "timed_out"),
            Self::NoLength(_) => (StatusCode::LENGTH_REQUIRED, "length_required"),
            Self::Unsupported(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        error_response(status, error, self.to_string()).into_response()
    }
}

/// What was asked for as JSON, or why it is refused.
pub(super) fn answer<T: Serialize>(outcome: Result<T, ApiError>) -> Response {
    match outcome {
        Ok(report) => Json(report).into_response(),
        Err(error) => error.into_response(),
    }
}

/// As Druid's: `true` while the process lives.
pub async fn druid_health() -> Json<bool> {
    Json(true)
}

/// The process lives.
pub async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({"live": true}))
}

/// 200 when queries are answered, else 503 with what is still to do. It is asked without a name: where names are asked
/// for, it says no more than that, and the rest is in the status.
pub async fn ready(State(app): State<App>) -> Response {
    let Readiness { ready, .. } = app.status.readiness();
    let readiness = match app.names.is_locked() {
        true => Readiness { ready, ..Readiness::default() },
        false => Readiness { troubles: app.status.troubles(), ..app.status.readiness() },
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Numbers for Prometheus, in the form that is asked for.
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let ready = if app.status.readiness().ready { 1.0 } else { 0.0 };
    app.metrics.value(metric::READY, &vec![]).set(ready);
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let (kind, text) = match accepted.is_some_and(|accepted| accepted.contains("application/openmetrics-text")) {
        true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", app.metrics.text()),
        false => ("text/plain; version=0.0.4; charset=utf-8", app.metrics.plain_text()),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// All datasets and partitions.
pub async fn status(State(app): State<App>) -> Response {
    Json(app.status.status().await).into_response()
}

/// The datasets alone.
pub async fn datasets(State(app): State<App>) -> Response {
    Json(app.status.status().await.datasets).into_response()
}

/// Commits what waits in memory.
pub async fn flush(State(app): State<App>) -> Response {
    answer(app.flush.flush().await)
}
