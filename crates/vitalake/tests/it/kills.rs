//! The real process under load, killed at random moments: SIGKILL, start, again.
//!
//! `VITALAKE_SOAK_KILLS` sets how often. Kill → ready is measured and printed, never judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vitalake::simulate::client::{Outgoing, Producer};

use crate::rehearsal::server::{Place, Refused};
use crate::rehearsal::truth::{Record, Ticks, Truth};
use crate::rehearsal::{Dice, project};

const KILLS_DEFAULT: u64 = 5;
const BATCH_RECORDS_MAX: u64 = 200;

/// What an idempotent producer sent until it was told to stop; each batch again until it was acknowledged.
pub async fn produce(kafka: &str, seed: u64, stop: &AtomicBool, sent: &AtomicU64, records_max: u64) -> Vec<Record> {
    let mut producer = Producer::connect(kafka, &[project::TOPIC]).await.unwrap();
    let mut sources: Vec<Ticks> = (0..project::PARTITIONS).map(|partition| Ticks::new(seed, partition)).collect();
    let (mut dice, mut acknowledged) = (Dice::new(seed), Vec::new());
    while !stop.load(Ordering::SeqCst) {
        let (mut batches, mut records) = (BTreeMap::new(), Vec::new());
        for (partition, source) in (0..).zip(&mut sources) {
            let made: Vec<Record> = (0..=dice.below(records_max)).map(|_| source.make()).collect();
            batches.insert((project::TOPIC.to_owned(), partition), made.iter().map(outgoing).collect());
            records.extend(made);
        }
        sent.fetch_add(records.len() as u64, Ordering::SeqCst);
        producer.send(batches).await.unwrap();
        acknowledged.extend(records);
    }
    acknowledged
}

pub fn outgoing(record: &Record) -> Outgoing {
    Outgoing { key: Bytes::from_static(b"key"), value: record.bytes().into(), timestamp_ms: 1_767_225_600_000 }
}

const LOOK: &str = "SELECT 0, COUNT(*) FROM raw.ticks UNION ALL SELECT 1, COUNT(*) FROM quarantine.ticks \
    UNION ALL SELECT 2, COUNT(*) FROM curated.ticks_once \
    UNION ALL SELECT 3, COALESCE(SUM(ticks), 0) FROM serving.ticks_hourly_live";

/// Counts of raw, quarantine, curated and serving, of one moment.
fn look(place: &Place) -> Result<[i64; 4], Refused> {
    let mut counts = [0; 4];
    for row in place.ask(LOOK)? {
        counts[row[0].as_u64().unwrap() as usize] = row[1].as_i64().unwrap();
    }
    Ok(counts)
}

/// A reader that looks until it is told to stop. Answers how often it saw something.
fn watch(place: &Place, stop: &AtomicBool, sent: &AtomicU64) -> u64 {
    let (mut floor, mut looks) = ([0; 4], 0);
    while !stop.load(Ordering::SeqCst) {
        match look(place) {
            Ok(counts) => {
                let sent = sent.load(Ordering::SeqCst) as i64;
                assert!(counts.iter().zip(floor).all(|(now, before)| *now >= before), "{counts:?} after {floor:?}");
                assert!(counts[0] + counts[1] <= sent, "{counts:?} of {sent}");
                assert!(counts[2] <= counts[0] && counts[3] <= counts[2], "{counts:?}");
                (floor, looks) = (counts, looks + 1);
            }
            Err(Refused::Wrong(what)) => panic!("a query was refused: {what}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    looks
}

/// Waits until everything has arrived, then counts and adds up every layer.
pub fn everything_is_there_once(place: &Place, records: &[Record]) {
    let truth = Truth::of(records.iter());
    place.until("landed", || look(place).is_ok_and(|counts| counts[0] + counts[1] >= records.len() as i64));
    assert!(place.flush(), "{}", place.said());
    let raw = place.numbers("SELECT COUNT(*), COUNT(DISTINCT n), SUM(n) FROM raw.ticks");
    let count = truth.raw.len() as i64;
    assert_eq!(raw, [count, count, truth.raw.iter().sum()]);
    assert_eq!(place.numbers("SELECT COUNT(*) FROM quarantine.ticks"), [truth.rejected.len() as i64]);
    let curated = place.numbers("SELECT COUNT(*), COUNT(DISTINCT tick_id), SUM(steps) FROM curated.ticks_once");
    let count = truth.curated.len() as i64;
    let steps: i64 = truth.curated.values().map(|tick| tick.steps).sum();
    assert_eq!(curated, [count, count, steps]);
    assert_eq!(place.numbers("SELECT COUNT(*) FROM quarantine.ticks_once"), [truth.conflicts as i64]);
    for table in ["serving.ticks_hourly", "serving.ticks_hourly_live"] {
        let hourly = place.numbers(&format!("SELECT COUNT(*), SUM(ticks), SUM(steps) FROM {table}"));
        assert_eq!(hourly, [truth.hourly.len() as i64, count, steps], "{table}");
    }
}

#[test]
fn soak() {
    let kills: u64 = std::env::var("VITALAKE_SOAK_KILLS").map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let project_folder = folder.path().join("project");
    project::write(&project_folder, "storage:\n  commit_interval_ms: 300\n");
    let place = Place::new(&project_folder, &folder.path().join("data"), &folder.path().join("log.txt"))
        .set("VITALAKE_STORAGE__RESERVE_BYTES", 0);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut server = place.start().ready();
    let producing = {
        let (kafka, stop, sent) = (place.kafka.clone(), Arc::clone(&stop), Arc::clone(&sent));
        runtime.spawn(async move { produce(&kafka, kills, &stop, &sent, BATCH_RECORDS_MAX).await })
    };
    let watching = {
        let (place, stop, sent) = (place.clone(), Arc::clone(&stop), Arc::clone(&sent));
        std::thread::spawn(move || watch(&place, &stop, &sent))
    };
    let (mut dice, mut took) = (Dice::new(kills), Vec::new());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(100 + dice.below(1_000)));
        server.kill();
        let killed = Instant::now();
        server = place.start();
        // Some die again before they are ready.
        if dice.once_in(4) {
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            continue;
        }
        server = server.ready();
        took.push(killed.elapsed());
    }
    let server = server.ready();
    stop.store(true, Ordering::SeqCst);
    let records = runtime.block_on(producing).unwrap();
    let looks = watching.join().unwrap();
    everything_is_there_once(&place, &records);
    server.kill();
    let server = place.start().ready();
    everything_is_there_once(&place, &records);
    server.stop();
    took.sort_unstable();
    println!(
        "{kills} kills, {} records acknowledged, {looks} looks; SIGKILL to ready: median {:?}, most {:?}",
        records.len(),
        took.get(took.len() / 2),
        took.last()
    );
    assert!(looks > 0 && !records.is_empty());
}
