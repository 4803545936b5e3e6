//! What a session needs of a pinned catalogue value: names, and a table for each.
//!
//! The lake's catalogue is the one in production; tests bring a value of their own. A pinned value never changes, so a
//! query sees every table at the same moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::object_store::ObjectStore;
use parking_lot::Mutex;
use vitalake_contract::{Contract, Layer, Source};
use vitalake_lake::catalogue::Catalogue;
use vitalake_lake::lake::Lake;
use vitalake_lake::planned::{TableSchemas, table_schemas};
use vitalake_lake::{Space, TableId, TableSpec, Unopened};

/// One immutable value over all tables.
pub trait Pinned: Debug + Send + Sync + 'static {
    /// Every table as (schema, name).
    fn table_names(&self) -> Vec<(String, String)>;

    /// The table of that schema and name.
    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>>;

    /// The column that queries know as `__time`, where the table's contract has one.
    fn time_column(&self, _schema: &str, _table: &str) -> Option<String> {
        None
    }

    /// What a table still waits for before it may be read; the others are.
    fn waiting_for(&self, _schema: &str, _table: &str) -> Option<String> {
        None
    }

    /// Why a table of the project cannot be read before a person has mended something.
    fn not_open(&self, _schema: &str, _table: &str) -> Option<String> {
        None
    }

    /// Why a table that is there is not shown to who asks, and what to do about it.
    fn refused_table(&self, _schema: &str, _table: &str) -> Option<String> {
        None
    }

    /// The same of a column, of the tables that were asked for so far.
    fn refused_column(&self, _column: &str) -> Option<String> {
        None
    }

    /// Whether something was refused to who asks by its rules.
    fn was_refused(&self) -> bool {
        false
    }

    /// Where its files lie.
    fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    /// How the gated datasets stand that were asked for so far.
    fn standings(&self) -> Vec<Standing> {
        Vec::new()
    }
}

/// What an answer says of a gated dataset that it was made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// The dataset, without its layer.
    pub dataset: String,
    /// Whether something newer is held back.
    pub held: bool,
    /// Since when it is so, as RFC 3339.
    pub since: String,
    /// The age of its newest row in seconds, where that is known.
    pub freshness_seconds: Option<f64>,
    /// Whether it is older than its contract promises.
    pub stale: bool,
}

/// When a row was taken in.
pub(crate) const INGESTED_AT: &str = "_ingested_at";

/// A lake's value, with the store that its files are read from and the tables that are still being recovered.
#[derive(Debug, Clone)]
pub struct PinnedLake {
    value: Arc<Catalogue>,
    store: Arc<dyn ObjectStore>,
    recovering: Arc<BTreeMap<String, String>>,
    /// The tables that are not open, by dataset, each with the reason.
    unopened: BTreeMap<String, (TableId, String)>,
    time_columns: BTreeMap<String, String>,
    standings: Arc<Vec<Standing>>,
    /// Serving datasets that were asked for.
    read: Arc<Mutex<BTreeSet<String>>>,
}

impl PinnedLake {
    /// The newest value of a lake. `recovering` says of a dataset what it waits for.
    pub fn of(lake: &Lake, recovering: Arc<BTreeMap<String, String>>) -> Self {
        let value = lake.pin();
        let datasets = value.tables().filter_map(|view| lake.table(&view.id.dataset).ok());
        let time_columns = datasets.filter_map(|table| named_time(table.contract())).collect();
        let aside = |unopened: &Unopened| {
            let (id, reason) = (unopened.id(), unopened.reason());
            (id.dataset.to_string(), (id.clone(), format!("{id} is not open: {reason}")))
        };
        let unopened = lake.unopened().map(aside).collect();
        let (standings, read) = (Arc::default(), Arc::default());
        Self { value, store: Arc::clone(lake.store()), recovering, unopened, time_columns, standings, read }
    }

    /// The same with what is known of its gates.
    #[must_use]
    pub fn with_standings(self, standings: Vec<Standing>) -> Self {
        Self { standings: Arc::new(standings), ..self }
    }
}

impl Pinned for PinnedLake {
    fn table_names(&self) -> Vec<(String, String)> {
        self.value.table_names()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        if schema == "serving" {
            self.read.lock().insert(table.to_owned());
        }
        self.value.provider(schema, table)
    }

    fn standings(&self) -> Vec<Standing> {
        let read = self.read.lock();
        let is_read = |standing: &&Standing| {
            read.iter()
                .any(|name| name.strip_suffix("_live").unwrap_or(name) == standing.dataset || *name == standing.dataset)
        };
        self.standings.iter().filter(is_read).cloned().collect()
    }

    fn time_column(&self, schema: &str, table: &str) -> Option<String> {
        time_column(&self.time_columns, schema, table)
    }

    /// `x_live` is `x`; what is in quarantine is recovered with the dataset it was meant for.
    fn waiting_for(&self, schema: &str, table: &str) -> Option<String> {
        if schema == "ops" {
            return None;
        }
        let of = |name: &str| self.recovering.get(name).cloned();
        of(table).or_else(|| table.strip_suffix("_live").and_then(of))
    }

    fn not_open(&self, schema: &str, table: &str) -> Option<String> {
        let of = |name: &str| self.unopened.get(name);
        let (id, reason) = of(table).or_else(|| table.strip_suffix("_live").and_then(of))?;
        (schema == id.space.as_str() || schema == Space::Quarantine.as_str()).then(|| reason.clone())
    }

    fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        Some(Arc::clone(&self.store))
    }
}

/// A pinned value made of tables given one by one.
#[derive(Debug, Default)]
pub struct Tables {
    tables: BTreeMap<(String, String), Arc<dyn TableProvider>>,
}

impl Tables {
    /// Adds a table.
    #[must_use]
    pub fn with(mut self, schema: &str, table: &str, provider: Arc<dyn TableProvider>) -> Self {
        self.tables.insert((schema.to_owned(), table.to_owned()), provider);
        self
    }
}

impl Pinned for Tables {
    fn table_names(&self) -> Vec<(String, String)> {
        self.tables.keys().cloned().collect()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        self.tables.get(&(schema.to_owned(), table.to_owned())).cloned()
    }
}

/// What a project's tables will be: their columns, and no row.
#[derive(Debug, Default)]
pub struct Schemas {
    tables: TableSchemas,
    time_columns: BTreeMap<String, String>,
}

impl Schemas {
    /// The tables that a lake of these makes, under their names in SQL.
    #[must_use]
    pub fn of(specs: &[TableSpec]) -> Self {
        let time_columns = specs.iter().filter_map(|spec| named_time(&spec.contract)).collect();
        Self { tables: table_schemas(specs), time_columns }
    }
}

impl Pinned for Schemas {
    fn table_names(&self) -> Vec<(String, String)> {
        self.tables.keys().cloned().collect()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        let columns = self.tables.get(&(schema.to_owned(), table.to_owned()))?;
        Some(Arc::new(EmptyTable::new(Arc::clone(columns))))
    }

    fn time_column(&self, schema: &str, table: &str) -> Option<String> {
        time_column(&self.time_columns, schema, table)
    }
}

/// A dataset's name with the column that says when its rows were.
fn named_time(contract: &Contract) -> Option<(String, String)> {
    let column = match contract.time_column.and_then(|index| contract.columns.get(index)) {
        Some(column) => column.name.to_string(),
        // A file says of no row when it was made.
        None if contract.layer == Layer::Raw && contract.source == Some(Source::Feed) => INGESTED_AT.to_owned(),
        None => return None,
    };
    Some((contract.dataset.as_str().to_owned(), column))
}

/// `x_live` is `x`; what is in quarantine, and what the platform says of itself, has times of its own.
fn time_column(known: &BTreeMap<String, String>, schema: &str, table: &str) -> Option<String> {
    if matches!(schema, "quarantine" | "ops") {
        return None;
    }
    let of = |name: &str| known.get(name).cloned();
    of(table).or_else(|| table.strip_suffix("_live").and_then(of))
}
