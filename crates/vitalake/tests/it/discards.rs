//! Rejects that are given up by a process that is killed at any operation: each has its place in quarantine or its row's
//! count in `ops.discards`, after every start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use vitalake::platform::{Life, Platform, QuarantineDesk, Role, Setup};
use vitalake_ingest::log::{BatchBuilder, CheckedBatch, TopicPartition};
use vitalake_ops::quarantine::{DiscardRequest, Which};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::CrashDisk;
use vitalake_runtime::events::Events;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::identity::Identity;
use vitalake_serve::quarantine::Quarantine as _;
use vitalake_serve::session::{QueryOptions, Sessions};

use crate::rehearsal::process::ProcessDisk;
use crate::rehearsal::project;

const REJECTS: i64 = 5;
/// Operations of the disk between two moments at which it dies.
const STEP: u64 = 4;
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A process from its start to its end.
struct Process {
    disk: Arc<ProcessDisk>,
    life: Arc<Life>,
    platform: Arc<Platform>,
    sessions: Sessions,
}

impl Process {
    async fn start(disk: &CrashDisk, folder: &Path, cpu: &Cpu) -> Self {
        let process = Self::open(disk, folder, cpu, true).await;
        process.life.start().await.unwrap();
        process
    }

    /// `takes_records` or leaves that to another: two processes over the same tables have one log between them.
    async fn open(disk: &CrashDisk, folder: &Path, cpu: &Cpu, takes_records: bool) -> Self {
        let checked = Arc::new(project::checked(folder));
        let mut config = checked.config.clone().unwrap();
        config.data = PathBuf::from("/data");
        config.storage.reserve_bytes = 0;
        if !takes_records {
            config.kafka.bootstrap = Some("another process reads".to_owned());
        }
        let disk = ProcessDisk::new(disk);
        let setup =
            Setup { without_intake: !takes_records, ..project::setup(&checked, config, Arc::clone(&disk) as _, cpu) };
        let life = Life::open(&setup, Role::All, 1).await.unwrap();
        let platform = Platform::new(&setup, Role::All);
        platform.begin(&life);
        let engine = Arc::new(QueryEngine::new(QueryLimits::default(), cpu.handle().clone()).unwrap());
        let sessions = Sessions::new(engine, Arc::clone(&platform) as _, Arc::new(DruidSql), Events::unread());
        Self { disk, life, platform, sessions }
    }

    async fn end(self) {
        self.disk.end();
        self.life.end().await;
    }

    async fn number(&self, sql: &str) -> Option<i64> {
        let session = self.sessions.open(Identity::local()).ok()?;
        let mut answer = session.query(sql.to_owned(), vec![], QueryOptions::default()).await.ok()?;
        Some(answer.next().await.ok()??.column(0).as_primitive::<Int64Type>().value(0))
    }

    /// Rejects that are in quarantine, and those that were given up.
    async fn places(&self) -> Option<(i64, i64)> {
        let given_up = r#"SELECT COALESCE(SUM("rows"), 0) FROM ops.discards"#;
        Some((self.number("SELECT COUNT(*) FROM quarantine.ticks").await?, self.number(given_up).await?))
    }

    /// Waits until every reject has its place, and no more than one.
    async fn all_have_places(&self, sent: i64) -> (i64, i64) {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let places = self.places().await;
            if let Some((waiting, given_up)) = places {
                assert!(waiting + given_up <= sent, "{waiting} in quarantine, {given_up} given up of {sent}");
                if waiting + given_up == sent {
                    return (waiting, given_up);
                }
            }
            assert!(Instant::now() < end, "{places:?} of {sent}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn reject_some(&self) {
        let mut batch = BatchBuilder::new();
        for _ in 0..REJECTS {
            batch.push(1_767_225_600_000, None, Some(b"no json"));
        }
        let log = self.life.log().unwrap();
        let topic = log.topic(project::TOPIC).unwrap().id;
        let batch = CheckedBatch::new(batch.build(None)).unwrap();
        log.append(TopicPartition::new(topic, 0), batch).await.unwrap();
    }

    /// Gives everything up; whether that was answered.
    async fn discard(&self) -> bool {
        let which = Which::default();
        let request = DiscardRequest { which, reason: "ticket 4711".to_owned(), by: Some("maria".to_owned()) };
        let desk = QuarantineDesk::new(Arc::clone(&self.platform));
        let dead = async {
            while self.disk.is_alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            discarded = desk.discard("ticks", request) => discarded.is_ok(),
            () = dead => false,
        }
    }
}

/// Rejects come until there are so many, and are given up by a process that is killed after so many operations of that;
/// whether it had answered.
async fn killed_in_a_discard(disk: &CrashDisk, folder: &Path, cpu: &Cpu, (sent, operations): (i64, u64)) -> bool {
    let process = Process::start(disk, folder, cpu).await;
    process.reject_some().await;
    process.all_have_places(sent).await;
    process.life.commit_everything().await.unwrap();
    disk.kill_after(operations);
    let answered = process.discard().await;
    process.end().await;
    disk.crash();
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_by_a_process_that_is_killed_at_any_operation_is_in_ops_discards_once() {
    let folder = tempfile::tempdir().unwrap();
    project::write(folder.path(), "");
    let (disk, cpu) = (CrashDisk::new(4711), Cpu::with_workers(1).unwrap());
    let (mut sent, mut operations, mut rows_late) = (0, 0, 0);
    loop {
        sent += REJECTS;
        let answered = killed_in_a_discard(&disk, folder.path(), &cpu, (sent, operations)).await;

        let process = Process::start(&disk, folder.path(), &cpu).await;
        let (waiting, _) = process.all_have_places(sent).await;
        rows_late += i64::from(!answered && waiting == 0);
        process.end().await;
        disk.crash();
        if answered {
            break;
        }
        operations += STEP;
    }
    assert!(rows_late > 0, "at no operation did a row have to be made by the next start");
    let process = Process::start(&disk, folder.path(), &cpu).await;
    assert_eq!(process.all_have_places(sent).await, (0, sent));
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_processes_find_given_up_is_in_ops_discards_once() {
    let folder = tempfile::tempdir().unwrap();
    project::write(folder.path(), "");
    let (disk, cpu) = (CrashDisk::new(4711), Cpu::with_workers(1).unwrap());
    let (mut sent, mut operations, mut found_late) = (0, 0, 0);
    loop {
        sent += REJECTS;
        let answered = killed_in_a_discard(&disk, folder.path(), &cpu, (sent, operations)).await;
        if answered {
            break;
        }
        operations += STEP;

        // Both are open, and know of the discard, before either has entered it.
        let first = Process::open(&disk, folder.path(), &cpu, true).await;
        let second = Process::open(&disk, folder.path(), &cpu, false).await;
        let (one, other) = tokio::join!(first.life.start(), second.life.start());
        one.and(other).unwrap();
        let (waiting, entered) = first.all_have_places(sent).await;
        found_late += i64::from(waiting == 0);
        second.end().await;
        first.end().await;
        disk.crash();
        let after = Process::start(&disk, folder.path(), &cpu).await;
        let doubled = r#"SELECT COUNT(*) - COUNT(DISTINCT "number") FROM ops.discards"#;
        assert_eq!(after.all_have_places(sent).await.1, entered);
        assert_eq!(after.number(doubled).await, Some(0));
        after.end().await;
        disk.crash();
    }
    assert!(found_late > 0, "at no operation did the two find a discard without its row");
}
