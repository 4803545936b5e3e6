//! The endpoint as a client of the protocol sees it.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vitalake_ingest::kafka::{KafkaOptions, KafkaServer};
use vitalake_ingest::log::{BatchBuilder, Log, ProducerSequence};
use vitalake_runtime::disk::CrashDisk;

use crate::support::{batch, compressed, open, options};

pub struct Served {
    pub log: Arc<Log>,
    pub address: std::net::SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<()>,
}

impl Served {
    pub async fn start(kafka: KafkaOptions) -> Self {
        let (log, _) = open(&CrashDisk::new(9), options());
        log.ensure_topic("readings", 2).unwrap();
        Self::start_on(log, kafka).await
    }

    pub async fn start_on(log: Arc<Log>, kafka: KafkaOptions) -> Self {
        let server = KafkaServer::bind("127.0.0.1:0", log.clone(), kafka).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let done = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { log, address, stop: Some(stop), done }
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.done.await.unwrap();
    }
}

pub async fn send(stream: &mut TcpStream, api: ApiKey, version: i16, id: i32, body: &impl Encodable) {
    let mut payload = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header.encode(&mut payload, api.request_header_version(version)).unwrap();
    body.encode(&mut payload, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(payload.len() as i32);
    frame.put_slice(&payload);
    stream.write_all(&frame).await.unwrap();
}

pub async fn receive<T: Decodable>(stream: &mut TcpStream, api: ApiKey, version: i16, id: i32) -> T {
    let length = stream.read_i32().await.unwrap();
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    let mut payload = Bytes::from(payload);
    let header = ResponseHeader::decode(&mut payload, api.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, id);
    let body = T::decode(&mut payload, version).unwrap();
    assert_eq!(payload.remaining(), 0, "{api:?} {version}");
    body
}

pub async fn call<T: Decodable>(stream: &mut TcpStream, api: ApiKey, version: i16, body: &impl Encodable) -> T {
    send(stream, api, version, 5, body).await;
    receive(stream, api, version, 5).await
}

pub fn name(topic: &str) -> kafka_protocol::messages::TopicName {
    StrBytes::from_string(topic.to_owned()).into()
}

pub fn produce(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5000)
        .with_topic_data(vec![TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition])])
}

fn fetch(partition: i32, offset: i64, version: i16) -> FetchRequest {
    let asked =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![FetchTopic::default().with_topic(name("readings")).with_partitions(vec![asked])]);
    if version >= 7 { request.with_session_epoch(-1) } else { request }
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_advertised_version_answers() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for version in 0..=4 {
        let answer: ApiVersionsResponse =
            call(&mut stream, ApiKey::ApiVersions, version, &ApiVersionsRequest::default()).await;
        assert_eq!((answer.error_code, answer.api_keys.len()), (0, 9));
        let group = [8, 9, 11, 12, 13, 14];
        assert!(answer.api_keys.iter().all(|api| !group.contains(&api.api_key)), "no request of a group is promised");
    }
    for version in 3..=11 {
        let sent = batch(&words(&["a", "b"]), None);
        let answer: ProduceResponse = call(&mut stream, ApiKey::Produce, version, &produce("readings", 0, sent)).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(version - 3) * 2), "{version}");
    }
    for version in 4..=12 {
        let answer: FetchResponse = call(&mut stream, ApiKey::Fetch, version, &fetch(0, 1, version)).await;
        let answer = &answer.responses[0].partitions[0];
        assert_eq!((answer.error_code, answer.high_watermark), (0, 18), "{version}");
        assert_eq!(
            answer.records.as_ref().unwrap().get(..8).unwrap(),
            0i64.to_be_bytes(),
            "the whole batch that holds the offset"
        );
    }
    for version in 0..=12 {
        let request = MetadataRequest::default().with_topics(None);
        let request = if version == 0 { request.with_topics(Some(Vec::new())) } else { request };
        let answer: MetadataResponse = call(&mut stream, ApiKey::Metadata, version, &request).await;
        assert_eq!(
            (answer.topics.len(), answer.topics[0].partitions.len(), answer.brokers[0].port),
            (1, 2, i32::from(served.address.port())),
            "{version}"
        );
    }
    for version in 1..=7 {
        for (timestamp, offset) in [(-1, 18), (-2, 0), (0, 0), (i64::MAX, -1)] {
            let asked = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
            let request = ListOffsetsRequest::default().with_topics(vec![
                ListOffsetsTopic::default().with_name(name("readings")).with_partitions(vec![asked]),
            ]);
            let answer: ListOffsetsResponse = call(&mut stream, ApiKey::ListOffsets, version, &request).await;
            assert_eq!(answer.topics[0].partitions[0].offset, offset, "version {version}, time {timestamp}");
        }
    }
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_advertised_version_gives_a_producer_its_id_and_a_group_no_place() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for version in 0..=4 {
        let answer: InitProducerIdResponse = call(
            &mut stream,
            ApiKey::InitProducerId,
            version,
            &InitProducerIdRequest::default().with_transactional_id(None),
        )
        .await;
        assert!(answer.error_code == 0 && answer.producer_id.0 > 0);
        let request = FindCoordinatorRequest::default();
        let request = if version >= 4 {
            request.with_coordinator_keys(vec![StrBytes::from_static_str("g")])
        } else {
            request.with_key(StrBytes::from_static_str("g"))
        };
        let answer: FindCoordinatorResponse = call(&mut stream, ApiKey::FindCoordinator, version, &request).await;
        let (code, port) = match answer.coordinators.first() {
            Some(one) => (one.error_code, one.port),
            None => (answer.error_code, answer.port),
        };
        assert_eq!((code, port), (0, i32::from(served.address.port())), "a client then sees that it cannot join");
    }
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why() {
    let served = Served::start(KafkaOptions { message_bytes_max: 10_000, ..KafkaOptions::default() }).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let good = batch(&words(&["a"]), None);
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let doubled: Bytes = [good.as_ref(), good.as_ref()].concat().into();
    let large = batch(&["x".repeat(20_000)], None);
    let ahead = batch(&words(&["a"]), Some(ProducerSequence { id: 3, epoch: 0, sequence: 9 }));
    let cases = [
        ("readings", 0, good.clone(), 0),
        ("readings", 2, good.clone(), 3),
        ("nobody", 0, good.clone(), 3),
        ("readings", 0, corrupt.into(), 2),
        ("readings", 0, old.into(), 43),
        ("readings", 0, doubled, 87),
        ("readings", 0, Bytes::new(), 87),
        ("readings", 0, large, 10),
        ("readings", 0, ahead, 59),
    ];
    for (topic, partition, records, code) in cases {
        let answer: ProduceResponse = call(&mut stream, ApiKey::Produce, 9, &produce(topic, partition, records)).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code, "{answer:?}");
    }
    let transactional =
        produce("readings", 0, good.clone()).with_transactional_id(Some(StrBytes::from_static_str("t").into()));
    let answer: ProduceResponse = call(&mut stream, ApiKey::Produce, 9, &transactional).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 53);
    let unknown = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("nobody")))]));
    let answer: MetadataResponse = call(&mut stream, ApiKey::Metadata, 9, &unknown).await;
    assert_eq!(answer.topics[0].error_code, 3);
    let beyond: FetchResponse = call(&mut stream, ApiKey::Fetch, 12, &fetch(0, 50, 12)).await;
    assert_eq!(beyond.responses[0].partitions[0].error_code, 1);
    assert_eq!(
        served
            .log
            .durable_end(vitalake_ingest::log::TopicPartition::new(served.log.topic("readings").unwrap().id, 0))
            .unwrap(),
        1,
        "one was good"
    );
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_batches_of_any_size_keep_their_order_and_broken_ones_are_refused_with_a_reason() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let mut built = |bytes: usize, broken: bool| {
        // Noise does not compress: the batch is as large as what it holds.
        let mut value = vec![0; bytes];
        random.fill_bytes(&mut value);
        let mut builder = BatchBuilder::new();
        builder.push(1, None, Some(&value)).push(2, None, Some(b"second"));
        let mut body = compressed(4, builder.body());
        body.truncate(body.len() - if broken { 20 } else { 0 });
        builder.build_compressed(None, 4, &body)
    };
    for (id, bytes, broken) in
        [(0, 100_000, false), (1, 100, false), (2, 100_000, true), (3, 100, true), (4, 100, false)]
    {
        send(&mut stream, ApiKey::Produce, 9, id, &produce("readings", 0, built(bytes, broken))).await;
    }
    for (id, code, base_offset) in [(0, 0, 0), (1, 0, 2), (2, 87, -1), (3, 87, -1), (4, 0, 4)] {
        let answer: ProduceResponse = receive(&mut stream, ApiKey::Produce, 9, id).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (code, base_offset), "request {id}");
        let said = answer.error_message.as_ref().map(StrBytes::as_str);
        assert_eq!(said, (code != 0).then_some("the batch's zstd data does not decompress"));
    }
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_and_a_retry_is_one_batch() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let sequence = |sequence| Some(ProducerSequence { id: 77, epoch: 0, sequence });
    for number in 0..20 {
        let request = produce("readings", 0, batch(&words(&["a"]), sequence(number)));
        send(&mut stream, ApiKey::Produce, 9, number, &request).await;
    }
    send(&mut stream, ApiKey::Produce, 9, 20, &produce("readings", 0, batch(&words(&["a"]), sequence(19)))).await;
    send(&mut stream, ApiKey::Metadata, 1, 21, &MetadataRequest::default()).await;
    for number in 0..20 {
        let answer: ProduceResponse = receive(&mut stream, ApiKey::Produce, 9, number).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, i64::from(number));
    }
    let again: ProduceResponse = receive(&mut stream, ApiKey::Produce, 9, 20).await;
    assert_eq!(again.responses[0].partition_responses[0].base_offset, 19);
    let _: MetadataResponse = receive(&mut stream, ApiKey::Metadata, 1, 21).await;
    drop(stream);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_waits_for_data_and_a_stop_answers_what_is_in_work() {
    let served = Served::start(KafkaOptions::default()).await;
    let mut consumer = TcpStream::connect(served.address).await.unwrap();
    send(&mut consumer, ApiKey::Fetch, 12, 1, &fetch(1, 0, 12).with_max_wait_ms(20_000)).await;
    let mut producer = TcpStream::connect(served.address).await.unwrap();
    let _: ProduceResponse =
        call(&mut producer, ApiKey::Produce, 9, &produce("readings", 1, batch(&words(&["late"]), None))).await;
    let answer: FetchResponse = receive(&mut consumer, ApiKey::Fetch, 12, 1).await;
    assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    send(&mut producer, ApiKey::Produce, 9, 9, &produce("readings", 1, batch(&words(&["last"]), None))).await;
    // The answer to this one says that the produce before it on the connection was read.
    send(&mut producer, ApiKey::Metadata, 1, 10, &MetadataRequest::default()).await;
    let _: ProduceResponse = receive(&mut producer, ApiKey::Produce, 9, 9).await;
    served.stop().await;
}
