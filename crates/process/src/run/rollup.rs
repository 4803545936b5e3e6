//! The task of a rollup model: increments of the input → partial groups → leaves → the overlay that readers see, and at
//! the end of each of the input's epochs a commit that rewrites the leaves that changed.
//!
//! One task does both, so that what is shown and what is committed never disagree. Invariant: the overlay and the head
//! are of the same moment of the leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{ChangeReader, DataFile, FilePath, Increment, Overlay, Seal};
use vitalake_runtime::error::{Classified, Retry};

use crate::error::{Error, Result};
use crate::rollup::{HeadLeaf, Leaves, RollupPlan, Sealed, Shown, TimeRange};
use crate::run::append::give_up;
use crate::run::progress::Counts;
use crate::run::{Job, Reader};

/// Epochs that may wait for their commit before the model waits for them.
const OPEN_EPOCHS_MAX: usize = 32;

/// Runs a model until it is stopped. What fails before anything was merged is tried again; a merge that fails, which
/// memory in order does not do, ends the model until the next start.
pub(crate) async fn run(job: Job, reader: Reader) {
    let mut stop = job.stop.clone();
    let working = async {
        let plan = RollupPlan::compile(&job.model, &job.contracts).await?;
        let leaves = Leaves::new(&plan, job.options.leaves, head_leaves(&job.output.head(), &plan))?;
        let Reader { changes, first_seal, .. } = reader;
        Task { plan, leaves, reader: changes, first_seal, open: VecDeque::new(), aside: HashMap::new() }
            .follow(&job)
            .await
    };
    tokio::select! {
        outcome = working => if let Err(error) = outcome { give_up(&job, &error) },
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

struct Task {
    plan: RollupPlan,
    leaves: Leaves,
    reader: ChangeReader,
    first_seal: u64,
    /// Epochs that have ended and are not committed, oldest first.
    open: VecDeque<(Arc<Seal>, Sealed)>,
    /// Files of leaves that were set aside, until a commit names them or nothing does any longer.
    aside: HashMap<String, Arc<DataFile>>,
}

impl Task {
    async fn follow(mut self, job: &Job) -> Result<()> {
        loop {
            while let Some((seal, _)) = self.open.front() {
                let full = self.open.len() >= OPEN_EPOCHS_MAX || self.leaves.is_full();
                match seal.version_now() {
                    Some(version) => self.commit(job, version).await?,
                    None if full => drop(seal.version().await),
                    None => break,
                }
            }
            let last = job.input.last_change();
            let increment = match self.reader.try_next() {
                Some(increment) => increment,
                None => {
                    job.progress.processed(last.0);
                    let committed = self.open.front().map(|(seal, _)| Arc::clone(seal));
                    tokio::select! {
                        increment = self.reader.next() => increment?,
                        () = known(committed) => continue,
                    }
                }
            };
            self.process(job, increment).await?;
        }
    }

    async fn process(&mut self, job: &Job, increment: Increment) -> Result<()> {
        if !increment.rows.is_empty() {
            self.step(job, &increment.rows).await?;
        }
        for file in &increment.files {
            let mut attempts = 0;
            let rows = loop {
                match job.input.read_columns(file, self.plan.needed()).await {
                    Ok(rows) => break rows,
                    Err(error) => wait_after(job, &mut attempts, error.into()).await?,
                }
            };
            self.step(job, &rows).await?;
        }
        if let Some(seal) = increment.seal {
            let sealed = self.leaves.seal()?;
            self.open.push_back((seal, sealed));
        }
        Ok(())
    }

    async fn step(&mut self, job: &Job, rows: &[RecordBatch]) -> Result<()> {
        let mut attempts = 0;
        let partial = loop {
            match self.plan.partial(rows).await {
                Ok(partial) => break partial,
                Err(error) => wait_after(job, &mut attempts, error).await?,
            }
        };
        for (leaf, paths) in self.leaves.missing(&partial)? {
            let held = loop {
                match held_rows(job, &paths, &self.aside).await {
                    Ok(held) => break held,
                    Err(error) => wait_after(job, &mut attempts, error).await?,
                }
            };
            self.leaves.load(leaf, &held)?;
        }
        self.leaves.apply(&partial)?;
        let shown = self.leaves.overlay()?;
        job.output.publish_overlay(overlay(shown, &self.aside));
        if self.leaves.is_full() && self.open.is_empty() {
            self.set_aside(job).await?;
        }
        let count = |batches: &[RecordBatch]| batches.iter().map(|b| b.num_rows() as u64).sum();
        job.progress.count(Counts { rows_in: count(rows), rows_out: count(&partial), ..Counts::default() });
        job.progress.ok();
        Ok(())
    }

    /// Writes leaves to files that no commit names yet: an epoch may change more groups than memory has room for.
    async fn set_aside(&mut self, job: &Job) -> Result<()> {
        for (leaf, rows) in self.leaves.to_set_aside()? {
            let mut attempts = 0;
            let files = loop {
                match job.output.write_rows(rows.clone()).await {
                    Ok(files) => break files,
                    Err(error) => wait_after(job, &mut attempts, error.into()).await?,
                }
            };
            // A leaf's rows are one file, and a leaf without rows stays where it is.
            if let [file] = files.as_slice() {
                self.leaves.set_aside(leaf, file.path().to_string());
                self.aside.insert(file.path().to_string(), Arc::clone(file));
            }
        }
        let shown = self.leaves.overlay()?;
        self.aside.retain(|path, _| shown.aside.contains(path));
        job.output.publish_overlay(overlay(shown, &self.aside));
        Ok(())
    }

    /// Commits the oldest epoch that has ended, as that version of the input.
    async fn commit(&mut self, job: &Job, version: i64) -> Result<()> {
        let Some((seal, sealed)) = self.open.pop_front() else { return Ok(()) };
        let removes: Vec<FilePath> = self.leaves.removes(&sealed).iter().map(|path| FilePath::of_store(path)).collect();
        let head = job.output.head();
        if let Some(path) = removes.iter().find(|path| head.file(path).is_none()) {
            // Something else rewrote the table. To go on would count its rows twice.
            job.output.give_way();
            return Err(gone(path.as_str()));
        }
        let mut attempts = 0;
        let files = loop {
            match written(job, &sealed).await {
                Ok(files) => break files,
                Err(error) => wait_after(job, &mut attempts, error).await?,
            }
        };
        let paths: Vec<String> = files.iter().map(|file| file.path().to_string()).collect();
        let files: Vec<_> =
            files.into_iter().chain(sealed.aside().filter_map(|p| self.aside.get(p)).cloned()).collect();
        loop {
            let (leaves, aside) = (&mut self.leaves, &self.aside);
            let mut shown = Ok(());
            let txns = vec![(job.txn.clone(), version)];
            let committing = job.output.commit_replace(&removes, &files, txns, || {
                leaves.committed(&sealed, &paths);
                match leaves.overlay() {
                    Ok(now) => overlay(now, aside),
                    Err(error) => {
                        shown = Err(error);
                        Overlay::default()
                    }
                }
            });
            match committing.await {
                Ok(_) => {
                    shown?;
                    break;
                }
                Err(error) => wait_after(job, &mut attempts, error.into()).await?,
            }
        }
        job.progress.ok();
        job.progress.committed(Job::seal_number(self.first_seal, &seal), Some(version));
        Ok(())
    }
}

/// The sealed leaves as files that no commit names yet.
async fn written(job: &Job, sealed: &Sealed) -> Result<Vec<Arc<DataFile>>> {
    let mut files = Vec::with_capacity(sealed.adds.len());
    for leaf in &sealed.adds {
        files.extend(job.output.write_rows(leaf.clone()).await?);
    }
    Ok(files)
}

/// Waits after an error that may pass; gives back one that cannot.
pub(crate) async fn wait_after(job: &Job, attempts: &mut u32, error: Error) -> Result<()> {
    if error.retry() == Retry::Never {
        return Err(error);
    }
    *attempts += 1;
    job.failed(*attempts, &error).await;
    Ok(())
}

fn gone(path: &str) -> Error {
    let detail = format!("file {path} is not in its table any longer; only the model itself may rewrite it");
    Error::Columns { what: "a leaf of the rollup".to_owned(), detail }
}

/// The rows of some leaves: of files that were set aside, and of the table's.
async fn held_rows(job: &Job, paths: &[String], aside: &HashMap<String, Arc<DataFile>>) -> Result<Vec<RecordBatch>> {
    let (set_aside, of_head): (Vec<&String>, Vec<&String>) = paths.iter().partition(|path| aside.contains_key(*path));
    let mut held = Vec::new();
    for file in set_aside.iter().filter_map(|path| aside.get(*path)) {
        held.extend(job.output.read_file(file).await?);
    }
    let read = rows_of(job, &job.output.head(), &of_head).await;
    if let Err(Error::Columns { .. }) = &read {
        job.output.give_way();
    }
    held.extend(read?);
    Ok(held)
}

/// The rows of some of a version's files.
pub(crate) async fn rows_of(job: &Job, head: &Snapshot, paths: &[impl AsRef<str>]) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let file = head.file(&FilePath::of_store(path)).ok_or_else(|| gone(path))?;
        rows.extend(job.output.read_file(file).await?);
    }
    Ok(rows)
}

/// Waits for a seal's version; for ever where there is no seal.
async fn known(seal: Option<Arc<Seal>>) {
    match seal {
        Some(seal) => drop(seal.version().await),
        None => std::future::pending().await,
    }
}

pub(crate) fn overlay(shown: Shown, aside: &HashMap<String, Arc<DataFile>>) -> Overlay {
    let early = shown.aside.iter().filter_map(|path| aside.get(path)).cloned().collect();
    let hidden = shown.hidden.iter().map(|path| FilePath::of_store(path)).collect();
    Overlay { hidden: Arc::new(hidden), early, rows: shown.rows }
}

/// The table's files as leaves, by the statistics of the time column.
pub(crate) fn head_leaves(head: &Snapshot, plan: &RollupPlan) -> Vec<HeadLeaf> {
    let (name, kind) = plan.shape().time_column();
    head.files()
        .map(|file| {
            let rows = file.rows.unwrap_or(0);
            let stats = file.stats();
            let bound = |value: Option<ScalarValue>| value.as_ref().and_then(time_value);
            let range: TimeRange = match stats {
                Some(stats) => match (bound(stats.min(name, kind)), bound(stats.max(name, kind))) {
                    (Some(from), Some(to)) => Some((from, to)),
                    _ if stats.null_count(name) == Some(rows) => None,
                    _ => Some((i64::MIN, i64::MAX)),
                },
                None => Some((i64::MIN, i64::MAX)),
            };
            HeadLeaf { path: file.path().to_string(), rows: usize::try_from(rows).unwrap_or(usize::MAX), range }
        })
        .collect()
}

fn time_value(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Date32(days) => days.map(i64::from),
        ScalarValue::TimestampMicrosecond(time, _) => time.map(|t| t.div_euclid(1000)),
        _ => None,
    }
}
