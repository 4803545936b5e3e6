//! Compaction keeps every row and is invisible to readers of increments.

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::statistics::Statistics;
use rstest::rstest;
use vitalake_lake::delta::action::Add;
use vitalake_lake::delta::{Change, CompactOptions, DataFile, FilePath, Snapshot, TableVersion};
use vitalake_lake::parquet::{ParquetOptions, read_file, write_batches};

use crate::delta_fixture::{NOW_MS, Table, rows, schema};

async fn file_rows(table: &Table, file: &DataFile) -> Vec<RecordBatch> {
    let location = file.location(table.log.root());
    let rows = read_file(&table.store, &location, file.size_bytes(), &schema(), 8192).await.unwrap();
    rows.try_collect().await.unwrap()
}

async fn all_rows(table: &Table, snapshot: &Snapshot) -> RecordBatch {
    let mut batches = Vec::new();
    for file in snapshot.files() {
        batches.extend(file_rows(table, file).await);
    }
    concat_batches(&schema(), &batches).unwrap()
}

fn sequences(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("sequence").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[rstest]
#[case::as_added(&[])]
#[case::sorted(&["device", "at"])]
#[tokio::test]
async fn small_files_become_one_with_the_same_rows(#[case] sort_by: &[&str]) {
    let (table, mut snapshot) = Table::create().await;
    for n in (0..10).rev() {
        snapshot = table.append(&snapshot, n * 1000, n * 1000 + 1000).await;
    }
    let before = sequences(&all_rows(&table, &snapshot).await);
    let options =
        CompactOptions { sort_by: sort_by.iter().map(|name| name.to_string()).collect(), ..CompactOptions::default() };
    let tasks = table.log.plan_compaction(&snapshot, &options);
    assert_eq!(tasks.iter().map(|task| task.files.len()).collect::<Vec<_>>(), [10]);
    let compacted = table.log.compact(&snapshot, &tasks[0], &options, NOW_MS).await.unwrap();
    // A flush commits while the files are rewritten; it is no conflict.
    let newer = table.append(&snapshot, 20_000, 20_001).await;
    let after = table.log.append(&snapshot, compacted.clone().into_change(NOW_MS)).await.unwrap();
    assert_eq!((after.version(), after.file_count(), after.rows()), (newer.version().next(), 2, Some(10_001)));

    let mut expected = before.clone();
    expected.push(20_000);
    let mut found = sequences(&all_rows(&table, &after).await);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let merged = after.file(&FilePath::of_log(&compacted.adds[0].path)).unwrap();
    let order = sequences(&concat_batches(&schema(), &file_rows(&table, merged).await).unwrap());
    assert_eq!(order.is_sorted(), !sort_by.is_empty());
    let changes = table.log.changes(newer.version(), after.version()).await.unwrap();
    assert!(changes.iter().all(|change| change.added.is_empty() && change.removed.is_empty()));
    assert!(table.log.plan_compaction(&after, &options).is_empty());
}

#[tokio::test]
async fn a_full_file_is_cut_at_the_target_and_left_alone_afterwards() {
    let (table, mut snapshot) = Table::create().await;
    for n in 0..8 {
        snapshot = table.append(&snapshot, n * 5000, n * 5000 + 5000).await;
    }
    let parquet = ParquetOptions { row_group_rows_max: 1000, ..ParquetOptions::default() };
    let options = CompactOptions { target_bytes: snapshot.bytes() / 3, parquet, ..CompactOptions::default() };
    let tasks = table.log.plan_compaction(&snapshot, &options);
    assert!(tasks.len() >= 2, "{tasks:?}");
    for task in &tasks {
        let compacted = table.log.compact(&snapshot, task, &options, NOW_MS).await.unwrap();
        snapshot = table.log.append(&snapshot, compacted.into_change(NOW_MS)).await.unwrap();
    }
    assert_eq!(snapshot.rows(), Some(40_000));
    assert!(snapshot.file_count() < 8);
    assert!(snapshot.version() > TableVersion(8));
}

/// How many of a file's row groups may hold a value, by their statistics.
async fn row_groups_with(table: &Table, add: &Add, value: i64) -> (usize, usize) {
    let location = table.log.root().clone().join(add.path.as_str());
    let bytes = table.store.get(&location).await.unwrap().bytes().await.unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let column = schema().index_of("sequence").unwrap();
    let may = footer.row_groups().iter().filter(|group| match group.column(column).statistics().unwrap() {
        Statistics::Int64(found) => (*found.min_opt().unwrap()..=*found.max_opt().unwrap()).contains(&value),
        other => panic!("{other:?}"),
    });
    (may.count(), footer.num_row_groups())
}

#[rstest]
#[case::as_added(&[], 8)]
#[case::sorted(&["sequence"], 1)]
#[tokio::test]
async fn of_a_sorted_file_a_filter_reads_one_row_group(#[case] sort_by: &[&str], #[case] read: usize) {
    let (table, mut snapshot) = Table::create().await;
    for n in 0..8 {
        // Each file reaches over all that is there.
        let every = Int64Array::from_iter_values((0..1000).map(|at| at * 8 + n));
        let some = take_record_batch(&rows(0, 8000), &every).unwrap();
        let options = ParquetOptions::default();
        let file = write_batches(&table.store, table.log.root(), &schema(), &[some], &options, NOW_MS).await;
        let change = Change { adds: vec![file.unwrap().unwrap().to_add(true)], ..Change::new("WRITE", NOW_MS) };
        snapshot = table.log.append(&snapshot, change).await.unwrap();
    }
    let parquet = ParquetOptions { row_group_rows_max: 1000, ..ParquetOptions::default() };
    let sort_by = sort_by.iter().map(|name| name.to_string()).collect();
    let options = CompactOptions { sort_by, parquet, ..CompactOptions::default() };
    let task = &table.log.plan_compaction(&snapshot, &options)[0];
    let compacted = table.log.compact(&snapshot, task, &options, NOW_MS).await.unwrap();
    assert_eq!(row_groups_with(&table, &compacted.adds[0], 4_321).await, (read, 8));
}

#[tokio::test]
async fn a_sort_that_does_not_fit_in_memory_spills() {
    let (table, mut snapshot) = Table::create().await;
    for n in (0..8).rev() {
        snapshot = table.append(&snapshot, n * 40_000, n * 40_000 + 40_000).await;
    }
    let options = CompactOptions {
        sort_by: vec!["sequence".to_owned()],
        sort_memory_bytes: 24 << 20,
        files_min: 2,
        ..CompactOptions::default()
    };
    let tasks = table.log.plan_compaction(&snapshot, &options);
    let compacted = table.log.compact(&snapshot, &tasks[0], &options, NOW_MS).await.unwrap();
    let after = table.log.append(&snapshot, compacted.into_change(NOW_MS)).await.unwrap();
    let order = sequences(&all_rows(&table, &after).await);
    assert!(order.len() == 320_000 && order.is_sorted());
}
