//! The endpoint where clients have to say who they are: nothing is answered before, and nothing more than is allowed after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use vitalake_ingest::kafka::client::Connection;
use vitalake_ingest::kafka::{Doors, KafkaOptions, Proof, Rights, Step};

use crate::kafka_round_trip::{Served, call, name, produce, send};
use crate::support::batch;

#[derive(Debug, Clone)]
struct Person {
    name: String,
    good: Arc<AtomicBool>,
}

impl Rights for Person {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_good(&self) -> bool {
        self.good.load(Ordering::Acquire)
    }

    fn left_ms(&self) -> Option<i64> {
        Some(60_000)
    }

    fn writes(&self, _: &str) -> bool {
        self.name == "sender"
    }

    fn reads(&self, _: &str) -> bool {
        self.name == "reader"
    }
}

#[derive(Debug, Default)]
struct Names(Arc<AtomicBool>);

impl Doors for Names {
    fn mechanisms(&self) -> Vec<&'static str> {
        vec!["PLAIN", "TWICE"]
    }

    fn begin(&self, mechanism: &str, _: SocketAddr) -> Option<Box<dyn Proof>> {
        let left = ["PLAIN", "TWICE"].iter().position(|known| *known == mechanism)?;
        Some(Box::new(Way { good: Arc::clone(&self.0), left }))
    }
}

/// A mechanism that asks so many times before it looks.
#[derive(Debug)]
struct Way {
    good: Arc<AtomicBool>,
    left: usize,
}

impl Proof for Way {
    fn step<'p>(&'p mut self, message: &'p [u8]) -> BoxFuture<'p, Step> {
        if self.left > 0 {
            self.left -= 1;
            return std::future::ready(Step::More(b"go on".to_vec())).boxed();
        }
        let name = message.strip_prefix(b"\0").and_then(|rest| rest.strip_suffix(b"\0s3cret"));
        let step = name.map_or(Step::Refused("it is wrong".to_owned()), |name| {
            let name = String::from_utf8_lossy(name).into_owned();
            Step::Known(Arc::new(Person { name, good: Arc::clone(&self.good) }), Vec::new())
        });
        std::future::ready(step).boxed()
    }
}

async fn served() -> (Served, Arc<AtomicBool>) {
    let good = Arc::new(AtomicBool::new(true));
    let doors = Arc::new(Names(Arc::clone(&good)));
    (Served::start(KafkaOptions { doors: Some(doors), ..KafkaOptions::default() }).await, good)
}

async fn handshake(stream: &mut TcpStream, mechanism: &'static str) -> i16 {
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let answer: SaslHandshakeResponse = call(stream, ApiKey::SaslHandshake, 1, &request).await;
    assert_eq!(answer.mechanisms, ["PLAIN", "TWICE"].map(StrBytes::from_static_str));
    answer.error_code
}

async fn prove(stream: &mut TcpStream, proof: &'static [u8]) -> i16 {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(proof));
    let answer: SaslAuthenticateResponse = call(stream, ApiKey::SaslAuthenticate, 2, &request).await;
    answer.error_code
}

async fn enter(served: &Served, proof: &'static [u8]) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
    assert_eq!(prove(&mut stream, proof).await, 0);
    stream
}

/// The topics that a client is told of: all, or the one that it names.
async fn listed(stream: &mut TcpStream, topic: Option<&'static str>) -> Vec<MetadataResponseTopic> {
    let named = topic.map(|topic| vec![MetadataRequestTopic::default().with_name(Some(name(topic)))]);
    let request = MetadataRequest::default().with_topics(named);
    let answer: MetadataResponse = call(stream, ApiKey::Metadata, 8, &request).await;
    answer.topics
}

/// Whether the other side has closed, having answered nothing.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read_u8().await, Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
}

async fn produced(stream: &mut TcpStream) -> i16 {
    let request = produce("readings", 0, batch(&["{}".to_owned()], None));
    let answer: ProduceResponse = call(stream, ApiKey::Produce, 8, &request).await;
    answer.responses[0].partition_responses[0].error_code
}

async fn fetched(stream: &mut TcpStream) -> (i16, usize) {
    let asked = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![FetchTopic::default().with_topic(name("readings")).with_partitions(vec![asked])])
        .with_session_epoch(-1);
    let answer: FetchResponse = call(stream, ApiKey::Fetch, 11, &request).await;
    let partition = &answer.responses[0].partitions[0];
    (partition.error_code, partition.records.as_ref().map_or(0, Bytes::len))
}

async fn end_of(stream: &mut TcpStream) -> i16 {
    let asked = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name("readings")).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let answer: ListOffsetsResponse = call(stream, ApiKey::ListOffsets, 5, &request).await;
    answer.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn a_connection_without_a_name_is_told_how_to_say_it_and_nothing_else() {
    let (served, _) = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let spoken: ApiVersionsResponse = call(&mut stream, ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await;
    assert!(spoken.api_keys.iter().any(|api| api.api_key == ApiKey::SaslAuthenticate as i16));
    send(&mut stream, ApiKey::Metadata, 8, 5, &MetadataRequest::default()).await;
    assert!(is_closed(&mut stream).await);

    // Between the two steps nothing is answered either.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
    send(&mut stream, ApiKey::Produce, 8, 5, &produce("readings", 0, batch(&["{}".to_owned()], None))).await;
    assert!(is_closed(&mut stream).await);
    served.stop().await;
}

#[tokio::test]
async fn a_wrong_proof_ends_the_connection() {
    let (served, _) = served().await;
    for proof in [&b"\0sender\0guess"[..], b"\0sender\0", b"s3cret", b"", b"root\0sender\0s3cret"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        assert_eq!(handshake(&mut stream, "SCRAM-SHA-256").await, 33);
        assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
        assert_eq!(prove(&mut stream, proof).await, 58);
        // There is no second try on this connection.
        assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
        assert_eq!(prove(&mut stream, b"\0sender\0s3cret").await, 34);
        send(&mut stream, ApiKey::Metadata, 8, 5, &MetadataRequest::default()).await;
        assert!(is_closed(&mut stream).await);
    }
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(prove(&mut stream, b"\0sender\0s3cret").await, 34, "without a handshake");
    served.stop().await;
}

#[tokio::test]
async fn each_client_may_do_what_it_may_and_is_told_what_it_may_not() {
    let (served, _) = served().await;
    let mut sender = enter(&served, b"\0sender\0s3cret").await;
    let mut reader = enter(&served, b"\0reader\0s3cret").await;
    let mut stranger = enter(&served, b"\0stranger\0s3cret").await;
    let known: MetadataResponse = call(&mut sender, ApiKey::Metadata, 8, &MetadataRequest::default()).await;
    assert_eq!(known.brokers.len(), 1);
    for (stream, topics) in [(&mut sender, 1), (&mut reader, 1), (&mut stranger, 0)] {
        assert_eq!(listed(stream, None).await.len(), topics, "topics are those that the client may do something with");
        let named = listed(stream, Some("readings")).await;
        let told: Vec<_> = named.iter().map(|topic| (topic.error_code, topic.partitions.is_empty())).collect();
        assert_eq!(told, if topics == 1 { [(0, false)] } else { [(29, true)] });
    }
    assert_eq!([produced(&mut sender).await, produced(&mut reader).await, produced(&mut stranger).await], [0, 29, 29]);
    let (code, bytes) = fetched(&mut reader).await;
    assert!(code == 0 && bytes > 0, "{code} {bytes}");
    assert_eq!([fetched(&mut sender).await, fetched(&mut stranger).await], [(29, 0), (29, 0)]);
    assert_eq!([end_of(&mut sender).await, end_of(&mut reader).await, end_of(&mut stranger).await], [0, 0, 3]);
    served.stop().await;
}

#[tokio::test]
async fn a_connection_stays_the_one_that_it_was() {
    let (served, _) = served().await;
    let mut stream = enter(&served, b"\0sender\0s3cret").await;
    assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
    assert_eq!(prove(&mut stream, b"\0sender\0s3cret").await, 0, "it proves itself anew");
    assert_eq!(handshake(&mut stream, "PLAIN").await, 0);
    assert_eq!(prove(&mut stream, b"\0reader\0s3cret").await, 58, "another's proof is another connection's");
    send(&mut stream, ApiKey::Metadata, 8, 5, &MetadataRequest::default()).await;
    assert!(is_closed(&mut stream).await);
    served.stop().await;
}

#[tokio::test]
async fn a_token_that_is_over_ends_the_connections_that_it_let_in() {
    let (served, good) = served().await;
    let mut sender = enter(&served, b"\0sender\0s3cret").await;
    assert_eq!(produced(&mut sender).await, 0);
    good.store(false, Ordering::Release);
    send(&mut sender, ApiKey::Produce, 8, 5, &produce("readings", 0, batch(&["{}".to_owned()], None))).await;
    assert!(is_closed(&mut sender).await);
    served.stop().await;
}

#[tokio::test]
async fn a_mechanism_may_ask_more_than_once_and_nobody_is_known_before_its_end() {
    let (served, _) = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(handshake(&mut stream, "TWICE").await, 0);
    let request = |proof: &'static [u8]| SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(proof));
    let first = request(b"hello");
    let answer: SaslAuthenticateResponse = call(&mut stream, ApiKey::SaslAuthenticate, 2, &first).await;
    assert_eq!((answer.error_code, &*answer.auth_bytes), (0, &b"go on"[..]));
    let last = request(b"\0sender\0s3cret");
    let answer: SaslAuthenticateResponse = call(&mut stream, ApiKey::SaslAuthenticate, 2, &last).await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 60_000));
    assert_eq!(produced(&mut stream).await, 0);
    // It proves itself anew, and is nobody meanwhile.
    assert_eq!(handshake(&mut stream, "TWICE").await, 0);
    let _: SaslAuthenticateResponse = call(&mut stream, ApiKey::SaslAuthenticate, 2, &first).await;
    send(&mut stream, ApiKey::Produce, 8, 5, &produce("readings", 0, batch(&["{}".to_owned()], None))).await;
    assert!(is_closed(&mut stream).await);
    served.stop().await;
}

#[tokio::test]
async fn our_own_client_says_who_it_is() {
    let (served, _) = served().await;
    let address = served.address.to_string();
    let open = || Connection::open(&address, "test", 5);
    let mut connection = open().await.unwrap();
    assert!(connection.asks_who());
    connection.say_who("sender", "s3cret").await.unwrap();
    assert_eq!(connection.call(8, &MetadataRequest::default()).await.unwrap().brokers.len(), 1);
    let refused = open().await.unwrap().say_who("sender", "guess").await.unwrap_err();
    assert!(refused.to_string().contains("refuses the token") && !refused.to_string().contains("guess"), "{refused}");
    served.stop().await;
}
