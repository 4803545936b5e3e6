//! A second process with the role `process` on standby: it takes over when the one that runs the models makes nothing
//! any longer.
//!
//! Nobody is elected: both read the same logs, and a commit too many loses by its transaction. Where processes share a
//! control store, one that is gone is known by the turn to send alerts, which nobody has then. Invariant: who stands by
//! writes nothing.

use std::time::Duration;

use vitalake_process::{consumed, has_rows_to_consume};
use vitalake_runtime::error::in_full;

use super::Life;
use super::alert_turn::nobody_has_it;

/// How often the logs are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Life {
    /// Waits until the process that runs the models is gone, or makes nothing of what there is for so long.
    ///
    /// # Errors
    /// When the models do not fit the tables.
    pub async fn leader_silent(&self, patience: Duration) -> anyhow::Result<()> {
        tokio::select! {
            silent = self.nothing_made(patience) => silent,
            () = nobody_has_it(self) => Ok(()),
        }
    }

    /// Waits until some input has had rows for a model that it has not consumed, and none has consumed anything, for so
    /// long. Time in which storage is away does not count: nobody can commit then, and nobody here would see it.
    ///
    /// # Errors
    /// When the models do not fit the tables.
    async fn nothing_made(&self, patience: Duration) -> anyhow::Result<()> {
        let (mut last, mut idle) = (Vec::new(), Duration::ZERO);
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = consumed(&self.lake, &self.models_setup.models, &self.models_setup.contracts)?;
            let behind = now.iter().any(|model| model.consumed.unwrap_or(0) < model.there);
            let made: Vec<_> = now.into_iter().map(|model| model.consumed).collect();
            let stands = behind && made == last && self.setup.outside.data_flows();
            idle = if stands { idle + LOOK_INTERVAL } else { Duration::ZERO };
            last = made;
            if idle >= patience {
                // A version without rows, such as a compaction's, leaves a model nothing to do.
                match has_rows_to_consume(&self.lake, &self.models_setup.models, &self.models_setup.contracts).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => idle = Duration::ZERO,
                    Err(error) => tracing::debug!(error = in_full(&error), "what there is to be made is not known"),
                }
            }
        }
    }
}
