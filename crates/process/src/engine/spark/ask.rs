//! What is asked of a Spark, and what it answers: the face of whoever speaks to one.
//!
//! Invariant: an answer that is dropped before its end is interrupted by who gave it.

use std::fmt::Debug;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

use crate::engine::spark::Failure;

/// A statement with the rows that it reads.
#[derive(Clone, Debug)]
pub struct Question {
    /// The statement, in Spark's SQL.
    pub sql: String,
    /// The tables that it names.
    pub inputs: Vec<Input>,
    /// By which its operation is known there.
    pub tags: Vec<String>,
}

/// Rows under the name by which a statement reads them.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name.
    pub name: String,
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, which may be none.
    pub rows: Vec<RecordBatch>,
}

/// What comes back.
pub struct Answer {
    /// The rows. Dropped before their end, the statement is interrupted.
    pub rows: BoxStream<'static, Result<RecordBatch, Failure>>,
    /// How far Spark is.
    pub progress: watch::Receiver<RunProgress>,
}

impl Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

/// How far a statement is, by Spark's own reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunProgress {
    /// Stages that it has come to.
    pub stages: u64,
    /// Tasks of these.
    pub tasks: u64,
    /// Tasks that are done.
    pub tasks_done: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
}

/// A Spark that statements are sent to.
#[async_trait]
pub trait Spark: Debug + Send + Sync {
    /// Sends a statement.
    ///
    /// # Errors
    /// When Spark is away or refuses; what fails later comes with the rows.
    async fn ask(&self, question: Question) -> Result<Answer, Failure>;

    /// Why it does not answer now, though statements ask it again and again; nothing while it answers.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Ends what still runs there for this process.
    async fn close(&self) {}
}
