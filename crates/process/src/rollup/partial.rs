//! A rollup as plans that are made once: new rows to partial groups, and groups to the rows that are stored.
//!
//! Between the reader of changes and the leaves. Invariant: partial groups have the shape's state columns, stored rows
//! its stored columns; nothing here depends on what the table holds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;

use crate::engine::{Engine, On, Ran};
use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::model::Model;
use crate::plan::{Planned, engine_problem, named_schemas, plan};
use crate::problem::ModelProblem;
use crate::rollup::order::of_order_key;
use crate::rollup::range::TimeOfInput;
use crate::rollup::shape::{Output, RollupShape};
use crate::rollup::statement;
use crate::slot::conform;

/// A compiled rollup model.
pub struct RollupPlan {
    shape: RollupShape,
    engine: Engine,
    finish: Finish,
    time_of_input: Option<TimeOfInput>,
}

/// Group and state columns to stored columns; cheap to clone, used wherever groups become rows.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) state_schema: SchemaRef,
    pub(crate) stored_schema: SchemaRef,
    columns: Arc<[Stored]>,
}

#[derive(Debug)]
enum Stored {
    Kept(usize),
    Computed(Arc<dyn PhysicalExpr>),
}

impl RollupPlan {
    /// Plans the model.
    ///
    /// # Errors
    /// When the SELECT cannot be planned; `validate` says the same with every other problem.
    pub async fn compile(model: &Model, contracts: &Contracts) -> Result<Self> {
        Self::compile_on(&On::DataFusion, model, contracts).await
    }

    /// The same for what it runs on.
    pub(crate) async fn compile_on(on: &On, model: &Model, contracts: &Contracts) -> Result<Self> {
        let problem = |problem| Error::Model { model: model.dataset.clone(), problem: Box::new(problem) };
        let engine = |source: DataFusionError| Error::Engine {
            model: model.dataset.clone(),
            attempted: "planning",
            source: Box::new(source),
        };
        let schemas = named_schemas(model, contracts).map_err(problem)?;
        let (planned, shape) = partial_plan(model, contracts, &schemas).map_err(problem)?;
        let finish = Finish::compile(&planned.state, &shape).map_err(engine)?;
        let time_of_input = TimeOfInput::of(&planned.state, &shape);
        let wanted = || statement::wanted(model, &schemas, &shape);
        let engine = Engine::compile_on(on, model, planned, wanted, "aggregating rows").await?;
        Ok(Self { shape, engine, finish, time_of_input })
    }

    /// The columns that the model reads of its input, in lower case.
    #[must_use]
    pub fn needed(&self) -> &[String] {
        self.engine.needed(0)
    }

    /// How the rollup is put together.
    #[must_use]
    pub fn shape(&self) -> &RollupShape {
        &self.shape
    }

    /// What of the time bucket the input's files tell; `None` where it is not made of one column alone.
    pub(crate) fn time_of_input(&self) -> Option<&TimeOfInput> {
        self.time_of_input.as_ref()
    }

    pub(crate) fn finish(&self) -> &Finish {
        &self.finish
    }

    /// The groups of some rows, with the state of their aggregates.
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's, or the engine fails.
    pub async fn partial(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let made = self.engine.run(rows).await?;
        self.as_states(&made)
    }

    /// The same, and the rows that cannot be aggregated.
    pub(crate) async fn partial_each(&self, rows: &[RecordBatch]) -> Result<Ran> {
        let mut ran = self.engine.run_each(rows).await?;
        ran.made = self.as_states(&ran.made)?;
        Ok(ran)
    }

    fn as_states(&self, made: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        made.iter().map(|batch| conform("a partial result", batch, &self.finish.state_schema)).collect()
    }
}

impl Finish {
    fn compile(state: &datafusion::execution::SessionState, shape: &RollupShape) -> Result<Self, DataFusionError> {
        let state_schema = shape.state_schema();
        let schema = DFSchema::try_from(Arc::clone(&state_schema))?;
        let mut columns = Vec::new();
        for (_, output) in &shape.outputs {
            columns.push(match output {
                Output::Kept(index) => Stored::Kept(*index),
                Output::Computed(expr) => Stored::Computed(state.create_physical_expr(expr.clone(), &schema)?),
            });
        }
        for hidden in shape.hidden() {
            columns.push(Stored::Kept(state_schema.index_of(&hidden.name)?));
        }
        Ok(Self { state_schema, stored_schema: shape.stored_schema(), columns: columns.into() })
    }

    /// The stored rows of some groups.
    pub(crate) fn rows(&self, state: &RecordBatch) -> Result<RecordBatch> {
        let internal = |source| Error::Arrow { attempted: "making a rollup's rows", source };
        let columns = self.columns.iter().map(|column| match column {
            Stored::Kept(index) => Ok(Arc::clone(state.column(*index))),
            Stored::Computed(expr) => computed(expr, state),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>().map_err(internal)?;
        RecordBatch::try_new(Arc::clone(&self.stored_schema), columns).map_err(internal)
    }

    /// The groups that stored rows hold.
    pub(crate) fn state(&self, stored: &RecordBatch) -> Result<RecordBatch> {
        conform("a file of the rollup", stored, &self.state_schema)
    }
}

/// An output of some groups. Where they cannot be computed together each is by itself, and null where it cannot be.
fn computed(expr: &Arc<dyn PhysicalExpr>, state: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let of = |groups: &RecordBatch| {
        let value = std::panic::catch_unwind(AssertUnwindSafe(|| expr.evaluate(groups))).ok()?;
        value.and_then(|value| value.into_array(groups.num_rows())).ok()
    };
    if let Some(values) = of(state) {
        return Ok(values);
    }
    let kind = expr.data_type(state.schema_ref())?;
    let each: Vec<ArrayRef> = (0..state.num_rows())
        .map(|group| of(&state.slice(group, 1)).unwrap_or_else(|| new_null_array(&kind, 1)))
        .collect();
    concat(&each.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

/// The plan from the input's rows to groups and states.
fn partial_plan(
    model: &Model,
    contracts: &Contracts,
    schemas: &[SchemaRef],
) -> Result<(Planned, RollupShape), ModelProblem> {
    let contract = contracts
        .get(&model.dataset)
        .ok_or_else(|| ModelProblem::at(model.place, "the model's dataset has no contract", "add its contract"))?;
    let planned = plan(model, model.query.as_ref().clone(), schemas)?;
    let shape = RollupShape::of(model, contract, &planned.plan).map_err(|problems| {
        problems
            .into_iter()
            .next()
            .unwrap_or_else(|| ModelProblem::at(model.place, "the rollup cannot be planned", "simplify it"))
    })?;
    let plan = over_input(&shape).map_err(|error| engine_problem(&error, model.place))?;
    Ok((Planned { plan, ..planned }, shape))
}

fn over_input(shape: &RollupShape) -> Result<LogicalPlan, DataFusionError> {
    let aggregate = &shape.aggregate;
    // A cast does not show in the name of an expression, so the names are given.
    let named =
        shape.states.iter().enumerate().map(|(index, state)| state.source.clone().alias(format!("__state_{index}")));
    let sources: Vec<Expr> = named.collect();
    let grouped = LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
        .aggregate(aggregate.group_expr.clone(), sources)?
        .build()?;
    let names = shape.state_schema();
    let columns: Vec<Expr> = grouped
        .schema()
        .columns()
        .into_iter()
        .zip(names.fields())
        .enumerate()
        .map(|(index, (column, field))| {
            let state = index.checked_sub(shape.groups.len()).and_then(|index| shape.states.get(index));
            let value = Expr::Column(column);
            let value = if state.is_some_and(|state| state.keyed) { of_order_key(value) } else { value };
            Expr::Cast(Cast::new(Box::new(value), field.data_type().clone())).alias(field.name())
        })
        .collect();
    LogicalPlanBuilder::from(grouped).project(columns)?.build()
}
