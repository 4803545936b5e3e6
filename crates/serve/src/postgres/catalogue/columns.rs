//! Which tables PostgreSQL's catalogue has, and which columns.

use std::sync::LazyLock;

/// A table of the catalogue.
#[derive(Debug)]
pub struct SystemTable {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Names and types of its columns.
    pub columns: Vec<(&'static str, &'static str)>,
}

static TABLES: LazyLock<Vec<SystemTable>> =
    LazyLock::new(|| include_str!("columns.txt").lines().filter_map(read).collect());

fn read(line: &'static str) -> Option<SystemTable> {
    let mut words = line.split(' ');
    let oid = words.next()?.parse().ok()?;
    let (schema, name) = words.next()?.split_once('.')?;
    Some(SystemTable { oid, schema, name, columns: words.filter_map(|word| word.split_once(':')).collect() })
}

/// All of them.
pub fn all() -> &'static [SystemTable] {
    &TABLES
}

/// One of them.
pub fn find(schema: &str, name: &str) -> Option<&'static SystemTable> {
    TABLES.iter().find(|table| table.schema == schema && table.name == name)
}

/// Names of the tables of a schema.
pub fn tables(schema: &str) -> Vec<&'static str> {
    TABLES.iter().filter(|table| table.schema == schema).map(|table| table.name).collect()
}
