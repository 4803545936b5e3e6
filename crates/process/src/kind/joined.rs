//! The delivered tables that a model joins, in memory, read again when they change.
//!
//! Beside that it is known of each how far the rows of the output are made with it. Invariant: what the plan joins to is
//! one pinned value of each table, and every row of the output is as the version says up to which it was made again, or a
//! later one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_contract::DatasetName;
use vitalake_lake::{Table, TableView, TxnId};

use crate::append::AppendPlan;
use crate::error::{Error, Result};
use crate::run::{Job, table_id};

/// The joined tables of one model.
pub(crate) struct Joined {
    pub(super) tables: Vec<JoinedTable>,
    pub(super) bytes_max: usize,
}

/// One of them.
pub(super) struct JoinedTable {
    /// Its place among the model's tables.
    pub(super) position: usize,
    pub(super) table: Arc<Table>,
    /// Names its versions in the commits of the output.
    pub(super) txn: TxnId,
    /// The version that all rows of the output are made with, or a later one; `None` where nobody knows.
    pub(super) made_with: Option<i64>,
    shown: Option<Arc<TableView>>,
}

impl JoinedTable {
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.table.head().version().0).unwrap_or(i64::MAX)
    }

    pub(super) fn id(&self) -> String {
        self.table.head().metadata().id.clone()
    }
}

impl Joined {
    pub(crate) fn of(job: &Job) -> Result<Self> {
        let mut tables = Vec::new();
        for (position, used) in job.model.tables.iter().enumerate().skip(1) {
            if let Ok(name) = DatasetName::new(&used.table) {
                let table = Arc::clone(job.lake.table(&name)?);
                let txn = TxnId::model(&job.model.dataset, &table.head().metadata().id);
                let made_with = job.output.committed_txn(&txn);
                if let Some(version) = made_with {
                    job.progress.joined(&table.head().metadata().id, version);
                }
                tables.push(JoinedTable { position, table, txn, made_with, shown: None });
            }
        }
        Ok(Self { tables, bytes_max: job.options.joined_bytes_max })
    }

    /// The committed version that all rows are made with of each table, with the table's id.
    pub(crate) fn versions(&self) -> Vec<(String, i64)> {
        self.tables.iter().filter_map(|joined| Some((joined.id(), joined.made_with?))).collect()
    }

    /// Whether a table has another version than the one that all rows are made with.
    pub(crate) fn has_moved(&self) -> bool {
        self.tables.iter().any(|joined| joined.made_with != Some(joined.version()))
    }

    /// Waits until one has.
    pub(crate) async fn moves(&self) {
        let waiting = self.tables.iter().map(|joined| {
            let mut moved = joined.table.watch();
            Box::pin(async move {
                while joined.made_with == Some(joined.version()) {
                    if moved.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            })
        });
        let waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(waiting).await;
    }

    /// Gives the plan the tables as they are now.
    pub(crate) async fn refresh(&mut self, job: &Job, plan: &AppendPlan) -> Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let pinned = job.lake.pin();
        for joined in &mut self.tables {
            let contract = joined.table.contract();
            let Some(view) = pinned.table(&table_id(contract.layer, &contract.dataset)) else { continue };
            if joined.shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, view)) {
                continue;
            }
            let rows = rows_of(&joined.table, view, plan.needed(joined.position), self.bytes_max).await?;
            plan.set_joined(joined.position, &rows)?;
            joined.shown = Some(Arc::clone(view));
        }
        Ok(())
    }
}

/// The rows of a pinned table, wherever they are.
pub(super) async fn rows_of(
    table: &Table,
    view: &TableView,
    columns: &[String],
    bytes_max: usize,
) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    let files = view.head.files().filter(|file| !view.tail.hidden.contains(file.path()));
    for file in files.chain(&view.tail.early) {
        for batch in table.read_columns(file, columns).await? {
            bytes += batch.get_array_memory_size();
            rows.push(batch);
        }
        if bytes > bytes_max {
            return Err(Error::JoinedTooLarge { table: view.id.to_string(), bytes, bytes_max });
        }
    }
    rows.extend(view.tail.rows.iter().cloned());
    Ok(rows)
}
