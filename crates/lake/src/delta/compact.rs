//! Compaction: many small files into few large ones, sorted where the table has an order.
//!
//! Files of a like size are joined once there are enough of them, so that a row is rewritten a logarithmic number of
//! times. Here is the plan, the rewriting and the actions; the caller commits them with [`DeltaLog::append`], which
//! refuses them if another commit took one of the files. Invariant: the new files hold exactly the rows of the old
//! ones, and no reader of increments sees them (`dataChange=false`). Memory is bounded; a larger sort spills to disk.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;

use super::action::{Add, Remove};
use super::{Change, DataFile, DeltaError, DeltaLog, Snapshot};
use crate::parquet::{FileWriter, ParquetOptions, read_file};

/// Rows of a batch while rewriting.
const BATCH_ROWS: usize = 8192;
/// Sizes within this power of two count as alike (8 times).
const TIER_BITS: u32 = 3;
/// Files up to this size are all of the smallest tier.
const SMALLEST_BYTES: u64 = 256 << 10;

/// What is worth rewriting, and into what.
#[derive(Clone, Debug)]
pub struct CompactOptions {
    /// The size of a full file; files of half of it and more are left alone.
    pub target_bytes: u64,
    /// How many files of a like size make a task.
    pub files_min: usize,
    /// How many files a task reads at most.
    pub files_max: usize,
    /// Columns to sort by, ascending; as added when empty.
    pub sort_by: Vec<String>,
    /// Memory for sorting; what does not fit goes to temporary files.
    pub sort_memory_bytes: usize,
    /// How the new files are written.
    pub parquet: ParquetOptions,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self {
            target_bytes: 128 << 20,
            files_min: 8,
            files_max: 1024,
            sort_by: Vec::new(),
            sort_memory_bytes: 192 << 20,
            parquet: ParquetOptions::default(),
        }
    }
}

/// Files that become one or a few.
#[derive(Clone, Debug)]
pub struct CompactTask {
    /// The files, in the order in which they were added.
    pub files: Vec<Arc<DataFile>>,
}

impl CompactTask {
    /// Bytes to read.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes()).sum()
    }
}

/// The actions that a task came to; all with `dataChange=false`.
#[derive(Clone, Debug, Default)]
pub struct Compacted {
    /// The new files.
    pub adds: Vec<Add>,
    /// The old ones.
    pub removes: Vec<Remove>,
}

impl Compacted {
    /// The change to commit.
    pub fn into_change(self, now_ms: i64) -> Change {
        Change { adds: self.adds, removes: self.removes, ..Change::new("OPTIMIZE", now_ms) }
    }
}

impl DeltaLog {
    /// Which files to join now; none when the table is in good shape.
    pub fn plan_compaction(&self, snapshot: &Snapshot, options: &CompactOptions) -> Vec<CompactTask> {
        let mut tiers: BTreeMap<u32, Vec<Arc<DataFile>>> = BTreeMap::new();
        for file in snapshot.files().filter(|file| file.size_bytes() < options.target_bytes / 2) {
            let tier = (file.size_bytes() / SMALLEST_BYTES).max(1).ilog2() / TIER_BITS;
            tiers.entry(tier).or_default().push(file.clone());
        }
        let mut tasks = Vec::new();
        for files in tiers.into_values().filter(|files| files.len() >= options.files_min.max(2)) {
            let mut task = CompactTask { files: Vec::new() };
            for file in files {
                if task.bytes() >= options.target_bytes || task.files.len() >= options.files_max {
                    tasks.push(std::mem::replace(&mut task, CompactTask { files: Vec::new() }));
                }
                task.files.push(file);
            }
            if task.files.len() >= 2 {
                tasks.push(task);
            }
        }
        tasks
    }

    /// Rewrites a task's files. Nothing is visible before the caller commits the actions.
    pub async fn compact(
        &self,
        snapshot: &Snapshot,
        task: &CompactTask,
        options: &CompactOptions,
        now_ms: i64,
    ) -> Result<Compacted, DeltaError> {
        let schema = snapshot.schema();
        let mut rows = read_all(self, schema.clone(), task.files.clone());
        if !options.sort_by.is_empty() {
            rows = self.sorted(rows, schema, options)?;
        }
        let parquet = ParquetOptions { sorted_by: options.sort_by.clone(), ..options.parquet.clone() };
        let mut compacted = Compacted::default();
        let mut file: Option<FileWriter> = None;
        while let Some(batch) = rows.try_next().await? {
            let mut writer = match file.take() {
                Some(writer) => writer,
                None => FileWriter::try_new(&self.store, &self.root, schema, &parquet)?,
            };
            writer.write(&batch).await?;
            if writer.estimated_bytes() >= options.target_bytes {
                compacted.adds.extend(writer.finish(now_ms).await?.map(|file| file.to_add(false)));
            } else {
                file = Some(writer);
            }
        }
        if let Some(writer) = file {
            compacted.adds.extend(writer.finish(now_ms).await?.map(|file| file.to_add(false)));
        }
        compacted.removes = task.files.iter().map(|file| file.to_remove(now_ms, false)).collect();
        Ok(compacted)
    }

    fn sorted(
        &self,
        rows: BoxStream<'static, Result<RecordBatch, DeltaError>>,
        schema: &SchemaRef,
        options: &CompactOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch, DeltaError>>, DeltaError> {
        let table = self.table();
        let failed = move |error| DeltaError::Sort { table: table.clone(), source: Box::new(error) };
        let sorted = sort(rows, schema, options).map_err(&failed)?;
        Ok(sorted.map_err(failed).boxed())
    }
}

/// The rows of files one after the other; a file is opened when the one before it has ended.
fn read_all(
    log: &DeltaLog,
    schema: SchemaRef,
    files: Vec<Arc<DataFile>>,
) -> BoxStream<'static, Result<RecordBatch, DeltaError>> {
    let (store, root): (Arc<dyn ObjectStore>, Path) = (log.store.clone(), log.root.clone());
    futures::stream::iter(files)
        .then(move |file| {
            let (store, schema, location) = (store.clone(), schema.clone(), file.location(&root));
            async move { read_file(&store, &location, file.size_bytes(), &schema, BATCH_ROWS).await }
        })
        .try_flatten()
        .boxed()
}

fn sort(
    rows: BoxStream<'static, Result<RecordBatch, DeltaError>>,
    schema: &SchemaRef,
    options: &CompactOptions,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(options.sort_memory_bytes, 1.0).build_arc()?;
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let input = Arc::new(Once { schema: schema.clone(), rows: parking_lot::Mutex::new(Some(rows)) });
    let input = StreamingTableExec::try_new(schema.clone(), vec![input], None, Vec::<LexOrdering>::new(), false, None)?;
    let mut keys = Vec::with_capacity(options.sort_by.len());
    for name in &options.sort_by {
        let column = Arc::new(Column::new_with_schema(name, schema)?);
        keys.push(PhysicalSortExpr::new(column, SortOptions { descending: false, nulls_first: true }));
    }
    let Some(ordering) = LexOrdering::new(keys) else {
        return datafusion::common::internal_err!("no columns to sort by");
    };
    SortExec::new(ordering, Arc::new(input)).execute(0, context)
}

/// A stream as a plan's input, to be read once.
struct Once {
    schema: SchemaRef,
    rows: parking_lot::Mutex<Option<BoxStream<'static, Result<RecordBatch, DeltaError>>>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("rows of the files to compact")
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().take().unwrap_or_else(|| futures::stream::empty().boxed());
        let rows = rows.map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}
