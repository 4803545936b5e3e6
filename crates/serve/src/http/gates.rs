//! `/api/v1/gates`: what each gate says, and what a person decides for it.
//!
//! Invariant: a decision is answered when it is kept, and not before.

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use vitalake_ops::gates::GateDecision;

use super::App;
use super::api::{answer, error_response};
use crate::identity::Identity;

/// Bytes of a decision.
const DECISION_BYTES_MAX: usize = 64 << 10;

/// The addresses of gates.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/gates", get(all))
        .route("/api/v1/gates/{dataset}", get(one))
        .route("/api/v1/gates/{dataset}/hold", post(hold))
        .route("/api/v1/gates/{dataset}/release", post(release))
}

async fn all(State(app): State<App>) -> Response {
    answer(app.gates.gates(None).await)
}

async fn one(State(app): State<App>, Path(dataset): Path<String>) -> Response {
    answer(app.gates.gates(Some(&dataset)).await)
}

async fn hold(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    body: Body,
) -> Response {
    match decision(&identity, body).await {
        Ok(decision) => answer(app.gates.hold(&dataset, decision).await),
        Err(refused) => refused,
    }
}

async fn release(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    body: Body,
) -> Response {
    match decision(&identity, body).await {
        Ok(decision) => answer(app.gates.release(&dataset, decision).await),
        Err(refused) => refused,
    }
}

async fn decision(identity: &Identity, body: Body) -> Result<GateDecision, Response> {
    let refused = |message: &str| error_response(StatusCode::BAD_REQUEST, "invalid", message).into_response();
    let bytes = to_bytes(body, DECISION_BYTES_MAX).await.map_err(|_| refused("the decision could not be read"))?;
    let said: Result<GateDecision, _> = serde_json::from_slice(&bytes);
    let decision = said.map_err(|_| refused("a decision is {\"reason\": …, \"by\": …}"))?;
    Ok(GateDecision { by: identity.signs(decision.by), ..decision })
}
