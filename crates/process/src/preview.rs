//! What a SELECT gives for rows that are at hand, without a project around it: for the tests that compare with Spark.
//!
//! The same way as a model's: parsed, bound, optimised, run over a slot. Invariant: nothing is folded away here that is
//! not in a model, and nothing is kept.

use arrow::array::RecordBatch;
use datafusion::physical_plan::collect;
use vitalake_contract::{DatasetName, Layer};

use crate::groups::as_spark_groups;
use crate::model::{Kind, Model};
use crate::plan::{Planned, plan_all, plan_problems};
use crate::problem::{ModelProblem, Place};
use crate::slot::lower_case;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The model is refused, for all of these reasons.
    #[error("the model is refused")]
    Refused(Vec<ModelProblem>),
    /// The model was accepted and failed on the rows.
    #[error("the model failed: {0}")]
    Failed(String),
}

/// Runs a model's text over rows of its one table.
///
/// # Errors
/// When the model is refused, or fails on the rows.
pub async fn preview(text: &str, rows: RecordBatch) -> Result<Vec<RecordBatch>, PreviewError> {
    let failed = |error: &dyn std::fmt::Display| PreviewError::Failed(error.to_string());
    let one = |message: &str| PreviewError::Refused(vec![ModelProblem::at(Place::new(1, 1), message, "mend it")]);
    let dataset = DatasetName::new("preview").map_err(|_| one("the dataset has no name"))?;
    let model = Model::parse(dataset, Layer::Curated, text).map_err(PreviewError::Refused)?;
    let schema = lower_case(rows.schema_ref());
    let Planned { state, mut plan, slots } =
        plan_all(&model, &model.query, &[schema]).map_err(PreviewError::Refused)?;
    if model.kind == Kind::Full {
        plan = as_spark_groups(plan).map_err(|error| failed(&error))?;
    }
    let problems = plan_problems(&model, &plan);
    if !problems.is_empty() {
        return Err(PreviewError::Refused(problems));
    }
    for slot in &slots {
        slot.set("the rows", std::slice::from_ref(&rows)).map_err(|error| failed(&error))?;
    }
    let physical = state.create_physical_plan(&plan).await.map_err(|error| failed(&error))?;
    collect(physical, state.task_ctx()).await.map_err(|error| failed(&error))
}
