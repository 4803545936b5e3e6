//! What older versions of a table hold of a person: data files that the newest does not name, and what logs say of them.
//!
//! Logs are written again first and files removed second, so that a crash in between finds the same files again. Invariant:
//! a file that a newest version names is not removed here, nor one without the person.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::cells::{Rows, Who};
use super::look::names_in_parquet;
use crate::delta::{DeltaError, DeltaLog, FilePath, Redaction};

/// The folder of a log.
const LOG: &str = "_delta_log";

/// What went of older versions, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastErased {
    /// Data files of older versions that are gone.
    pub files: u64,
    /// Files of logs that were written again.
    pub log_files: u64,
    /// Data files of a newest version that still hold the person.
    pub left: u64,
}

/// The roots of all tables in a store, and of their logs where these lie apart.
///
/// # Errors
/// When the store cannot be listed.
pub async fn table_roots(store: &Arc<dyn ObjectStore>) -> Result<BTreeSet<String>, DeltaError> {
    let listed = store.list(None).map_err(|error| DeltaError::store("list", &Path::default(), error));
    let root = |location: &Path| {
        let text = location.as_ref().to_owned();
        text.find(&format!("/{LOG}/")).and_then(|at| text.get(..at).map(str::to_owned))
    };
    listed
        .try_fold(BTreeSet::new(), |mut roots, meta| {
            roots.extend(root(&meta.location));
            std::future::ready(Ok(roots))
        })
        .await
}

/// Removes what older versions hold. `logs` are all that name files under the root of the first.
///
/// # Errors
/// When something cannot be read, written or removed: call again.
pub async fn erase_past(
    logs: &[DeltaLog],
    (who, rows): (Who<'_>, Rows<'_>),
    dry_run: bool,
) -> Result<PastErased, DeltaError> {
    let (mut erased, mut live) = (PastErased::default(), HashSet::new());
    let Some(first) = logs.first() else { return Ok(erased) };
    let (store, root) = (first.store(), first.root());
    for log in logs {
        live.extend(
            log.load().await?.iter().flat_map(|head| head.files().map(|file| file.location(root)).collect::<Vec<_>>()),
        );
    }
    let mut concerned = Vec::new();
    let listed: Vec<_> =
        store.list(Some(root)).try_collect().await.map_err(|error| DeltaError::store("list", root, error))?;
    for meta in &listed {
        let Some(parts) = meta.location.prefix_match(root) else { continue };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let is_data = parts.first().is_some_and(|part| part != LOG) && meta.location.as_ref().ends_with(".parquet");
        if !is_data || !names_in_parquet(store, meta, who, rows).await? {
            continue;
        }
        match live.contains(&meta.location) {
            true => erased.left += 1,
            false => concerned.push((meta.location.clone(), FilePath::of_store(&parts.join("/")))),
        }
    }
    let files: HashSet<FilePath> = concerned.iter().map(|(_, path)| path.clone()).collect();
    for log in logs {
        erased.log_files += log.redact(Redaction { subject: who.subject, files: &files, dry_run }).await?;
    }
    for (location, _) in &concerned {
        erased.files += 1;
        if !dry_run {
            store.delete(location).await.map_err(|error| DeltaError::store("remove", location, error))?;
        }
    }
    Ok(erased)
}
