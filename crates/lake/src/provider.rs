//! A pinned table as DataFusion sees it: head files, early files and rows in memory, in one scan.
//!
//! A file that the log's statistics rule out is not opened. Invariant: a provider reads the value that it was made from and nothing newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::catalogue::{Catalogue, Space, TableId, TableView};
use crate::delta::{DataFile, prune};
use crate::parquet::is_ours;

/// The address under which a session's runtime knows the lake's store.
pub const LAKE_URL: &str = "lake://tables/";

/// Makes the lake's store known to a DataFusion runtime; providers of this crate need it.
pub fn register_store(runtime: &RuntimeEnv, store: Arc<dyn ObjectStore>) {
    if let Ok(url) = ObjectStoreUrl::parse(LAKE_URL) {
        runtime.register_object_store(url.as_ref(), store);
    }
}

/// The columns of `serving.x_live`: those of `serving.x`, and whether the row is published.
#[must_use]
pub fn live_schema(schema: &SchemaRef) -> SchemaRef {
    let published = Arc::new(Field::new("_published", DataType::Boolean, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([published]).collect::<Vec<_>>()))
}

/// The metric of a scan, in EXPLAIN ANALYZE: files that the log's statistics spared it.
const FILES_PRUNED: &str = "files_pruned_by_log";

/// What of a table is read.
#[derive(Clone, Debug)]
enum Part {
    /// Head and tail.
    Live,
    /// The last commit alone: what is published.
    Published,
    /// Some of the head's files.
    Files(Arc<Vec<Arc<DataFile>>>),
}

/// A pinned table for a query.
#[derive(Debug)]
pub struct LakeTable {
    view: Arc<TableView>,
    part: Part,
    schema: SchemaRef,
}

impl Catalogue {
    /// Names of all tables as SQL knows them: schema and table, `serving.x_live` among them.
    #[must_use]
    pub fn table_names(&self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for view in self.tables() {
            let space = view.id.space.as_str().to_owned();
            names.push((space.clone(), view.id.dataset.to_string()));
            if view.id.space == Space::Serving {
                names.push((space, format!("{}_live", view.id.dataset)));
            }
        }
        names
    }

    /// A table by its name in SQL.
    #[must_use]
    pub fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        let space = [Space::Raw, Space::Curated, Space::Serving, Space::Quarantine, Space::Ops]
            .into_iter()
            .find(|s| s.as_str() == schema)?;
        let find = |name: &str| {
            vitalake_contract::DatasetName::new(name).ok().and_then(|d| self.table(&TableId::new(space, d)).cloned())
        };
        if let Some(view) = find(table) {
            let part = if space == Space::Serving { Part::Published } else { Part::Live };
            return Some(Arc::new(LakeTable::new(view, part, false)));
        }
        let view = find(table.strip_suffix("_live").filter(|_| space == Space::Serving)?)?;
        Some(Arc::new(LakeTable::new(view, Part::Live, true)))
    }
}

impl Catalogue {
    /// What of a table is committed and readers may see, without its tail.
    #[must_use]
    pub fn committed(&self, id: &TableId) -> Option<Arc<dyn TableProvider>> {
        Some(Arc::new(LakeTable::new(Arc::clone(self.table(id)?), Part::Published, false)))
    }
}

impl LakeTable {
    /// Some files of a table, as if they were all of it.
    pub(crate) fn of_files(view: TableView, files: Vec<Arc<DataFile>>) -> Self {
        Self::new(Arc::new(view), Part::Files(Arc::new(files)), false)
    }

    fn new(view: Arc<TableView>, part: Part, published_column: bool) -> Self {
        let schema = if published_column { live_schema(&view.schema) } else { Arc::clone(&view.schema) };
        Self { view, part, schema }
    }

    /// Files of the log, those that are published and those that are not.
    fn files(&self) -> (Vec<Arc<DataFile>>, Vec<Arc<DataFile>>) {
        match &self.part {
            Part::Published => (self.view.published().files().cloned().collect(), Vec::new()),
            Part::Files(files) => (files.to_vec(), Vec::new()),
            Part::Live => {
                let hidden = &self.view.tail.hidden;
                let shown = self.view.head.files().filter(|f| hidden.is_empty() || !hidden.contains(f.path()));
                let is_published =
                    |f: &Arc<DataFile>| self.view.published.as_ref().is_none_or(|head| head.file(f.path()).is_some());
                shown.cloned().partition(is_published)
            }
        }
    }

    /// Files of the log as up to two scans: those whose bounds the reader of row groups may trust, and the others.
    fn scan_files(
        &self,
        state: &dyn Session,
        mut files: Vec<Arc<DataFile>>,
        published: bool,
        projection: Option<&Vec<usize>>,
        condition: &Condition,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let there = files.len();
        if let Some(predicate) = &condition.whole {
            files = prune(&files, &self.schema, predicate);
        }
        let mut pruned = there - files.len();
        // Where bounds rule files out, the text asked for lies in few places; one that is everywhere is not worth it.
        let picks_few = condition.picks_few && pruned > 0;
        let (trusted, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| condition.is_bounded(file));
        let mut plans = Vec::new();
        for (files, predicate) in [(trusted, condition.whole.as_ref()), (others, None)] {
            if !files.is_empty() {
                let source = self.source(predicate, condition.whole.is_some() && predicate.is_none());
                let source = source.with_pushdown_filters(predicate.is_some() && picks_few);
                MetricBuilder::new(source.metrics()).global_counter(FILES_PRUNED).add(std::mem::take(&mut pruned));
                plans.push(self.scan(state, &files, source, published, projection)?);
            }
        }
        Ok(plans)
    }

    /// A reader of files; one that trusts no bounds of row groups reads them all, whatever the engine asks of it.
    fn source(&self, predicate: Option<&Arc<dyn PhysicalExpr>>, trusts_nothing: bool) -> ParquetSource {
        let table_schema = TableSchema::builder(Arc::clone(&self.view.schema))
            .with_table_partition_cols(self.published_column().into_iter().collect::<Vec<_>>())
            .build();
        let mut source = ParquetSource::new(table_schema);
        if let Some(predicate) = predicate {
            source = source.with_predicate(Arc::clone(predicate));
        }
        if trusts_nothing {
            let mut options = TableParquetOptions::default();
            (options.global.pruning, options.global.enable_page_index) = (false, false);
            source = source.with_table_parquet_options(options);
        }
        source
    }

    fn published_column(&self) -> Option<FieldRef> {
        let is_live = self.schema.fields().len() > self.view.schema.fields().len();
        is_live.then(|| Arc::new(Field::new("_published", DataType::Boolean, false)))
    }

    fn scan(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        source: ParquetSource,
        published: bool,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let published = self.published_column().map(|_| published);
        let parts = files.iter().map(|file| self.part_of(file, published)).collect();
        let rows: Option<u64> = files.iter().map(|file| file.rows).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        let exact = |rows| Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        statistics.num_rows = rows.map_or(Precision::Absent, exact);
        let groups = FileGroup::new(parts).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(LAKE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn part_of(&self, file: &DataFile, published: Option<bool>) -> PartitionedFile {
        let location: Path = file.location(&self.view.root);
        let part = PartitionedFile::new(location.to_string(), file.size_bytes());
        match published {
            Some(published) => part.with_partition_values(vec![published.into()]),
            None => part,
        }
    }

    fn scan_rows(&self, projection: Option<&Vec<usize>>, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let rows = &self.view.tail.rows;
        if rows.is_empty() {
            return Ok(None);
        }
        let with_published = self.schema.fields().len() > self.view.schema.fields().len();
        let batches = rows.iter().map(|batch| self.as_scanned(batch, with_published)).collect::<Result<Vec<_>>>()?;
        let mut groups = vec![Vec::new(); partitions.clamp(1, batches.len().max(1))];
        let count = groups.len();
        for (index, batch) in batches.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(index % count) {
                group.push(batch);
            }
        }
        let exec = MemorySourceConfig::try_new_exec(&groups, Arc::clone(&self.schema), projection.cloned())?;
        Ok(Some(exec))
    }

    fn as_scanned(&self, batch: &RecordBatch, with_published: bool) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        if with_published {
            columns.push(Arc::new(BooleanArray::from(vec![false; batch.num_rows()])));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The condition of a query on a table.
struct Condition {
    /// All of it.
    whole: Option<Arc<dyn PhysicalExpr>>,
    /// The floating-point columns that it looks at.
    numbers: Vec<(String, DataType)>,
    /// Whether few rows are likely to meet it, so that the columns that it looks at are worth reading first.
    picks_few: bool,
}

impl Condition {
    fn of(state: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Self> {
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let whole = conjunction(filters.iter().cloned());
        let whole = whole.map(|predicate| state.create_physical_expr(predicate, &columns)).transpose()?;
        let is_number = |name: &str| schema.field_with_name(name).is_ok_and(|field| field.data_type().is_floating());
        let mut numbers = BTreeMap::new();
        for column in filters.iter().flat_map(Expr::column_refs).filter(|column| is_number(column.name())) {
            numbers.insert(column.name().to_owned(), schema.field_with_name(column.name())?.data_type().clone());
        }
        let picks_few = filters.iter().any(is_one_text);
        Ok(Self { whole, numbers: numbers.into_iter().collect(), picks_few })
    }

    /// Whether no number that the condition looks at can lie outside a file's own bounds. Parquet leaves NaN out of them,
    /// and SQL orders it above all numbers; a file of ours has bounds in the log only where it holds none.
    fn is_bounded(&self, file: &DataFile) -> bool {
        let is_bounded = |(name, kind): &(String, DataType)| {
            let Some(stats) = file.stats() else { return false };
            stats.max(name, kind).is_some() || stats.null_count(name) == file.rows
        };
        self.numbers.is_empty() || (is_ours(file) && self.numbers.iter().all(is_bounded))
    }
}

/// `column = 'text'`, as a record is asked for by its id.
fn is_one_text(filter: &Expr) -> bool {
    let is_text = |value: &ScalarValue| matches!(value, ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)));
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return false };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(_)) => is_text(value),
        _ => false,
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let condition = Condition::of(state, &self.schema, filters)?;
        let (published, staged) = self.files();
        plans.extend(self.scan_files(state, published, true, projection, &condition)?);
        if matches!(self.part, Part::Live) {
            plans.extend(self.scan_files(state, staged, false, projection, &condition)?);
            let early = self.view.tail.early.clone();
            plans.extend(self.scan_files(state, early, false, projection, &condition)?);
            plans.extend(self.scan_rows(projection, state.config().target_partitions())?);
        }
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(indices) => Arc::new(self.schema.project(indices)?),
                    None => Arc::clone(&self.schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => plans.pop().map_or_else(|| datafusion::common::internal_err!("a plan went missing"), Ok),
            _ => UnionExec::try_new(plans),
        }
    }
}
