//! A replay or a correction whose first commit is in and whose second is not: the rows are in their table, and still in
//! quarantine.
//!
//! The first commit's commitInfo holds what the second has to do. Who owns the table finishes it when it opens it; who
//! only follows shows quarantine as it will be. Invariant: nobody here reads a row that came back in both places.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vitalake_contract::DatasetName;

use crate::delta::action::{Action, Add, Txn};
use crate::delta::{Change, DataFile, DeltaError, DeltaLog, FilePath, Snapshot, TableVersion};
use crate::side::Side;
use crate::txn::TxnId;

/// The field of commitInfo that says what a replay takes out of quarantine.
pub(crate) const BEGUN: &str = "vitalakeReplay";
/// The operation's name in the history of both tables.
pub(crate) const OPERATION: &str = "REPLAY";

/// What the second commit of a replay has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The replay's number.
    pub(crate) number: i64,
    /// Files of the quarantine that go, as the log has their paths.
    pub(crate) taken: Vec<String>,
    /// Files with the rejects of those that stay.
    pub(crate) kept: Vec<Add>,
    /// Counters of the books that it moves.
    #[serde(default)]
    pub(crate) counters: BTreeMap<String, i64>,
}

impl Begun {
    /// The newest replay of a table, where its rows are there and quarantine has not heard of it.
    pub(crate) async fn find(
        txn: &TxnId,
        log: &DeltaLog,
        rows: &Snapshot,
        rejects: &Snapshot,
    ) -> Result<Option<Self>, DeltaError> {
        let Some(number) = rows.txn(txn).filter(|number| rejects.txn(txn).is_none_or(|known| known < *number)) else {
            return Ok(None);
        };
        for version in (1..=rows.version().0).rev() {
            let Some(actions) = log.read_commit(TableVersion(version)).await? else { break };
            if actions.iter().any(|action| is_txn(action, txn, number)) {
                return Ok(actions.iter().find_map(Self::of));
            }
        }
        tracing::error!(
            table = %log.root(),
            number,
            "the log no longer says which rows a replay that was cut short took out of quarantine: they stand in both"
        );
        Ok(None)
    }

    fn of(action: &Action) -> Option<Self> {
        let Action::CommitInfo(info) = action else { return None };
        serde_json::from_str(info.get(BEGUN)?.as_str()?).ok()
    }

    /// The actions that it has for quarantine as it is: what has been done is not done again.
    fn actions(&self, rejects: &Snapshot, now_ms: i64) -> Vec<Action> {
        let live = self.taken.iter().filter_map(|path| rejects.file(&FilePath::of_log(path)));
        let removes = live.map(|file| Action::Remove(file.to_remove(now_ms, true)));
        removes.chain(self.kept.iter().cloned().map(Action::Add)).collect()
    }

    /// Quarantine as it is once the second commit is there. The version stays: the commit itself changes nothing then.
    pub(crate) fn shown(&self, rejects: &Snapshot) -> Result<Snapshot, DeltaError> {
        if !self.fits(rejects) {
            return Ok(rejects.clone());
        }
        rejects.apply(rejects.version(), &self.actions(rejects, 0))
    }

    /// Whether everything that it takes is there to be taken.
    fn fits(&self, rejects: &Snapshot) -> bool {
        self.taken.iter().all(|path| rejects.file(&FilePath::of_log(path)).is_some())
    }
}

fn is_txn(action: &Action, txn: &TxnId, number: i64) -> bool {
    matches!(action, Action::Txn(Txn { app_id, version, .. }) if app_id == txn.as_str() && *version == number)
}

/// Quarantine as a process that only follows shows it: without what a replay that is under way takes out of it.
pub(crate) async fn shown(rows: &Side, rejects: &Side) -> Result<Arc<Snapshot>, DeltaError> {
    shown_after(&rows.id.dataset, &rows.log, &rows.head, &rejects.head).await.map(Arc::new)
}

/// The same of versions that are not the heads yet.
pub(crate) async fn shown_after(
    dataset: &DatasetName,
    log: &DeltaLog,
    rows: &Snapshot,
    rejects: &Snapshot,
) -> Result<Snapshot, DeltaError> {
    for txn in of_two_commits(dataset) {
        if let Some(begun) = Begun::find(&txn, log, rows, rejects).await? {
            return begun.shown(rejects);
        }
    }
    Ok(rejects.clone())
}

/// What is done in two commits, the first of which says what the second does. One is finished before another begins.
fn of_two_commits(dataset: &DatasetName) -> [TxnId; 2] {
    [TxnId::replay(dataset), TxnId::correction(dataset)]
}

/// Does what a crash has left of a replay, before anybody reads the table.
pub(crate) async fn finish(rows: &Side, rejects: &mut Side, now_ms: i64) -> Result<(), DeltaError> {
    for txn in of_two_commits(&rows.id.dataset) {
        if let Some(begun) = Begun::find(&txn, &rows.log, &rows.head, &rejects.head).await? {
            finish_begun(&txn, begun, rejects, now_ms).await?;
        }
    }
    Ok(())
}

async fn finish_begun(txn: &TxnId, begun: Begun, rejects: &mut Side, now_ms: i64) -> Result<(), DeltaError> {
    let number = begun.number;
    if !begun.fits(&rejects.head) {
        tracing::error!(
            table = %rejects.id,
            number,
            "another writer has rewritten quarantine while a replay was under way: its rows stand in both; discard them in quarantine"
        );
    }
    let mut change = Change::new(OPERATION, now_ms).with_txn(txn.as_str(), number);
    for (id, count) in &begun.counters {
        if rejects.head.txn(id).is_none_or(|known| known < *count) {
            change = change.with_txn(id.as_str(), *count);
        }
    }
    if begun.fits(&rejects.head) {
        for action in begun.actions(&rejects.head, now_ms) {
            match action {
                Action::Add(add) => change.adds.push(add),
                Action::Remove(remove) => change.removes.push(remove),
                _ => {}
            }
        }
    }
    let head = rejects.log.append(&rejects.head, change).await?;
    rejects.head = Arc::new(head);
    tracing::info!(table = %rejects.id, number, "what was cut short between its two commits is finished");
    Ok(())
}

/// Files as they stand in a commit.
pub(crate) fn adds(files: &[Arc<DataFile>]) -> Vec<Add> {
    files.iter().map(|file| file.add.clone()).collect()
}
