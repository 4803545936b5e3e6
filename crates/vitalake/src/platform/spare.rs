//! A second process with the role `process`: it stands by while another runs the models, and takes over when nothing is
//! made any longer.
//!
//! Nobody is elected: both read the same logs, and a commit too many loses by its transaction. Invariant: who stands by
//! writes nothing.

use std::time::Duration;

use vitalake_process::consumed;

use super::Platform;

/// How often the logs are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Platform {
    /// Waits until some input has had more for a model than it has consumed, and none has consumed anything, for so long.
    ///
    /// # Errors
    /// When the models do not fit the tables.
    pub async fn left_alone(&self, patience: Duration) -> anyhow::Result<()> {
        let (mut last, mut idle) = (Vec::new(), Duration::ZERO);
        while idle < patience {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = consumed(&self.lake, &self.parts.models, &self.parts.contracts)?;
            let behind = now.iter().any(|model| model.consumed.unwrap_or(0) < model.there);
            let stands = now.iter().map(|model| model.consumed).eq(last.iter().copied());
            idle = if behind && stands { idle + LOOK_INTERVAL } else { Duration::ZERO };
            last = now.into_iter().map(|model| model.consumed).collect();
        }
        Ok(())
    }
}
