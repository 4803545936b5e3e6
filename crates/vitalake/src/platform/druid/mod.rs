//! Publishing to a real Druid: each version of a serving dataset that its gate has passed, or without a gate each commit.
//!
//! One process of a project publishes, the one that runs the models, by a lease of the control store. Each dataset goes on
//! by itself: what is under way is watched over a restart of either side. Invariant: whatever becomes of Druid, tables,
//! models and answers here do not wait for it.

mod ask;
mod dataset;
mod failure;
mod key;
mod known;
mod live;
mod prepare;
mod publish;
mod watch;
mod whose;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use vitalake_contract::Layer;
use vitalake_lake::Lake;
use vitalake_lake::control::ControlStore;
use vitalake_runtime::config::Druid as Settings;
use vitalake_runtime::error::{Classified, Retry};
use vitalake_serve::druid_engine::{Addresses, Cluster, DruidError, FileKey};

use dataset::Dataset;
use failure::PublishError;
use known::Keeper;
use live::Streams;
use publish::{ADDRESS_HOLDS_S, Desk};

use super::{Life, Role, Setup};

/// How long it is waited for the lease.
const LEASE_AGAIN: Duration = Duration::from_secs(2);
/// The first pause after a failure; each further one is twice as long.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Datasets whose rows are read and counted at once; and publications at once that take several of Druid's places each.
const AT_ONCE_MAX: usize = 2;

/// The datasets of a life that are published to Druid.
#[derive(Debug)]
pub(super) struct Druid {
    cluster: Cluster,
    datasets: Vec<Arc<Dataset>>,
    live: Streams,
    keeper: Keeper,
    key: FileKey,
    interval: Duration,
    subtasks: u64,
    places: Semaphore,
    turns: Option<Semaphore>,
}

impl Druid {
    /// Those of a process that runs the models; `None` where nothing is published, or another does it.
    pub(super) fn open(setup: &Setup, role: Role, lake: &Lake, control: &ControlStore) -> Option<Self> {
        let settings = &setup.config.druid;
        if !settings.publishes || !matches!(role, Role::All | Role::Process) {
            return None;
        }
        let (cluster, health) = (Cluster::new(addresses(settings)?), &setup.outside.druid);
        let now_ms = setup.clock.now_ms();
        let tables = lake.tables().filter(|table| table.contract().layer == Layer::Serving);
        let dataset =
            |table: &Arc<_>| Arc::new(Dataset::new(Arc::clone(table), &settings.prefix, health.clone(), now_ms));
        Some(Self {
            cluster,
            datasets: tables.map(dataset).collect(),
            live: Streams::new(&setup.config, lake, now_ms),
            keeper: Keeper::new(control.clone()),
            key: key::open(setup.disk.as_ref(), &setup.config.data),
            interval: Duration::from_millis(settings.interval_ms),
            subtasks: settings.subtasks,
            places: Semaphore::new(AT_ONCE_MAX),
            turns: (settings.subtasks > 1).then(|| Semaphore::new(AT_ONCE_MAX)),
        })
    }

    /// Publishes until dropped.
    pub(super) async fn run_forever(life: Arc<Life>) {
        let Some(druid) = &life.druid else { return };
        let published = join_all(druid.datasets.iter().map(|dataset| druid.keep_up(&life, dataset)));
        tokio::join!(published, druid.keep_streams(&life));
    }

    /// Lets another process publish.
    pub(super) async fn release(&self) {
        self.keeper.release().await;
    }

    /// What is not well, by dataset, and whether a person has to decide.
    pub(super) fn troubles(&self, now_ms: i64) -> Vec<(String, bool, String)> {
        let of = |dataset: &Arc<Dataset>| {
            let (needs_a_person, words) = dataset.trouble(now_ms)?;
            let words = format!("Druid does not have its newest version: {words}");
            Some((dataset.name().to_owned(), needs_a_person, words))
        };
        self.datasets.iter().filter_map(of).chain(self.live.troubles(now_ms)).collect()
    }

    /// Keeps Druid up with one dataset.
    async fn keep_up(&self, life: &Life, dataset: &Dataset) {
        let mut moved = dataset.table.watch();
        let mut again = AGAIN_MIN;
        loop {
            moved.borrow_and_update();
            if !self.keeper.holds().await {
                tokio::time::sleep(LEASE_AGAIN).await;
                continue;
            }
            match self.publish(life, dataset).await {
                Ok(published) => {
                    again = AGAIN_MIN;
                    if published && !dataset.table.is_gated() {
                        tokio::time::sleep(self.interval).await;
                    }
                    if !published {
                        tokio::select! {
                            changed = moved.changed() => if changed.is_err() { return },
                            () = dataset.adopted.notified() => {}
                        }
                    }
                }
                Err(PublishError::Adopted) => {}
                Err(error) => {
                    self.note(dataset, &error, life.setup.clock.now_ms());
                    tokio::select! {
                        () = tokio::time::sleep(again) => {}
                        () = dataset.adopted.notified() => {}
                    }
                    again = (again * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    async fn publish(&self, life: &Life, dataset: &Dataset) -> Result<bool, PublishError> {
        let published = self.with_desk(life, dataset, async |desk| desk.publish(dataset).await).await;
        if matches!(published, Ok(true)) {
            dataset.health.answered();
        }
        published
    }

    fn note(&self, dataset: &Dataset, error: &PublishError, now_ms: i64) {
        if let PublishError::Druid(away @ DruidError::Away { .. }) = error {
            dataset.health.failed(away.to_string());
        }
        if let PublishError::Druid(error) = error
            && error.retry() == Retry::Never
        {
            dataset.health.answered();
        }
        dataset.note_failed(error, now_ms);
    }

    /// Does something with what a publication is made with.
    async fn with_desk<T>(&self, life: &Life, dataset: &Dataset, what: impl AsyncFnOnce(&Desk<'_>) -> T) -> T {
        let base = files_url(&life.setup);
        let until_s = life.setup.clock.now_ms() / 1_000 + ADDRESS_HOLDS_S;
        let address = |version: u64, file: &str| {
            let name = dataset.name();
            let signature = self.key.sign(name, version, file, until_s);
            format!("{base}/api/v1/published/{name}/{version}/{file}?sig={signature}")
        };
        let desk = Desk {
            cluster: &self.cluster,
            keeper: &self.keeper,
            clock: &life.setup.clock,
            events: &life.setup.events,
            subtasks: self.subtasks,
            places: &self.places,
            turns: self.turns.as_ref(),
            address: &address,
        };
        what(&desk).await
    }
}

/// Where the parts of the cluster are.
fn addresses(settings: &Settings) -> Option<Addresses> {
    let part = |own: &Option<String>| own.clone().or_else(|| settings.url.clone());
    Some(Addresses {
        overlord: part(&settings.overlord)?,
        coordinator: part(&settings.coordinator)?,
        broker: part(&settings.broker)?,
        login: settings.user.clone().zip(settings.password.clone()),
    })
}

/// How Druid reaches this process.
fn files_url(setup: &Setup) -> String {
    let config = &setup.config;
    let named = config.druid.files_url.clone().or_else(|| config.http.public_url.clone());
    let address = setup.http.get().copied().unwrap_or(config.http.listen);
    named.unwrap_or_else(|| format!("{}://{address}", config.http.scheme()))
}

/// A file's name in an address.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
