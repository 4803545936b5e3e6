//! Health, metrics, and `/api/v1`: what the command line and operators ask for.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use vitalake_ops::status::{DeliveryReport, ErrorBody, Readiness};
use vitalake_runtime::telemetry::metric;

use super::App;
use crate::platform::{ApiError, DeliveryFormat};

/// How long the rest of a refused file is read, so that its sender gets to the answer.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// An error of `/api/v1`.
pub fn error_response(status: StatusCode, error: &str, message: impl Into<String>) -> (StatusCode, Json<ErrorBody>) {
    (status, Json(ErrorBody { error: error.to_owned(), message: message.into() }))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = match &self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        error_response(status, error, self.to_string()).into_response()
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

/// 200 when queries are answered, else 503 with what is still to do.
pub async fn ready(State(app): State<App>) -> Response {
    let readiness = Readiness { troubles: app.status.troubles(), ..app.status.readiness() };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Prometheus text.
pub async fn metrics(State(app): State<App>) -> Response {
    let ready = if app.status.readiness().ready { 1.0 } else { 0.0 };
    app.metrics.value(metric::READY, &vec![]).set(ready);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
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
    match app.flush.flush().await {
        Ok(report) => Json(report).into_response(),
        Err(error) => error.into_response(),
    }
}

/// What a delivery's address says of it.
#[derive(Debug, Deserialize)]
pub struct DeliveryQuery {
    /// The file's name; a name that ends in `.csv` or `.ndjson` says the format.
    #[serde(default)]
    name: String,
    /// `csv` or `ndjson`.
    format: Option<String>,
}

/// Takes a delivered file.
pub async fn deliver(
    State(app): State<App>,
    Path(dataset): Path<String>,
    Query(query): Query<DeliveryQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = Incoming(Arc::new(Mutex::new((body.into_data_stream(), false))));
    match take(&app, &dataset, query, body.clone()).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => {
            // A client that still sends does not read: it would see a broken connection in place of the reason. One that
            // asked first whether to send has not begun.
            if body.is_begun() || !headers.contains_key(header::EXPECT) {
                let rest = async { while poll_fn(|context| body.poll(context)).await.is_some() {} };
                let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
            }
            error.into_response()
        }
    }
}

/// A body that is still there when its reader has given up, and whether it was asked for.
#[derive(Clone)]
struct Incoming(Arc<Mutex<(BodyDataStream, bool)>>);

impl Incoming {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, begun) = &mut *guard;
        *begun = true;
        stream.poll_next_unpin(context)
    }

    fn is_begun(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

async fn take(app: &App, dataset: &str, query: DeliveryQuery, body: Incoming) -> Result<DeliveryReport, ApiError> {
    let ending = query.name.rsplit_once('.').map(|(_, ending)| ending.to_owned());
    let format = match query.format.or(ending).unwrap_or_default().to_ascii_lowercase().as_str() {
        "csv" => DeliveryFormat::Csv,
        "ndjson" | "jsonl" => DeliveryFormat::Ndjson,
        _ => {
            return Err(ApiError::Invalid("the format is not known; add ?format=csv or ?format=ndjson".to_owned()));
        }
    };
    let mut left = app.limits.delivery_bytes_max;
    let chunks = futures::stream::poll_fn(move |context| body.poll(context));
    let bytes = chunks.map(move |chunk| {
        let chunk = chunk.map_err(|_| std::io::Error::other("the connection broke before the file was complete"))?;
        left =
            left.checked_sub(chunk.len()).ok_or_else(|| std::io::Error::other("the file is larger than the limit"))?;
        Ok(chunk)
    });
    app.deliveries.deliver(dataset, &query.name, format, bytes.boxed()).await
}
