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

    /// Whether an epoch that was not given yet has ended: its rows need not be waited for.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.backlog.iter().any(|increment| increment.seal.is_some())
            || self.table.state.lock().changes.has_ended(self.id)
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
        Ok(history_increments(self.versions(from, head).await?, version_of(head)))
    }

    /// What the versions after one up to another did, one by one.
    pub(crate) async fn versions(&self, from: TableVersion, head: &Snapshot) -> Result<Vec<VersionChanges>, LakeError> {
        let remembered: Vec<VersionChanges> = {
            let state = self.state.lock();
            let inside = |version: &&VersionChanges| version.version > from && version.version <= head.version();
            state.remembered.iter().filter(inside).cloned().collect()
        };
        if remembered.len() as u64 == head.version().0 - from.0 {
            return Ok(remembered);
        }
        let failed = |source| LakeError::Delta { attempt: "reading the history", table: self.id(), source };
        self.at(SideName::Rows).0.changes(from, head.version()).await.map_err(failed)
    }
}

impl Drop for ChangeReader {
    fn drop(&mut self) {
        self.table.state.lock().changes.deregister(self.id);
    }
}

/// The history as increments: what came up to the last version that took rows away, or put some back, as one; then a file
/// each, with a seal whenever enough rows have come and at the end.
fn history_increments(mut history: Vec<VersionChanges>, head: i64) -> VecDeque<Increment> {
    let (mut increments, mut rows) = (VecDeque::new(), 0);
    let settled = fates(&history).values().filter_map(|fate| fate.last()).map(|(version, _)| *version).max();
    let last = history.iter().rposition(|changes| !changes.removed.is_empty() || Some(changes.version) == settled);
    let rest = history.split_off(last.map_or(0, |last| last + 1));
    if let Some(as_one) = net(history) {
        let (version, took) = (as_one.version, !as_one.removed.is_empty());
        increments.push_back(as_one);
        increments.extend(version.filter(|version| took && *version < head).map(end_of_version));
    }
    for changes in rest {
        let version = i64::try_from(changes.version.0).unwrap_or(i64::MAX);
        for file in changes.added {
            rows += file.rows.unwrap_or(BACKLOG_ROWS_PER_SEAL);
            increments.push_back(Increment { files: vec![file], version: Some(version), ..Increment::default() });
        }
        if rows >= BACKLOG_ROWS_PER_SEAL && version < head {
            increments.push_back(end_of_version(version));
            rows = 0;
        }
    }
    increments.push_back(end_of_version(head));
    increments
}

/// What versions did together, at the last of them; none where nothing came or went in any.
pub(crate) fn net(mut history: Vec<VersionChanges>) -> Option<Increment> {
    let version = history.last().map(|last| i64::try_from(last.version.0).unwrap_or(i64::MAX));
    leave_net(&mut history);
    let (mut removed, mut files) = (Vec::new(), Vec::new());
    for changes in history {
        removed.extend(changes.removed);
        files.extend(changes.added);
    }
    let net = Increment { removed, files, version, ..Increment::default() };
    (!net.is_empty()).then_some(net)
}

/// Leaves out what came and went again, and what went and came back (somebody restored the table).
fn leave_net(history: &mut [VersionChanges]) {
    let fates = fates(history);
    for changes in history {
        let version = changes.version;
        let stays = |file: &Arc<DataFile>| fates.get(file.path()).is_none_or(|fate| is_net(fate, version));
        changes.removed.retain(stays);
        changes.added.retain(stays);
    }
}

/// What happened to the files that came or went more than once: in which version, and whether they came.
fn fates(history: &[VersionChanges]) -> BTreeMap<FilePath, Vec<(TableVersion, bool)>> {
    let mut fates: BTreeMap<FilePath, Vec<(TableVersion, bool)>> = BTreeMap::new();
    if history.iter().all(|changes| changes.removed.is_empty()) {
        return fates;
    }
    for changes in history {
        let (went, came) = (changes.removed.iter().map(|f| (f, false)), changes.added.iter().map(|f| (f, true)));
        for (file, came) in went.chain(came) {
            fates.entry(file.path().clone()).or_default().push((changes.version, came));
        }
    }
    fates.retain(|_, fate| fate.len() > 1);
    fates
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
