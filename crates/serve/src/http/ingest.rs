//! `POST /ingest/{dataset}`: records in JSON from the connection to the platform, answered with 202 when they are durable.
//!
//! Between the router and [`crate::ingest::Ingest`]. A body is gathered under limits of size, time and the memory of all
//! bodies together. Invariant: nobody writes of another subject than his client may.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router, routing::post};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vitalake_ops::audit::Who;

use super::App;
use super::problem::Problem;
use super::told::told;
use crate::identity::Identity;
use crate::ingest::{Encoding, IngestError, IngestRequest, RecordForm, RejectedRecord};

/// A body as it comes is no larger. Default 8 MiB, as a batch by Kafka's protocol.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Bytes of all bodies that are being gathered and taken.
const BODIES_BYTES_MAX: usize = 128 << 20;
/// How long the rest of a refused body is read.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// No key is longer.
const KEY_BYTES_MAX: usize = 255;
/// So many rejected records are told of one by one.
const REJECTED_SHOWN_MAX: usize = 1_000;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const PARTITION_KEY: &str = "x-partition-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The memory of bodies.
#[derive(Clone)]
struct Memory(Arc<Semaphore>);

/// The address.
pub(super) fn routes() -> Router<App> {
    let memory = Memory(Arc::new(Semaphore::new(BODIES_BYTES_MAX)));
    Router::new().route("/ingest/{dataset}", post(ingest).layer(Extension(memory)))
}

async fn ingest(
    State(app): State<App>,
    Extension(memory): Extension<Memory>,
    Extension(identity): Extension<Identity>,
    address: Uri,
    dataset: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut body = body.into_data_stream();
    match take(&app, (memory, identity, address), dataset, &headers, &mut body).await {
        Ok(response) => response,
        Err(problem) => {
            // A client that still sends does not read: it would see a broken connection in place of the reason. One that
            // asked first whether to send has not begun.
            if !headers.contains_key(header::EXPECT) && problem.status() != StatusCode::REQUEST_TIMEOUT {
                let rest = async { while let Some(Ok(_)) = body.next().await {} };
                let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
            }
            problem.into_response()
        }
    }
}

async fn take(
    app: &App,
    (memory, identity, address): (Memory, Identity, Uri),
    dataset: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Response, Problem> {
    let Path(dataset) = dataset.map_err(|_| invalid("the dataset's name in the address is no text"))?;
    let (form, encoding) = (form_of(headers)?, encoding_of(headers)?);
    let (key, partition_key) = (word(headers, IDEMPOTENCY_KEY)?, word(headers, PARTITION_KEY)?);
    let (body, _held) = gather(app, memory, headers, body).await?;
    let client = identity.name().to_owned();
    let subject = identity.scope().subject.as_ref().map(|subject| subject.expose().to_owned());
    // A token of one subject's that names none writes nobody's records.
    if subject.as_deref() == Some("") {
        let message = "the token is for one subject's records and names no subject; ask whoever keeps `access:`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let request = IngestRequest { client, subject, form, encoding, body, key, partition_key };
    let taken = app.ingest.ingest(&dataset, request).await;
    if matches!(taken, Err(IngestError::OtherSubject(_))) {
        let told = told(&Method::POST, address.path());
        app.note_refused(told, Who::from(&identity), "other_subject");
    }
    let mut report = taken.map_err(Problem::from)?;
    report.rejected.truncate(REJECTED_SHOWN_MAX);
    let replayed = report.replayed;
    let mut response = (StatusCode::ACCEPTED, Json(report)).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid", message)
}

fn unsupported(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message)
}

/// How the sender says that the records stand.
fn form_of(headers: &HeaderMap) -> Result<RecordForm, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';');
    let form = match parts.next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => RecordForm::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            RecordForm::Lines
        }
        _ => {
            let message = "the body's Content-Type is not one that is read here; send application/json (an object or an array), or application/x-ndjson (one object a line)";
            return Err(unsupported(message));
        }
    };
    let charset = parts.find_map(|part| part.trim().to_ascii_lowercase().strip_prefix("charset=").map(str::to_owned));
    match charset.as_deref().map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(form),
        Some(_) => Err(unsupported("JSON is read as UTF-8 alone; send it so")),
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut given = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = given.next() else { return Ok(Encoding::Identity) };
    let word = value.to_str().unwrap_or("unreadable").trim().to_ascii_lowercase();
    let several = given.next().is_some();
    match word.as_str() {
        _ if several => Err(unsupported("the body is packed more than once; pack it once, with gzip or zstd")),
        "" | "identity" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstandard),
        _ => Err(unsupported("the body's Content-Encoding is not one that is read here; send gzip, zstd or none")),
    }
}

/// A header that is one text, short and without control characters.
fn word(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(name).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.len() > KEY_BYTES_MAX || given.next().is_some() {
        let message = format!("{name} is one text of 1 to {KEY_BYTES_MAX} printable ASCII characters; send one so");
        return Err(invalid(message));
    }
    Ok(Some(text.to_owned()))
}

/// A body in memory, with what it holds of the memory of all of them.
async fn gather(
    app: &App,
    memory: Memory,
    headers: &HeaderMap,
    pieces: &mut BodyDataStream,
) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), Problem> {
    let too_large = || {
        let message = format!("the body has more than {BODY_BYTES_MAX} bytes; send it in parts, or packed");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse::<usize>().ok());
    if said.is_some_and(|said| said > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let reading = async {
        let (mut held, mut gathered) = (Vec::new(), BytesMut::with_capacity(said.unwrap_or(0)));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| invalid("the body could not be read to its end"))?;
            if gathered.len() + piece.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            let permits = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&memory.0).try_acquire_many_owned(permits);
            held.push(room.map_err(|_| behind("too many requests are being taken; send it again later"))?);
            gathered.extend_from_slice(&piece);
        }
        Ok((gathered.freeze(), held))
    };
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timed_out", "the body did not arrive in time");
    tokio::time::timeout(app.limits.body_timeout, reading).await.map_err(late)?
}

fn behind(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "behind", message).retry_after(1)
}

fn shown(mut rejected: Vec<RejectedRecord>) -> serde_json::Value {
    rejected.truncate(REJECTED_SHOWN_MAX);
    json!(rejected)
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        let message = error.to_string();
        match error {
            IngestError::NoStream(_) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            IngestError::Malformed(_, None) => invalid(message),
            IngestError::Malformed(_, Some((line, byte))) => invalid(message).with("line", line).with("byte", byte),
            IngestError::NoneAccepted(rejected) => {
                let count = rejected.len();
                invalid(message).with("accepted", 0).with("rejected_count", count).with("rejected", shown(rejected))
            }
            IngestError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message),
            IngestError::OtherSubject(_) => Self::new(StatusCode::FORBIDDEN, "other_subject", message),
            IngestError::KeyInUse(_) => Self::new(StatusCode::CONFLICT, "key_in_use", message).retry_after(1),
            IngestError::KeyReused(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message),
            IngestError::Behind(_) => behind(message),
            IngestError::NoStorage(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_storage", message).retry_after(30)
            }
            IngestError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(1)
            }
        }
    }
}
