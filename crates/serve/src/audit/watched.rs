//! A pinned value that knows which table it gave to a query, so that the plan's scans can be named for audit.
//!
//! Tables are told apart by themselves, not by what a plan calls them: views around them have names of their own.
//! Invariant: a table that was not given here is none of a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::ObjectStore;
use parking_lot::Mutex;

use crate::pinned::{Pinned, Standing};

/// The columns that are read of tables, by schema and name.
pub type Reads = BTreeMap<(String, String), BTreeSet<String>>;

type Given = (Arc<dyn TableProvider>, (String, String));

/// A value that remembers what it gave.
#[derive(Debug)]
pub struct Watched {
    pinned: Arc<dyn Pinned>,
    given: Mutex<Vec<Given>>,
}

impl Watched {
    /// The same value, watched.
    pub fn new(pinned: Arc<dyn Pinned>) -> Self {
        Self { pinned, given: Mutex::default() }
    }

    /// What a plan reads of the tables that were given.
    pub fn reads(&self, plan: &LogicalPlan) -> Reads {
        let given = self.given.lock();
        let mut reads = Reads::new();
        let _whole = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
                && let Some((_, name)) = given.iter().find(|(table, _)| Arc::ptr_eq(table, &provider))
            {
                let columns = reads.entry(name.clone()).or_default();
                columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
                let asked = scan.filters.iter().flat_map(|filter| filter.column_refs());
                columns.extend(asked.map(|column| column.name().to_owned()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        reads
    }
}

impl Pinned for Watched {
    fn table_names(&self) -> Vec<(String, String)> {
        self.pinned.table_names()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        let provider = self.pinned.provider(schema, table)?;
        self.given.lock().push((Arc::clone(&provider), (schema.to_owned(), table.to_owned())));
        Some(provider)
    }

    fn time_column(&self, schema: &str, table: &str) -> Option<String> {
        self.pinned.time_column(schema, table)
    }

    fn waiting_for(&self, schema: &str, table: &str) -> Option<String> {
        self.pinned.waiting_for(schema, table)
    }

    fn not_open(&self, schema: &str, table: &str) -> Option<String> {
        self.pinned.not_open(schema, table)
    }

    fn refused_table(&self, schema: &str, table: &str) -> Option<String> {
        self.pinned.refused_table(schema, table)
    }

    fn refused_column(&self, column: &str) -> Option<String> {
        self.pinned.refused_column(column)
    }

    fn was_refused(&self) -> bool {
        self.pinned.was_refused()
    }

    fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        self.pinned.store()
    }

    fn standings(&self) -> Vec<Standing> {
        self.pinned.standings()
    }
}
