//! Druid's SQL as the first [`Dialect`]: its reader, its forms and functions, its introspection tables.
//!
//! Invariant: what Druid has and we do not is refused by name, by the reader or by the rewrite.

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

use super::information_schema::{
    DRUID, INFORMATION_SCHEMA, INFORMATION_TABLES, SCHEMATA, SYS_TABLES, information_table, sys_table,
};
use super::{explanation, time_column};
use crate::dialect::{Dialect, Routines};
use crate::error::QueryError;
use crate::functions;
use crate::functions::growing::DruidPlanner;
use crate::functions::zone::Zone;
use crate::pinned::Pinned;
use crate::sql::meaning::Meaning;
use crate::sql::parse::{Parsed, TextLimits, parse};
use crate::sql::rewrite::{Names, rewrite};
use crate::sql::rewrite_function::REWRITTEN;

/// The engine's own functions that were compared with Druid's and answer alike.
const ENGINE_FUNCTIONS: [&str; 6] = ["coalesce", "current_date", "flatten", "make_array", "now", "nullif"];

/// The engine's own aggregates that may be called: Druid's, and those that its rewriting needs.
const ENGINE_AGGREGATES: [&str; 19] = [
    "approx_distinct",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "count",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var",
    "var_pop",
];

/// Druid's SQL.
#[derive(Debug, Clone, Copy, Default)]
pub struct DruidSql;

impl Dialect for DruidSql {
    fn surface(&self) -> &'static str {
        "druid"
    }

    fn parse(&self, sql: &str, limits: &TextLimits) -> Result<Parsed, QueryError> {
        parse(sql, limits)
    }

    fn rewrite(
        &self,
        query: &mut Query,
        parameters: &[Expr],
        names: &dyn Names,
    ) -> Result<Option<Vec<String>>, QueryError> {
        rewrite(query, parameters, names)
    }

    fn functions(&self, zone: Zone, memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>> {
        functions::all(zone, memory)
    }

    fn engine_functions(&self) -> &'static [&'static str] {
        &ENGINE_FUNCTIONS
    }

    fn engine_aggregates(&self) -> &'static [&'static str] {
        &ENGINE_AGGREGATES
    }

    fn planner(&self, functions: &[Arc<ScalarUDF>]) -> Arc<dyn ExprPlanner> {
        Arc::new(DruidPlanner::new(functions))
    }

    fn analysis(&self, functions: &[Arc<ScalarUDF>]) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
        vec![Arc::new(Meaning::new(functions))]
    }

    fn written_forms(&self) -> &'static [(&'static str, bool)] {
        &REWRITTEN
    }

    /// Names are case-sensitive as written, nulls come first.
    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DRUID, DRUID)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let parser = &mut config.options_mut().sql_parser;
        parser.enable_ident_normalization = false;
        parser.collect_spans = true;
        parser.map_string_types_to_utf8view = false;
        "nulls_min".clone_into(&mut parser.default_null_ordering);
        config.options_mut().execution.enable_recursive_ctes = false;
        config
    }

    fn explanation(&self, plan: &LogicalPlan, labels: &[String]) -> EngineResult<RecordBatch> {
        explanation::batch(plan, labels)
    }

    fn catalogue(&self) -> &'static str {
        DRUID
    }

    fn schemata(&self) -> &'static [&'static str] {
        &SCHEMATA
    }

    fn layer<'a>(&self, schema: &'a str) -> &'a str {
        if schema == DRUID { "serving" } else { schema }
    }

    fn table(&self, pinned: &dyn Pinned, layer: &str, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        time_column::table(pinned, layer, name)
    }

    fn system_tables(&self, schema: &str) -> Option<&'static [&'static str]> {
        match schema {
            INFORMATION_SCHEMA => Some(&INFORMATION_TABLES),
            "sys" => Some(&SYS_TABLES),
            _ => None,
        }
    }

    fn system_table(
        &self,
        schema: &str,
        name: &str,
        pinned: &dyn Pinned,
        routines: &Routines,
    ) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        match schema {
            INFORMATION_SCHEMA => information_table(name, pinned, routines),
            "sys" => sys_table(name),
            _ => Ok(None),
        }
    }
}
