//! Refusals that come without a body (no such address, another method, another media type) say what to do.
//!
//! The last layer before the client. What has a body already passes unchanged.

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::api::error_response;
use crate::druid::error::render;
use crate::error::QueryError;

/// Gives an empty refusal a body: in Druid's form under `/druid/`, in that of `/api/v1` elsewhere.
pub async fn explain_refusals(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let druid = request.uri().path().starts_with("/druid/");
    let mut response = next.run(request).await;
    if !response.status().is_client_error() || response.body().size_hint().exact() != Some(0) {
        return response;
    }
    let status = response.status();
    let Some((word, message)) = explanation(status, &method, druid, response.headers().get(header::ALLOW)) else {
        return response;
    };
    let body = if druid {
        (status, Json(render(&QueryError::invalid(message)).1)).into_response()
    } else {
        error_response(status, word, message).into_response()
    };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = body.into_body();
    response
}

fn explanation(
    status: StatusCode,
    method: &Method,
    druid: bool,
    allow: Option<&HeaderValue>,
) -> Option<(&'static str, String)> {
    Some(match status {
        StatusCode::NOT_FOUND if druid && method == Method::DELETE => {
            ("not_found", "no query with this id runs: it has ended, or it was given another id".to_owned())
        }
        StatusCode::NOT_FOUND => (
            "not_found",
            "there is nothing at this address; SQL is answered at /druid/v2/sql, the platform's state at /api/v1/status"
                .to_owned(),
        ),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = allow.and_then(|allow| allow.to_str().ok()).unwrap_or("another method");
            ("method_not_allowed", format!("{method} is not answered at this address; use {allow}"))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "unsupported_media_type",
            "the body's type is not read here; send JSON with the header Content-Type: application/json".to_owned(),
        ),
        StatusCode::NOT_ACCEPTABLE => (
            "not_acceptable",
            "the answer is JSON and the request's Accept header does not allow it; send Accept: application/json"
                .to_owned(),
        ),
        _ => return None,
    })
}
