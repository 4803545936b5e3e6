//! The rows of a statement as a stream, and how far Spark is with it.
//!
//! A task of its own reads Spark's stream, so that progress is told while nobody asks for rows; a few batches at most wait
//! between the two. One invariant: an answer that is dropped before its end stops the operation in Spark.

use std::pin::Pin;
use std::task::{Context as Wakes, Poll};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::Stream;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};

use crate::operation::Operation;
use crate::proto::ExecutePlanResponse;
use crate::proto::execute_plan_response::{ExecutionProgress, ResponseType};
use crate::rows::Rows;
use crate::running::{OneMore, OwnSession};
use crate::{Error, Result};

const EVENTS_WAITING: usize = 2;

/// How far Spark is with a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Stages that Spark has told of.
    pub stages: u64,
    /// Tasks of these.
    pub tasks: u64,
    /// Tasks that are done.
    pub tasks_done: u64,
    /// Bytes that they have read.
    pub bytes_read: u64,
}

/// The rows of a statement.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    operation_id: String,
    events: mpsc::Receiver<Event>,
    progress: watch::Receiver<Progress>,
    plan_nodes: watch::Receiver<u64>,
    over: bool,
}

impl Answer {
    /// The schema of every batch: Spark's types as Spark writes them in Arrow.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Under which Spark's own logs and pages have it.
    #[must_use]
    pub fn operation_id(&self) -> &str {
        &self.operation_id
    }

    /// How far Spark is, told about once a second by itself.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// How many nodes of its physical plan Spark has reported figures of; none before the end. Evidence that Spark, and
    /// nobody else, ran the statement.
    #[must_use]
    pub fn plan_nodes(&self) -> u64 {
        *self.plan_nodes.borrow()
    }

    /// All rows.
    ///
    /// # Errors
    /// The first error of the stream.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// The next batch; `None` when Spark has said that the result is complete.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        std::future::poll_fn(|waker| self.poll(waker)).await
    }

    fn poll(&mut self, waker: &mut Wakes<'_>) -> Poll<Option<Result<RecordBatch>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = match self.events.poll_recv(waker) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Event::Batch(batch))) => return Poll::Ready(Some(Ok(batch))),
            Poll::Ready(Some(Event::Failed(error))) => Some(Err(error)),
            Poll::Ready(Some(Event::End)) => None,
            Poll::Ready(None) => Some(Err(broken_off())),
        };
        self.over = true;
        Poll::Ready(next)
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, waker: &mut Wakes<'_>) -> Poll<Option<Self::Item>> {
        self.poll(waker)
    }
}

/// What must be held while Spark makes a plan of a statement, and what is held until it has ended.
pub(crate) struct Held {
    /// Views of one session have names, which no other statement may take meanwhile.
    pub(crate) planning: Option<OwnedMutexGuard<()>>,
    /// A session that is there for this statement alone.
    pub(crate) _session: Option<OwnSession>,
    /// That it runs.
    pub(crate) _running: OneMore,
}

/// Runs an operation in a task of its own, and waits until Spark has made a plan of it.
pub(crate) async fn begin(operation: Operation, zone: String, held: Held) -> Result<Answer> {
    let (progress_told, progress) = watch::channel(Progress::default());
    let (nodes_told, plan_nodes) = watch::channel(0);
    let (sender, events) = mpsc::channel(EVENTS_WAITING);
    let (told, schema) = oneshot::channel();
    let operation_id = operation.id().to_owned();
    let mut pump = Pump { operation, rows: None, sender, progress: progress_told, nodes: nodes_told };
    tokio::spawn(async move {
        let Held { planning, _session, _running } = held;
        pump.run(told, &zone, planning).await;
        pump.operation.abandon().await;
    });
    let schema = schema.await.map_err(|_| broken_off())??;
    Ok(Answer { schema, operation_id, events, progress, plan_nodes, over: false })
}

/// The task was ended from outside, as when the process stops.
fn broken_off() -> Error {
    Error::Answer { reason: String::from("its reading was broken off") }
}

/// What the task tells: the end is said, so that a task that vanished is not taken for one.
#[derive(Debug)]
enum Event {
    Batch(RecordBatch),
    Failed(Error),
    End,
}

/// Reads an operation to its end, or until nobody wants it.
struct Pump {
    operation: Operation,
    rows: Option<Rows>,
    sender: mpsc::Sender<Event>,
    progress: watch::Sender<Progress>,
    nodes: watch::Sender<u64>,
}

type Planned = oneshot::Sender<Result<SchemaRef>>;

impl Pump {
    async fn run(&mut self, mut planned: Planned, zone: &str, planning: Option<OwnedMutexGuard<()>>) {
        let first = tokio::select! {
            () = planned.closed() => return,
            first = self.planned(zone) => first,
        };
        drop(planning);
        match first {
            Ok((schema, response)) => {
                self.rows = Some(Rows::new(schema.clone()));
                if planned.send(Ok(schema)).is_err() {
                    return;
                }
                if let Err(error) = self.read(response).await {
                    let _ = self.sender.send(Event::Failed(error)).await;
                }
            }
            Err(error) => drop(planned.send(Err(error))),
        }
    }

    /// Waits for the response with the schema, which comes when the plan is made and before anything is run.
    async fn planned(&mut self, zone: &str) -> Result<(SchemaRef, ExecutePlanResponse)> {
        while let Some(response) = self.operation.next().await? {
            if let Some(row) = &response.schema {
                return Ok((crate::types::schema(row, zone)?, response));
            }
            self.pass(response).await?;
        }
        Err(Error::Answer { reason: String::from("it has no schema") })
    }

    async fn read(&mut self, first: ExecutePlanResponse) -> Result<()> {
        let mut goes_on = self.pass(first).await?;
        let wanted = self.sender.clone();
        while goes_on {
            let next = tokio::select! {
                () = wanted.closed() => return Ok(()),
                next = self.operation.next() => next?,
            };
            let Some(response) = next else {
                self.rows.as_ref().map_or(Ok(()), Rows::end)?;
                let _ = self.sender.send(Event::End).await;
                return Ok(());
            };
            goes_on = self.pass(response).await?;
        }
        Ok(())
    }

    /// Passes on what a response holds; whether somebody wants more.
    async fn pass(&mut self, response: ExecutePlanResponse) -> Result<bool> {
        if let Some(metrics) = response.metrics {
            self.nodes.send_replace(metrics.metrics.len() as u64);
        }
        match (response.response_type, self.rows.as_mut()) {
            (Some(ResponseType::ExecutionProgress(told)), _) => drop(self.progress.send_replace(progress(&told))),
            (Some(ResponseType::ArrowBatch(part)), Some(rows)) => {
                for batch in rows.take(part)? {
                    if self.sender.send(Event::Batch(batch)).await.is_err() {
                        return Ok(false);
                    }
                }
            }
            (Some(ResponseType::ArrowBatch(_)), None) => {
                return Err(Error::Answer { reason: String::from("rows come before their schema") });
            }
            _ => {}
        }
        Ok(true)
    }
}

fn progress(told: &ExecutionProgress) -> Progress {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    told.stages.iter().fold(Progress::default(), |sum, stage| Progress {
        stages: sum.stages + 1,
        tasks: sum.tasks + count(stage.num_tasks),
        tasks_done: sum.tasks_done + count(stage.num_completed_tasks),
        bytes_read: sum.bytes_read + count(stage.input_bytes_read),
    })
}
