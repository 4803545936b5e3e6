//! Alerts while a process owns the models: the evaluation once a second, the queries, the senders.
//!
//! Invariant: a query that takes its time holds up neither the signals nor the senders.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use vitalake_contract::alert::AlertDataset;
use vitalake_runtime::error::in_full;
use vitalake_runtime::health::LogThrottle;

use super::ask::{AskError, Questions, ROWS_MAX, TIME_MAX, observations};
use super::desk::Desk;
use super::rates::{Brought, KEPT_MS};
use super::signal::Facts;
use super::volume::{Volume, WEEKS, count_query, last_full_hour, reach_query};

/// How often signals are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Queries at once of those that take no longer, and of the others.
const QUICK_AT_ONCE: usize = 2;
const SLOW_AT_ONCE: usize = 1;
/// The times of alerts' queries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often queries are asked.
    pub(super) ask_every: Duration,
    /// How long a query may take that does not wait its turn behind slow ones.
    pub(super) quick_max: Duration,
    /// How long any may take.
    pub(super) time_max: Duration,
    /// How long tables may be recovered before that is a reason why an alert cannot be evaluated.
    pub(super) ready_max: Duration,
}

const PACE: Pace = Pace {
    ask_every: Duration::from_secs(15),
    quick_max: Duration::from_secs(5),
    time_max: TIME_MAX,
    ready_max: Duration::from_secs(300),
};
/// How long a lake that does not give its book is left before it is asked again.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

/// What is known of the platform.
#[async_trait]
pub trait Surroundings: Send + Sync + 'static {
    /// What is known now; none while there is nothing to be known, between two lives.
    async fn facts(&self) -> Option<Facts>;

    /// What the commits of before the start brought, since a moment; nothing where nobody knows.
    async fn brought_since(&self, since_ms: i64) -> Vec<Brought>;
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
    let since_ms = desk.setup.clock.now_ms().saturating_sub(KEPT_MS);
    desk.take_up(surroundings.brought_since(since_ms).await);
    tokio::join!(
        look_forever(&desk, surroundings.as_ref()),
        ask_forever(&desk, questions.as_ref(), PACE),
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

/// Asks each alert's query at its own pace: one that takes its time holds up those alone that do so too.
pub(super) async fn ask_forever(desk: &Desk, questions: &dyn Questions, pace: Pace) {
    let lanes = Lanes { pace, quick: Semaphore::new(QUICK_AT_ONCE), slow: Semaphore::new(SLOW_AT_ONCE) };
    let asking = desk.queries().into_iter().map(|(alert, sql)| ask_one(desk, questions, (alert, sql), &lanes));
    futures::future::join_all(asking).await;
    std::future::pending::<()>().await;
}

/// Turns to ask, of those whose queries answer soon and of the others.
struct Lanes {
    pace: Pace,
    quick: Semaphore,
    slow: Semaphore,
}

async fn ask_one(desk: &Desk, questions: &dyn Questions, (alert, sql): (String, String), lanes: &Lanes) {
    let pace = lanes.pace;
    let (began, mut said) = (Instant::now(), LogThrottle::new(desk.setup.clock.clone()));
    let mut due = tokio::time::interval(pace.ask_every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_slow = false;
    loop {
        due.tick().await;
        let (lane, time_max) = if is_slow { (&lanes.slow, pace.time_max) } else { (&lanes.quick, pace.quick_max) };
        let Ok(turn) = lane.acquire().await else { return };
        let (at_ms, asked) = (desk.setup.clock.now_ms(), Instant::now());
        let answer = tokio::time::timeout(time_max, questions.ask(&sql, ROWS_MAX, pace.time_max)).await;
        drop(turn);
        let answer = match answer {
            Err(_) if !is_slow => {
                is_slow = true;
                due.reset_immediately();
                continue;
            }
            Err(_) => Err(format!("its query took more than {} s", pace.time_max.as_secs())),
            Ok(Err(AskError::NotReady(_))) if began.elapsed() < pace.ready_max => {
                due.reset_after(EVERY.min(pace.ask_every));
                continue;
            }
            Ok(Err(AskError::NotReady(reason) | AskError::Failed(reason))) => Err(reason),
            Ok(Ok(rows)) => Ok(rows),
        };
        is_slow = asked.elapsed() >= pace.quick_max;
        let failed = answer.as_ref().err().cloned();
        if said.is_news(failed.clone())
            && let Some(error) = failed
        {
            tracing::info!(alert, error, "an alert's query gives no answer");
        }
        desk.answered(&alert, at_ms, observations(answer, &desk.setup.names));
    }
}

/// Counts for signals that need it, beside the project's own queries, which may take their time.
async fn count_forever(desk: &Desk, questions: &dyn Questions) {
    let mut due = tokio::time::interval(PACE.ask_every);
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
