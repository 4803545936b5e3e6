//! What `validate` says about a model: its SELECT planned over empty tables and compared with its contract.
//!
//! Pure. Invariant: a model without a problem here can be compiled and run.

use crate::engine::spark::statement::{Statement, Wanted};
use crate::graph::Contracts;
use crate::kind;
use crate::model::{Kind, Model};
use crate::plan::{self, Planned};
use crate::problem::{ModelProblem, Place};
use crate::rollup;

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

/// What keeps a model that has no other problem from running on a Spark, offline: whether one is named, and whether the
/// text can be sent to it.
#[must_use]
pub fn problems_on_spark(model: &Model, contracts: &Contracts, has_spark: bool) -> Vec<ModelProblem> {
    if !has_spark {
        let is_engine =
            |line: &str| line.trim().strip_prefix("--").is_some_and(|text| text.trim().starts_with("engine"));
        let line = model.text.lines().position(is_engine).map_or(1, |line| line + 1);
        let help = "add `engines: {spark: 'sc://HOST:15002'}` to vitalake.yaml, or write `-- engine: datafusion`";
        return vec![ModelProblem::at(
            Place::new(line, 4),
            "the model runs on Spark, and vitalake.yaml names none",
            help,
        )];
    }
    let sent = match model.kind {
        Kind::Rollup => contracts.get(&model.dataset).map(|contract| rollup::sent(model, contract, contracts)),
        Kind::Append | Kind::Upsert | Kind::Full => Some(Statement::of(model, Wanted::default())),
    };
    sent.and_then(Result::err).into_iter().collect()
}

/// Types are checked when the plan is analysed, functions' arguments among them.
fn analysis_problem(model: &Model, planned: &Planned) -> Option<ModelProblem> {
    planned.state.optimize(&planned.plan).err().map(|error| plan::engine_problem(&error, model.place))
}
