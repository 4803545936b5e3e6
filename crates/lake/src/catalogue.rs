//! The one pointer: an immutable value that says, for every table at once, what a reader sees.
//!
//! A query pins the value and reads nothing else. Writers publish a new value; whatever they change together, for one
//! table or several, becomes visible together. Invariant: a row is in exactly one of a table's head, early files and
//! tail rows of the same value, so that no query sees it twice or not at all while a flush happens.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_contract::{DatasetName, Layer};

use crate::delta::{DataFile, FilePath, Snapshot};

/// The first part of a table's name in SQL, and its folder under lake/.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// What arrived.
    Raw,
    /// What was checked.
    Curated,
    /// What readers see.
    Serving,
    /// What was rejected, by dataset.
    Quarantine,
    /// What the platform says of itself.
    Ops,
}

impl Space {
    /// Its name in SQL and in paths.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Curated => "curated",
            Self::Serving => "serving",
            Self::Quarantine => "quarantine",
            Self::Ops => "ops",
        }
    }

    /// Whether its tables are datasets of the project.
    #[must_use]
    pub fn is_of_project(self) -> bool {
        matches!(self, Self::Raw | Self::Curated | Self::Serving)
    }
}

impl From<Layer> for Space {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Raw => Self::Raw,
            Layer::Curated => Self::Curated,
            Layer::Serving => Self::Serving,
            Layer::Ops => Self::Ops,
        }
    }
}

/// A table of the lake: `raw.readings`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Its space.
    pub space: Space,
    /// Its dataset.
    pub dataset: DatasetName,
}

impl TableId {
    /// The table of a dataset in a space.
    #[must_use]
    pub fn new(space: Space, dataset: DatasetName) -> Self {
        Self { space, dataset }
    }

    /// Where its files lie in the lake's store.
    #[must_use]
    pub fn root(&self) -> Path {
        Path::from_iter(["lake", self.space.as_str(), self.dataset.as_str()])
    }

    /// Where the log of what its gate holds back lies.
    #[must_use]
    pub fn staged_log(&self) -> Path {
        Path::from_iter(["staged", self.dataset.as_str(), "_delta_log"])
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.space.as_str(), self.dataset)
    }
}

/// What is durable in the log or in inputs, visible, and in no Delta commit yet.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Files that were written early and that no commit names yet.
    pub early: Vec<Arc<DataFile>>,
    /// Rows in memory.
    pub rows: Vec<RecordBatch>,
    /// Paths of head files whose rows the tail replaces (tables that keep one final row per group).
    pub hidden: Arc<HashSet<FilePath>>,
}

impl Tail {
    /// How many rows wait in it.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.early.iter().filter_map(|f| f.rows).sum::<u64>()
            + self.rows.iter().map(|b| b.num_rows() as u64).sum::<u64>()
    }
}

/// One table as a reader sees it.
#[derive(Clone, Debug)]
pub struct TableView {
    /// The table.
    pub id: TableId,
    /// Where its files lie in the lake's store.
    pub root: Path,
    /// Its columns in memory.
    pub schema: SchemaRef,
    /// The last commit; of a gated table the last staged one.
    pub head: Arc<Snapshot>,
    /// What its gate has passed, where it has one: what every other reader opens.
    pub published: Option<Arc<Snapshot>>,
    /// What follows the head.
    pub tail: Tail,
}

impl TableView {
    /// What readers see of it: what its gate has passed, and without a gate the last commit.
    #[must_use]
    pub fn published(&self) -> &Arc<Snapshot> {
        self.published.as_ref().unwrap_or(&self.head)
    }
}

/// Every table at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    generation: u64,
    tables: BTreeMap<TableId, Arc<TableView>>,
}

impl Catalogue {
    /// Counts the published values; equal generations of one process are equal values.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A table of this value.
    #[must_use]
    pub fn table(&self, id: &TableId) -> Option<&Arc<TableView>> {
        self.tables.get(id)
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableView>> {
        self.tables.values()
    }

    /// Puts a table's view in, in place of an earlier one.
    pub fn put(&mut self, view: TableView) {
        self.tables.insert(view.id.clone(), Arc::new(view));
    }
}

/// Holds the current value and tells who waits that it has changed.
#[derive(Debug)]
pub struct Pointer {
    current: ArcSwap<Catalogue>,
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Default for Pointer {
    fn default() -> Self {
        Self { current: ArcSwap::default(), writing: Mutex::new(()), changed: watch::channel(0).0 }
    }
}

impl Pointer {
    /// The current value, to be read as long as the caller likes.
    #[must_use]
    pub fn pin(&self) -> Arc<Catalogue> {
        self.current.load_full()
    }

    /// Makes a new value from the current one; all of the change is visible at once.
    pub fn publish(&self, change: impl FnOnce(&mut Catalogue)) {
        let _one_at_a_time = self.writing.lock();
        let mut next = Catalogue::clone(&self.current.load());
        next.generation += 1;
        change(&mut next);
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.changed.send_replace(generation);
    }

    /// A receiver that is told each new generation.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
