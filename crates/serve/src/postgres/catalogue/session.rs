//! Tables of the catalogue that say what the session is, not which tables it sees.

use super::rows::{Cell, Row};
use super::types;
use crate::postgres::settings::{DATABASE, Settings};

/// The number of whoever asks, and of whom all belongs to.
pub const OWNER: u32 = 10;

/// A row of those columns.
pub fn row<const N: usize>(cells: [(&'static str, Cell); N]) -> Row {
    cells.into_iter().collect()
}

/// The rows of one of these tables.
pub fn rows(name: &str, settings: &Settings) -> Vec<Row> {
    let user = || Cell::from(settings.user());
    match name {
        "pg_am" => vec![row([("oid", 2_u32.into()), ("amname", "heap".into()), ("amtype", "t".into())])],
        "pg_language" => {
            vec![row([("oid", 12_u32.into()), ("lanname", "internal".into()), ("lanowner", OWNER.into())])]
        }
        "pg_tablespace" => {
            vec![row([("oid", 1663_u32.into()), ("spcname", "pg_default".into()), ("spcowner", OWNER.into())])]
        }
        "pg_database" => vec![row([
            ("oid", 16_383_u32.into()),
            ("datname", DATABASE.into()),
            ("datdba", OWNER.into()),
            ("encoding", 6_i64.into()),
            ("datlocprovider", "c".into()),
            ("datallowconn", true.into()),
            ("datconnlimit", (-1_i64).into()),
            ("dattablespace", 1663_u32.into()),
            ("datcollate", "C".into()),
            ("datctype", "C".into()),
        ])],
        "pg_roles" => vec![row([
            ("rolname", user()),
            ("rolinherit", true.into()),
            ("rolcanlogin", true.into()),
            ("rolconnlimit", (-1_i64).into()),
            ("rolpassword", "********".into()),
            ("oid", OWNER.into()),
        ])],
        "pg_user" => vec![row([("usename", user()), ("usesysid", OWNER.into()), ("passwd", "********".into())])],
        "pg_settings" => settings
            .all()
            .into_iter()
            .map(|(name, value)| {
                row([
                    ("name", name.into()),
                    ("setting", value.into()),
                    ("category", "vitalake".into()),
                    ("context", "user".into()),
                    ("vartype", "string".into()),
                    ("source", "session".into()),
                ])
            })
            .collect(),
        "pg_cursors" => {
            let cursors = settings.cursors().into_iter();
            cursors.map(|name| row([("name", name.into()), ("is_holdable", true.into())])).collect()
        }
        "pg_type" => types::all().iter().map(type_row).collect(),
        "pg_proc" => types::procedures()
            .iter()
            .map(|(number, name, gives)| {
                row([
                    ("oid", (*number).into()),
                    ("proname", (*name).into()),
                    ("pronamespace", 11_u32.into()),
                    ("proowner", OWNER.into()),
                    ("prolang", 12_u32.into()),
                    ("prorettype", (*gives).into()),
                    ("prokind", "f".into()),
                    ("provolatile", "i".into()),
                    ("proargtypes", "".into()),
                ])
            })
            .collect(),
        "information_schema_catalog_name" => vec![row([("catalog_name", DATABASE.into())])],
        _ => Vec::new(),
    }
}

fn type_row(known: &types::Type) -> Row {
    let at = |index: usize| known.rest.get(index).copied().unwrap_or_default();
    let number = |index: usize| Cell::from(at(index).parse::<i64>().unwrap_or(0));
    row([
        ("oid", known.oid.into()),
        ("typname", known.name.into()),
        ("typnamespace", 11_u32.into()),
        ("typowner", OWNER.into()),
        ("typlen", number(0)),
        ("typbyval", (at(1) == "t").into()),
        ("typtype", at(2).into()),
        ("typcategory", at(3).into()),
        ("typispreferred", (at(4) == "t").into()),
        ("typisdefined", true.into()),
        ("typdelim", ",".into()),
        ("typelem", number(5)),
        ("typarray", number(6)),
        ("typinput", number(7)),
        ("typoutput", number(8)),
        ("typreceive", number(9)),
        ("typsend", number(10)),
        ("typalign", at(11).into()),
        ("typstorage", at(12).into()),
        ("typtypmod", (-1_i64).into()),
        ("typndims", 0_i64.into()),
        ("typcollation", number(13)),
    ])
}
