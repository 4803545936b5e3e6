//! The ledger of a table's deliveries, made again of its commits.
//!
//! A commit says of itself what its delivery was; who was killed between the commit and the ledger finds it here.
//! Invariant: an entry says what its commit says, and nothing is guessed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use vitalake_lake::delta::TableVersion;
use vitalake_lake::{LakeError, Table};
use vitalake_runtime::events::DeliveryTold;

use super::place;

/// So many deliveries in a row that are known already end the look back.
const KNOWN_IN_A_ROW: u32 = 20;

/// Which commits are meant, by their times in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From this one on.
    pub since_ms: i64,
    /// Before this one.
    pub before_ms: i64,
}

/// Deliveries that were committed within a span and are not known, oldest first, as far back as the log goes.
///
/// # Errors
/// When the log cannot be read.
pub async fn committed_in(
    table: &Table,
    span: Span,
    is_known: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<DeliveryTold>, LakeError> {
    let (mut found, mut known) = (Vec::new(), 0);
    let dataset = table.contract().dataset.as_str();
    for version in (1..=table.head().version().0).rev().map(TableVersion) {
        let Some(commit) = table.version_changes(version).await? else { break };
        let at_ms = commit.timestamp_ms.unwrap_or(span.since_ms);
        if at_ms < span.since_ms || known >= KNOWN_IN_A_ROW {
            break;
        }
        let Some(told) = told(dataset, &commit.info).filter(|_| at_ms < span.before_ms) else { continue };
        match told.delivery.is_some_and(is_known) {
            true => known += 1,
            false => {
                known = 0;
                found.push(told);
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// What a commit says of its delivery; none where it is of none.
fn told(dataset: &str, info: &Map<String, Value>) -> Option<DeliveryTold> {
    let text = |field: &str| info.get(field).and_then(Value::as_str);
    let shared = |field: &str| text(field).map(Arc::<str>::from);
    let count = |field: &str| text(field).and_then(|count| count.parse::<u64>().ok());
    let number = count(place::NUMBER)?;
    let held = shared(place::RELEASED);
    Some(DeliveryTold {
        dataset: dataset.into(),
        state: if held.is_some() { "released" } else { "loaded" },
        held,
        feed: shared(place::FEED),
        business_date: shared(place::BUSINESS_DATE),
        delivery: Some(number),
        corrects: count(place::CORRECTS),
        sha256: shared(place::SHA256),
        offered: count(place::RECORDS),
        accepted: count(place::ROWS).unwrap_or_default(),
        quarantined: count(place::REJECTS).unwrap_or_default(),
        duplicate: 0,
        since_ms: text(place::SINCE).and_then(|ms| ms.parse().ok()),
        reason: shared(place::REASON),
        actor: shared(place::ACTOR),
        took: Duration::ZERO,
        kept: false,
    })
}
