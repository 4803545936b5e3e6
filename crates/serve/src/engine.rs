//! What all sessions of all surfaces share: limits, memory, the CPU runtime, and the queries that run now.
//!
//! It outlives every value that is pinned. Invariant: a query ends only by itself, by a limit, or by who began it; no
//! client has all places or all memory.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use datafusion::common::Result as EngineResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use vitalake_lake::provider::register_store;

use crate::error::QueryError;
use crate::identity::{Door, Identity};
use crate::memory::QueryMemory;
use crate::running::{Queries, Running};
use crate::sql::parse::TextLimits;
use crate::turns::{Turn, Turns};

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
    /// What each client's queries use together, of those that have some open.
    shares: Mutex<HashMap<(Door, String), Weak<QueryMemory>>>,
    environment: RuntimeEnv,
    turns: Turns,
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
            shares: Mutex::default(),
            turns: Turns::new(limits.queries_max, limits.waiting_max),
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

    /// How many queries have begun and not ended, also those that wait for their reader.
    pub fn running(&self) -> usize {
        self.turns.open()
    }

    /// A turn to run; waits while all places are taken, or all that one client may have.
    pub(crate) async fn turn(&self, owner: &Identity) -> Result<Turn, QueryError> {
        self.turns.take(owner).await
    }

    /// What a client's queries use together: three quarters of all memory at most, so that others find some.
    fn share(&self, owner: &Identity) -> Arc<QueryMemory> {
        let mut shares = self.shares.lock();
        shares.retain(|_, share| share.strong_count() > 0);
        let share = shares.entry((owner.door(), owner.name().to_owned())).or_default();
        share.upgrade().unwrap_or_else(|| {
            let bytes_max = self.limits.all_bytes_max - self.limits.all_bytes_max / 4;
            let made = Arc::new(QueryMemory::new(Arc::clone(&self.memory), bytes_max));
            *share = Arc::downgrade(&made);
            made
        })
    }

    /// An environment for one query of a client: its own share of the memory, and the store of the value that it pinned;
    /// caches are everybody's.
    pub(crate) fn environment(&self, owner: &Identity, store: Option<Arc<dyn ObjectStore>>) -> Arc<RuntimeEnv> {
        let memory_pool = Arc::new(QueryMemory::new(self.share(owner), self.limits.query_bytes_max));
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
