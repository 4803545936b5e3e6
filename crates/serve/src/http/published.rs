//! `/api/v1/published`: files of published versions for an engine that fetches them; `/api/v1/druid`: where that stands.
//!
//! A file is given for a signed address alone, whole or in part. Invariant: a part is said to be one, with what it is of, and
//! a file that is not of the version that its address names is not there.

use std::ops::Range;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use datafusion::object_store::{self, GetOptions, GetRange, ObjectStore as _};
use futures::TryStreamExt as _;
use serde::Deserialize;
use vitalake_ops::audit::{Surface, Who};

use super::App;
use super::api::answer;
use super::told::{end, told};
use crate::platform::{ApiError, PublishedFile};

/// The addresses of what is published.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/published/{dataset}/{version}/{file}", get(file))
        .route("/api/v1/druid", get(all))
        .route("/api/v1/druid/{dataset}/plan", get(plan))
        .route("/api/v1/druid/{dataset}/adopt", post(adopt))
        .route("/api/v1/druid/{dataset}/kill", post(kill))
}

async fn all(State(app): State<App>) -> Response {
    answer(app.publishing.druid().await)
}

async fn plan(State(app): State<App>, Path(dataset): Path<String>) -> Response {
    answer(app.publishing.druid_plan(&dataset).await)
}

async fn adopt(State(app): State<App>, Path(dataset): Path<String>) -> Response {
    answer(app.publishing.druid_adopt(&dataset).await)
}

async fn kill(State(app): State<App>, Path(dataset): Path<String>) -> Response {
    answer(app.publishing.druid_kill(&dataset).await)
}

#[derive(Debug, Default, Deserialize)]
struct Signed {
    sig: Option<String>,
}

async fn file(
    State(app): State<App>,
    Path((dataset, version, file)): Path<(String, String, String)>,
    Query(signed): Query<Signed>,
    address: Uri,
    headers: HeaderMap,
) -> Response {
    let no_version = || ApiError::NotFound(format!("{version} is no version of a dataset"));
    let found = match version.parse::<u64>().map_err(|_| no_version()) {
        Ok(version) => app.publishing.file(&dataset, version, &file, signed.sig.as_deref().unwrap_or("")).await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            // Whose signature is none is nobody known.
            if !matches!(error, ApiError::Unavailable(_)) {
                app.sessions.audit().note_stranger(Surface::Http);
            }
            return error.into_response();
        }
    };
    // A signed address has no other name.
    let Some(told) = told(&Method::GET, address.path()) else { return give(&found, headers.get(header::RANGE)).await };
    let begun = match app.begin(told, Who::named("signature", "signature", [])).await {
        Ok(begun) => begun,
        Err(refused) => return refused,
    };
    let response = give(&found, headers.get(header::RANGE)).await;
    end(begun, response.status());
    response
}

async fn give(file: &PublishedFile, range: Option<&HeaderValue>) -> Response {
    let part = match range.and_then(|range| range.to_str().ok()).map(|range| part(range, file.bytes)) {
        None | Some(Asked::All) => None,
        Some(Asked::Part(part)) => Some(part),
        Some(Asked::Nothing) => {
            let whole = format!("bytes */{}", file.bytes);
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, whole)]).into_response();
        }
    };
    let range = part.clone().map(GetRange::Bounded);
    let read = file.store.get_opts(&file.location, GetOptions { range, ..GetOptions::default() }).await;
    let body = match read {
        Ok(read) => Body::from_stream(read.into_stream().map_err(std::io::Error::other)),
        Err(object_store::Error::NotFound { .. }) => {
            return ApiError::NotFound("that file of the version is not there any longer".to_owned()).into_response();
        }
        Err(error) => {
            tracing::warn!(error = %error, "a file that was asked for could not be read");
            return ApiError::Unavailable("the store does not give that file now; try again".to_owned())
                .into_response();
        }
    };
    let bytes = part.as_ref().map_or(file.bytes, |part| part.end - part.start);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apache.parquet"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Some(part) = part {
        let said = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), file.bytes);
        if let Ok(said) = HeaderValue::from_str(&said) {
            headers.insert(header::CONTENT_RANGE, said);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// All of it: no range, or one of a form that is not known here.
    All,
    Part(Range<u64>),
    /// What lies behind its end.
    Nothing,
}

fn part(range: &str, bytes: u64) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let part = match (first.trim(), last.trim()) {
        ("", last) => number(last).map(|count| bytes.saturating_sub(count)..bytes),
        (first, "") => number(first).map(|first| first..bytes),
        (first, last) => number(first).zip(number(last)).map(|(first, last)| first..last.saturating_add(1).min(bytes)),
    };
    match part {
        None => Asked::All,
        Some(part) if part.start >= part.end => Asked::Nothing,
        Some(part) => Asked::Part(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_file_or_said_to_be_none() {
        for (range, asked) in [
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=3-", Asked::Part(3..10)),
            ("bytes=0-3", Asked::Part(0..4)),
            ("bytes=8-100", Asked::Part(8..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=-40", Asked::Part(0..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=5-4", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("rows=0-3", Asked::All),
            ("bytes=0-1,4-5", Asked::All),
            ("bytes=", Asked::All),
        ] {
            assert_eq!(part(range, 10), asked, "{range}");
        }
    }
}
