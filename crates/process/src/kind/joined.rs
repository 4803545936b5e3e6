//! The delivered tables that a model joins, in memory, read again when they change.
//!
//! Invariant: what the plan joins to is one pinned value of each table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_contract::DatasetName;
use vitalake_lake::{Table, TableView};

use crate::append::AppendPlan;
use crate::error::{Error, Result};
use crate::run::{Job, table_id};

/// The joined tables of one model.
pub(crate) struct Joined {
    tables: Vec<JoinedTable>,
    bytes_max: usize,
}

struct JoinedTable {
    position: usize,
    table: Arc<Table>,
    shown: Option<Arc<TableView>>,
}

impl Joined {
    pub(crate) fn of(job: &Job) -> Result<Self> {
        let mut tables = Vec::new();
        for (position, used) in job.model.tables.iter().enumerate().skip(1) {
            if let Ok(name) = DatasetName::new(&used.table) {
                let table = Arc::clone(job.lake.table(&name)?);
                tables.push(JoinedTable { position, table, shown: None });
            }
        }
        Ok(Self { tables, bytes_max: job.options.joined_bytes_max })
    }

    /// The committed version that is joined of each table, with the table's id.
    pub(crate) fn versions(&self) -> Vec<(String, i64)> {
        let shown = self.tables.iter().filter_map(|joined| joined.shown.as_ref());
        let version = |view: &Arc<TableView>| {
            let version = i64::try_from(view.head.version().0).unwrap_or(i64::MAX);
            (view.head.metadata().id.clone(), version)
        };
        shown.map(version).collect()
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
async fn rows_of(table: &Table, view: &TableView, columns: &[String], bytes_max: usize) -> Result<Vec<RecordBatch>> {
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
