//! Our tables as other people's readers see them: DuckDB and delta-rs, from Python.
//!
//! Needs a Python with `deltalake`, `pyarrow`, `duckdb` and `duckdb-ext-delta`, named by `VITALAKE_PYTHON` or in
//! `.venv` of the workspace; says so where there is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use vitalake_lake::delta::{Change, CheckpointOptions, CompactOptions};

use crate::delta_fixture::{NOW_MS, Table};

const ROWS: i64 = 6000;

fn python() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("VITALAKE_PYTHON").map_or(workspace, PathBuf::from);
    python.exists().then_some(python)
}

fn check(python: &Path, table: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/read_tables.py");
    let run = Command::new(python).arg(script).arg(table).arg(ROWS.to_string()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{text}");
    text
}

#[tokio::test]
async fn other_readers_find_what_was_written() {
    let Some(python) = python() else {
        println!("skipped: no Python with duckdb and deltalake (set VITALAKE_PYTHON)");
        return;
    };
    let (table, mut snapshot) = Table::create().await;
    for n in 0..10 {
        let change = table.change(n * ROWS / 10, (n + 1) * ROWS / 10).await.with_txn("vitalake/topic/0", n);
        snapshot = table.log.append(&snapshot, change).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let export = |name: &str| folder.path().join(name);
    table.export(&export("plain")).await;
    print!("commits only: {}", check(&python, &export("plain")));

    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    table.export(&export("checkpoint")).await;
    for version in 0..=snapshot.version().0 {
        std::fs::remove_file(export("checkpoint").join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    print!("checkpoint only: {}", check(&python, &export("checkpoint")));

    let options = CompactOptions { sort_by: vec!["device".to_owned()], ..CompactOptions::default() };
    let task = &table.log.plan_compaction(&snapshot, &options)[0];
    let compacted = table.log.compact(&snapshot, task, &options, NOW_MS).await.unwrap();
    snapshot = table.log.append(&snapshot, compacted.into_change(NOW_MS)).await.unwrap();
    table.log.checkpoint(&snapshot, CheckpointOptions::at(NOW_MS)).await.unwrap();
    snapshot = table.log.append(&snapshot, Change::new("WRITE", NOW_MS)).await.unwrap();
    assert_eq!(snapshot.file_count(), 1);
    table.export(&export("compacted")).await;
    print!("compacted, with tombstones: {}", check(&python, &export("compacted")));
}
