//! `/api/v1/deliveries`: the ledger, and what people decide about deliveries that are held.
//!
//! Beside `upload`, which takes the files. Invariant: nothing of a file leaves here but counts and words about it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use vitalake_ops::deliveries::{DeliveryDecision, LedgerQuery};

use super::App;
use super::api::answer;
use crate::identity::Identity;
use crate::platform::ApiError;

/// The addresses of the ledger and of decisions.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/deliveries", get(ledger))
        .route("/api/v1/deliveries/{dataset}/release", post(release))
        .route("/api/v1/deliveries/{dataset}/reject", post(reject))
}

async fn ledger(State(app): State<App>, Query(asked): Query<LedgerQuery>) -> Response {
    answer(app.deliveries.ledger(asked).await)
}

async fn release(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
    body: String,
) -> Response {
    match decision(&identity, &body) {
        Ok(decision) => answer(app.deliveries.release(&id, decision).await),
        Err(error) => error.into_response(),
    }
}

async fn reject(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
    body: String,
) -> Response {
    match decision(&identity, &body) {
        Ok(decision) => answer(app.deliveries.reject(&id, decision).await),
        Err(error) => error.into_response(),
    }
}

fn decision(identity: &Identity, body: &str) -> Result<DeliveryDecision, ApiError> {
    let decision: DeliveryDecision = serde_json::from_str(body).map_err(|_| {
        ApiError::Invalid("a decision is JSON with a reason: {\"reason\": \"…\", \"by\": \"…\"}".to_owned())
    })?;
    Ok(DeliveryDecision { by: identity.signs(decision.by), ..decision })
}
