//! The work of an append model: plan → rules → primary key → the output's tail.
//!
//! Invariant: rows and rejects of one step enter the output together, once; a step that failed is made again from its
//! beginning, with the keys as the table has them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use vitalake_lake::{Account, Newer, Seal, signed};

use crate::duplicates::KeysBeside;
use crate::error::Result;
use crate::kind::derive::{Derive, judge};
use crate::kind::seen::{Recovered, Seen};
use crate::kind::{EndedEpoch, Made, Process, Rows};
use crate::run::Job;
use crate::run::progress::Counts;

/// How long rows that could not be written early are left before they are tried again.
const EARLY_AGAIN: Duration = Duration::from_secs(1);

/// An append model at work.
pub(crate) struct AppendWork {
    pub(super) derive: Derive,
    pub(super) keys: Keys,
    /// Rejects that a crash has left committed without the rows beside them.
    recovered: Option<Recovered>,
    /// Whether the keys may be those of rows that never entered the table.
    pub(super) keys_ahead: bool,
}

/// The keys of the table; a contract may have none.
pub(super) enum Keys {
    /// All of them, those of uncommitted rows among them.
    Owned(Option<Seen>),
    /// Those of the head, and apart those of what is shown after it.
    Beside(Option<Seen>, KeysBeside),
}

impl AppendWork {
    pub(crate) async fn start(job: &Job, process: Process) -> Result<Self> {
        let derive = Derive::start(job).await?;
        let seen = Seen::read(job).await?;
        let (keys, recovered) = match process {
            Process::Owner { rejects_ahead } => (Keys::Owned(seen), Recovered::read(job, rejects_ahead).await?),
            Process::Replica => (Keys::Beside(seen, KeysBeside::default()), None),
        };
        Ok(Self { derive, keys, recovered, keys_ahead: false })
    }

    pub(crate) fn needed(&self) -> &[String] {
        self.derive.needed()
    }

    pub(crate) async fn begin(&mut self, job: &Job, newer: Option<&Newer>) -> Result<()> {
        let Keys::Beside(seen, beside) = &mut self.keys else { return Ok(()) };
        beside.clear();
        if let Some(seen) = seen {
            for file in newer.into_iter().flat_map(Newer::added) {
                seen.add(job, file).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn take_in(&mut self, job: &Job, rows: Rows<'_>, counts: &mut Counts) -> Result<Made> {
        self.read_keys_again(job).await?;
        let before = *counts;
        let checked = self.derive.check(job, rows.batches, counts).await?;
        self.keys_ahead = true;
        let mut made = match &mut self.keys {
            Keys::Owned(Some(seen)) => judge(job, checked, Some(&mut |rows| seen.judge(rows)), counts)?,
            Keys::Beside(Some(seen), beside) => {
                judge(job, checked, Some(&mut |rows| seen.judge_beside(beside, rows)), counts)?
            }
            Keys::Owned(None) | Keys::Beside(None, _) => judge(job, checked, None, counts)?,
        };
        let rejected = count(&made.rejects);
        if let Some(recovered) = &mut self.recovered {
            made.rejects = recovered.not_yet_rejected(made.rejects, rows.version)?;
        }
        made.account = Account {
            offered: signed(count(rows.batches)),
            duplicates: signed(counts.duplicates - before.duplicates),
            filtered: counts.filtered - before.filtered,
            quarantined_before: signed(rejected - count(&made.rejects)),
            erased: 0,
        };
        counts.rows_out += count(&made.rows);
        counts.rows_rejected += count(&made.rejects);
        Ok(made)
    }

    /// Reads the keys of the table anew where they may be ahead of it.
    pub(super) async fn read_keys_again(&mut self, job: &Job) -> Result<()> {
        if self.keys_ahead
            && let Keys::Owned(seen) = &mut self.keys
        {
            // The old one ends first: both write to one folder.
            *seen = None;
            *seen = Seen::read(job).await?;
            self.keys_ahead = false;
        }
        Ok(())
    }

    pub(crate) fn publish(&mut self, job: &Job, made: Made) -> Result<()> {
        job.output.append_accounted(made.rows, made.rejects, [], made.account)?;
        self.keys_ahead = false;
        Ok(())
    }

    pub(crate) fn end_epoch(&self, job: &Job, input: Arc<Seal>) -> EndedEpoch {
        EndedEpoch { input, own: job.output.seal_anyway(), joined: self.derive.joined_versions() }
    }
}

/// Writes early what does not fit in memory, beside the steps: what is new is shown meanwhile.
pub(crate) async fn write_early_forever(job: &Job) {
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

pub(crate) fn count(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}
