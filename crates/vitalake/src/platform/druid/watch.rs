//! A publication at Druid: its task is sent and watched to its end, its report judged, its segments awaited, and its
//! answers held against our own counts.
//!
//! Invariant: a task is sent once, whatever happens in between; it is known by its id.

use std::time::{Duration, Instant};

use vitalake_runtime::events::{Event, Outcome};
use vitalake_serve::druid_engine::{Difference, DruidError, SubmitOutcome, TaskState, compare, ingested, question};

use super::Dataset;
use super::failure::PublishError;
use super::known::Sent;
use super::prepare::Prepared;
use super::publish::Desk;

/// How often Druid is asked where a task stands.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The same while it does not answer.
const ASK_AWAY: Duration = Duration::from_secs(5);
/// How long a task may be unknown that was sent.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// How long the report of a task that has ended may be missing.
const REPORT_MAX: Duration = Duration::from_secs(20);
/// How long Druid may take to load what it has.
pub(super) const LOADING_MAX: Duration = Duration::from_secs(600);
/// How long its answers may differ once it is loaded: its broker looks for new segments now and then.
const ANSWER_MAX: Duration = Duration::from_secs(90);

impl Desk<'_> {
    pub(super) async fn send_and_watch(
        &self,
        dataset: &Dataset,
        sent: &Sent,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        // Where a publication takes places for tasks of its own, several that begin and wait for these would wait for ever.
        let turn = match self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        if matches!(self.cluster.task(&sent.id).await?, TaskState::Unknown) {
            let task = self.publication(dataset, sent, prepared, |publication| publication.task());
            let outcome = self.cluster.submit(task).await?;
            if outcome == SubmitOutcome::Taken {
                tracing::info!(dataset = %dataset.table.id(), version = sent.version, task = sent.id, rows = prepared.expected.rows, "published to Druid: sent");
            }
        }
        self.watch(dataset, sent).await?;
        drop(turn);
        self.judge(sent, prepared).await?;
        self.loaded(dataset, sent).await?;
        self.answers_as_we_do(dataset, sent, prepared).await
    }

    async fn watch(&self, dataset: &Dataset, sent: &Sent) -> Result<(), PublishError> {
        let failed = |reason| PublishError::Task { task: sent.id.clone(), reason };
        let mut unknown_since: Option<Instant> = None;
        loop {
            match self.cluster.task(&sent.id).await {
                Ok(TaskState::Succeeded) => return Ok(()),
                Ok(TaskState::Failed(reason)) => return Err(failed(reason)),
                Ok(TaskState::Unknown) => {
                    if unknown_since.get_or_insert_with(Instant::now).elapsed() > UNKNOWN_MAX {
                        return Err(failed("Druid does not know its task any longer"));
                    }
                }
                Ok(TaskState::Waiting) => {
                    unknown_since = None;
                    dataset.note_waiting(
                        "Druid has no free place for its task, or another task has its interval",
                        self.clock.now_ms(),
                    );
                }
                Ok(TaskState::Running) => {
                    unknown_since = None;
                    dataset.note_waiting("", self.clock.now_ms());
                }
                Err(error @ DruidError::Away { .. }) => {
                    dataset.note_waiting(&error.to_string(), self.clock.now_ms());
                    dataset.health.failed(error.to_string());
                    tokio::time::sleep(ASK_AWAY).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            dataset.health.answered();
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// A success may have read nothing: its report says how many rows it took.
    async fn judge(&self, sent: &Sent, prepared: &Prepared) -> Result<(), PublishError> {
        let began = Instant::now();
        let found = loop {
            match ingested(&self.cluster.report(&sent.id).await?) {
                Some(found) => break found,
                // Its answers are held against ours all the same.
                None if began.elapsed() > REPORT_MAX => return Ok(()),
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        };
        match found.differs(prepared.expected) {
            None => Ok(()),
            Some(words) => Err(PublishError::Differs { task: sent.id.clone(), words }),
        }
    }

    async fn loaded(&self, dataset: &Dataset, sent: &Sent) -> Result<(), PublishError> {
        let began = Instant::now();
        dataset.note_waiting("its segments are being loaded", self.clock.now_ms());
        for interval in &sent.intervals {
            while !self.cluster.is_loaded(&dataset.datasource, *interval).await? {
                if began.elapsed() > LOADING_MAX {
                    return Err(PublishError::NotLoaded { version: sent.version });
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Ok(())
    }

    async fn answers_as_we_do(&self, dataset: &Dataset, sent: &Sent, prepared: &Prepared) -> Result<(), PublishError> {
        let asked = question(&dataset.datasource, &dataset.columns, sent.granularity, &sent.intervals);
        let began = Instant::now();
        loop {
            let theirs = self.cluster.query(&asked).await?;
            let found = compare(&dataset.columns, &sent.intervals, &prepared.segments, &theirs);
            let is_over = began.elapsed() > ANSWER_MAX;
            if found.is_none() || is_over {
                self.tell_compared(dataset, sent, &found);
            }
            match found {
                found if found.is_none() => return Ok(()),
                found if is_over => {
                    return Err(PublishError::Differs { task: sent.id.clone(), words: found.words() });
                }
                _ => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    fn tell_compared(&self, dataset: &Dataset, sent: &Sent, found: &Difference) {
        let check = |rule: &str, got: f64, want: String, passed: bool| Event::Measured {
            dataset: dataset.name().into(),
            rule: rule.into(),
            severity: "error",
            scope: format!("version {} in Druid", sent.version).into(),
            got: Some(got),
            want: want.into(),
            passed: Some(passed),
        };
        let rows = (found.rows_there as f64, format!("{} rows, by segment", found.rows_here), found.counts_off == 0);
        self.events.send(check("druid_rows", rows.0, rows.1, rows.2));
        let off = found.sums_off.len() as f64;
        self.events.send(check("druid_sums", off, "0 columns whose sum differs".to_owned(), found.sums_off.is_empty()));
    }

    pub(super) fn tell(&self, dataset: &Dataset, sent: &Sent, prepared: &Prepared, (done, took): (bool, Duration)) {
        if done {
            tracing::info!(dataset = %dataset.table.id(), version = sent.version, rows = prepared.expected.rows, seconds = took.as_secs_f64(), "published to Druid: it answers as we do");
        }
        self.events.send(Event::Run {
            dataset: format!("druid.{}", dataset.datasource).into(),
            outcome: if done { Outcome::Done } else { Outcome::Retried },
            rows_in: prepared.expected.rows + prepared.expected.outside,
            rows_out: if done { prepared.expected.rows } else { 0 },
            error: (!done).then_some("external"),
            took,
        });
    }
}
