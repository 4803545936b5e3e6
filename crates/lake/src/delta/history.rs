//! What happened between two versions: the files that brought or took rows, commit by commit, for increments.
//!
//! Commits that only moved rows between files (`dataChange=false`) show as versions without files. Invariant: either
//! every version of the range is given, or the call fails; a reader of increments never steps over a commit.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use super::action::{Action, Txn};
use super::snapshot::{DataFile, Snapshot};
use super::{DeltaError, DeltaLog, TableVersion};

/// How many commit files are fetched at once.
const FETCHES_MAX: usize = 16;

/// What one commit did to the rows.
#[derive(Clone, Debug)]
pub struct VersionChanges {
    /// The version.
    pub version: TableVersion,
    /// When it was committed, where the commit says so, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Files with new rows.
    pub added: Vec<Arc<DataFile>>,
    /// Files whose rows are gone.
    pub removed: Vec<Arc<DataFile>>,
    /// Transactions of the commit.
    pub txns: Vec<Txn>,
    /// The commit's own notes.
    pub info: Map<String, Value>,
}

impl DeltaLog {
    /// The changes of the versions after `from` up to and with `to`, oldest first.
    pub async fn changes(&self, from: TableVersion, to: TableVersion) -> Result<Vec<VersionChanges>, DeltaError> {
        let versions = (from.0 + 1..=to.0).map(TableVersion);
        futures::stream::iter(versions)
            .map(|version| async move {
                let cleaned = DeltaError::HistoryCleaned { table: self.table(), version };
                let actions = self.read_commit(version).await?.ok_or(cleaned)?;
                Ok(VersionChanges::of(version, actions))
            })
            .buffered(FETCHES_MAX)
            .try_collect()
            .await
    }

    /// The versions after a snapshot, one by one as they are found, and the snapshot that they make. Costs one request
    /// when there are none.
    pub async fn newer(&self, snapshot: &Snapshot) -> Result<(Snapshot, Vec<VersionChanges>), DeltaError> {
        let (mut current, mut versions) = (snapshot.clone(), Vec::new());
        while let Some(actions) = self.read_commit(current.version().next()).await? {
            let version = current.version().next();
            current = current.apply(version, &actions)?;
            versions.push(VersionChanges::of(version, actions));
        }
        Ok((current, versions))
    }
}

impl VersionChanges {
    /// Files whose rows came or went.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.added.iter().chain(&self.removed)
    }

    /// What a commit's actions did to the rows.
    pub(crate) fn of(version: TableVersion, actions: Vec<Action>) -> Self {
        let mut changes = Self {
            version,
            timestamp_ms: None,
            added: Vec::new(),
            removed: Vec::new(),
            txns: Vec::new(),
            info: Map::new(),
        };
        for action in actions {
            match action {
                Action::Add(add) if add.data_change => changes.added.push(Arc::new(DataFile::new(add))),
                Action::Remove(remove) if remove.data_change => {
                    changes.removed.push(Arc::new(DataFile::removed(&remove)));
                }
                Action::Txn(txn) => changes.txns.push(txn),
                Action::CommitInfo(info) => {
                    changes.timestamp_ms = info.get("timestamp").and_then(Value::as_i64);
                    changes.info = info;
                }
                _ => {}
            }
        }
        changes
    }
}
