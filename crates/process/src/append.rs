//! An append model as a plan that is made once and run for every micro-batch: filter, map and join to delivered tables.
//!
//! Between the reader of changes and the rules. Invariant: the rows that come out have the contract's columns, in its
//! order, then the hidden ones; their order is that of the driving rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::{Cast, Expr, LogicalPlanBuilder};
use datafusion::prelude::ident;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, Query, SelectItem, SetExpr};
use vitalake_contract::Contract;

use crate::engine::spark::statement::{Column, Wanted};
use crate::engine::{Engine, On, Ran};
use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::model::Model;
use crate::plan::{LINEAGE, Planned, lineage_fields, named_schemas, plan};
use crate::problem::ModelProblem;
use crate::upsert::shape::{self, DELETED};

/// The stored schema of an append model's table: the contract's columns, then the hidden ones that say where a row comes
/// from.
pub(crate) fn stored_schema(contract: &Contract) -> SchemaRef {
    let mut fields: Vec<Field> = contract.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(lineage_fields());
    Arc::new(Schema::new(fields))
}

/// A compiled append model.
pub struct AppendPlan {
    engine: Engine,
}

impl AppendPlan {
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
        let contract = contracts.get(&model.dataset).ok_or_else(|| {
            problem(ModelProblem::at(model.place, "the model's dataset has no contract", "add its contract"))
        })?;
        let schemas = named_schemas(model, contracts).map_err(problem)?;
        let (planned, columns) = output_plan(model, contract, &schemas).map_err(problem)?;
        let wanted = || Ok(Wanted::by_row(model, columns));
        Ok(Self { engine: Engine::compile_on(on, model, planned, wanted, "deriving rows").await? })
    }

    /// The columns that the model reads of one of its tables, in lower case.
    #[must_use]
    pub fn needed(&self, table: usize) -> &[String] {
        self.engine.needed(table)
    }

    /// The columns of the rows that [`Self::run`] gives: the contract's, then those that say where a row comes from.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        self.engine.schema()
    }

    /// Sets the rows of a joined table (from one; nought is the driving table).
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's.
    pub fn set_joined(&self, table: usize, rows: &[RecordBatch]) -> Result<()> {
        self.engine.set_joined(table, rows)
    }

    /// What the model makes of new rows of its driving table.
    ///
    /// # Errors
    /// When a column has a type that cannot be the contract's, or the engine fails.
    pub async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        self.engine.run(rows).await
    }

    /// The same, and the rows that cannot be run.
    pub(crate) async fn run_each(&self, rows: &[RecordBatch]) -> Result<Ran> {
        self.engine.run_each(rows).await
    }
}

/// The model's plan with the contract's columns in order and type, those that an upsert's header names beside them, and
/// the lineage after them.
fn output_plan(
    model: &Model,
    contract: &Contract,
    schemas: &[SchemaRef],
) -> Result<(Planned, Vec<Column>), ModelProblem> {
    let mut query: Query = model.query.as_ref().clone();
    if let (SetExpr::Select(select), Some(driving)) = (query.body.as_mut(), model.driving()) {
        for name in LINEAGE {
            let column =
                SqlExpr::CompoundIdentifier(vec![Ident::with_quote('`', &driving.alias), Ident::with_quote('`', name)]);
            select.projection.push(SelectItem::ExprWithAlias { expr: column, alias: Ident::with_quote('`', name) });
        }
    }
    let Planned { state, plan, slots } = plan(model, query, schemas)?;
    let mut columns = columns_of(contract);
    for field in shape::extra_fields(model, contract, plan.schema().as_arrow()) {
        let from = if field.name() == DELETED { model.deleted.as_ref() } else { Some(field.name()) };
        let from = from.unwrap_or(field.name()).clone();
        columns.push(Column { from, to: field.name().clone(), kind: field.data_type().clone() });
    }
    let mut outputs: Vec<Expr> = columns.iter().map(cast_to).collect();
    outputs.extend(LINEAGE.map(ident));
    for field in lineage_fields() {
        columns.push(Column { from: field.name().clone(), to: field.name().clone(), kind: field.data_type().clone() });
    }
    let plan = LogicalPlanBuilder::from(plan).project(outputs).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(|error| crate::plan::engine_problem(&error, model.place))?;
    Ok((Planned { state, plan, slots }, columns))
}

/// A contract's columns, as a model gives them.
pub(crate) fn columns_of(contract: &Contract) -> Vec<Column> {
    let column = |column: &vitalake_contract::Column| Column {
        from: column.name.to_lowercase(),
        to: column.name.to_string(),
        kind: column.kind.arrow(),
    };
    contract.columns.iter().map(column).collect()
}

/// A column with its name and type.
pub(crate) fn cast_to(column: &Column) -> Expr {
    Expr::Cast(Cast::new(Box::new(ident(column.from.clone())), column.kind.clone())).alias(column.to.clone())
}
