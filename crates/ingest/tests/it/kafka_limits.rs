//! What the endpoint holds in memory: requests until their batches are written, answers until they are sent.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vitalake_ingest::kafka::KafkaOptions;
use vitalake_ingest::log::{Log, LogOptions, TopicPartition};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::{CrashDisk, Disk};

use crate::kafka_round_trip::{Served, call, name, produce, receive, send, words};
use crate::support::{Barrier, NOW_MS, batch, checked, options};

/// A produce of about so many bytes that waits for the disk as briefly as is allowed.
fn produce_of(bytes: usize) -> ProduceRequest {
    produce("readings", 0, batch(&["x".repeat(bytes)], None)).with_timeout_ms(1)
}

async fn code(stream: &mut TcpStream, id: i32) -> i16 {
    let answer: ProduceResponse = receive(stream, ApiKey::Produce, 9, id).await;
    answer.responses[0].partition_responses[0].error_code
}

fn log_on(disk: impl Disk, options: LogOptions, partitions: u32) -> Arc<Log> {
    let folder = std::path::Path::new("/data/log");
    let (log, _) = Log::open(Arc::new(disk), folder, options, Clock::manual(NOW_MS)).unwrap();
    log.ensure_topic("readings", partitions).unwrap();
    log
}

fn id(log: &Log, partition: i32) -> TopicPartition {
    TopicPartition::new(log.topic("readings").unwrap().id, partition)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_stands_still_no_more_is_taken_than_the_budget_and_reads_go_on() {
    let barrier = Barrier::default();
    let log = log_on(barrier.disk(CrashDisk::new(4)), options(), 1);
    log.append(id(&log, 0), checked(&words(&["before"]), None)).await.unwrap();
    let kafka = KafkaOptions { total_bytes_max: 100_000, connection_bytes_max: 70_000, ..KafkaOptions::default() };
    let served = Served::start_on(log, kafka).await;
    barrier.close();
    let (mut one, mut other) =
        (TcpStream::connect(served.address).await.unwrap(), TcpStream::connect(served.address).await.unwrap());
    for number in 0..4 {
        send(&mut one, ApiKey::Produce, 9, number, &produce_of(30_000)).await;
    }
    send(&mut other, ApiKey::Produce, 9, 9, &produce_of(30_000)).await;
    // Two fill the connection's budget, three that of all; each is answered that the disk did not answer in time.
    assert_eq!((code(&mut one, 0).await, code(&mut one, 1).await, code(&mut other, 9).await), (7, 7, 7));
    send(&mut other, ApiKey::Produce, 9, 10, &produce_of(30_000)).await;
    let third = timeout(Duration::from_millis(1_500), code(&mut one, 2)).await;
    assert!(third.is_err(), "a third batch was taken while two lie in the queue");
    let second = timeout(Duration::from_millis(200), code(&mut other, 10)).await;
    assert!(second.is_err(), "a fourth batch was taken while three lie in the queue");
    // A consumer is served meanwhile.
    let mut reader = TcpStream::connect(served.address).await.unwrap();
    let answer: FetchResponse = call(&mut reader, ApiKey::Fetch, 12, &fetch(1, 0, 1 << 20)).await;
    assert!(records(&answer)[0] > 0);
    barrier.open();
    drop((one, other, reader));
    served.stop().await;
}

fn fetch(partitions: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let asked = |partition| {
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(16 << 20)
    };
    let topic =
        FetchTopic::default().with_topic(name("readings")).with_partitions((0..partitions).map(asked).collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Bytes of records, partition by partition.
fn records(answer: &FetchResponse) -> Vec<usize> {
    let partitions = &answer.responses[0].partitions;
    partitions.iter().map(|partition| partition.records.as_ref().map_or(0, bytes::Bytes::len)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_over_its_partitions_but_for_its_first_batch() {
    let log = log_on(CrashDisk::new(5), LogOptions { segment_bytes: 1 << 20, ..options() }, 8);
    for partition in 0..8 {
        for _ in 0..2 {
            log.append(id(&log, partition), checked(&["x".repeat(20_000)], None)).await.unwrap();
        }
    }
    let served = Served::start_on(log, KafkaOptions { fetch_bytes_max: 90_000, ..KafkaOptions::default() }).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let mut sizes = Vec::new();
    for bytes_max in [0, 1_000, 30_000, 50_000, i32::MAX] {
        let answer: FetchResponse = call(&mut stream, ApiKey::Fetch, 12, &fetch(8, 0, bytes_max)).await;
        let most = usize::try_from(bytes_max).unwrap().clamp(21_000, 90_000);
        let got = records(&answer);
        assert!(got[0] > 20_000, "the first batch is given whatever the limit: {got:?}");
        assert!(got.iter().sum::<usize>() <= most, "{bytes_max}: {got:?}");
        sizes.push(got.iter().sum::<usize>() / 20_000);
    }
    assert_eq!(sizes, [1, 1, 1, 2, 4]);
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_leave_no_room_for_others_until_they_are_sent() {
    let log = log_on(CrashDisk::new(6), LogOptions { segment_bytes: 64 << 20, ..options() }, 1);
    for _ in 0..4 {
        log.append(id(&log, 0), checked(&["x".repeat(8_000_000)], None)).await.unwrap();
    }
    // More than the buffers of two sockets take.
    let kafka = KafkaOptions {
        fetch_bytes_max: 32 << 20,
        fetch_total_bytes_max: 32 << 20,
        fetch_turn_max: Duration::from_millis(200),
        ..KafkaOptions::default()
    };
    let served = Served::start_on(log, kafka).await;
    let (mut lazy, mut other) =
        (TcpStream::connect(served.address).await.unwrap(), TcpStream::connect(served.address).await.unwrap());
    send(&mut lazy, ApiKey::Fetch, 12, 1, &fetch(1, 0, i32::MAX)).await;
    // Once its answer has begun to come it is made, and its place is taken.
    lazy.readable().await.unwrap();
    let answer: FetchResponse = call(&mut other, ApiKey::Fetch, 12, &fetch(1, 0, i32::MAX)).await;
    assert_eq!((answer.responses[0].partitions[0].error_code, records(&answer)), (0, vec![0]));
    let answer: FetchResponse = receive(&mut lazy, ApiKey::Fetch, 12, 1).await;
    assert!(records(&answer)[0] > 16_000_000);
    let answer: FetchResponse = loop {
        let answer: FetchResponse = call(&mut other, ApiKey::Fetch, 12, &fetch(1, 0, i32::MAX)).await;
        if records(&answer)[0] > 0 {
            break answer;
        }
    };
    assert!(records(&answer)[0] > 16_000_000);
    drop((lazy, other));
    served.stop().await;
}
