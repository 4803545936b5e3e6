//! Storage that is full or read-only for a while: nothing acknowledged is lost, the cause is said, and it goes on by
//! itself. On file systems of their own in memory, which only root may mount: skipped in words elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::protocol::StrBytes;
use vitalake_ingest::kafka::client::Connection;
use vitalake_ingest::log::BatchBuilder;

use crate::kills::{everything_is_there_once, produce};
use crate::rehearsal::project;
use crate::rehearsal::server::Place;

const KAFKA_STORAGE_ERROR: i16 = 56;

/// A file system in memory; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`, and said why, where it cannot be mounted.
    fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        if mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], at) {
            return Some(Self(at.to_owned()));
        }
        println!("skipped: a tmpfs cannot be mounted here; run as root to try a full disk");
        None
    }

    /// Whether that was possible.
    fn remount(&self, how: &str) -> bool {
        mount(&["-o", &format!("remount,{how}")], &self.0)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount").args(arguments).arg(at).output().is_ok_and(|ended| ended.status.success())
}

/// The answer to one batch of a record that is no JSON, sent to a partition without a producer id.
async fn answer_to_one_batch(kafka: &str) -> i16 {
    let mut batch = BatchBuilder::new();
    batch.push(0, None, Some(b"no json"));
    let mut records = BytesMut::new();
    records.extend_from_slice(&batch.build(None));
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records.freeze()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(project::TOPIC)))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    let mut connection = Connection::open(kafka, "vitalake-test", 30).await.unwrap();
    let answer = connection.call(9, &request).await.unwrap();
    answer.responses[0].partition_responses[0].error_code
}

struct Producing {
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Vec<crate::rehearsal::truth::Record>>,
}

impl Producing {
    fn start(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (kafka, told, counted) = (place.kafka.clone(), Arc::clone(&stop), Arc::clone(&sent));
        let task = runtime.spawn(async move { produce(&kafka, 9, &told, &counted, 2_000).await });
        Self { runtime, stop, sent, task }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    fn stop(self) -> Vec<crate::rehearsal::truth::Record> {
        self.stop.store(true, Ordering::SeqCst);
        self.runtime.block_on(self.task).unwrap()
    }
}

#[test]
fn a_full_disk_refuses_for_a_while_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::new(&folder.path().join("disk"), "64m") else { return };
    let project_folder = folder.path().join("project");
    project::write(&project_folder, "storage:\n  commit_interval_ms: 200\n");
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 44 << 20]).unwrap();
    let place = Place::new(&project_folder, &disk.0.join("data"), &folder.path().join("log.txt"))
        .set("VITALAKE_STORAGE__RESERVE_BYTES", 12 << 20);
    let server = place.start().ready();
    let producing = Producing::start(&place);
    place.until("full", || place.said().contains("below storage.reserve_bytes"));
    place.until("said in the status", || place.troubles().contains("below storage.reserve_bytes"));
    assert_eq!(producing.runtime.block_on(answer_to_one_batch(&place.kafka)), KAFKA_STORAGE_ERROR);
    assert!(place.ask("SELECT COUNT(*) FROM raw.ticks").is_ok(), "reads go on");
    let before = producing.sent();
    std::fs::remove_file(&ballast).unwrap();
    place.until("going on", || producing.sent() > before);
    let records = producing.stop();
    everything_is_there_once(&place, &records);
    assert_eq!(place.troubles(), "");
    server.kill();
    let server = place.start().ready();
    everything_is_there_once(&place, &records);
    server.stop();
}

#[test]
fn storage_that_turns_read_only_delays_commits_and_no_producer() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::new(&folder.path().join("lake"), "256m") else { return };
    let project_folder = folder.path().join("project");
    project::write(&project_folder, "storage:\n  commit_interval_ms: 200\n");
    let place = Place::new(&project_folder, &folder.path().join("data"), &folder.path().join("log.txt"))
        .set("VITALAKE_STORAGE__URL", disk.0.display())
        .set("VITALAKE_STORAGE__RESERVE_BYTES", 0);
    let server = place.start().ready();
    let producing = Producing::start(&place);
    place.until("committed", || place.numbers("SELECT COUNT(*) FROM raw.ticks")[0] > 0 && place.flush());
    if !disk.remount("ro") {
        println!("skipped: the tmpfs cannot be mounted read-only");
        return;
    }
    let before = producing.sent();
    place.until("said in the status", || place.troubles().contains("Read-only file system"));
    assert!(place.said().contains("Read-only file system"), "{}", place.said());
    place.until("producing on", || producing.sent() > before + 1_000);
    // A restart that finds its storage read-only must not lose anything either.
    std::thread::sleep(Duration::from_millis(200));
    assert!(disk.remount("rw"));
    let records = producing.stop();
    everything_is_there_once(&place, &records);
    place.until("well again", || place.troubles().is_empty());
    server.kill();
    let server = place.start().ready();
    everything_is_there_once(&place, &records);
    server.stop();
}
