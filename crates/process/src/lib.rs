//! The middle: models are parsed, put in order, planned with Spark's meaning, and run over what is new.
//!
//! `syntax`, `model`, `graph`, `functions`, `plan` and `validate` are pure; `engine` runs a plan; `append`, `rollup`,
//! `duplicates` and `check` work on Arrow batches; `kind` makes of them the work of a model, and `run` drives it.
//! Invariant: the result of a model does not depend on how its input was cut.

mod append;
mod check;
mod column_lineage;
pub mod duplicates;
mod engine;
mod error;
pub mod functions;
pub mod gate;
mod graph;
mod groups;
mod header;
mod increment;
mod kind;
mod lineage;
mod model;
mod origins;
mod plan;
mod preview;
mod problem;
pub mod quality;
mod replay;
pub mod rollup;
mod run;
mod session;
mod slot;
mod syntax;
mod upsert;
mod validate;

pub use append::AppendPlan;
pub use check::{PRIMARY_KEY_RULE, sql_rules};
pub use column_lineage::{ColumnLineage, Direct, Indirect, MadeOf, column_lineage};
pub use engine::{Engines, spark};
pub use error::{Error, Result};
pub use graph::{Contracts, Graph, GraphProblem};
pub use kind::{MODEL_EXPRESSION_RULE, SEQUENCE_RULE, stored_schema};
pub use model::{EngineName, Kind, Model, TableUse};
pub use origins::{ColumnName, Origins, carried, keeps_apart, origins, with_inherited_classes};
pub use plan::INGESTED_AT;
pub use preview::{PreviewError, preview};
pub use problem::{ModelProblem, Place};
pub use run::{
    Consumed, FollowInputs, Following, ModelState, ModelStatus, Models, ModelsOptions, RunningStatement, consumed,
    has_rows_to_consume, table_specs,
};
pub use validate::{problems_on_spark, validate_model};
