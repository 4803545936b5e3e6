//! The engine boundary: what a model's kind asks of whatever runs its SELECT, DataFusion in this process or a Spark.
//! Nothing outside this folder knows which one runs.
//!
//! `datafusion` runs a plan, `spark` has a statement run, `bounded` keeps what a function makes within a limit, `each` goes on with the other rows
//! where some cannot be run, and `blame` says which expression could not. Invariant: what an engine gives depends on the
//! rows and the joined tables alone, and no error of an engine that leaves here quotes a value.

mod blame;
pub(crate) mod bounded;
mod datafusion;
mod each;
pub mod spark;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::model::{EngineName, Model};
use crate::plan::Planned;
use crate::problem::ModelProblem;
use spark::statement::{Statement, Wanted};
use spark::{OnSpark, Runs, Spark};

pub(crate) use blame::Blame;
pub(crate) use each::{FailedRow, Ran};

/// The engines that models may run on.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    /// The one of models whose header names none.
    pub otherwise: EngineName,
    /// The Spark, where there is one.
    pub spark: Option<Arc<dyn Spark>>,
}

impl Engines {
    /// The engine that a model runs on.
    #[must_use]
    pub fn of(&self, model: &Model) -> EngineName {
        model.engine.unwrap_or(self.otherwise)
    }

    /// What a model's plans run on.
    ///
    /// # Errors
    /// When it is to run on a Spark and there is none.
    pub(crate) fn on(&self, model: &Model, runs: &Arc<Runs>) -> Result<On> {
        match (self.of(model), &self.spark) {
            (EngineName::DataFusion, _) => Ok(On::DataFusion),
            (EngineName::Spark, Some(spark)) => {
                Ok(On::Spark(OnSpark { spark: Arc::clone(spark), runs: Arc::clone(runs) }))
            }
            (EngineName::Spark, None) => Err(Error::NoSpark { model: model.dataset.clone() }),
        }
    }
}

/// What a model's plans run on.
#[derive(Clone, Debug)]
pub(crate) enum On {
    /// This process.
    DataFusion,
    /// A Spark.
    Spark(OnSpark),
}

/// A model that an engine has compiled, to be run for every micro-batch.
pub(crate) enum Engine {
    /// In this process.
    DataFusion(Box<datafusion::Compiled>),
    /// On a Spark.
    Spark(Box<spark::Compiled>),
}

impl Engine {
    /// Compiles a plan of the model for what it runs on; `wanted` says what a statement has to give for the same columns.
    ///
    /// # Errors
    /// When the engine cannot make a plan of it.
    pub(crate) async fn compile_on(
        on: &On,
        model: &Model,
        planned: Planned,
        wanted: impl FnOnce() -> Result<Wanted, ModelProblem>,
        attempted: &'static str,
    ) -> Result<Self> {
        let On::Spark(on) = on else { return Self::compile(model, planned, attempted).await };
        let problem = |problem| Error::Model { model: model.dataset.clone(), problem: Box::new(problem) };
        let statement = wanted().and_then(|wanted| Statement::of(model, wanted)).map_err(problem)?;
        let planned = datafusion::Compiled::of(model, planned, attempted).await?;
        Ok(Self::Spark(Box::new(spark::Compiled::new(model, on.clone(), statement, planned))))
    }

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
            Self::Spark(compiled) => compiled.needed(table),
        }
    }

    /// The columns of what [`Self::run`] gives.
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::DataFusion(compiled) => compiled.schema(),
            Self::Spark(compiled) => compiled.schema(),
        }
    }

    /// Sets the rows of a joined table (from one; nought is the driving table).
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    pub(crate) fn set_joined(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        match self {
            Self::DataFusion(compiled) => compiled.set(table, rows),
            Self::Spark(compiled) => compiled.set(table, rows),
        }
    }

    /// Rows of the driving table with the columns that are read of it.
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    fn as_read(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Self::DataFusion(compiled) => compiled.as_read(rows),
            Self::Spark(compiled) => compiled.as_read(rows),
        }
    }

    /// What comes of new rows of the driving table.
    ///
    /// # Errors
    /// When the engine fails or panics; for which row, nobody knows then.
    pub(crate) async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        match self {
            Self::DataFusion(compiled) => compiled.run(rows).await,
            Self::Spark(compiled) => compiled.run(rows).await,
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
