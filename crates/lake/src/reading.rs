//! What models ask of a table beside its changes: the rows of one file, the newest change, the newest seal.
//!
//! Sits beside `reader`. Invariant: nothing here changes the table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::TryStreamExt;
use vitalake_runtime::events::Events;

use crate::catalogue::{Space, TableId};
use crate::delta::{DataFile, DeltaError, TableVersion, VersionChanges};
use crate::epoch::ChangeNumber;
use crate::error::LakeError;
use crate::parquet::read_file;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::TxnId;

/// Rows of a file that come as one batch.
const BATCH_ROWS: usize = 65_536;

impl Table {
    /// The rows of one of the table's files: the stored columns with these names, whatever their case.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_columns(&self, file: &DataFile, columns: &[String]) -> Result<Vec<RecordBatch>, LakeError> {
        let schema = self.schema();
        let chosen = schema.fields().iter().filter(|f| columns.iter().any(|c| c.eq_ignore_ascii_case(f.name())));
        let schema = Arc::new(Schema::new(chosen.cloned().collect::<Vec<_>>()));
        self.read(self.id(), file, schema).await
    }

    /// Where it is told what happens to it.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.shared.options.events
    }

    /// The rows of one of the table's files, with all stored columns.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_file(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        self.read(self.id(), file, self.schema()).await
    }

    /// The rejects of one of the quarantine's files.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_rejects(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let id = TableId::new(Space::Quarantine, self.contract.dataset.clone());
        self.read(id, file, vitalake_contract::contract::quarantine_schema()).await
    }

    /// The rejects of the last commit that carries a transaction and of those after it; none when the history no longer
    /// says which it was.
    ///
    /// # Errors
    /// When the log or a file cannot be read.
    pub async fn rejects_since(&self, txn: &TxnId) -> Result<Vec<RecordBatch>, LakeError> {
        let (log, head) = self.at(SideName::Rejects);
        let head = head.version();
        let id = TableId::new(Space::Quarantine, self.contract.dataset.clone());
        let mut files = Vec::new();
        for version in (1..=head.0).rev() {
            let changes = match log.changes(TableVersion(version - 1), TableVersion(version)).await {
                Err(DeltaError::HistoryCleaned { .. }) => break,
                changes => {
                    changes.map_err(|source| LakeError::Delta { attempt: "reading", table: id.clone(), source })?
                }
            };
            let carries =
                changes.iter().any(|change| change.txns.iter().any(|of_commit| of_commit.app_id == txn.as_str()));
            files.extend(changes.into_iter().flat_map(|change| change.added));
            if !carries {
                continue;
            }
            let mut rejects = Vec::new();
            for file in files {
                rejects.extend(self.read_rejects(&file).await?);
            }
            return Ok(rejects);
        }
        Ok(Vec::new())
    }

    /// What one version of the rows brought and says of itself; none where the log no longer has it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn version_changes(&self, version: TableVersion) -> Result<Option<VersionChanges>, LakeError> {
        let (log, _) = self.at(SideName::Rows);
        let failed = |source| LakeError::Delta { attempt: "reading the history", table: self.id(), source };
        let actions = log.read_commit(version).await.map_err(failed)?;
        Ok(actions.map(|actions| VersionChanges::of(version, actions)))
    }

    /// The number of the newest change that readers are given; rejects are none of theirs.
    #[must_use]
    pub fn last_change(&self) -> ChangeNumber {
        self.state.lock().changes.last_for_readers()
    }

    /// The number of the newest seal; 0 when there is none.
    #[must_use]
    pub fn last_seal(&self) -> u64 {
        self.state.lock().changes.last_seal_number()
    }

    async fn read(&self, id: TableId, file: &DataFile, schema: SchemaRef) -> Result<Vec<RecordBatch>, LakeError> {
        let (store, location, bytes) = (Arc::clone(&self.shared.store), file.location(&id.root()), file.size_bytes());
        let reading = async move {
            let rows = read_file(&store, &location, bytes, &schema, BATCH_ROWS).await?;
            rows.try_collect::<Vec<_>>().await
        };
        let read = self.shared.cpu.spawn_cpu(reading).await.map_err(|source| LakeError::Interrupted {
            attempt: "reading a file",
            table: id.clone(),
            source,
        })?;
        read.map_err(|source| LakeError::Parquet { attempt: "reading a file", table: id, source })
    }
}
