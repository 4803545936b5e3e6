//! How a model reads a table: first what was committed before it was there, then what is new, epoch by epoch.
//!
//! A model's cursor survives in the `txn` action of its own output; everything else about a reader is in memory.
//! Invariant: increments never cross a seal, and a seal is given exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::changes::{Increment, ReaderId};
use crate::delta::{DataFile, FilePath, Snapshot, TableVersion, VersionChanges};
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::flush::version_of;
use crate::side::SideName;
use crate::table::Table;

/// About so many rows make an increment.
const INCREMENT_ROWS_MAX: usize = 65_536;

/// Rows of history after which a model may commit what it made of them.
const BACKLOG_ROWS_PER_SEAL: u64 = 1 << 20;

/// A model's place in a table's changes.
#[derive(Debug)]
pub struct ChangeReader {
    table: Arc<Table>,
    id: ReaderId,
    backlog: VecDeque<Increment>,
}

impl ChangeReader {
    /// The table that is read.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The next increment; waits for one.
    ///
    /// # Errors
    /// `Stopped` when the lake is closed.
    pub async fn next(&mut self) -> Result<Increment, LakeError> {
        let mut moved = self.table.watch();
        loop {
            moved.borrow_and_update();
            if let Some(increment) = self.try_next() {
                return Ok(increment);
            }
            if *self.table.shared.closed.borrow() || moved.changed().await.is_err() {
                return Err(LakeError::Stopped { attempt: "reading", table: self.table.id() });
            }
        }
    }

    /// All of what was there when the reader was made, and not given yet.
    pub fn take_backlog(&mut self) -> Vec<Increment> {
        self.backlog.drain(..).collect()
    }

    /// The next increment, if there is one.
    pub fn try_next(&mut self) -> Option<Increment> {
        let increment = self.backlog.pop_front().or_else(|| self.table.take(self.id, INCREMENT_ROWS_MAX))?;
        if let Some(version) = increment.seal.as_ref().and_then(|s| s.version_now()).and_then(|v| u64::try_from(v).ok())
        {
            self.table.state.lock().changes.note_consumed(self.id, TableVersion(version));
        }
        Some(increment)
    }
}

impl Table {
    /// A reader that has consumed the table up to a Delta version (`None`: nothing yet). Its first increments are the
    /// files that were added since, the last of them with the seal of the version that is there now.
    ///
    /// # Errors
    /// When the table's history since that version cannot be read.
    pub async fn reader(self: &Arc<Self>, consumed: Option<i64>) -> Result<ChangeReader, LakeError> {
        let from = consumed.and_then(|v| u64::try_from(v).ok()).map(TableVersion);
        let (id, head, tail) = {
            let turn = self.turn().await;
            self.register_reader(&turn, from)
        };
        let mut backlog = self.history(consumed, &head).await?;
        backlog.extend(tail);
        Ok(ChangeReader { table: Arc::clone(self), id, backlog })
    }

    /// What came after a version (`None`: from the beginning) up to another: files, and the seals of what holds them.
    ///
    /// # Errors
    /// When the table's history cannot be read.
    pub async fn history(&self, consumed: Option<i64>, head: &Snapshot) -> Result<VecDeque<Increment>, LakeError> {
        let Some(from) = consumed.and_then(|v| u64::try_from(v).ok()).map(TableVersion) else {
            let files = head.files().map(|file| Increment { files: vec![Arc::clone(file)], ..Increment::default() });
            return Ok(files.chain([end_of_version(version_of(head))]).collect());
        };
        if from >= head.version() {
            return Ok(VecDeque::new());
        }
        let remembered: Vec<VersionChanges> = {
            let state = self.state.lock();
            let inside = |version: &&VersionChanges| version.version > from && version.version <= head.version();
            state.remembered.iter().filter(inside).cloned().collect()
        };
        if remembered.len() as u64 == head.version().0 - from.0 {
            return Ok(history_increments(remembered, version_of(head)));
        }
        let failed = |source| LakeError::Delta { attempt: "reading the history", table: self.id(), source };
        let history = self.at(SideName::Rows).0.changes(from, head.version()).await.map_err(failed)?;
        Ok(history_increments(history, version_of(head)))
    }
}

impl Drop for ChangeReader {
    fn drop(&mut self) {
        self.table.state.lock().changes.deregister(self.id);
    }
}

/// The history as increments: a file each, with a seal whenever enough rows have come and at the end.
fn history_increments(mut history: Vec<VersionChanges>, head: i64) -> VecDeque<Increment> {
    let settled = leave_net(&mut history);
    let (mut increments, mut rows) = (VecDeque::new(), 0);
    for changes in history {
        let version = i64::try_from(changes.version.0).unwrap_or(i64::MAX);
        if !changes.removed.is_empty() {
            let removed = changes.removed;
            increments.push_back(Increment { removed, version: Some(version), ..Increment::default() });
        }
        for file in changes.added {
            rows += file.rows.unwrap_or(BACKLOG_ROWS_PER_SEAL);
            increments.push_back(Increment { files: vec![file], version: Some(version), ..Increment::default() });
        }
        if rows >= BACKLOG_ROWS_PER_SEAL && version < head && settled.is_none_or(|last| last <= changes.version) {
            increments.push_back(end_of_version(version));
            rows = 0;
        }
    }
    increments.push_back(end_of_version(head));
    increments
}

/// Leaves out what came and went again, and what went and came back (somebody restored the table). Gives the version
/// from which on nothing of the kind is left: who stopped before it would see the second half alone.
fn leave_net(history: &mut [VersionChanges]) -> Option<TableVersion> {
    if history.iter().all(|changes| changes.removed.is_empty()) {
        return None;
    }
    let mut fates: BTreeMap<FilePath, Vec<(TableVersion, bool)>> = BTreeMap::new();
    for changes in &*history {
        let (went, came) = (changes.removed.iter().map(|f| (f, false)), changes.added.iter().map(|f| (f, true)));
        for (file, came) in went.chain(came) {
            fates.entry(file.path().clone()).or_default().push((changes.version, came));
        }
    }
    fates.retain(|_, fate| fate.len() > 1);
    for changes in history {
        let version = changes.version;
        let stays = |file: &Arc<DataFile>| fates.get(file.path()).is_none_or(|fate| is_net(fate, version));
        changes.removed.retain(stays);
        changes.added.retain(stays);
    }
    fates.values().filter_map(|fate| fate.last()).map(|(version, _)| *version).max()
}

/// Whether what happened to a file in this version is what is left of all that did: the last of it, where it does not
/// end as it was before the first.
fn is_net(fate: &[(TableVersion, bool)], version: TableVersion) -> bool {
    match (fate.first(), fate.last()) {
        (Some((_, first)), Some((last, now))) => first == now && *last == version,
        _ => true,
    }
}

fn end_of_version(version: i64) -> Increment {
    Increment { seal: Some(Arc::new(Seal::committed(0, ChangeNumber(0), version))), ..Increment::default() }
}
