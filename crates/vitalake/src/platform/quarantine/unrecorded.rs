//! Discards that `ops.discards` has no row of: who discarded was killed between the commit and the row.
//!
//! Looked for when a life opens, before anybody can discard; their rows are made once it has begun. Invariant: a discard
//! has its row once, whatever was killed when.

use std::sync::Arc;

use vitalake_lake::{Lake, LakeError};
use vitalake_ops::record::Recorder;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::Event;

/// Discards whose rows are to be made.
#[derive(Debug, Default)]
pub struct Unrecorded(Vec<Event>);

impl Unrecorded {
    /// Looks through the tables that this process commits to; discards of before a moment had their rows once.
    pub(crate) async fn find(lake: &Lake, recorder: &Recorder, since_ms: i64) -> Self {
        let mut found = Vec::new();
        if !lake.tables().any(|table| table.last_discard().is_some()) {
            return Self(found);
        }
        let known = match recorder.last_discards().await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(error = in_full(&error), "nobody knows whether ops.discards has a row of every discard");
                return Self(found);
            }
        };
        for table in lake.tables().filter(|table| !table.is_followed()) {
            let dataset = table.id().to_string();
            let number = known.get(&dataset).copied().unwrap_or(i64::MIN);
            match table.discarded_since(number, since_ms).await {
                Ok(discards) => found.extend(discards.into_iter().map(|discarded| Event::Discard {
                    dataset: dataset.as_str().into(),
                    number: discarded.number,
                    rows: discarded.rows,
                    reason: discarded.reason.into(),
                    actor: discarded.actor.into(),
                })),
                Err(error) => unread(&dataset, &error),
            }
        }
        Self(found)
    }

    /// Makes the rows that are missing.
    pub(crate) async fn record(self: Arc<Self>, recorder: Recorder) {
        for event in &self.0 {
            match recorder.record_durably(event).await {
                Ok(()) => tracing::info!("a discard that was cut short has its row in ops.discards now"),
                Err(error) => {
                    tracing::warn!(
                        error = in_full(&error),
                        "a discard has no row in ops.discards; the next start makes it"
                    );
                }
            }
        }
    }
}

fn unread(dataset: &str, error: &LakeError) {
    tracing::warn!(dataset, error = in_full(error), "nobody knows whether ops.discards has a row of every discard");
}
