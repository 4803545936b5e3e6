//! The lake: all tables of a project over one store, opened from their contracts and their Delta logs alone.
//!
//! `open` makes missing tables, empty, and refuses a contract that no longer fits its table; `open_each` sets such a table
//! aside and opens the others. Nothing else is read at start: transactions in the logs say what is in. Invariant: every
//! dataset has a table, with a value in the catalogue, or is known as unopened with the reason.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::{Contract, DatasetName};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::Events;

use crate::books::Account;
use crate::catalogue::{Catalogue, Pointer, Space, TableId};
use crate::changes::Changes;
use crate::commit::Turn;
use crate::epoch::ChangeNumber;
use crate::erase::Subject;
use crate::error::LakeError;
use crate::missing::{Missing, NotingStore};
use crate::rejects::{finish, give_back, shown};
use crate::side::Side;
use crate::staged;
use crate::table::{State, Table};
use crate::unopened::Unopened;

/// How many tables are opened at once: each costs a few requests.
const OPENED_AT_ONCE: usize = 8;

/// Limits of the lake.
#[derive(Clone, Debug)]
pub struct LakeOptions {
    /// Rows in memory of one table, in bytes, at which its writer waits.
    pub tail_bytes_max: usize,
    /// Rows in memory, in bytes, that make one Parquet file.
    pub file_bytes_in_memory: usize,
    /// Commits of a table between two of its checkpoints.
    pub commits_per_checkpoint: u64,
    /// Where each commit is told.
    pub events: Events,
    /// Persons that were erased: what comes of them is refused.
    pub refused: Arc<[Subject]>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            tail_bytes_max: 256 << 20,
            file_bytes_in_memory: 64 << 20,
            commits_per_checkpoint: 100,
            events: Events::unread(),
            refused: Arc::default(),
        }
    }
}

/// What all tables of a lake share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells the commits of this lake from those of any other process, and of any life before.
    pub(crate) id: Uuid,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) missing: Missing,
    pub(crate) pointer: Pointer,
    pub(crate) options: LakeOptions,
    pub(crate) clock: Clock,
    pub(crate) cpu: Cpu,
    /// Set when a commit found that another process has taken over what this one was doing.
    pub(crate) lease_lost: watch::Sender<bool>,
    /// Set when the lake is closed: nothing is committed from then on.
    pub(crate) closed: watch::Sender<bool>,
}

/// A dataset's contract and the columns that its table stores: the contract's, and those that a model adds.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The contract.
    pub contract: Arc<Contract>,
    /// The stored columns.
    pub schema: SchemaRef,
    /// Whether it keeps one final row per group: then its files are leaves, and compaction leaves them alone.
    pub grouped: bool,
    /// Whether another process commits to it and this one only follows.
    pub followed: bool,
    /// Whether a gate stands between its commits and its readers.
    pub gated: bool,
    /// The tables of the models that read it change by change, whichever process runs them: their transactions say how
    /// far each has come, and what one has still to read is not cleaned away.
    pub read_by: Vec<TableId>,
}

impl TableSpec {
    /// A table that stores what its contract says and nothing beside.
    #[must_use]
    pub fn of(contract: Arc<Contract>) -> Self {
        let (schema, gated) = (contract.table_schema(), contract.is_gated());
        Self { contract, schema, grouped: false, followed: false, gated, read_by: Vec::new() }
    }
}

/// All tables of a project.
#[derive(Debug)]
pub struct Lake {
    pub(crate) shared: Arc<Shared>,
    tables: BTreeMap<DatasetName, Arc<Table>>,
    pub(crate) unopened: BTreeMap<DatasetName, Unopened>,
}

impl Lake {
    /// Opens or makes the tables of all datasets.
    ///
    /// # Errors
    /// `ContractChanged` when a table and its contract do not fit; `Delta` when a log cannot be read or made.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        specs: Vec<TableSpec>,
        options: LakeOptions,
        clock: Clock,
        cpu: Cpu,
    ) -> Result<Self, LakeError> {
        let mut lake = Self::open_each(store, specs, options, clock, cpu).await;
        match lake.unopened.pop_first() {
            Some((_, unopened)) => Err(unopened.into_error()),
            None => Ok(lake),
        }
    }

    /// Opens or makes the tables of all datasets, each by itself: one that cannot be opened is set aside, and said.
    pub async fn open_each(
        store: Arc<dyn ObjectStore>,
        specs: Vec<TableSpec>,
        options: LakeOptions,
        clock: Clock,
        cpu: Cpu,
    ) -> Self {
        let missing = Missing::default();
        let store: Arc<dyn ObjectStore> = Arc::new(NotingStore { store, missing: missing.clone() });
        let (pointer, lease_lost, closed) = (Pointer::default(), watch::channel(false).0, watch::channel(false).0);
        let id = Uuid::new_v4();
        let shared = Arc::new(Shared { id, store, missing, pointer, options, clock, cpu, lease_lost, closed });
        let opening = specs.into_iter().map(|spec| {
            let shared = Arc::clone(&shared);
            async move {
                let opened = open_table(&shared, spec.clone()).await;
                (spec.contract.dataset.clone(), opened.map_err(|error| Unopened::new(spec, error)))
            }
        });
        let mut opening = futures::stream::iter(opening).buffered(OPENED_AT_ONCE);
        let (mut tables, mut unopened) = (BTreeMap::new(), BTreeMap::new());
        while let Some((name, opened)) = opening.next().await {
            match opened {
                Ok(table) => drop(tables.insert(name, Arc::new(table))),
                Err(aside) => drop(unopened.insert(name, aside)),
            }
        }
        drop(opening);
        let lake = Self { shared, tables, unopened };
        if let Err(error) = lake.finish_publications().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a publication of several tables was cut short and cannot be finished yet");
        }
        let Self { shared, tables, .. } = &lake;
        shared.pointer.publish(|catalogue| {
            for table in tables.values() {
                table.state.lock().put_into(catalogue);
            }
        });
        lake
    }

    /// The current value over all tables.
    #[must_use]
    pub fn pin(&self) -> Arc<Catalogue> {
        self.shared.pointer.pin()
    }

    /// A receiver that is told of each new value's generation.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.pointer.watch()
    }

    /// Ends all commits: one that is on its way is waited for, and every later one answers `Stopped`. Readers of changes
    /// are woken and answer the same. What is pinned can still be read.
    pub async fn close(&self) {
        self.shared.closed.send_replace(true);
        for table in self.tables() {
            table.moved.send_modify(|n| *n += 1);
        }
        for table in self.tables() {
            drop(table.turn().await);
        }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// A dataset's table.
    ///
    /// # Errors
    /// `NoSuchDataset`; `NotOpen` with the reason.
    pub fn table(&self, dataset: &DatasetName) -> Result<&Arc<Table>, LakeError> {
        self.tables.get(dataset).ok_or_else(|| match self.unopened.get(dataset) {
            Some(unopened) => unopened.refusal(),
            None => LakeError::NoSuchDataset(dataset.clone()),
        })
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Files that tables name and that a read has not found, each with its table and its path in the store.
    #[must_use]
    pub fn missing_files(&self) -> Vec<(TableId, Path)> {
        self.shared.missing.named_by(&self.pin())
    }

    /// The store that holds the tables.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.store
    }

    /// Where queries, models and encoders run.
    #[must_use]
    pub fn cpu(&self) -> &Cpu {
        &self.shared.cpu
    }

    /// The limits that the lake was opened with.
    #[must_use]
    pub fn options(&self) -> &LakeOptions {
        &self.shared.options
    }
}

pub(crate) async fn open_table(shared: &Arc<Shared>, spec: TableSpec) -> Result<Table, LakeError> {
    let dataset = &spec.contract.dataset;
    let rows_id = TableId::new(Space::from(spec.contract.layer), dataset.clone());
    let rejects_id = TableId::new(Space::Quarantine, dataset.clone());
    let rows = Side::open(shared, rows_id, Arc::clone(&spec.schema), spec.followed).await?;
    let rows = match rows.id.space {
        Space::Serving => staged::open(shared, rows, spec.gated, spec.followed).await?,
        _ => rows,
    };
    let mut rejects = Side::open(shared, rejects_id, quarantine_schema(), spec.followed).await?;
    let failed = |source| LakeError::Delta { attempt: "finishing a replay", table: rows.id.clone(), source };
    match spec.followed {
        true => rejects.head = shown(&rows, &rejects).await.map_err(failed)?,
        false => {
            finish(&rows, &mut rejects, shared.clock.now_ms()).await.map_err(failed)?;
            give_back(shared, &rows, &mut rejects).await.map_err(failed)?;
        }
    }
    let state = State {
        rows,
        rejects,
        changes: if spec.grouped { Changes::of_commits() } else { Changes::default() },
        txns: BTreeMap::new(),
        account: Account::default(),
        unbalanced: None,
        rejected: (0, 0),
        committed: ChangeNumber(0),
        overlay: None,
        newest_ms: None,
        remembered: VecDeque::new(),
    };
    Ok(Table {
        contract: spec.contract,
        shared: Arc::clone(shared),
        grouped: spec.grouped,
        followed: spec.followed,
        read_by: spec.read_by,
        state: Mutex::new(state),
        committing: Turn::mutex(),
        taking_back: tokio::sync::Mutex::new(()),
        writing: tokio::sync::Mutex::new(()),
        looks: AtomicU64::new(0),
        moved: watch::channel(0).0,
        source_check: OnceLock::new(),
        publishing: tokio::sync::Mutex::new(()),
        pins: crate::pinned_version::Pins::default(),
    })
}
