//! What the server needs of the process around it, by concern: datasets to read, status, deliveries, flush.
//!
//! The binary implements them; tests bring small ones of their own. Invariant: each may be asked at any time, also before
//! the platform is open and between two lives of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use futures::stream::BoxStream;
use thiserror::Error;
pub use vitalake_contract::DeliveryFormat;
use vitalake_ops::alerts::report::{AckRequest, AlertReport, SilenceReport, SilenceRequest, TestReport};
use vitalake_ops::books::DatasetBooks;
use vitalake_ops::deliveries::{DeliveryDecision, LedgerEntry, LedgerQuery, RejectedDelivery};
use vitalake_ops::druid::{DruidPlan, DruidReceipt, DruidReport};
use vitalake_ops::erasures::{EraseRequest, Receipt};
use vitalake_ops::feeds::{FeedReport, FeedRunReport};
use vitalake_ops::gates::{GateDecision, GateReport};
use vitalake_ops::runbooks::{RunbookEntry, RunbookReport};
use vitalake_ops::status::{DeliveryReport, FlushReport, Readiness, StatusReport, Trouble};

use crate::pinned::Pinned;
use crate::sql::fault::causes;

/// The bytes of a request, as they arrive. The stream ends only where the body has said its end; a body that is cut off
/// ends with an error.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// What a sender says of a file beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRequest {
    /// The file's name.
    pub name: String,
    /// Its form.
    pub format: DeliveryFormat,
    /// The day that it stands for, as `yyyy-mm-dd`.
    pub business_date: Option<String>,
    /// Whether it is held where it would be refused.
    pub hold: bool,
    /// Control totals: `rows`, `bytes`, `sha256`, `sum.COLUMN`.
    pub totals: Vec<(String, String)>,
}

impl DeliveryRequest {
    /// A file of which nothing else is said.
    #[must_use]
    pub fn new(name: impl Into<String>, format: DeliveryFormat) -> Self {
        Self { name: name.into(), format, business_date: None, hold: false, totals: Vec::new() }
    }
}

/// Why an act of the API failed. The text is shown to the client: it holds no record's value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// What was sent is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Whoever asks may not have it.
    #[error("{0}")]
    Forbidden(String),
    /// It does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// It is larger than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// It did not come in time.
    #[error("{0}")]
    TimedOut(String),
    /// Nobody said how long it is.
    #[error("{0}")]
    NoLength(String),
    /// It has a form that is not read here.
    #[error("{0}")]
    Unsupported(String),
    /// It can be tried again later.
    #[error("{0}")]
    Unavailable(String),
    /// Our fault; the log has the cause.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// Our fault: says the cause in the log, under an id that the client is given.
    pub fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        tracing::error!(error_id = %id, cause = causes(error), "{what}");
        Self::Internal(format!("{what}; the server's log has the cause under error id {id}"))
    }
}

/// What queries read.
pub trait Datasets: Send + Sync + 'static {
    /// The newest value over all tables; `Err` says what it waits for while there is none.
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>>;
}

/// What the process says of itself.
#[async_trait]
pub trait Status: Send + Sync + 'static {
    /// Whether everything that was durable at start can be read.
    fn readiness(&self) -> Readiness;

    /// What needs a person, whether ready or not.
    fn troubles(&self) -> Vec<Trouble>;

    /// What is known of every dataset.
    async fn status(&self) -> StatusReport;

    /// The books of one dataset, or of all that have books.
    async fn books(&self, dataset: Option<&str>) -> Result<Vec<DatasetBooks>, ApiError> {
        let _ = dataset;
        Ok(Vec::new())
    }
}

/// Where delivered files go.
#[async_trait]
pub trait Deliveries: Send + Sync + 'static {
    /// Takes a delivered file, whole or not at all.
    async fn deliver(
        &self,
        dataset: &str,
        request: DeliveryRequest,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError>;

    /// What was decided about deliveries, newest first.
    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<LedgerEntry>, ApiError> {
        let _ = query;
        Ok(Vec::new())
    }

    /// Lets a held delivery in, in spite of what holds it.
    async fn release(&self, id: &str, decision: DeliveryDecision) -> Result<DeliveryReport, ApiError> {
        let _ = decision;
        Err(ApiError::NotFound(format!("no delivery is held as {id}")))
    }

    /// Gives a held delivery up.
    async fn reject(&self, id: &str, decision: DeliveryDecision) -> Result<RejectedDelivery, ApiError> {
        let _ = decision;
        Err(ApiError::NotFound(format!("no delivery is held as {id}")))
    }
}

/// Feeds, which bring deliveries by themselves.
#[async_trait]
pub trait Feeds: Send + Sync + 'static {
    /// Where each of them stands.
    async fn feeds(&self) -> Result<Vec<FeedReport>, ApiError>;

    /// Looks for deliveries of one now, and takes what is complete.
    async fn run(&self, feed: &str) -> Result<FeedRunReport, ApiError>;
}

/// Persons who are to be erased.
#[async_trait]
pub trait Erasures: Send + Sync + 'static {
    /// Erases a person, or says what would go; the answer comes when that is done.
    async fn erase(&self, request: EraseRequest) -> Result<Receipt, ApiError> {
        let _ = request;
        Err(ApiError::NotFound("nobody is erased here".to_owned()))
    }

    /// Where a person may be; nothing where no contract says which column holds a person's id.
    fn subjects(&self, subject: &str) -> Option<Subjects> {
        let _ = subject;
        None
    }
}

/// Which datasets may hold persons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Those that name persons.
    pub named: Vec<SubjectTable>,
    /// Those that neither are made of such a dataset nor have one made of them.
    pub unrelated: BTreeSet<String>,
}

/// A dataset whose rows name persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTable {
    /// Its layer.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The columns that hold ids.
    pub columns: Vec<String>,
    /// Whether what it held once it holds today.
    pub keeps: bool,
}

/// Committing now.
#[async_trait]
pub trait Flush: Send + Sync + 'static {
    /// Commits what waits in memory, and names what is behind.
    async fn flush(&self) -> Result<FlushReport, ApiError>;
}

/// What gates say, and what people decide for them.
#[async_trait]
pub trait Gates: Send + Sync + 'static {
    /// All of them, or that of one dataset, `serving.x` or `x`.
    async fn gates(&self, dataset: Option<&str>) -> Result<Vec<GateReport>, ApiError>;

    /// Holds a dataset back until it is released.
    async fn hold(&self, dataset: &str, decision: GateDecision) -> Result<GateReport, ApiError>;

    /// Ends a hold, and publishes what is staged in spite of the rules, once.
    async fn release(&self, dataset: &str, decision: GateDecision) -> Result<GateReport, ApiError>;
}

/// A file of a published version.
#[derive(Debug, Clone)]
pub struct PublishedFile {
    /// Where the lake's files lie.
    pub store: Arc<dyn ObjectStore>,
    /// Its place there.
    pub location: Path,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Publishing to a real Druid, and the files that it fetches for that.
#[async_trait]
pub trait Publishing: Send + Sync + 'static {
    /// A file of a version, for who has a signature for it.
    async fn file(&self, dataset: &str, version: u64, file: &str, signature: &str) -> Result<PublishedFile, ApiError> {
        let _ = (dataset, version, file, signature);
        Err(ApiError::NotFound("nothing is published to another engine here".to_owned()))
    }

    /// Where each dataset stands in Druid.
    async fn druid(&self) -> Result<Vec<DruidReport>, ApiError> {
        Ok(Vec::new())
    }

    /// What would be sent for a dataset.
    async fn druid_plan(&self, dataset: &str) -> Result<DruidPlan, ApiError> {
        Err(ApiError::NotFound(format!("{dataset} is not published to Druid")))
    }

    /// Takes a datasource over that somebody else has made: what is in it is replaced.
    async fn druid_adopt(&self, dataset: &str) -> Result<DruidReport, ApiError> {
        Err(ApiError::NotFound(format!("{dataset} is not published to Druid")))
    }

    /// Removes what is out of use down to deep storage.
    async fn druid_kill(&self, dataset: &str) -> Result<DruidReceipt, ApiError> {
        Err(ApiError::NotFound(format!("{dataset} is not published to Druid")))
    }
}

/// Runbooks to read, with their evidence.
#[async_trait]
pub trait Runbooks: Send + Sync + 'static {
    /// All of them; those of a team first, where one is named.
    async fn list(&self, owner: Option<&str>) -> Vec<RunbookEntry>;

    /// Opens one: its queries are run now. With an alert, what they found when it fired is beside it.
    async fn open(&self, name: &str, alert: Option<&str>) -> Result<RunbookReport, ApiError>;
}

/// Alerts: what fires, and what people do about it.
#[async_trait]
pub trait Alerts: Send + Sync + 'static {
    /// All that are known, open ones first.
    async fn list(&self) -> Result<Vec<AlertReport>, ApiError>;

    /// Takes one on in somebody's name.
    async fn acknowledge(&self, fingerprint: &str, request: AckRequest) -> Result<AlertReport, ApiError>;

    /// Keeps one from being sent for a while.
    async fn silence(&self, request: SilenceRequest) -> Result<SilenceReport, ApiError>;

    /// Tries an alert's receivers.
    async fn test(&self, alert: &str) -> Result<Vec<TestReport>, ApiError>;
}
