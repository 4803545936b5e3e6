//! What `validate` says about a model: its SELECT planned over empty tables and compared with its contract.
//!
//! Pure. Invariant: a model without a problem here can be compiled and run.

use arrow::datatypes::SchemaRef;

use crate::append;
use crate::error::{Error, Result};
use crate::graph::Contracts;
use crate::model::{Kind, Model};
use crate::plan::{self, Planned};
use crate::problem::ModelProblem;
use crate::rollup::RollupShape;

/// Every problem of a model against the contracts: columns, types, and what its kind does not allow.
#[must_use]
pub fn validate_model(model: &Model, contracts: &Contracts) -> Vec<ModelProblem> {
    let mut problems = plan::wildcard_problems(model);
    if !problems.is_empty() {
        return problems;
    }
    let Some(contract) = contracts.get(&model.dataset) else {
        let message = format!("the model's dataset {} has no contract", model.dataset);
        return vec![ModelProblem::at(
            model.place,
            message,
            format!("add contracts/{}/{}.yaml", model.layer, model.dataset),
        )];
    };
    let schemas = match plan::input_schemas(model, contracts) {
        Ok(schemas) => schemas,
        Err(problem) => return vec![problem],
    };
    let planned = match plan::plan(model, model.query.as_ref().clone(), &schemas) {
        Ok(planned) => planned,
        Err(problem) => return vec![problem],
    };
    problems.extend(plan::plan_problems(model, &planned.plan));
    problems.extend(plan::contract_problems(model, contract, planned.plan.schema().as_arrow()));
    if problems.is_empty() {
        problems.extend(analysis_problem(model, &planned));
    }
    if problems.is_empty() && model.kind == Kind::Rollup {
        problems.extend(RollupShape::of(model, contract, &planned.plan).err().unwrap_or_default());
    }
    problems
}

/// Types are checked when the plan is analysed, functions' arguments among them.
fn analysis_problem(model: &Model, planned: &Planned) -> Option<ModelProblem> {
    planned.state.optimize(&planned.plan).err().map(|error| plan::engine_problem(&error, model.place))
}

/// The columns of a model's table as it is stored: the contract's, then the hidden ones, which begin with `_`. For an
/// append model that is `_ingested_at`; for a rollup what the merge of its aggregates needs.
///
/// # Errors
/// When the model cannot be planned.
pub fn stored_schema(model: &Model, contracts: &Contracts) -> Result<SchemaRef> {
    let error = |problem: ModelProblem| Error::Model { model: model.dataset.clone(), problem: Box::new(problem) };
    let contract = contracts.get(&model.dataset).ok_or_else(|| {
        error(ModelProblem::at(model.place, "the model's dataset has no contract", "add its contract"))
    })?;
    match model.kind {
        Kind::Append => Ok(append::stored_schema(contract)),
        Kind::Rollup => {
            let schemas = plan::input_schemas(model, contracts).map_err(error)?;
            let planned = plan::plan(model, model.query.as_ref().clone(), &schemas).map_err(error)?;
            let shape = RollupShape::of(model, contract, &planned.plan).map_err(|problems| {
                problems.into_iter().next().map_or_else(
                    || error(ModelProblem::at(model.place, "the rollup cannot be planned", "simplify it")),
                    error,
                )
            })?;
            Ok(shape.stored_schema())
        }
    }
}
