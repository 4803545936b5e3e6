//! What all sessions of all surfaces share: limits, memory, the CPU runtime, and the queries that run now.
//!
//! It outlives every value that is pinned. Invariant: a query ends only by itself, by a limit, or by who began it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::Result as EngineResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vitalake_lake::provider::register_store;

use crate::error::QueryError;
use crate::identity::Identity;
use crate::memory::QueryMemory;
use crate::running::{Queries, Running};
use crate::sql::parse::TextLimits;

/// What queries may use.
#[derive(Debug, Clone, Copy)]
pub struct QueryLimits {
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

impl Default for QueryLimits {
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
pub struct QueryEngine {
    limits: QueryLimits,
    cpu: Handle,
    memory: Arc<dyn MemoryPool>,
    environment: RuntimeEnv,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    queries: Queries,
}

impl QueryEngine {
    /// An engine whose work runs on `cpu`.
    ///
    /// # Errors
    /// When the engine's environment cannot be made.
    pub fn new(limits: QueryLimits, cpu: Handle) -> EngineResult<Self> {
        // No files to spill to: what lies in a temporary folder is outside of every rule.
        let environment = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build()?;
        Ok(Self {
            limits,
            cpu,
            memory: Arc::new(GreedyMemoryPool::new(limits.all_bytes_max)),
            environment,
            turns: Arc::new(Semaphore::new(limits.queries_max)),
            waiting: AtomicUsize::new(0),
            queries: Queries::default(),
        })
    }

    /// The limits.
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// Where work runs that uses the processor.
    pub fn cpu(&self) -> &Handle {
        &self.cpu
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

    /// An environment for one query: its own share of the memory, and the store of the value that it pinned; caches are
    /// everybody's.
    pub(crate) fn environment(&self, store: Option<Arc<dyn ObjectStore>>) -> Arc<RuntimeEnv> {
        let memory_pool = Arc::new(QueryMemory::new(Arc::clone(&self.memory), self.limits.query_bytes_max));
        let environment = RuntimeEnv {
            memory_pool,
            object_store_registry: Arc::new(DefaultObjectStoreRegistry::new()),
            ..self.environment.clone()
        };
        if let Some(store) = store {
            register_store(&environment, store);
        }
        Arc::new(environment)
    }

    /// Puts a query among those that run.
    pub(crate) fn register(&self, owner: &Identity, query_id: &str, timeout: Duration) -> Running {
        self.queries.register(owner, query_id, timeout)
    }

    /// Cancels every query with that id that this identity began. Returns whether there was one.
    pub(crate) fn cancel(&self, owner: &Identity, query_id: &str) -> bool {
        self.queries.cancel(owner, query_id)
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
