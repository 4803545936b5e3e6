//! A pinned value in which no table has certain columns, by whatever name a query asks for them.
//!
//! Invariant: what is hidden is in no schema, so that a query over it cannot be planned.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, Result};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::object_store::ObjectStore;

use crate::pinned::{Pinned, Standing};

/// A value without some columns.
#[derive(Debug)]
pub(super) struct WithoutColumns {
    pinned: Arc<dyn Pinned>,
    hidden: &'static [&'static str],
}

impl WithoutColumns {
    pub(super) fn new(pinned: Arc<dyn Pinned>, hidden: &'static [&'static str]) -> Self {
        Self { pinned, hidden }
    }

    fn view(&self, name: &str, stored: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let schema = stored.schema();
        let names = || schema.fields().iter().map(|field| field.name());
        if !names().any(|name| self.hidden.contains(&name.as_str())) {
            return Ok(stored);
        }
        let shown = names().filter(|name| !self.hidden.contains(&name.as_str()));
        let columns: Vec<Expr> = shown.map(|name| Expr::Column(Column::new_unqualified(name))).collect();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(stored), None)?.project(columns)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

impl Pinned for WithoutColumns {
    fn table_names(&self) -> Vec<(String, String)> {
        self.pinned.table_names()
    }

    /// A table that cannot be shown without them is not there.
    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        self.view(table, self.pinned.provider(schema, table)?).ok()
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

    fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        self.pinned.store()
    }

    fn standings(&self) -> Vec<Standing> {
        self.pinned.standings()
    }
}
