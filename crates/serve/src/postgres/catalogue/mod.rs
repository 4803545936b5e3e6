//! PostgreSQL's catalogue of what a session may see: `pg_catalog` and `information_schema`, as tables in memory.
//!
//! Columns are those of PostgreSQL 15 (`columns.txt`); rows are made of the session's own view for each query.
//! Invariant: nothing is named here that the session could not read.

pub mod columns;
pub mod functions;
pub mod oid;
mod relations;
mod rows;
mod session;
pub mod types;

use std::sync::Arc;

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result as EngineResult;

use super::settings::Settings;
use crate::pinned::Pinned;

/// The schema of PostgreSQL's own tables.
pub const PG_CATALOG: &str = "pg_catalog";
/// The schema of the standard's.
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// Tables that have rows.
const FILLED: &[(&str, &str)] = &[
    (INFORMATION_SCHEMA, "columns"),
    (INFORMATION_SCHEMA, "information_schema_catalog_name"),
    (INFORMATION_SCHEMA, "schemata"),
    (INFORMATION_SCHEMA, "tables"),
    (PG_CATALOG, "pg_am"),
    (PG_CATALOG, "pg_attribute"),
    (PG_CATALOG, "pg_class"),
    (PG_CATALOG, "pg_cursors"),
    (PG_CATALOG, "pg_database"),
    (PG_CATALOG, "pg_language"),
    (PG_CATALOG, "pg_namespace"),
    (PG_CATALOG, "pg_proc"),
    (PG_CATALOG, "pg_roles"),
    (PG_CATALOG, "pg_settings"),
    (PG_CATALOG, "pg_stat_user_tables"),
    (PG_CATALOG, "pg_stat_all_tables"),
    (PG_CATALOG, "pg_tables"),
    (PG_CATALOG, "pg_tablespace"),
    (PG_CATALOG, "pg_type"),
    (PG_CATALOG, "pg_user"),
];

/// Whether a table of the catalogue never has a row.
pub fn is_always_empty(schema: &str, table: &str) -> bool {
    columns::find(schema, table).is_some() && !FILLED.contains(&(schema, table))
}

/// A table of the catalogue, with what the session may see.
///
/// # Errors
/// When it cannot be made, which would be a mistake of ours.
pub fn table(
    schema: &str,
    name: &str,
    pinned: &dyn Pinned,
    settings: &Settings,
) -> EngineResult<Option<Arc<dyn TableProvider>>> {
    let Some(table) = columns::find(schema, name) else { return Ok(None) };
    let rows = match name {
        _ if is_always_empty(schema, name) => Vec::new(),
        "pg_am"
        | "pg_cursors"
        | "pg_database"
        | "pg_language"
        | "pg_proc"
        | "pg_roles"
        | "pg_settings"
        | "pg_tablespace"
        | "pg_type"
        | "pg_user"
        | "information_schema_catalog_name" => session::rows(name, settings),
        _ => relations::rows(name, pinned, settings),
    };
    let batch = rows::batch(table, &rows)?;
    Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
}
