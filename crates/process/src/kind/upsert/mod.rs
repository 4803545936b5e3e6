//! The work of an upsert model: rows → events of an epoch, and for an epoch that has ended a commit to the state and one
//! to the table, of the ranges of keys that the events fall into.
//!
//! What is committed is what readers see: nothing is shown before. The state is committed first; the table names the
//! state's version that its rows follow from, and is brought up to it at start. Invariant: the table's rows of a range
//! are those that follow from the events that the state holds of it at that version.

mod epoch;
mod range;
mod replay;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use vitalake_contract::contract::BUSINESS_DATE;
use vitalake_lake::{DataFile, Increment, Overlay, Seal, StateTable};

use epoch::{Gathered, OpenEpoch};
use write::Prepared;

use crate::append::AppendPlan;
use crate::duplicates::RowHasher;
use crate::error::{Error, Result};
use crate::graph::Feeding;
use crate::kind::append::count;
use crate::kind::events::Rules;
use crate::kind::open::known_version;
use crate::kind::regroup::{files_at, unknown};
use crate::kind::rollup::of_this_input;
use crate::kind::seen::Recovered;
use crate::run::Job;
use crate::run::progress::Counts;
use crate::upsert::{Change, Merger, Range, UpsertShape};

/// Epochs that may wait for their commit before the model waits for them.
const OPEN_EPOCHS_MAX: usize = 32;

/// How many joined tables a snapshot may be as large as.
const SNAPSHOT_SHARES: usize = 4;

/// Events in memory before a part of an epoch is brought into the state.
fn rows_max(job: &Job) -> u64 {
    job.options.leaves.dirty_rows_max as u64
}

/// Their bytes, likewise: events may be wide.
fn bytes_max(job: &Job) -> usize {
    job.options.joined_bytes_max / 2
}

/// An upsert model at work.
pub(crate) struct UpsertWork {
    rules: Rules,
    merger: Arc<Merger>,
    hasher: RowHasher,
    /// The columns of the key alone, and what hashes them as `hasher` does.
    keys: (SchemaRef, RowHasher),
    state: StateTable,
    /// Rejects that a crash has left committed without what follows them.
    recovered: Option<Recovered>,
    gathered: Gathered,
    /// Epochs that have ended and are not committed, oldest first.
    open: VecDeque<OpenEpoch>,
    /// The input's version that the table was brought up to at start.
    brought_up_to: Option<i64>,
    first_seal: u64,
}

impl UpsertWork {
    pub(crate) async fn start(job: &Job, rejects_ahead: Option<i64>) -> Result<Self> {
        let plan = AppendPlan::compile_on(&job.on()?, &job.model, &job.contracts).await?;
        let contract = Arc::clone(job.output.contract());
        let shape = UpsertShape::of(&job.model, &contract, plan.schema(), job.feeding);
        let seed = crate::duplicates::random_seed();
        let state = job.lake.state_table(&job.output, Arc::clone(&shape.events), seed).await?;
        let hasher = RowHasher::with_seed(shape.key.clone(), Vec::new(), state.seed());
        let keys = keys_alone(&shape, state.seed())?;
        // Those of a task before this one come again.
        job.output.take_back_rejects().await;
        let recovered = Recovered::read(job, rejects_ahead).await?;
        let rules = Rules::new(plan, contract)?;
        let (gathered, open) = (Gathered::default(), VecDeque::new());
        let (merger, brought_up_to, first_seal) = (Arc::new(Merger::new(shape)?), None, 0);
        let mut work =
            Self { rules, merger, hasher, keys, state, recovered, gathered, open, brought_up_to, first_seal };
        work.catch_up(job).await?;
        Ok(work)
    }

    fn shape(&self) -> &UpsertShape {
        self.merger.shape()
    }

    /// Brings the table up to the state, which a crash may have left ahead, and makes its files anew where somebody else
    /// has written some.
    async fn catch_up(&mut self, job: &Job) -> Result<()> {
        of_this_input(job, self.state.head())?;
        let head = job.output.head();
        let version = self.state.head().txn(&job.txn);
        if version.is_none() && (head.txn(&job.txn).is_some() && head.file_count() > 0) {
            return Err(Error::StateGone { table: job.output.id().to_string() });
        }
        let (Some(version), seen) = (version, head.txn(self.state.txn())) else { return Ok(()) };
        let touched = match seen {
            _ if self.is_in_disorder(job) => None,
            None => None,
            Some(seen) if seen >= self.state.version() => return Ok(()),
            Some(seen) => self.state.ranges_since(seen).await?,
        };
        let touched: Option<Vec<Range>> =
            touched.map(|ranges| ranges.iter().filter_map(|range| Range::parse(range)).collect());
        let prepared = self.derived(job, touched.as_deref()).await?;
        tracing::info!(model = %job.model.dataset, version, "the table is brought up to its state");
        let version = version.max(head.txn(&job.txn).unwrap_or(version));
        self.commit_rows(job, prepared, version, None).await?;
        self.brought_up_to = Some(version);
        Ok(())
    }

    /// Whether the table has files that are not as this model writes them.
    fn is_in_disorder(&self, job: &Job) -> bool {
        let layout = self.layout();
        let is_ours = |file: &Arc<DataFile>| {
            let known = file.range().and_then(Range::parse).is_some_and(|range| !layout.get(range).is_empty());
            let nulls = file.stats().and_then(|stats| stats.null_count(crate::upsert::shape::VALID_FROM));
            known && !(self.shape().history && nulls.is_some() && nulls == file.rows)
        };
        job.output.head().files().any(|file| !is_ours(file))
    }

    /// Takes in what an increment brings, and takes back what it takes away.
    pub(crate) async fn take_increment(&mut self, job: &Job, increment: &Increment) -> Result<Counts> {
        let mut counts = Counts::default();
        if !increment.removed.is_empty() {
            match self.shape().feeding {
                Feeding::Whole => {
                    let has_rejects = self.gathered.has_rejects;
                    self.gathered = Gathered { whole: Some(Vec::new()), has_rejects, ..Gathered::default() };
                }
                // What only grows loses rows by an erasure alone.
                Feeding::Corrected | Feeding::Grows => {
                    for file in &increment.removed {
                        let rows = self.read(job, file).await?;
                        let events = self.rules.events_taken_back(self.merger.shape(), &rows).await?;
                        self.gather(events.into_iter().map(Change::Retract));
                        self.make_room(job).await?;
                    }
                    if self.shape().keeps_newest_alone() {
                        return self.take_all_again(job, increment, counts).await;
                    }
                }
            }
        }
        if !increment.rows.is_empty() {
            self.take_rows(job, &increment.rows, increment.version, &mut counts).await?;
        }
        for file in &increment.files {
            let rows = self.read(job, file).await?;
            self.take_rows(job, &rows, increment.version, &mut counts).await?;
            self.gathered.business_date = self.gathered.business_date.max(business_date(file));
        }
        Ok(counts)
    }

    /// Takes in everything that the input holds: of a key whose newest event is gone, the one before it was not kept.
    async fn take_all_again(&mut self, job: &Job, increment: &Increment, mut counts: Counts) -> Result<Counts> {
        let version = increment.version.ok_or_else(|| unknown("the version of a commit that took rows away"))?;
        for file in files_at(job, version).await? {
            let rows = self.read(job, &file).await?;
            // Those that were rejected are in quarantine since they came.
            let made = self.rules.events(job, self.merger.shape(), &rows, &mut counts).await?;
            self.gathered.rows += count(&made.events);
            self.gathered.changes.extend(made.events.into_iter().map(Change::Add));
            self.make_room(job).await?;
        }
        Ok(counts)
    }

    async fn read(&self, job: &Job, file: &DataFile) -> Result<Vec<RecordBatch>> {
        let mut attempts = 0;
        loop {
            match job.input.read_columns(file, self.rules.needed()).await {
                Ok(rows) => return Ok(rows),
                Err(error) => job.try_again(&mut attempts, error.into()).await?,
            }
        }
    }

    async fn take_rows(
        &mut self,
        job: &Job,
        rows: &[RecordBatch],
        version: Option<i64>,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut made = self.rules.events(job, self.merger.shape(), rows, counts).await?;
        if let Some(recovered) = &mut self.recovered {
            made.rejects = recovered.not_yet_rejected(made.rejects, version)?;
        }
        if !made.rejects.is_empty() {
            self.gathered.has_rejects = true;
            job.output.append(Vec::new(), made.rejects, [])?;
        }
        if self.shape().feeding == Feeding::Whole {
            self.gathered.rows += count(&made.events);
            let bytes = made.events.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            self.gathered.bytes += bytes;
            self.gathered.whole.get_or_insert_default().extend(made.events);
            self.gathered.rejected.extend(made.rejected);
            let (bytes, bytes_max) =
                (self.gathered.bytes, job.options.joined_bytes_max.saturating_mul(SNAPSHOT_SHARES));
            if bytes > bytes_max {
                let (dataset, input) = (job.model.dataset.clone(), job.input.contract().dataset.clone());
                return Err(Error::SnapshotTooLarge { dataset, input, bytes, bytes_max });
            }
        } else {
            self.gather(made.events.into_iter().map(Change::Add));
        }
        self.make_room(job).await
    }

    fn gather(&mut self, changes: impl Iterator<Item = Change>) {
        for change in changes {
            let (Change::Add(events) | Change::Retract(events)) = &change;
            self.gathered.rows += events.num_rows() as u64;
            self.gathered.bytes += events.get_array_memory_size();
            self.gathered.changes.push(change);
        }
    }

    /// Events of ended epochs that wait for their commit.
    fn waiting_rows(&self) -> u64 {
        self.open.iter().map(|epoch| epoch.gathered.rows).sum()
    }

    /// Brings a part of an epoch into the state, where its events are too many for memory. The table follows with the
    /// epoch's end.
    async fn make_room(&mut self, job: &Job) -> Result<()> {
        let (rows_max, bytes_max) = (rows_max(job), bytes_max(job));
        let waiting = self.open.iter().map(|epoch| epoch.gathered.bytes).sum::<usize>();
        let has_room =
            self.gathered.rows + self.waiting_rows() <= rows_max && self.gathered.bytes + waiting <= bytes_max;
        if has_room || self.shape().feeding == Feeding::Whole {
            return Ok(());
        }
        while let Some(epoch) = self.open.front() {
            let version = epoch.input.version().await;
            self.commit(job, version, self.first_seal).await?;
        }
        if self.gathered.rows <= rows_max / 2 && self.gathered.bytes <= bytes_max / 2 {
            return Ok(());
        }
        let portion = Gathered { changes: std::mem::take(&mut self.gathered.changes), ..Gathered::default() };
        (self.gathered.rows, self.gathered.bytes) = (0, 0);
        let mut attempts = 0;
        let mut prepared = loop {
            match self.prepare(job, &portion, None).await {
                Ok(prepared) => break prepared,
                Err(error) => job.commit_again(&mut attempts, error).await?,
            }
        };
        if prepared.state.ranges.is_empty() {
            return Ok(());
        }
        prepared.state.portion = true;
        while let Err(error) = self.state.commit(&prepared.state).await {
            job.commit_again(&mut attempts, error.into()).await?;
        }
        self.gathered.touched.extend(prepared.state.ranges.iter().filter_map(|range| Range::parse(range)));
        Ok(())
    }

    pub(crate) fn end_epoch(&mut self, job: &Job, input: Arc<Seal>) {
        let gathered = std::mem::take(&mut self.gathered);
        let rejects = gathered.has_rejects.then(|| job.output.seal_anyway());
        self.open.push_back(OpenEpoch { input, gathered, rejects });
    }

    /// Commits the oldest epochs whose input's version is known; waits for one where too many are open. Where it is
    /// behind and there is room, they wait for those that come: what several bring to a range is written once.
    pub(crate) async fn commit_known(&mut self, job: &Job, first_seal: u64, is_behind: bool) -> Result<()> {
        self.first_seal = first_seal;
        if is_behind && self.open.len() < OPEN_EPOCHS_MAX && self.waiting_rows() <= rows_max(job) / 2 {
            return Ok(());
        }
        if let Some(version) = self.brought_up_to.take()
            && job.input.head().version().0 == u64::try_from(version).unwrap_or(u64::MAX)
        {
            job.progress.committed(first_seal, Some(version));
        }
        while let Some(version) = known_version(self.oldest_open(), self.open.len() >= OPEN_EPOCHS_MAX).await {
            self.commit(job, version, first_seal).await?;
        }
        Ok(())
    }

    /// The end of the oldest epoch that waits for its commit.
    pub(crate) fn oldest_open(&self) -> Option<&Arc<Seal>> {
        self.open.front().map(|epoch| &epoch.input)
    }

    /// The oldest epoch that has ended, as that version of the input, with those after it that can be committed as one.
    fn oldest_as_one(&mut self, mut version: i64) -> Option<(OpenEpoch, i64)> {
        let mut epoch = self.open.pop_front()?;
        while let Some(later) =
            self.open.front().filter(|next| epoch.can_take(next)).and_then(|n| n.input.version_now())
        {
            let Some(next) = self.open.pop_front() else { break };
            epoch.take(next);
            version = later;
        }
        Some((epoch, version))
    }

    /// Commits the oldest epochs that have ended, the first of them as that version of the input: rejects, then events,
    /// then rows.
    async fn commit(&mut self, job: &Job, version: i64, first_seal: u64) -> Result<()> {
        let Some((epoch, version)) = self.oldest_as_one(version) else { return Ok(()) };
        let OpenEpoch { input, gathered, rejects } = epoch;
        let mut attempts = 0;
        let mut prepared = loop {
            match self.prepare(job, &gathered, Some(version)).await {
                Ok(prepared) => break prepared,
                Err(error) => job.commit_again(&mut attempts, error).await?,
            }
        };
        let txns = vec![(job.txn.clone(), version)];
        if let Some(seal) = &rejects {
            while let Err(error) = job.output.commit_rejects_first(seal, &txns).await {
                job.commit_again(&mut attempts, error.into()).await?;
            }
        }
        if !prepared.state.ranges.is_empty() || !gathered.touched.is_empty() {
            prepared.state.txns = txns.into_iter().collect();
            while let Err(error) = self.state.commit(&prepared.state).await {
                job.commit_again(&mut attempts, error.into()).await?;
            }
        }
        if !gathered.touched.is_empty() {
            let ranges = prepared.state.ranges.iter().filter_map(|range| Range::parse(range));
            let touched: Vec<Range> = gathered.touched.iter().copied().chain(ranges).collect();
            prepared = loop {
                match self.derived(job, Some(&touched)).await {
                    Ok(prepared) => break prepared,
                    Err(error) => job.commit_again(&mut attempts, error).await?,
                }
            };
        }
        self.commit_rows(job, prepared, version, rejects.as_ref()).await?;
        job.progress.ok();
        job.progress.committed(Job::seal_number(first_seal, &input), Some(version));
        if let Err(error) = self.state.maintain().await {
            tracing::warn!(model = %job.model.dataset, error = &error as &dyn std::error::Error, "the state is maintained later");
        }
        Ok(())
    }

    async fn commit_rows(
        &self,
        job: &Job,
        prepared: Prepared,
        version: i64,
        rejects: Option<&Arc<Seal>>,
    ) -> Result<()> {
        let Prepared { removes, adds, .. } = prepared;
        let txns = vec![(job.txn.clone(), version), (self.state.txn(), self.state.version())];
        let head = job.output.head();
        if removes.is_empty()
            && adds.is_empty()
            && rejects.is_none()
            && txns.iter().all(|(id, v)| head.txn(id) == Some(*v))
        {
            return Ok(());
        }
        let mut attempts = 0;
        let shown = Overlay::default;
        while let Err(error) = job.output.commit_replace(&removes, &adds, txns.clone(), rejects, shown).await {
            job.commit_again(&mut attempts, error.into()).await?;
        }
        Ok(())
    }
}

/// The columns of the key, in its order, and their hashes.
fn keys_alone(shape: &UpsertShape, seed: u64) -> Result<(SchemaRef, RowHasher)> {
    let schema = shape.events.project(&shape.key);
    let schema = schema.map_err(|source| Error::Arrow { attempted: "choosing the key", source })?;
    let key = (0..shape.key.len()).collect();
    Ok((Arc::new(schema), RowHasher::with_seed(key, Vec::new(), seed)))
}

/// The newest day for which a delivered file stands.
fn business_date(file: &DataFile) -> Option<i32> {
    match file.stats()?.max(BUSINESS_DATE, &DataType::Date32)? {
        ScalarValue::Date32(day) => day,
        _ => None,
    }
}
