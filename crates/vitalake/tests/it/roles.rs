//! Two processes with one role on one lake.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::new_null_array;
use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc;
use vitalake::command::validate::CheckedProject;
use vitalake::platform::{Life, Process, Role, Setup};
use vitalake_contract::DatasetName;
use vitalake_lake::delta::action::Add;
use vitalake_lake::delta::{Change, DeltaLog, Snapshot};
use vitalake_lake::storage::{Cache, StorageUrl};
use vitalake_lake::{Lake, LakeOptions, Space, TableId, TableSpec, TxnId, TxnKind};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{Disk, LocalDisk};
use vitalake_runtime::events::Events;
use vitalake_runtime::health::Health;
use vitalake_runtime::shutdown::Shutdown;

use crate::rehearsal::project;

const WITHIN: Duration = Duration::from_secs(60);

struct World {
    folder: tempfile::TempDir,
    checked: Arc<CheckedProject>,
    cpu: Cpu,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        project::write(&folder.path().join("project"), &format!("storage:\n  url: {}\n", lake.display()));
        let checked = Arc::new(project::checked(&folder.path().join("project")));
        Self { folder, checked, cpu: Cpu::with_workers(2).unwrap() }
    }

    fn setup(&self, name: &str) -> Setup {
        let mut config = self.checked.config.clone().unwrap();
        config.data = self.folder.path().join(name);
        config.http.listen = (Ipv4Addr::LOCALHOST, 0).into();
        project::setup(&self.checked, config, LocalDisk::shared(), &self.cpu)
    }

    async fn process(&self, name: &str, role: Role) -> Arc<Life> {
        let setup = self.setup(name);
        let opening = Life::open(&setup, role, 1);
        let platform = tokio::time::timeout(WITHIN, opening).await.unwrap().unwrap();
        platform.start().await.unwrap();
        platform
    }

    async fn store(&self, name: &str) -> Arc<dyn ObjectStore> {
        let url = self.checked.config.as_ref().unwrap().storage.url.clone();
        let disk: Arc<dyn Disk> = LocalDisk::shared();
        let cache = Cache { folder: self.folder.path().join(name), bytes_max: 0 };
        let place = StorageUrl::parse(url.as_deref(), Path::new("")).unwrap();
        place.open(&disk, &cache, Health::new("storage", Clock::system())).await.unwrap().store
    }

    /// The log of what the first model makes, as another process opens it.
    async fn made_elsewhere(&self) -> (DeltaLog, Snapshot) {
        let root = TableId::new(Space::Curated, DatasetName::new("ticks_once").unwrap()).root();
        let log = DeltaLog::new(self.store("elsewhere").await, root);
        let head = log.load().await.unwrap().unwrap();
        (log, head)
    }

    /// Who commits raw rows.
    async fn writer(&self) -> Writer {
        let store = self.store("writer").await;
        let raw = self.checked.project.contracts.iter().find(|c| c.dataset.as_str() == "ticks").unwrap();
        let specs = vec![TableSpec::of(Arc::clone(raw))];
        let lake = Lake::open(store, specs, LakeOptions::default(), Clock::system(), self.cpu.clone()).await.unwrap();
        Writer { lake, next: 0 }
    }
}

struct Writer {
    lake: Lake,
    next: i64,
}

impl Writer {
    /// Commits one row. Where it is given up in the middle, the next call commits that row too.
    async fn commit(&mut self) {
        let table = self.lake.tables().next().unwrap();
        let n = self.next;
        let number = || Arc::new(Int64Array::from(vec![n])) as ArrayRef;
        let text = || Arc::new(StringViewArray::from(vec![format!("t{n}")])) as ArrayRef;
        let time = || Arc::new(TimestampMicrosecondArray::from(vec![n * 1_000_000]).with_timezone("UTC")) as ArrayRef;
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            "n" | "steps" | "_offset" => number(),
            "tick_id" | "device" | "_topic" => text(),
            "at" | "_ingested_at" => time(),
            "_partition" => Arc::new(Int32Array::from(vec![0])) as ArrayRef,
            _ => new_null_array(field.data_type(), 1),
        });
        let row = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        table.append(vec![row], Vec::new(), [(vitalake_lake::TxnId::parse("writer"), n)]).unwrap();
        self.next += 1;
        table.flush().await.unwrap();
    }
}

fn made(platform: &Life) -> u64 {
    let hourly = platform.lake().tables().find(|table| table.contract().dataset.as_str() == "ticks_once").unwrap();
    hourly.head().rows().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_run_the_models_one_stands_by_and_takes_over_when_nothing_is_made() {
    let world = World::new();
    let mut writer = world.writer().await;
    let (one, other) = (world.process("one", Role::Process).await, world.process("other", Role::Process).await);
    let committing = async {
        loop {
            writer.commit().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let first_lost = tokio::select! {
        () = committing => unreachable!(),
        () = one.lease_lost() => true,
        () = other.lease_lost() => false,
        () = tokio::time::sleep(WITHIN) => panic!("two run the models, and neither has noticed"),
    };
    let (gives_way, mut stays) = if first_lost { (one, other) } else { (other, one) };
    gives_way.end().await;
    // Each may have won one table.
    writer.commit().await;
    if tokio::time::timeout(Duration::from_secs(2), stays.lease_lost()).await.is_ok() {
        stays.end().await;
        stays = world.process("third", Role::Process).await;
    }
    let spare = world.process("spare", Role::Spare).await;
    let busy = async {
        for _ in 0..30 {
            writer.commit().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = busy => {}
        _ = spare.leader_silent(Duration::from_secs(2)) => panic!("it takes over from one that works"),
    }
    stays.end().await;
    // Raw rows go on to come.
    let coming = async {
        loop {
            writer.commit().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = coming => unreachable!(),
        alone = spare.leader_silent(Duration::from_secs(2)) => alone.unwrap(),
        () = tokio::time::sleep(WITHIN) => panic!("nobody makes anything, and nobody takes over"),
    }
    writer.commit().await;
    spare.end().await;
    let taken = world.process("spare", Role::Process).await;
    let all = tokio::time::timeout(WITHIN, async {
        while made(&taken) < u64::try_from(writer.next).unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    all.await.expect("what there was to be made is made");
    assert_eq!(made(&taken), u64::try_from(writer.next).unwrap());
    taken.end().await;
}

/// What another process with the same models commits: the work that this one is about to do, under the same transaction
/// with the same version.
async fn be_first(world: &World) -> TxnId {
    let (log, head) = world.made_elsewhere().await;
    let ours = head.files().next().unwrap();
    let add = Add { path: "theirs.parquet".to_owned(), ..ours.add.clone() };
    log.store().copy(&ours.location(log.root()), &log.root().clone().join(add.path.as_str())).await.unwrap();
    let txn = head.txns().map(|txn| TxnId::parse(&txn.app_id)).find(|id| matches!(id.kind(), TxnKind::Model { .. }));
    let txn = txn.unwrap();
    let next = head.txn(&txn).unwrap() + 1;
    let change = Change { adds: vec![add], ..Change::new("WRITE", 1) }.with_txn(txn.as_str(), next);
    log.append(&head, change).await.unwrap();
    txn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_whose_work_another_process_has_done_ends_and_the_next_writes_nothing() {
    let world = World::new();
    let mut writer = world.writer().await;
    let (events, read) = Events::channel();
    let setup = Setup { events, ..world.setup("one") };
    let (told, mut begun) = mpsc::unbounded_channel();
    let shutdown = Arc::new(Shutdown::new());
    let process = Process::new(setup, Role::Process, Arc::clone(&shutdown));
    let running = tokio::spawn(process.run(read, move |started| Ok(told.send(started.role)?)));
    let next_life = async |begun: &mut mpsc::UnboundedReceiver<Role>| {
        tokio::time::timeout(WITHIN, begun.recv()).await.expect("a life begins").expect("the process runs")
    };
    assert_eq!(next_life(&mut begun).await, Role::Process);
    writer.commit().await;
    let made = async || world.made_elsewhere().await.1;
    tokio::time::timeout(WITHIN, async {
        while made().await.rows() != Some(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let txn = be_first(&world).await;
    writer.commit().await;
    assert_eq!(next_life(&mut begun).await, Role::Spare);
    let after = made().await;
    assert_eq!((after.rows(), after.txn(&txn)), (Some(2), Some(2)), "what was done is not done again");
    shutdown.signal();
    tokio::time::timeout(WITHIN, running).await.unwrap().unwrap().unwrap();
}
