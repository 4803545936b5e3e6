//! `POST /druid/v2/sql`: reads the request, runs it through a session, streams the answer.
//!
//! The first rows are awaited before the status is sent, so most failures have a status of their own. A failure after
//! that breaks the connection: an answer that is cut short never looks complete.

use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use vitalake_ops::gates::{HELD, PASSED};

use super::App;
use super::query_request::stated;
use crate::druid::error::render;
use crate::druid::request::SqlRequest;
use crate::druid::result::ResultWriter;
use crate::druid::value::Style;
use crate::error::QueryError;
use crate::identity::Identity;
use crate::pinned::Standing;
use crate::session::{Answer, QueryOptions, Session};
use crate::sql::fault::{Phase, explain};

const QUERY_ID: HeaderName = HeaderName::from_static("x-druid-query-id");
const SQL_QUERY_ID: HeaderName = HeaderName::from_static("x-druid-sql-query-id");
const CONTEXT: HeaderName = HeaderName::from_static("x-druid-response-context");
const HEADER_INCLUDED: HeaderName = HeaderName::from_static("x-druid-sql-header-included");
const GATE: HeaderName = HeaderName::from_static("x-vitalake-gate");
/// What a client says that it asks for.
const COMPLETE: HeaderName = HeaderName::from_static("x-druid-response-complete");

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 << 10;

/// Answers a query.
pub async fn query(State(app): State<App>, Extension(identity): Extension<Identity>, request: Request) -> Response {
    if !is_json(request.headers()) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    if !accepts_json(request.headers()) {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    match answer(&app, identity, request).await {
        Ok(response) => response,
        Err((error, query_id)) => error_response(&error, query_id.as_deref()),
    }
}

/// Cancels every query with that id.
pub async fn cancel(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Response {
    let status = if app.sessions.cancel(&identity, &id) { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND };
    (status, [(header::CONTENT_TYPE, "application/json")]).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()) else { return true };
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    kinds.into_iter().any(|kind| matches!(kind.as_str(), "" | "*/*" | "application/*" | "application/json"))
}

type Failure = (QueryError, Option<String>);

async fn answer(app: &App, identity: Identity, request: Request) -> Result<Response, Failure> {
    let started = Instant::now();
    let refused = |error: QueryError| {
        app.sessions.refused(&error, started.elapsed());
        (error, None)
    };
    // Before the body is read: what is not ready says so at once.
    app.sessions.open(identity.clone()).map_err(refused)?;
    let header = stated(request.headers());
    let body = read_body(app, request).await.map_err(refused)?;
    let request = SqlRequest::parse(&body).map_err(refused)?;
    let purpose = request.purpose.clone().or(header);
    let session = app.sessions.open_for(identity, purpose.as_deref()).map_err(refused)?;
    let query_id = request.query_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    run(&session, request, &query_id, purpose).await.map_err(|error| (error, Some(query_id)))
}

async fn read_body(app: &App, request: Request) -> Result<Bytes, QueryError> {
    let limit = app.limits.query_body_bytes_max;
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(app.limits.body_timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(QueryError::ResourceLimit(format!("the request's body is larger than {limit} bytes")))
        }
        Ok(Err(_)) => Err(QueryError::invalid("the request's body could not be read to its end")),
        Err(_) => Err(QueryError::invalid("the request's body did not arrive in time")),
    }
}

async fn run(
    session: &Session,
    request: SqlRequest,
    query_id: &str,
    purpose: Option<String>,
) -> Result<Response, QueryError> {
    let options = QueryOptions {
        zone: request.zone,
        timeout: request.timeout_ms.map(Duration::from_millis),
        query_id: Some(query_id.to_owned()),
        is_repeated: false,
        purpose,
    };
    let mut answer = session.query(request.query, request.parameters, options).await?;
    let style = Style { zone: request.zone, stringify_arrays: request.stringify_arrays };
    let mut writer =
        ResultWriter::new(request.format, request.headers, style, answer.schema(), answer.labels().to_vec());
    let mut chunk = vec![];
    writer.begin(&mut chunk);
    // A short answer is complete here, and is sent whole.
    let more = fill(&mut answer, &mut writer, &mut chunk).await?;

    let mut response = Response::new(if more {
        let (sender, receiver) = mpsc::channel(2);
        let header_included = sender.send(Ok(Frame::data(Bytes::from(chunk)))).await;
        if header_included.is_ok() {
            session.cpu().spawn(pump(answer, writer, sender));
        }
        let frames = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        Body::new(StreamBody::new(frames))
    } else {
        let frames = [Ok::<_, io::Error>(Frame::data(Bytes::from(chunk))), Ok(complete())];
        Body::new(StreamBody::new(futures::stream::iter(frames).boxed()))
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::TRAILER, HeaderValue::from_static("X-Druid-Response-Complete"));
    headers.insert(CONTEXT, HeaderValue::from_static("{}"));
    insert_id(headers, query_id);
    for standing in session.standings() {
        if let Ok(value) = HeaderValue::from_str(&in_words(&standing)) {
            headers.append(GATE, value);
        }
    }
    if request.headers.names {
        headers.insert(HEADER_INCLUDED, HeaderValue::from_static("yes"));
    }
    Ok(response)
}

/// A gated dataset as a header has it: `serving.x; state=held; since=…; freshness=12.5; stale`.
fn in_words(standing: &Standing) -> String {
    let state = if standing.held { HELD } else { PASSED };
    let freshness = standing.freshness_seconds.map_or_else(String::new, |age| format!("; freshness={age:.1}"));
    let stale = if standing.stale { "; stale" } else { "" };
    format!("serving.{}; state={state}; since={}{freshness}{stale}", standing.dataset, standing.since)
}

/// Gathers rows until there is a chunk. Returns whether there are more.
async fn fill(answer: &mut Answer, writer: &mut ResultWriter, chunk: &mut Vec<u8>) -> Result<bool, QueryError> {
    while let Some(batch) = answer.next().await? {
        writer
            .batch(&batch, chunk)
            .map_err(|error| explain(&error.into(), Phase::Running, answer.query_id(), false))?;
        if chunk.len() >= CHUNK_BYTES {
            return Ok(true);
        }
    }
    writer.end(chunk);
    Ok(false)
}

/// Sends the rest of an answer, until it ends or nobody reads it.
async fn pump(mut answer: Answer, mut writer: ResultWriter, sender: mpsc::Sender<io::Result<Frame<Bytes>>>) {
    loop {
        let mut chunk = vec![];
        let filled = tokio::select! {
            filled = fill(&mut answer, &mut writer, &mut chunk) => filled,
            () = sender.closed() => return,
        };
        let frame = match &filled {
            Ok(_) => Ok(Frame::data(Bytes::from(chunk))),
            Err(error) => {
                tracing::info!(query_id = answer.query_id(), outcome = error.outcome(), "an answer was cut short");
                Err(io::Error::other("the answer was cut short"))
            }
        };
        if sender.send(frame).await.is_err() {
            return;
        }
        match filled {
            Ok(true) => {}
            Ok(false) => {
                let _ = sender.send(Ok(complete())).await;
                return;
            }
            Err(_) => return,
        }
    }
}

fn complete() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert(COMPLETE, HeaderValue::from_static("true"));
    Frame::trailers(trailers)
}

fn insert_id(headers: &mut HeaderMap, query_id: &str) {
    if let Ok(id) = HeaderValue::from_str(query_id) {
        headers.insert(QUERY_ID, id.clone());
        headers.insert(SQL_QUERY_ID, id);
    }
}

fn error_response(error: &QueryError, query_id: Option<&str>) -> Response {
    let (status, body) = render(error);
    let mut response = (status, Json(body)).into_response();
    if let Some(query_id) = query_id {
        insert_id(response.headers_mut(), query_id);
    }
    response
}
