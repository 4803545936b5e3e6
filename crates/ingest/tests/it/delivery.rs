//! Deliveries into tables on a disk: ends that are not said, several at once, several processes, refusals.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use futures::future::BoxFuture;
use rstest::rstest;
use tokio::sync::mpsc;
use vitalake_contract::check::{SqlRules, Violation};
use vitalake_contract::contract::{Column, ColumnType, Delivery};
use vitalake_contract::rule::{Check, RowRule, Severity};
use vitalake_contract::{Contract, DatasetName, Layer, Source as Origin};
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::{
    DeliverError, Delivered, DeliveryDesk, DeliveryJudge, DeliveryRules, HeldDeliveries, HeldLimits, Incoming, Piece,
    SetFinding, deliver,
};
use vitalake_ingest::replay::{Asked, replay};
use vitalake_lake::delta::{Change, DeltaLog, Snapshot};
use vitalake_lake::store::DiskStore;
use vitalake_lake::{
    DataFile, Lake, LakeError, LakeOptions, RejectFilter, ReplayProgress, SourceCheck, Space, Table, TableId,
    TableSpec, TxnId, TxnKind,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{CrashDisk, Disk, LocalDisk};

const WAIT_MAX: Duration = Duration::from_secs(30);

pub(crate) fn contract(delivery: Delivery) -> Arc<Contract> {
    let column = |name: &str, kind| Column { required: name == "who", ..Column::new(name, kind) };
    let required =
        RowRule { name: "who.required".to_owned(), column: Some(0), check: Check::Required, severity: Severity::Error };
    Arc::new(Contract {
        columns: vec![column("who", ColumnType::String), column("n", ColumnType::Long)],
        row_rules: vec![required],
        source: Some(Origin::Feed),
        delivery,
        ..Contract::new(DatasetName::new("people").unwrap(), Layer::Raw)
    })
}

/// One process's view of the tables in a folder.
pub(crate) struct Process {
    pub(crate) lake: Lake,
    pub(crate) table: Arc<Table>,
    pub(crate) desk: DeliveryDesk,
}

impl Process {
    pub(crate) async fn open(folder: &Path, delivery: Delivery, cpu: &Cpu) -> Self {
        Self::open_on(LocalDisk::shared(), folder, delivery, cpu).await
    }

    pub(crate) async fn open_on(disk: Arc<dyn Disk>, folder: &Path, delivery: Delivery, cpu: &Cpu) -> Self {
        Self::open_by(disk, folder, contract(delivery), cpu).await
    }

    pub(crate) async fn open_by(disk: Arc<dyn Disk>, folder: &Path, contract: Arc<Contract>, cpu: &Cpu) -> Self {
        let store = Arc::new(DiskStore::new(disk, folder));
        let specs = vec![TableSpec::of(contract)];
        let lake = Lake::open(store, specs, LakeOptions::default(), Clock::system(), cpu.clone()).await.unwrap();
        let name = DatasetName::new("people").unwrap();
        let table = Arc::clone(lake.table(&name).unwrap());
        let held = HeldDeliveries::new(Arc::clone(lake.store()), vec![name], HeldLimits::default());
        Self { lake, table, desk: DeliveryDesk::new(Arc::new(held)) }
    }

    async fn take(
        &self,
        format: DeliveryFormat,
        pieces: mpsc::Receiver<io::Result<Piece>>,
    ) -> Result<Delivered, DeliverError> {
        self.take_by(DeliveryRules::default(), format, pieces).await
    }

    async fn take_by(
        &self,
        rules: DeliveryRules,
        format: DeliveryFormat,
        pieces: mpsc::Receiver<io::Result<Piece>>,
    ) -> Result<Delivered, DeliverError> {
        self.deliver(rules, Incoming::new("people", format, pieces, 1_000)).await
    }

    pub(crate) async fn deliver(&self, rules: DeliveryRules, incoming: Incoming) -> Result<Delivered, DeliverError> {
        let delivering = deliver(&self.table, rules, incoming, &self.desk);
        tokio::time::timeout(WAIT_MAX, delivering).await.expect("it is answered")
    }

    /// A file of one row that this is found of.
    async fn judged(&self, severity: Severity, passed: Option<bool>) -> Result<Delivered, DeliverError> {
        let (sender, pieces) = mpsc::channel(4);
        sender.send(bytes("{\"who\":\"a\",\"n\":1}\n")).await.unwrap();
        sender.send(Ok(Piece::End)).await.unwrap();
        let sets: Arc<dyn DeliveryJudge> = Arc::new(Finds(severity, passed));
        self.take_by(DeliveryRules { sql: None, sets: Some(sets) }, DeliveryFormat::Ndjson, pieces).await
    }

    pub(crate) async fn whole(&self, file: &str) -> Result<Delivered, DeliverError> {
        let (sender, pieces) = mpsc::channel(4);
        sender.send(bytes(file)).await.unwrap();
        sender.send(Ok(Piece::End)).await.unwrap();
        self.take(DeliveryFormat::Ndjson, pieces).await
    }

    /// Several files as one delivery.
    async fn gathered(&self, format: DeliveryFormat, files: &[&str]) -> Result<Delivered, DeliverError> {
        let (sender, pieces) = mpsc::channel(64);
        for (index, file) in files.iter().enumerate() {
            sender.send(bytes(file)).await.unwrap();
            let end = if index + 1 == files.len() { Piece::End } else { Piece::NextFile };
            sender.send(Ok(end)).await.unwrap();
        }
        self.take(format, pieces).await
    }

    /// The numbers in column `n`, or the deliveries that rows or rejects say they are of.
    pub(crate) async fn read(&self, space: Space, column: &str) -> Vec<i64> {
        let id = TableId::new(space, DatasetName::new("people").unwrap());
        let view = Arc::clone(self.lake.pin().table(&id).unwrap());
        let mut values = Vec::new();
        for file in view.head.files() {
            let read = match space {
                Space::Raw => self.table.read_file(file).await,
                _ => self.table.read_rejects(file).await,
            };
            values.extend(read.unwrap().iter().flat_map(|batch| of(batch, column)));
        }
        values.sort_unstable();
        values
    }
}

impl Process {
    pub(crate) async fn read_pairs(&self, space: Space, left: &str, right: &str) -> Vec<(i64, i64)> {
        let id = TableId::new(space, DatasetName::new("people").unwrap());
        let view = Arc::clone(self.lake.pin().table(&id).unwrap());
        let mut values = Vec::new();
        for file in view.head.files() {
            let read = match space {
                Space::Raw => self.table.read_file(file).await,
                _ => self.table.read_rejects(file).await,
            };
            values.extend(read.unwrap().iter().flat_map(|batch| of(batch, left).into_iter().zip(of(batch, right))));
        }
        values
    }
}

fn of(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let column = batch.column_by_name(column).unwrap();
    match column.as_primitive_opt::<Int64Type>() {
        Some(longs) => longs.values().to_vec(),
        None => column.as_primitive::<Int32Type>().values().iter().map(|n| i64::from(*n)).collect(),
    }
}

/// A judge that finds the same of every delivery.
#[derive(Debug)]
struct Finds(Severity, Option<bool>);

impl DeliveryJudge for Finds {
    fn judge<'a>(&'a self, rows: &'a [Arc<DataFile>]) -> BoxFuture<'a, Vec<SetFinding>> {
        let (got, found) = (Some(rows.len() as f64), "few".to_owned());
        let (rule, want) = ("enough".to_owned(), "many".to_owned());
        Box::pin(async move { vec![SetFinding { rule, severity: self.0, got, found, want, passed: self.1 }] })
    }
}

#[rstest]
#[case::kept(Severity::Fatal, Some(true), true)]
#[case::fatal(Severity::Fatal, Some(false), false)]
#[case::fatal_and_unknown(Severity::Fatal, None, false)]
#[case::error(Severity::Error, Some(false), true)]
#[case::warning(Severity::Warning, None, true)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_the_set_refuses_a_delivery_whole_or_is_said_of_it(
    #[case] severity: Severity,
    #[case] passed: Option<bool>,
    #[case] taken: bool,
) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let outcome = process.judged(severity, passed).await;
    match outcome {
        Ok(delivered) => {
            let found: Vec<_> = delivered.findings.iter().map(|f| (f.rule.as_str(), f.got, f.passed)).collect();
            assert_eq!(found, [("enough", Some(1.0), passed)]);
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("enough") && said.contains("few in place of many"), "{said}");
            assert!(matches!(error, DeliverError::FatalSet { .. }), "{error:?}");
        }
    }
    assert_eq!(process.read(Space::Raw, "n").await, vec![1; usize::from(taken)]);
    // What is there already is not judged again.
    if taken {
        assert!(process.judged(Severity::Fatal, Some(false)).await.unwrap().known());
    }
}

pub(crate) fn bytes(text: &str) -> io::Result<Piece> {
    Ok(Piece::Bytes(Bytes::copy_from_slice(text.as_bytes())))
}

pub(crate) fn rows(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().map(|n| format!("{{\"who\":\"w{n}\",\"n\":{n}}}\n")).collect()
}

#[rstest]
#[case::nothing(DeliveryFormat::Ndjson, "")]
#[case::within_a_line(DeliveryFormat::Ndjson, "{\"who\":\"a\",\"n\":1}\n{\"who\":\"b")]
#[case::after_a_line(DeliveryFormat::Ndjson, "{\"who\":\"a\",\"n\":1}\n")]
#[case::after_an_element(DeliveryFormat::Ndjson, "[{\"who\":\"a\",\"n\":1},\n{\"who\":\"b\",\"n\":2}")]
#[case::after_the_array(DeliveryFormat::Ndjson, "[{\"who\":\"a\",\"n\":1}]")]
#[case::after_the_header(DeliveryFormat::Csv, "who,n\n")]
#[case::after_a_row(DeliveryFormat::Csv, "who,n\na,1\nb,2\n")]
#[case::within_a_row(DeliveryFormat::Csv, "who,n\na,1\nb")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_end_nobody_said_is_not_delivered(
    #[case] format: DeliveryFormat,
    #[case] begun: &str,
    #[values(false, true)] said_as_an_error: bool,
    #[values(Delivery::Append, Delivery::Replace)] delivery: Delivery,
) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), delivery, &cpu).await;
    process.whole(&rows([7])).await.unwrap();
    let version = process.table.head().version();
    let (sender, pieces) = mpsc::channel(4);
    sender.send(bytes(begun)).await.unwrap();
    if said_as_an_error {
        sender.send(Err(io::Error::from(io::ErrorKind::ConnectionReset))).await.unwrap();
        sender.send(Ok(Piece::End)).await.unwrap();
    }
    drop(sender);
    let refused = process.take(format, pieces).await.unwrap_err();
    assert!(refused.to_string().contains("did not come to its end"), "{refused}");
    assert_eq!((process.read(Space::Raw, "n").await, process.table.head().version()), (vec![7], version));
    assert_eq!(process.read(Space::Quarantine, "_offset").await, [0; 0]);
    // The next one is as if this one had not been.
    assert_eq!(process.whole(&rows([8])).await.unwrap().number, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_holds_nobody_up_and_has_the_number_of_his_commit() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let (sender, pieces) = mpsc::channel(4);
    sender.send(bytes(&rows([1, 2]))).await.unwrap();
    let slow = process.take(DeliveryFormat::Ndjson, pieces);
    let others = async {
        assert_eq!(process.whole(&rows([3])).await.unwrap().number, Some(1));
        assert_eq!(process.whole("{\"n\":4}\n{\"who\":\"w\",\"n\":5}\n").await.unwrap().number, Some(2));
        sender.send(bytes("{\"n\":6}\n")).await.unwrap();
        sender.send(Ok(Piece::End)).await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.unwrap().number, Some(3));
    assert_eq!(process.read(Space::Raw, "n").await, [1, 2, 3, 5]);
    assert_eq!(process.read(Space::Raw, "_partition").await, [1, 2, 3, 3]);
    assert_eq!(process.read(Space::Quarantine, "_partition").await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_content_at_once_are_one_delivery() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let file = rows(0..100);
    let (one, other) = tokio::join!(process.whole(&file), process.whole(&file));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.number, other.number, one.known() != other.known()), (Some(1), Some(1), true));
    assert_eq!(process.read(Space::Raw, "n").await, (0..100).collect::<Vec<_>>());
}

#[rstest]
#[case(Delivery::Append, &[1, 2, 3, 4], &[1, 2])]
#[case(Delivery::Replace, &[3, 4], &[1, 2])]
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_deliver_to_one_table_and_neither_loses_its_work(
    #[case] delivery: Delivery,
    #[case] numbers: &[i64],
    #[case] rejects: &[i64],
) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let one = Process::open(folder.path(), delivery, &cpu).await;
    let other = Process::open(folder.path(), delivery, &cpu).await;
    assert_eq!(one.whole(&format!("{}{{}}\n", rows([1, 2]))).await.unwrap().number, Some(1));
    // What this process knows is from before the other's commit.
    let second = other.whole(&format!("{}{{\"n\":9}}\n", rows([3, 4]))).await.unwrap();
    assert_eq!((second.number, second.known()), (Some(2), false));
    assert!(!one.lake.has_lost_lease() && !other.lake.has_lost_lease());
    assert_eq!(other.read(Space::Raw, "n").await, numbers);
    assert_eq!(other.read(Space::Quarantine, "_partition").await, rejects);
    let again = one.whole(&format!("{}{{\"n\":9}}\n", rows([3, 4]))).await.unwrap();
    assert_eq!((again.number, again.known()), (Some(2), true));
    assert!(!one.lake.has_lost_lease());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deliveries_of_several_processes_at_once_all_arrive_under_numbers_of_their_own() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(Process::open(folder.path(), Delivery::Append, &cpu).await);
    }
    let file = |n: i64| format!("{}{{\"n\":{n}}}\n", rows([n]));
    let deliveries = (0..12).map(|n| {
        let (process, file) = (&processes[n as usize % 3], file(n));
        async move { process.whole(&file).await.unwrap().number.unwrap() }
    });
    let mut numbers = futures::future::join_all(deliveries).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert!(processes.iter().all(|process| !process.lake.has_lost_lease()));
    let fresh = Process::open(folder.path(), Delivery::Append, &cpu).await;
    assert_eq!(fresh.read(Space::Raw, "n").await, (0..12).collect::<Vec<_>>());
    assert_eq!(fresh.read(Space::Raw, "_partition").await, (1..=12).collect::<Vec<_>>());
    assert_eq!(fresh.read(Space::Quarantine, "_partition").await, (1..=12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_only_grow_refuses_a_replacement_at_once_and_nobody_waits() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), Delivery::Replace, &cpu).await;
    process.whole(&rows([1])).await.unwrap();
    let store = Arc::new(DiskStore::new(LocalDisk::shared(), folder.path()));
    let log = DeltaLog::new(store, TableId::new(Space::Raw, DatasetName::new("people").unwrap()).root());
    let head = log.load().await.unwrap().unwrap();
    let mut metadata = head.metadata().clone();
    metadata.configuration.insert("delta.appendOnly".to_owned(), "true".to_owned());
    log.append(&head, Change { metadata: Some(metadata), ..Change::new("SET TBLPROPERTIES", 2) }).await.unwrap();
    let refused = process.whole(&format!("{}{{\"n\":9}}\n", rows([2]))).await.unwrap_err();
    let DeliverError::Lake(LakeError::Delta { source, .. }) = refused else { panic!("{refused}") };
    assert!(source.to_string().contains("append-only"), "{source}");
    assert_eq!(process.read(Space::Raw, "n").await, [1]);
    assert_eq!(process.read(Space::Quarantine, "_offset").await, [0; 0]);
    tokio::time::timeout(WAIT_MAX, process.table.flush()).await.unwrap().unwrap();
}

/// Refuses the first commit that it is asked for.
#[derive(Debug, Default)]
struct Once(AtomicBool);

impl SourceCheck for Once {
    fn may_commit<'a>(&'a self, _: &'a Snapshot, _: &'a std::collections::BTreeMap<TxnId, i64>) -> BoxFuture<'a, bool> {
        Box::pin(async { self.0.swap(true, Ordering::AcqRel) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_failed_for_good_gives_up_its_place_and_its_seal() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let mut reader = process.table.reader(None).await.unwrap();
    reader.take_backlog();
    process.table.check_source(Arc::new(Once::default()));
    process.whole(&rows([1])).await.unwrap_err();
    let increment = tokio::time::timeout(WAIT_MAX, reader.next()).await.expect("nobody waits at its place").unwrap();
    assert!(increment.rows.is_empty() && increment.files.is_empty());
    let seal = increment.seal.unwrap();
    tokio::time::timeout(WAIT_MAX, seal.version()).await.expect("its seal is known");
    assert_eq!(process.read(Space::Raw, "n").await, [0; 0]);
    // What comes after it is taken as ever.
    assert_eq!(process.whole(&rows([1])).await.unwrap().number, Some(1));
    let increment = tokio::time::timeout(WAIT_MAX, reader.next()).await.unwrap().unwrap();
    assert_eq!(increment.files.len(), 1);
}

/// Delivers until it is done or the disk dies; says whether it died.
async fn dies(process: &Process, file: &str, disk: &CrashDisk) -> bool {
    let dead = async {
        while !disk.is_dead() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        delivered = process.whole(file) => assert!(disk.is_dead() || delivered.is_ok(), "{delivered:?}"),
        () = dead => {}
    }
    disk.is_dead()
}

/// Numbers of deliveries with the place of their reject in its file: those that the table holds, by their content.
fn committed(process: &Process, places: &dyn Fn(&str) -> Option<i64>) -> BTreeSet<(i64, i64)> {
    let head = process.table.head();
    let of_content = |app_id: &str| match TxnId::parse(app_id).kind() {
        TxnKind::DeliveredContent { sha256, .. } => places(sha256),
        _ => None,
    };
    head.txns().filter_map(|txn| of_content(&txn.app_id).map(|place| (txn.version, place))).collect()
}

/// The same of what is in quarantine, where nothing is twice.
async fn rejected(process: &Process) -> BTreeSet<(i64, i64)> {
    let pairs = process.read_pairs(Space::Quarantine, "_partition", "_offset").await;
    let all = pairs.len();
    let different: BTreeSet<_> = pairs.into_iter().collect();
    assert_eq!(different.len(), all, "a reject is there twice");
    different
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_a_delivery_that_a_crash_cut_short_are_finished_with_it_or_taken_back(
    #[values(false, true)] another_process: bool,
    #[values(false, true)] with_rejects: bool,
    #[values(Delivery::Append, Delivery::Replace)] delivery: Delivery,
) {
    let (cpu, folder) = (Cpu::with_workers(2).unwrap(), Path::new("/lake"));
    let first = format!("{}{{\"n\":10}}\n", rows([1]));
    let cut = format!("{}{{\"n\":20}}\n", rows([2, 3]));
    let next = if with_rejects { format!("{{\"n\":70}}\n{}", rows([7])) } else { rows([8]) };
    let (mut cut_short, mut kill_after) = (0, 1);
    loop {
        let disk = CrashDisk::new(kill_after);
        let open = || Process::open_on(Arc::new(disk.clone()), folder, delivery, &cpu);
        let process = open().await;
        let of_first = process.whole(&first).await.unwrap().sha256;
        let stale = open().await;
        disk.kill_after(kill_after);
        if !dies(&process, &cut, &disk).await {
            break;
        }
        drop(process);
        disk.crash();
        let fresh = open().await;
        let known = |table: &Table| table.committed_txn(&TxnId::delivery("people"));
        cut_short += u32::from(fresh.table.rejects_txn(&TxnId::delivery("people")) > known(&fresh.table));
        let process = if another_process { &stale } else { &fresh };
        let when = format!("killed at operation {kill_after}, then another file");
        let of_next = process.whole(&next).await.unwrap().sha256;
        let places = |sha256: &str| match sha256 {
            of if of == of_first => Some(1),
            of if of == of_next => with_rejects.then_some(0),
            _ => Some(2),
        };
        let before = committed(process, &places);
        assert_eq!(rejected(process).await, before, "{when}");
        // The file comes again.
        process.whole(&cut).await.unwrap();
        let fresh = open().await;
        let all = &committed(&fresh, &places) | &before;
        assert_eq!(rejected(&fresh).await, all, "{when}, then it again");
        kill_after += 1;
    }
    assert!(cut_short > 0, "no crash came between the two commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_after_a_crash_between_its_two_commits_has_the_number_of_its_rejects() {
    let (cpu, folder) = (Cpu::with_workers(2).unwrap(), Path::new("/lake"));
    let cut = format!("{}{{\"n\":20}}\n", rows([2, 3]));
    let mut finished = 0;
    for kill_after in 1.. {
        let disk = CrashDisk::new(kill_after);
        let open = || Process::open_on(Arc::new(disk.clone()), folder, Delivery::Append, &cpu);
        let process = open().await;
        disk.kill_after(kill_after);
        if !dies(&process, &cut, &disk).await {
            break;
        }
        drop(process);
        disk.crash();
        let fresh = open().await;
        finished += u32::from(fresh.table.rejects_txn(&TxnId::delivery("people")).is_some());
        let delivered = fresh.whole(&cut).await.unwrap();
        assert_eq!(delivered.number, Some(1), "killed at operation {kill_after}");
        assert_eq!(rejected(&fresh).await, BTreeSet::from([(1, 2)]), "killed at operation {kill_after}");
    }
    assert!(finished > 0, "no crash came between the two commits");
}

#[tokio::test]
async fn several_files_are_one_delivery_each_with_its_own_header() {
    let folder = tempfile::tempdir().unwrap();
    let cpu = Cpu::new().unwrap();
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let files = ["who,n\na,1\nb,2\n", "n,who\n3,c\n", "who,n,more\nd,4,x\n,5,\n"];
    let delivered = process.gathered(DeliveryFormat::Csv, &files).await.unwrap();
    assert_eq!((delivered.number, delivered.totals.rows, delivered.totals.rejects), (Some(1), 4, 1));
    assert_eq!(delivered.totals.unnamed, ["more"]);
    assert_eq!(process.read(Space::Raw, "n").await, [1, 2, 3, 4]);
    assert_eq!(process.read(Space::Raw, "_offset").await, [0, 1, 2, 3], "rows are numbered through");
    assert_eq!(process.read(Space::Quarantine, "_offset").await, [4]);
    assert!(process.gathered(DeliveryFormat::Csv, &files).await.unwrap().known());
    // The same bytes cut into other files are another delivery.
    let glued = [format!("{}{}", files[0], "c,3\n")];
    assert!(!process.gathered(DeliveryFormat::Csv, &[&glued[0]]).await.unwrap().known());
}

#[tokio::test]
async fn a_file_of_several_that_cannot_be_read_keeps_all_of_them_out() {
    let folder = tempfile::tempdir().unwrap();
    let cpu = Cpu::new().unwrap();
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let files = ["who,n\na,1\n", "nothing,known\n1,2\n", "who,n\nb,2\n"];
    assert!(process.gathered(DeliveryFormat::Csv, &files).await.is_err());
    assert!(process.read(Space::Raw, "n").await.is_empty());
}

/// Waits in its first look at rows until it is told to go on.
#[derive(Debug)]
struct Waits {
    looks: tokio::sync::mpsc::UnboundedSender<()>,
    go_on: parking_lot::Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl SqlRules for Waits {
    fn violations(&self, _rows: &RecordBatch) -> Vec<Violation> {
        if let Some(go_on) = self.go_on.lock().take() {
            self.looks.send(()).unwrap();
            go_on.recv_timeout(WAIT_MAX).unwrap();
        }
        Vec::new()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_with_the_rejects_of_the_delivery_that_takes_the_place_of_theirs_meanwhile() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), Delivery::Replace, &cpu).await;
    process.whole("{\"who\":\"a\",\"n\":1}\n{\"n\":2}\n{\"n\":3}\n").await.unwrap();
    let (looks, mut looked) = tokio::sync::mpsc::unbounded_channel();
    let (go, go_on) = std::sync::mpsc::channel();
    let sql: Arc<dyn SqlRules> = Arc::new(Waits { looks, go_on: parking_lot::Mutex::new(Some(go_on)) });
    let table = Arc::clone(&process.table);
    let replaying = tokio::spawn(async move {
        let asked = Asked { filter: RejectFilter::default(), dry_run: false, landing: &[] };
        replay(&table, Some(sql), asked, &ReplayProgress::default()).await
    });
    tokio::time::timeout(WAIT_MAX, looked.recv()).await.unwrap().unwrap();
    process.whole("{\"who\":\"b\",\"n\":4}\n{\"n\":5}\n").await.unwrap();
    go.send(()).unwrap();
    let replayed = replaying.await.unwrap().unwrap();
    assert_eq!((replayed.tried.taken, replayed.tried.failed_rows(), replayed.superseded), (1, 1, 2));
}
