//! `__time`: every table has it in Druid's SQL, in front of its columns, and it is stored nowhere.
//!
//! It is the column that the contract names or the first required timestamp. A table without one has `_timestamp`, when
//! its records were produced; one of delivered rows, which have none, and one that a model makes, `_ingested_at`. Invariant: the columns of the table stay as they are, so a filter on `__time` reads
//! no more than one on the column itself.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, Result};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use crate::pinned::{INGESTED_AT, Pinned};

/// The column's name.
pub const TIME: &str = "__time";
/// When a record was produced: what raw tables have.
const TIMESTAMP: &str = "_timestamp";
/// When a record was rejected: what quarantines have.
const REJECTED_AT: &str = "_quarantined_at";

/// A table as Druid's SQL shows it.
///
/// # Errors
/// When the view cannot be planned, which would be a mistake of ours.
pub fn table(pinned: &dyn Pinned, layer: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(stored) = pinned.provider(layer, name) else { return Ok(None) };
    let schema = stored.schema();
    if schema.column_with_name(TIME).is_some() {
        return Ok(Some(stored));
    }
    let Some(time) = pinned.time_column(layer, name).or_else(|| default(&schema)) else { return Ok(Some(stored)) };
    let mut columns = vec![Expr::Column(Column::new_unqualified(time)).alias(TIME)];
    columns.extend(schema.fields().iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))));
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(stored), None)?.project(columns)?.build()?;
    Ok(Some(Arc::new(ViewTable::new(plan, None))))
}

fn default(schema: &Schema) -> Option<String> {
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
    let times =
        || schema.fields().iter().map(|field| field.as_ref()).filter(|field: &&Field| is_time(field.data_type()));
    let own = |field: &Field| field.name().starts_with('_');
    let required = times().find(|field| !field.is_nullable() && !own(field));
    let named = |name: &str| times().find(|field| field.name() == name);
    let ours = || [REJECTED_AT, TIMESTAMP, INGESTED_AT].into_iter().find_map(named);
    let found = required.or_else(ours).or_else(|| times().next());
    found.map(|field| field.name().clone())
}
