//! From a query's text to its rows: parse, rewrite, plan, run. Runs on the CPU runtime, called by `session` alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::Array as _;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan};
use datafusion::optimizer::{Analyzer, OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Statement as SqlStatement};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use crate::audit::{Reads, Watched};
use crate::catalogue::SessionCatalogue;
use crate::engine::QueryEngine;
use crate::error::QueryError;
use crate::functions::growing::counted;
use crate::functions::zone::Zone;
use crate::grouping::with_few_groups;
use crate::identity::Identity;
use crate::pinned::Pinned;
use crate::session::Message;
use crate::sql::fault::{Phase, explain, missing_column};
use crate::sql::parse::{Parsed, TextLimits};
use crate::sql::rewrite::Names;
use crate::sql::size::check_tree;
use crate::surface::Surface;
use crate::turns::Turn;

/// What to run.
#[derive(Debug)]
pub struct Request {
    /// How the text is read.
    pub surface: Arc<Surface>,
    /// Whose it is.
    pub owner: Identity,
    /// The text.
    pub sql: String,
    /// Values of the placeholders.
    pub parameters: Vec<Expr>,
    /// The zone in which to compute.
    pub zone: Zone,
    /// The id for the log.
    pub query_id: String,
    /// Whether the platform asks it again and again.
    pub is_repeated: bool,
    /// Tells what the plan reads, where that is written down.
    pub watched: Option<Arc<Watched>>,
    /// Becomes true when nobody waits for the answer any longer.
    pub ended: Arc<AtomicBool>,
}

/// Rows that the engine computes at a time.
const ROWS_OF_A_BATCH: usize = 8192;

/// The way to the reader, with the place that the query holds while it computes.
pub struct Sender {
    /// What the reader is told.
    pub rows: mpsc::Sender<Result<Message, QueryError>>,
    /// The place; others have it while the reader takes its time.
    pub turn: Turn,
}

impl Sender {
    /// Tells the reader; false where nobody listens any more.
    async fn send(&mut self, message: Result<Message, QueryError>) -> bool {
        self.turn.aside(self.rows.send(message)).await.is_ok()
    }
}

/// Runs a query and sends what comes of it.
pub async fn run(engine: Arc<QueryEngine>, pinned: Arc<dyn Pinned>, request: Request, mut rows: Sender) {
    if let Err(error) = work(&engine, pinned, request, &mut rows).await {
        rows.send(Err(error)).await;
    }
}

async fn work(
    engine: &QueryEngine,
    pinned: Arc<dyn Pinned>,
    request: Request,
    rows: &mut Sender,
) -> Result<(), QueryError> {
    let seen = Arc::clone(&pinned);
    let planning = |error: DataFusionError| in_words(&error, &*seen, &request);
    let running = |error: DataFusionError| explain(&error, Phase::Running, &request.query_id, request.is_repeated);

    let dialect = request.surface.dialect();
    let Written { state, plan, labels, explained } = write(engine, pinned, &request).await?;
    let plan = state.state.optimize(&plan).map_err(planning)?;
    check_constants(&plan, engine.limits().query_bytes_max).map_err(planning)?;
    let reads = request.watched.as_ref().map(|watched| if explained { Reads::new() } else { watched.reads(&plan) });
    if let Some(reads) = reads
        && !rows.send(Ok(Message::Reads(reads))).await
    {
        return Ok(());
    }
    if explained {
        send_explanation(dialect.explanation(&plan, &labels).map_err(planning)?, rows).await;
        return Ok(());
    }
    let physical = state.state.query_planner().create_physical_plan(&plan, &state.state).await.map_err(planning)?;
    let physical = with_few_groups(physical).and_then(with_pauses).map_err(planning)?;
    let schema = physical.schema();
    if !rows.send(Ok(Message::Schema(schema, labels))).await {
        return Ok(());
    }
    let mut stream = execute_stream(physical, state.state.task_ctx()).map_err(running)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(running)?;
        if batch.num_rows() > 0 && !rows.send(Ok(Message::Rows(batch))).await {
            return Ok(());
        }
    }
    rows.send(Ok(Message::End)).await;
    Ok(())
}

/// A query's plan before it is optimized, with what is needed to go on with it.
struct Written {
    state: Planner,
    plan: LogicalPlan,
    labels: Vec<String>,
    explained: bool,
}

async fn write(engine: &QueryEngine, pinned: Arc<dyn Pinned>, request: &Request) -> Result<Written, QueryError> {
    let seen = Arc::clone(&pinned);
    let dialect = request.surface.dialect();
    let Parsed { mut query, explain: explained, .. } = dialect.parse(&request.sql, &engine.limits().text)?;
    let environment = engine.environment(&request.owner, pinned.store());
    let state = Planner::new(environment, pinned, request);
    let labels = dialect.rewrite(&mut query, &request.parameters, &state)?;
    check_tree(&query, &engine.limits().text)?;
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
    let plan = state.state.statement_to_plan(statement).await.map_err(|error| in_words(&error, &*seen, request))?;
    let names = || plan.schema().fields().iter().map(|field| field.name().clone()).collect();
    let labels =
        labels.filter(|labels| labels.len() == plan.schema().fields().len()).unwrap_or_else(|| dialect.labels(names()));
    Ok(Written { state, plan, labels, explained })
}

/// What a query would give, and what it wants of its parameters.
#[derive(Debug, Clone)]
pub struct Described {
    /// The columns.
    pub schema: SchemaRef,
    /// What they are called.
    pub labels: Vec<String>,
    /// The types of those parameters that were given as placeholders, by their names; none where nothing tells.
    pub parameters: HashMap<String, Option<DataType>>,
}

/// Plans a query as far as its types, and runs nothing.
pub(crate) async fn describe(
    engine: Arc<QueryEngine>,
    pinned: Arc<dyn Pinned>,
    request: Request,
) -> Result<Described, QueryError> {
    let seen = Arc::clone(&pinned);
    let planning = |error: DataFusionError| in_words(&error, &*seen, &request);
    let Written { state, plan, labels, explained } = write(&engine, pinned, &request).await?;
    let mut parameters = plan.get_parameter_types().map_err(planning)?;
    of_casts(&plan, &mut parameters).map_err(planning)?;
    let plan = state.state.optimize(&plan).map_err(planning)?;
    if explained {
        let batch = request.surface.dialect().explanation(&plan, &labels).map_err(planning)?;
        let labels = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        return Ok(Described { schema: batch.schema(), labels, parameters });
    }
    Ok(Described { schema: Arc::clone(plan.schema().inner()), labels, parameters })
}

/// Types that parameters are cast to, where nothing else tells their type.
fn of_casts(plan: &LogicalPlan, types: &mut HashMap<String, Option<DataType>>) -> Result<(), DataFusionError> {
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let LogicalExpr::Cast(cast) = part
                    && let LogicalExpr::Placeholder(parameter) = cast.expr.as_ref()
                    && let Some(unknown @ None) = types.get_mut(&parameter.id)
                {
                    *unknown = Some(cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map(drop)
}

/// Whether a text is a query over these tables: read, rewritten, planned and typed, and not run. Their columns are all that
/// is asked of the tables.
///
/// # Errors
/// What a session would say to it.
pub fn check(surface: &Arc<Surface>, pinned: Arc<dyn Pinned>, sql: &str) -> Result<(), QueryError> {
    planned(surface, pinned, sql).map(drop)
}

/// The plan of a query over these tables, as it would be run.
///
/// # Errors
/// What a session would say to it.
pub fn planned(surface: &Arc<Surface>, pinned: Arc<dyn Pinned>, sql: &str) -> Result<LogicalPlan, QueryError> {
    let limits = TextLimits::default();
    let request = Request {
        surface: Arc::clone(surface),
        owner: Identity::local(),
        sql: sql.to_owned(),
        parameters: Vec::new(),
        zone: Zone::UTC,
        query_id: "check".to_owned(),
        is_repeated: false,
        watched: None,
        ended: Arc::default(),
    };
    let seen = Arc::clone(&pinned);
    let planning = |error: DataFusionError| in_words(&error, &*seen, &request);
    let dialect = surface.dialect();
    let Parsed { mut query, .. } = dialect.parse(sql, &limits)?;
    let state = Planner::new(Arc::default(), pinned, &request);
    dialect.rewrite(&mut query, &[], &state)?;
    check_tree(&query, &limits)?;
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
    // Nothing here waits: tables whose columns are known are there at once.
    let planned = state.state.statement_to_plan(statement).now_or_never();
    let plan = planned.unwrap_or_else(|| plan_err!("planning waits for a table")).map_err(planning)?;
    state.state.optimize(&plan).map_err(planning)
}

/// An error of planning; a column that is there and not for this client is told apart from one that nobody has.
fn in_words(error: &DataFusionError, seen: &dyn Pinned, request: &Request) -> QueryError {
    let refused = missing_column(error).and_then(|column| seen.refused_column(&column));
    let explained = explain(error, Phase::Planning, &request.query_id, request.is_repeated);
    refused.map_or(explained, QueryError::invalid)
}

/// Names of a `*`: the second `k` is `k0`, as in Druid.
pub(crate) fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen: Vec<String> = vec![];
    for name in names {
        let mut free = name.clone();
        let mut number = 0_usize;
        while seen.contains(&free) {
            free = format!("{name}{number}");
            number += 1;
        }
        seen.push(free);
    }
    seen
}

/// A join makes any number of batches from one batch of its input: without a pause between them the query could be
/// neither cancelled nor timed out, and would keep its thread.
fn with_pauses(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let paused = plan.transform_up(|plan| {
        Ok(if plan.children().len() > 1 {
            Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>)
        } else {
            Transformed::no(plan)
        })
    })?;
    Ok(paused.data)
}

/// The engine's state for one query.
struct Planner {
    state: SessionState,
    catalogue: SessionCatalogue,
}

impl Planner {
    fn new(environment: Arc<RuntimeEnv>, pinned: Arc<dyn Pinned>, request: &Request) -> Self {
        let (dialect, library) = (request.surface.dialect(), request.surface.library());
        let mut scalar = counted(&library.scalar, &environment.memory_pool);
        scalar.extend(dialect.functions(request.zone, &environment.memory_pool));
        scalar.extend(dialect.functions_over(&pinned));
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![dialect.planner(&scalar)];
        let mut analyzer = dialect.analysis(&scalar);
        analyzer.extend(Analyzer::new().rules);
        planners.extend(SessionStateDefaults::default_expr_planners());
        let catalogue = SessionCatalogue::new(pinned, Arc::clone(&request.surface));

        let mut state = SessionStateBuilder::new()
            .with_config(dialect.config())
            .with_runtime_env(environment)
            .with_catalog_list(Arc::new(catalogue.clone()))
            .with_expr_planners(planners)
            .with_analyzer_rules(analyzer)
            .with_optimizer_rules(with_stops(&library.optimizer, &request.ended))
            .with_scalar_functions(scalar)
            .with_aggregate_functions(library.aggregate.clone())
            .with_window_functions(library.window.clone())
            .build();
        // CURRENT_TIMESTAMP is the moment at which the query began.
        state.mark_start_execution();
        Self { state, catalogue }
    }
}

/// The optimizer's rules with a look between them at whether anybody still waits: planning never pauses by itself.
fn with_stops(
    rules: &[Arc<dyn OptimizerRule + Send + Sync>],
    ended: &Arc<AtomicBool>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let stop: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(Stop(Arc::clone(ended)));
    rules.iter().flat_map(|rule| [Arc::clone(&stop), Arc::clone(rule)]).collect()
}

#[derive(Debug)]
struct Stop(Arc<AtomicBool>);

impl OptimizerRule for Stop {
    fn name(&self) -> &'static str {
        "stop"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        if self.0.load(Ordering::Acquire) {
            return Err(DataFusionError::External(Box::new(QueryError::Cancelled)));
        }
        Ok(Transformed::no(plan))
    }
}

/// Refuses constants that are too large to stand in every row of a batch, where the engine may write them out.
fn check_constants(plan: &LogicalPlan, bytes_max: usize) -> Result<(), DataFusionError> {
    let constants_max = bytes_max / ROWS_OF_A_BATCH;
    let mut bytes = 0;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                Ok(match part {
                    LogicalExpr::InList(_) => TreeNodeRecursion::Jump,
                    LogicalExpr::Literal(value, _) => {
                        bytes += constant_bytes(value);
                        TreeNodeRecursion::Continue
                    }
                    _ => TreeNodeRecursion::Continue,
                })
            })
        })
    })?;
    if bytes > constants_max {
        return Err(DataFusionError::External(Box::new(QueryError::ResourceLimit(format!(
            "the constants of the query, without lists IN (…), have {bytes} bytes and the limit is {constants_max}; use shorter texts"
        )))));
    }
    Ok(())
}

/// The bytes of a constant that has a length.
fn constant_bytes(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_ref().map_or(0, String::len)
        }
        ScalarValue::List(list) => list.get_array_memory_size(),
        _ => 0,
    }
}

impl Names for Planner {
    fn has_function(&self, name: &str) -> bool {
        self.state.scalar_functions().contains_key(name)
            || self.state.aggregate_functions().contains_key(name)
            || self.state.window_functions().contains_key(name)
    }

    fn missing_table(&self, parts: &[&str]) -> Option<String> {
        self.catalogue.missing(parts)
    }
}

async fn send_explanation(batch: RecordBatch, rows: &mut Sender) {
    let schema = batch.schema();
    let labels = schema.fields().iter().map(|field| field.name().clone()).collect();
    for message in [Message::Schema(schema, labels), Message::Rows(batch), Message::End] {
        if !rows.send(Ok(message)).await {
            break;
        }
    }
}
