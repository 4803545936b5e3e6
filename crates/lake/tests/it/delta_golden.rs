//! Tables of other writers: each one is opened and read whole, or refused by the name of what is not supported.
//!
//! Needs `data/delta-golden` and `data/delta-rs-tables` under `VITALAKE_SHARED` (or `../shared` beside the workspace),
//! and `tar`; says so where they are absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use vitalake_lake::delta::{DeltaError, DeltaLog};
use vitalake_lake::parquet::read_file;

fn archives() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("VITALAKE_SHARED").map_or(beside, PathBuf::from);
    let folders = ["delta-golden", "delta-rs-tables"].map(|name| shared.join("data").join(name));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut archives: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    archives.retain(|path| path.to_string_lossy().contains(".tar."));
    archives.sort();
    archives
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Unpacks an archive into a store, and gives the folders that hold a log.
async fn load(archive: &Path) -> (Arc<dyn ObjectStore>, Vec<object_store::path::Path>) {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()).status().unwrap().success());
    let mut files = Vec::new();
    walk(folder.path(), &mut |path| files.push(path.to_owned()));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut roots = Vec::new();
    for file in files {
        let relative = file.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
        if let Some((root, _)) = relative.split_once("/_delta_log/") {
            roots.push(object_store::path::Path::from(root));
        }
        let bytes = std::fs::read(&file).unwrap();
        store.put(&object_store::path::Path::from(relative), PutPayload::from(bytes)).await.unwrap();
    }
    roots.sort();
    roots.dedup();
    (store, roots)
}

/// `opened` with the rows, or the reason why not.
async fn try_table(store: &Arc<dyn ObjectStore>, root: &object_store::path::Path) -> Result<u64, DeltaError> {
    let missing = DeltaError::Incomplete { table: root.to_string(), what: "any" };
    let snapshot = DeltaLog::open(store.clone(), root.clone()).await?.ok_or(missing)?;
    let mut rows = 0;
    for file in snapshot.files() {
        let location = file.location(root);
        let batches = read_file(store, &location, file.size_bytes(), snapshot.schema(), 4096).await?;
        let found: usize = batches.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) }).await?;
        assert!(file.rows.is_none_or(|rows| rows == found as u64), "{location}: {:?} rows, {found} found", file.rows);
        rows += found as u64;
    }
    if let Some(expected) = expected_rows(store, root).await? {
        assert_eq!(rows, expected, "{root}");
    }
    Ok(rows)
}

/// The rows that the table's makers say it has: those of the Parquet files in `expected/` beside it.
async fn expected_rows(
    store: &Arc<dyn ObjectStore>,
    root: &object_store::path::Path,
) -> Result<Option<u64>, DeltaError> {
    let beside =
        root.as_ref().strip_suffix("delta").map(|table| object_store::path::Path::from(format!("{table}expected")));
    let Some(folder) = beside else {
        return Ok(None);
    };
    let files: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    let mut rows = None;
    for file in files.iter().filter(|file| file.location.as_ref().ends_with(".parquet")) {
        let none = Arc::new(arrow::datatypes::Schema::empty());
        let batches = read_file(store, &file.location, file.size, &none, 4096).await?;
        let found: usize = batches.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) }).await?;
        rows = Some(rows.unwrap_or(0) + found as u64);
    }
    Ok(rows)
}

/// Some archives hold a table's log and not its data.
fn is_data_missing(error: &DeltaError) -> bool {
    matches!(error, DeltaError::Parquet { source, .. } if format!("{source:?}").contains("NotFound"))
}

#[tokio::test]
async fn tables_of_other_writers_are_read_or_refused_by_name() {
    let archives = archives();
    if archives.is_empty() {
        println!("skipped: no delta tables of other writers (set VITALAKE_SHARED)");
        return;
    }
    let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for archive in archives {
        let (store, roots) = load(&archive).await;
        for root in roots {
            let verdict = match try_table(&store, &root).await {
                Ok(_) => "opened and read".to_owned(),
                Err(DeltaError::UnsupportedFeature { feature, .. }) => {
                    format!("refused: feature {feature}")
                }
                Err(DeltaError::UnsupportedType { kind, .. }) => format!("refused: type {kind}"),
                Err(DeltaError::Incomplete { what, .. }) => format!("refused: no {what} action"),
                Err(DeltaError::MissingVersion { .. }) => "refused: a version is missing".to_owned(),
                Err(error) if is_data_missing(&error) => "opened, the archive has no data files".to_owned(),
                Err(error) => format!("failed: {error}: {:?}", std::error::Error::source(&error)),
            };
            counts.entry(verdict).or_default().push(root.to_string());
        }
    }
    for (verdict, tables) in &counts {
        println!("{:>3} {verdict}", tables.len());
    }
    let failed: Vec<_> = counts.iter().filter(|(verdict, _)| verdict.starts_with("failed")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(counts["opened and read"].len() >= 10, "{counts:#?}");
}
