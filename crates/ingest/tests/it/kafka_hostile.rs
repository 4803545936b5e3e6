//! Frames that claim more than they hold: the connection is answered or closed, and everyone else is served on.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vitalake_ingest::kafka::KafkaOptions;

use crate::kafka_round_trip::{Served, call};

fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut payload = BytesMut::new();
    payload.put_i16(api);
    payload.put_i16(version);
    payload.put_i32(7);
    payload.put_i16(1);
    payload.put_slice(b"x");
    payload.put_slice(body);
    let mut out = (payload.len() as i32).to_be_bytes().to_vec();
    out.extend_from_slice(&payload);
    out
}

fn produce_that_claims_all_records() -> Vec<u8> {
    let mut after = BytesMut::new();
    after.put_i16(0);
    after.put_i32(i32::MAX - 1);
    for _ in 0..3 {
        after.put_i64(0);
    }
    after.put_i16(-1);
    after.put_i32(-1);
    after.put_i32(i32::MAX);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(49);
    batch.put_i32(0);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&after));
    batch.put_slice(&after);
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(-1);
    body.put_i32(5000);
    body.put_i32(1);
    body.put_i16(8);
    body.put_slice(b"readings");
    body.put_i32(1);
    body.put_i32(0);
    body.put_i32(batch.len() as i32);
    body.put_slice(&batch);
    frame(0, 3, &body)
}

async fn shoot(served: &Served, shot: &[u8]) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let _ = stream.write_all(shot).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

async fn still_serves(served: &Served) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let answer: MetadataResponse =
        call(&mut stream, ApiKey::Metadata, 1, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(answer.topics.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_not_believed() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut long = i32::MAX.to_be_bytes().to_vec();
    long.extend_from_slice(&[0; 64]);
    let mut negative = (-5i32).to_be_bytes().to_vec();
    negative.extend_from_slice(&[0; 64]);
    let shots = [
        frame(3, 1, &i32::MAX.to_be_bytes()),
        frame(3, 9, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        produce_that_claims_all_records(),
        long,
        negative,
        frame(9999, 0, b""),
        frame(0, 99, b""),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        frame(0, 3, &[]),
    ];
    for shot in &shots {
        shoot(&served, shot).await;
        still_serves(&served).await;
    }
    let topic = served.log.topic("readings").unwrap().id;
    assert_eq!(
        served.log.durable_end(vitalake_ingest::log::TopicPartition::new(topic, 0)).unwrap(),
        0,
        "nothing of theirs was taken"
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_in_every_request_kind_never_ends_the_server() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..600 {
        let api = [0, 1, 2, 3, 10, 18, 22, 23, 60][round % 9];
        let mut body = vec![0; random.random_range(0..120)];
        random.fill_bytes(&mut body);
        // Small numbers reach deeper than noise does.
        if round % 2 == 0 {
            body.iter_mut().for_each(|byte| *byte %= 3);
        }
        shoot(&served, &frame(api, random.random_range(0..13), &body)).await;
    }
    still_serves(&served).await;
    served.stop().await;
}

/// A request's answer is larger than the request: what asks for too much, or for the same again and again, gets less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_asks_without_end_is_not_answered_without_end() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut again = BytesMut::new();
    again.put_i32(50_000);
    (0..50_000).for_each(|_| again.put_slice(b"\0\x08readings"));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&frame(3, 1, &again)).await.unwrap();
    assert!(stream.read_i32().await.unwrap() < 200, "one topic, once");
    let mut many = BytesMut::new();
    many.put_i32(400_000);
    (0..400_000).for_each(|_| many.put_slice(b"\0\0"));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let _ = stream.write_all(&frame(3, 1, &many)).await;
    assert!(is_closed(&mut stream).await, "more items than a request has");
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let _ = stream.write_all(&frame(3, 1, &vec![0; 2 << 20])).await;
    assert!(is_closed(&mut stream).await, "a large request that produces nothing");
    still_serves(&served).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&frame(18, 77, b"")).await.unwrap();
    let length = stream.read_i32().await.unwrap();
    assert_eq!((stream.read_i32().await.unwrap(), stream.read_i16().await.unwrap()), (7, 35));
    assert_eq!(stream.read_i32().await.unwrap(), 9);
    assert_eq!(length, 4 + 2 + 4 + 9 * 6);
    drop(stream);
    served.stop().await;
}

/// Whether the server has closed a connection: nothing comes, and it ends.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_u8()).await;
    ended.expect("still open after five seconds").is_err()
}

async fn ask(stream: &mut TcpStream) -> MetadataResponse {
    call(stream, ApiKey::Metadata, 1, &MetadataRequest::default().with_topics(None)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_send_no_whole_request_are_closed_soon_and_others_are_not() {
    let options = KafkaOptions { first_request_time: Duration::from_millis(200), ..KafkaOptions::default() };
    let served = Served::start(options).await;
    let mut producer = TcpStream::connect(served.address).await.unwrap();
    ask(&mut producer).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(&frame(3, 1, &[0; 4])[..7]).await.unwrap();
    assert!(is_closed(&mut silent).await && is_closed(&mut half).await);
    ask(&mut producer).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_the_oldest_that_never_asked_gives_way_and_a_producer_does_not() {
    let served = Served::start(KafkaOptions { connections_max: 3, ..KafkaOptions::default() }).await;
    let mut producer = TcpStream::connect(served.address).await.unwrap();
    ask(&mut producer).await;
    let mut first_silent = TcpStream::connect(served.address).await.unwrap();
    let mut second_silent = TcpStream::connect(served.address).await.unwrap();
    let mut second_producer = TcpStream::connect(served.address).await.unwrap();
    ask(&mut second_producer).await;
    assert!(is_closed(&mut first_silent).await);
    ask(&mut second_silent).await;
    let mut too_many = TcpStream::connect(served.address).await.unwrap();
    assert!(is_closed(&mut too_many).await, "all three have sent requests");
    ask(&mut producer).await;
    ask(&mut second_producer).await;
    served.stop().await;
}
