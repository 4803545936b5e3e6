//! The engine boundary: what a model's kind asks of whatever runs its SELECT. DataFusion in this process is the one that
//! there is; another is a variant here, and nothing outside this folder knows which one runs.
//!
//! `datafusion` runs a plan, `bounded` keeps what a function makes within a limit, `each` goes on with the other rows
//! where some cannot be run, and `blame` says which expression could not. Invariant: what an engine gives depends on the
//! rows and the joined tables alone, and no error of an engine that leaves here quotes a value.

mod blame;
pub(crate) mod bounded;
mod datafusion;
mod each;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::model::Model;
use crate::plan::Planned;

pub(crate) use blame::Blame;
pub(crate) use each::{FailedRow, Ran};

/// A model that an engine has compiled, to be run for every micro-batch.
pub(crate) enum Engine {
    /// In this process.
    DataFusion(Box<datafusion::Compiled>),
}

impl Engine {
    /// Compiles a plan of the model over empty tables. `attempted` says in errors what running it is.
    ///
    /// # Errors
    /// When the engine cannot make a plan of it.
    pub(crate) async fn compile(model: &Model, planned: Planned, attempted: &'static str) -> Result<Self> {
        Ok(Self::DataFusion(Box::new(datafusion::Compiled::of(model, planned, attempted).await?)))
    }

    /// The columns that are read of one of the model's tables, in lower case.
    pub(crate) fn needed(&self, table: usize) -> &[String] {
        match self {
            Self::DataFusion(compiled) => compiled.needed(table),
        }
    }

    /// The columns of what [`Self::run`] gives.
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::DataFusion(compiled) => compiled.schema(),
        }
    }

    /// Sets the rows of a joined table (from one; nought is the driving table).
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    pub(crate) fn set_joined(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        match self {
            Self::DataFusion(compiled) => compiled.set(table, rows),
        }
    }

    /// Rows of the driving table with the columns that are read of it.
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    fn as_read(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Self::DataFusion(compiled) => compiled.as_read(rows),
        }
    }

    /// What comes of new rows of the driving table.
    ///
    /// # Errors
    /// When the engine fails or panics; for which row, nobody knows then.
    pub(crate) async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        match self {
            Self::DataFusion(compiled) => compiled.run(rows).await,
        }
    }

    /// The same, where a row that cannot be run stops none of its neighbours.
    ///
    /// # Errors
    /// When the engine fails whatever the rows are.
    pub(crate) async fn run_each(&self, rows: &[RecordBatch]) -> Result<Ran> {
        each::run_each(self, rows).await
    }
}
