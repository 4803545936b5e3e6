//! DataFusion as the engine: a physical plan over slots, made once.
//!
//! Invariant: a plan runs within its memory, writes no file, and a panic in it is an error of this run alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::FutureExt;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::plan::Planned;
use crate::slot::{Slot, conform};

/// Bytes that one model's joins and groups may hold while they run.
const MEMORY_BYTES_MAX: usize = 512 << 20;

/// A model's plan.
pub(crate) struct Compiled {
    model: Model,
    attempted: &'static str,
    slots: Vec<Arc<Slot>>,
    needed: Vec<Vec<String>>,
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
}

impl Compiled {
    pub(crate) async fn of(model: &Model, planned: Planned, attempted: &'static str) -> Result<Self> {
        let engine = |source: DataFusionError| Error::Engine {
            model: model.dataset.clone(),
            attempted: "planning",
            source: Box::new(source),
        };
        let Planned { state, plan, slots } = planned;
        let physical = AssertUnwindSafe(state.create_physical_plan(&plan)).catch_unwind().await;
        let physical = physical
            .map_err(|_| Error::Panicked { model: model.dataset.clone(), attempted: "planning" })?
            .map_err(engine)?;
        let environment = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES_MAX)))
            .build_arc()
            .map_err(engine)?;
        let context = TaskContext::from(&state).with_runtime(environment);
        let names = |slot: &Arc<Slot>| slot.columns().fields().iter().map(|f| f.name().clone()).collect();
        let needed = slots.iter().map(names).collect();
        let schema = physical.schema();
        Ok(Self { model: model.clone(), attempted, slots, needed, physical, context: Arc::new(context), schema })
    }

    /// The columns that are read of a table.
    pub(crate) fn columns(&self, table: usize) -> Option<&SchemaRef> {
        self.slots.get(table).map(|slot| slot.columns())
    }

    pub(crate) fn needed(&self, table: usize) -> &[String] {
        self.needed.get(table).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn set(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        match (self.slots.get(table), self.model.tables.get(table)) {
            (Some(slot), Some(used)) => slot.set(&format!("{}.{}", used.schema, used.table), rows),
            _ => Ok(()),
        }
    }

    pub(crate) fn as_read(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.slots.first().map_or_else(|| Ok(rows.clone()), |slot| conform("rows to run", rows, slot.columns()))
    }

    pub(crate) async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        self.set(0, rows)?;
        let made = AssertUnwindSafe(self.execute()).catch_unwind().await;
        if let Some(slot) = self.slots.first() {
            slot.clear();
        }
        let (model, attempted) = (self.model.dataset.clone(), self.attempted);
        match made {
            Ok(made) => made.map_err(|source| Error::Engine { model, attempted, source: Box::new(source) }),
            Err(_) => Err(Error::Panicked { model, attempted }),
        }
    }

    async fn execute(&self) -> Result<Vec<RecordBatch>, DataFusionError> {
        let plan = if self.slots.len() > 1 {
            reset_plan_states(Arc::clone(&self.physical))?
        } else {
            Arc::clone(&self.physical)
        };
        let mut rows = collect(plan, Arc::clone(&self.context)).await?;
        rows.retain(|batch| batch.num_rows() > 0);
        Ok(rows)
    }
}
