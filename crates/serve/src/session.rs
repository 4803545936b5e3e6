//! A client's way to data: an identity, what its policy shows of a pinned value, and queries on that.
//!
//! Every surface opens its sessions here, by [`Sessions::open`] alone; nothing else builds a plan for a client, also not
//! for EXPLAIN and the introspection tables. A query is read, rewritten and planned and runs on the CPU runtime within
//! its limits; dropping its [`Answer`] stops the work. Invariant: no surface chooses a policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::ast::Expr;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use vitalake_ops::audit::{Audit, Begun, Entry, Outcome};
use vitalake_runtime::config::access::Action;
use vitalake_runtime::events::{Event, Events};

use crate::audit::{self, Ledger, Reads};
use crate::dialect::Dialect;
use crate::engine::QueryEngine;
use crate::error::QueryError;
use crate::functions::growing::array_bytes;
use crate::functions::zone::Zone;
use crate::identity::Identity;
use crate::pinned::{Pinned, Standing};
use crate::plan::{self, Described};
use crate::platform::Datasets;
use crate::policy::{Access, Policy, Seen};
use crate::running::Running;
use crate::surface::Surface;
use crate::turns::Turn;

/// How one query is to run.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// The zone in which it computes.
    pub zone: Zone,
    /// The client's time limit; the server's is the upper bound.
    pub timeout: Option<Duration>,
    /// The client's id for it.
    pub query_id: Option<String>,
    /// Whether the platform asks it again and again: who asks says when it fails, and it is not written down who asked.
    pub is_repeated: bool,
    /// For which purpose, as the client says it.
    pub purpose: Option<String>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { zone: Zone::UTC, timeout: None, query_id: None, is_repeated: false, purpose: None }
    }
}

/// Where one surface opens sessions. Clones are cheap.
#[derive(Clone)]
pub struct Sessions {
    surface: Arc<Surface>,
    engine: Arc<QueryEngine>,
    datasets: Arc<dyn Datasets>,
    events: Events,
    access: Arc<Access>,
    ledger: Ledger,
}

impl Sessions {
    /// Sessions of the surface that speaks a dialect, over one engine with all others.
    pub fn new(
        engine: Arc<QueryEngine>,
        datasets: Arc<dyn Datasets>,
        dialect: Arc<dyn Dialect>,
        events: Events,
    ) -> Self {
        Self {
            surface: Arc::new(Surface::new(dialect)),
            engine,
            datasets,
            events,
            access: Arc::default(),
            ledger: Ledger::default(),
        }
    }

    /// The same, where these rules say what clients see.
    #[must_use]
    pub fn with_access(self, access: Arc<Access>) -> Self {
        Self { access, ..self }
    }

    /// The same, where accesses are written down.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger, ..self }
    }

    /// Where accesses are written down.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The journal of accesses, for what is no query.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.ledger.audit
    }

    /// Whether an identity may see who saw what.
    #[must_use]
    pub fn audits(&self, identity: &Identity) -> bool {
        Policy::of(identity, &self.access).audits()
    }

    /// The same for a surface that speaks another dialect: what clients see does not depend on it.
    #[must_use]
    pub fn speaking(&self, dialect: Arc<dyn Dialect>, written_down_by: audit::Surface) -> Self {
        let ledger = self.ledger.by(written_down_by);
        Self { surface: Arc::new(Surface::new(dialect)), ledger, ..self.clone() }
    }

    /// Whether an identity may see records as they came.
    #[must_use]
    pub fn shows_records(&self, identity: &Identity) -> bool {
        Policy::of(identity, &self.access).shows_records()
    }

    /// Whether an identity sees a table as it is: every row, every column in the clear, records as they came.
    #[must_use]
    pub fn shows_whole(&self, identity: &Identity, schema: &str, table: &str) -> bool {
        Policy::of(identity, &self.access).shows_whole(schema, table)
    }

    /// Whether an identity may see what the platform says of all datasets, which may be values that rules have found.
    #[must_use]
    pub fn watches(&self, identity: &Identity) -> bool {
        Policy::of(identity, &self.access).watches()
    }

    /// What an identity sees of datasets beside their rows.
    #[must_use]
    pub fn seen(&self, identity: &Identity) -> Seen {
        Seen::new(identity, Policy::of(identity, &self.access))
    }

    /// Whether an identity may do something beside reading.
    #[must_use]
    pub fn may(&self, identity: &Identity, action: Action) -> bool {
        Policy::of(identity, &self.access).may(action)
    }

    /// Whether an identity may hand in records or files of a dataset.
    #[must_use]
    pub fn delivers(&self, identity: &Identity, dataset: &str) -> bool {
        Policy::of(identity, &self.access).delivers(dataset)
    }

    /// A session of an identity, on the newest value as its policy shows it. Its queries all see that value.
    ///
    /// # Errors
    /// [`QueryError::NotReady`] while there is no value to be seen.
    pub fn open(&self, identity: Identity) -> Result<Session, QueryError> {
        self.open_for(identity, None)
    }

    /// The same for queries that are for something: rows that are bound to consent are those of subjects that have agreed
    /// to it.
    ///
    /// # Errors
    /// As [`Sessions::open`], and [`QueryError::Invalid`] where no role of the identity may state the purpose.
    pub fn open_for(&self, identity: Identity, purpose: Option<&str>) -> Result<Session, QueryError> {
        let pinned = self.datasets.pin().map_err(QueryError::NotReady)?;
        let policy = Policy::of(&identity, &self.access).for_purpose(purpose).map_err(|message| {
            self.ledger.refused(&identity, "purpose");
            QueryError::invalid(message)
        })?;
        Ok(Session { sessions: self.clone(), identity, policy, pinned })
    }

    /// The longest that a query may run.
    #[must_use]
    pub fn timeout_max(&self) -> Duration {
        self.engine.limits().timeout_max
    }

    /// Cancels every query with that id that this identity began, by whatever surface. Returns whether there was one.
    pub fn cancel(&self, identity: &Identity, query_id: &str) -> bool {
        self.engine.cancel(identity, query_id)
    }

    /// Counts a request that did not get as far as a session's query.
    pub fn refused(&self, error: &QueryError, took: Duration) {
        let surface = self.surface.dialect().surface();
        self.events.send(Event::Query { surface, outcome: error.outcome(), took });
    }
}

/// One identity's way to one pinned value.
#[derive(Clone)]
pub struct Session {
    sessions: Sessions,
    identity: Identity,
    policy: Policy,
    /// The value as it is; each query sees it as the policy shows it.
    pinned: Arc<dyn Pinned>,
}

impl Session {
    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the gated datasets stand that its queries were planned over. How old the newest row is, is told to who sees
    /// every row.
    pub fn standings(&self) -> Vec<Standing> {
        let told = |standing: Standing| match self.policy.shows_all_rows("serving", &standing.dataset) {
            true => standing,
            false => Standing { freshness_seconds: None, ..standing },
        };
        self.pinned.standings().into_iter().map(told).collect()
    }

    /// The tables that it sees: schemas, names and columns.
    pub fn tables(&self) -> Vec<(String, String, SchemaRef)> {
        let (view, _) = self.policy.watched(Arc::clone(&self.pinned));
        let mut names = view.table_names();
        names.sort();
        let columns = |(schema, name): (String, String)| {
            let columns = view.provider(&schema, &name)?.schema();
            Some((schema, name, columns))
        };
        names.into_iter().filter_map(columns).collect()
    }

    /// Where work runs that uses the processor.
    pub fn cpu(&self) -> &Handle {
        self.sessions.engine.cpu()
    }

    /// Plans a query and starts it. Returns when its schema is known.
    ///
    /// # Errors
    /// Every [`QueryError`] but those that only rows can cause.
    pub async fn query(&self, sql: String, parameters: Vec<Expr>, options: QueryOptions) -> Result<Answer, QueryError> {
        let mut counted = Counted::new(&self.sessions);
        let told = options.purpose.as_deref();
        let entry = if options.is_repeated { None } else { self.entry(&sql, &parameters, told) };
        let mut begun = Begun::default();
        let (view, watched) = self.policy.watched(Arc::clone(&self.pinned));
        let seen = Arc::clone(&view);
        let watched = entry.is_some().then_some(watched);
        let request = (sql, parameters, options, watched);
        match self.start(view, request, (&entry, &mut begun)).await {
            Ok((schema, labels, work)) => Ok(Answer { schema, labels, work, begun, counted }),
            Err(error) => {
                self.failed(entry, begun, &error, seen.was_refused());
                Err(counted.ended(error))
            }
        }
    }

    /// What is written down of a query before it is planned.
    fn entry(&self, sql: &str, parameters: &[Expr], purpose: Option<&str>) -> Option<Entry> {
        let routines = &self.sessions.surface.library().routines;
        let is_function =
            |word: &str| routines.binary_search_by(|(name, _)| name.as_str().cmp(&word.to_ascii_uppercase())).is_ok();
        self.sessions.ledger.query((&self.identity, &self.policy), is_function, (sql, parameters), purpose)
    }

    /// Writes down that a query gave nothing.
    fn failed(&self, entry: Option<Entry>, mut begun: Begun, error: &QueryError, was_refused: bool) {
        let (outcome, reason) = audit::outcome(error, was_refused);
        if begun.is_open() {
            begun.end(outcome, reason);
        } else if let Some(entry) = entry {
            // Nothing was given, so that nothing has to wait for this.
            self.sessions.ledger.audit.note(entry.ended(outcome, reason));
        }
    }

    /// What a query would give, planned and not run. Parameters may be placeholders.
    ///
    /// # Errors
    /// As [`Session::query`] before its first row.
    pub async fn describe(
        &self,
        sql: String,
        parameters: Vec<Expr>,
        options: QueryOptions,
    ) -> Result<Described, QueryError> {
        let entry = self.entry(&sql, &parameters, options.purpose.as_deref());
        let (view, _) = self.policy.watched(Arc::clone(&self.pinned));
        let described = self.plan(Arc::clone(&view), (sql, parameters, options, None)).await;
        if let Err(error) = &described {
            self.failed(entry, Begun::default(), error, view.was_refused());
        }
        described
    }

    /// Registers a query among those that run, and waits for its turn.
    async fn admitted(
        &self,
        (sql, parameters, options, watched): Asked,
    ) -> Result<(Running, Turn, plan::Request), QueryError> {
        let engine = &self.sessions.engine;
        let timeout_max = engine.limits().timeout_max;
        let query_id = options.query_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let timeout = options.timeout.map_or(timeout_max, |timeout| timeout.min(timeout_max));
        let running = engine.register(&self.identity, &query_id, timeout);
        let turn = running.guard(engine.turn(&self.identity)).await??;
        let request = plan::Request {
            surface: Arc::clone(&self.sessions.surface),
            owner: self.identity.clone(),
            sql,
            parameters,
            zone: options.zone,
            query_id,
            is_repeated: options.is_repeated,
            watched,
            ended: running.ended(),
        };
        Ok((running, turn, request))
    }

    async fn plan(&self, view: Arc<dyn Pinned>, asked: Asked) -> Result<Described, QueryError> {
        let engine = &self.sessions.engine;
        let (mut running, turn, request) = self.admitted(asked).await?;
        let query_id = request.query_id.clone();
        let planned = plan::describe(Arc::clone(engine), view, request);
        let task = engine.cpu().spawn(async move {
            let described = planned.await;
            drop(turn);
            described
        });
        running.watch(task.abort_handle());
        running.guard(task).await?.unwrap_or_else(|_| Err(without_answer(&query_id)))
    }

    async fn start(
        &self,
        view: Arc<dyn Pinned>,
        asked: Asked,
        (entry, begun): (&Option<Entry>, &mut Begun),
    ) -> Result<(SchemaRef, Vec<String>, Work), QueryError> {
        let engine = &self.sessions.engine;
        let limits = *engine.limits();
        let (mut running, turn, request) = self.admitted(asked).await?;
        let query_id = request.query_id.clone();
        let (rows, receiver) = mpsc::channel(2);
        let planned = plan::run(Arc::clone(engine), view, request, plan::Sender { rows, turn });
        let task = engine.cpu().spawn(planned);
        running.watch(task.abort_handle());
        let (rows_left, bytes_left) = (limits.result_rows_max, limits.result_bytes_max);
        let mut work = Work { query_id, receiver, running, rows_left, bytes_left };
        let mut first = work.receive().await?;
        if let Message::Reads(reads) = first {
            if let Some(entry) = entry {
                *begun = audit::begin(&self.sessions.ledger, &self.policy, entry.clone(), reads).await?;
            }
            first = work.receive().await?;
        }
        match first {
            Message::Schema(schema, labels) => Ok((schema, labels, work)),
            _ => Err(without_answer(&work.query_id)),
        }
    }
}

/// A query, its parameters, what was said of it, and what tells which tables its plan reads.
type Asked = (String, Vec<Expr>, QueryOptions, Option<Arc<audit::Watched>>);

/// Says how a query ended, once, also when its reader goes away first.
struct Counted {
    events: Events,
    surface: &'static str,
    started: Instant,
    outcome: Option<&'static str>,
}

impl Counted {
    fn new(sessions: &Sessions) -> Self {
        let surface = sessions.surface.dialect().surface();
        Self { events: sessions.events.clone(), surface, started: Instant::now(), outcome: None }
    }

    fn ended(&mut self, error: QueryError) -> QueryError {
        self.outcome = Some(error.outcome());
        error
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or("abandoned");
        self.events.send(Event::Query { surface: self.surface, outcome, took: self.started.elapsed() });
    }
}

/// What the work says to its reader.
#[derive(Debug)]
pub enum Message {
    /// Before all else, where it is asked for: what is read.
    Reads(Reads),
    /// First: the columns, and what they are called.
    Schema(SchemaRef, Vec<String>),
    /// Then: rows.
    Rows(RecordBatch),
    /// Last: there are no more.
    End,
}

/// A query's work, from the side of its reader.
struct Work {
    query_id: String,
    receiver: mpsc::Receiver<Result<Message, QueryError>>,
    running: Running,
    rows_left: usize,
    bytes_left: usize,
}

impl Work {
    async fn receive(&mut self) -> Result<Message, QueryError> {
        match self.running.guard(self.receiver.recv()).await? {
            Some(message) => message,
            // The work ended without saying so: it panicked.
            None => Err(without_answer(&self.query_id)),
        }
    }

    async fn rows(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let batch = match self.receive().await? {
            Message::Rows(batch) => batch,
            Message::End => return Ok(None),
            Message::Reads(_) | Message::Schema(..) => return Err(without_answer(&self.query_id)),
        };
        let over = |what: &str| {
            QueryError::ResourceLimit(format!(
                "the result has more {what} than the server sends; aggregate, or add a LIMIT"
            ))
        };
        self.rows_left = self.rows_left.checked_sub(batch.num_rows()).ok_or_else(|| over("rows"))?;
        // Batches may be slices of one: each counts with what it shows, not with the buffers that all of them share.
        let bytes = batch.columns().iter().map(array_bytes).fold(0, usize::saturating_add);
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| over("bytes"))?;
        Ok(Some(batch))
    }
}

/// The rows of a query, as they come.
pub struct Answer {
    schema: SchemaRef,
    labels: Vec<String>,
    work: Work,
    /// What is written down of it.
    begun: Begun,
    counted: Counted,
}

impl Answer {
    /// The id under which the query can be cancelled.
    pub fn query_id(&self) -> &str {
        &self.work.query_id
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the columns are called; a name may come twice.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The next rows; `None` when there are no more.
    ///
    /// # Errors
    /// [`QueryError`]: time, a limit, a cancel, or a computation that failed.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        match self.written_rows().await {
            Ok(None) => {
                self.begun.give(0);
                self.begun.end(Outcome::Done, None);
                self.counted.outcome = Some("ok");
                Ok(None)
            }
            Ok(Some(rows)) => {
                self.begun.give(rows.num_rows() as u64);
                Ok(Some(rows))
            }
            Err(error) => {
                let (outcome, reason) = audit::outcome(&error, false);
                self.begun.end(outcome, reason);
                Err(self.counted.ended(error))
            }
        }
    }

    /// The next rows, once it is written down that they are given.
    async fn written_rows(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        self.begun.kept().await.map_err(|error| audit::unwritten(&error))?;
        self.work.rows().await
    }
}

fn without_answer(query_id: &str) -> QueryError {
    let id = uuid::Uuid::new_v4().to_string();
    tracing::error!(error_id = %id, query_id, "a query's work ended without an answer");
    QueryError::Internal { id }
}
