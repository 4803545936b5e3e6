//! What a session needs of a pinned catalogue value: names, and a table for each.
//!
//! The lake's catalogue is the one in production; tests bring a value of their own. A pinned value never changes, so a
//! query sees every table at the same moment.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use vitalake_lake::catalogue::Catalogue;

/// One immutable value over all tables.
pub trait Pinned: Debug + Send + Sync + 'static {
    /// Every table as (schema, name).
    fn table_names(&self) -> Vec<(String, String)>;

    /// The table of that schema and name.
    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>>;
}

impl Pinned for Catalogue {
    fn table_names(&self) -> Vec<(String, String)> {
        self.table_names()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        self.provider(schema, table)
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
