//! Vacuum: data files that the table does not name any more.
//!
//! A file stays while it is live, while its tombstone is younger than the retention, while it is young (a flush may be
//! about to name it) and while the caller protects it. Folders and files whose names begin with `_` or `.` are never
//! looked at. Invariant: no file of the newest version, and none that a reader within the retention may read, is
//! removed.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::{DeltaError, DeltaLog, FilePath, Snapshot};

/// Files younger than this are never removed, whatever the retention.
const AGE_MS_MIN: i64 = 3_600_000;

/// What may be removed.
#[derive(Clone, Debug)]
pub struct VacuumOptions {
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// How long a removed or never committed file stays.
    pub retention_ms: i64,
    /// Files that stay in any case (written, and not committed yet).
    pub protected: HashSet<FilePath>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files removed.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl DeltaLog {
    /// Removes files that the newest version does not need. The snapshot is brought up to date first.
    pub async fn vacuum(&self, snapshot: &Snapshot, options: &VacuumOptions) -> Result<Vacuumed, DeltaError> {
        // Listed before the log is read: a file that is committed in between is seen as live.
        let listed: Vec<ObjectMeta> = (self.store.list(Some(&self.root)))
            .try_filter(|meta| futures::future::ready(self.is_candidate(meta, options)))
            .try_collect()
            .await
            .map_err(|error| DeltaError::store("list", &self.root, error))?;
        let newest = self.reload(snapshot).await?;
        let cutoff_ms = options.now_ms.saturating_sub(options.retention_ms);
        let mut needed: HashSet<Path> = newest.files().map(|file| file.location(&self.root)).collect();
        let recent = newest.tombstones().filter(|(_, tombstone)| tombstone.deleted_ms >= cutoff_ms);
        needed.extend(recent.map(|(path, _)| path.location(&self.root)));
        needed.extend(options.protected.iter().map(|path| path.location(&self.root)));
        let mut vacuumed = Vacuumed::default();
        for meta in listed.iter().filter(|meta| !needed.contains(&meta.location)) {
            self.delete(&meta.location).await?;
            vacuumed.files += 1;
            vacuumed.bytes += meta.size;
        }
        Ok(vacuumed)
    }

    fn is_candidate(&self, meta: &ObjectMeta, options: &VacuumOptions) -> bool {
        let Some(mut parts) = meta.location.prefix_match(&self.root) else {
            return false;
        };
        let hidden = parts.any(|part| part.as_ref().starts_with('_') || part.as_ref().starts_with('.'));
        let age_ms = options.now_ms.saturating_sub(meta.last_modified.timestamp_millis());
        let old = age_ms >= options.retention_ms.max(AGE_MS_MIN);
        !hidden && old
    }
}
