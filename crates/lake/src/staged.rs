//! The staged log of a gated table: every commit of its rows goes there, and to HEAD only what its gate has passed.
//!
//! The staged log lies apart, under `staged/`, and is a whole table to the model that writes it: its head is what HEAD
//! would be. Its files lie where HEAD will name them, so that a publication copies nothing. Once a table has a staged log it
//! keeps it, whatever its contract says later; a log that is gone is begun anew from HEAD, and what was in it alone is made
//! again from the inputs, whose history is kept for as long as HEAD has not consumed it. Invariant: a transaction of HEAD's
//! names the staged version that it holds, and one of the staged log's the version of HEAD that it builds on.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::catalogue::TableId;
use crate::delta::action::Action;
use crate::delta::{CheckpointOptions, DeltaError, DeltaLog, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::lake::Shared;
use crate::publish::LOOKS_AT_ONCE;
use crate::side::{Side, brought_up};
use crate::txn::TxnId;

/// The property of a staged log that was begun anew because of a gap: why nobody knows what was noted in it.
pub const BEGUN_AFTER_GAP: &str = "vitalake.begun_after_gap";

/// HEAD of a gated table.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) log: DeltaLog,
    pub(crate) head: Arc<Snapshot>,
    /// The version of HEAD that the staged log builds on: versions after it are other writers'.
    pub(crate) base: TableVersion,
    /// The version of the newest checkpoint of this process.
    pub(crate) checkpointed: TableVersion,
}

/// Puts the staged log in front of a table's rows, where its contract has a gate or it had one before.
pub(crate) async fn open(shared: &Shared, rows: Side, gated: bool, followed: bool) -> Result<Side, LakeError> {
    let id = rows.id.clone();
    let log = DeltaLog::apart(Arc::clone(&shared.store), id.root(), id.staged_log());
    let failed = |source: DeltaError| LakeError::Delta { attempt: "opening the staged log", table: id.clone(), source };
    let loaded = match log.load().await {
        Err(DeltaError::MissingVersion { missing, .. }) if !followed => {
            tracing::warn!(table = %id, %missing, "the staged log has a gap: what was staged is made again from the inputs");
            Some(begin_after_gap(shared, &log, &rows).await.map_err(failed)?)
        }
        loaded => loaded.map_err(failed)?,
    };
    let staged = match loaded {
        Some(staged) => {
            let staged = brought_up(shared, &log, staged, &id, &rows.schema, followed).await?;
            match followed {
                true => staged,
                false => on_own_head(shared, &log, &rows, staged).await.map_err(failed)?,
            }
        }
        None if !gated => return Ok(rows),
        None if followed => return Err(LakeError::NotThereYet(id)),
        None => begin(&log, &rows.head, &id, shared.clock.now_ms()).await.map_err(failed)?,
    };
    let base = built_on(&rows.log, &rows.head, &staged, &id).await.map_err(failed)?;
    let published = Published { log: rows.log, head: rows.head, base, checkpointed: TableVersion(0) };
    Ok(Side { log, head: Arc::new(staged), published: Some(published), ..rows })
}

/// What is staged where nobody else has changed HEAD since, it is the same table, and its files are there; else a new beginning from HEAD as it
/// is, so that what the other writer did stays and what was staged is made again from the inputs. What cannot be made again
/// (replayed rows have left quarantine) is put on top of HEAD where it only adds to it, and else left as it is, for the
/// gate to hold. What is noted beside it stays: a person's hold outlives what it was said about.
async fn on_own_head(shared: &Shared, log: &DeltaLog, rows: &Side, staged: Snapshot) -> Result<Snapshot, DeltaError> {
    let (id, now_ms) = (&rows.id, shared.clock.now_ms());
    let anew = || beginning(&rows.head, id, staged.version().0 + 1, now_ms);
    if staged.metadata().id != rows.head.metadata().id {
        tracing::warn!(table = %id, "the table was removed and made anew: so is what was staged of it");
        return begun_anew(log, anew(), &staged, now_ms).await;
    }
    let base = built_on(&rows.log, &rows.head, &staged, id).await?;
    let foreign = foreign_since(&rows.log, base, &rows.head, id).await?;
    let begun = match (foreign, can_be_made_again(&rows.head, &staged, id)) {
        (Some(version), true) => {
            tracing::warn!(table = %id, %version, "another writer has changed the table: what was staged is made again on top of that");
            anew()
        }
        (Some(version), false) => {
            let Some(added) = added_since(rows, base, &staged).await? else { return Ok(staged) };
            tracing::warn!(table = %id, %version, "another writer has changed the table: what was staged is put on top of that");
            let begun = anew();
            on_head(begun.apply(begun.version(), &added)?, &rows.head, id, now_ms)
        }
        (None, true) if !files_are_there(shared, rows, &staged).await? => {
            tracing::warn!(table = %id, "staged files are gone: what was staged is made again from the inputs");
            anew()
        }
        (None, _) => return Ok(staged),
    };
    begun_anew(log, begun, &staged, now_ms).await
}

/// Begins anew beside what is left of a log with a gap. Nobody knows what was noted in it: that is noted.
async fn begin_after_gap(shared: &Shared, log: &DeltaLog, rows: &Side) -> Result<Snapshot, DeltaError> {
    let (newest, now_ms) = (log.newest_named().await?, shared.clock.now_ms());
    let begun = beginning(&rows.head, &rows.id, newest.map_or(0, |newest| newest.0 + 1), now_ms);
    let why = "the staged log had a gap, and nobody knows whether the dataset was held".to_owned();
    let noted = Action::MetaData(begun.with_property(BEGUN_AFTER_GAP, why));
    let begun = begun.apply(begun.version(), &[noted])?;
    log.checkpoint(&begun, CheckpointOptions::at(now_ms)).await?;
    Ok(begun)
}

async fn begun_anew(log: &DeltaLog, begun: Snapshot, old: &Snapshot, now_ms: i64) -> Result<Snapshot, DeltaError> {
    let begun = begun.with_properties_of(old);
    log.checkpoint(&begun, CheckpointOptions::at(now_ms)).await?;
    Ok(begun)
}

/// What is staged beyond the version of HEAD that it builds on, as actions; `None` where it does not only add to that, or
/// nobody can tell.
async fn added_since(rows: &Side, base: TableVersion, staged: &Snapshot) -> Result<Option<Vec<Action>>, DeltaError> {
    if is_in_part(&rows.head, &rows.id) {
        return Ok(None);
    }
    let Some(base) = rows.log.load_at(base).await? else { return Ok(None) };
    if base.files().any(|file| staged.file(file.path()).is_none()) {
        return Ok(None);
    }
    let files = staged.files().filter(|file| base.file(file.path()).is_none());
    let files = files.map(|file| Action::Add(file.add.clone()));
    Ok(Some(files.chain(staged.txns().cloned().map(Action::Txn)).collect()))
}

/// Whether every file that waits is there: somebody may have cleaned up what HEAD does not name.
async fn files_are_there(shared: &Shared, rows: &Side, staged: &Snapshot) -> Result<bool, DeltaError> {
    let root = rows.id.root();
    let waiting = staged.files().filter(|file| rows.head.file(file.path()).is_none());
    let waiting: Vec<Path> = waiting.map(|file| file.location(&root)).collect();
    let looks = waiting.into_iter().map(|location| async move {
        match shared.store.head(&location).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(DeltaError::store("look for", &location, source)),
        }
    });
    futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_all(std::future::ready).await
}

/// The first version of HEAD after one that is another writer's and has other rows; a commit that can no longer be read may
/// have changed anything.
pub(crate) async fn foreign_since(
    log: &DeltaLog,
    base: TableVersion,
    newest: &Snapshot,
    id: &TableId,
) -> Result<Option<TableVersion>, DeltaError> {
    let (publication, erasure) = (TxnId::publication(&id.dataset), TxnId::erasure(&id.dataset));
    for version in (base.0 + 1..=newest.version().0).map(TableVersion) {
        let Some(actions) = log.read_commit(version).await? else { return Ok(Some(version)) };
        let is_ours = |action: &Action| matches!(action, Action::Txn(txn) if [publication.as_str(), erasure.as_str()].contains(&txn.app_id.as_str()));
        let is_of_rows = |action: &Action| matches!(action, Action::Add(_) | Action::Remove(_));
        if !actions.iter().any(is_ours) && actions.iter().any(is_of_rows) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// Whether HEAD says how far each input has come, and nothing came into what is staged but from inputs.
pub(crate) fn can_be_made_again(head: &Snapshot, staged: &Snapshot, id: &TableId) -> bool {
    let replay = TxnId::replay(&id.dataset);
    !is_in_part(head, id) && staged.txn(&replay) == head.txn(&replay)
}

fn is_in_part(head: &Snapshot, id: &TableId) -> bool {
    let published = head.txn(TxnId::publication(&id.dataset));
    published.is_some() && head.txn(TxnId::published_in_part(&id.dataset)) == published
}

/// Begins a staged log with what HEAD holds.
async fn begin(log: &DeltaLog, head: &Snapshot, id: &TableId, now_ms: i64) -> Result<Snapshot, DeltaError> {
    let begun = beginning(head, id, 0, now_ms);
    log.checkpoint(&begun, CheckpointOptions::at(now_ms)).await?;
    Ok(begun)
}

/// What HEAD holds as the beginning of a staged log, at a version that no publication has named. Where HEAD holds some
/// windows of a version alone, it says of no input how far it has come: the table is made anew from the beginning.
fn beginning(head: &Snapshot, id: &TableId, version_min: u64, now_ms: i64) -> Snapshot {
    let (publication, in_part) = (TxnId::publication(&id.dataset), TxnId::published_in_part(&id.dataset));
    let published = head.txn(&publication).and_then(|v| u64::try_from(v).ok()).map_or(0, |v| v + 1);
    let mut begun = head.begun_at(TableVersion(published.max(version_min)), &[publication.as_str(), in_part.as_str()]);
    if is_in_part(head, id) {
        begun = begun.emptied();
    }
    on_head(begun, head, id, now_ms)
}

/// What is staged, with the version of HEAD that it builds on.
fn on_head(staged: Snapshot, head: &Snapshot, id: &TableId, now_ms: i64) -> Snapshot {
    let on = i64::try_from(head.version().0).unwrap_or(i64::MAX);
    staged.with_txn(TxnId::staged_on(&id.dataset).as_str(), on, now_ms)
}

/// The version of HEAD that a staged log builds on: that of the last publication, or the one that it says itself.
async fn built_on(
    log: &DeltaLog,
    head: &Snapshot,
    staged: &Snapshot,
    id: &TableId,
) -> Result<TableVersion, DeltaError> {
    let (publication, erasure) = (TxnId::publication(&id.dataset), TxnId::erasure(&id.dataset));
    let said = staged.txn(TxnId::staged_on(&id.dataset)).and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    for version in (said + 1..=head.version().0).rev().map(TableVersion) {
        let Some(actions) = log.read_commit(version).await? else { break };
        let is_ours = |action: &Action| matches!(action, Action::Txn(txn) if [publication.as_str(), erasure.as_str()].contains(&txn.app_id.as_str()));
        if actions.iter().any(is_ours) {
            return Ok(version);
        }
    }
    Ok(TableVersion(said))
}
