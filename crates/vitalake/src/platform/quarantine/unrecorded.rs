//! Discards that `ops.discards` has no row of: who discarded was killed between the commit and the row.
//!
//! Looked for once a life has begun. Invariant: a discard has its row once, whatever was killed when and however many
//! processes look.

use std::sync::Arc;

use vitalake_runtime::error::in_full;

use super::since_ms;
use crate::platform::Life;

/// Makes the rows that are missing, of the tables that this process commits to.
pub(in crate::platform) async fn enter_again(life: Arc<Life>) {
    for table in life.lake.tables().filter(|table| !table.is_followed() && table.last_discard().is_some()) {
        let dataset = table.id();
        match life.setup.recorder.enter_discards(table, since_ms(&life)).await {
            Ok(0) => {}
            Ok(rejects) => {
                tracing::info!(%dataset, rejects, "discards that were cut short have their rows in ops.discards now");
            }
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(%dataset, error, "ops.discards may lack a row of a discard; the next start makes it");
            }
        }
    }
}
