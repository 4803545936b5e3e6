//! The platform between two crashes: opened on the disk that the last one left, at work until the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vitalake::command::validate::CheckedProject;
use vitalake::platform::{Life as Running, Platform, Role, Setup, Tuning};
use vitalake_ingest::log::Log;
use vitalake_runtime::config::Config;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::CrashDisk;
use vitalake_runtime::events::Events;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::identity::Identity;
use vitalake_serve::session::{Session, Sessions};

use super::clients::{Producer, World, produce, read_head_forever, refuse_writes_now_and_then, watch};
use super::looks::{Counts, GATE, numbers};
use crate::rehearsal::process::ProcessDisk;
use crate::rehearsal::{Dice, project};

/// How long a life may last that does not become ready.
pub const LIFE_MAX: Duration = Duration::from_secs(4);

pub const START_MAX: Duration = Duration::from_secs(60);

/// The platform between two crashes.
pub struct Life {
    pub disk: Arc<ProcessDisk>,
    pub datasets: Arc<Platform>,
    pub platform: Arc<Running>,
    pub sessions: Sessions,
    /// Records that were acknowledged before it opened.
    pub acknowledged: i64,
}

impl Life {
    pub fn log(&self) -> &Log {
        self.platform.log().unwrap()
    }

    pub fn session(&self) -> Session {
        self.sessions.open(Identity::local()).unwrap()
    }

    pub async fn look(&self) -> Result<Counts, String> {
        let session = self.session();
        let raw = numbers(&session, "SELECT COUNT(*), COUNT(DISTINCT n) FROM raw.ticks").await?;
        let rejected = numbers(&session, "SELECT COUNT(*) FROM quarantine.ticks").await?;
        let curated = "SELECT COUNT(*), COUNT(DISTINCT tick_id) FROM curated.ticks_once";
        let curated = numbers(&session, curated).await?;
        let hourly = numbers(&session, "SELECT COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly_live").await?;
        let published = numbers(&session, "SELECT COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly").await?;
        Ok(Counts {
            raw: raw[0],
            raw_distinct: raw[1],
            rejected: rejected[0],
            curated: curated[0],
            curated_distinct: curated[1],
            hourly: hourly[0],
            published: published[0],
        })
    }
}

pub struct Rehearsal {
    pub checked: Arc<CheckedProject>,
    pub config: Config,
    pub tuning: Tuning,
    pub cpu: Cpu,
    pub world: Arc<World>,
}

impl Rehearsal {
    pub fn new(seed: u64, folder: &Path) -> Self {
        project::write(folder, "");
        let gated = folder.join("contracts/serving/ticks_hourly.yaml");
        let contract = std::fs::read_to_string(&gated).unwrap();
        std::fs::write(&gated, contract + GATE).unwrap();
        let checked = Arc::new(project::checked(folder));
        let mut config = checked.config.clone().unwrap();
        config.data = PathBuf::from("/data");
        config.storage.commit_interval_ms = 30;
        config.storage.tail_bytes_max = 64 << 10;
        config.storage.reserve_bytes = 0;
        config.log.retention_ms = 1;
        config.log.retention_bytes = Some(8 << 10);
        let tuning = Tuning {
            segment_bytes: 8 << 10,
            file_bytes_in_memory: 8 << 10,
            commits_per_checkpoint: 7,
            maintenance_interval: Duration::from_millis(40),
        };
        let producers = (0..project::PARTITIONS).map(|p| Arc::new(tokio::sync::Mutex::new(Producer::new(seed, p))));
        let world = World {
            producers: producers.collect(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            seen: Mutex::default(),
            looks: AtomicU64::new(0),
            published: AtomicU64::new(0),
            failure: Mutex::default(),
        };
        Self { checked, config, tuning, cpu: Cpu::with_workers(2).unwrap(), world: Arc::new(world) }
    }

    /// Opens the platform. `None`: the disk died meanwhile.
    pub async fn start(&self, disk: &CrashDisk) -> Result<Option<Life>, String> {
        let process = ProcessDisk::new(disk);
        let acknowledged = self.world.acknowledged.load(Ordering::SeqCst) as i64;
        let setup = Setup {
            tuning: self.tuning,
            ..project::setup(&self.checked, self.config.clone(), Arc::clone(&process) as _, &self.cpu)
        };
        let opening = Running::open(&setup, Role::All, 1);
        let opened = tokio::time::timeout(START_MAX, opening).await.map_err(|_| "opening hangs")?;
        let platform = match opened {
            Ok(platform) => platform,
            Err(_) if !process.is_alive() => return Ok(None),
            Err(error) => return Err(format!("it does not open: {error:#}")),
        };
        let engine = Arc::new(QueryEngine::new(QueryLimits::default(), self.cpu.handle().clone()).unwrap());
        let datasets = Platform::new(&setup, Role::All);
        datasets.begin(&platform);
        let sessions = Sessions::new(engine, Arc::clone(&datasets) as _, Arc::new(DruidSql), Events::unread());
        let life = Life { disk: process, datasets, platform, sessions, acknowledged };
        let started = tokio::time::timeout(START_MAX, life.platform.start()).await.map_err(|_| "starting hangs")?;
        match started {
            Ok(()) => Ok(Some(life)),
            Err(error) if life.disk.is_alive() => Err(format!("it does not start: {error:#}")),
            Err(_) => {
                self.end(life).await;
                Ok(None)
            }
        }
    }

    pub async fn end(&self, life: Life) {
        life.disk.end();
        life.platform.end().await;
    }

    /// Waits until it is ready, or the disk has died (`false`).
    pub async fn ready(&self, life: &Life) -> Result<bool, String> {
        let end = Instant::now() + START_MAX;
        while !life.platform.is_ready() {
            if !life.disk.is_alive() {
                return Ok(false);
            }
            if Instant::now() > end {
                return Err("it does not become ready again".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(true)
    }

    /// Everyone at work until the disk dies or time is up.
    pub async fn live(&self, disk: &CrashDisk, life: &Arc<Life>, dice: &mut Dice) {
        let mut tasks = Vec::new();
        for producer in &self.world.producers {
            tasks.push(tokio::spawn(produce(Arc::clone(&self.world), Arc::clone(life), Arc::clone(producer))));
        }
        tasks.push(tokio::spawn(watch(Arc::clone(&self.world), Arc::clone(life))));
        tasks.push(tokio::spawn(read_head_forever(Arc::clone(&self.world), Arc::clone(life))));
        if dice.once_in(3) {
            let life = Arc::clone(life);
            tasks.push(tokio::spawn(async move {
                loop {
                    let _ = life.platform.commit_everything().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }));
        }
        if dice.once_in(2) {
            tasks.push(tokio::spawn(refuse_writes_now_and_then(disk.clone(), dice.next())));
        }
        let (latest, stay) = (Instant::now() + LIFE_MAX, Duration::from_millis(100 + dice.below(400)));
        let mut end = latest;
        while life.disk.is_alive() && Instant::now() < end && self.world.failure.lock().is_none() {
            if end == latest && life.platform.is_ready() {
                end = Instant::now() + stay;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for task in &tasks {
            task.abort();
        }
        disk.fail_writes(None);
        for task in tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                self.world.fail(format!("a client's task panicked: {error}"));
            }
        }
    }
}
