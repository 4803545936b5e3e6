//! One publication: sent, watched to its end, judged, awaited, and held against our own counts.
//!
//! Whatever comes in between (this process, Druid, the network) is gone on from by the task's id. Invariant: a version
//! counts as published when Druid's answers equal ours, and not before.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use vitalake_lake::{LakeError, PinnedVersion};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::Events;
use vitalake_serve::druid_engine::{Cluster, DruidError, Publication, TaskState};

use super::Dataset;
use super::failure::PublishError;
use super::known::{Known, Sent};
use super::prepare::Prepared;

/// How long an address of a file holds.
pub(super) const ADDRESS_HOLDS_S: i64 = 6 * 3_600;

/// What a publication is made with.
pub(super) struct Desk<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) keeper: &'a super::known::Keeper,
    pub(super) clock: &'a Clock,
    pub(super) events: &'a Events,
    pub(super) subtasks: u64,
    /// A place for each dataset whose rows are read and counted at once. Nobody waits for Druid while holding one.
    pub(super) places: &'a Semaphore,
    /// A turn for each publication whose task has tasks of its own; none where no task has.
    pub(super) turns: Option<&'a Semaphore>,
    /// Makes the address of a file.
    pub(super) address: &'a (dyn Fn(u64, &str) -> String + Sync),
}

impl Desk<'_> {
    /// Publishes the newest version of a dataset where Druid does not have it. `false` where it does.
    pub(super) async fn publish(&self, dataset: &Dataset) -> Result<bool, PublishError> {
        let _one = dataset.publishing.lock().await;
        let mut known: Known = self.keeper.read(&dataset.datasource).await.ok_or(PublishError::NotOurs)?;
        if let Some(sent) = known.sent.clone() {
            self.go_on(dataset, &mut known, sent).await?;
        }
        let newest = dataset.table.published_head();
        let table = newest.metadata().id.clone();
        if known.version == Some(newest.version().0) && known.table == table {
            dataset.note_published(&known, self.clock.now_ms());
            return Ok(false);
        }
        let began_ms = self.clock.now_ms();
        dataset.note_working(newest.version().0, None, began_ms);
        self.cluster.is_new_enough().await?;
        let there = self.whose(dataset, &mut known).await?;
        let Some(pin) = dataset.table.pin_published(None).await? else { return Ok(false) };
        let prepared = self.counted(dataset.source().prepare(pin, &known, &there)).await?;
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
            began_ms,
        };
        (known.table, known.ours, known.sent) = (table, true, Some(sent.clone()));
        known.rows_tried = prepared.pin.snapshot().rows();
        if !self.keeper.keep(&dataset.datasource, &known).await {
            return Err(PublishError::NotOurs);
        }
        self.carry_out(dataset, &mut known, &sent, prepared).await?;
        Ok(true)
    }

    /// Reads and counts, in a place for it.
    pub(super) async fn counted(
        &self,
        prepared: impl Future<Output = Result<Prepared, LakeError>>,
    ) -> Result<Prepared, PublishError> {
        // The places are never closed.
        let _place = self.places.acquire().await.ok();
        Ok(prepared.await?)
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
        let prepared = self.counted(dataset.source().again(pin, &sent)).await?;
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
                known.rows_tried = None;
                let took_ms = self.clock.now_ms().saturating_sub(sent.began_ms).max(0);
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
