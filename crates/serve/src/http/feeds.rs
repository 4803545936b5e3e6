//! `/api/v1/feeds` and `/feeds/{name}/run`: where each feed stands, and a run now.
//!
//! Invariant: a run is answered when what came has been delivered or refused.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};

use super::App;
use super::api::answer;

/// The addresses of feeds.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/feeds", get(list))
        .route("/api/v1/feeds/{name}/run", post(run))
        .route("/feeds/{name}/run", post(run))
}

async fn list(State(app): State<App>) -> Response {
    answer(app.feeds.feeds().await)
}

async fn run(State(app): State<App>, Path(name): Path<String>) -> Response {
    answer(app.feeds.run(&name).await)
}
