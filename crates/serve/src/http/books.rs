//! `GET /api/v1/books`: what was offered to each dataset, and what became of it.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::App;

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
    match app.status.books(asked.dataset.as_deref()).await {
        Ok(books) => Json(books).into_response(),
        Err(error) => error.into_response(),
    }
}
