//! The ledger as it is shown: what was decided, and what waits for somebody to decide.
//!
//! Invariant: what is held now is read where it is held, so that a ledger that lost it hides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use vitalake_ingest::delivery::Held;
use vitalake_lake::Table;
use vitalake_ops::deliveries::{LedgerEntry, LedgerQuery};
use vitalake_runtime::error::in_full;
use vitalake_serve::platform::ApiError;

use super::Life;
use crate::platform::outside::instant;

/// Entries that are shown where nobody says how many.
const ENTRIES_SHOWN: usize = 50;
/// Entries that are shown at most.
const ENTRIES_MAX: usize = 10_000;

/// What is asked for, newest first.
pub(super) async fn of(life: &Arc<Life>, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, ApiError> {
    let limit = query.limit.unwrap_or(ENTRIES_SHOWN);
    if limit > ENTRIES_MAX {
        let message =
            format!("at most {ENTRIES_MAX} entries are shown at once; ask for fewer, or in SQL of ops.deliveries");
        return Err(ApiError::Invalid(message));
    }
    let mut held = held(life).await?;
    if query.state.as_deref() == Some("held") {
        held.retain(|held| query.of.as_deref().is_none_or(|of| is_of(held, of)));
        return Ok(held.iter().rev().take(limit).map(entry).collect());
    }
    let unread = |error| ApiError::Unavailable(in_full(&error));
    let mut entries = life.setup.recorder.ledger(query, limit).await.map_err(unread)?;
    for entry in entries.iter_mut().filter(|entry| entry.state == "held") {
        entry.open = held.iter().any(|held| Some(held.id.to_string()) == entry.id);
    }
    let made = |table: &Arc<Table>| Some((table.id().to_string(), table.head().metadata().created_time?));
    let made_ms: BTreeMap<String, i64> = life.lake.tables().filter_map(made).collect();
    for entry in entries.iter_mut().filter(|entry| entry.delivery.is_some()) {
        entry.gone = made_ms.get(&entry.dataset).is_some_and(|made_ms| is_before(*made_ms, entry));
    }
    Ok(entries)
}

/// Whether an entry is of a table that was made again since.
fn is_before(made_ms: i64, entry: &LedgerEntry) -> bool {
    DateTime::parse_from_rfc3339(&entry.at).is_ok_and(|at| at.timestamp_millis() < made_ms)
}

fn is_of(held: &Held, of: &str) -> bool {
    of.strip_prefix("raw.").unwrap_or(of) == held.dataset || held.feed.as_deref() == Some(of)
}

/// Everything that is held, oldest first.
async fn held(life: &Life) -> Result<Vec<Held>, ApiError> {
    let mut all = Vec::new();
    for dataset in life.held.datasets() {
        all.extend(life.held.list(dataset).await.map_err(|error| ApiError::Unavailable(in_full(&error)))?);
    }
    all.sort_by_key(|held| (held.since_ms, held.id));
    Ok(all)
}

fn entry(held: &Held) -> LedgerEntry {
    let since = instant(held.since_ms);
    LedgerEntry {
        at: since.clone().unwrap_or_default(),
        dataset: format!("raw.{}", held.dataset),
        state: "held".to_owned(),
        id: Some(held.id.to_string()),
        feed: held.feed.clone(),
        business_date: held.business_date.map(|date| date.to_string()),
        sha256: Some(held.sha256.clone()),
        offered: Some(held.records),
        accepted: held.rows,
        quarantined: held.rejects,
        since,
        reason: Some(held.reason()),
        open: true,
        ..LedgerEntry::default()
    }
}
