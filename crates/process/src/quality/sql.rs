//! One number from one query over pinned tables: how a set rule is measured.
//!
//! The text is read as Spark reads it, names without regard to case, and `/` divides as Spark does; it is planned by the
//! engine, which, other than the planner of models, knows subqueries. Invariant: a query alone is run, within its memory
//! and without a file of its own; no error that leaves here quotes a value.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use async_trait::async_trait;
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility, cast as cast_expr, lit};
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Statement as SqlStatement};
use datafusion::sql::sqlparser::parser::Parser;
use vitalake_contract::Contract;
use vitalake_lake::Catalogue;
use vitalake_lake::planned::TableSchemas;
use vitalake_lake::provider::register_store;

use crate::quality::RuleScope;
use crate::session;
use crate::syntax::{Spark, tokens};

/// Bytes that one rule's groups and joins may hold while it runs.
const MEMORY_BYTES_MAX: usize = 512 << 20;
/// How deep a query may be nested.
const DEPTH_MAX: usize = 64;
/// Parts that a scan is split into, so that a large table is read by more than one worker.
const PARTITIONS: usize = 2;

/// A session over the tables of a scope.
pub(super) struct Evaluator {
    state: SessionState,
    object: String,
}

impl Evaluator {
    pub(super) fn of(scope: &RuleScope<'_>) -> Result<Self, String> {
        let others = Others::Pinned(Arc::clone(&scope.others));
        let evaluator = Self::over(scope.contract, Arc::clone(&scope.rows), others)?;
        register_store(evaluator.state.runtime_env(), Arc::clone(&scope.store));
        Ok(evaluator)
    }

    /// A session over rows and other tables, of which nothing may be read yet.
    pub(super) fn over(contract: &Contract, rows: Arc<dyn TableProvider>, others: Others) -> Result<Self, String> {
        let (layer, dataset) = (contract.layer.as_str(), contract.dataset.as_str());
        let known = Known { layer, dataset: dataset.to_owned(), rows, others };
        let environment = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES_MAX)))
            .build_arc()
            .map_err(|error| explained(&error))?;
        let base = session::state();
        let config = base.config().clone().with_target_partitions(PARTITIONS);
        let catalogues = MemoryCatalogProviderList::new();
        datafusion::catalog::CatalogProviderList::register_catalog(&catalogues, "vitalake".to_owned(), Arc::new(known));
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(SparkDivision)];
        planners.extend(base.expr_planners().iter().cloned());
        let state = SessionStateBuilder::new_from_existing(base)
            .with_config(config)
            .with_runtime_env(environment)
            .with_catalog_list(Arc::new(catalogues))
            .with_expr_planners(planners)
            .build();
        Ok(Self { state, object: format!("{layer}.{dataset}") })
    }

    /// The plan of a query that gives the same each time over the same rows.
    pub(super) async fn plan(&self, query: &str) -> Result<LogicalPlan, String> {
        let failed = |error: DataFusionError| explained(&error);
        let statement = parsed(&query.replace("{object}", &self.object))?;
        let plan = self.state.statement_to_plan(statement).await.map_err(failed)?;
        if let Some(function) = changing(&plan).map_err(failed)? {
            return Err(format!("{function} gives another result each time"));
        }
        self.state.optimize(&plan).map_err(failed)
    }

    /// The number that a query gives in its one row.
    pub(super) async fn number(&self, query: &str) -> Result<f64, String> {
        self.number_or_null(query).await?.ok_or_else(|| "its query gives NULL".to_owned())
    }

    /// The same, where there may be none.
    pub(super) async fn number_or_null(&self, query: &str) -> Result<Option<f64>, String> {
        let failed = |error: DataFusionError| explained(&error);
        let plan = self.plan(query).await?;
        let physical = self.state.query_planner().create_physical_plan(&plan, &self.state).await.map_err(failed)?;
        let rows = collect(physical, self.state.task_ctx()).await.map_err(failed)?;
        let rows: Vec<_> = rows.into_iter().filter(|batch| batch.num_rows() > 0).collect();
        let [row] = rows.as_slice() else { return Err("its query does not give one row".to_owned()) };
        let (1, [column]) = (row.num_rows(), row.columns()) else {
            return Err("its query does not give one number".to_owned());
        };
        if !column.data_type().is_numeric() && !column.data_type().is_null() {
            return Err("its query does not give a number".to_owned());
        }
        let numbers = cast(column, &DataType::Float64).map_err(|_| "its query does not give a number".to_owned())?;
        let number = numbers.as_primitive_opt::<Float64Type>().filter(|numbers| numbers.is_valid(0));
        Ok(number.map(|numbers| numbers.value(0)))
    }
}

/// A function in a plan that does not depend on its arguments alone.
fn changing(plan: &LogicalPlan) -> datafusion::common::Result<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found.get_or_insert_with(|| call.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// A text as the one query that it is.
fn parsed(query: &str) -> Result<Statement, String> {
    let tokens = tokens(query).map_err(|problem| problem.message)?;
    let mut parser = Parser::new(&Spark).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|_| "its SQL cannot be read".to_owned())?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement @ SqlStatement::Query(_)), true) => Ok(Statement::Statement(Box::new(statement))),
        _ => Err("it is not one SELECT".to_owned()),
    }
}

/// What the engine says, where that is of names and types; what only rows can cause may quote one, and is not repeated.
fn explained(error: &DataFusionError) -> String {
    let text = || error.strip_backtrace().lines().next().unwrap_or_default().to_owned();
    match error.find_root() {
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => text(),
        DataFusionError::ResourcesExhausted(_) => format!("it needs more than {} MiB", MEMORY_BYTES_MAX >> 20),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            "a file that it reads cannot be read".to_owned()
        }
        _ => "its query failed on the rows that are there".to_owned(),
    }
}

/// `/` gives a fraction whatever it divides, and null where it divides by zero.
#[derive(Debug)]
struct SparkDivision;

impl ExprPlanner for SparkDivision {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> datafusion::common::Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::Divide {
            return Ok(PlannerResult::Original(expr));
        }
        let real = |side: Expr| cast_expr(side, DataType::Float64);
        let divisor = nullif(real(expr.right), lit(ScalarValue::Float64(Some(0.0))));
        Ok(PlannerResult::Planned(real(expr.left) / divisor))
    }
}

/// The other datasets that a query may name.
#[derive(Clone, Debug)]
pub(super) enum Others {
    /// A pinned value.
    Pinned(Arc<Catalogue>),
    /// Columns of tables that are yet to be, by schema and name.
    Planned(Arc<TableSchemas>),
}

impl Others {
    fn names(&self) -> Vec<(String, String)> {
        match self {
            Self::Pinned(catalogue) => catalogue.table_names(),
            Self::Planned(schemas) => schemas.keys().cloned().collect(),
        }
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        match self {
            Self::Pinned(catalogue) => catalogue.provider(schema, table),
            Self::Planned(schemas) => {
                let columns = schemas.get(&(schema.to_owned(), table.to_owned()))?;
                Some(Arc::new(EmptyTable::new(Arc::clone(columns))))
            }
        }
    }
}

/// The tables of a scope by their names: its rows, and the others.
#[derive(Clone, Debug)]
struct Known {
    layer: &'static str,
    dataset: String,
    rows: Arc<dyn TableProvider>,
    others: Others,
}

impl CatalogProvider for Known {
    fn schema_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.others.names().into_iter().map(|(schema, _)| schema).collect();
        names.push(self.layer.to_owned());
        names.sort_unstable();
        names.dedup();
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let layer = self.schema_names().into_iter().find(|known| known == name)?;
        Some(Arc::new(KnownLayer { known: self.clone(), layer }))
    }
}

#[derive(Debug)]
struct KnownLayer {
    known: Known,
    layer: String,
}

impl KnownLayer {
    fn find(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        if self.layer == self.known.layer && name == self.known.dataset {
            return Some(Arc::clone(&self.known.rows));
        }
        self.known.others.provider(&self.layer, name)
    }
}

#[async_trait]
impl SchemaProvider for KnownLayer {
    fn table_names(&self) -> Vec<String> {
        let others = self.known.others.names().into_iter();
        others.filter(|(layer, _)| *layer == self.layer).map(|(_, table)| table).collect()
    }

    async fn table(&self, name: &str) -> datafusion::common::Result<Option<Arc<dyn TableProvider>>> {
        self.find(name).map(|found| in_lower_case(name, found)).transpose()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

/// A table whose columns are found whatever their case, as Spark finds them.
fn in_lower_case(name: &str, table: Arc<dyn TableProvider>) -> datafusion::common::Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    if schema.fields().iter().all(|field| !field.name().chars().any(char::is_uppercase)) {
        return Ok(table);
    }
    let columns = schema.fields().iter().map(|field| {
        let column = Expr::Column(datafusion::common::Column::from_name(field.name()));
        column.alias(field.name().to_lowercase())
    });
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
