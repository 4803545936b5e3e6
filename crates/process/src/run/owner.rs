//! The task of a model in the process that commits: increments of the input → the model's work → the output, and at the
//! end of each of the input's epochs a commit, which for an append model a task of its own makes meanwhile.
//!
//! What fails is tried again, longer and longer apart; what panics too, but for an append model between its steps: its
//! task waits until everything begins anew from the tables. What only a person can mend ends the task: the
//! model is `failed`, gives up its place in the input so that nothing is kept for it, and what it has made is committed
//! as far as that can be done. Invariant: an increment's rows enter the output once, whatever failed before.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::{FutureExt, StreamExt};
use tokio::sync::{MutexGuard, mpsc};
use vitalake_lake::{Account, ChangeReader, DataFile, Increment, Seal, TxnId, signed};
use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::events::{Event, Outcome};

use crate::error::{Error, Result};
use crate::kind::{EndedEpoch, Process, Rows, Work, count, write_beside};
use crate::replay::Request;
use crate::run::gather::Gathered;
use crate::run::progress::Counts;
use crate::run::{Job, Reader};

/// Epochs that may wait for their commit before the model waits for them.
const OPEN_EPOCHS_MAX: usize = 32;
/// Files of the input whose rows are in memory at once.
const FILES_AHEAD_MAX: usize = 2;

/// Runs a model until it is stopped. `reader` is its place in the input, where it could be taken already.
pub(crate) async fn run(job: Job, reader: Option<Reader>) {
    let mut stop = job.stop.clone();
    tokio::select! {
        () = supervise(&job, reader) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Begins again, from the table, after what may pass; ends with what a person must mend.
async fn supervise(job: &Job, mut reader: Option<Reader>) {
    let mut attempts = 0;
    loop {
        // Rows of an append model that are in the output's tail cannot be told from those that a new task would make.
        let restarts = AtomicBool::new(true);
        let outcome = AssertUnwindSafe(live(job, reader.take(), &restarts)).catch_unwind().await;
        let error = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => Error::Panicked { model: job.model.dataset.clone(), attempted: "its task" },
        };
        if error.retry() != Retry::Never && !restarts.load(Ordering::Relaxed) {
            return break_down(job, &error).await;
        }
        if let Err(error) = job.try_again(&mut attempts, error).await {
            return give_up(job, &error);
        }
    }
}

/// Asks for a new start of everything, and waits for it.
async fn break_down(job: &Job, error: &Error) {
    job.progress.stalled(error);
    tracing::error!(model = %job.model.dataset, error = %error, "the model has broken down: everything begins anew from the tables");
    job.broken.send_replace(true);
    std::future::pending().await
}

/// Says loudly that a model has ended.
fn give_up(job: &Job, error: &Error) {
    job.progress.failed(error);
    // Another process does this work, or the lake is closed: everything here begins anew.
    if !job.lake.has_lost_lease() && !job.lake.is_closed() {
        tracing::error!(model = %job.model.dataset, error = %error, "the model has failed; its table is not brought forward until that is mended");
    }
}

/// Works from what the table says until something fails that cannot be tried again at its place.
async fn live(job: &Job, reader: Option<Reader>, restarts: &AtomicBool) -> Result<()> {
    let Reader { changes, first_seal, rejects_ahead } = match reader {
        Some(reader) => reader,
        None => job.reader().await?,
    };
    let work = Work::start(job, Process::Owner { rejects_ahead }).await?;
    restarts.store(work.begins_again_from_its_table(), Ordering::Relaxed);
    let (ended, to_commit) = mpsc::channel(OPEN_EPOCHS_MAX);
    let mut committing = std::pin::pin!(commit_epochs(job, first_seal, to_commit));
    let owner = Owner { work, changes, gathered: Gathered::default(), first_seal, ended };
    let outcome = tokio::select! {
        outcome = owner.follow(job) => outcome,
        () = &mut committing => Ok(()),
        () = write_beside(job) => Ok(()),
    };
    if let Err(error) = &outcome
        && error.retry() == Retry::Never
    {
        give_up(job, error);
        // What was made before is right, and others wait for the versions that it becomes.
        committing.await;
    }
    outcome
}

struct Owner {
    work: Work,
    changes: ChangeReader,
    /// What has come and waits for the end of its epoch.
    gathered: Gathered,
    first_seal: u64,
    ended: mpsc::Sender<EndedEpoch>,
}

impl Owner {
    async fn follow(mut self, job: &Job) -> Result<()> {
        let mut replays = job.replays.lock().await;
        // Whether nothing was taken in since the last epoch ended.
        let mut between_epochs = true;
        loop {
            if between_epochs && self.work.joined_has_moved() {
                self.follow_joined(job, &mut replays).await?;
            }
            if self.may_replay(between_epochs)
                && let Ok(request) = replays.try_recv()
            {
                self.replay(job, request, between_epochs).await?;
            }
            self.work.commit_known(job, self.first_seal, self.changes.is_behind()).await?;
            let Some(increment) = self.next(job, &mut replays, between_epochs).await? else { continue };
            if !between_epochs && !increment.removed.is_empty() && !self.end_before(job, &increment).await? {
                return Ok(());
            }
            self.process(job, &increment, &mut replays).await?;
            let was_between = !increment.removed.is_empty() || (between_epochs && increment.is_empty());
            between_epochs = increment.seal.is_some() || was_between;
            let Some(seal) = increment.seal else { continue };
            if was_between && self.is_committed(job, &seal) {
                job.progress.ok();
                job.progress.committed(Job::seal_number(self.first_seal, &seal), seal.version_now());
                continue;
            }
            if let Some(epoch) = self.work.end_epoch(job, seal)?
                && self.ended.send(epoch).await.is_err()
            {
                return Ok(());
            }
        }
    }

    /// What is to be processed next; `None` where there is something else to do before.
    async fn next(
        &mut self,
        job: &Job,
        replays: &mut mpsc::Receiver<Request>,
        between_epochs: bool,
    ) -> Result<Option<Increment>> {
        if let Some(increment) = self.gathered.ripe() {
            return Ok(Some(increment));
        }
        let last = job.input.last_change();
        let increment = match self.changes.try_next() {
            Some(increment) => increment,
            // Who waits for the backlog waits for its rows.
            None if !self.gathered.is_empty() && !job.progress.has_begun() => return Ok(self.gathered.take()),
            None => {
                match self.gathered.is_empty() {
                    true => job.progress.processed(last.0),
                    false => job.progress.reached(last.0),
                }
                tokio::select! {
                    increment = self.changes.next() => increment?,
                    () = self.work.knows_a_version() => return Ok(None),
                    () = self.work.joined_moves(), if between_epochs => return Ok(None),
                    Some(request) = replays.recv(), if self.may_replay(between_epochs) => {
                        self.replay(job, request, between_epochs).await?;
                        return Ok(None);
                    }
                }
            }
        };
        if !job.gathers() {
            return Ok(Some(increment));
        }
        self.gathered.push(increment);
        Ok(self.gathered.ripe())
    }

    /// Ends the epoch of the output before a commit of the input that takes rows away: whatever came before is in the
    /// version before it. Says whether it will be committed.
    async fn end_before(&mut self, job: &Job, increment: &Increment) -> Result<bool> {
        let version = increment.version.filter(|_| self.work.corrects_between_epochs());
        let Some(version) = version else { return Ok(true) };
        let seal = Arc::new(Seal::committed(0, increment.through, version - 1));
        match self.work.end_epoch(job, seal)? {
            Some(epoch) => Ok(self.ended.send(epoch).await.is_ok()),
            None => Ok(true),
        }
    }

    /// Whether a seal ends what a correction of the output says already.
    fn is_committed(&self, job: &Job, seal: &Seal) -> bool {
        let version = seal.version_now();
        version.is_some() && version == job.output.committed_txn(&job.txn) && job.output.is_at_rest()
    }

    /// Makes again what joined tables explain that have changed.
    async fn follow_joined(&mut self, job: &Job, replays: &mut mpsc::Receiver<Request>) -> Result<()> {
        let _undisturbed = self.undisturbed(job, replays).await?;
        let mut attempts = 0;
        loop {
            let mut counts = Counts::default();
            match self.work.follow_joined(job, &mut counts).await {
                Ok(()) => {
                    job.progress.count(counts);
                    job.progress.ok();
                    return Ok(());
                }
                Err(error) => job.try_again(&mut attempts, error).await?,
            }
        }
    }

    /// The turn to take rejects out of quarantine. Whoever has it and waits for a replay of its own is served first.
    async fn undisturbed<'a>(
        &mut self,
        job: &'a Job,
        replays: &mut mpsc::Receiver<Request>,
    ) -> Result<MutexGuard<'a, ()>> {
        loop {
            let request = tokio::select! {
                turn = job.output.turn_to_take_back() => return Ok(turn),
                Some(request) = replays.recv() => request,
            };
            self.replay(job, request, false).await?;
        }
    }

    /// Whether rejects can be put through now: rows of some kinds are of all that an epoch holds.
    fn may_replay(&self, between_epochs: bool) -> bool {
        between_epochs || self.work.replays_at_any_time()
    }

    /// Puts a portion of quarantine through. Whoever asked is told of a failure; the work goes on from what the table has.
    ///
    /// # Errors
    /// When the work has to begin again from its table for that.
    async fn replay(&mut self, job: &Job, request: Request, between_epochs: bool) -> Result<()> {
        let dataset = || job.model.dataset.clone();
        if !self.may_replay(between_epochs) {
            let why = "its model takes in a change of its input just now; try again in a moment";
            let _ = request.answer.send(Err(Error::NoReplay { dataset: dataset(), why }));
            return Ok(());
        }
        let came = AssertUnwindSafe(self.work.replay(job, &request, self.first_seal)).catch_unwind().await;
        let panicked = || Error::Panicked { model: dataset(), attempted: "replaying rejects" };
        let _ = request.answer.send(came.unwrap_or_else(|_| Err(panicked())));
        if self.work.must_begin_again() { Err(Error::Moved { dataset: dataset() }) } else { Ok(()) }
    }

    async fn process(&mut self, job: &Job, increment: &Increment, replays: &mut mpsc::Receiver<Request>) -> Result<()> {
        let (version, started) = (increment.version, Instant::now());
        if let Some(taken) = self.work.take_increment(job, increment).await {
            tell(job, &taken, started.elapsed());
            job.progress.count(taken?);
            return Ok(());
        }
        if !increment.removed.is_empty() {
            return self.take_back(job, increment, replays).await;
        }
        if !increment.rows.is_empty() {
            self.step_until_done(job, Rows { batches: &increment.rows, version }).await?;
        }
        let needed = self.work.needed().to_vec();
        let read = |file: Arc<DataFile>| read_until_done(job, file, &needed);
        // The next file is read while the rows of one are processed.
        let mut files = futures::stream::iter(increment.files.clone()).map(read).buffered(FILES_AHEAD_MAX);
        while let Some(read) = files.next().await {
            let (file, rows) = read?;
            let at_once = if job.gathers() { rows.len().max(1) } else { 1 };
            for batches in rows.chunks(at_once) {
                self.step_until_done(job, Rows { batches, version }).await?;
            }
            self.account_for(job, &file, &rows);
        }
        Ok(())
    }

    /// Takes in a commit that took rows away.
    async fn take_back(
        &mut self,
        job: &Job,
        increment: &Increment,
        replays: &mut mpsc::Receiver<Request>,
    ) -> Result<()> {
        let _undisturbed = self.undisturbed(job, replays).await?;
        let mut attempts = 0;
        loop {
            self.work.commit_known(job, self.first_seal, false).await?;
            let started = Instant::now();
            let mut counts = Counts::default();
            let step = AssertUnwindSafe(self.work.take_back(job, increment, &mut counts)).catch_unwind().await;
            let panicked = || Error::Panicked { model: job.model.dataset.clone(), attempted: "taking rows back" };
            let step = step.unwrap_or_else(|_| Err(panicked())).map(|()| counts);
            tell(job, &step, started.elapsed());
            if self.is_done(job, step, &mut attempts).await? {
                return Ok(());
            }
        }
    }

    /// Rows that a file of the input holds and that reading it did not give are missing in the books.
    fn account_for(&self, job: &Job, file: &DataFile, rows: &[RecordBatch]) {
        let read = count(rows);
        if let Some(held) = file.rows.filter(|held| *held != read) {
            job.output.take_into_account(Account { offered: signed(held) - signed(read), ..Account::default() });
        }
    }

    /// Processes rows, trying again until it succeeds or that cannot help.
    async fn step_until_done(&mut self, job: &Job, rows: Rows<'_>) -> Result<()> {
        let mut attempts = 0;
        loop {
            let started = Instant::now();
            let step = AssertUnwindSafe(self.step(job, rows)).catch_unwind().await;
            let panicked = || Error::Panicked { model: job.model.dataset.clone(), attempted: "processing rows" };
            let step = step.unwrap_or_else(|_| Err(panicked()));
            tell(job, &step, started.elapsed());
            if self.is_done(job, step, &mut attempts).await? {
                return Ok(());
            }
        }
    }

    /// Whether a step need not be made again; waits where it must be, and may succeed then.
    async fn is_done(&mut self, job: &Job, step: Result<Counts>, attempts: &mut u32) -> Result<bool> {
        match step {
            Ok(counts) => {
                job.progress.count(counts);
                job.progress.ok();
                self.work.make_room(job).await.map(|()| true)
            }
            Err(error) if self.work.must_begin_again() => Err(error),
            Err(error) => job.try_again(attempts, error).await.map(|()| false),
        }
    }

    async fn step(&mut self, job: &Job, rows: Rows<'_>) -> Result<Counts> {
        let mut counts = Counts::default();
        let made = self.work.take_in(job, &job.output.head(), rows, &mut counts).await?;
        self.work.publish(job, made)?;
        Ok(counts)
    }
}

/// The rows of a file of the input, read again until that succeeds or cannot help.
async fn read_until_done(
    job: &Job,
    file: Arc<DataFile>,
    columns: &[String],
) -> Result<(Arc<DataFile>, Vec<RecordBatch>)> {
    let mut attempts = 0;
    loop {
        match job.input.read_columns(&file, columns).await {
            Ok(rows) => return Ok((file, rows)),
            Err(error) => job.try_again(&mut attempts, error.into()).await?,
        }
    }
}

fn tell(job: &Job, step: &Result<Counts>, took: Duration) {
    let outcome = match step {
        Ok(_) => Outcome::Done,
        Err(error) if error.retry() == Retry::Later => Outcome::Retried,
        Err(_) => Outcome::Failed,
    };
    let (rows_in, rows_out) = step.as_ref().map_or((0, 0), |counts| (counts.rows_in, counts.rows_out));
    let dataset = job.model.dataset.as_str().into();
    let error = step.as_ref().err().map(|error| error.class().as_str());
    job.options.events.send(Event::Run { dataset, outcome, rows_in, rows_out, error, took });
}

/// Commits what was made of each epoch once the input's version of it is known; ends when no more are to come.
async fn commit_epochs(job: &Job, first_seal: u64, mut ended: mpsc::Receiver<EndedEpoch>) {
    while let Some(EndedEpoch { input, own, joined }) = ended.recv().await {
        let version = input.version().await;
        let joined = joined.iter().map(|(table_id, version)| (TxnId::model(&job.model.dataset, table_id), *version));
        let txns: Vec<(TxnId, i64)> = joined.chain([(job.txn.clone(), version)]).collect();
        let mut attempts = 0;
        while let Err(error) = job.output.commit(&own, txns.clone()).await {
            if let Err(error) = job.commit_again(&mut attempts, error.into()).await {
                return give_up(job, &error);
            }
        }
        job.progress.committed(Job::seal_number(first_seal, &input), Some(version));
    }
}
