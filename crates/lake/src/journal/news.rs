//! What was added to a journal since a version, commit by commit, for who sends it on.
//!
//! The log is the record of what came when, also after files were joined. Invariant: a version's rows come in the same
//! order whenever they are read, so that a row has a number in it that stays.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt as _;

use super::Journal;
use crate::delta::{DataFile, DeltaError, TableVersion, VersionChanges};
use crate::error::LakeError;
use crate::parquet::read_file;
use crate::rejects::BATCH_ROWS;

/// What a journal has after a version.
#[derive(Debug, Default)]
pub struct News {
    /// The versions that brought rows, oldest first; at most as many as were asked for.
    pub versions: Vec<JournalVersion>,
    /// Up to where it was looked.
    pub through: u64,
    /// The newest version.
    pub newest: u64,
    /// How many versions are not in the log any longer.
    pub forgotten: u64,
}

/// A version that brought rows.
#[derive(Debug)]
pub struct JournalVersion {
    /// Its number.
    pub version: u64,
    /// When it was committed, milliseconds since 1970, where the commit says so.
    pub committed_ms: Option<i64>,
    /// Its rows, where the statistics say so.
    pub rows: Option<u64>,
    files: Vec<Arc<DataFile>>,
}

impl Journal {
    /// The id of its table: another one after it was made anew.
    #[must_use]
    pub fn table_id(&self) -> String {
        self.state.lock().head.metadata().id.clone()
    }

    /// The newest version that is known here, and so the last that others see.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.lock().head.version().0
    }

    /// What was committed after a version; looks at `most` versions at most. Rows that wait for their commit are not
    /// among it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn since(&self, version: u64, most: u64) -> Result<News, LakeError> {
        let newest = self.version();
        if version >= newest {
            return Ok(News { through: newest, newest, ..News::default() });
        }
        let through = |from: u64| newest.min(from.saturating_add(most));
        let after = |from: u64| self.log.changes(TableVersion(from), TableVersion(through(from)));
        let (from, changes) = match after(version).await {
            Err(DeltaError::HistoryCleaned { .. }) => {
                let from = self.first_there(version + 1, newest).await? - 1;
                (from, after(from).await)
            }
            found => (version, found),
        };
        let changes = changes.map_err(|source| self.failed("reading the log", source))?;
        let versions = changes.into_iter().filter(|change| !change.added.is_empty()).map(JournalVersion::of).collect();
        Ok(News { versions, through: through(from), newest, forgotten: from - version })
    }

    /// The rows of a version.
    ///
    /// # Errors
    /// When a file cannot be read, as one that is older than a day may not be.
    pub async fn rows_of(&self, version: &JournalVersion) -> Result<Vec<RecordBatch>, LakeError> {
        let failed = |source| LakeError::Parquet { attempt: "reading a file", table: self.id.clone(), source };
        let mut batches = Vec::new();
        for file in &version.files {
            let location = file.location(self.log.root());
            let rows = read_file(&self.shared.store, &location, file.size_bytes(), &self.schema, BATCH_ROWS).await;
            batches.extend(rows.map_err(failed)?.try_collect::<Vec<_>>().await.map_err(failed)?);
        }
        Ok(batches)
    }

    /// The first version from this one on whose commit is in the log: commits leave it oldest first.
    async fn first_there(&self, from: u64, newest: u64) -> Result<u64, LakeError> {
        if self.is_there(from).await? {
            return Ok(from);
        }
        let (mut gone, mut there) = (from, newest);
        while gone + 1 < there {
            let middle = gone + (there - gone) / 2;
            match self.is_there(middle).await? {
                true => there = middle,
                false => gone = middle,
            }
        }
        Ok(there)
    }

    async fn is_there(&self, version: u64) -> Result<bool, LakeError> {
        let found: Result<_, DeltaError> = self.log.read_commit(TableVersion(version)).await;
        Ok(found.map_err(|source| self.failed("reading the log", source))?.is_some())
    }
}

impl JournalVersion {
    fn of(change: VersionChanges) -> Self {
        let rows = change.added.iter().map(|file| file.rows).sum();
        Self { version: change.version.0, committed_ms: change.timestamp_ms, rows, files: change.added }
    }
}
