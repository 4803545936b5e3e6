//! PostgreSQL's SQL as a dialect of sessions: its reader, its forms and functions, its catalogue.
//!
//! Each connection has one of its own, which knows what that connection has set. Invariant: what it does not have is
//! refused by name; a policy is no concern of it.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, DataFusionError, Result as EngineResult, ScalarValue};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr as LogicalExpr, ExprSchemable as _, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query};

use super::catalogue::{self, INFORMATION_SCHEMA, PG_CATALOG};
use super::from;
use super::label::shown;
use super::parse::parse;
use super::rewrite::rewrite;
use super::settings::{DATABASE, Settings};
use super::template;
use crate::dialect::{Dialect, Routines};
use crate::error::QueryError;
use crate::functions;
use crate::functions::zone::Zone;
use crate::pinned::Pinned;
use crate::sql::parse::{Parsed, TextLimits};
use crate::sql::rewrite::Names;

/// Every schema; those of the platform have the names of their layers.
pub const SCHEMATA: [&str; 7] = ["serving", "curated", "raw", "quarantine", "ops", INFORMATION_SCHEMA, PG_CATALOG];

/// The engine's own functions that mean here what they mean in PostgreSQL.
const ENGINE_FUNCTIONS: &[&str] = &[
    "array_length",
    "array_position",
    "array_to_string",
    "ascii",
    "bit_length",
    "btrim",
    "cardinality",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "greatest",
    "initcap",
    "least",
    "left",
    "lower",
    "ltrim",
    "make_array",
    "make_date",
    "md5",
    "now",
    "nullif",
    "octet_length",
    "overlay",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "string_to_array",
    "strpos",
    "substr",
    "to_hex",
    "translate",
    "upper",
    "array_has",
    "array_element",
];

/// Functions of ours that mean here what they mean in PostgreSQL; those whose results grow count them as memory.
const OUR_FUNCTIONS: &[&str] = &[
    "__concat",
    "abs",
    "acos",
    "array_append",
    "array_concat",
    "array_prepend",
    "asin",
    "atan",
    "atan2",
    "ceil",
    "ceiling",
    "cos",
    "cot",
    "degrees",
    "exp",
    "floor",
    "ln",
    "log10",
    "lpad",
    "mod",
    "pi",
    "power",
    "radians",
    "repeat",
    "replace",
    "round",
    "rpad",
    "sin",
    "sqrt",
    "tan",
    "trunc",
];

const ENGINE_AGGREGATES: &[&str] = &[
    "approx_distinct",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "min",
    "percentile_cont",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var",
    "var_pop",
];

/// The dialect of one connection.
#[derive(Debug, Clone)]
pub struct PostgresSql {
    surface: &'static str,
    settings: Arc<Settings>,
}

impl PostgresSql {
    /// The dialect of a connection with those settings, of the surface of that name.
    pub(crate) fn new(surface: &'static str, settings: Arc<Settings>) -> Self {
        Self { surface, settings }
    }
}

impl Dialect for PostgresSql {
    fn surface(&self) -> &'static str {
        self.surface
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
        rewrite(query, parameters, names, &self.settings)
    }

    fn functions(&self, zone: Zone, memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>> {
        let mut ours = functions::all(zone, memory);
        ours.retain(|function| OUR_FUNCTIONS.contains(&function.name()));
        ours.push(from::series());
        ours.extend(template::functions());
        ours
    }

    fn functions_over(&self, pinned: &Arc<dyn Pinned>) -> Vec<Arc<ScalarUDF>> {
        catalogue::functions::all(pinned, &self.settings)
    }

    fn labels(&self, names: Vec<String>) -> Vec<String> {
        names.iter().map(|name| shown(name).to_owned()).collect()
    }

    fn engine_functions(&self) -> &'static [&'static str] {
        ENGINE_FUNCTIONS
    }

    fn engine_aggregates(&self) -> &'static [&'static str] {
        ENGINE_AGGREGATES
    }

    fn planner(&self, functions: &[Arc<ScalarUDF>]) -> Arc<dyn ExprPlanner> {
        Arc::new(Operators { functions: functions.to_vec() })
    }

    fn analysis(&self, _: &[Arc<ScalarUDF>]) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
        Vec::new()
    }

    fn written_forms(&self) -> &'static [(&'static str, bool)] {
        &[]
    }

    /// Names without quotes are in small letters, nulls come last.
    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DATABASE, "serving")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let parser = &mut config.options_mut().sql_parser;
        parser.collect_spans = true;
        parser.map_string_types_to_utf8view = false;
        parser.parse_float_as_decimal = true;
        "nulls_max".clone_into(&mut parser.default_null_ordering);
        let execution = &mut config.options_mut().execution;
        execution.enable_recursive_ctes = false;
        execution.time_zone = Some("UTC".to_owned());
        config
    }

    fn explanation(&self, plan: &LogicalPlan, _: &[String]) -> EngineResult<RecordBatch> {
        let text = plan.display_indent().to_string();
        let lines: ArrayRef = Arc::new(text.lines().map(Some).collect::<StringArray>());
        let schema = Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]);
        Ok(RecordBatch::try_new(Arc::new(schema), vec![lines])?)
    }

    fn catalogue(&self) -> &'static str {
        DATABASE
    }

    fn schemata(&self) -> &'static [&'static str] {
        &SCHEMATA
    }

    fn layer<'a>(&self, schema: &'a str) -> &'a str {
        schema
    }

    fn system_tables(&self, schema: &str) -> Option<&'static [&'static str]> {
        static TABLES: LazyLock<[Vec<&str>; 2]> =
            LazyLock::new(|| [catalogue::columns::tables(INFORMATION_SCHEMA), catalogue::columns::tables(PG_CATALOG)]);
        let [information, own] = &*TABLES;
        match schema {
            INFORMATION_SCHEMA => Some(information),
            PG_CATALOG => Some(own),
            _ => None,
        }
    }

    fn system_table(
        &self,
        schema: &str,
        name: &str,
        pinned: &dyn Pinned,
        _: &Routines,
    ) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        catalogue::table(schema, name, pinned, &self.settings)
    }
}

/// What operators mean, where the engine does not say it or does not count their results.
#[derive(Debug)]
struct Operators {
    functions: Vec<Arc<ScalarUDF>>,
}

impl Operators {
    fn call(&self, name: &str, arguments: Vec<LogicalExpr>) -> EngineResult<LogicalExpr> {
        let function = self.functions.iter().find(|function| function.name() == name);
        let function = function.ok_or_else(|| DataFusionError::Plan(format!("{name} not found")))?;
        Ok(LogicalExpr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments)))
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> EngineResult<PlannerResult<RawBinaryExpr>> {
        let is_list =
            |expr: &LogicalExpr| Ok::<_, DataFusionError>(matches!(expr.get_type(schema)?, DataType::List(_)));
        let is_null = |expr: &LogicalExpr| matches!(expr, LogicalExpr::Literal(ScalarValue::Null, _));
        if expr.op != BinaryOperator::StringConcat || is_null(&expr.left) || is_null(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        let name = match (is_list(&expr.left)?, is_list(&expr.right)?) {
            (false, false) => "__concat",
            (true, true) => "array_concat",
            (true, false) => "array_append",
            (false, true) => "array_prepend",
        };
        self.call(name, vec![expr.left, expr.right]).map(PlannerResult::Planned)
    }

    fn plan_array_literal(
        &self,
        values: Vec<LogicalExpr>,
        _: &DFSchema,
    ) -> EngineResult<PlannerResult<Vec<LogicalExpr>>> {
        self.call("make_array", values).map(PlannerResult::Planned)
    }
}
