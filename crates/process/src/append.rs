//! An append model as a plan that is made once and run for every micro-batch: filter, map and join to delivered tables.
//!
//! Between the reader of changes and the rules. Invariant: the rows that come out have the contract's columns, in its
//! order, then the hidden ones; their order is that of the driving rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::ident;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, Query, SelectItem, SetExpr};
use vitalake_contract::{Contract, Layer, contract::raw_system_fields};

use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::model::Model;
use crate::plan::{INGESTED_AT, Planned, input_schemas, plan};
use crate::problem::ModelProblem;
use crate::session::instant;
use crate::slot::Slot;

/// The columns of the driving row that go with a derived row, so that a reject can be traced to its record.
const LINEAGE: [&str; 4] = [INGESTED_AT, "_topic", "_partition", "_offset"];

/// The stored schema of an append model's table: the contract's columns, then the hidden time of arrival.
pub(crate) fn stored_schema(contract: &Contract) -> SchemaRef {
    let mut fields: Vec<Field> = contract.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(INGESTED_AT, instant(), true));
    Arc::new(Schema::new(fields))
}

/// A compiled append model.
pub struct AppendPlan {
    model: Model,
    slots: Vec<Arc<Slot>>,
    needed: Vec<Vec<String>>,
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
}

impl AppendPlan {
    /// Plans the model.
    ///
    /// # Errors
    /// When the SELECT cannot be planned; `validate` says the same with every other problem.
    pub async fn compile(model: &Model, contracts: &Contracts) -> Result<Self> {
        let problem = |problem| Error::Model { model: model.dataset.clone(), problem: Box::new(problem) };
        let engine = |source: DataFusionError| Error::Engine {
            model: model.dataset.clone(),
            attempted: "planning",
            source: Box::new(source),
        };
        let contract = contracts.get(&model.dataset).ok_or_else(|| {
            problem(ModelProblem::at(model.place, "the model's dataset has no contract", "add its contract"))
        })?;
        let schemas = input_schemas(model, contracts).map_err(problem)?;
        // Planned twice: the first plan shows which columns are needed, the second reads only those.
        let whole = output_plan(model, contract, &schemas).map_err(problem)?;
        let optimized = whole.state.optimize(&whole.plan).map_err(engine)?;
        let schemas = needed_schemas(model, &optimized, &schemas);
        let Planned { state, plan, slots } = output_plan(model, contract, &schemas).map_err(problem)?;
        let physical = state.create_physical_plan(&plan).await.map_err(engine)?;
        let needed = schemas.iter().map(|s| s.fields().iter().map(|f| f.name().clone()).collect()).collect();
        let schema = physical.schema();
        Ok(Self { model: model.clone(), slots, needed, physical, context: state.task_ctx(), schema })
    }

    /// The columns that the model reads of one of its tables, in lower case.
    #[must_use]
    pub fn needed(&self, table: usize) -> &[String] {
        self.needed.get(table).map_or(&[], Vec::as_slice)
    }

    /// The columns of the rows that [`Self::run`] gives: the contract's, `_ingested_at`, and for a raw input its
    /// `_topic`, `_partition` and `_offset`.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sets the rows of a joined table (from one; nought is the driving table).
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    pub fn set_joined(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        match (self.slots.get(table), self.model.tables.get(table)) {
            (Some(slot), Some(used)) if table > 0 => slot.set(&format!("{}.{}", used.schema, used.table), rows),
            _ => Ok(()),
        }
    }

    /// What the model makes of new rows of its driving table.
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's, or the engine fails.
    pub async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let (Some(slot), Some(used)) = (self.slots.first(), self.model.tables.first()) else { return Ok(Vec::new()) };
        slot.set(&format!("{}.{}", used.schema, used.table), rows)?;
        let made = self.execute().await;
        slot.clear();
        made.map_err(|source| Error::Engine {
            model: self.model.dataset.clone(),
            attempted: "deriving rows",
            source: Box::new(source),
        })
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

/// The model's plan with the contract's columns in order and type, and the lineage after them.
fn output_plan(model: &Model, contract: &Contract, schemas: &[SchemaRef]) -> Result<Planned, ModelProblem> {
    let lineage = lineage(model, schemas);
    let mut query: Query = model.query.as_ref().clone();
    if let (SetExpr::Select(select), Some(driving)) = (query.body.as_mut(), model.driving()) {
        for name in &lineage {
            let column = SqlExpr::CompoundIdentifier(vec![
                Ident::with_quote('`', &driving.alias),
                Ident::with_quote('`', *name),
            ]);
            select.projection.push(SelectItem::ExprWithAlias { expr: column, alias: Ident::with_quote('`', *name) });
        }
    }
    let Planned { state, plan, slots } = plan(model, query, schemas)?;
    let mut outputs: Vec<Expr> = contract
        .columns
        .iter()
        .map(|column| {
            let from = ident(column.name.to_lowercase());
            Expr::Cast(Cast::new(Box::new(from), column.kind.arrow())).alias(column.name.as_ref())
        })
        .collect();
    outputs.extend(lineage.iter().map(|name| ident(*name)));
    let plan = LogicalPlanBuilder::from(plan).project(outputs).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(|error| crate::plan::engine_problem(&error, model.place))?;
    Ok(Planned { state, plan, slots })
}

/// The hidden columns that the driving table has.
fn lineage(model: &Model, schemas: &[SchemaRef]) -> Vec<&'static str> {
    let raw = model.driving().is_some_and(|table| table.schema == Layer::Raw.as_str());
    debug_assert!(raw_system_fields().iter().any(|f| f.name() == INGESTED_AT));
    let have = |name: &str| schemas.first().is_some_and(|s| s.field_with_name(name).is_ok());
    LINEAGE.into_iter().filter(|name| (raw || *name == INGESTED_AT) && have(name)).collect()
}

/// The input schemas without the columns that an optimised plan does not scan.
pub(crate) fn needed_schemas(model: &Model, plan: &LogicalPlan, schemas: &[SchemaRef]) -> Vec<SchemaRef> {
    let mut scanned: Vec<(String, String, Vec<String>)> = Vec::new();
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = scan.projected_schema.fields().iter().map(|f| f.name().clone()).collect();
            let schema = scan.table_name.schema().unwrap_or_default().to_owned();
            scanned.push((schema, scan.table_name.table().to_owned(), columns));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let tables = model.tables.iter().zip(schemas);
    tables
        .map(|(table, schema)| {
            let found = scanned.iter().find(|(s, t, _)| *s == table.schema && *t == table.table);
            let Some((_, _, columns)) = found else { return Arc::clone(schema) };
            let kept = schema.fields().iter().filter(|f| columns.contains(f.name())).cloned();
            Arc::new(Schema::new(kept.collect::<Vec<_>>()))
        })
        .collect()
}
