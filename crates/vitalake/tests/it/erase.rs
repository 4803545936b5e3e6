//! A person is erased from a project with everything in it: log, tail, tables, quarantine, models of each kind, held
//! deliveries, older versions. The proof here is its own: every byte below the data folder, Parquet decoded by DataFusion.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::StreamExt as _;
use vitalake::platform::{Life, Platform, Role, Setup, carry_out_due, erase_here};
use vitalake_ingest::log::{BatchBuilder, CheckedBatch, TopicPartition};
use vitalake_lake::Space;
use vitalake_ops::books::DatasetBooks;
use vitalake_ops::erasures::{DONE, EraseRequest, Receipt};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{CrashDisk, Disk, LocalDisk};
use vitalake_serve::platform::{Deliveries as _, DeliveryFormat, DeliveryRequest, Flush as _, Status as _};

use crate::rehearsal::process::ProcessDisk;
use crate::rehearsal::project;

const WITHIN: Duration = Duration::from_secs(60);
/// Hours of ticks that each device sends.
const HOURS: i64 = 6;

struct World {
    folder: PathBuf,
    data: PathBuf,
    setup: Setup,
    platform: Arc<Platform>,
}

impl World {
    fn new(folder: &Path) -> Self {
        write_project(&folder.join("project"));
        Self::on(folder, &folder.join("data"), LocalDisk::shared())
    }

    fn on(folder: &Path, data: &Path, disk: Arc<dyn Disk>) -> Self {
        let checked = project::checked(&folder.join("project"));
        let mut config = checked.config.clone().unwrap();
        config.data = data.to_path_buf();
        let setup = project::setup(&Arc::new(checked), config, disk, &Cpu::with_workers(2).unwrap());
        let platform = Platform::new(&setup, Role::All);
        Self { folder: folder.to_path_buf(), data: data.to_path_buf(), setup, platform }
    }

    async fn begin(&self, number: u64) -> Arc<Life> {
        let life = Life::open(&self.setup, Role::All, number).await.unwrap();
        self.platform.begin(&life);
        life.start().await.unwrap();
        life
    }

    async fn close(&self, life: Arc<Life>) {
        self.platform.leave();
        life.close().await;
    }

    /// One tick an hour of each of these, and a record of each that no contract accepts.
    async fn send(&self, life: &Life, devices: &[&str], round: i64) {
        let log = life.log().unwrap();
        let topic = log.topic(project::TOPIC).unwrap().id;
        let mut batch = BatchBuilder::new();
        for device in devices {
            for hour in 0..HOURS {
                let tick = tick(device, round * HOURS + hour);
                batch.push(1_767_225_600_000, Some(device.as_bytes()), Some(tick.as_bytes()));
            }
            let broken = serde_json::json!({"device": device, "n": "none"}).to_string();
            batch.push(1_767_225_600_000, None, Some(broken.as_bytes()));
        }
        log.append(TopicPartition::new(topic, 0), CheckedBatch::new(batch.build(None)).unwrap()).await.unwrap();
        let report = tokio::time::timeout(WITHIN, self.landed(life)).await.unwrap();
        assert!(report.is_empty(), "{report:?}");
    }

    async fn landed(&self, life: &Life) -> Vec<vitalake_ops::status::Behind> {
        while !self.platform.is_ready() || self.books_of("raw.ticks").await.waiting != Some(0) {
            life.commit_everything().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        life.commit_everything().await.unwrap()
    }

    async fn deliver(&self, name: &str, lines: &str) {
        let body = futures::stream::iter([Ok(Bytes::from(lines.to_owned()))]).boxed();
        let request = DeliveryRequest::new(name, DeliveryFormat::Ndjson);
        self.platform.deliver("visits", request, body).await.unwrap();
        self.platform.flush().await.unwrap();
    }

    async fn books_of(&self, dataset: &str) -> DatasetBooks {
        let all = self.platform.books(None).await.unwrap();
        all.into_iter().find(|books| books.dataset == dataset).unwrap()
    }

    async fn erase(&self, id: &str) -> Receipt {
        let request = EraseRequest { subject: id.to_owned(), dry_run: false, by: "maria".to_owned() };
        erase_here(&self.setup, &request).await.unwrap()
    }
}

fn tick(device: &str, n: i64) -> String {
    let at = format!("2026-01-{:02}T{:02}:30:00Z", 1 + n / 24, n % 24);
    serde_json::json!({"n": n, "tick_id": format!("{device}/{n}"), "device": device, "at": at, "steps": n}).to_string()
}

fn write_project(folder: &Path) {
    project::write(folder, "storage:\n  commit_interval_ms: 100\n  reserve_bytes: 0\n");
    let subject = "        customProperties: [{property: subject, value: true}]\n";
    for layer in ["raw/ticks", "curated/ticks_once", "serving/ticks_hourly"] {
        let path = folder.join(format!("contracts/{layer}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let column = "      - name: device\n        logicalType: string\n        required: true\n";
        assert!(text.contains(column));
        std::fs::write(&path, text.replace(column, &format!("{column}{subject}"))).unwrap();
    }
    let contract = |name: &str, id: u8, properties: &str, rest: &str| {
        format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-0000000000{id:02}\nname: {name}\n\
             version: 1.0.0\nstatus: active\nschema:\n  - name: {name}\n    physicalType: table\n    properties:\n{properties}{rest}"
        )
    };
    let device = format!("      - name: device\n        logicalType: string\n        required: true\n{subject}");
    let key = "        primaryKey: true\n        primaryKeyPosition: 1\n";
    let visits = format!("{device}      - name: note\n        logicalType: string\n");
    let feed = "customProperties:\n  - property: source\n    value: feed\n";
    let last = format!(
        "      - name: device\n        logicalType: string\n        required: true\n{key}{subject}\
         \x20     - name: at\n        logicalType: timestamp\n        required: true\n      - name: steps\n        logicalType: integer\n"
    );
    let totals = "      - name: hour\n        logicalType: timestamp\n        required: true\n        primaryKey: true\n        primaryKeyPosition: 1\n\
                  \x20     - name: ticks\n        logicalType: integer\n        required: true\n";
    for (path, text) in [
        ("contracts/raw/visits.yaml", contract("visits", 11, &visits, feed)),
        ("contracts/curated/devices_last.yaml", contract("devices_last", 12, &last, "")),
        ("contracts/serving/ticks_total.yaml", contract("ticks_total", 13, totals, "")),
        (
            "models/curated/devices_last.sql",
            "-- kind: upsert\n-- key: device\n-- sequence: at\nSELECT device, at, steps FROM raw.ticks\n".to_owned(),
        ),
        (
            "models/serving/ticks_total.sql",
            "-- kind: rollup\n-- time: hour\nSELECT date_trunc('hour', at) AS hour, COUNT(*) AS ticks\n\
             FROM curated.ticks_once\nGROUP BY date_trunc('hour', at)\n"
                .to_owned(),
        ),
    ] {
        std::fs::write(folder.join(path), text).unwrap();
    }
}

/// The files below a folder, with their bytes.
fn files_of(disk: &dyn Disk, folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in disk.list(folder).unwrap() {
        if entry.is_dir {
            files.extend(files_of(disk, &entry.path));
            continue;
        }
        let file = disk.open(&entry.path, false).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        files.push((entry.path.display().to_string(), bytes));
    }
    files
}

/// The files that hold a text, as it is or in a Parquet column, or as JSON has escaped it.
fn holds_in(files: &[(String, Vec<u8>)], text: &str) -> Vec<String> {
    let escaped = serde_json::to_string(text).unwrap();
    let escaped = escaped.trim_matches('"');
    let twice = serde_json::to_string(escaped).unwrap();
    let forms = [text, escaped, twice.trim_matches('"')];
    let in_bytes = |bytes: &[u8]| {
        let shown = String::from_utf8_lossy(bytes);
        // `p1` is not in `p12`.
        let is_another = |end: usize| shown[end..].starts_with(|next: char| next.is_ascii_alphanumeric());
        forms.iter().any(|form| shown.match_indices(form).any(|(at, found)| !is_another(at + found.len())))
    };
    let named = |(path, bytes): &&(String, Vec<u8>)| {
        if in_bytes(bytes) || in_bytes(path.as_bytes()) {
            return true;
        }
        if !bytes.starts_with(b"PAR1") {
            return false;
        }
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone())).unwrap().build().unwrap();
        reader.any(|batch| {
            let batch = batch.unwrap();
            let binary = batch.columns().iter().filter_map(|column| column.as_binary_opt::<i32>());
            let mut lines = LineDelimitedWriter::new(Vec::new());
            lines.write(&batch).unwrap();
            in_bytes(&lines.into_inner()) || binary.flat_map(|values| values.iter().flatten()).any(in_bytes)
        })
    };
    files.iter().filter(named).map(|(path, _)| path.clone()).collect()
}

fn holds(folder: &Path, text: &str) -> Vec<String> {
    holds_in(&files_of(LocalDisk::shared().as_ref(), folder), text)
}

fn rows_of(life: &Life, space: Space, dataset: &str) -> u64 {
    let value = life.lake().pin();
    let view = value.tables().find(|view| view.id.space == space && view.id.dataset.as_str() == dataset).unwrap();
    view.head.rows().unwrap() + view.tail.row_count()
}

#[rstest::rstest]
#[case::plain("dev-0001", "dev-00012")]
#[case::quotes_and_percents("O'Brien \"100%\" \\ 50%41", "O'Brien \"100%\" \\ 50%412")]
#[case::unicode("Zoë Åström 🙂", "Zoë Åström 🙂x")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_person_is_left_and_everything_of_others_is(#[case] id: &str, #[case] near: &str) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let life = world.begin(1).await;
    let devices = [id, near, "other-7"];
    for round in 0..3 {
        world.send(&life, &devices, round).await;
    }
    let visit = |of: &str, note: &str| serde_json::json!({"device": of, "note": note}).to_string() + "\n";
    let lines = visit(id, "came") + &visit(near, "came too") + &visit("other-7", &format!("saw {id} there"));
    world.deliver("visits.ndjson", &lines).await;
    world.close(life).await;
    assert!(!holds(&world.data, id).is_empty());

    let receipt = world.erase(id).await;
    assert_eq!((receipt.state.as_str(), &receipt.reasons), (DONE, &Vec::new()));
    assert_eq!(holds(&world.data, id), Vec::<String>::new());
    assert!(!holds(&world.data, near).is_empty());
    let text = serde_json::to_string(&receipt).unwrap();
    assert!(!text.contains(id) && receipt.log.records == 3 * (HOURS as u64 + 1), "{text}");

    // The others' rows are there, and the sums are as if the person had never been.
    let life = world.begin(3).await;
    world.landed(&life).await;
    let ticks = 3 * HOURS as u64;
    assert_eq!(rows_of(&life, Space::Raw, "ticks"), 2 * ticks);
    assert_eq!(rows_of(&life, Space::Quarantine, "ticks"), 2 * 3);
    assert_eq!(rows_of(&life, Space::Curated, "ticks_once"), 2 * ticks);
    assert_eq!(rows_of(&life, Space::Curated, "devices_last"), 2);
    assert_eq!(rows_of(&life, Space::Serving, "ticks_hourly"), 2 * ticks);
    assert_eq!(rows_of(&life, Space::Serving, "ticks_total"), ticks);
    assert_eq!(rows_of(&life, Space::Raw, "visits"), 2);
    let erased = (world.books_of("raw.ticks").await.erased, world.books_of("raw.visits").await.erased);
    assert_eq!(erased, (i64::try_from(ticks).unwrap() + 3, 1));
    for dataset in ["raw.ticks", "raw.visits", "curated.ticks_once"] {
        let books = world.books_of(dataset).await;
        assert!(books.balanced, "{books:?}");
    }

    // What comes later is refused, and counted.
    world.send(&life, &[id, "other-7"], 3).await;
    world.deliver("more.ndjson", &(visit(id, "again") + &visit("other-8", "new"))).await;
    assert_eq!(rows_of(&life, Space::Raw, "ticks"), 2 * ticks + HOURS as u64);
    assert_eq!(rows_of(&life, Space::Raw, "visits"), 3);
    let books = (world.books_of("raw.ticks").await, world.books_of("raw.visits").await);
    assert_eq!((books.0.erased, books.1.erased), (erased.0 + HOURS + 1, erased.1 + 1));
    assert!(books.0.balanced && books.1.balanced, "{books:?}");
    world.close(life).await;

    // A second time, with what has come since in the log.
    let receipt = world.erase(id).await;
    assert_eq!((receipt.state.as_str(), receipt.number), (DONE, 1));
    assert_eq!(holds(&world.data, id), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backup_brings_back_is_erased_again_before_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let life = world.begin(1).await;
    world.send(&life, &["dev-0001", "dev-0002"], 0).await;
    world.close(life).await;
    let copy = |from: &str, to: &str| {
        let (from, to) = (world.folder.join(from), world.folder.join(to));
        let _gone = std::fs::remove_dir_all(&to);
        assert!(std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
    };
    for part in ["lake", "log"] {
        copy(&format!("data/{part}"), &format!("backup-{part}"));
    }
    assert_eq!(world.erase("dev-0001").await.state, DONE);
    for part in ["lake", "log"] {
        copy(&format!("backup-{part}"), &format!("data/{part}"));
        assert!(!holds(&world.data, "dev-0001").is_empty());
        carry_out_due(&world.setup, Role::All, &mut 1).await;
        assert_eq!(holds(&world.data, "dev-0001"), Vec::<String>::new(), "{part}");
        assert!(!holds(&world.data, "dev-0002").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_erased_is_refused_also_where_the_data_folder_has_forgotten_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let life = world.begin(1).await;
    world.send(&life, &["dev-0001", "dev-0002"], 0).await;
    world.close(life).await;
    assert_eq!(world.erase("dev-0001").await.state, DONE);
    // The folder goes, and with it what says whom to refuse; the lake has it too.
    std::fs::remove_dir_all(world.data.join("erasures")).unwrap();
    carry_out_due(&world.setup, Role::All, &mut 1).await;
    let life = world.begin(2).await;
    world.send(&life, &["dev-0001", "dev-0002"], 1).await;
    assert_eq!(rows_of(&life, Space::Raw, "ticks"), 2 * HOURS as u64, "only the other's rows came in");
    world.close(life).await;
    assert_eq!(world.erase("dev-0001").await.number, 1, "the same person goes on under the same number");

    // And a lake that comes from a time before is told.
    std::fs::remove_dir_all(world.data.join("lake/erasures")).unwrap();
    carry_out_due(&world.setup, Role::All, &mut 2).await;
    assert!(world.data.join("lake/erasures/000001.json").exists());
    assert_eq!(holds(&world.data.join("lake"), "maria"), Vec::<String>::new(), "who asked for it stays here");
    let other =
        std::fs::read(world.data.join("lake/erasures/key")).unwrap().iter().map(|byte| !byte).collect::<Vec<_>>();
    std::fs::write(world.data.join("lake/erasures/key"), other).unwrap();
    let request = EraseRequest { subject: "dev-0002".to_owned(), dry_run: false, by: "maria".to_owned() };
    let refused = erase_here(&world.setup, &request).await.unwrap_err();
    assert!(format!("{refused:#}").contains("made under different keys"), "{refused:#}");
}

/// Operations of the disk between two moments at which it dies.
const STEP: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_is_killed_at_any_operation_is_done_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    write_project(&folder.path().join("project"));
    let (disk, data) = (CrashDisk::new(4711), Path::new("/data"));
    let (mut operations, mut round, mut done_late) = (1, 0, 0);
    loop {
        round += 1;
        let person = format!("dev-{round:04}");
        let process = ProcessDisk::new(&disk);
        let world = World::on(folder.path(), data, Arc::clone(&process) as _);
        let life = world.begin(1).await;
        world.send(&life, &[&person, "other-7"], round).await;
        world.close(life).await;
        disk.kill_after(operations);
        let dead = async {
            while process.is_alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let request = EraseRequest { subject: person.clone(), dry_run: false, by: "maria".to_owned() };
        let answered = tokio::select! {
            receipt = erase_here(&world.setup, &request) => receipt.is_ok_and(|receipt| receipt.state == DONE),
            () = dead => false,
        };
        process.end();
        drop(world);
        disk.crash();

        let process = ProcessDisk::new(&disk);
        let world = World::on(folder.path(), data, Arc::clone(&process) as _);
        let is_kept =
            files_of(&disk, data).iter().any(|(path, _)| path.ends_with(&format!("/erasures/{round:06}.json")));
        carry_out_due(&world.setup, Role::All, &mut 0).await;
        if is_kept {
            assert_eq!(
                holds_in(&files_of(&disk, data), &person),
                Vec::<String>::new(),
                "after {operations} operations"
            );
            done_late += i64::from(!answered);
        } else {
            // Nobody was told that it would be done.
            assert!(!answered);
            assert_eq!(world.erase(&person).await.state, DONE);
        }
        let life = world.begin(1).await;
        world.landed(&life).await;
        assert_eq!(
            rows_of(&life, Space::Raw, "ticks"),
            (round * HOURS).cast_unsigned(),
            "after {operations} operations"
        );
        let books = world.books_of("raw.ticks").await;
        assert!(books.balanced, "after {operations} operations: {books:?}");
        world.close(life).await;
        process.end();
        disk.crash();
        if answered {
            break;
        }
        operations += STEP;
    }
    assert!(done_late > 0, "at no operation did the next start have anything to do");
}
