//! A table's log on an object store: finding its files, loading a snapshot, catching up.
//!
//! Loading takes the newest whole checkpoint and the commits after it; a missing or wrong `_last_checkpoint` only costs
//! a longer listing. Invariant: versions are contiguous; a gap is an error that names the version, never skipped.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use super::action::{Action, parse_commit};
use super::checkpoint::read_checkpoint;
use super::snapshot::Replay;
use super::{DeltaError, Snapshot};
use crate::catalogue::TableId;

/// How many commit files are fetched at once while loading.
const COMMIT_FETCHES_MAX: usize = 32;

/// A version of a table, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableVersion(pub u64);

impl TableVersion {
    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TableVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A table's log. Cheap to clone; holds no state.
#[derive(Clone, Debug)]
pub struct DeltaLog {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    folder: Path,
}

#[derive(Deserialize)]
pub(super) struct LastCheckpoint {
    pub(super) version: u64,
}

/// What a name in `_delta_log` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogFile {
    Commit,
    Checkpoint { part: u32, parts: u32 },
    CheckpointV2,
}

/// A file of the log with its version.
#[derive(Clone, Debug)]
pub(super) struct LogEntry {
    pub(super) version: TableVersion,
    pub(super) file: LogFile,
    pub(super) meta: ObjectMeta,
}

impl DeltaLog {
    /// The log of the table with this root folder.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        let folder = root.clone().join("_delta_log");
        Self { store, root, folder }
    }

    /// A log that lies in a folder of its own, while its paths are relative to `root`, where another log's files are too.
    /// No foreign reader finds it.
    pub(crate) fn apart(store: Arc<dyn ObjectStore>, root: Path, folder: Path) -> Self {
        Self { store, root, folder }
    }

    /// The log of what a table's gate holds back.
    #[must_use]
    pub fn staged(store: Arc<dyn ObjectStore>, table: &TableId) -> Self {
        Self::apart(store, table.root(), table.staged_log())
    }

    /// The table's root folder in the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Loads a table's newest version; `None` when there is no table.
    pub async fn open(store: Arc<dyn ObjectStore>, root: Path) -> Result<Option<Snapshot>, DeltaError> {
        Self::new(store, root).load().await
    }

    /// Loads the newest version; `None` when there is no table.
    pub async fn load(&self) -> Result<Option<Snapshot>, DeltaError> {
        let hint = self.last_checkpoint().await?;
        let mut entries = self.entries_from(hint).await?;
        if hint.is_some() && newest_checkpoint(&entries).is_none() {
            entries = self.entries_from(None).await?;
        }
        self.load_from(&entries).await
    }

    /// Loads a version that is not the newest; `None` where the log no longer reaches back so far.
    pub(crate) async fn load_at(&self, version: TableVersion) -> Result<Option<Snapshot>, DeltaError> {
        let mut entries = self.entries_from(None).await?;
        entries.retain(|entry| entry.version <= version);
        let loaded = self.load_from(&entries).await?;
        Ok(loaded.filter(|loaded| loaded.version() == version))
    }

    /// The newest version of which the log has a file, whether it can be loaded or not.
    pub(crate) async fn newest_named(&self) -> Result<Option<TableVersion>, DeltaError> {
        Ok(self.entries_from(None).await?.last().map(|entry| entry.version))
    }

    /// The newest version, found by reading only the commits after a snapshot.
    pub async fn reload(&self, snapshot: &Snapshot) -> Result<Snapshot, DeltaError> {
        let (current, _) = self.newer(snapshot).await?;
        let cleaned = self.last_checkpoint().await?.is_some_and(|newest| newest > current.version());
        if cleaned && let Some(loaded) = self.load().await? {
            return Ok(if loaded.version() > current.version() { loaded } else { current });
        }
        Ok(current)
    }

    /// The actions of one commit; `None` when there is no such commit file.
    pub async fn read_commit(&self, version: TableVersion) -> Result<Option<Vec<Action>>, DeltaError> {
        let path = self.commit_path(version);
        match self.get(&path).await? {
            Some(bytes) => parse_commit(path.as_ref(), &bytes).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn table(&self) -> String {
        self.folder.as_ref().trim_end_matches("/_delta_log").to_owned()
    }

    pub(super) fn log_path(&self) -> Path {
        self.folder.clone()
    }

    pub(super) fn commit_path(&self, version: TableVersion) -> Path {
        self.log_path().join(format!("{:020}.json", version.0))
    }

    pub(super) async fn get(&self, path: &Path) -> Result<Option<Bytes>, DeltaError> {
        let result = match self.store.get(path).await {
            Ok(result) => result.bytes().await,
            Err(error) => Err(error),
        };
        match result {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(DeltaError::store("read", path, source)),
        }
    }

    /// The version that `_last_checkpoint` names. It is a hint: one that cannot be read counts as none.
    pub(super) async fn last_checkpoint(&self) -> Result<Option<TableVersion>, DeltaError> {
        let bytes = self.get(&self.log_path().join("_last_checkpoint")).await?;
        let hint = bytes.and_then(|bytes| serde_json::from_slice::<LastCheckpoint>(&bytes).ok());
        Ok(hint.map(|hint| TableVersion(hint.version)))
    }

    /// The log's files from a version on, by version, commits before checkpoints.
    pub(super) async fn entries_from(&self, from: Option<TableVersion>) -> Result<Vec<LogEntry>, DeltaError> {
        let folder = self.log_path();
        let listing = match from {
            // Names of the version itself are longer than this offset and so come after it.
            Some(version) => {
                self.store.list_with_offset(Some(&folder), &folder.clone().join(format!("{:020}", version.0)))
            }
            None => self.store.list(Some(&folder)),
        };
        let metas: Vec<ObjectMeta> =
            listing.try_collect().await.map_err(|error| DeltaError::store("list", &folder, error))?;
        let mut entries: Vec<LogEntry> = metas.into_iter().filter_map(|meta| entry(&folder, meta)).collect();
        entries.sort_by(|a, b| (a.version, &a.meta.location).cmp(&(b.version, &b.meta.location)));
        Ok(entries)
    }

    async fn load_from(&self, entries: &[LogEntry]) -> Result<Option<Snapshot>, DeltaError> {
        let checkpoint = newest_checkpoint(entries);
        let mut replay = Replay::default();
        if let Some(version) = checkpoint {
            for part in checkpoint_parts(entries, version) {
                replay.extend(read_checkpoint(&self.store, &part.meta).await?);
            }
        }
        let versions = self.versions_after(entries, checkpoint)?;
        let Some(last) = versions.last().copied().or(checkpoint) else {
            return Ok(None);
        };
        let mut commits = futures::stream::iter(versions)
            .map(|version| async move {
                let missing = DeltaError::MissingVersion { table: self.table(), missing: version };
                self.read_commit(version).await?.ok_or(missing)
            })
            .buffered(COMMIT_FETCHES_MAX);
        while let Some(actions) = commits.try_next().await? {
            replay.extend(actions);
        }
        replay.finish(&self.table(), last).map(Some)
    }

    /// The commits to read after a checkpoint, or from 0; they must follow one another.
    fn versions_after(
        &self,
        entries: &[LogEntry],
        checkpoint: Option<TableVersion>,
    ) -> Result<Vec<TableVersion>, DeltaError> {
        let first = checkpoint.map_or(TableVersion(0), TableVersion::next);
        let mut expected = first;
        let mut versions = Vec::new();
        for entry in entries.iter().filter(|entry| entry.file == LogFile::Commit && entry.version >= first) {
            if entry.version != expected {
                let v2 = entries.iter().any(|entry| entry.file == LogFile::CheckpointV2);
                return Err(match v2 {
                    true => DeltaError::UnsupportedFeature { table: self.table(), feature: "v2Checkpoint".to_owned() },
                    false => DeltaError::MissingVersion { table: self.table(), missing: expected },
                });
            }
            versions.push(expected);
            expected = expected.next();
        }
        Ok(versions)
    }
}

/// The newest version that has a whole classic checkpoint.
pub(super) fn newest_checkpoint(entries: &[LogEntry]) -> Option<TableVersion> {
    let candidates = entries.iter().rev().filter(|entry| matches!(entry.file, LogFile::Checkpoint { .. }));
    candidates.map(|entry| entry.version).find(|version| !checkpoint_parts(entries, *version).is_empty())
}

/// The files of a version's checkpoint in order; empty when parts are missing.
pub(super) fn checkpoint_parts(entries: &[LogEntry], version: TableVersion) -> Vec<&LogEntry> {
    let first = entries.partition_point(|entry| entry.version < version);
    let of_version = || entries.iter().skip(first).take_while(|entry| entry.version == version);
    let counts = of_version().filter_map(|entry| match entry.file {
        LogFile::Checkpoint { parts, .. } => Some(parts),
        _ => None,
    });
    for count in counts {
        let whole = |entry: &&LogEntry| matches!(entry.file, LogFile::Checkpoint { parts, .. } if parts == count);
        let mut found: Vec<&LogEntry> = of_version().filter(whole).collect();
        if found.len() == count as usize {
            found.sort_by_key(|entry| match entry.file {
                LogFile::Checkpoint { part, .. } => part,
                _ => 0,
            });
            return found;
        }
    }
    Vec::new()
}

fn entry(folder: &Path, meta: ObjectMeta) -> Option<LogEntry> {
    let (version, file) = {
        let mut parts = meta.location.prefix_match(folder)?;
        let name = parts.next()?;
        if parts.next().is_some() {
            return None;
        }
        let (digits, rest) = name.as_ref().split_at_checked(20)?;
        (TableVersion(digits.parse().ok()?), log_file(rest)?)
    };
    Some(LogEntry { version, file, meta })
}

fn log_file(rest: &str) -> Option<LogFile> {
    if rest == ".json" {
        return Some(LogFile::Commit);
    }
    let middle = rest.strip_prefix(".checkpoint.")?;
    if middle == "parquet" {
        return Some(LogFile::Checkpoint { part: 1, parts: 1 });
    }
    let fields: Vec<&str> = middle.split('.').collect();
    match fields.as_slice() {
        [part, parts, "parquet"] => Some(LogFile::Checkpoint { part: part.parse().ok()?, parts: parts.parse().ok()? }),
        [_, "parquet" | "json"] => Some(LogFile::CheckpointV2),
        _ => None,
    }
}
