//! One publication: sent, watched to its end, judged, awaited, and held against our own counts.
//!
//! Whatever comes in between (this process, Druid, the network) is gone on from by the task's id. Invariant: a version
//! counts as published when Druid's answers equal ours, and not before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use vitalake_lake::{LakeError, PinnedVersion};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::{Event, Events, Outcome};
use vitalake_serve::druid_engine::{
    Cluster, Difference, DruidError, Publication, SubmitOutcome, TaskState, compare, ingested, question,
};

use super::Dataset;
use super::known::{Known, Sent};
use super::prepare::Prepared;

/// How often Druid is asked where a task stands.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The same while it does not answer.
const ASK_AWAY: Duration = Duration::from_secs(5);
/// How long a task may be unknown that was sent.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// How long the report of a task that has ended may be missing.
const REPORT_MAX: Duration = Duration::from_secs(20);
/// How long Druid may take to load what it has.
const LOADING_MAX: Duration = Duration::from_secs(600);
/// How long its answers may differ once it is loaded: its broker looks for new segments now and then.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// How long an address of a file holds.
pub(super) const ADDRESS_HOLDS_S: i64 = 6 * 3_600;

/// Why a version is not published.
#[derive(Debug, Error)]
pub(super) enum PublishError {
    /// Druid cannot be asked.
    #[error(transparent)]
    Druid(#[from] DruidError),
    /// The table cannot be read.
    #[error("the table cannot be read: {}", in_full(.0))]
    Lake(#[from] LakeError),
    /// The task failed.
    #[error("{reason}; Druid's log has more under task {task}; it is tried again")]
    Task {
        /// The task.
        task: String,
        /// Why, in our words.
        reason: &'static str,
    },
    /// Druid took other rows, or answers otherwise.
    #[error("{words} (task {task}): all of it is published again")]
    Differs {
        /// The task.
        task: String,
        /// What.
        words: String,
    },
    /// It is not loaded.
    #[error("version {version} is in Druid's deep storage and not loaded after {} s: see to its historicals, which may have no room", LOADING_MAX.as_secs())]
    NotLoaded {
        /// The version.
        version: u64,
    },
    /// Somebody else's.
    #[error("{0}")]
    Foreign(String),
    /// Rows that have no place in Druid.
    #[error(
        "{0} rows have no {1}, which Druid wants of every row: make the column required in the contract, or take another by `timeColumn`"
    )]
    Timeless(u64, String),
    /// Another process publishes, or the control store is away.
    #[error("another process publishes to Druid, or the control store does not answer: nothing is sent")]
    NotOurs,
}

impl PublishError {
    /// Whether a person has to decide.
    pub(super) fn needs_a_person(&self) -> bool {
        matches!(self, Self::Foreign(_) | Self::Timeless(..))
    }
}

/// What a publication is made with.
pub(super) struct Desk<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) keeper: &'a super::known::Keeper,
    pub(super) clock: &'a Clock,
    pub(super) events: &'a Events,
    pub(super) subtasks: u64,
    /// Makes the address of a file.
    pub(super) address: &'a (dyn Fn(u64, &str) -> String + Sync),
}

impl Desk<'_> {
    /// Publishes the newest version of a dataset where Druid does not have it. `false` where it does.
    pub(super) async fn publish(&self, dataset: &Dataset) -> Result<bool, PublishError> {
        let _one = dataset.publishing.lock().await;
        let mut known = self.keeper.read(&dataset.datasource).await;
        if let Some(sent) = known.sent.clone() {
            self.go_on(dataset, &mut known, sent).await?;
        }
        let newest = dataset.table.published_head();
        let table = newest.metadata().id.clone();
        if known.version == Some(newest.version().0) && known.table == table {
            dataset.note_published(&known, self.clock.now_ms());
            return Ok(false);
        }
        dataset.note_working(newest.version().0, None, self.clock.now_ms());
        let there = self.whose(dataset, &known).await?;
        let Some(pin) = dataset.table.pin_published(None).await? else { return Ok(false) };
        let prepared = dataset.source().prepare(pin, &known, &there).await?;
        dataset.can_be_held(&prepared)?;
        if prepared.intervals.is_empty() {
            return self.nothing_changed(dataset, known, &prepared).await;
        }
        let sent = Sent {
            id: self.unused_id(dataset, &prepared).await?,
            version: prepared.version(),
            from: prepared.from,
            granularity: prepared.granularity,
            intervals: prepared.intervals.clone(),
            at_ms: self.clock.now_ms(),
        };
        (known.table, known.ours, known.sent) = (table, true, Some(sent.clone()));
        if !self.keeper.keep(&dataset.datasource, &known).await {
            return Err(PublishError::NotOurs);
        }
        self.carry_out(dataset, &mut known, &sent, prepared).await?;
        Ok(true)
    }

    /// Files were joined, or inputs without rows came: the version is another, and its rows are not.
    async fn nothing_changed(
        &self,
        dataset: &Dataset,
        mut known: Known,
        prepared: &Prepared,
    ) -> Result<bool, PublishError> {
        (known.version, known.ours) = (Some(prepared.version()), true);
        known.table.clone_from(&prepared.pin.snapshot().metadata().id);
        known.granularity = Some(prepared.granularity);
        self.keeper.keep(&dataset.datasource, &known).await;
        dataset.note_published(&known, self.clock.now_ms());
        Ok(false)
    }

    /// Goes on with what was sent before this process began, or before Druid went away.
    async fn go_on(&self, dataset: &Dataset, known: &mut Known, sent: Sent) -> Result<(), PublishError> {
        dataset.note_working(sent.version, Some(&sent.id), self.clock.now_ms());
        let pin = dataset.table.pin_published(Some(sent.version)).await?;
        let pin = pin.filter(|pin| pin.snapshot().metadata().id == known.table);
        let Some(pin) = pin else {
            // What was sent is of a version that nobody can count any longer: all of it is published again.
            (known.sent, known.version) = (None, None);
            return Ok(());
        };
        let prepared = dataset.source().again(pin, &sent).await?;
        self.carry_out(dataset, known, &sent, prepared).await
    }

    async fn carry_out(
        &self,
        dataset: &Dataset,
        known: &mut Known,
        sent: &Sent,
        prepared: Prepared,
    ) -> Result<(), PublishError> {
        let began = Instant::now();
        dataset.note_working(sent.version, Some(&sent.id), self.clock.now_ms());
        let pin = dataset.reading(&prepared.pin);
        let done = self.send_and_watch(dataset, sent, &prepared).await;
        drop(pin);
        // Of what Druid did not answer to the end it is asked again, by the same id.
        if let Err(PublishError::Druid(DruidError::Away { .. })) = &done {
            return done;
        }
        known.sent = None;
        match &done {
            Ok(()) => {
                known.rows = prepared.pin.snapshot().rows().unwrap_or(known.rows);
                (known.version, known.granularity) = (Some(sent.version), Some(sent.granularity));
                let took_ms = self.clock.now_ms().saturating_sub(sent.at_ms).max(0);
                known.took_seconds = Some(took_ms as f64 / 1_000.0);
            }
            // What is there now is nobody's version.
            Err(PublishError::Differs { .. } | PublishError::NotLoaded { .. }) => known.version = None,
            Err(_) => {}
        }
        self.keeper.keep(&dataset.datasource, known).await;
        self.tell(dataset, sent, &prepared, (done.is_ok(), began.elapsed()));
        if done.is_ok() {
            dataset.note_published(known, self.clock.now_ms());
        }
        done
    }

    async fn send_and_watch(&self, dataset: &Dataset, sent: &Sent, prepared: &Prepared) -> Result<(), PublishError> {
        if matches!(self.cluster.task(&sent.id).await?, TaskState::Unknown) {
            let task = self.publication(dataset, sent, prepared, |publication| publication.task());
            let outcome = self.cluster.submit(task).await?;
            if outcome == SubmitOutcome::Taken {
                tracing::info!(dataset = %dataset.table.id(), version = sent.version, task = sent.id, rows = prepared.expected.rows, "published to Druid: sent");
            }
        }
        self.watch(dataset, sent).await?;
        self.judge(sent, prepared).await?;
        self.loaded(dataset, sent).await?;
        self.answers_as_we_do(dataset, sent, prepared).await
    }

    /// What is sent, for whatever it is made into.
    pub(super) fn publication<T>(
        &self,
        dataset: &Dataset,
        sent: &Sent,
        prepared: &Prepared,
        make: impl FnOnce(&Publication<'_>) -> T,
    ) -> T {
        let name = |file: &Arc<vitalake_lake::DataFile>| super::file_name(file.path().as_str()).to_owned();
        let files: Vec<String> =
            prepared.files.iter().map(|file| (self.address)(prepared.version(), &name(file))).collect();
        make(&Publication {
            id: &sent.id,
            datasource: &dataset.datasource,
            dataset: dataset.name(),
            version: sent.version,
            columns: &dataset.columns,
            time: dataset.source().time.map(|(time, _)| time),
            granularity: sent.granularity,
            intervals: &sent.intervals,
            files: &files,
            subtasks: self.subtasks,
        })
    }

    /// The first id of this version that no task has had.
    async fn unused_id(&self, dataset: &Dataset, prepared: &Prepared) -> Result<String, PublishError> {
        let beginning = dataset.task_ids(&prepared.pin.snapshot().metadata().id);
        let mut attempt = 0_u32;
        loop {
            let id = format!("{beginning}_v{}_{attempt}", prepared.version());
            if self.cluster.task(&id).await? == TaskState::Unknown {
                return Ok(id);
            }
            attempt += 1;
        }
    }

    /// The segments that are there, where they are ours to replace.
    async fn whose(
        &self,
        dataset: &Dataset,
        known: &Known,
    ) -> Result<Vec<vitalake_serve::druid_engine::Segment>, PublishError> {
        let datasource = &dataset.datasource;
        let there = self.cluster.segments(datasource).await?;
        if !known.ours && there.iter().any(|segment| segment.active) {
            let beginning = dataset.task_ids(&dataset.table.published_head().metadata().id);
            if !self.cluster.has_run(datasource, &beginning).await? {
                return Err(PublishError::Foreign(format!(
                    "Druid has a datasource {datasource} that vitalake did not make, and nothing of it is touched: give ours other names by engines.druid.prefix, drop it there, or let vitalake replace all of it by `vitalake druid adopt {}`",
                    dataset.name()
                )));
            }
        }
        if let Some(version) = known.version {
            self.untouched(dataset, known, version).await?;
        }
        Ok(there)
    }

    /// Whether what is there is what we left there. A datasource that is being loaded is waited for.
    async fn untouched(&self, dataset: &Dataset, known: &Known, version: u64) -> Result<(), PublishError> {
        let datasource = &dataset.datasource;
        let began = Instant::now();
        loop {
            let rows = self.rows(datasource).await?;
            if rows == known.rows {
                return Ok(());
            }
            if began.elapsed() > ANSWER_MAX {
                return Err(PublishError::Foreign(format!(
                    "Druid's {datasource} has {rows} rows where version {version} has {}: somebody else has written to it, or a part of it is not loaded; nothing of it is touched; let vitalake replace all of it by `vitalake druid adopt {}`",
                    known.rows,
                    dataset.name()
                )));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn rows(&self, datasource: &str) -> Result<u64, DruidError> {
        let answer = self.cluster.query(&format!("SELECT COUNT(*) FROM \"{datasource}\"")).await?;
        Ok(answer.first().and_then(|row| row.first()).and_then(serde_json::Value::as_u64).unwrap_or(0))
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
                    dataset.note_waiting("Druid has no free place for its task, or another task has its interval");
                }
                Ok(TaskState::Running) => {
                    unknown_since = None;
                    dataset.note_waiting("");
                }
                Err(error @ DruidError::Away { .. }) => {
                    dataset.note_waiting(&error.to_string());
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
        dataset.note_waiting("its segments are being loaded");
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

    fn tell(&self, dataset: &Dataset, sent: &Sent, prepared: &Prepared, (done, took): (bool, Duration)) {
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

/// A version that Druid reads, until dropped.
pub(super) struct Reading<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) version: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.dataset.read.lock().remove(&self.version);
    }
}

impl Dataset {
    pub(super) fn reading(&self, pin: &PinnedVersion) -> Reading<'_> {
        let version = pin.snapshot().version().0;
        self.read.lock().insert(version, pin.clone());
        Reading { dataset: self, version }
    }

    fn can_be_held(&self, prepared: &Prepared) -> Result<(), PublishError> {
        match (prepared.timeless, self.source().time) {
            (0, _) | (_, None) => Ok(()),
            (rows, Some((time, _))) => Err(PublishError::Timeless(rows, time.to_owned())),
        }
    }
}
