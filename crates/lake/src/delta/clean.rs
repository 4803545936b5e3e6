//! Cleaning the log: commits and checkpoints that nothing needs any more.
//!
//! A checkpoint is kept, everything before it goes, oldest first, so that a crash in between leaves no gap. Invariant:
//! the newest version stays loadable at every moment, and no version that a caller still needs loses its commit file.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::log::{LogFile, newest_checkpoint};
use super::{DeltaError, DeltaLog, TableVersion};

/// What may be cleaned.
#[derive(Clone, Copy, Debug)]
pub struct CleanOptions {
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// Files younger than this stay.
    pub retention_ms: i64,
    /// The oldest version whose commit file a reader of increments still needs.
    pub keep_from: TableVersion,
}

/// What was cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Files removed.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl DeltaLog {
    /// Removes log files before the newest checkpoint that the options allow.
    pub async fn clean_log(&self, options: CleanOptions) -> Result<Cleaned, DeltaError> {
        let entries = self.entries_from(None).await?;
        let cutoff_ms = options.now_ms.saturating_sub(options.retention_ms);
        let young = entries.iter().filter(|entry| entry.meta.last_modified.timestamp_millis() >= cutoff_ms);
        let oldest_young = young.map(|entry| entry.version).min();
        let limit = oldest_young.map_or(options.keep_from, |version| version.min(options.keep_from));
        let end = entries.partition_point(|entry| entry.version <= limit);
        let Some(checkpoint) = newest_checkpoint(entries.get(..end).unwrap_or_default()) else {
            return Ok(Cleaned::default());
        };
        let old = entries.iter().take_while(|entry| entry.version < checkpoint);
        // Checkpoints go first: one whose commits are gone in part is never the only way to load an older version.
        let (commits, checkpoints): (Vec<_>, Vec<_>) = old.partition(|entry| entry.file == LogFile::Commit);
        let mut cleaned = Cleaned::default();
        for entry in checkpoints.into_iter().chain(commits) {
            self.delete(&entry.meta.location).await?;
            cleaned.files += 1;
            cleaned.bytes += entry.meta.size;
        }
        Ok(cleaned)
    }

    /// Removes one object; one that is gone already is no error.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), DeltaError> {
        let one = futures::stream::iter([Ok(path.clone())]).boxed();
        match self.store.delete_stream(one).try_collect::<Vec<_>>().await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(DeltaError::store("remove", path, source)),
        }
    }
}
