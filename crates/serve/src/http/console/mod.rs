//! What the console asks: who one is, how everything is now, what there is; and its pages.
//!
//! Answers come from `crate::console`, cut to what the session may see and kept for all who see the same. Invariant: an
//! answer is asked for again by its tag, and is in no cache but the browser's own.

mod events;
pub(super) mod files;
mod login;
mod session;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use chrono::{DateTime, Utc};

use super::App;
use crate::console::{Chosen, Told};
use crate::identity::Identity;
use crate::platform::ApiError;
pub(super) use events::Stopping;
pub(super) use session::{Encrypted, is_script, log_in, no_script, visit_of};

/// What a reader of a dashboard may choose at once.
const CHOICES_MAX: usize = 200;

/// The addresses that the console asks.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/session", get(session::show).post(session::begin).delete(session::end))
        .route("/api/v1/login", get(login::begin))
        .route("/api/v1/login/callback", get(login::end))
        .route("/api/v1/today", get(today))
        .route("/api/v1/catalogue", get(catalogue))
        .route("/api/v1/catalogue/{dataset}", get(dataset))
        .route("/api/v1/lineage", get(lineage))
        .route("/api/v1/lineage/{dataset}", get(origins))
        .route("/api/v1/dashboards", get(dashboards))
        .route("/api/v1/dashboards/{name}", get(dashboard))
        .route("/api/v1/events", get(events::listen))
}

async fn today(State(app): State<App>, Extension(identity): Extension<Identity>, headers: HeaderMap) -> Response {
    give(&headers, app.console.today(&app.sessions.seen(&identity)).await)
}

async fn catalogue(State(app): State<App>, Extension(identity): Extension<Identity>, headers: HeaderMap) -> Response {
    give(&headers, app.console.catalogue(&app.sessions.seen(&identity)))
}

async fn dataset(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    headers: HeaderMap,
) -> Response {
    given(&headers, app.console.dataset(&dataset, &app.sessions.seen(&identity)).await)
}

async fn lineage(State(app): State<App>, Extension(identity): Extension<Identity>, headers: HeaderMap) -> Response {
    give(&headers, app.console.lineage(&app.sessions.seen(&identity)).await)
}

async fn origins(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(dataset): Path<String>,
    headers: HeaderMap,
) -> Response {
    given(&headers, app.console.origins(&dataset, &app.sessions.seen(&identity)))
}

async fn dashboards(State(app): State<App>, Extension(identity): Extension<Identity>, headers: HeaderMap) -> Response {
    give(&headers, app.console.dashboards(&app.sessions.seen(&identity)))
}

async fn dashboard(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    Query(asked): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    match chosen(asked) {
        Ok(chosen) => given(&headers, app.console.dashboard(&name, &chosen, &app.sessions.seen(&identity))),
        Err(error) => error.into_response(),
    }
}

/// What a reader of a dashboard has chosen: `from`, `to`, and values of dimensions as `where.NAME`.
fn chosen(asked: Vec<(String, String)>) -> Result<Chosen, ApiError> {
    if asked.len() > CHOICES_MAX {
        return Err(ApiError::Invalid(format!("at most {CHOICES_MAX} values are chosen at once")));
    }
    let mut chosen = Chosen::default();
    for (key, value) in asked {
        let moment = |value: &str| DateTime::parse_from_rfc3339(value).ok().map(|at| at.with_timezone(&Utc));
        let wrong = || ApiError::Invalid(format!("`{key}` is no moment: write 2026-11-28T22:00:00Z"));
        match key.as_str() {
            "from" => chosen.from = Some(moment(&value).ok_or_else(wrong)?),
            "to" => chosen.to = Some(moment(&value).ok_or_else(wrong)?),
            key => chosen.values.extend(key.strip_prefix("where.").map(|name| (name.to_owned(), value))),
        }
    }
    Ok(chosen)
}

fn given(headers: &HeaderMap, told: Result<Told, ApiError>) -> Response {
    match told {
        Ok(told) => give(headers, told),
        Err(error) => error.into_response(),
    }
}

/// An answer, unless the browser has it.
fn give(headers: &HeaderMap, told: Told) -> Response {
    let tag = HeaderValue::from_str(&told.tag).unwrap_or(HeaderValue::from_static("\"\""));
    let mut response = match files::is_known(headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], told.body).into_response(),
    };
    let head = response.headers_mut();
    head.insert(header::ETAG, tag);
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    head.insert(header::VARY, HeaderValue::from_static("authorization, cookie"));
    response
}
