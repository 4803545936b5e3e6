//! Alerts while a process owns the models: the evaluation once a second, the queries, the senders.
//!
//! Invariant: a query that takes its time holds up neither the signals nor the senders.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use object_store::ObjectStore;
use tokio::time::MissedTickBehavior;
use vitalake_contract::alert::AlertDataset;
use vitalake_runtime::error::in_full;

use super::ask::{Questions, ROWS_MAX, TIME_MAX, observations};
use super::desk::Desk;
use super::signal::Facts;
use super::volume::{Volume, WEEKS, count_query, last_full_hour, reach_query};

/// How often signals are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often queries are asked.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Queries at once.
const ASKED_AT_ONCE: usize = 2;
/// How long a lake that does not give its book is left before it is asked again.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

/// What is known of the platform.
#[async_trait]
pub trait Surroundings: Send + Sync + 'static {
    /// What is known now; none while there is nothing to be known, between two lives.
    async fn facts(&self) -> Option<Facts>;
}

/// Evaluates and sends until dropped.
pub async fn run(
    desk: Arc<Desk>,
    store: Arc<dyn ObjectStore>,
    surroundings: Arc<dyn Surroundings>,
    questions: Arc<dyn Questions>,
) {
    while let Err(error) = desk.open(Arc::clone(&store)).await {
        tracing::warn!(error = in_full(&error), "alerts are not evaluated yet");
        tokio::time::sleep(OPEN_AGAIN).await;
    }
    tokio::join!(
        look_forever(&desk, surroundings.as_ref()),
        ask_forever(&desk, questions.as_ref()),
        count_forever(&desk, questions.as_ref()),
        Arc::clone(&desk).deliver_forever(),
    );
}

async fn look_forever(desk: &Desk, surroundings: &dyn Surroundings) {
    let mut due = tokio::time::interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Some(facts) = surroundings.facts().await {
            desk.tick(&facts).await;
        }
    }
}

async fn ask_forever(desk: &Desk, questions: &dyn Questions) {
    let mut due = tokio::time::interval(ASK_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let asking = desk.queries().into_iter().map(|(alert, sql)| async move {
            let answer = tokio::time::timeout(TIME_MAX, questions.ask(&sql, ROWS_MAX, TIME_MAX)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("its query took more than {} s", TIME_MAX.as_secs())));
            desk.answered(&alert, observations(answer, &desk.setup.names));
        });
        futures::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect::<Vec<()>>().await;
    }
}

/// Counts for signals that need it, beside the project's own queries, which may take their time.
async fn count_forever(desk: &Desk, questions: &dyn Questions) {
    let mut due = tokio::time::interval(ASK_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let hour = last_full_hour(desk.setup.clock.now_ms());
        for (dataset, column) in desk.to_count(hour) {
            match count(questions, &dataset, &column, hour).await {
                Ok(volume) => desk.counted(dataset, hour, volume),
                Err(error) => tracing::debug!(%dataset, error, "its rows by the hour are not counted yet"),
            }
        }
        for drift in desk.drifts_to_count() {
            match questions.count(&drift.query(desk.setup.clock.now_ms())).await {
                Ok(rows) => desk.drifted(drift, rows),
                Err(error) => tracing::debug!(dataset = %drift.dataset, error, "its drift is not counted yet"),
            }
        }
    }
}

/// Counts the rows of an hour and of the same hour of earlier weeks, as far as the dataset reaches back.
async fn count(questions: &dyn Questions, dataset: &AlertDataset, column: &str, hour: i64) -> Result<Volume, String> {
    let table = dataset.to_string();
    let mut volume = Volume { last: questions.count(&count_query(&table, column, hour, 0)).await?, before: Vec::new() };
    for weeks in 1..=WEEKS {
        if questions.count(&reach_query(&table, column, hour, weeks)).await? == 0 {
            break;
        }
        volume.before.push(questions.count(&count_query(&table, column, hour, weeks)).await?);
    }
    Ok(volume)
}
