//! What will happen to a query of a client, and why: planned over the project's tables as the client sees them, not run.
//!
//! Invariant: it is the policy of sessions that plans here, so that what is explained is what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use serde::Serialize;
use vitalake_lake::TableSpec;

use super::rules::{Access, Shown};
use super::view::PolicyView;
use crate::druid::dialect::DruidSql;
use crate::error::QueryError;
use crate::identity::Identity;
use crate::pinned::{Pinned, Schemas};
use crate::plan;
use crate::surface::Surface;

/// What a client's query reads, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Each table that it reads.
    pub tables: Vec<TableSeen>,
}

/// How a client sees a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSeen {
    /// Its name with its schema.
    pub table: String,
    /// Which rows, as the contract's roles say; none where it sees all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// The columns that the query reads.
    pub columns: Vec<ColumnSeen>,
    /// Columns that it could not read.
    pub hidden: Vec<ColumnSeen>,
}

/// How a client sees a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnSeen {
    /// Its name.
    pub column: String,
    /// `clear`, `masked` or `hidden`.
    pub shown: &'static str,
    /// The mask, where it is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<&'static str>,
    /// Its class; none of columns that no contract names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<&'static str>,
    /// Roles that see it in the clear, as far as their clearance goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<String>,
}

/// Plans a query as a client, over what these tables will be.
///
/// # Errors
/// What a session would say to the client.
pub fn explain(
    access: &Arc<Access>,
    identity: &Identity,
    specs: &[TableSpec],
    sql: &str,
) -> Result<Explained, QueryError> {
    let roles = access.roles_of(identity);
    let stored = Arc::new(Schemas::of(specs));
    let view = Arc::new(PolicyView::new(Arc::clone(&stored) as _, roles.clone()));
    let surface = Arc::new(Surface::new(Arc::new(DruidSql)));
    let plan = plan::planned(&surface, Arc::clone(&view) as _, sql)?;
    let read = columns_read(&plan);
    let tables = view.asked().into_iter().filter_map(|(schema, table)| {
        let sight = roles.sight(&schema, &table)?;
        let provider = stored.provider(&schema, &table)?;
        let schema_of = provider.schema();
        let names = schema_of.fields().iter().map(|field| field.name());
        let seen = |name: &String| {
            let (shown, mask) = match sight.of(name) {
                Shown::Clear => ("clear", None),
                Shown::Masked(mask) => ("masked", Some(mask.as_str())),
                Shown::Not(_) => ("hidden", None),
            };
            let class = sight.class(name);
            let ask = class.filter(|_| shown != "clear").map(|class| roles.cleared(class)).unwrap_or_default();
            let classification = class.map(|class| class.as_str());
            ColumnSeen { column: name.clone(), shown, mask, classification, ask }
        };
        let (hidden, others): (Vec<_>, Vec<_>) = names.map(seen).partition(|column| column.shown == "hidden");
        let of_table = read.get(&table);
        let columns = others.into_iter().filter(|column| of_table.is_some_and(|read| read.contains(&column.column)));
        let rows = sight.rows_in_words();
        Some(TableSeen { table: format!("{schema}.{table}"), rows, columns: columns.collect(), hidden })
    });
    Ok(Explained { tables: tables.collect() })
}

/// The columns that a plan reads, by table; a dataset's name is one in a project.
fn columns_read(plan: &LogicalPlan) -> BTreeMap<String, BTreeSet<String>> {
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let _whole = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = read.entry(scan.table_name.table().to_owned()).or_default();
            columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
            let asked = scan.filters.iter().flat_map(|filter| filter.column_refs());
            columns.extend(asked.map(|column| column.name().to_owned()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    read
}
