//! Who was erased, kept in the lake beside the data folder: whoever opens the lake refuses the same persons.
//!
//! Each side gets what the other has: a data folder that was lost, or that of a process on another machine, learns it from
//! the lake, and a lake that was restored learns it from the data folder. Invariant: what is kept is never replaced by what
//! is kept elsewhere, and nothing is taken that was made under another key.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::kept::{KEY, Kept};

/// The folder in the lake.
const FOLDER: &str = "lake/erasures";

/// Brings the data folder and the lake to the same. Only who owns the models `writes` to the lake.
///
/// # Errors
/// When either cannot be read or written, or when they were made under different keys.
pub(super) async fn exchange(kept: &Kept, store: &Arc<dyn ObjectStore>, writes: bool) -> anyhow::Result<()> {
    let (here, there) = (kept.files()?, in_lake(store).await?);
    if let (Some(ours), Some(theirs)) = (here.get(KEY), there.get(KEY)) {
        anyhow::ensure!(
            ours == theirs,
            "the folder `erasures` of the data folder and `{FOLDER}` of the lake were made under different keys: \
             restore the one that belongs to the other"
        );
    }
    // The key comes first: without it nothing else says whom it is about.
    let key_first = |files: &BTreeMap<String, Vec<u8>>| {
        let mut names: Vec<String> = files.keys().cloned().collect();
        names.sort_by_key(|name| name != KEY);
        names
    };
    for name in key_first(&there) {
        if let Some(bytes) = there.get(&name).filter(|_| !here.contains_key(&name)) {
            kept.take(&name, bytes)?;
        }
    }
    for name in key_first(&here).into_iter().filter(|_| writes) {
        if let Some(bytes) = here.get(&name).filter(|bytes| there.get(&name) != Some(*bytes)) {
            let path = Path::from(format!("{FOLDER}/{name}"));
            store.put(&path, bytes.clone().into()).await.context("who was erased cannot be kept in the lake")?;
        }
    }
    Ok(())
}

async fn in_lake(store: &Arc<dyn ObjectStore>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let listed: Vec<_> = store.list(Some(&Path::from(FOLDER))).try_collect().await?;
    let mut files = BTreeMap::new();
    for meta in listed {
        let name = meta.location.filename().unwrap_or_default().to_owned();
        if Kept::tells_whom(&name) {
            files.insert(name, store.get(&meta.location).await?.bytes().await?.to_vec());
        }
    }
    Ok(files)
}
