//! What every life of a process is opened with: project, configuration, disk, clock, workers.
//!
//! Invariant: nothing here changes from one life to the next; what does (the role, the life's number) is said apart.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use vitalake_ingest::log::LogOptions;
use vitalake_lake::LakeOptions;
use vitalake_lake::control::{ControlPlace, Passwords};
use vitalake_ops::audit::{Audit, AuditOptions, HEADS, heads};
use vitalake_ops::monitor::MonitorSaid;
use vitalake_ops::record::Recorder;
use vitalake_process::spark::connect;
use vitalake_process::{EngineName, Engines};
use vitalake_runtime::azure::Audience;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{Disk, LocalDisk};
use vitalake_runtime::events::Events;
use vitalake_runtime::lock::FolderLock;

use super::{Outside, monitor};
use crate::command::validate::CheckedProject;
use crate::failure::Failure;

/// The folder of the audit journal, in the data folder.
pub const AUDIT_FOLDER: &str = "audit";
/// How often tables are looked after.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);

/// Sizes that no setting names; a rehearsal makes them small.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Rows in memory, in bytes, that make one Parquet file.
    pub file_bytes_in_memory: usize,
    /// Commits of a table between two of its checkpoints.
    pub commits_per_checkpoint: u64,
    /// How often tables are looked after.
    pub maintenance_interval: Duration,
}

impl Default for Tuning {
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

/// What is the same for every life.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The project.
    pub checked: Arc<CheckedProject>,
    /// Its configuration.
    pub config: Config,
    /// Sizes that no setting names.
    pub tuning: Tuning,
    /// Whether records of an external broker stay there: a command only looks at the tables.
    pub without_intake: bool,
    /// Whether a life is there for an erasure alone: models follow it, and nothing comes in.
    pub erasing: bool,
    /// What was seen of the parts outside goes on from life to life.
    pub outside: Outside,
    /// Where the control store is kept.
    pub control: ControlPlace,
    /// Where log and work files lie, and the lake where that is a folder.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Clock,
    /// Workers for decoding, Parquet and models.
    pub cpu: Cpu,
    /// What models run on.
    pub engines: Engines,
    /// Where it is told what happened.
    pub events: Events,
    /// Makes rows of the ops datasets of what happened.
    pub recorder: Recorder,
    /// Where it is written down who saw and did what.
    pub audit: Audit,
    /// Where HTTP is answered, once that is known.
    pub http: Arc<OnceLock<SocketAddr>>,
    /// What is known of sending the ops datasets, once that has begun.
    pub monitor: Arc<OnceLock<MonitorSaid>>,
    /// Held for as long as anything may write to the data folder.
    pub lock: Option<Arc<FolderLock>>,
}

impl Setup {
    /// The usual surroundings on this machine's disk.
    ///
    /// # Errors
    /// When the threads for computing cannot be started, `control.url` or the address of Spark is none, or the audit journal
    /// cannot be opened.
    pub fn new(checked: CheckedProject, config: Config, lock: Arc<FolderLock>, events: Events) -> anyhow::Result<Self> {
        let cpu = Cpu::new().context("the threads for computing could not be started")?;
        let clock = Clock::system();
        let recorder = recorder(&checked, &clock);
        let control = control(&config, &clock)?;
        let outside = Outside::new(&clock);
        let engines = engines(&config, &outside)?;
        let disk = LocalDisk::shared();
        let audit = audit(&config, &checked.project.root, &disk, &clock)?;
        recorder.keep_audit(audit.clone());
        Ok(Self {
            checked: Arc::new(checked),
            config,
            tuning: Tuning::default(),
            without_intake: false,
            erasing: false,
            outside,
            engines,
            control,
            disk,
            audit,
            clock,
            cpu,
            events,
            recorder,
            http: Arc::default(),
            monitor: Arc::default(),
            lock: Some(lock),
        })
    }
}

/// Where the control store is kept, with tokens for a password where that is asked for.
fn control(config: &Config, clock: &Clock) -> anyhow::Result<ControlPlace> {
    let place = ControlPlace::parse(config.control.url.as_ref().map(Hidden::expose), &config.data)?;
    if !config.control.azure_identity {
        return Ok(place);
    }
    if let Some(problem) = place.takes_no_tokens() {
        return Err(Failure::input(problem, "docs/azure-monitor.md has an example").into());
    }
    let tokens = monitor::tokens("control.azure_identity", Audience::POSTGRESQL, clock)?;
    Ok(place.with_passwords(Passwords::new(tokens)))
}

/// The journal of the data folder.
fn audit(config: &Config, root: &Path, disk: &Arc<dyn Disk>, clock: &Clock) -> anyhow::Result<Audit> {
    let export = config.audit.export_folder().map(|folder| root.join(folder));
    let elsewhere = export.and_then(|folder| std::fs::read(folder.join(HEADS)).ok());
    let opened = Audit::open(AuditOptions {
        disk: Arc::clone(disk),
        folder: config.data.join(AUDIT_FOLDER),
        keys: config.audit.keys.as_ref().map(|folder| root.join(folder)),
        clock: clock.clone(),
        is_required: config.access.is_required(),
        elsewhere: elsewhere.map(|bytes| heads(&bytes).0).unwrap_or_default(),
    })?;
    if opened.tail().is_doubted {
        tracing::error!(
            "the audit journal is not what its signed heads say that it was: `vitalake audit verify` says what is wrong"
        );
    }
    Ok(opened)
}

/// What models run on, by the configuration.
fn engines(config: &Config, outside: &Outside) -> anyhow::Result<Engines> {
    let otherwise = if config.engines.transforms_on_spark() { EngineName::Spark } else { EngineName::DataFusion };
    let spark = match config.engines.spark_address() {
        Some(address) => {
            let opened = connect::open(address.expose(), outside.spark.clone());
            Some(opened.map_err(|bad| Failure::input(format!("engines: {}", bad.message), bad.help))?)
        }
        None => None,
    };
    Ok(Engines { otherwise, spark })
}

/// A recorder that knows the datasets of a project.
#[must_use]
pub fn recorder(checked: &CheckedProject, clock: &Clock) -> Recorder {
    let contracts = checked.project.contracts.iter();
    Recorder::new(clock.clone(), contracts.map(|c| (c.dataset.to_string(), format!("{}.{}", c.layer, c.dataset))))
}
