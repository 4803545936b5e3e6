//! What every table must hold when everything that was sent has landed.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray as _};
use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use vitalake_serve::session::Session;

use super::looks::{numbers, rows};
use crate::rehearsal::truth::Truth;

/// Whatever was killed when: everything that was offered has a place.
pub async fn balanced(lake: &vitalake_lake::Lake) -> Result<(), String> {
    for table in lake.tables() {
        match table.books().await {
            Some(books) if books.missing() != Some(0) => return Err(format!("books of {}: {books:?}", table.id())),
            _ => {}
        }
    }
    Ok(())
}

pub async fn compare(session: &Session, truth: &Truth) -> Result<(), String> {
    let mut raw: Vec<i64> = Vec::new();
    for batch in rows(session, "SELECT n FROM raw.ticks").await? {
        raw.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    raw.sort_unstable();
    same("raw", &raw, &truth.raw.iter().copied().collect())?;

    let mut rejected: Vec<Vec<u8>> = Vec::new();
    for batch in rows(session, "SELECT _raw FROM quarantine.ticks").await? {
        rejected.extend(bytes_of(batch.column(0).as_ref()));
    }
    rejected.sort();
    same("quarantine", &rejected, &truth.rejected)?;

    let mut curated = BTreeMap::new();
    for batch in rows(session, "SELECT tick_id, steps FROM curated.ticks_once").await? {
        let (ids, steps) = (texts(batch.column(0).as_ref()), batch.column(1).as_primitive::<Int64Type>());
        for (id, steps) in ids.into_iter().zip(steps.values()) {
            if curated.insert(id.clone(), *steps).is_some() {
                return Err(format!("curated holds {id} twice"));
            }
        }
    }
    same("curated", &curated, &truth.curated.iter().map(|(id, tick)| (id.clone(), tick.steps)).collect())?;
    let conflicts = numbers(session, "SELECT COUNT(*) FROM quarantine.ticks_once").await?;
    same("conflicts", &conflicts, &vec![truth.conflicts as i64])?;

    for table in ["serving.ticks_hourly", "serving.ticks_hourly_live"] {
        let mut hourly = BTreeMap::new();
        for batch in rows(session, &format!("SELECT device, hour, ticks, steps, most FROM {table}")).await? {
            let hours = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>();
            for (row, device) in texts(batch.column(0).as_ref()).into_iter().enumerate() {
                let hour = (hours.value(row) - 1_767_225_600_000_000) / 3_600_000_000;
                let group = (column(2).value(row), column(3).value(row), column(4).value(row));
                if hourly.insert((device, hour), group).is_some() {
                    return Err(format!("{table} holds a group twice"));
                }
            }
        }
        same(table, &hourly, &truth.hourly)?;
    }
    Ok(())
}

fn same<T: PartialEq + Countable>(table: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{table} holds {} of {} and they are not the same", found.count(), wanted.count()))
}

trait Countable {
    fn count(&self) -> usize;
}

impl<T> Countable for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
}

impl<K, V> Countable for BTreeMap<K, V> {
    fn count(&self) -> usize {
        self.len()
    }
}

fn texts(column: &dyn Array) -> Vec<String> {
    let column = datafusion::arrow::compute::cast(column, &datafusion::arrow::datatypes::DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().flatten().map(ToOwned::to_owned).collect()
}

fn bytes_of(column: &dyn Array) -> Vec<Vec<u8>> {
    let column = datafusion::arrow::compute::cast(column, &datafusion::arrow::datatypes::DataType::Binary).unwrap();
    column.as_binary::<i32>().iter().flatten().map(<[u8]>::to_vec).collect()
}
