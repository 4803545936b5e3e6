//! The whole platform in one process: lake, log, landing, models, deliveries, in the order in which they must start.
//!
//! `open` takes the data folder and recovers what the tables and the log say; `start` sets everything going; `close`
//! stops in order. `api` is what the HTTP server may ask. Invariant: nothing is answered before what was visible before
//! the last stop is visible again.

mod api;
#[cfg(feature = "rdkafka")]
mod broker;
mod follow;
mod gauges;
mod intake;
mod outside;
mod role;
mod spare;
mod troubles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use vitalake_contract::{DatasetName, Layer};
use vitalake_ingest::landing::EpochOptions;
use vitalake_ingest::log::{Log, LogOptions};
use vitalake_lake::place::{Cache, Place, Requests};
use vitalake_lake::{Lake, LakeOptions, TableSpec};
use vitalake_process::{Contracts, Following, Model, Models, ModelsOptions, table_specs};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{Disk, LocalDisk};
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_runtime::health::{Away, Said};
use vitalake_runtime::lock::FolderLock;

use crate::command::validate::Checked;

pub use api::Api;
pub use gauges::sample_forever;
pub use outside::Outside;
pub(crate) use outside::parts as away_parts;
pub use role::Role;

use intake::Intake;

/// Bytes of log of one epoch beyond which it ends before its time (docs/decisions/0004).
const EPOCH_LOG_BYTES_MAX: u64 = 512 << 20;
/// How often tables are looked after.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the log of a table that another process writes is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How long a store that does not answer is left before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a stop may take for its last commits.
const LAST_COMMITS_MAX: Duration = Duration::from_secs(7);

/// Limits that no setting names; a rehearsal makes them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Rows in memory, in bytes, that make one Parquet file.
    pub file_bytes_in_memory: usize,
    /// Commits of a table between two of its checkpoints.
    pub commits_per_checkpoint: u64,
    /// How often tables are looked after.
    pub maintenance_interval: Duration,
    /// What this process does.
    pub role: Role,
    /// Whether records of an external broker stay there: a command only looks at the tables.
    pub without_intake: bool,
    /// The parts outside the process, whose state others may watch too.
    pub outside: Outside,
}

impl Default for Limits {
    fn default() -> Self {
        let lake = LakeOptions::default();
        Self {
            segment_bytes: LogOptions::default().segment_bytes,
            file_bytes_in_memory: lake.file_bytes_in_memory,
            commits_per_checkpoint: lake.commits_per_checkpoint,
            maintenance_interval: MAINTENANCE_INTERVAL,
            role: Role::All,
            without_intake: false,
            outside: Outside::new(&Clock::system()),
        }
    }
}

/// Everything that runs, without its listeners.
#[derive(Debug)]
pub struct Platform {
    pub(crate) lake: Arc<Lake>,
    pub(crate) role: Role,
    pub(crate) intake: Intake,
    /// What a remote store was asked, and whether it answers.
    pub(crate) requests: Option<Arc<Requests>>,
    outside: Outside,
    pub(crate) models: Mutex<Option<Arc<Models>>>,
    pub(crate) deliveries: BTreeMap<DatasetName, Arc<tokio::sync::Mutex<()>>>,
    pub(crate) clock: Clock,
    ready: AtomicBool,
    epochs: EpochOptions,
    maintenance_interval: Duration,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    cpu: Cpu,
    parts: Parts,
    _lock: Option<Arc<FolderLock>>,
}

/// What models are started from.
#[derive(Debug)]
struct Parts {
    models: Vec<Model>,
    contracts: Arc<Contracts>,
    options: ModelsOptions,
}

impl Platform {
    /// Opens log and tables of a data folder as they were left.
    ///
    /// # Errors
    /// When a table no longer fits its contract, or log or tables cannot be read.
    pub async fn open(
        checked: &Checked,
        config: &Config,
        limits: &Limits,
        lock: Arc<FolderLock>,
    ) -> anyhow::Result<Arc<Self>> {
        let cpu = Cpu::new().context("the threads for computing could not be started")?;
        Self::open_on(LocalDisk::shared(), Some(lock), checked, config, Clock::system(), cpu, limits).await
    }

    /// The same on a disk of the caller's, so that a crash can be rehearsed.
    ///
    /// # Errors
    /// As [`Platform::open`].
    pub async fn open_on(
        disk: Arc<dyn Disk>,
        lock: Option<Arc<FolderLock>>,
        checked: &Checked,
        config: &Config,
        clock: Clock,
        cpu: Cpu,
        limits: &Limits,
    ) -> anyhow::Result<Arc<Self>> {
        let role = limits.role;
        let place = Place::parse(config.storage.url.as_deref(), &config.data)?;
        let cache = Cache { folder: config.data.join("cache"), bytes_max: config.storage.cache_bytes_max };
        let opened = place.open(&disk, &cache, limits.outside.storage.clone()).await?;
        let contracts: Contracts =
            checked.project.contracts.iter().map(|c| (c.dataset.clone(), Arc::clone(c))).collect();
        let specs = table_specs(&checked.models, &contracts)?;
        let contracts: Contracts = contracts.into_iter().filter(|(_, c)| role.opens(c.layer)).collect();
        let (mut specs, others): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| role.opens(spec.contract.layer));
        specs.iter_mut().for_each(|spec| spec.followed = role.follows(spec.contract.layer));
        let options = LakeOptions {
            tail_bytes_max: usize::try_from(config.storage.tail_bytes_max).unwrap_or(usize::MAX),
            file_bytes_in_memory: limits.file_bytes_in_memory,
            commits_per_checkpoint: limits.commits_per_checkpoint,
        };
        let wait = !limits.without_intake && (opened.health.is_some() || specs.iter().any(|spec| spec.followed));
        let open = |specs| open_lake(&opened.store, specs, &options, &clock, &cpu, wait);
        if !others.is_empty() {
            // Every table is made by the first process that may, so that every reader finds them all.
            drop(open(others).await?);
        }
        let lake = open(specs).await?;
        let parts = intake::Parts { config, role, contracts: &contracts, lake: &lake, cpu: &cpu, clock: &clock };
        let intake = if limits.without_intake && config.kafka.bootstrap.is_some() {
            Intake::none()
        } else {
            Intake::open(&parts, &disk, limits).await?
        };
        let deliveries = contracts
            .values()
            .filter(|c| c.layer == Layer::Raw && !role.follows(c.layer))
            .map(|c| (c.dataset.clone(), Arc::default()))
            .collect();
        let options = ModelsOptions::new(disk, config.data.join("work"), clock.clone());
        Ok(Arc::new(Self {
            lake,
            role,
            intake,
            requests: opened.requests,
            outside: limits.outside.clone(),
            models: Mutex::new(None),
            deliveries,
            clock,
            ready: AtomicBool::new(false),
            epochs: EpochOptions {
                interval: Duration::from_millis(config.storage.commit_interval_ms),
                log_bytes_max: EPOCH_LOG_BYTES_MAX,
            },
            maintenance_interval: limits.maintenance_interval,
            tasks: Mutex::new(Vec::new()),
            cpu,
            parts: Parts { models: checked.models.clone(), contracts: Arc::new(contracts), options },
            _lock: lock,
        }))
    }

    /// Sets landing, models and maintenance going, and watches for the moment when everything durable is visible.
    ///
    /// # Errors
    /// When the models cannot be started.
    pub async fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        // Models take their places in the changes before anything lands.
        let models = Arc::new(self.start_models().await?);
        *self.models.lock() = Some(Arc::clone(&models));
        let mut tasks: Vec<JoinHandle<()>> = self.intake.start().await?.into_iter().collect();
        for landing in &self.intake.landings {
            tasks.push(tokio::spawn(Arc::clone(landing).run()));
            if !landing.table().is_followed() {
                tasks.push(tokio::spawn(Arc::clone(landing).write_early_forever()));
                tasks.push(tokio::spawn(Arc::clone(landing).commit_forever(self.epochs)));
            }
        }
        if matches!(self.role, Role::Process | Role::Spare) {
            let inputs = follow::inputs(&self.intake.landings, self.lake.tables().filter(|t| t.is_followed()));
            tasks.push(tokio::spawn(follow::forever(inputs, FOLLOW_INTERVAL)));
        }
        tasks.push(self.cpu.spawn_background(Arc::clone(&self.lake).maintain_forever(self.maintenance_interval)));
        let platform = Arc::clone(self);
        tasks.push(tokio::spawn(async move {
            platform.wait_for_landing().await;
            models.caught_up().await;
            platform.ready.store(true, Ordering::Release);
            tracing::info!("ready: everything that was acknowledged before can be read");
        }));
        self.tasks.lock().extend(tasks);
        Ok(())
    }

    async fn start_models(&self) -> anyhow::Result<Models> {
        let Parts { models, contracts, options } = &self.parts;
        Ok(match self.role {
            Role::All | Role::Process => Models::start(&self.lake, models, contracts, options).await?,
            Role::Ingest | Role::Spare => Models::start(&self.lake, &[], contracts, options).await?,
            Role::Serve => {
                let made: Vec<_> = models.iter().map(|model| &model.dataset).collect();
                let others = self.lake.tables().filter(|table| !made.contains(&&table.contract().dataset));
                let inputs = follow::inputs(&self.intake.landings, others);
                let following = Following { inputs, interval: FOLLOW_INTERVAL };
                Models::follow(&self.lake, models, contracts, options, following)?
            }
        })
    }

    /// The tables.
    #[must_use]
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// The embedded log, where that is the source of records.
    #[must_use]
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.intake.log.as_ref()
    }

    /// Waits until this process must begin anew from the tables: another has taken over what it did, or its source has
    /// changed under it. For ever, as a rule.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.lake.lost() => {
                tracing::warn!("another process has committed what this one was about to: beginning anew from the tables");
            }
            () = self.intake.must_restart() => {}
        }
    }

    /// The parts outside this process that do not answer now.
    #[must_use]
    pub fn away(&self) -> Vec<Away> {
        self.outside.away()
    }

    /// Whether everything that was durable at start is visible.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Commits what has landed, and waits until the models have committed what they made of it.
    ///
    /// # Errors
    /// The first table that could not be committed; the others are.
    pub async fn commit_everything(&self) -> anyhow::Result<()> {
        let mut failure = None;
        for landing in &self.intake.landings {
            failure = landing.flush().await.err().or(failure);
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        let models = self.models.lock().clone();
        if let Some(models) = models {
            models.settled().await;
        }
        Ok(())
    }

    /// Stops in order once intake has: what is durable is landed and committed, then the tasks end and the log closes.
    pub async fn close(self: &Arc<Self>) {
        let last = async {
            // An external broker keeps what comes; the embedded log has what was acknowledged.
            if self.log().is_some() {
                self.wait_for_the_last().await;
            }
            if let Err(error) = self.commit_everything().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the last commit failed: the next start takes it up from the log"
                );
            }
        };
        if tokio::time::timeout(LAST_COMMITS_MAX, last).await.is_err() {
            tracing::warn!("the last commits took too long: the next start takes them up from the log");
        }
        self.end().await;
    }

    /// Ends everything where it stands, as a kill would: the next start takes up from the log what is not committed.
    pub async fn end(self: &Arc<Self>) {
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            let _aborted = task.await;
        }
        let models = self.models.lock().take();
        if let Some(models) = models.and_then(Arc::into_inner) {
            let _ = tokio::time::timeout(Duration::from_secs(1), models.stop()).await;
        }
        let closing = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || closing.intake.close()).await;
    }

    async fn wait_for_landing(&self) {
        while self.intake.landings.iter().any(|landing| !landing.is_caught_up()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until everything that is durable now has landed; intake has stopped.
    async fn wait_for_the_last(&self) {
        while self.intake.landings.iter().any(|landing| landing.lag_records() > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Opens tables; waits for a store over the network, and for tables that another process is yet to make.
async fn open_lake(
    store: &Arc<dyn ObjectStore>,
    specs: Vec<TableSpec>,
    options: &LakeOptions,
    clock: &Clock,
    cpu: &Cpu,
    wait: bool,
) -> anyhow::Result<Arc<Lake>> {
    let mut said = Said::new(clock.clone());
    loop {
        let opening = Lake::open(Arc::clone(store), specs.clone(), options.clone(), clock.clone(), cpu.clone());
        match opening.await {
            Ok(lake) => return Ok(Arc::new(lake)),
            Err(error) if wait && error.retry() == Retry::Later => {
                if said.is_news(error.to_string()) {
                    tracing::warn!(error = in_full(&error), "the lake is waited for");
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
