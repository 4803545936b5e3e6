//! The whole platform in one process: lake, log, landing, models, deliveries, in the order in which they must start.
//!
//! `open` takes the data folder and recovers what the tables and the log say; `start` sets everything going; `close`
//! stops in order. `api` is what the HTTP server may ask. Invariant: nothing is answered before what was visible before
//! the last stop is visible again.

mod api;
mod gauges;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use vitalake_contract::{DatasetName, Layer, Source};
use vitalake_ingest::landing::{EpochOptions, TopicLanding};
use vitalake_ingest::log::{Log, LogOptions};
use vitalake_lake::{Lake, LakeOptions, store::DiskStore};
use vitalake_process::{Contracts, Model, Models, ModelsOptions, table_specs};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{Disk, LocalDisk};
use vitalake_runtime::lock::FolderLock;

use crate::command::validate::Checked;

pub use api::Api;
pub use gauges::sample_forever;

/// Bytes of log of one epoch beyond which it ends before its time (docs/decisions/0004).
const EPOCH_LOG_BYTES_MAX: u64 = 512 << 20;
/// How often tables are looked after.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);
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
}

impl Default for Limits {
    fn default() -> Self {
        let lake = LakeOptions::default();
        Self {
            segment_bytes: LogOptions::default().segment_bytes,
            file_bytes_in_memory: lake.file_bytes_in_memory,
            commits_per_checkpoint: lake.commits_per_checkpoint,
            maintenance_interval: MAINTENANCE_INTERVAL,
        }
    }
}

/// Everything that runs, without its listeners.
#[derive(Debug)]
pub struct Platform {
    pub(crate) lake: Arc<Lake>,
    pub(crate) log: Arc<Log>,
    pub(crate) landings: Vec<Arc<TopicLanding>>,
    pub(crate) models: Mutex<Option<Arc<Models>>>,
    pub(crate) deliveries: BTreeMap<DatasetName, Arc<tokio::sync::Mutex<()>>>,
    pub(crate) clock: Clock,
    ready: AtomicBool,
    epochs: EpochOptions,
    maintenance_interval: Duration,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    cpu: Cpu,
    parts: Parts,
    _lock: Option<FolderLock>,
}

/// What models are started from.
#[derive(Debug)]
struct Parts {
    models: Vec<Model>,
    contracts: Arc<Contracts>,
    options: ModelsOptions,
}

impl Platform {
    /// Takes the data folder and opens log and tables as they were left.
    ///
    /// # Errors
    /// When the folder is taken, a table no longer fits its contract, or log or tables cannot be read.
    pub async fn open(checked: &Checked, config: &Config) -> anyhow::Result<Arc<Self>> {
        let lock = FolderLock::take(&config.data)?;
        let cpu = Cpu::new().context("the threads for computing could not be started")?;
        Self::open_on(LocalDisk::shared(), Some(lock), checked, config, Clock::system(), cpu, &Limits::default()).await
    }

    /// The same on a disk of the caller's, so that a crash can be rehearsed.
    ///
    /// # Errors
    /// As [`Platform::open`].
    pub async fn open_on(
        disk: Arc<dyn Disk>,
        lock: Option<FolderLock>,
        checked: &Checked,
        config: &Config,
        clock: Clock,
        cpu: Cpu,
        limits: &Limits,
    ) -> anyhow::Result<Arc<Self>> {
        let root = config.local_storage().context("storage.url must be a local folder in this build")?;
        let store = DiskStore::new(Arc::clone(&disk), &root);
        store.sweep_temporary().await.context("files left by an earlier stop could not be removed")?;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let contracts: Contracts =
            checked.project.contracts.iter().map(|c| (c.dataset.clone(), Arc::clone(c))).collect();
        let specs = table_specs(&checked.models, &contracts)?;
        let options = LakeOptions {
            tail_bytes_max: usize::try_from(config.storage.tail_bytes_max).unwrap_or(usize::MAX),
            file_bytes_in_memory: limits.file_bytes_in_memory,
            commits_per_checkpoint: limits.commits_per_checkpoint,
        };
        let lake = Arc::new(Lake::open(store, specs, options, clock.clone(), cpu.clone()).await?);
        let log = open_log(&disk, config, limits, &clock)?;
        let landings = open_landings(&log, &lake, &contracts, &cpu)?;
        let deliveries =
            contracts.values().filter(|c| c.layer == Layer::Raw).map(|c| (c.dataset.clone(), Arc::default())).collect();
        let options = ModelsOptions::new(disk, config.data.join("work"), clock.clone());
        Ok(Arc::new(Self {
            lake,
            log,
            landings,
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
        let models = Models::start(&self.lake, &self.parts.models, &self.parts.contracts, &self.parts.options).await?;
        let models = Arc::new(models);
        *self.models.lock() = Some(Arc::clone(&models));
        let mut tasks = Vec::new();
        for landing in &self.landings {
            tasks.push(tokio::spawn(Arc::clone(landing).run()));
            tasks.push(tokio::spawn(Arc::clone(landing).write_early_forever()));
            tasks.push(tokio::spawn(Arc::clone(landing).commit_forever(self.epochs)));
        }
        tasks.push(self.cpu.spawn_cpu(Arc::clone(&self.lake).maintain_forever(self.maintenance_interval)));
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

    /// The tables.
    #[must_use]
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
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
        for landing in &self.landings {
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
    pub async fn close(&self) {
        let last = async {
            self.wait_for_landing().await;
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
    pub async fn end(&self) {
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
        let log = Arc::clone(&self.log);
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }

    async fn wait_for_landing(&self) {
        while self.landings.iter().any(|l| !l.is_caught_up() || l.lag_records() > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn open_log(disk: &Arc<dyn Disk>, config: &Config, limits: &Limits, clock: &Clock) -> anyhow::Result<Arc<Log>> {
    let options = LogOptions {
        segment_bytes: limits.segment_bytes,
        retention_ms: i64::try_from(config.log.retention_ms).unwrap_or(i64::MAX),
        retention_bytes: config.log.retention_bytes.unwrap_or(LogOptions::default().retention_bytes),
        reserve_bytes: config.storage.reserve_bytes,
        ..LogOptions::default()
    };
    let folder = config.data.join("log");
    let (log, report) = Log::open(Arc::clone(disk), &folder, options, clock.clone())
        .with_context(|| format!("the log at {} could not be opened", folder.display()))?;
    tracing::info!(?report, "the log is open");
    Ok(log)
}

fn open_landings(
    log: &Arc<Log>,
    lake: &Lake,
    contracts: &Contracts,
    cpu: &Cpu,
) -> anyhow::Result<Vec<Arc<TopicLanding>>> {
    let mut landings = Vec::new();
    for contract in contracts.values() {
        let Some(Source::Stream { topic, partitions }) = &contract.source else { continue };
        let id = log.ensure_topic(topic, *partitions).with_context(|| format!("topic {topic} could not be made"))?;
        let partitions = log.topic(topic).map_or(*partitions, |t| t.partitions);
        let table = Arc::clone(lake.table(&contract.dataset)?);
        landings.push(Arc::new(TopicLanding::open(Arc::clone(log), table, topic, id, partitions, cpu.clone())?));
    }
    for topic in log.topics().iter().filter(|t| !t.active) {
        tracing::warn!(
            topic = topic.name,
            "this topic has no contract any longer: its log is kept, and goes on when the contract is back"
        );
    }
    Ok(landings)
}
