//! Numbers of schemas and tables: made of their names, so that they are the same in every session and process.

use sha2::{Digest as _, Sha256};

use super::{INFORMATION_SCHEMA, PG_CATALOG, columns};
use crate::postgres::dialect::SCHEMATA;

/// Where numbers of a database's own things begin.
const FIRST: u32 = 16_384;

/// The number of a schema.
pub fn of_schema(schema: &str) -> Option<u32> {
    match schema {
        PG_CATALOG => Some(11),
        INFORMATION_SCHEMA => Some(13_000),
        _ => {
            let place = SCHEMATA.iter().position(|known| *known == schema)?;
            Some(FIRST + u32::try_from(place).ok()?)
        }
    }
}

/// The name of a schema by its number.
pub fn schema(number: u32) -> Option<&'static str> {
    SCHEMATA.into_iter().find(|schema| of_schema(schema) == Some(number))
}

/// The number of a table.
pub fn of_table(schema: &str, table: &str) -> u32 {
    if let Some(system) = columns::find(schema, table) {
        return system.oid;
    }
    let hash = Sha256::digest(format!("{schema}.{table}"));
    let number = hash.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    // Clients keep numbers in signed integers, too.
    (number & 0x7FFF_FFFF).max(FIRST + 1000)
}
