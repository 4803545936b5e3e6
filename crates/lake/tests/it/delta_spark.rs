//! Tables that Spark with Delta has just written: read to the sums that Spark gives, or refused by the name it expects.
//!
//! `systems/spark_client.py` makes them in the folder that `VITALAKE_SPARK_TABLES` names: `NAME/`, a table, and beside it
//! `NAME.json`, `{rows, sums}` or `{refused}`. Says so where there is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, sum};
use arrow::datatypes::{DataType, Float64Type};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path as Location;
use serde::Deserialize;
use vitalake_lake::delta::{DeltaError, DeltaLog};
use vitalake_lake::parquet::read_file;
use vitalake_lake::store::DiskStore;
use vitalake_runtime::disk::LocalDisk;

/// What Spark says of a table.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Contents { rows: u64, sums: BTreeMap<String, f64> },
    Refused { refused: String },
}

fn tables(folder: &Path) -> Vec<(String, Wanted)> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    found.sort();
    let wanted = |path: &PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    found.iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), wanted(path))).collect()
}

async fn read_whole(store: &Arc<dyn ObjectStore>, root: &Location) -> Result<Vec<RecordBatch>, DeltaError> {
    let snapshot = DeltaLog::open(store.clone(), root.clone()).await?.expect("a table");
    let mut rows = Vec::new();
    for file in snapshot.files() {
        let location = file.location(root);
        let batches = read_file(store, &location, file.size_bytes(), snapshot.schema(), 4096).await?;
        rows.extend(batches.try_collect::<Vec<_>>().await?);
    }
    Ok(rows)
}

fn sum_of(batches: &[RecordBatch], column: &str) -> f64 {
    let numbers = batches.iter().map(|batch| cast(batch.column_by_name(column).unwrap(), &DataType::Float64).unwrap());
    numbers.filter_map(|numbers| sum(numbers.as_primitive::<Float64Type>())).sum()
}

#[tokio::test]
async fn tables_that_spark_wrote_hold_what_spark_says() {
    let Some(folder) = std::env::var_os("VITALAKE_SPARK_TABLES").map(PathBuf::from) else {
        println!("skipped: no tables of Spark's, because VITALAKE_SPARK_TABLES names no folder (see systems/)");
        return;
    };
    let store: Arc<dyn ObjectStore> = Arc::new(DiskStore::new(LocalDisk::shared(), &folder));
    let tables = tables(&folder);
    assert!(!tables.is_empty(), "no NAME.json in {}", folder.display());
    for (name, wanted) in tables {
        let read = read_whole(&store, &Location::from(name.as_str())).await;
        match (wanted, read) {
            (Wanted::Contents { rows, sums }, Ok(batches)) => {
                let found: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                assert_eq!(found, rows, "rows of {name}");
                assert!(!sums.is_empty(), "{name} has no number column");
                for (column, wanted) in sums {
                    assert!((sum_of(&batches, &column) - wanted).abs() < 1e-6, "sum of {column} of {name}");
                }
                println!("spark: {name} read, {rows} rows");
            }
            (Wanted::Refused { refused }, Err(DeltaError::UnsupportedFeature { feature, .. })) => {
                assert_eq!(feature, refused, "{name}");
                println!("spark: {name} refused, {feature}");
            }
            (wanted, read) => panic!("{name}: want {wanted:?}, got {:?}", read.map(|batches| batches.len())),
        }
    }
}
