//! What all sessions share: limits, memory, the CPU runtime, functions, and the queries that run now.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::{DataFusionError, Result as EngineResult};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use vitalake_lake::lake::Lake;
use vitalake_lake::provider::register_store;

use crate::error::QueryError;
use crate::plan::Library;
use crate::sql::parse::TextLimits;

/// What queries may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size of a query's text.
    pub text: TextLimits,
    /// Longest a query may run.
    pub timeout_max: Duration,
    /// Queries that run at once.
    pub queries_max: usize,
    /// Queries that wait for their turn.
    pub waiting_max: usize,
    /// Memory of one query.
    pub query_bytes_max: usize,
    /// Memory of all queries.
    pub all_bytes_max: usize,
    /// Rows of a result.
    pub result_rows_max: usize,
    /// Bytes of a result, in memory.
    pub result_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: TextLimits::default(),
            timeout_max: Duration::from_secs(300),
            queries_max: 8,
            waiting_max: 64,
            query_bytes_max: 512 << 20,
            all_bytes_max: 1 << 30,
            result_rows_max: 10_000_000,
            result_bytes_max: 4 << 30,
        }
    }
}

/// What all sessions share.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    cpu: Handle,
    library: Library,
    memory: Arc<dyn MemoryPool>,
    environment: RuntimeEnv,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    queries: Arc<Mutex<HashMap<String, Vec<Arc<Control>>>>>,
}

impl Engine {
    /// An engine whose work runs on `cpu`, over tables that are read from no store.
    ///
    /// # Errors
    /// When the engine's environment cannot be made.
    pub fn new(limits: Limits, cpu: Handle) -> EngineResult<Self> {
        // No files to spill to: what lies in a temporary folder is outside of every rule.
        let environment = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build()?;
        Ok(Self {
            limits,
            cpu,
            library: Library::new(),
            memory: Arc::new(GreedyMemoryPool::new(limits.all_bytes_max)),
            environment,
            turns: Arc::new(Semaphore::new(limits.queries_max)),
            waiting: AtomicUsize::new(0),
            queries: Arc::default(),
        })
    }

    /// An engine over a lake's tables.
    ///
    /// # Errors
    /// When the engine's environment cannot be made.
    pub fn over(lake: &Lake, limits: Limits, cpu: Handle) -> EngineResult<Self> {
        let engine = Self::new(limits, cpu)?;
        register_store(&engine.environment, Arc::clone(lake.store()));
        Ok(engine)
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where work runs that uses the processor.
    pub fn cpu(&self) -> &Handle {
        &self.cpu
    }

    /// The functions of every session.
    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    /// How many queries run now.
    pub fn running(&self) -> usize {
        self.limits.queries_max.saturating_sub(self.turns.available_permits())
    }

    /// A turn to run; waits while all are taken.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(permit);
        }
        let full = || QueryError::Capacity("too many queries run and wait; try again later".to_owned());
        let _waiting = Waiting::enter(&self.waiting, self.limits.waiting_max).ok_or_else(full)?;
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| full())
    }

    /// An environment for one query: its own share of the memory; stores and caches are everybody's.
    pub(crate) fn runtime(&self) -> Arc<RuntimeEnv> {
        let memory_pool = Arc::new(QueryMemory {
            shared: Arc::clone(&self.memory),
            used: AtomicUsize::new(0),
            limit: self.limits.query_bytes_max,
        });
        Arc::new(RuntimeEnv { memory_pool, ..self.environment.clone() })
    }

    pub(crate) fn register(&self, query_id: &str, deadline: Instant, timeout: Duration) -> Running {
        let control = Arc::new(Control::default());
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.entry(query_id.to_owned()).or_default().push(Arc::clone(&control));
        Running {
            query_id: query_id.to_owned(),
            control,
            deadline,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            task: None,
            queries: Arc::clone(&self.queries),
        }
    }

    /// Cancels every query with that id. Returns whether there was one.
    pub fn cancel(&self, query_id: &str) -> bool {
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(controls) = queries.get(query_id) else { return false };
        for control in controls {
            control.cancelled.store(true, Ordering::Release);
            control.changed.notify_waiters();
            control.changed.notify_one();
        }
        !controls.is_empty()
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, limit: usize) -> Option<Self> {
        if count.fetch_add(1, Ordering::AcqRel) >= limit {
            count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct Control {
    /// Nobody waits for the query any longer; its planning looks at this.
    cancelled: Arc<AtomicBool>,
    changed: Notify,
}

/// A query that runs: it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    query_id: String,
    control: Arc<Control>,
    deadline: Instant,
    timeout_ms: u64,
    task: Option<AbortHandle>,
    queries: Arc<Mutex<HashMap<String, Vec<Arc<Control>>>>>,
}

impl Running {
    /// The work to stop.
    pub(crate) fn watch(&mut self, task: AbortHandle) {
        self.task = Some(task);
    }

    /// Becomes true when the query was cancelled, ran out of time, or lost its reader.
    pub(crate) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.control.cancelled)
    }

    /// Waits for something, but no longer than the query may run.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, QueryError> {
        if self.control.cancelled.load(Ordering::Acquire) {
            return Err(QueryError::Cancelled);
        }
        tokio::select! {
            biased;
            () = self.control.changed.notified() => Err(QueryError::Cancelled),
            result = work => Ok(result),
            () = tokio::time::sleep_until(self.deadline) => Err(QueryError::Timeout { timeout_ms: self.timeout_ms }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.cancelled.store(true, Ordering::Release);
        if let Some(task) = &self.task {
            task.abort();
        }
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(controls) = queries.get_mut(&self.query_id) {
            controls.retain(|control| !Arc::ptr_eq(control, &self.control));
            if controls.is_empty() {
                queries.remove(&self.query_id);
            }
        }
    }
}

/// One query's share of the memory of all.
#[derive(Debug)]
struct QueryMemory {
    shared: Arc<dyn MemoryPool>,
    used: AtomicUsize,
    limit: usize,
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "query memory of at most {} bytes", self.limit)
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::AcqRel);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::AcqRel);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> EngineResult<()> {
        let before = self.used.fetch_add(additional, Ordering::AcqRel);
        let grown = if before.saturating_add(additional) > self.limit {
            Err(DataFusionError::ResourcesExhausted("the query's memory is used up".to_owned()))
        } else {
            self.shared.try_grow(reservation, additional)
        };
        if grown.is_err() {
            self.used.fetch_sub(additional, Ordering::AcqRel);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}
