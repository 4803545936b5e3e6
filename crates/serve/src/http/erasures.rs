//! `/api/v1/erase`: a person is erased, for roles that may operate.
//!
//! The id comes in the body alone, so that no address and no log has it. Invariant: the answer names nobody.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use vitalake_ops::erasures::EraseRequest;

use super::App;
use super::api::{answer, error_response};
use crate::identity::Identity;

/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The address of erasures.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/v1/erase", post(erase))
}

async fn erase(State(app): State<App>, Extension(identity): Extension<Identity>, body: Body) -> Response {
    let refused = |message: &str| error_response(StatusCode::BAD_REQUEST, "invalid", message).into_response();
    let Ok(bytes) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return refused("the request could not be read");
    };
    match serde_json::from_slice::<EraseRequest>(&bytes) {
        Ok(request) => {
            let by = identity.signs(request.by);
            answer(app.erasures.erase(EraseRequest { by, ..request }).await)
        }
        Err(_) => refused("a request is {\"subject\": …, \"dry_run\": …, \"by\": …}"),
    }
}
