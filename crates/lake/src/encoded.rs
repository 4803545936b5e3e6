//! The files of a scan read row group by row group, with texts as the files' own dictionaries: for operators that need a
//! number for each text and not the text itself.
//!
//! Readers share what there is to do, so that none is idle while another has a large file. Invariant: each row of each
//! file is given out once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource as _, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::Column;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;

use crate::delta::DeltaError;
use crate::parquet::OpenFile;

/// What a reader takes next.
enum Part {
    File(Path, u64),
    RowGroup(OpenFile, usize),
}

/// The files of a scan.
pub struct EncodedFiles {
    store: ObjectStoreUrl,
    schema: SchemaRef,
    texts: Vec<String>,
    /// What is still to be read; the last comes first.
    parts: Mutex<Vec<Part>>,
}

impl std::fmt::Debug for EncodedFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "EncodedFiles of {:?}", self.texts)
    }
}

impl EncodedFiles {
    /// The files of a scan that reads them whole, with the texts that may come by dictionary; `None` of other scans.
    #[must_use]
    pub fn of(scan: &DataSourceExec, texts: &[&str]) -> Option<Self> {
        let (config, source) = scan.downcast_to_file_source::<ParquetSource>()?;
        let whole = source.filter().is_none() && config.limit.is_none() && !config.preserve_order;
        if !whole || !of_files_alone(config) {
            return None;
        }
        let parts = config.file_groups.iter().flat_map(|group| group.files());
        // A file that was split among readers is there more than once.
        let files: BTreeMap<&Path, u64> =
            parts.map(|part| (&part.object_meta.location, part.object_meta.size)).collect();
        let mut files: Vec<Part> = files.into_iter().map(|(path, bytes)| Part::File(path.clone(), bytes)).collect();
        files.sort_by_key(|part| if let Part::File(_, bytes) = part { *bytes } else { 0 });
        let schema = config.projected_schema().ok()?;
        let texts = texts.iter().map(|name| (*name).to_owned()).collect();
        Some(Self { store: config.object_store_url.clone(), schema, texts, parts: Mutex::new(files) })
    }

    /// The rows that no other reader takes, with the columns of the scan; the texts may be
    /// [`crate::parquet::dictionary`]s.
    ///
    /// # Errors
    /// When the environment does not know the scan's store.
    pub fn read(self: &Arc<Self>, context: &TaskContext) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let store = context.runtime_env().object_store(&self.store)?;
        let (files, rows_max) = (Arc::clone(self), context.session_config().batch_size());
        let groups = stream::try_unfold((), move |()| {
            let (files, store) = (Arc::clone(&files), Arc::clone(&store));
            async move { files.next(&store, rows_max).await.map(|rows| rows.map(|rows| (rows, ()))) }
        });
        Ok(groups.try_flatten().map_err(failed).boxed())
    }

    /// The rows of the next row group.
    async fn next(
        &self,
        store: &Arc<dyn ObjectStore>,
        rows_max: usize,
    ) -> Result<Option<BoxStream<'static, Result<RecordBatch, DeltaError>>>, DeltaError> {
        loop {
            let part = self.parts.lock().pop();
            match part {
                None => return Ok(None),
                Some(Part::File(location, bytes)) => {
                    let file = OpenFile::open(store, &location, bytes).await?;
                    let groups = (0..file.row_groups()).rev().map(|index| Part::RowGroup(file.clone(), index));
                    self.parts.lock().extend(groups);
                }
                Some(Part::RowGroup(file, index)) => {
                    return file.rows(Some(index), &self.schema, &self.texts, rows_max).map(Some);
                }
            }
        }
    }
}

/// Whether all that a scan gives are columns of its files, as they are there.
fn of_files_alone(config: &FileScanConfig) -> bool {
    let of_files = config.file_schema();
    let Some(projection) = config.file_source().projection() else { return false };
    projection.iter().all(|projected| {
        let column = projected.expr.downcast_ref::<Column>();
        column.is_some_and(|column| column.index() < of_files.fields().len() && column.name() == projected.alias)
    })
}

/// As the engine's own scan says it.
fn failed(error: DeltaError) -> DataFusionError {
    match error {
        DeltaError::Parquet { source, .. } => source.into(),
        DeltaError::Arrow { source, .. } => source.into(),
        error => DataFusionError::External(Box::new(error)),
    }
}
