//! What a killed process left of deliveries: decisions that the ledger has no row of, and held files that came in already.
//!
//! Done when a life begins, beside everything else. Invariant: an entry is made of a commit or of what is held, never of a
//! guess, and nothing is forgotten that is not in a table.

use std::sync::Arc;

use vitalake_ingest::delivery::{Span, committed_in};
use vitalake_lake::{Table, TxnId};
use vitalake_ops::record::Entered;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::{DeliveryTold, Event};

use super::decide::told_of;
use crate::platform::Life;

/// How long a row of another process may wait for its commit.
const OTHERS_ROWS_WAIT_MS: i64 = 5 * 60_000;

/// Enters what is missing, and forgets held files that were released.
pub(in crate::platform) async fn keep_again(life: Arc<Life>, opened_ms: i64) {
    if life.deliveries.is_empty() {
        return;
    }
    let known = match life.setup.recorder.entered().await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(error = in_full(&error), "nobody knows whether ops.deliveries has a row of every delivery");
            return;
        }
    };
    for dataset in life.deliveries.keys() {
        let Ok(table) = life.lake.table(dataset) else { continue };
        let entered = known.get(&table.id().to_string()).cloned().unwrap_or_default();
        let before_ms = if life.is_alone() { opened_ms } else { opened_ms - OTHERS_ROWS_WAIT_MS };
        let missing = missing(&life, table, &entered, before_ms).await;
        let missing = missing.unwrap_or_else(|error| {
            tracing::warn!(%dataset, error, "nobody knows whether ops.deliveries has a row of every delivery");
            Vec::new()
        });
        for told in missing {
            if let Err(error) = life.setup.recorder.record_durably(&Event::Delivery(Arc::new(told))).await {
                tracing::warn!(%dataset, error = in_full(&error), "a delivery has no row in ops.deliveries; the next start makes it");
            }
        }
    }
}

async fn missing(life: &Life, table: &Table, entered: &Entered, before_ms: i64) -> Result<Vec<DeliveryTold>, String> {
    let now_ms = life.setup.clock.now_ms();
    let retention_ms = i64::try_from(life.setup.config.ops.retention_ms).unwrap_or(i64::MAX);
    let (dataset, span) =
        (&table.contract().dataset, Span { since_ms: now_ms.saturating_sub(retention_ms), before_ms });
    let made_ms = table.head().metadata().created_time.unwrap_or(i64::MIN);
    let is_known = |number| entered.numbers.get(&number).is_some_and(|at_ms| *at_ms >= made_ms);
    let mut told = committed_in(table, span, &is_known).await.map_err(|error| in_full(&error))?;
    for held in life.held.list(dataset).await.map_err(|error| in_full(&error))? {
        if table.committed_txn(&TxnId::released(dataset, held.id)).is_some() {
            life.held.forget(&held).await.map_err(|error| in_full(&error))?;
        } else if held.since_ms < before_ms && !entered.held.contains(&held.id.to_string()) {
            let (accepted, quarantined) = (held.rows, held.rejects);
            let reason = Some(held.reason().into());
            told.push(DeliveryTold { state: "held", accepted, quarantined, reason, ..told_of(&held) });
        }
    }
    life.held.clean(dataset, now_ms).await.map_err(|error| in_full(&error))?;
    Ok(told)
}
