//! What `validate` says about a model: its SELECT planned over empty tables and compared with its contract.
//!
//! Pure. Invariant: a model without a problem here can be compiled and run.

use crate::graph::Contracts;
use crate::kind;
use crate::model::Model;
use crate::plan::{self, Planned};
use crate::problem::ModelProblem;

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
    let planned = match plan::plan_all(model, &model.query, &schemas) {
        Ok(planned) => planned,
        Err(problems) => return problems,
    };
    problems.extend(plan::plan_problems(model, &planned.plan));
    problems.extend(plan::contract_problems(model, contract, planned.plan.schema().as_arrow()));
    if problems.is_empty() {
        problems.extend(analysis_problem(model, &planned));
    }
    if problems.is_empty() {
        problems.extend(kind::problems(model, contract, &planned.plan));
    }
    problems
}

/// Types are checked when the plan is analysed, functions' arguments among them.
fn analysis_problem(model: &Model, planned: &Planned) -> Option<ModelProblem> {
    planned.state.optimize(&planned.plan).err().map(|error| plan::engine_problem(&error, model.place))
}
