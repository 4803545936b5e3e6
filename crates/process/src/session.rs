//! The session in which models are planned: DataFusion with Spark's functions and Spark's meaning of operators, types
//! and names. Clients' queries have a session of their own, elsewhere; the two are never mixed.
//!
//! Pure: a session reads no file and no network. Invariant: what this session plans gives on Spark, with
//! `spark.sql.ansi.enabled=false` and `spark.sql.session.timeZone=UTC`, the same rows.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::common::{DFSchema, DataFusionError, plan_err};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit};
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, CastKind, visit_expressions_mut};
use datafusion_spark::SessionStateBuilderSpark;

/// The Arrow type of Spark's TIMESTAMP.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A session with no tables.
pub(crate) fn state() -> SessionState {
    static BASE: OnceLock<SessionState> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(16 * 1024)
            .with_default_catalog_and_schema("vitalake", "no_layer")
            .with_information_schema(false);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().sql_parser.map_string_types_to_utf8view = true;
        config.options_mut().execution.enable_ansi_mode = false;
        SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_spark_features()
            .with_type_planner(Arc::new(SparkTypes))
            .build()
    });
    // The list of catalogues would be the base's, shared by all sessions: two plans would see each other's tables.
    let catalogues = Arc::new(MemoryCatalogProviderList::new());
    let mut state = SessionStateBuilder::new_from_existing(base.clone()).with_catalog_list(catalogues).build();
    // The first planner that answers wins, and the defaults know integer division only as SQL has it.
    let _ = datafusion::execution::FunctionRegistry::register_expr_planner(&mut state, Arc::new(SparkOperators));
    state
}

/// Gives a parsed SELECT Spark's meaning where that is a matter of the text: a cast that fails is null.
pub(crate) fn spark_meaning(query: &mut ast::Query) {
    failing_casts_are_null(query);
}

/// The same for an expression by itself.
pub(crate) fn spark_expression(expr: &mut ast::Expr) {
    failing_casts_are_null(expr);
}

fn failing_casts_are_null(part: &mut impl ast::VisitMut) {
    let _ = visit_expressions_mut(part, |expr| {
        if let ast::Expr::Cast { kind, .. } = expr {
            *kind = CastKind::TryCast;
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Spark's names of types.
#[derive(Debug)]
struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>, DataFusionError> {
        let name = sql_type.to_string().to_uppercase();
        let found = match name.as_str() {
            "TIMESTAMP" | "TIMESTAMP_LTZ" => instant(),
            "STRING" => DataType::Utf8View,
            "LONG" | "BIGINT" => DataType::Int64,
            "INT" | "INTEGER" => DataType::Int32,
            "SHORT" | "SMALLINT" => DataType::Int16,
            "BYTE" | "TINYINT" => DataType::Int8,
            "DOUBLE" => DataType::Float64,
            "FLOAT" | "REAL" => DataType::Float32,
            "TIMESTAMP_NTZ" | "TIMESTAMP WITHOUT TIME ZONE" => {
                return plan_err!("a timestamp without a zone is not stored here; use TIMESTAMP, which is an instant");
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", found, true))))
    }
}

/// Spark's division: `/` of integers is a double, `div` a long, and division by zero is null.
#[derive(Debug)]
struct SparkOperators;

impl ExprPlanner for SparkOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        let RawBinaryExpr { op, left, right } = expr;
        let types = (left.get_type(schema)?, right.get_type(schema)?);
        let whole = |t: &DataType| t.is_integer() || t.is_null();
        let planned = match op {
            BinaryOperator::Divide if whole(&types.0) && whole(&types.1) => {
                divide(cast(left, DataType::Float64), Operator::Divide, cast(right, DataType::Float64), lit(0.0))
            }
            BinaryOperator::Divide if types.0.is_numeric() && types.1.is_numeric() => {
                divide(left, Operator::Divide, right, lit(0))
            }
            BinaryOperator::MyIntegerDivide => {
                if !whole(&types.0) || !whole(&types.1) {
                    return plan_err!("div divides integers; cast both sides to BIGINT, or use /");
                }
                divide(cast(left, DataType::Int64), Operator::Divide, cast(right, DataType::Int64), lit(0_i64))
            }
            BinaryOperator::Modulo if types.0.is_numeric() && types.1.is_numeric() => {
                divide(left, Operator::Modulo, right, lit(0))
            }
            op => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

fn cast(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr), to))
}

fn divide(left: Expr, op: Operator, right: Expr, zero: Expr) -> Expr {
    let divisor = datafusion::functions::core::expr_fn::nullif(right, zero);
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(divisor)))
}
