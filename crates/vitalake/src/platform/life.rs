//! One life of the platform: lake, log, landing, models and deliveries, from the tables as they were left to its end.
//!
//! `open` recovers what tables and log say; `start` sets everything going; `close` commits what was taken and ends,
//! `end` ends where everything stands. Invariant: once `end` has returned nothing of this life commits any longer, and
//! its work folder, which no other life knows, is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vitalake_contract::{DatasetName, Layer};
use vitalake_ingest::delivery::{DeliveryDesk, HeldDeliveries, HeldLimits};
use vitalake_ingest::landing::EpochOptions;
use vitalake_ingest::log::Log;
use vitalake_lake::Lake;
use vitalake_lake::control::ControlStore;
use vitalake_lake::storage::{Cache, Requests, StorageUrl};
use vitalake_process::gate::Gates;
use vitalake_process::{Contracts, Model, Models, ModelsOptions, table_specs};
use vitalake_runtime::config::Config;
use vitalake_runtime::health::Away;
use vitalake_runtime::shutdown::{Shutdown, Stage};

use crate::command::validate::contracts_of;

use super::druid::Druid;
use super::feeds::Feeds;
use super::held_again::hold_again;
use super::intake::{Intake, IntakeContext};
use super::recovery::Recovery;
use super::{Role, Setup, tables};

/// Bytes of log of one epoch beyond which it ends before its time (docs/decisions/0004).
const EPOCH_LOG_BYTES_MAX: u64 = 512 << 20;
/// How long a stop waits for what was acknowledged to land. What does not land in it, because a landing fails, keeps
/// nothing else from its commit.
const LAST_LANDING_MAX: Duration = Duration::from_secs(3);
/// How long a stop may take for its last commits.
const LAST_COMMITS_MAX: Duration = Duration::from_secs(7);
/// How long an end waits for what it told last to become rows.
const EVENTS_MAX: Duration = Duration::from_millis(200);
/// How long an end waits for requests and models that are told to stop.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// Everything that runs, without its listeners.
#[derive(Debug)]
pub struct Life {
    pub(super) lake: Arc<Lake>,
    pub(super) role: Role,
    pub(super) intake: Intake,
    /// What a remote store was asked, and whether it answers.
    pub(super) requests: Option<Arc<Requests>>,
    /// Leases and the state of feeds; opened by its first call.
    pub(super) control: ControlStore,
    pub(super) models: Mutex<Option<Arc<Models>>>,
    pub(super) gates: Arc<Gates>,
    pub(super) deliveries: BTreeMap<DatasetName, Arc<DeliveryDesk>>,
    pub(super) feeds: Feeds,
    /// Publishing to Druid, where this process does it.
    pub(super) druid: Option<Druid>,
    /// Deliveries that wait for somebody to decide.
    pub(super) held: Arc<HeldDeliveries>,
    /// When it was opened, milliseconds since 1970.
    pub(super) opened_ms: i64,
    pub(super) recovery: Recovery,
    pub(super) setup: Setup,
    pub(super) models_setup: ModelsSetup,
    pub(super) epochs: EpochOptions,
    /// Requests that work on this life hold its end up, and stop when it begins.
    pub(super) ending: Shutdown,
    pub(super) tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Set when a table opens that could not be opened before: the next life has it.
    pub(super) reopened: watch::Sender<bool>,
    /// The task of this life that panicked.
    pub(super) panicked: watch::Sender<Option<&'static str>>,
    work_folder: PathBuf,
}

/// What models are started from.
#[derive(Debug)]
pub(super) struct ModelsSetup {
    pub(super) models: Vec<Model>,
    pub(super) contracts: Arc<Contracts>,
    pub(super) options: ModelsOptions,
}

impl Life {
    /// Opens log and tables as they were left. The number tells this life's work folder from those of others.
    ///
    /// # Errors
    /// When the log or none of the tables can be read. A table that does not open is set aside, and the others go on.
    pub async fn open(setup: &Setup, role: Role, number: u64) -> anyhow::Result<Arc<Self>> {
        let Setup { config, clock, cpu, disk, checked, .. } = setup;
        let place = StorageUrl::parse(config.storage.url.as_deref(), &config.data)?;
        let cache = Cache { folder: config.data.join("cache"), bytes_max: config.storage.cache_bytes_max };
        let opened = place.open(disk, &cache, setup.outside.storage.clone()).await?;
        let contracts = contracts_of(&checked.project);
        let specs = table_specs(&checked.models, &contracts)?;
        let contracts: Contracts = contracts.into_iter().filter(|(_, c)| role.opens(c.layer)).collect();
        let remote = opened.health.is_some();
        let lake = tables::open(setup, role, &opened.store, specs, remote).await?;
        setup.recorder.attach(&lake).await;
        let context = IntakeContext { setup, role, contracts: &contracts, lake: &lake };
        let stays = setup.without_intake && config.kafka.bootstrap.is_some();
        let intake = match setup.erasing || stays {
            true => Intake::none(),
            false => Intake::open(&context).await?,
        };
        let takes_deliveries = |layer| layer == Layer::Raw && !role.follows(layer);
        let delivered = contracts.values().filter(|c| takes_deliveries(c.layer)).map(|c| c.dataset.clone());
        let delivered: Vec<DatasetName> = delivered.collect();
        let raw = contracts.values().filter(|c| c.layer == Layer::Raw).map(|c| c.dataset.clone()).collect();
        let held = Arc::new(HeldDeliveries::new(Arc::clone(lake.store()), raw, held_limits(config)));
        let desk = |dataset| (dataset, Arc::new(DeliveryDesk::new(Arc::clone(&held))));
        let deliveries = delivered.into_iter().map(desk).collect();
        let health = setup.outside.control.clone();
        let control = ControlStore::new(setup.control.clone(), &config.name, clock.clone(), health);
        let feeds = Feeds::open(setup, role, &control).await;
        let druid = Druid::open(setup, role, &lake, &control);
        let work_folder = work_folder(setup, number).await;
        let options = ModelsOptions {
            events: setup.events.clone(),
            engines: setup.engines.clone(),
            ..ModelsOptions::new(Arc::clone(disk), work_folder.clone(), clock.clone())
        };
        let models = if role.runs_models() { checked.models.clone() } else { Vec::new() };
        let recovery = Recovery::new(&intake.landings, &models, &setup.engines);
        let gates = Arc::new(Gates::new(&lake, clock, &setup.events));
        hold_again(&gates, &setup.recorder).await;
        Ok(Arc::new(Self {
            gates,
            lake,
            role,
            intake,
            requests: opened.requests,
            control,
            models: Mutex::new(None),
            deliveries,
            feeds,
            druid,
            held,
            opened_ms: clock.now_ms(),
            recovery,
            setup: Setup { cpu: cpu.clone(), ..setup.clone() },
            models_setup: ModelsSetup { models: checked.models.clone(), contracts: Arc::new(contracts), options },
            epochs: EpochOptions {
                interval: Duration::from_millis(config.storage.commit_interval_ms),
                log_bytes_max: EPOCH_LOG_BYTES_MAX,
            },
            ending: Shutdown::new(),
            tasks: Mutex::new(Vec::new()),
            reopened: watch::channel(false).0,
            panicked: watch::channel(None).0,
            work_folder,
        }))
    }

    /// The tables.
    #[must_use]
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// The control store.
    #[must_use]
    pub fn control(&self) -> &ControlStore {
        &self.control
    }

    /// The embedded log, where that is the source of records.
    #[must_use]
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.intake.log.as_ref()
    }

    /// Waits until another process has taken over what this one did. For ever, as a rule.
    pub async fn lease_lost(&self) {
        self.lake.lease_lost().await;
        tracing::warn!("another process has committed what this one was about to: beginning anew from the tables");
    }

    /// Waits until this life cannot go on: its source has changed under it, one of its tasks has panicked, or a table opens
    /// that it does not have.
    pub async fn must_restart(&self) {
        let (mut panicked, mut reopened) = (self.panicked.subscribe(), self.reopened.subscribe());
        tokio::select! {
            () = self.intake.must_restart() => {}
            _ = panicked.wait_for(Option::is_some) => {}
            _ = reopened.wait_for(|opens| *opens) => {}
        }
    }

    /// The task that panicked, if one has.
    #[must_use]
    pub fn panicked(&self) -> Option<&'static str> {
        *self.panicked.borrow()
    }

    /// The parts outside this process that do not answer now.
    #[must_use]
    pub fn away(&self) -> Vec<Away> {
        self.setup.outside.away()
    }

    /// Whether everything that was durable at start is visible, of every table.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.recovery.is_over()
    }

    /// Stops in order once intake has: what is durable is landed and committed, then everything ends.
    pub async fn close(self: &Arc<Self>) {
        // An external broker keeps what comes; the embedded log has what was acknowledged.
        if self.log().is_some() && tokio::time::timeout(LAST_LANDING_MAX, self.wait_for_the_last()).await.is_err() {
            tracing::warn!("not everything has landed: the next start takes the rest up from the log");
        }
        let last = async {
            match self.commit_everything().await {
                Ok(behind) => behind.iter().for_each(|behind| {
                    tracing::warn!(dataset = behind.dataset, "not committed: {}", behind.reason);
                }),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the last commit failed: the next start takes it up from the log"
                ),
            }
        };
        if tokio::time::timeout(LAST_COMMITS_MAX, last).await.is_err() {
            tracing::warn!("the last commits took too long: the next start takes them up from the log");
        }
        // The process leaves: it waits for no store that does not answer.
        let _ = tokio::time::timeout(LAST_COMMITS_MAX, self.end()).await;
    }

    /// Ends everything where it stands: the next start takes up from the log what is not committed.
    pub async fn end(self: &Arc<Self>) {
        // Requests stop; a delivery whose commit is on its way gets to its answer.
        self.ending.begin(Stage::Close);
        self.setup.events.settle(EVENTS_MAX).await;
        self.setup.recorder.detach().await;
        self.lake.close().await;
        if !self.ending.settled(ENDING_MAX).await {
            tracing::warn!("requests still work on tables that are closed; what they commit is refused");
        }
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            let _aborted = task.await;
        }
        let models = self.models.lock().take();
        if let Some(models) = models
            && tokio::time::timeout(ENDING_MAX, stop(models)).await.is_err()
        {
            tracing::warn!("models still compute; what they make is not committed");
        }
        if let Some(spark) = &self.setup.engines.spark {
            spark.close().await;
        }
        self.feeds.release().await;
        if let Some(druid) = &self.druid {
            druid.release().await;
        }
        self.control.close().await;
        let closing = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || {
            closing.intake.close();
            let _gone = closing.setup.disk.remove_dir_all(&closing.work_folder);
        })
        .await;
    }

    /// Waits until this life ends.
    pub(super) async fn ended(&self) {
        self.ending.watch().wait_for(Stage::Close).await;
    }

    /// Whether its end has begun.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.stage() >= Stage::Close
    }

    /// Waits until everything that is durable now, and can land, has landed; intake has stopped.
    async fn wait_for_the_last(&self) {
        while !self.intake.landings.iter().all(|landing| landing.is_drained()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Stops models once nobody looks at them any longer: whoever does holds them for a moment.
async fn stop(mut models: Arc<Models>) {
    loop {
        match Arc::try_unwrap(models) {
            Ok(models) => return models.stop().await,
            Err(shared) => models = shared,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn held_limits(config: &Config) -> HeldLimits {
    let deliveries_max = usize::try_from(config.deliveries.held_max).unwrap_or(usize::MAX);
    HeldLimits { deliveries_max, bytes_max: config.deliveries.held_bytes_max }
}

/// A folder that no other life uses; what lives before this process left is removed by its first.
async fn work_folder(setup: &Setup, number: u64) -> PathBuf {
    let all = setup.config.data.join("work");
    let folder = all.join(format!("life-{number}"));
    if number == 1 {
        let disk = Arc::clone(&setup.disk);
        let _gone = tokio::task::spawn_blocking(move || disk.remove_dir_all(&all)).await;
    }
    folder
}
