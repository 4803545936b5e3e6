//! Types as PostgreSQL's catalogue lists them, with the functions that read and write them.

use std::sync::LazyLock;

use crate::postgres::types::item_of;

/// A type.
#[derive(Debug)]
pub struct Type {
    /// Its number.
    pub oid: u32,
    /// Its name.
    pub name: &'static str,
    /// Size, by value, kind, category, preferred, items, array, functions that read and write (four), alignment,
    /// storage, collation.
    pub rest: Vec<&'static str>,
}

static TYPES: LazyLock<Vec<Type>> = LazyLock::new(|| include_str!("types.txt").lines().filter_map(read).collect());

/// Names of functions with their numbers and the numbers of what they give.
static PROCEDURES: LazyLock<Vec<(u32, &'static str, u32)>> =
    LazyLock::new(|| include_str!("procs.txt").lines().filter_map(read_procedure).collect());

fn read(line: &'static str) -> Option<Type> {
    let mut words = line.split(' ');
    Some(Type { oid: words.next()?.parse().ok()?, name: words.next()?, rest: words.collect() })
}

fn read_procedure(line: &'static str) -> Option<(u32, &'static str, u32)> {
    let mut words = line.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?))
}

/// All types.
pub fn all() -> &'static [Type] {
    &TYPES
}

/// All functions that read and write them.
pub fn procedures() -> &'static [(u32, &'static str, u32)] {
    &PROCEDURES
}

/// The type of that number.
pub fn by_number(oid: u32) -> Option<&'static Type> {
    TYPES.iter().find(|known| known.oid == oid)
}

/// The type of that name, in PostgreSQL's words or SQL's.
pub fn by_name(name: &str) -> Option<&'static Type> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    if let Some(item) = name.strip_suffix("[]") {
        let item = by_name(item)?;
        return by_number(crate::postgres::types::array_of(item.oid)?);
    }
    let found = |name: &str| TYPES.iter().find(|known| known.name == name);
    found(&name).or_else(|| LONG.iter().find(|(_, long)| *long == name).and_then(|(short, _)| found(short)))
}

/// The function of that name.
pub fn procedure(name: &str) -> Option<u32> {
    let name = name.trim().trim_start_matches("pg_catalog.");
    PROCEDURES.iter().find(|(_, known, _)| *known == name).map(|(number, ..)| *number)
}

/// Names in PostgreSQL's words and in SQL's.
const LONG: [(&str, &str); 13] = [
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("char", "\"char\""),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int4", "int"),
    ("int8", "bigint"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("varchar", "character varying"),
];

/// A type's name in SQL's words.
pub fn shown(oid: u32) -> String {
    if let Some(item) = item_of(oid) {
        return format!("{}[]", shown(item));
    }
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(known) = by_number(oid) else { return "???".to_owned() };
    let long = LONG.iter().find(|(short, _)| *short == known.name);
    long.map_or(known.name, |(_, long)| long).to_owned()
}
