//! A Delta table in memory, and rows to put into it.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_lake::delta::{Change, DeltaLog, Snapshot, schema::timestamp_type};
use vitalake_lake::parquet::{ParquetOptions, write_batches};

/// 2026-01-01T00:00:00Z.
pub const NOW_MS: i64 = 1_767_225_600_000;

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8View, false),
        Field::new("at", timestamp_type(), true),
        Field::new("day", DataType::Date32, true),
        Field::new("sequence", DataType::Int64, false),
        Field::new("steps", DataType::Int32, true),
        Field::new("value", DataType::Float64, true),
        Field::new("worn", DataType::Boolean, true),
        Field::new("_raw", DataType::BinaryView, true),
    ]))
}

/// Rows `from..to`; everything about a row follows from its number.
pub fn rows(from: i64, to: i64) -> RecordBatch {
    let numbers: Vec<i64> = (from..to).collect();
    let micros = numbers.iter().map(|n| NOW_MS * 1000 + n * 60_000_000 + 123_456);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(
            numbers.iter().map(|n| format!("device-{n:06}-with-a-name-past-the-limit")),
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC")),
        Arc::new(Date32Array::from_iter_values(numbers.iter().map(|n| (20_000 + n / 1440) as i32))),
        Arc::new(Int64Array::from(numbers.clone())),
        Arc::new(Int32Array::from_iter(numbers.iter().map(|n| (n % 7 != 0).then_some((n % 100) as i32)))),
        Arc::new(Float64Array::from_iter(numbers.iter().map(|n| Some(*n as f64 / 4.0)))),
        Arc::new(BooleanArray::from_iter(numbers.iter().map(|n| Some(n % 2 == 0)))),
        Arc::new(BinaryViewArray::from_iter(numbers.iter().map(|n| (n % 3 == 0).then(|| n.to_le_bytes())))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub struct Table {
    pub store: Arc<dyn ObjectStore>,
    pub log: DeltaLog,
}

impl Table {
    pub async fn create() -> (Self, Snapshot) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let log = DeltaLog::new(store.clone(), Path::from("lake/raw/readings"));
        let snapshot = log.create("readings", &schema(), BTreeMap::new(), NOW_MS).await.unwrap();
        (Self { store, log }, snapshot)
    }

    pub async fn change(&self, from: i64, to: i64) -> Change {
        let file = write_batches(
            &self.store,
            self.log.root(),
            &schema(),
            &[rows(from, to)],
            &ParquetOptions::default(),
            NOW_MS,
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!(file.rows as i64, to - from);
        Change { adds: vec![file.to_add(true)], ..Change::new("WRITE", NOW_MS) }
    }

    pub async fn append(&self, snapshot: &Snapshot, from: i64, to: i64) -> Snapshot {
        self.log.append(snapshot, self.change(from, to).await).await.unwrap()
    }

    pub async fn open(&self) -> Snapshot {
        DeltaLog::open(self.store.clone(), self.log.root().clone()).await.unwrap().unwrap()
    }

    pub async fn names(&self) -> Vec<String> {
        let metas: Vec<_> = self.store.list(Some(self.log.root())).try_collect().await.unwrap();
        let mut names: Vec<String> = metas.iter().map(|meta| meta.location.to_string()).collect();
        names.sort();
        names
    }

    /// Copies the table to a folder, for readers that want files.
    pub async fn export(&self, folder: &FilePath) {
        for name in self.names().await {
            let relative = name.strip_prefix(self.log.root().as_ref()).unwrap().trim_start_matches('/');
            let target = folder.join(relative);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            let bytes = self.store.get(&Path::from(name)).await.unwrap().bytes().await.unwrap();
            std::fs::write(target, bytes).unwrap();
        }
    }
}

/// What two snapshots of one version must agree on.
pub fn facts(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug + use<> {
    let files: Vec<String> =
        snapshot.files().map(|file| format!("{} {:?} {:?}", file.add.path, file.rows, file.add.stats)).collect();
    let mut txns: Vec<String> = snapshot.txns().map(|txn| format!("{txn:?}")).collect();
    txns.sort();
    (
        snapshot.version(),
        snapshot.metadata().clone(),
        snapshot.schema().clone(),
        snapshot.rows(),
        snapshot.bytes(),
        files,
        txns,
    )
}
