//! One client's way to data: identity, policy and a pinned catalogue value. Nothing else builds a plan for a client.
//!
//! A query is read, rewritten and planned here, and runs on the CPU runtime within its limits. Rows come out as record
//! batches; dropping the [`Answer`] stops the work.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use chrono_tz::Tz;
use datafusion::sql::sqlparser::ast::Expr;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::{Engine, Running};
use crate::error::QueryError;
use crate::pinned::Pinned;
use crate::plan;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that audit knows.
    pub name: String,
}

impl Identity {
    /// Whoever can reach a loopback address.
    pub fn local() -> Self {
        Self { name: "local".to_owned() }
    }
}

/// What the identity may see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Everything.
    AllowAll,
}

impl Policy {
    /// The policy that forbids nothing.
    pub fn allow_all() -> Self {
        Self::AllowAll
    }
}

/// How one query is to run.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// The zone in which it computes.
    pub zone: Tz,
    /// The client's time limit; the server's is the upper bound.
    pub timeout: Option<Duration>,
    /// The client's id for it.
    pub query_id: Option<String>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { zone: Tz::UTC, timeout: None, query_id: None }
    }
}

/// Identity, policy and a pinned value.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Arc<Engine>,
    identity: Identity,
    policy: Policy,
    pinned: Arc<dyn Pinned>,
}

impl Session {
    /// A session; its queries all see the same pinned value.
    pub fn new(engine: Arc<Engine>, identity: Identity, policy: Policy, pinned: Arc<dyn Pinned>) -> Self {
        Self { engine, identity, policy, pinned }
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Plans a query and starts it. Returns when its schema is known.
    ///
    /// # Errors
    /// Every [`QueryError`] but those that only rows can cause.
    pub async fn query(&self, sql: String, parameters: Vec<Expr>, options: QueryOptions) -> Result<Answer, QueryError> {
        // With the next policy this match is where masks and filters become plan rewrites.
        match self.policy {
            Policy::AllowAll => {}
        }
        let limits = *self.engine.limits();
        let query_id = options.query_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let timeout = options.timeout.map_or(limits.timeout_max, |timeout| timeout.min(limits.timeout_max));
        let deadline = Instant::now() + timeout;
        let mut running = self.engine.register(&query_id, deadline, timeout);
        let permit = running.guard(self.engine.permit()).await??;

        let (rows, receiver) = mpsc::channel(2);
        let work = plan::run(
            Arc::clone(&self.engine),
            Arc::clone(&self.pinned),
            plan::Request { sql, parameters, zone: options.zone, query_id: query_id.clone(), ended: running.ended() },
            rows,
        );
        let task = self.engine.cpu().spawn(async move {
            work.await;
            drop(permit);
        });
        running.watch(task.abort_handle());
        let mut answer = Answer {
            query_id,
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            labels: vec![],
            receiver,
            running,
            rows_left: limits.result_rows_max,
            bytes_left: limits.result_bytes_max,
        };
        match answer.receive().await? {
            Message::Schema(schema, labels) => (answer.schema, answer.labels) = (schema, labels),
            _ => return Err(lost(&answer.query_id)),
        }
        Ok(answer)
    }
}

/// What the work says to its reader.
#[derive(Debug)]
pub enum Message {
    /// First: the columns, and what they are called.
    Schema(SchemaRef, Vec<String>),
    /// Then: rows.
    Rows(RecordBatch),
    /// Last: there are no more.
    End,
}

/// The rows of a query, as they come.
#[derive(Debug)]
pub struct Answer {
    query_id: String,
    schema: SchemaRef,
    labels: Vec<String>,
    receiver: mpsc::Receiver<Result<Message, QueryError>>,
    running: Running,
    rows_left: usize,
    bytes_left: usize,
}

impl Answer {
    /// The id under which the query can be cancelled.
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the columns are called; a name may come twice.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The next rows; `None` when there are no more.
    ///
    /// # Errors
    /// [`QueryError`]: time, a limit, a cancel, or a computation that failed.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let batch = match self.receive().await? {
            Message::Rows(batch) => batch,
            Message::End => return Ok(None),
            Message::Schema(..) => return Err(lost(&self.query_id)),
        };
        let over = |what: &str| {
            QueryError::ResourceLimit(format!(
                "the result has more {what} than the server sends; aggregate, or add a LIMIT"
            ))
        };
        self.rows_left = self.rows_left.checked_sub(batch.num_rows()).ok_or_else(|| over("rows"))?;
        self.bytes_left = self.bytes_left.checked_sub(batch.get_array_memory_size()).ok_or_else(|| over("bytes"))?;
        Ok(Some(batch))
    }

    async fn receive(&mut self) -> Result<Message, QueryError> {
        match self.running.guard(self.receiver.recv()).await? {
            Some(message) => message,
            // The work ended without saying so: it panicked.
            None => Err(lost(&self.query_id)),
        }
    }
}

fn lost(query_id: &str) -> QueryError {
    let id = uuid::Uuid::new_v4().to_string();
    tracing::error!(error_id = %id, query_id, "a query's work ended without an answer");
    QueryError::Internal { id }
}
