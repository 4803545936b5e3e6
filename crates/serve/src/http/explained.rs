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

/// No sentence of the framework's is longer.
const SENTENCE_BYTES_MAX: usize = 16 << 10;

/// Gives an empty refusal a body: in Druid's form under `/druid/`, in that of `/api/v1` elsewhere.
pub async fn explain_refusals(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let druid = request.uri().path().starts_with("/druid/");
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() {
        return response;
    }
    if response.body().size_hint().exact() != Some(0) {
        return if is_plain(&response) && !druid { in_json(response).await } else { response };
    }
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

/// Whether it is a refusal of the framework's own, which is a sentence about the address or the query.
fn is_plain(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

async fn in_json(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let sentence = axum::body::to_bytes(body, SENTENCE_BYTES_MAX).await.unwrap_or_default();
    let said = error_response(head.status, "invalid", String::from_utf8_lossy(&sentence).into_owned()).into_response();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, said.into_body())
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
