//! A broker in a hundred lines, which takes what a producer sends and fails when it is told to.

use std::sync::{Arc, Mutex};

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, Message as _, StrBytes, decode_request_header_from_buffer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What to do with a Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Answer without an error.
    Take,
    /// Close the connection without an answer.
    HangUp,
    /// Answer with a Kafka error.
    Refuse(i16),
}

/// What arrived: topic, partition, the batch's bytes.
pub type Arrived = (String, i32, Bytes);

#[derive(Clone)]
pub struct Broker {
    pub address: String,
    port: u16,
    plan: Arc<Mutex<Vec<Next>>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Broker {
    /// Starts on a free port; the plan's first entry is for the first Produce request, after its end all are taken.
    pub async fn start(mut plan: Vec<Next>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        plan.reverse();
        let broker = Self {
            address: format!("127.0.0.1:{port}"),
            port,
            plan: Arc::new(Mutex::new(plan)),
            arrived: Arc::default(),
        };
        let accepting = broker.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let broker = accepting.clone();
                tokio::spawn(async move { broker.serve(stream).await });
            }
        });
        broker
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Ok(length) = stream.read_i32().await {
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut bytes).await.unwrap();
            let mut bytes = Bytes::from(bytes);
            let header = decode_request_header_from_buffer(&mut bytes).unwrap();
            let Some(body) = self.answer(&header, bytes) else { return };
            let key = ApiKey::try_from(header.request_api_key).unwrap();
            let mut frame = BytesMut::new();
            let response_header = ResponseHeader::default().with_correlation_id(header.correlation_id);
            response_header.encode(&mut frame, key.response_header_version(header.request_api_version)).unwrap();
            frame.put(body);
            stream.write_i32(i32::try_from(frame.len()).unwrap()).await.unwrap();
            stream.write_all(&frame).await.unwrap();
        }
    }

    fn answer(&self, header: &RequestHeader, mut bytes: Bytes) -> Option<BytesMut> {
        let version = header.request_api_version;
        let mut body = BytesMut::new();
        match ApiKey::try_from(header.request_api_key).unwrap() {
            ApiKey::ApiVersions => versions().encode(&mut body, version).unwrap(),
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut bytes, version).unwrap();
                self.metadata(&request).encode(&mut body, version).unwrap();
            }
            ApiKey::InitProducerId => {
                let id = InitProducerIdResponse::default().with_producer_id(ProducerId(4_711)).with_producer_epoch(0);
                id.encode(&mut body, version).unwrap();
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut bytes, version).unwrap();
                self.produce(&request)?.encode(&mut body, version).unwrap();
            }
            other => panic!("{other:?} is not asked by a producer"),
        }
        Some(body)
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let partition =
            |index| MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(1));
        let topics = request.topics.iter().flatten().map(|topic| {
            MetadataResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(vec![partition(0), partition(1)])
        });
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(self.port));
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect())
    }

    fn produce(&self, request: &ProduceRequest) -> Option<ProduceResponse> {
        let next = self.plan.lock().unwrap().pop().unwrap_or(Next::Take);
        let mut arrived = self.arrived.lock().unwrap();
        let mut topics = Vec::new();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            for data in &topic.partition_data {
                arrived.push((topic.name.to_string(), data.index, data.records.clone().unwrap()));
                let code = if let Next::Refuse(code) = next { code } else { 0 };
                partitions.push(PartitionProduceResponse::default().with_index(data.index).with_error_code(code));
            }
            topics.push(
                TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(partitions),
            );
        }
        (next != Next::HangUp).then(|| ProduceResponse::default().with_responses(topics))
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |key: ApiKey, range: kafka_protocol::protocol::VersionRange| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(range.min).with_max_version(range.max)
    };
    let keys = vec![
        api(ApiKey::Produce, ProduceRequest::VERSIONS),
        api(ApiKey::Metadata, MetadataRequest::VERSIONS),
        api(ApiKey::InitProducerId, kafka_protocol::messages::InitProducerIdRequest::VERSIONS),
        api(ApiKey::ApiVersions, kafka_protocol::messages::ApiVersionsRequest::VERSIONS),
    ];
    ApiVersionsResponse::default().with_api_keys(keys)
}
