//! Committing now: every topic that has landed, and what the models made of it.
//!
//! Invariant: a table that cannot be committed holds up neither the others nor the answer; it is named with its reason.

use std::time::Duration;

use futures::future::join_all;
use vitalake_ops::status::Behind;
use vitalake_process::{EngineName, ModelStatus, Models};
use vitalake_runtime::error::in_full;

use super::Life;
use super::recovery::Recovery;

/// How often it is looked whether what is still not committed has stalled.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long gates are waited for: a rule over a large table takes its time.
const JUDGED_MAX: Duration = Duration::from_secs(5);
/// How long a flush waits for models on Spark and those behind them: a statement may run for hours.
const SPARK_MAX: Duration = Duration::from_secs(20);
/// How long a model may be stalled before a flush no longer waits for it: most come back within this.
const STALLED_MAX: Duration = Duration::from_secs(2);

impl Life {
    /// Commits what has landed, and waits until the models have committed what they made of it. Gives the tables that are
    /// behind, each with its reason.
    ///
    /// # Errors
    /// When no table could be committed although some had to be.
    pub async fn commit_everything(&self) -> anyhow::Result<Vec<Behind>> {
        let landings = &self.intake.landings;
        let outcomes = join_all(landings.iter().map(|landing| landing.flush())).await;
        let mut failures = Vec::new();
        for (landing, outcome) in landings.iter().zip(outcomes) {
            if let Err(error) = outcome {
                failures.push((landing.table().contract().dataset.to_string(), error));
            }
        }
        if !failures.is_empty() && failures.len() == landings.len() {
            return Err(failures.swap_remove(0).1.into());
        }
        let mut behind: Vec<Behind> =
            failures.into_iter().map(|(dataset, error)| Behind { dataset, reason: in_full(&error) }).collect();
        let models = self.models.lock().clone();
        if let Some(models) = models {
            behind.extend(settle(&models, &self.recovery).await);
        }
        // What is staged now is published with this, or held.
        let _ = tokio::time::timeout(JUDGED_MAX, self.gates.settled()).await;
        Ok(behind)
    }
}

/// Waits for every model that is well; gives those that are not and have something to commit.
async fn settle(models: &Models, recovery: &Recovery) -> Vec<Behind> {
    let settling = models.statuses().into_iter().map(|model| async move {
        let now = || models.statuses().into_iter().find(|now| now.dataset == model.dataset);
        let held_up = tokio::select! {
            biased;
            () = models.settled_of(&model.dataset) => now().filter(|now| now.state.needs_a_person()),
            () = held_up(model.dataset.as_str(), models, recovery) => now(),
            () = too_long(model.dataset.as_str(), models, recovery) => now(),
        };
        held_up.map(|status| Behind { dataset: status.dataset.to_string(), reason: reason(&status) })
    });
    join_all(settling).await.into_iter().flatten().collect()
}

/// Waits until a model, or one that it derives from, has been stalled for some time.
async fn held_up(dataset: &str, models: &Models, recovery: &Recovery) {
    let mut stood = Duration::ZERO;
    while stood < STALLED_MAX {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let is_stalled = recovery.held_up(&models.statuses()).contains(dataset);
        stood = if is_stalled { stood + LOOK_INTERVAL } else { Duration::ZERO };
    }
}

/// Waits as long as it is waited for a model that runs on Spark or is made of one that does; for ever for others.
async fn too_long(dataset: &str, models: &Models, recovery: &Recovery) {
    let on_spark = |model: &ModelStatus| model.engine == EngineName::Spark;
    if recovery.made_of(&models.statuses(), on_spark).contains(dataset) {
        tokio::time::sleep(SPARK_MAX).await;
    } else {
        std::future::pending().await
    }
}

fn reason(status: &ModelStatus) -> String {
    let state = status.state.as_str();
    match (&status.error, status.running) {
        (Some(error), _) => format!("{state}: {error}"),
        (None, Some(statement)) => {
            format!("{state}: its statement has run on Spark for {} s", statement.took.as_secs())
        }
        (None, None) if status.engine == EngineName::Spark => {
            format!("{state}: what it has to run on Spark is not done yet")
        }
        (None, None) => format!("{state}: it waits for a model that is stalled or runs on Spark"),
    }
}
