//! Spark as the engine: the model's own text, sent with the rows that are to be run, and what comes of them as Arrow.
//!
//! `statement` makes the text, `ask` is what is asked of a Spark, `connect` speaks to one, `failure` says what went wrong,
//! `order` puts rows back into the order of those that they come from. Invariant: Spark is given rows and gives rows; it
//! writes nothing, and no text of its own leaves here.

mod ask;
pub mod connect;
mod failure;
pub(crate) mod layout;
mod order;
pub(crate) mod statement;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use ask::{Answer, Input, Question, RunProgress, Spark};
pub use failure::Failure;

use crate::engine::datafusion;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::slot::conform;
use order::{in_order, numbered};
use statement::Statement;

/// Bytes of the driving table's rows in one statement, where they may be cut.
const SENT_BYTES_MAX: usize = 64 << 20;
/// Bytes that one statement may give.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// How often a statement is sent again at once when its session was lost.
const SESSIONS_MAX: usize = 3;

/// A Spark, and where it is seen what runs there for one model.
#[derive(Clone, Debug)]
pub(crate) struct OnSpark {
    pub(crate) spark: Arc<dyn Spark>,
    pub(crate) runs: Arc<Runs>,
}

/// The statement of a model that runs now.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<Option<Run>>);

/// A statement from when it is sent on.
#[derive(Debug)]
struct Run {
    since: Instant,
    /// How far it is, once Spark has a plan of it.
    progress: Option<watch::Receiver<RunProgress>>,
    spark: Arc<dyn Spark>,
}

impl Runs {
    /// How long the statement has run, and how far it is.
    pub(crate) fn now(&self) -> Option<(Duration, RunProgress)> {
        let far = |run: &Run| run.progress.as_ref().map(|progress| *progress.borrow()).unwrap_or_default();
        self.0.lock().as_ref().map(|run| (run.since.elapsed(), far(run)))
    }

    /// Why the statement does not go on, where Spark does not answer.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.lock().as_ref().and_then(|run| run.spark.trouble())
    }

    fn begin(&self, spark: &Arc<dyn Spark>) -> RunsGuard<'_> {
        *self.0.lock() = Some(Run { since: Instant::now(), progress: None, spark: Arc::clone(spark) });
        RunsGuard(self)
    }

    fn is_planned(&self, progress: watch::Receiver<RunProgress>) {
        if let Some(run) = self.0.lock().as_mut() {
            run.progress = Some(progress);
        }
    }
}

struct RunsGuard<'a>(&'a Runs);

impl Drop for RunsGuard<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = None;
    }
}

/// A model's statement, and the plan whose columns it reads and gives.
pub(crate) struct Compiled {
    model: Model,
    on: OnSpark,
    statement: Statement,
    /// The same work in this process: it says which columns are read and given.
    planned: datafusion::Compiled,
    joined: Mutex<Vec<Vec<RecordBatch>>>,
}

impl Compiled {
    pub(crate) fn new(model: &Model, on: OnSpark, statement: Statement, planned: datafusion::Compiled) -> Self {
        let joined = Mutex::new(vec![Vec::new(); model.tables.len()]);
        Self { model: model.clone(), on, statement, planned, joined }
    }

    pub(crate) fn needed(&self, table: usize) -> &[String] {
        self.planned.needed(table)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.planned.schema()
    }

    pub(crate) fn set(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        let rows = self.as_sent(table, rows)?;
        if let Some(held) = self.joined.lock().get_mut(table) {
            *held = rows;
        }
        Ok(())
    }

    pub(crate) fn as_read(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.planned.as_read(rows)
    }

    fn as_sent(&self, table: usize, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let Some(schema) = self.planned.columns(table) else { return Ok(Vec::new()) };
        let sent = |batch: &RecordBatch| conform("rows for Spark", batch, schema);
        rows.iter().filter(|batch| batch.num_rows() > 0).map(sent).collect()
    }

    pub(crate) async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let rows = self.as_sent(0, rows)?;
        let mut made = Vec::new();
        for portion in self.portions(rows) {
            made.extend(self.ask(portion).await?);
        }
        Ok(made)
    }

    /// The rows as they are sent: all at once, unless a row's rows are the same whatever the others are.
    fn portions(&self, rows: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
        let (mut portions, mut bytes) = (vec![Vec::new()], 0);
        for batch in rows {
            let more = batch.get_array_memory_size();
            if self.statement.is_divisible && bytes > 0 && bytes + more > SENT_BYTES_MAX {
                portions.push(Vec::new());
                bytes = 0;
            }
            bytes += more;
            if let Some(last) = portions.last_mut() {
                last.push(batch);
            }
        }
        portions
    }

    async fn ask(&self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let mut sessions = 1;
        loop {
            match self.ask_once(&rows).await {
                Err(Error::Spark { failure: Failure::SessionLost, .. }) if sessions < SESSIONS_MAX => sessions += 1,
                asked => return asked,
            }
        }
    }

    async fn ask_once(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let failed = |failure: Failure| self.failed(failure);
        let question = self.question(rows)?;
        let _running = self.on.runs.begin(&self.on.spark);
        let mut answer = self.on.spark.ask(question).await.map_err(failed)?;
        self.on.runs.is_planned(answer.progress.clone());
        let (mut made, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = answer.rows.try_next().await.map_err(failed)? {
            bytes += batch.get_array_memory_size();
            if bytes > ANSWER_BYTES_MAX {
                return Err(failed(Failure::TooLarge));
            }
            if batch.num_rows() > 0 {
                made.push(batch);
            }
        }
        in_order(made, self.schema(), self.statement.is_numbered)
    }

    fn question(&self, rows: &[RecordBatch]) -> Result<Question> {
        let joined = self.joined.lock().clone();
        let mut inputs = Vec::with_capacity(self.model.tables.len());
        for (position, name) in self.statement.inputs.iter().enumerate() {
            let Some(schema) = self.planned.columns(position) else { continue };
            let schema = Arc::clone(schema);
            inputs.push(match position {
                0 if self.statement.is_numbered => numbered(name, &schema, rows)?,
                0 => Input { name: name.clone(), schema, rows: rows.to_vec() },
                _ => {
                    let rows = joined.get(position).cloned().unwrap_or_default();
                    Input { name: name.clone(), schema, rows }
                }
            });
        }
        let tags = vec!["vitalake".to_owned(), format!("model:{}", self.model.dataset)];
        Ok(Question { sql: self.statement.sql.clone(), inputs, tags })
    }

    fn failed(&self, failure: Failure) -> Error {
        let place = match &failure {
            Failure::Statement { at: Some(at), .. } => self.statement.place(&self.model, *at),
            _ => None,
        };
        let place = place.unwrap_or(self.model.place);
        Error::Spark { model: self.model.dataset.clone(), layer: self.model.layer, place, failure }
    }
}
