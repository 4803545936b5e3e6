//! Tables of the catalogue that say which schemas, tables and columns there are, of what the session may see.

use arrow::datatypes::SchemaRef;

use super::rows::{Cell, Row};
use super::session::{OWNER, row};
use super::{INFORMATION_SCHEMA, PG_CATALOG, columns, oid, types};
use crate::pinned::Pinned;
use crate::postgres::dialect::SCHEMATA;
use crate::postgres::settings::{DATABASE, Settings};
use crate::postgres::types::{CHAR, NAME, TEXT, VARCHAR, type_id};

/// A column as the catalogue tells of it.
struct Told {
    name: String,
    type_id: u32,
    nullable: bool,
}

/// A table as the catalogue tells of it.
struct Relation {
    schema: String,
    name: String,
    columns: Vec<Told>,
}

fn told(schema: &SchemaRef) -> Vec<Told> {
    let fields = schema.fields().iter();
    fields
        .map(|field| Told { name: field.name().clone(), type_id: type_id(field), nullable: field.is_nullable() })
        .collect()
}

/// The session's tables, and after them those of the catalogue.
fn relations(pinned: &dyn Pinned) -> Vec<Relation> {
    let mut names = pinned.table_names();
    names.retain(|(schema, _)| SCHEMATA.contains(&schema.as_str()));
    names.sort();
    let own = names.into_iter().filter_map(|(schema, name)| {
        let columns = told(&pinned.provider(&schema, &name)?.schema());
        Some(Relation { schema, name, columns })
    });
    let system = columns::all().iter().map(|table| Relation {
        schema: table.schema.to_owned(),
        name: table.name.to_owned(),
        columns: table.columns.iter().map(|(name, kind)| system_column(name, kind)).collect(),
    });
    own.chain(system).collect()
}

fn system_column(name: &str, kind: &str) -> Told {
    let type_id = match kind {
        "sql_identifier" => NAME,
        "character_data" | "yes_or_no" => VARCHAR,
        "cardinal_number" => 23,
        "char" => CHAR,
        "time_stamp" => 1184,
        kind => types::by_name(kind).map_or(TEXT, |known| known.oid),
    };
    Told { name: name.to_owned(), type_id, nullable: true }
}

fn is_system(schema: &str) -> bool {
    matches!(schema, PG_CATALOG | INFORMATION_SCHEMA)
}

/// The rows of one of these tables.
pub fn rows(name: &str, pinned: &dyn Pinned, settings: &Settings) -> Vec<Row> {
    let relations = || relations(pinned).into_iter();
    match name {
        "pg_namespace" => SCHEMATA.iter().map(|schema| namespace(schema)).collect(),
        "schemata" => SCHEMATA
            .iter()
            .map(|schema| {
                row([
                    ("catalog_name", DATABASE.into()),
                    ("schema_name", (*schema).into()),
                    ("schema_owner", settings.user().into()),
                ])
            })
            .collect(),
        "pg_class" => relations().map(|relation| class(&relation)).collect(),
        "pg_attribute" => relations().flat_map(|relation| attributes(&relation)).collect(),
        "pg_tables" => relations()
            .map(|relation| {
                row([
                    ("schemaname", relation.schema.into()),
                    ("tablename", relation.name.into()),
                    ("tableowner", settings.user().into()),
                ])
            })
            .collect(),
        "pg_stat_user_tables" | "pg_stat_all_tables" => relations()
            .filter(|relation| !is_system(&relation.schema))
            .map(|relation| {
                row([
                    ("relid", oid::of_table(&relation.schema, &relation.name).into()),
                    ("schemaname", relation.schema.into()),
                    ("relname", relation.name.into()),
                ])
            })
            .collect(),
        "tables" => relations().map(information_table).collect(),
        "columns" => relations().flat_map(|relation| information_columns(&relation)).collect(),
        _ => Vec::new(),
    }
}

fn namespace(schema: &str) -> Row {
    row([
        ("oid", oid::of_schema(schema).unwrap_or_default().into()),
        ("nspname", schema.into()),
        ("nspowner", OWNER.into()),
    ])
}

fn class(relation: &Relation) -> Row {
    let columns = i64::try_from(relation.columns.len()).unwrap_or(0);
    row([
        ("oid", oid::of_table(&relation.schema, &relation.name).into()),
        ("relname", relation.name.as_str().into()),
        ("relnamespace", oid::of_schema(&relation.schema).unwrap_or_default().into()),
        ("relowner", OWNER.into()),
        ("relam", 2_u32.into()),
        ("relkind", "r".into()),
        ("relpersistence", "p".into()),
        ("relreplident", "n".into()),
        ("relnatts", columns.into()),
        ("relchecks", 0_i64.into()),
        ("relpages", 0_i64.into()),
        ("reltuples", (-1_i64).into()),
        ("relallvisible", 0_i64.into()),
        ("relispopulated", true.into()),
    ])
}

fn attributes(relation: &Relation) -> Vec<Row> {
    let table = oid::of_table(&relation.schema, &relation.name);
    let attribute = |(place, column): (usize, &Told)| {
        let known = types::by_number(column.type_id);
        let of_type = |index: usize| known.and_then(|known| known.rest.get(index)).copied().unwrap_or_default();
        row([
            ("attrelid", table.into()),
            ("attname", column.name.as_str().into()),
            ("atttypid", column.type_id.into()),
            ("attstattarget", (-1_i64).into()),
            ("attlen", of_type(0).parse::<i64>().unwrap_or(-1).into()),
            ("attnum", i64::try_from(place + 1).unwrap_or(0).into()),
            ("attndims", i64::from(of_type(3) == "A").into()),
            ("attcacheoff", (-1_i64).into()),
            ("atttypmod", (-1_i64).into()),
            ("attbyval", (of_type(1) == "t").into()),
            ("attalign", of_type(11).into()),
            ("attstorage", of_type(12).into()),
            ("attcompression", "".into()),
            ("attnotnull", (!column.nullable).into()),
            ("attidentity", "".into()),
            ("attgenerated", "".into()),
            ("attislocal", true.into()),
            ("attinhcount", 0_i64.into()),
            ("attcollation", of_type(13).parse::<i64>().unwrap_or(0).into()),
        ])
    };
    relation.columns.iter().enumerate().map(attribute).collect()
}

fn information_table(relation: Relation) -> Row {
    let kind = if relation.schema == INFORMATION_SCHEMA { "VIEW" } else { "BASE TABLE" };
    row([
        ("table_catalog", DATABASE.into()),
        ("table_schema", relation.schema.into()),
        ("table_name", relation.name.into()),
        ("table_type", kind.into()),
        ("is_insertable_into", "NO".into()),
        ("is_typed", "NO".into()),
    ])
}

fn information_columns(relation: &Relation) -> Vec<Row> {
    let yes = |is: bool| Cell::from(if is { "YES" } else { "NO" });
    let one = |(place, column): (usize, &Told)| {
        let known = types::by_number(column.type_id);
        let shown = types::shown(column.type_id);
        let mut cells = row([
            ("table_catalog", DATABASE.into()),
            ("table_schema", relation.schema.as_str().into()),
            ("table_name", relation.name.as_str().into()),
            ("column_name", column.name.as_str().into()),
            ("ordinal_position", i64::try_from(place + 1).unwrap_or(0).into()),
            ("is_nullable", yes(column.nullable)),
            ("data_type", if shown.ends_with("[]") { "ARRAY".into() } else { shown.into() }),
            ("udt_catalog", DATABASE.into()),
            ("udt_schema", PG_CATALOG.into()),
            ("udt_name", known.map_or("text", |known| known.name).into()),
            ("dtd_identifier", (place + 1).to_string().into()),
            ("is_self_referencing", "NO".into()),
            ("is_identity", "NO".into()),
            ("identity_cycle", "NO".into()),
            ("is_generated", "NEVER".into()),
            ("is_updatable", "NO".into()),
        ]);
        cells.extend(sizes(column.type_id));
        cells
    };
    relation.columns.iter().enumerate().map(one).collect()
}

/// Precision of numbers and times, as the standard has it.
fn sizes(type_id: u32) -> Vec<(&'static str, Cell)> {
    let number = |bits: i64, scale: Option<i64>| {
        let mut cells = vec![("numeric_precision", bits.into()), ("numeric_precision_radix", 2_i64.into())];
        cells.extend(scale.map(|scale| ("numeric_scale", scale.into())));
        cells
    };
    match type_id {
        21 => number(16, Some(0)),
        23 => number(32, Some(0)),
        20 => number(64, Some(0)),
        700 => number(24, None),
        701 => number(53, None),
        1082 => vec![("datetime_precision", 0_i64.into())],
        1083 | 1114 | 1184 | 1186 => vec![("datetime_precision", 6_i64.into())],
        25 | 1043 => vec![("character_octet_length", (1_i64 << 30).into())],
        _ => Vec::new(),
    }
}
