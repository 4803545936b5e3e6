//! A dialect and the functions that its sessions have, gathered once.
//!
//! Invariant: of the engine's own functions only those are reachable that the dialect names.

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::optimizer::{Optimizer, OptimizerRule};

use crate::dialect::Dialect;
use crate::functions::zone::Zone;

/// What the sessions of one surface share.
#[derive(Debug)]
pub struct Surface {
    dialect: Arc<dyn Dialect>,
    library: Library,
}

impl Surface {
    /// The surface that speaks a dialect.
    pub fn new(dialect: Arc<dyn Dialect>) -> Self {
        let library = Library::of(&*dialect);
        Self { dialect, library }
    }

    /// How it reads and shows.
    pub fn dialect(&self) -> &dyn Dialect {
        &*self.dialect
    }

    pub(crate) fn library(&self) -> &Library {
        &self.library
    }
}

/// The functions of every session, gathered once.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) optimizer: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    pub(crate) scalar: Vec<Arc<ScalarUDF>>,
    pub(crate) aggregate: Vec<Arc<AggregateUDF>>,
    pub(crate) window: Vec<Arc<WindowUDF>>,
    /// Names, and whether each makes one value of many.
    pub(crate) routines: Arc<[(String, bool)]>,
}

impl Library {
    /// The engine's functions that the dialect lets through, and its own.
    fn of(dialect: &dyn Dialect) -> Self {
        let mut scalar = SessionStateDefaults::default_scalar_functions();
        scalar.retain(|function| dialect.engine_functions().contains(&function.name()));
        let mut aggregate = SessionStateDefaults::default_aggregate_functions();
        aggregate.retain(|function| dialect.engine_aggregates().contains(&function.name()));
        let memory: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let own = dialect.functions(Zone::UTC, &memory);
        let mut routines: Vec<(String, bool)> = scalar
            .iter()
            .chain(&own)
            .map(|function| (function.name().to_ascii_uppercase(), false))
            .chain(aggregate.iter().map(|function| (function.name().to_ascii_uppercase(), true)))
            .filter(|(name, _)| !name.starts_with("__"))
            .chain(dialect.written_forms().iter().map(|(name, aggregate)| ((*name).to_owned(), *aggregate)))
            .collect();
        routines.sort();
        routines.dedup();
        let window = SessionStateDefaults::default_window_functions();
        Self { optimizer: Optimizer::new().rules, scalar, aggregate, window, routines: routines.into() }
    }
}
