//! Replayed rows that waited for a gate and are gone with the staged log: their rejects come back into quarantine.
//!
//! A replay takes rejects out of quarantine once their rows are staged. Where the staged log was removed before they were
//! published, and begun anew from HEAD, the commit that took them out is undone, from the newest on, as far as its files are
//! there. Invariant: a replay is undone once, in one commit with all others; what cannot be undone is said with its number.

use std::sync::Arc;

use object_store::ObjectStoreExt;

use crate::books::signed;

use crate::delta::action::{Action, Remove, Txn};
use crate::delta::{Change, DeltaError, FilePath, Snapshot, TableVersion, VersionChanges};
use crate::lake::Shared;
use crate::side::Side;
use crate::txn::{Counter, TxnId};

/// The operation's name in the history of quarantine.
const UNDONE: &str = "REPLAY UNDONE";

/// Looks whether replayed rows are gone, before anybody reads the table, and brings their rejects back.
pub(crate) async fn give_back(shared: &Shared, rows: &Side, rejects: &mut Side) -> Result<(), DeltaError> {
    let dataset = &rows.id.dataset;
    let (staged, undone) = (TxnId::replay_staged(dataset), TxnId::replay_undone(dataset));
    let known = rows.head.txn(TxnId::replay(dataset)).max(rejects.head.txn(&undone)).unwrap_or(0);
    let newest = rejects.head.txn(&staged).filter(|number| *number > known);
    let Some(newest) = newest.filter(|_| rows.published.is_some()) else { return Ok(()) };
    let mut quarantine = Undoing { shared, rejects, then: (*rejects.head).clone(), excess: 0 };
    for version in (1..=rejects.head.version().0).rev().map(TableVersion) {
        let Some(actions) = rejects.log.read_commit(version).await? else {
            tracing::error!(table = %rows.id, "the log of quarantine no longer says what earlier replays brought: see `vitalake reconcile`");
            break;
        };
        let commit = VersionChanges::of(version, actions.clone());
        let Some(number) = number_of(&commit.txns, &staged) else { continue };
        if number <= known {
            break;
        }
        let replayed = count_of(&commit, "vitalakeReplayed");
        match quarantine.undo(version, &actions, replayed).await? {
            true => tracing::warn!(
                table = %rows.id, number, rows = replayed,
                "the staged log was removed, and with it rows of a replay that waited for the gate: their rejects are back in quarantine; replay again"
            ),
            false => tracing::error!(
                table = %rows.id, number, rows = replayed,
                "the staged log was removed, and with it rows of a replay that waited for the gate: their rejects cannot be had any more; `vitalake reconcile` shows what is missing"
            ),
        }
    }
    let (then, excess) = (quarantine.then, quarantine.excess);
    let mut change = Change::new(UNDONE, shared.clock.now_ms()).with_txn(undone.as_str(), newest);
    let counter = if excess > 0 { Counter::ReplayedJoined } else { Counter::ReplayedFiltered };
    let counter = TxnId::books(dataset, counter);
    if excess != 0 {
        let before = rejects.head.txn(&counter).unwrap_or(0);
        change = change.with_txn(counter.as_str(), before + excess.abs());
    }
    change.adds = then.files().filter(|file| rejects.head.file(file.path()).is_none()).map(|f| f.add.clone()).collect();
    let gone = rejects.head.files().filter(|file| then.file(file.path()).is_none());
    change.removes = gone.map(|file| file.to_remove(shared.clock.now_ms(), true)).collect();
    rejects.head = Arc::new(rejects.log.append(&rejects.head, change).await?);
    Ok(())
}

/// Quarantine on the way to what it was.
struct Undoing<'a> {
    shared: &'a Shared,
    rejects: &'a Side,
    then: Snapshot,
    /// Rejects that come back beyond the rows that are gone: they were duplicates, or the model left them out.
    excess: i64,
}

impl Undoing<'_> {
    /// Undoes a commit that took rejects out; `false` where files of it are gone or were rewritten since.
    async fn undo(&mut self, version: TableVersion, actions: &[Action], replayed: i64) -> Result<bool, DeltaError> {
        let removed = |action: &Action| match action {
            Action::Remove(Remove { path, .. }) => Some(FilePath::of_log(path)),
            _ => None,
        };
        let taken: Vec<FilePath> = actions.iter().filter_map(removed).collect();
        let kept: Vec<_> = actions.iter().filter_map(|action| self.live(action)).collect();
        let added = actions.iter().filter(|action| matches!(action, Action::Add(_))).count();
        let Some(before) = self.rejects.log.load_at(TableVersion(version.0 - 1)).await? else { return Ok(false) };
        let files: Vec<_> = taken.iter().filter_map(|path| before.file(path)).collect();
        if kept.len() != added || files.len() != taken.len() {
            return Ok(false);
        }
        for file in &files {
            match self.shared.store.head(&file.location(self.rejects.log.root())).await {
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(source) => {
                    return Err(DeltaError::store("look for", &file.location(self.rejects.log.root()), source));
                }
            }
        }
        let rows = |files: &[&Arc<crate::delta::DataFile>]| files.iter().map(|file| file.rows).sum::<Option<u64>>();
        let kept_files: Vec<_> = kept.iter().filter_map(|path| self.then.file(path)).collect();
        if let (Some(taken), Some(kept)) = (rows(&files), rows(&kept_files)) {
            self.excess += signed(taken) - signed(kept) - replayed;
        }
        let removes = kept_files.iter().map(|file| Action::Remove(file.to_remove(0, true)));
        let back: Vec<Action> = removes.chain(files.iter().map(|file| Action::Add(file.add.clone()))).collect();
        self.then = self.then.apply(self.then.version(), &back)?;
        Ok(true)
    }

    /// The file that an action has added, where it is still there.
    fn live(&self, action: &Action) -> Option<FilePath> {
        let Action::Add(add) = action else { return None };
        self.then.file(&FilePath::of_log(&add.path)).map(|file| file.path().clone())
    }
}

fn number_of(txns: &[Txn], id: &TxnId) -> Option<i64> {
    txns.iter().find(|txn| txn.app_id == id.as_str()).map(|txn| txn.version)
}

fn count_of(commit: &VersionChanges, field: &str) -> i64 {
    commit.info.get(field).and_then(|count| count.as_str()?.parse().ok()).unwrap_or(0)
}
