//! The task of an append model: increments of the input → plan → rules → de-duplication → the output's tail, and at the
//! end of each of the input's epochs a commit, made by a task of its own while this one goes on.
//!
//! Invariant: an increment's rows and rejects enter the output together, once; an increment that failed is tried again
//! from its beginning, with the keys as the table has them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use tokio::sync::mpsc;
use vitalake_lake::{ChangeReader, Increment, Seal};
use vitalake_runtime::error::{Classified, Retry};

use crate::error::{Error, Result};
use crate::run::derive::{Derive, judge};
use crate::run::progress::Counts;
use crate::run::rollup::wait_after;
use crate::run::seen::{Recovered, Seen};
use crate::run::{Job, Reader};

/// Epochs that may wait for their commit before the model waits for them.
const OPEN_EPOCHS_MAX: usize = 32;
/// How long rows that could not be written early are left before they are tried again.
const EARLY_AGAIN: Duration = Duration::from_secs(1);

/// Runs a model until it is stopped. Errors delay it; only a broken fatal rule or a model that cannot run ends it.
pub(crate) async fn run(job: Job, reader: Reader) {
    let mut stop = job.stop.clone();
    let mut attempts = 0;
    let task = loop {
        match Task::start(&job, reader.rejects_ahead).await {
            Ok(task) => break task,
            Err(error) if error.retry() == Retry::Later => {
                attempts += 1;
                tokio::select! {
                    () = job.failed(attempts, &error) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            Err(error) => return give_up(&job, &error),
        }
    };
    let (commits, sealed) = mpsc::channel(OPEN_EPOCHS_MAX);
    tokio::select! {
        outcome = commit_epochs(&job, reader.first_seal, sealed) => {
            if let Err(error) = outcome { give_up(&job, &error) }
        }
        () = write_early_forever(&job) => {}
        outcome = task.follow(&job, reader.changes, commits) => if let Err(error) = outcome { give_up(&job, &error) },
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Says loudly that a model has ended.
pub(crate) fn give_up(job: &Job, error: &Error) {
    if job.lake.is_lost() {
        // Another process does this work; everything here begins anew.
        return job.progress.failed(error);
    }
    tracing::error!(model = %job.model.dataset, error = %error, "the model has stopped; its table is not brought forward");
    job.progress.failed(error);
}

struct Task {
    derive: Derive,
    seen: Option<Seen>,
    recovered: Option<Recovered>,
    /// Whether the index may hold keys of rows that never entered the table.
    index_ahead: bool,
}

impl Task {
    async fn start(job: &Job, rejects_ahead: Option<i64>) -> Result<Self> {
        let derive = Derive::start(job).await?;
        let seen = Seen::read(job).await?;
        let recovered = Recovered::read(job, rejects_ahead).await?;
        Ok(Self { derive, seen, recovered, index_ahead: false })
    }

    async fn follow(
        mut self,
        job: &Job,
        mut reader: ChangeReader,
        commits: mpsc::Sender<(Arc<Seal>, Arc<Seal>)>,
    ) -> Result<()> {
        loop {
            let last = job.input.last_change();
            let increment = match reader.try_next() {
                Some(increment) => increment,
                None => {
                    job.progress.processed(last.0);
                    reader.next().await?
                }
            };
            self.process(job, &increment).await?;
            if let Some(seal) = increment.seal {
                let own = job.output.seal_anyway();
                if commits.send((seal, own)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Processes an increment, trying again until it succeeds or never can.
    async fn process(&mut self, job: &Job, increment: &Increment) -> Result<()> {
        if !increment.rows.is_empty() {
            self.step_until_done(job, &increment.rows, increment.version).await?;
        }
        for file in &increment.files {
            let mut attempts = 0;
            let rows = loop {
                match job.input.read_columns(file, self.derive.needed()).await {
                    Ok(rows) => break rows,
                    Err(error) => wait_after(job, &mut attempts, error.into()).await?,
                }
            };
            for batch in rows.chunks(1) {
                self.step_until_done(job, batch, increment.version).await?;
            }
        }
        Ok(())
    }

    async fn step_until_done(&mut self, job: &Job, rows: &[RecordBatch], version: Option<i64>) -> Result<()> {
        let mut attempts = 0;
        loop {
            match self.step(job, rows, version).await {
                Ok(counts) => {
                    job.progress.count(counts);
                    job.progress.ok();
                    break;
                }
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => {
                    attempts += 1;
                    job.failed(attempts, &error).await;
                }
            }
        }
        job.output.wait_for_room().await;
        Ok(())
    }

    async fn step(&mut self, job: &Job, rows: &[RecordBatch], version: Option<i64>) -> Result<Counts> {
        if self.index_ahead {
            // The old one ends first: both write to one folder.
            self.seen = None;
            self.seen = Seen::read(job).await?;
            self.index_ahead = false;
        }
        let mut counts = Counts::default();
        let checked = self.derive.check(job, rows, &mut counts).await?;
        self.index_ahead = self.seen.is_some();
        let made = match &mut self.seen {
            Some(seen) => judge(job, checked, Some(&mut |rows| seen.judge(rows)), &mut counts)?,
            None => judge(job, checked, None, &mut counts)?,
        };
        let rejects = self.not_yet_rejected(made.rejects, version)?;
        counts.rows_out = made.rows.iter().map(|b| b.num_rows() as u64).sum();
        counts.rows_rejected = rejects.iter().map(|b| b.num_rows() as u64).sum();
        job.output.append(made.rows, rejects, [])?;
        self.index_ahead = false;
        Ok(counts)
    }

    /// Leaves out rejects that were committed before a crash that came between quarantine's commit and the table's.
    fn not_yet_rejected(&mut self, rejects: Vec<RecordBatch>, version: Option<i64>) -> Result<Vec<RecordBatch>> {
        let Some(recovered) = self.recovered.as_mut().filter(|recovered| recovered.covers(version)) else {
            return Ok(rejects);
        };
        let kept = rejects.iter().map(|batch| {
            let missing = BooleanArray::from(recovered.missing(batch));
            filter_record_batch(batch, &missing)
                .map_err(|source| Error::Arrow { attempted: "taking new rejects", source })
        });
        kept.collect()
    }
}

/// Writes early what does not fit in memory, beside the steps: what is new is shown meanwhile.
async fn write_early_forever(job: &Job) {
    let mut moved = job.output.watch();
    loop {
        moved.borrow_and_update();
        match job.output.write_early().await {
            Ok(true) => {}
            Ok(false) => {
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Err(error) => {
                tracing::warn!(model = %job.model.dataset, error = %error, "rows could not be written early and stay in memory");
                tokio::time::sleep(EARLY_AGAIN).await;
            }
        }
    }
}

/// Commits what was made of each epoch once the input's version of it is known.
async fn commit_epochs(job: &Job, first_seal: u64, mut sealed: mpsc::Receiver<(Arc<Seal>, Arc<Seal>)>) -> Result<()> {
    while let Some((input, own)) = sealed.recv().await {
        let version = input.version().await;
        let mut attempts = 0;
        while let Err(error) = job.output.commit(&own, vec![(job.txn.clone(), version)]).await {
            wait_after(job, &mut attempts, error.into()).await?;
        }
        job.progress.committed(Job::seal_number(first_seal, &input), Some(version));
    }
    std::future::pending().await
}
