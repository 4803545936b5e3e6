//! Reading quarantine: files as streams of batches, and all of a pinned value's rejects, whether committed or not.
//!
//! Invariant: memory is bounded by a batch and a column chunk, however many rejects there are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::catalogue::{Space, TableId, TableView};
use crate::delta::{DataFile, DeltaError};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::parquet::read_file;
use crate::side::SideName;
use crate::table::Table;

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

impl Table {
    /// The name of its quarantine.
    pub(crate) fn rejects_id(&self) -> TableId {
        TableId::new(Space::Quarantine, self.contract.dataset.clone())
    }

    /// Rejects of one file, with these columns; with all where none are named.
    pub(crate) async fn stream_rejects(
        &self,
        file: &DataFile,
        columns: Option<&[&str]>,
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        let schema = Arc::clone(&self.state.lock().side(SideName::Rejects).schema);
        let id = self.rejects_id();
        let location = file.location(&id.root());
        let schema = columns.map_or_else(|| Arc::clone(&schema), |columns| chosen(&schema, columns));
        let failed =
            move |source: DeltaError| LakeError::Parquet { attempt: "reading a file", table: id.clone(), source };
        let rows = read_file(&self.shared.store, &location, file.size_bytes(), &schema, BATCH_ROWS).await;
        Ok(rows.map_err(&failed)?.map_err(failed).boxed())
    }

    /// All of one file of a side.
    pub(crate) async fn stream_side(
        &self,
        side: SideName,
        file: &DataFile,
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        if side == SideName::Rejects {
            return self.stream_rejects(file, None).await;
        }
        let (id, schema) = (self.id(), self.schema());
        let location = file.location(&id.root());
        let failed =
            move |source: DeltaError| LakeError::Parquet { attempt: "reading a file", table: id.clone(), source };
        let rows = read_file(&self.shared.store, &location, file.size_bytes(), &schema, BATCH_ROWS).await;
        Ok(rows.map_err(&failed)?.map_err(failed).boxed())
    }
}

impl Lake {
    /// All rejects of a pinned quarantine, committed ones first, with these columns.
    #[must_use]
    pub fn rejects<'a>(
        &'a self,
        view: &'a TableView,
        columns: &[&str],
    ) -> BoxStream<'a, Result<RecordBatch, LakeError>> {
        let schema = chosen(&view.schema, columns);
        let files: Vec<&Arc<DataFile>> = view.head.files().chain(&view.tail.early).collect();
        let of_files = {
            let schema = Arc::clone(&schema);
            futures::stream::iter(files)
                .then(move |file| {
                    let schema = Arc::clone(&schema);
                    async move {
                        let location = file.location(&view.root);
                        read_file(self.store(), &location, file.size_bytes(), &schema, BATCH_ROWS).await
                    }
                })
                .try_flatten()
                .map_err(|source| LakeError::Parquet { attempt: "reading a file", table: view.id.clone(), source })
        };
        let of_memory = futures::stream::iter(&view.tail.rows).map(move |batch| Ok(projected(batch, &schema)));
        of_files.chain(of_memory).boxed()
    }
}

/// A batch with the columns of a schema that it has.
pub(crate) fn projected(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let places: Vec<usize> =
        schema.fields().iter().filter_map(|field| batch.schema_ref().index_of(field.name()).ok()).collect();
    batch.project(&places).unwrap_or_else(|_| batch.clone())
}

/// The columns of a schema that are named.
pub(crate) fn chosen(schema: &SchemaRef, columns: &[&str]) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| columns.contains(&field.name().as_str()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}
