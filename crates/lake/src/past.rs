//! A table as it was: an earlier version whole, and what has changed since one.
//!
//! What is derived from a table is made again from here when rows of it have changed. Invariant: what the log no longer
//! tells is said to be gone, never given in part.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::changes::Increment;
use crate::delta::{DataFile, DeltaError, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::parquet::read_file;
use crate::reader::net;
use crate::side::SideName;
use crate::table::Table;

/// Rows of a batch.
const BATCH_ROWS: usize = 65_536;

impl Table {
    /// The version of that number; `None` where the log no longer reaches back so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn snapshot_at(&self, version: i64) -> Result<Option<Arc<Snapshot>>, LakeError> {
        let (log, head) = self.at(SideName::Rows);
        let Ok(version) = u64::try_from(version).map(TableVersion) else { return Ok(None) };
        if head.version() == version {
            return Ok(Some(head));
        }
        let failed = |source| LakeError::Delta { attempt: "reading an earlier version", table: self.id(), source };
        Ok(log.load_at(version).await.map_err(failed)?.map(Arc::new))
    }

    /// What came and went after a version up to another, one commit after the other: who has seen any version between is
    /// told of what went since. `None` where the log no longer tells.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn changed_between(&self, from: i64, head: &Snapshot) -> Result<Option<Vec<Increment>>, LakeError> {
        let Ok(from) = u64::try_from(from).map(TableVersion) else { return Ok(None) };
        if from >= head.version() {
            return Ok(Some(Vec::new()));
        }
        match self.versions(from, head).await {
            Ok(history) => Ok(Some(history.into_iter().filter_map(|version| net(vec![version])).collect())),
            Err(LakeError::Delta { source: DeltaError::HistoryCleaned { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The rows of one of the table's files as they are read: the stored columns with these names, whatever their case.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn stream_columns(
        &self,
        file: &DataFile,
        columns: &[String],
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        let schema = self.schema();
        let chosen = schema.fields().iter().filter(|f| columns.iter().any(|c| c.eq_ignore_ascii_case(f.name())));
        self.stream(file, &Arc::new(Schema::new(chosen.cloned().collect::<Vec<_>>()))).await
    }

    /// The same with all stored columns.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn stream_file(
        &self,
        file: &DataFile,
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        self.stream(file, &self.schema()).await
    }

    async fn stream(
        &self,
        file: &DataFile,
        schema: &SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        let id = self.id();
        let location = file.location(&id.root());
        let failed =
            move |source: DeltaError| LakeError::Parquet { attempt: "reading a file", table: id.clone(), source };
        let rows = read_file(&self.shared.store, &location, file.size_bytes(), schema, BATCH_ROWS).await;
        Ok(rows.map_err(&failed)?.map_err(failed).boxed())
    }

    /// The last version of the rejects.
    #[must_use]
    pub fn rejects_head(&self) -> Arc<Snapshot> {
        self.at(SideName::Rejects).1
    }
}
