//! What the server needs of the process to take records by HTTP: the words of a request, of its answer and of a refusal.
//!
//! `http::ingest` reads requests and writes answers; the binary brings them to the log. Invariant: no refusal holds
//! anything of a record.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;

/// How the records stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordForm {
    /// One JSON object, or an array of objects.
    Json,
    /// One JSON object a line.
    Lines,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstandard,
}

/// Records that somebody sends.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    /// The name that the sender proved.
    pub client: String,
    /// The one subject that it may write of.
    pub subject: Option<String>,
    /// How the records stand in the body.
    pub form: RecordForm,
    /// How the body is packed.
    pub encoding: Encoding,
    /// The body as it came.
    pub body: Bytes,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// `X-Partition-Key`.
    pub partition_key: Option<String>,
}

/// Something in a body that is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRecord {
    /// Its number among the body's records, from 0.
    pub index: u32,
    /// The line of the fault, from 1.
    pub line: u64,
    /// The byte of the fault, from 0, in the body as it is unpacked.
    pub byte: u64,
    /// Why.
    pub reason: String,
}

/// What was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngestReport {
    /// The dataset, such as `raw.readings`.
    pub dataset: String,
    /// The request's id: the header `request` of each of its records, in `_headers` of the dataset and its quarantine.
    pub request: String,
    /// Records that are durable.
    pub accepted: u64,
    /// How many were no records.
    pub rejected_count: u64,
    /// The first of these.
    pub rejected: Vec<RejectedRecord>,
    /// Where accepted records go that break the contract when they are read.
    pub quarantine: String,
    /// Whether all of it had been taken before, under the same key. Told in a header, so that the answer is the same.
    #[serde(skip)]
    pub replayed: bool,
}

/// Why a request is not taken. Unless it says otherwise, nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IngestError {
    /// There is no such stream here.
    #[error("{0}")]
    NoStream(String),
    /// The body is not what it should be, at a place where that is known: line and byte.
    #[error("{0}")]
    Malformed(String, Option<(u64, u64)>),
    /// Nothing in it is a record.
    #[error("none of the body's records can be taken; each has its reason")]
    NoneAccepted(Vec<RejectedRecord>),
    /// It is too large.
    #[error("{0}")]
    TooLarge(String),
    /// It is of another subject.
    #[error("{0}")]
    OtherSubject(String),
    /// A request with its key is being taken.
    #[error("{0}")]
    KeyInUse(String),
    /// Its key was used for something else.
    #[error("{0}")]
    KeyReused(String),
    /// The platform is behind.
    #[error("{0}")]
    Behind(String),
    /// The disk takes nothing now.
    #[error("{0}")]
    NoStorage(String),
    /// It can be sent again later.
    #[error("{0}")]
    Unavailable(String),
}

/// Takes records by HTTP.
#[async_trait]
pub trait Ingest: Send + Sync + 'static {
    /// Takes a request's records: answered when they are durable.
    async fn ingest(&self, dataset: &str, request: IngestRequest) -> Result<IngestReport, IngestError>;
}
