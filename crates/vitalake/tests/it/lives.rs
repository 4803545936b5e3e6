//! A life of the platform ends before the next begins, whatever was under way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use vitalake::platform::{Life, Platform, Role, Setup};
use vitalake_lake::{LakeError, Space};
use vitalake_ops::status::DeliveryReport;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::LocalDisk;
use vitalake_serve::platform::{
    ApiError, ByteStream, Datasets as _, Deliveries as _, DeliveryFormat, DeliveryRequest, Flush as _, Status as _,
};

use crate::folders::tick;
use crate::rehearsal::project;

const WITHIN: Duration = Duration::from_secs(60);
const ROWS: u64 = 400;

struct World {
    _folder: tempfile::TempDir,
    data: PathBuf,
    setup: Setup,
    platform: Arc<Platform>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        project::write(&folder.path().join("project"), "storage:\n  commit_interval_ms: 100\n  reserve_bytes: 0\n");
        let checked = project::checked(&folder.path().join("project"));
        let mut config = checked.config.clone().unwrap();
        config.data = folder.path().join("data");
        let data = config.data.clone();
        let setup = project::setup(&Arc::new(checked), config, LocalDisk::shared(), &Cpu::with_workers(2).unwrap());
        let platform = Platform::new(&setup, Role::All);
        Self { _folder: folder, data, setup, platform }
    }

    async fn begin(&self, number: u64) -> Arc<Life> {
        let life = Life::open(&self.setup, Role::All, number).await.unwrap();
        self.platform.begin(&life);
        life.start().await.unwrap();
        life
    }

    fn deliver(&self, body: ByteStream) -> tokio::task::JoinHandle<Result<DeliveryReport, ApiError>> {
        let platform = Arc::clone(&self.platform);
        tokio::spawn(async move {
            platform.deliver("ticks", DeliveryRequest::new("a.ndjson", DeliveryFormat::Ndjson), body).await
        })
    }
}

fn rows_of(life: &Life, space: Space) -> u64 {
    let value = life.lake().pin();
    let mut views = value.tables().filter(|view| view.id.space == space);
    let view = views.next().unwrap();
    view.head.rows().unwrap() + view.tail.row_count()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap_or_else(|_| panic!("not {what} within a minute"));
}

/// How far an upload is when the life ends.
#[derive(Clone, Copy, Debug)]
enum At {
    BeforeItsFirstByte,
    Within,
    /// All bytes are there, and the sender has not said that these were all.
    AfterItsLastByte,
    /// Its end is said; so long ago.
    EndedFor(Duration),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_flight_when_a_life_ends_is_in_the_tables_and_in_what_is_made_of_them_or_refused() {
    let millis = |n| At::EndedFor(Duration::from_millis(n));
    for at in [
        At::BeforeItsFirstByte,
        At::Within,
        At::AfterItsLastByte,
        millis(0),
        millis(2),
        millis(5),
        millis(10),
        millis(20),
        millis(40),
        millis(80),
    ] {
        let world = World::new();
        let first = world.begin(1).await;
        let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(8);
        let body = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let delivering = world.deliver(body.boxed());
        let lines: Vec<String> = (0..ROWS).map(|n| tick(n as i64, "")).collect();
        let (half, rest) = lines.split_at(lines.len() / 2);
        let send = async |lines: &[String]| {
            sender.send(Ok(Bytes::from(lines.join("\n") + "\n"))).await.unwrap();
            until("taken", || sender.capacity() == sender.max_capacity()).await;
        };
        if !matches!(at, At::BeforeItsFirstByte) {
            send(half).await;
        }
        if matches!(at, At::AfterItsLastByte | At::EndedFor(_)) {
            send(rest).await;
        }
        let sender = match at {
            At::EndedFor(since) => {
                drop(sender);
                tokio::time::sleep(since).await;
                None
            }
            _ => Some(sender),
        };
        world.platform.leave();
        tokio::time::timeout(WITHIN, first.end()).await.unwrap();
        let second = world.begin(2).await;
        // Only now does the sender go on, to whom there was no reason to stop.
        drop(sender);
        let outcome = delivering.await.unwrap();
        until("ready", || second.is_ready()).await;
        second.commit_everything().await.unwrap();
        let (raw, curated) = (rows_of(&second, Space::Raw), rows_of(&second, Space::Curated));
        match &outcome {
            Ok(report) => assert_eq!((report.accepted, raw), (ROWS, ROWS), "{at:?}"),
            Err(ApiError::Unavailable(said)) => assert!(said.contains("again"), "{at:?}: {said}"),
            Err(other) => panic!("{at:?}: {other:?}"),
        }
        assert_eq!(raw, curated, "{at:?}: a delivery was passed over");
        if !matches!(at, At::EndedFor(_)) {
            assert!(outcome.is_err() && raw == 0, "{at:?}: {outcome:?}");
        }
        second.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_life_commits_after_its_end_and_its_work_folder_is_gone() {
    let world = World::new();
    let first = world.begin(1).await;
    let (_sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(1);
    let body = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let delivering = world.deliver(body.boxed());
    // What holds a life for longer, as a status or a flush does, does not hold up its end.
    let (held, flushing) = (Arc::clone(&first), Arc::clone(&world.platform));
    let flushing = tokio::spawn(async move { flushing.flush().await });
    world.platform.leave();
    tokio::time::timeout(WITHIN, first.end()).await.unwrap();
    assert!(matches!(delivering.await.unwrap(), Err(ApiError::Unavailable(_))));
    let _flushed_or_stopped = tokio::time::timeout(WITHIN, flushing).await.unwrap();
    for table in held.lake().tables() {
        let version = table.head().version();
        assert!(matches!(table.flush().await, Ok(_) | Err(LakeError::Stopped { .. })));
        assert_eq!(table.head().version(), version, "{} went on", table.id());
    }
    assert!(!world.data.join("work/life-1").exists());
    let second = world.begin(2).await;
    assert!(!world.data.join("work/life-1").exists(), "the first life writes on");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_lives_every_question_is_answered_with_what_is_waited_for() {
    let world = World::new();
    let asked = async |world: &World| {
        let waits = "tables and the source of records to be opened".to_owned();
        assert_eq!(world.platform.pin().err(), Some(vec![waits.clone()]));
        assert_eq!(world.platform.readiness().waiting_for, [waits]);
        let status = world.platform.status().await;
        assert_eq!((status.ready, status.role.as_str(), status.datasets.len()), (false, "all", 0));
        assert_eq!(status.name, "rehearsal");
        assert!(matches!(world.platform.flush().await, Err(ApiError::Unavailable(_))));
        let outcome = world.deliver(futures::stream::empty().boxed()).await.unwrap();
        assert!(matches!(outcome, Err(ApiError::Unavailable(said)) if said.contains("is starting")));
    };
    world.setup.outside.note_kafka("the token endpoint answered 401");
    asked(&world).await;
    let status = world.platform.status().await;
    assert_eq!(
        (status.away[0].part.as_str(), status.away[0].reason.as_str()),
        ("Kafka", "the token endpoint answered 401")
    );
    let life = world.begin(1).await;
    until("ready", || world.platform.is_ready()).await;
    assert!(world.platform.pin().is_ok());
    world.platform.leave();
    life.end().await;
    asked(&world).await;
}
