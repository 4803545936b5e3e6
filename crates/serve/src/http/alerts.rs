//! `/api/v1/alerts` and `/api/v1/silences`: what fires, and what people do about it.
//!
//! Invariant: a request that changes something is answered once that is in the lake.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use vitalake_ops::alerts::report::{AckRequest, SilenceRequest};

use super::App;
use super::api::answer;
use crate::identity::Identity;
use crate::platform::ApiError;

/// Bytes of a request.
const BODY_BYTES_MAX: usize = 16 << 10;

/// The addresses of alerts.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/alerts", get(list))
        .route("/api/v1/alerts/{name}/ack", post(acknowledge))
        .route("/api/v1/alerts/{name}/test", post(test))
        .route("/api/v1/silences", post(silence))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

fn body<T>(sent: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    sent.map(|Json(body)| body).map_err(|rejection| ApiError::Invalid(rejection.body_text()))
}

async fn list(State(app): State<App>) -> Response {
    answer(app.alerts.list().await)
}

async fn acknowledge(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(fingerprint): Path<String>,
    sent: Result<Json<AckRequest>, JsonRejection>,
) -> Response {
    match body(sent) {
        Ok(request) => {
            let request = AckRequest { by: identity.signs(request.by), ..request };
            answer(app.alerts.acknowledge(&fingerprint, request).await)
        }
        Err(error) => error.into_response(),
    }
}

async fn silence(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    sent: Result<Json<SilenceRequest>, JsonRejection>,
) -> Response {
    match body(sent) {
        Ok(request) => answer(app.alerts.silence(SilenceRequest { by: identity.signs(request.by), ..request }).await),
        Err(error) => error.into_response(),
    }
}

async fn test(State(app): State<App>, Path(alert): Path<String>) -> Response {
    answer(app.alerts.test(&alert).await)
}
