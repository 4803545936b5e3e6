//! `/api/v1/quarantine`: what was rejected, how it comes back, how it is given up.
//!
//! Invariant: a record's bytes leave here only where the identity that asks may see records.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use vitalake_ops::quarantine::{DiscardRequest, ReplayRequest, Which};

use super::App;
use super::api::answer;
use crate::identity::Identity;
use crate::platform::ApiError;
use crate::quarantine::Shown;

/// How many rejects are shown where nobody says.
const ROWS_SHOWN: usize = 20;
/// How many are shown at most.
const ROWS_SHOWN_MAX: usize = 10_000;

/// The fields that say which rejects are meant.
const WHICH: [&str; 4] = ["rule", "since", "until", "delivery"];

/// The addresses of quarantine.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/quarantine", get(counts))
        .route("/api/v1/quarantine/{dataset}", get(rows))
        .route("/api/v1/quarantine/{dataset}/replay", post(replay).get(progress))
        .route("/api/v1/quarantine/{dataset}/discard", post(discard))
}

#[derive(Debug, Default, Deserialize)]
struct Counted {
    dataset: Option<String>,
    rule: Option<String>,
    since: Option<String>,
    until: Option<String>,
    delivery: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    rule: Option<String>,
    since: Option<String>,
    until: Option<String>,
    delivery: Option<i64>,
    limit: Option<usize>,
    #[serde(default)]
    raw: bool,
}

async fn counts(State(app): State<App>, Query(asked): Query<Counted>) -> Response {
    let Counted { dataset, rule, since, until, delivery } = asked;
    answer(app.quarantine.counts(dataset.as_deref(), &Which { rule, since, until, delivery }).await)
}

async fn rows(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    Query(asked): Query<Listed>,
) -> Response {
    let Listed { rule, since, until, delivery, limit, raw } = asked;
    let limit = limit.unwrap_or(ROWS_SHOWN);
    if limit > ROWS_SHOWN_MAX {
        let message = format!("at most {ROWS_SHOWN_MAX} rejects are shown at once; ask for fewer, or in SQL");
        return ApiError::Invalid(message).into_response();
    }
    if raw && !app.sessions.shows_records(&identity) {
        return ApiError::Forbidden("records as they came are for who may see everything".to_owned()).into_response();
    }
    answer(app.quarantine.rows(&dataset, &Which { rule, since, until, delivery }, Shown { limit, raw }).await)
}

async fn replay(State(app): State<App>, Path(dataset): Path<String>, body: String) -> Response {
    match read::<ReplayRequest>(&body, "dry_run") {
        Ok(request) => answer(app.quarantine.replay(&dataset, request).await),
        Err(error) => error.into_response(),
    }
}

async fn progress(State(app): State<App>, Path(dataset): Path<String>) -> Response {
    answer(app.quarantine.progress(&dataset).await)
}

async fn discard(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    body: String,
) -> Response {
    match read::<DiscardRequest>(&body, "reason, by") {
        Ok(request) => {
            let request = DiscardRequest { by: identity.signs(request.by), ..request };
            answer(app.quarantine.discard(&dataset, request).await)
        }
        Err(error) => error.into_response(),
    }
}

/// A body in JSON; an empty one says nothing. A field that nobody knows is refused: who misspells `dry_run` means it.
fn read<T: DeserializeOwned + Default>(body: &str, fields: &str) -> Result<T, ApiError> {
    if body.trim().is_empty() {
        return Ok(T::default());
    }
    let known = || WHICH.into_iter().chain(fields.split(", "));
    let refused = |what: &str| {
        let known = known().collect::<Vec<_>>().join(", ");
        ApiError::Invalid(format!("the body {what}: send one JSON object with some of {known}"))
    };
    let said: Map<String, Value> = serde_json::from_str(body).map_err(|_| refused("is no JSON object"))?;
    if said.keys().any(|field| !known().any(|known| known == field)) {
        return Err(refused("has a field that is not known"));
    }
    serde_json::from_value(Value::Object(said)).map_err(|_| refused("has a field of another type"))
}
