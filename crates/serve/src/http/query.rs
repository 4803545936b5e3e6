//! `POST /api/v1/query`: SQL in, rows out in the form that the client takes; and what a table looks like to it.
//!
//! Every query goes through a session of the client, as everywhere. The first rows are awaited before the status is sent;
//! a failure after that breaks the connection, so that an answer that is cut short never looks complete. Invariant: a
//! client that goes away ends its query.

use std::io;
use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::sync::mpsc;

use super::App;
use super::problem::Problem;
use super::query_format::Writer;
use super::query_request::QueryRequest;
use crate::druid::request::parameters;
use crate::error::QueryError;
use crate::identity::Identity;
use crate::session::{Answer, QueryOptions, Session};
use crate::sql::fault::{Phase, explain};

const QUERY_ID: HeaderName = HeaderName::from_static("x-query-id");
/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 << 10;

/// The addresses.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/query", post(query))
        .route("/api/v1/query/{id}", axum::routing::delete(cancel))
        .route("/api/v1/tables/{table}", get(table))
}

async fn query(State(app): State<App>, Extension(identity): Extension<Identity>, request: Request) -> Response {
    answer(&app, identity, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(app: &App, identity: Identity, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        let message = "a query is sent as JSON; send it with the header Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message));
    }
    let body = gather(app, body).await?;
    let request = QueryRequest::parse(&body, &parts.headers)?;
    let refused = |error: QueryError| {
        app.sessions.refused(&error, started.elapsed());
        problem(&error, None)
    };
    let session = app.sessions.open_for(identity, request.purpose.as_deref()).map_err(refused)?;
    let id = request.query_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    run(&session, request, &id).await.map_err(|error| problem(&error, Some(&id)))
}

async fn gather(app: &App, body: Body) -> Result<Bytes, Problem> {
    let limit = app.limits.query_body_bytes_max;
    let gathered = Limited::new(body, limit).collect();
    match tokio::time::timeout(app.limits.body_timeout, gathered).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {limit} bytes; send a shorter query");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
        }
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "invalid", "the body could not be read to its end")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timed_out", "the body did not arrive in time")),
    }
}

async fn run(session: &Session, request: QueryRequest, id: &str) -> Result<Response, QueryError> {
    let (timeout, purpose) = (request.timeout, request.purpose.clone());
    let options = QueryOptions { timeout, purpose, query_id: Some(id.to_owned()), ..QueryOptions::default() };
    let mut answer = session.query(request.sql, request.parameters, options).await?;
    let written = |error| explain(&datafusion::common::DataFusionError::from(error), Phase::Running, id, false);
    let writer = Writer::new(request.form, answer.schema(), answer.labels()).map_err(written)?;
    let mut rows = Rows { writer, rows_left: request.limit.unwrap_or(u64::MAX) };
    // A short answer is complete here, and is sent whole.
    let more = rows.fill(&mut answer).await?;
    let first = Bytes::from(rows.writer.taken());
    let body = if more {
        let (sender, receiver) = mpsc::channel(2);
        let _ = sender.send(Ok(first)).await;
        session.cpu().spawn(pump(answer, rows, sender));
        Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk: io::Result<Bytes>| (chunk, receiver))
        }))
    } else {
        Body::from(first)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(request.form.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    insert_id(headers, id);
    Ok(response)
}

fn insert_id(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(QUERY_ID, id);
    }
}

/// The rows of an answer on their way into bytes.
struct Rows {
    writer: Writer,
    rows_left: u64,
}

impl Rows {
    /// Gathers rows until there is a chunk. Returns whether there are more.
    async fn fill(&mut self, answer: &mut Answer) -> Result<bool, QueryError> {
        let id = answer.query_id().to_owned();
        let written = |error| explain(&datafusion::common::DataFusionError::from(error), Phase::Running, &id, false);
        while self.rows_left > 0
            && let Some(batch) = answer.next().await?
        {
            let rows = usize::try_from(self.rows_left).unwrap_or(usize::MAX).min(batch.num_rows());
            self.rows_left -= rows as u64;
            self.writer.batch(&batch.slice(0, rows)).map_err(written)?;
            if self.writer.waiting() >= CHUNK_BYTES {
                return Ok(true);
            }
        }
        self.writer.end().map_err(written)?;
        Ok(false)
    }
}

/// Sends the rest of an answer, until it ends or nobody reads it.
async fn pump(mut answer: Answer, mut rows: Rows, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let filled = tokio::select! {
            filled = rows.fill(&mut answer) => filled,
            () = sender.closed() => return,
        };
        let more = match filled {
            Ok(more) => more,
            Err(error) => {
                tracing::info!(query_id = answer.query_id(), outcome = error.outcome(), "an answer was cut short");
                let _ = sender.send(Err(io::Error::other("the answer was cut short"))).await;
                return;
            }
        };
        if sender.send(Ok(Bytes::from(rows.writer.taken()))).await.is_err() || !more {
            return;
        }
    }
}

async fn cancel(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    if id.is_ok_and(|Path(id)| app.sessions.cancel(&identity, &id)) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = "no query of yours with this id runs: it has ended, or it was given another id";
    Problem::new(StatusCode::NOT_FOUND, "not_found", message).into_response()
}

/// A table as a client sees it.
#[derive(Debug, Serialize)]
struct TableReport {
    table: String,
    columns: Vec<ColumnReport>,
}

#[derive(Debug, Serialize)]
struct ColumnReport {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    nullable: bool,
}

/// The columns of a table, as the client's session has them.
async fn table(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    table: Result<Path<String>, PathRejection>,
) -> Response {
    let nothing = || {
        let message = "there is no such table that you may read; name it as LAYER.DATASET, such as serving.vitals";
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
    };
    let Ok(Path(table)) = table else { return nothing().into_response() };
    let (schema, name) = table.split_once('.').unwrap_or(("serving", &table));
    let asked = serde_json::json!([{"type": "VARCHAR", "value": schema}, {"type": "VARCHAR", "value": name}]);
    let sql = "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
    let read = async {
        let session = app.sessions.open(identity)?;
        let mut answer = session.query(sql.to_owned(), parameters(Some(&asked))?, QueryOptions::default()).await?;
        let mut columns = Vec::new();
        while let Some(batch) = answer.next().await? {
            let texts: Vec<_> =
                batch.columns().iter().filter_map(|column| crate::druid::value::Column::new(column).ok()).collect();
            for row in 0..batch.num_rows() {
                let text = |at: usize| match texts.get(at) {
                    Some(crate::druid::value::Column::Text(values)) => values.value(row).to_owned(),
                    _ => String::new(),
                };
                columns.push(ColumnReport { name: text(0), kind: text(1), nullable: text(2) == "YES" });
            }
        }
        Ok::<_, QueryError>(columns)
    };
    match read.await {
        Ok(columns) if columns.is_empty() => nothing().into_response(),
        Ok(columns) => Json(TableReport { table: format!("{schema}.{name}"), columns }).into_response(),
        Err(error) => problem(&error, None).into_response(),
    }
}

/// A query's failure as a document.
fn problem(error: &QueryError, id: Option<&str>) -> Problem {
    let (status, word, retry) = match error {
        QueryError::Invalid { .. } | QueryError::Context(_) => (StatusCode::BAD_REQUEST, "invalid", None),
        QueryError::ResourceLimit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "limit", None),
        QueryError::Runtime(_) => (StatusCode::UNPROCESSABLE_ENTITY, "failed", None),
        QueryError::Capacity(_) => (StatusCode::TOO_MANY_REQUESTS, "capacity", Some(1)),
        QueryError::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout", None),
        QueryError::Cancelled => (StatusCode::CONFLICT, "cancelled", None),
        QueryError::NotReady(_) | QueryError::NotOpen(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(5)),
        QueryError::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
    };
    let mut problem = Problem::new(status, word, error.to_string());
    if let QueryError::Invalid { position: Some(position), .. } = error {
        problem = problem.with("line", position.start.0).with("column", position.start.1);
    }
    if let Some(id) = id {
        problem = problem.with("query_id", id);
    }
    match retry {
        Some(seconds) => problem.retry_after(seconds),
        None => problem,
    }
}
