//! A surface's own SQL: how its text is read, which forms and functions it has, and how it shows a plan.
//!
//! A surface gives its dialect when it opens sessions; everything else (policy, limits, planning, running) is the same
//! for all of them and stands in `session` and `plan`. A second surface is a second implementation of [`Dialect`].
//! Invariant: a dialect sees text, names and plans, never a row.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::Result as EngineResult;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{Expr, Query};

use crate::error::QueryError;
use crate::functions::zone::Zone;
use crate::pinned::Pinned;
use crate::plan::unique;
use crate::sql::parse::{Parsed, TextLimits};
use crate::sql::rewrite::Names;

/// Names of functions in capitals, and whether each makes one value of many.
pub type Routines = [(String, bool)];

/// What a client's SQL means on one surface.
pub trait Dialect: Debug + Send + Sync + 'static {
    /// The surface's name in metrics and logs.
    fn surface(&self) -> &'static str;

    /// Reads a text: exactly one query, or the wish to have one explained.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] with its place, or [`QueryError::ResourceLimit`].
    fn parse(&self, sql: &str, limits: &TextLimits) -> Result<Parsed, QueryError>;

    /// Puts the parameters in and brings the dialect's own forms to ones that the planner takes. Gives the labels of the
    /// columns where they differ from the planner's names.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] for a form, a name or a parameter that does not fit.
    fn rewrite(
        &self,
        query: &mut Query,
        parameters: &[Expr],
        names: &dyn Names,
    ) -> Result<Option<Vec<String>>, QueryError>;

    /// Functions that the engine does not have, or has with another meaning; they replace the engine's of that name, and
    /// count their results in `memory`.
    fn functions(&self, zone: Zone, memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>>;

    /// Functions that know the tables which a session sees.
    fn functions_over(&self, _pinned: &Arc<dyn Pinned>) -> Vec<Arc<ScalarUDF>> {
        Vec::new()
    }

    /// What columns are called that a `*` gave, from the planner's names.
    fn labels(&self, names: Vec<String>) -> Vec<String> {
        unique(names)
    }

    /// The engine's own functions that mean the same here: no other is reachable.
    fn engine_functions(&self) -> &'static [&'static str];

    /// The engine's own aggregates that mean the same here, with those that rewritten forms need.
    fn engine_aggregates(&self) -> &'static [&'static str];

    /// What operators mean, asked before the engine's own planners; it calls these functions.
    fn planner(&self, functions: &[Arc<ScalarUDF>]) -> Arc<dyn ExprPlanner>;

    /// What expressions mean where types are known, before the engine's own coercion; it calls these functions.
    fn analysis(&self, functions: &[Arc<ScalarUDF>]) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>>;

    /// Names of forms that [`Dialect::rewrite`] takes as functions.
    fn written_forms(&self) -> &'static [(&'static str, bool)];

    /// How the planner reads names, nulls and types.
    fn config(&self) -> SessionConfig;

    /// What is answered to EXPLAIN: a batch whose columns are the answer's.
    ///
    /// # Errors
    /// When the batch cannot be made, which would be a mistake of ours.
    fn explanation(&self, plan: &LogicalPlan, labels: &[String]) -> EngineResult<RecordBatch>;

    /// The one catalogue, which is also the schema of a table that is named without one.
    fn catalogue(&self) -> &'static str;

    /// Every schema, whether or not it has tables.
    fn schemata(&self) -> &'static [&'static str];

    /// The layer whose tables a schema shows.
    fn layer<'a>(&self, schema: &'a str) -> &'a str;

    /// A table of a layer as this surface shows it.
    ///
    /// # Errors
    /// When it cannot be made, which would be a mistake of ours.
    fn table(&self, pinned: &dyn Pinned, layer: &str, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        Ok(pinned.provider(layer, name))
    }

    /// The tables of a schema that tells of the others; `None` when it is none of those.
    fn system_tables(&self, schema: &str) -> Option<&'static [&'static str]>;

    /// A table of such a schema, made of what the session may see.
    ///
    /// # Errors
    /// When the table cannot be made, which would be a mistake of ours.
    fn system_table(
        &self,
        schema: &str,
        name: &str,
        pinned: &dyn Pinned,
        routines: &Routines,
    ) -> EngineResult<Option<Arc<dyn TableProvider>>>;
}
