//! `GET /api/v1/books`: what was offered to each dataset, and what became of it.

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::App;
use super::api::answer;

/// The addresses of books.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/v1/books", get(books))
}

/// What a request may add to the address.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// One dataset alone.
    dataset: Option<String>,
}

async fn books(State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    answer(app.status.books(asked.dataset.as_deref()).await)
}
