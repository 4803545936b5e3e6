//! What readers see: all tables of one pinned value by SQL, and HEAD of the gated dataset as another program opens it.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::object_store::path::Path as StorePath;
use datafusion::object_store::{ObjectStore, ObjectStoreExt as _};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::storage::{Cache, StorageUrl};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;
use vitalake_runtime::disk::CrashDisk;
use vitalake_runtime::health::Health;
use vitalake_serve::session::{QueryOptions, Session};

use crate::rehearsal::process::ProcessDisk;

/// One look at all tables, of one pinned value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub raw: i64,
    pub raw_distinct: i64,
    pub rejected: i64,
    pub curated: i64,
    pub curated_distinct: i64,
    pub hourly: i64,
    pub published: i64,
}

impl Counts {
    pub fn not_below(&self, floor: &Self) -> bool {
        self.raw >= floor.raw
            && self.rejected >= floor.rejected
            && self.curated >= floor.curated
            && self.hourly >= floor.hourly
    }

    pub fn consistent(&self) -> bool {
        self.raw == self.raw_distinct
            && self.curated == self.curated_distinct
            && self.curated <= self.raw
            && self.hourly <= self.curated
            && self.published <= self.hourly
            && passes_its_gate(self.published)
    }

    pub fn max(&self, other: &Self) -> Self {
        Self {
            raw: self.raw.max(other.raw),
            rejected: self.rejected.max(other.rejected),
            curated: self.curated.max(other.curated),
            hourly: self.hourly.max(other.hourly),
            ..*self
        }
    }
}

/// What the gate of `serving.ticks_hourly` lets through: an even number of ticks.
pub const GATE: &str = "    quality:\n      - {id: even, type: sql, query: 'SELECT COALESCE(SUM(ticks), 0) % 2 FROM {object}', mustBe: 0, severity: error}\n";

pub fn passes_its_gate(ticks: i64) -> bool {
    ticks % 2 == 0
}

pub async fn rows(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let failed = |error: vitalake_serve::error::QueryError| format!("{sql}: {error:?}");
    let mut answer = session.query(sql.to_owned(), vec![], QueryOptions::default()).await.map_err(failed)?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await.map_err(failed)? {
        batches.push(batch);
    }
    Ok(batches)
}

pub async fn numbers(session: &Session, sql: &str) -> Result<Vec<i64>, String> {
    let batches = rows(session, sql).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).ok_or_else(|| format!("{sql}: no row"))?;
    Ok(batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect())
}

/// What another program finds that opens HEAD of the gated dataset: its log and its files, and nothing of this process.
pub async fn head(store: &Arc<dyn ObjectStore>) -> Result<i64, String> {
    let root = StorePath::from("lake/serving/ticks_hourly");
    let failed = |what: &str, error: &dyn std::fmt::Debug| format!("HEAD cannot be read: {what}: {error:?}");
    let log = DeltaLog::new(Arc::clone(store), root.clone());
    let Some(head) = log.load().await.map_err(|error| failed("its log", &error))? else { return Ok(0) };
    let mut ticks = 0;
    for file in head.files() {
        let file = store.get(&file.location(&root)).await.map_err(|error| failed("a file", &error))?;
        let bytes = file.bytes().await.map_err(|error| failed("a file", &error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|reader| reader.build());
        for batch in reader.map_err(|error| failed("a file", &error))? {
            let batch = batch.map_err(|error| failed("a file", &error))?;
            let column = batch.column_by_name("ticks").unwrap().as_primitive::<Int64Type>();
            ticks += column.iter().flatten().sum::<i64>();
        }
    }
    Ok(ticks)
}

/// The same of a disk that nobody has open.
pub async fn head_at_rest(config: &Config, disk: &CrashDisk) -> Result<(), String> {
    let process: Arc<dyn vitalake_runtime::disk::Disk> = ProcessDisk::new(disk);
    let (place, cache) = (StorageUrl::parse(None, &config.data), Cache { folder: "/cache".into(), bytes_max: 0 });
    let place = place.map_err(|error| format!("{error:?}"))?;
    let opened = place.open(&process, &cache, Health::new("storage", Clock::system())).await;
    let ticks = head(&opened.map_err(|error| format!("{error:?}"))?.store).await?;
    if passes_its_gate(ticks) {
        Ok(())
    } else {
        Err(format!("after a crash HEAD holds {ticks} ticks, which no gate has passed"))
    }
}
