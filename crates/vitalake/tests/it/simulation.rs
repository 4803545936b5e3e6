//! The whole platform on a disk that forgets: producers, landing, commits, models, maintenance and readers, killed at
//! any operation, the disk crashed, all started again, many times over. A foreign reader opens HEAD of a gated dataset meanwhile.
//!
//! `VITALAKE_SEED=N` replays one seed, `VITALAKE_CRASHES=N` sets how many crashes there are in all. A seed fixes what is
//! sent, at which operation the disk dies and what it loses; threads are scheduled by the machine, so a failure may
//! take a few replays to come again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::object_store::path::Path as StorePath;
use datafusion::object_store::{ObjectStore, ObjectStoreExt as _};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parking_lot::Mutex;
use vitalake::command::validate::CheckedProject;
use vitalake::platform::{Life as Running, Outside, Platform, Role, Setup, Tuning, recorder};
use vitalake_ingest::log::{BatchBuilder, CheckedBatch, Log, ProducerSequence, TopicPartition};
use vitalake_lake::delta::{DeltaError, DeltaLog};
use vitalake_lake::place::{Cache, Place};
use vitalake_ops::gates::GateDecision;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::CrashDisk;
use vitalake_runtime::events::Events;
use vitalake_runtime::health::Health;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::identity::Identity;
use vitalake_serve::platform::Gates as _;
use vitalake_serve::session::{QueryOptions, Session, Sessions};

use crate::rehearsal::process::ProcessDisk;
use crate::rehearsal::truth::{Record, Ticks, Truth};
use crate::rehearsal::{Dice, project};

const CRASHES_DEFAULT: u64 = 100;
const CRASHES_PER_SEED: u64 = 20;
/// How long a life may last that does not become ready.
const LIFE_MAX: Duration = Duration::from_secs(4);
const START_MAX: Duration = Duration::from_secs(60);

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whenever_the_machine_dies() {
    let crashes = number_of("VITALAKE_CRASHES").unwrap_or(CRASHES_DEFAULT);
    let seeds = match number_of("VITALAKE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=crashes.div_ceil(CRASHES_PER_SEED)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (began, mut total) = (Instant::now(), Totals::default());
    for seed in seeds {
        // Printed before, so that it is known even when the run hangs or the process dies.
        println!("seed {seed}: VITALAKE_SEED={seed} replays it");
        let done = runtime.block_on(simulate(seed, crashes.min(CRASHES_PER_SEED)));
        let done = done.unwrap_or_else(|what| panic!("seed {seed}: {what}; replay it with VITALAKE_SEED={seed}"));
        total.add(&done);
    }
    println!("{total:?} in {:?}", began.elapsed());
    assert!(total.records > 0 && total.looks > 0 && total.published > 0);
}

#[derive(Debug, Default)]
struct Totals {
    crashes: u64,
    /// Of them, those that came before the platform was open again.
    while_starting: u64,
    records: u64,
    batches_sent_again: u64,
    /// How often readers looked at all tables.
    looks: u64,
    /// How often a foreign reader found HEAD of the gated dataset with rows.
    published: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.while_starting += other.while_starting;
        self.records += other.records;
        self.batches_sent_again += other.batches_sent_again;
        self.looks += other.looks;
        self.published += other.published;
    }
}

/// What outlives a crash on the side of clients.
struct World {
    producers: Vec<Arc<tokio::sync::Mutex<Producer>>>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// The most that readers have seen.
    seen: Mutex<Counts>,
    looks: AtomicU64,
    published: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl World {
    fn fail(&self, what: String) {
        self.failure.lock().get_or_insert(what);
    }
}

/// An idempotent producer of one partition: the same batch again until it is acknowledged.
struct Producer {
    partition: i32,
    source: Ticks,
    dice: Dice,
    sequence: i32,
    pending: Option<Vec<Record>>,
    acknowledged: Vec<Record>,
    tries: u64,
    sent_again: u64,
}

impl Producer {
    fn new(seed: u64, partition: i32) -> Self {
        Self {
            partition,
            source: Ticks::new(seed, partition),
            dice: Dice::new(seed.wrapping_add(77 + partition as u64)),
            sequence: 0,
            pending: None,
            acknowledged: Vec::new(),
            tries: 0,
            sent_again: 0,
        }
    }

    /// Sends one batch once.
    async fn send(&mut self, world: &World, log: &Log) -> Result<(), String> {
        let records = match self.pending.take() {
            Some(records) => records,
            None => {
                let records: Vec<Record> = (0..=self.dice.below(20)).map(|_| self.source.make()).collect();
                world.sent.fetch_add(records.len() as u64, Ordering::SeqCst);
                self.tries = 0;
                records
            }
        };
        let mut batch = BatchBuilder::new();
        for record in &records {
            batch.push(1_767_225_600_000, Some(b"key"), Some(&record.bytes()));
        }
        let id = 1_000 + i64::from(self.partition);
        let bytes = batch.build(Some(ProducerSequence { id, epoch: 0, sequence: self.sequence }));
        let topic = log.topic(project::TOPIC).ok_or("the topic is gone")?.id;
        let ticket = log.append(TopicPartition::new(topic, self.partition), CheckedBatch::new(bytes).unwrap());
        self.sent_again += u64::from(self.tries > 0);
        self.tries += 1;
        self.pending = Some(records);
        match ticket.await {
            Ok(_) => {
                let records = self.pending.take().unwrap_or_default();
                self.sequence += records.len() as i32;
                world.acknowledged.fetch_add(records.len() as u64, Ordering::SeqCst);
                self.acknowledged.extend(records);
                Ok(())
            }
            Err(error) if error.retry() => Ok(()),
            Err(error) => Err(format!("partition {} refused a batch for good: {error}", self.partition)),
        }
    }
}

/// One look at all tables, of one pinned value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    raw: i64,
    raw_distinct: i64,
    rejected: i64,
    curated: i64,
    curated_distinct: i64,
    hourly: i64,
    published: i64,
}

impl Counts {
    fn not_below(&self, floor: &Self) -> bool {
        self.raw >= floor.raw
            && self.rejected >= floor.rejected
            && self.curated >= floor.curated
            && self.hourly >= floor.hourly
    }

    fn consistent(&self) -> bool {
        self.raw == self.raw_distinct
            && self.curated == self.curated_distinct
            && self.curated <= self.raw
            && self.hourly <= self.curated
            && self.published <= self.hourly
            && passes_its_gate(self.published)
    }

    fn max(&self, other: &Self) -> Self {
        Self {
            raw: self.raw.max(other.raw),
            rejected: self.rejected.max(other.rejected),
            curated: self.curated.max(other.curated),
            hourly: self.hourly.max(other.hourly),
            ..*self
        }
    }
}

/// What the gate of `serving.ticks_hourly` lets through: an even number of ticks.
const GATE: &str = "    quality:\n      - {id: even, type: sql, query: 'SELECT COALESCE(SUM(ticks), 0) % 2 FROM {object}', mustBe: 0, severity: error}\n";

fn passes_its_gate(ticks: i64) -> bool {
    ticks % 2 == 0
}

/// The platform between two crashes.
struct Life {
    disk: Arc<ProcessDisk>,
    datasets: Arc<Platform>,
    platform: Arc<Running>,
    sessions: Sessions,
    /// Records that were acknowledged before it opened.
    acknowledged: i64,
}

impl Life {
    fn log(&self) -> &vitalake_ingest::log::Log {
        self.platform.log().unwrap()
    }

    fn session(&self) -> Session {
        self.sessions.open(Identity::local()).unwrap()
    }

    async fn look(&self) -> Result<Counts, String> {
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

async fn rows(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let failed = |error: vitalake_serve::error::QueryError| format!("{sql}: {error:?}");
    let mut answer = session.query(sql.to_owned(), vec![], QueryOptions::default()).await.map_err(failed)?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await.map_err(failed)? {
        batches.push(batch);
    }
    Ok(batches)
}

async fn numbers(session: &Session, sql: &str) -> Result<Vec<i64>, String> {
    let batches = rows(session, sql).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).ok_or_else(|| format!("{sql}: no row"))?;
    Ok(batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect())
}

struct Rehearsal {
    checked: Arc<CheckedProject>,
    config: Config,
    tuning: Tuning,
    cpu: Cpu,
    world: Arc<World>,
}

impl Rehearsal {
    fn new(seed: u64, folder: &Path) -> Self {
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
    async fn start(&self, disk: &CrashDisk) -> Result<Option<Life>, String> {
        let process = ProcessDisk::new(disk);
        let acknowledged = self.world.acknowledged.load(Ordering::SeqCst) as i64;
        let clock = Clock::system();
        let setup = Setup {
            checked: Arc::clone(&self.checked),
            config: self.config.clone(),
            tuning: self.tuning,
            without_intake: false,
            outside: Outside::new(&clock),
            engines: vitalake_process::Engines::default(),
            control: vitalake_lake::control::ControlPlace::Memory,
            recorder: recorder(&self.checked, &clock),
            disk: Arc::clone(&process) as _,
            clock,
            cpu: self.cpu.clone(),
            events: Events::unread(),
            http: std::sync::Arc::default(),
            lock: None,
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

    async fn end(&self, life: Life) {
        life.disk.end();
        life.platform.end().await;
    }

    /// Waits until it is ready, or the disk has died (`false`).
    async fn ready(&self, life: &Life) -> Result<bool, String> {
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
    async fn live(&self, disk: &CrashDisk, life: &Arc<Life>, dice: &mut Dice) {
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

async fn produce(world: Arc<World>, life: Arc<Life>, producer: Arc<tokio::sync::Mutex<Producer>>) {
    let mut producer = producer.lock().await;
    while life.disk.is_alive() {
        if let Err(what) = producer.send(&world, life.log()).await {
            return world.fail(what);
        }
        let wait = producer.dice.below(6);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// The disk is full or read-only for a moment, again and again: what was under way is left half done.
async fn refuse_writes_now_and_then(disk: CrashDisk, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
        let kind = if dice.once_in(2) { ErrorKind::StorageFull } else { ErrorKind::ReadOnlyFilesystem };
        disk.fail_writes(Some(kind));
        tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
        disk.fail_writes(None);
    }
}

async fn dead(disk: &ProcessDisk) {
    while disk.is_alive() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Readers: from the moment when the platform says that it is ready, counts never fall and never overshoot.
async fn watch(world: Arc<World>, life: Arc<Life>) {
    let acknowledged = life.acknowledged;
    while !life.platform.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut floor = *world.seen.lock();
    let mut first = true;
    loop {
        let counts = match life.look().await {
            Ok(counts) => counts,
            Err(_) if !life.disk.is_alive() => return,
            Err(what) => return world.fail(format!("a query failed: {what}")),
        };
        let sent = world.sent.load(Ordering::SeqCst) as i64;
        let arrived = counts.raw + counts.rejected;
        if !counts.not_below(&floor) || !counts.consistent() || arrived > sent || (first && arrived < acknowledged) {
            return world.fail(format!(
                "readers see {counts:?} after {floor:?}, with {sent} sent, {acknowledged} acknowledged before the start"
            ));
        }
        first = false;
        floor = floor.max(&counts);
        *world.seen.lock() = floor;
        world.looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// What another program finds that opens HEAD of the gated dataset: its log and its files, and nothing of this process.
async fn head(store: &Arc<dyn ObjectStore>) -> Result<i64, String> {
    let root = StorePath::from("lake/serving/ticks_hourly");
    let failed = |what: &str, error: &dyn std::fmt::Debug| format!("HEAD cannot be read: {what}: {error:?}");
    let log = DeltaLog::new(Arc::clone(store), root.clone());
    let head = match log.load().await {
        Ok(Some(head)) => head,
        // A checkpoint that a crash has torn is refused whole until the platform has begun again: nothing wrong is read.
        Ok(None) | Err(DeltaError::InvalidCheckpoint { .. }) => return Ok(0),
        Err(error) => return Err(failed("its log", &error)),
    };
    let mut ticks = 0;
    for file in head.files() {
        let file = store.get(&file.location(&root)).await.map_err(|error| failed("a file", &error))?;
        let bytes = file.bytes().await.map_err(|error| failed("a file", &error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|reader| reader.build());
        for batch in reader.map_err(|error| failed("a file", &error))? {
            let batch = batch.map_err(|error| failed("a file", &error))?;
            let column = batch.column_by_name("ticks").unwrap().as_primitive::<Int64Type>();
            ticks += column.iter().flatten().sum::<i64>();
        }
    }
    Ok(ticks)
}

/// A foreign reader beside everything else: it never meets what the gate has not passed.
async fn read_head_forever(world: Arc<World>, life: Arc<Life>) {
    loop {
        match head(life.platform.lake().store()).await {
            Ok(ticks) if passes_its_gate(ticks) => {
                world.published.fetch_add(u64::from(ticks > 0), Ordering::Relaxed);
            }
            Ok(ticks) => return world.fail(format!("a foreign reader finds {ticks} ticks, which no gate has passed")),
            Err(_) if !life.disk.is_alive() => return,
            Err(what) => return world.fail(what),
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// The same of a disk that nobody has open.
async fn head_at_rest(config: &Config, disk: &CrashDisk) -> Result<(), String> {
    let process: Arc<dyn vitalake_runtime::disk::Disk> = ProcessDisk::new(disk);
    let (place, cache) = (Place::parse(None, &config.data), Cache { folder: "/cache".into(), bytes_max: 0 });
    let place = place.map_err(|error| format!("{error:?}"))?;
    let opened = place.open(&process, &cache, Health::new("storage", Clock::system())).await;
    let ticks = head(&opened.map_err(|error| format!("{error:?}"))?.store).await?;
    if passes_its_gate(ticks) {
        Ok(())
    } else {
        Err(format!("after a crash HEAD holds {ticks} ticks, which no gate has passed"))
    }
}

async fn simulate(seed: u64, crashes: u64) -> Result<Totals, String> {
    let folder = tempfile::tempdir().unwrap();
    let rehearsal = Rehearsal::new(seed, folder.path());
    let (disk, mut dice) = (CrashDisk::new(seed), Dice::new(seed));
    let mut totals = Totals::default();
    while totals.crashes < crashes {
        if !dice.once_in(10) {
            // While it starts, while it recovers, or when readers have looked a few times.
            disk.kill_after(if dice.once_in(2) { dice.spread(7) } else { 200 + dice.below(1_500) });
        }
        let life = rehearsal.start(&disk).await?;
        totals.while_starting += u64::from(life.is_none());
        if let Some(life) = life {
            let life = Arc::new(life);
            rehearsal.live(&disk, &life, &mut dice).await;
            let life = Arc::into_inner(life).ok_or("a task of the clients goes on")?;
            if dice.once_in(8) && life.disk.is_alive() {
                tokio::select! {
                    () = life.platform.close() => {}
                    () = dead(&life.disk) => {}
                }
            }
            rehearsal.end(life).await;
        }
        if let Some(what) = rehearsal.world.failure.lock().take() {
            return Err(format!("after {} crashes: {what}", totals.crashes));
        }
        if dice.once_in(5) {
            disk.restart()
        } else {
            disk.crash()
        }
        head_at_rest(&rehearsal.config, &disk)
            .await
            .map_err(|what| format!("after {} crashes: {what}", totals.crashes))?;
        totals.crashes += 1;
    }
    for again in [false, true] {
        finish(&rehearsal, &disk).await.map_err(|what| format!("at the end (again: {again}): {what}"))?;
        disk.crash();
    }
    for producer in &rehearsal.world.producers {
        totals.batches_sent_again += producer.lock().await.sent_again;
    }
    totals.records = rehearsal.world.acknowledged.load(Ordering::SeqCst);
    totals.looks = rehearsal.world.looks.load(Ordering::SeqCst);
    totals.published = rehearsal.world.published.load(Ordering::SeqCst);
    Ok(totals)
}

/// Everything that was sent is acknowledged, landed and committed; then every table is what it must be.
async fn finish(rehearsal: &Rehearsal, disk: &CrashDisk) -> Result<(), String> {
    let world = &rehearsal.world;
    let life = rehearsal.start(disk).await?.ok_or("the disk is dead")?;
    for producer in &world.producers {
        let mut producer = producer.lock().await;
        while producer.pending.is_some() {
            producer.send(world, life.log()).await?;
        }
    }
    rehearsal.ready(&life).await?;
    let settled = async {
        let sent = world.sent.load(Ordering::SeqCst) as i64;
        while life.look().await.is_ok_and(|counts| counts.raw + counts.rejected < sent) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        life.platform.commit_everything().await.map_err(|error| format!("{error:#}"))
    };
    match tokio::time::timeout(START_MAX, settled).await {
        Ok(settled) => match settled?.first() {
            None => {}
            Some(behind) => return Err(format!("{behind:?}")),
        },
        Err(_) => return Err(format!("it never settles: {:?}", life.look().await)),
    }
    let counts = life.look().await?;
    if counts.published != counts.hourly {
        // Only what does not pass waits, and a person may let it out.
        if passes_its_gate(counts.hourly) {
            return Err(format!("what passes its gate is not published: {counts:?}"));
        }
        let decision = GateDecision { by: "the simulation".to_owned(), reason: "it is the end".to_owned() };
        let released = life.datasets.release("ticks_hourly", decision).await;
        released.map_err(|error| format!("it is not released: {error}"))?;
    }
    let (ticks, hourly) = (head(life.platform.lake().store()).await?, counts.hourly);
    if ticks != hourly {
        return Err(format!("at the end HEAD holds {ticks} ticks of {hourly}"));
    }
    world.published.fetch_add(u64::from(ticks > 0), Ordering::Relaxed);
    let mut records = Vec::new();
    for producer in &world.producers {
        records.extend(producer.lock().await.acknowledged.iter().cloned());
    }
    let outcome = compare(&life.session(), &Truth::of(records.iter())).await.and(balanced(life.platform.lake()).await);
    let pinned = life.platform.lake().pin();
    // What the platform says of itself is committed at its own pace.
    let mut tables = pinned.tables().filter(|view| view.id.space != vitalake_lake::Space::Ops);
    let committed = tables.all(|view| view.tail.row_count() == 0);
    rehearsal.end(life).await;
    outcome?;
    if committed { Ok(()) } else { Err("rows are left in memory after everything was committed".to_owned()) }
}

/// Whatever was killed when: everything that was offered has a place.
async fn balanced(lake: &vitalake_lake::Lake) -> Result<(), String> {
    for table in lake.tables() {
        match table.books().await {
            Some(books) if books.missing() != Some(0) => return Err(format!("books of {}: {books:?}", table.id())),
            _ => {}
        }
    }
    Ok(())
}

async fn compare(session: &Session, truth: &Truth) -> Result<(), String> {
    let mut raw: Vec<i64> = Vec::new();
    for batch in rows(session, "SELECT n FROM raw.ticks").await? {
        raw.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    raw.sort_unstable();
    same("raw", &raw, &truth.raw.iter().copied().collect())?;

    let mut rejected: Vec<Vec<u8>> = Vec::new();
    for batch in rows(session, "SELECT _raw FROM quarantine.ticks").await? {
        rejected.extend(bytes_of(batch.column(0).as_ref()));
    }
    rejected.sort();
    same("quarantine", &rejected, &truth.rejected)?;

    let mut curated = BTreeMap::new();
    for batch in rows(session, "SELECT tick_id, steps FROM curated.ticks_once").await? {
        let (ids, steps) = (texts(batch.column(0).as_ref()), batch.column(1).as_primitive::<Int64Type>());
        for (id, steps) in ids.into_iter().zip(steps.values()) {
            if curated.insert(id.clone(), *steps).is_some() {
                return Err(format!("curated holds {id} twice"));
            }
        }
    }
    same("curated", &curated, &truth.curated.iter().map(|(id, tick)| (id.clone(), tick.steps)).collect())?;
    let conflicts = numbers(session, "SELECT COUNT(*) FROM quarantine.ticks_once").await?;
    same("conflicts", &conflicts, &vec![truth.conflicts as i64])?;

    for table in ["serving.ticks_hourly", "serving.ticks_hourly_live"] {
        let mut hourly = BTreeMap::new();
        for batch in rows(session, &format!("SELECT device, hour, ticks, steps, most FROM {table}")).await? {
            let hours = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>();
            for (row, device) in texts(batch.column(0).as_ref()).into_iter().enumerate() {
                let hour = (hours.value(row) - 1_767_225_600_000_000) / 3_600_000_000;
                let group = (column(2).value(row), column(3).value(row), column(4).value(row));
                if hourly.insert((device, hour), group).is_some() {
                    return Err(format!("{table} holds a group twice"));
                }
            }
        }
        same(table, &hourly, &truth.hourly)?;
    }
    Ok(())
}

fn same<T: PartialEq + Countable>(table: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{table} holds {} of {} and they are not the same", found.count(), wanted.count()))
}

trait Countable {
    fn count(&self) -> usize;
}

impl<T> Countable for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
}

impl<K, V> Countable for BTreeMap<K, V> {
    fn count(&self) -> usize {
        self.len()
    }
}

fn texts(column: &dyn Array) -> Vec<String> {
    let column = datafusion::arrow::compute::cast(column, &datafusion::arrow::datatypes::DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().flatten().map(ToOwned::to_owned).collect()
}

fn bytes_of(column: &dyn Array) -> Vec<Vec<u8>> {
    let column = datafusion::arrow::compute::cast(column, &datafusion::arrow::datatypes::DataType::Binary).unwrap();
    column.as_binary::<i32>().iter().flatten().map(<[u8]>::to_vec).collect()
}
