//! INFORMATION_SCHEMA and `sys` as Druid has them, made from the pinned catalogue when a query names them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;

use super::time_column;
use super::types::field_names;
use crate::pinned::Pinned;

/// The schema of the introspection tables.
pub const INFORMATION_SCHEMA: &str = "INFORMATION_SCHEMA";
/// The tables in it.
pub const INFORMATION_TABLES: [&str; 4] = ["COLUMNS", "ROUTINES", "SCHEMATA", "TABLES"];
/// Druid's tables about itself; all are empty here.
pub const SYS_TABLES: [&str; 5] = ["segments", "server_segments", "servers", "supervisors", "tasks"];
/// Druid's name of the schema `serving`.
pub const DRUID: &str = "druid";
/// Every schema, whether or not it has tables.
pub const SCHEMATA: [&str; 10] =
    ["druid", INFORMATION_SCHEMA, "lookup", "sys", "view", "raw", "curated", "serving", "quarantine", "ops"];

/// One column as it is listed.
enum Cells {
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
}

/// A table of INFORMATION_SCHEMA.
///
/// # Errors
/// When the table cannot be made, which would be a mistake of ours.
pub fn information_table(
    name: &str,
    pinned: &dyn Pinned,
    functions: &[(String, bool)],
) -> Result<Option<Arc<dyn TableProvider>>> {
    let columns = match name {
        "SCHEMATA" => schemata(),
        "TABLES" => tables(pinned),
        "COLUMNS" => columns(pinned),
        "ROUTINES" => routines(functions),
        _ => return Ok(None),
    };
    table(columns).map(Some)
}

/// A table of `sys`, with Druid's columns and no rows.
///
/// # Errors
/// When the table cannot be made, which would be a mistake of ours.
pub fn sys_table(name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(schema) = sys_schema(name) else { return Ok(None) };
    Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![]])?)))
}

fn sys_schema(name: &str) -> Option<SchemaRef> {
    let columns: &[&str] = match name {
        "segments" => &[
            "segment_id",
            "datasource",
            "start",
            "end",
            "size#",
            "version",
            "partition_num#",
            "num_replicas#",
            "num_rows#",
            "is_active#",
            "is_published#",
            "is_available#",
            "is_realtime#",
            "is_overshadowed#",
            "shard_spec",
            "dimensions",
            "metrics",
            "last_compaction_state",
            "replication_factor#",
        ],
        "servers" => &[
            "server",
            "host",
            "plaintext_port#",
            "tls_port#",
            "server_type",
            "tier",
            "curr_size#",
            "max_size#",
            "is_leader#",
            "start_time",
        ],
        "server_segments" => &["server", "segment_id"],
        "tasks" => &[
            "task_id",
            "group_id",
            "type",
            "datasource",
            "created_time",
            "queue_insertion_time",
            "status",
            "runner_status",
            "duration#",
            "location",
            "host",
            "plaintext_port#",
            "tls_port#",
            "error_msg",
        ],
        "supervisors" => {
            &["supervisor_id", "state", "detailed_state", "healthy#", "type", "source", "suspended#", "spec"]
        }
        _ => return None,
    };
    // A name that ends in # is a number.
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| match column.strip_suffix('#') {
            Some(column) => Field::new(column, DataType::Int64, true),
            None => Field::new(*column, DataType::Utf8, true),
        })
        .collect();
    Some(Arc::new(Schema::new(fields)))
}

fn table(columns: Vec<(&str, Cells)>) -> Result<Arc<dyn TableProvider>> {
    let mut fields = vec![];
    let mut arrays: Vec<ArrayRef> = vec![];
    for (name, cells) in columns {
        match cells {
            Cells::Text(cells) => {
                fields.push(Field::new(name, DataType::Utf8, true));
                arrays.push(Arc::new(StringArray::from(cells)));
            }
            Cells::Number(cells) => {
                fields.push(Field::new(name, DataType::Int64, true));
                arrays.push(Arc::new(Int64Array::from(cells)));
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn constant(value: &str, count: usize) -> Cells {
    Cells::Text(vec![Some(value.to_owned()); count])
}

fn no_text(count: usize) -> Cells {
    Cells::Text(vec![None; count])
}

fn schemata() -> Vec<(&'static str, Cells)> {
    let count = SCHEMATA.len();
    vec![
        ("CATALOG_NAME", constant(DRUID, count)),
        ("SCHEMA_NAME", Cells::Text(SCHEMATA.iter().map(|name| Some((*name).to_owned())).collect())),
        ("SCHEMA_OWNER", no_text(count)),
        ("DEFAULT_CHARACTER_SET_CATALOG", no_text(count)),
        ("DEFAULT_CHARACTER_SET_SCHEMA", no_text(count)),
        ("DEFAULT_CHARACTER_SET_NAME", no_text(count)),
        ("SQL_PATH", no_text(count)),
    ]
}

/// Every table as (schema, name); what is in `serving` is listed under `druid` too.
fn all_tables(pinned: &dyn Pinned) -> Vec<(String, String)> {
    let mut tables = pinned.table_names();
    tables.sort();
    let druid: Vec<_> = tables
        .iter()
        .filter(|(schema, _)| schema == "serving")
        .map(|(_, table)| (DRUID.to_owned(), table.clone()))
        .collect();
    druid.into_iter().chain(tables).collect()
}

fn tables(pinned: &dyn Pinned) -> Vec<(&'static str, Cells)> {
    let mut rows: Vec<(String, String, &str)> =
        all_tables(pinned).into_iter().map(|(schema, table)| (schema, table, "TABLE")).collect();
    let system = INFORMATION_TABLES.iter().map(|table| (INFORMATION_SCHEMA, *table));
    let system = system.chain(SYS_TABLES.iter().map(|table| ("sys", *table)));
    rows.extend(system.map(|(schema, table)| (schema.to_owned(), table.to_owned(), "SYSTEM_TABLE")));
    let count = rows.len();
    let text =
        |cell: fn(&(String, String, &str)) -> String| Cells::Text(rows.iter().map(|row| Some(cell(row))).collect());
    vec![
        ("TABLE_CATALOG", constant(DRUID, count)),
        ("TABLE_SCHEMA", text(|row| row.0.clone())),
        ("TABLE_NAME", text(|row| row.1.clone())),
        ("TABLE_TYPE", text(|row| row.2.to_owned())),
        ("IS_JOINABLE", constant("NO", count)),
        ("IS_BROADCAST", constant("NO", count)),
    ]
}

fn columns(pinned: &dyn Pinned) -> Vec<(&'static str, Cells)> {
    let mut rows: Vec<(String, String, i64, Arc<Field>)> = vec![];
    let mut add = |schema: &str, table: &str, columns: &Schema| {
        for (position, field) in (1_i64..).zip(columns.fields()) {
            rows.push((schema.to_owned(), table.to_owned(), position, Arc::clone(field)));
        }
    };
    for (schema, table) in all_tables(pinned) {
        let stored = if schema == DRUID { "serving" } else { schema.as_str() };
        if let Ok(Some(provider)) = time_column::table(pinned, stored, &table) {
            add(&schema, &table, &provider.schema());
        }
    }
    for table in SYS_TABLES {
        if let Some(schema) = sys_schema(table) {
            add("sys", table, &schema);
        }
    }
    let count = rows.len();
    let number = |number: fn(&Field) -> Option<i64>| Cells::Number(rows.iter().map(|row| number(&row.3)).collect());
    let text = |text: fn(&Field) -> Option<String>| Cells::Text(rows.iter().map(|row| text(&row.3)).collect());
    let is_text = |field: &Field| field_names(field).jdbc == 12;
    vec![
        ("TABLE_CATALOG", constant(DRUID, count)),
        ("TABLE_SCHEMA", Cells::Text(rows.iter().map(|row| Some(row.0.clone())).collect())),
        ("TABLE_NAME", Cells::Text(rows.iter().map(|row| Some(row.1.clone())).collect())),
        ("COLUMN_NAME", text(|field| Some(field.name().clone()))),
        ("ORDINAL_POSITION", Cells::Number(rows.iter().map(|row| Some(row.2)).collect())),
        ("COLUMN_DEFAULT", constant("", count)),
        (
            "IS_NULLABLE",
            text(|field| {
                let nullable = field.is_nullable() && field.name() != time_column::TIME;
                Some(if nullable { "YES" } else { "NO" }.to_owned())
            }),
        ),
        ("DATA_TYPE", text(|field| Some(field_names(field).sql.to_owned()))),
        ("CHARACTER_MAXIMUM_LENGTH", no_text(count)),
        ("CHARACTER_OCTET_LENGTH", no_text(count)),
        ("NUMERIC_PRECISION", number(|field| precision(field).map(|(precision, _)| precision))),
        ("NUMERIC_PRECISION_RADIX", number(|field| precision(field).map(|_| 10))),
        ("NUMERIC_SCALE", number(|field| precision(field).and_then(|(_, scale)| scale))),
        ("DATETIME_PRECISION", number(|field| (field_names(field).jdbc == 93).then_some(3))),
        (
            "CHARACTER_SET_NAME",
            Cells::Text(rows.iter().map(|row| is_text(&row.3).then(|| "UTF-16LE".to_owned())).collect()),
        ),
        (
            "COLLATION_NAME",
            Cells::Text(rows.iter().map(|row| is_text(&row.3).then(|| "UTF-16LE$en_US$primary".to_owned())).collect()),
        ),
        ("JDBC_TYPE", number(|field| Some(field_names(field).jdbc))),
    ]
}

fn precision(field: &Field) -> Option<(i64, Option<i64>)> {
    match field_names(field).sql {
        "BIGINT" => Some((19, Some(0))),
        "INTEGER" => Some((10, Some(0))),
        "DOUBLE" | "FLOAT" => Some((15, None)),
        _ => None,
    }
}

fn routines(functions: &[(String, bool)]) -> Vec<(&'static str, Cells)> {
    let count = functions.len();
    let aggregator = |aggregate: bool| Some(if aggregate { "YES" } else { "NO" }.to_owned());
    vec![
        ("ROUTINE_CATALOG", constant(DRUID, count)),
        ("ROUTINE_SCHEMA", constant(INFORMATION_SCHEMA, count)),
        ("ROUTINE_NAME", Cells::Text(functions.iter().map(|(name, _)| Some(name.clone())).collect())),
        ("ROUTINE_TYPE", constant("FUNCTION", count)),
        ("IS_AGGREGATOR", Cells::Text(functions.iter().map(|(_, aggregate)| aggregator(*aggregate)).collect())),
        ("SIGNATURES", no_text(count)),
    ]
}
