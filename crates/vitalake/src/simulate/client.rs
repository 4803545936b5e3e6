//! A Kafka producer, as small as an honest one can be: idempotent, acks=all, one batch a partition in flight.
//!
//! A batch is encoded once, with its sequence, and the same bytes are sent until the broker says yes or time is up.
//! Invariant: one batch stays one batch, whatever happens to the connection between.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::{ParseResponseErrorCode as _, ResponseError};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::time::{Instant, sleep};

use vitalake_ingest::kafka::client::{Connection, ConnectionError};
use vitalake_runtime::http::is_here;
use vitalake_serve::names::ANY_NAME;

/// Later versions name topics by id; nothing here needs that.
const PRODUCE_VERSION_MAX: i16 = 9;
const METADATA_VERSION_MAX: i16 = 9;
const INIT_PRODUCER_ID_VERSION_MAX: i16 = 4;
const REQUEST_SECONDS_MAX: u64 = 30;
const DELIVERY_SECONDS_MAX: u64 = 120;
const BACKOFF_MS_MIN: u64 = 50;
const BACKOFF_MS_MAX: u64 = 1_000;

/// Why records could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// No broker could be reached.
    #[error("no Kafka broker could be reached at {address}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// Why not.
        #[source]
        source: ConnectionError,
    },
    /// The broker has no such topic.
    #[error("the broker at {address} has no topic {topic}")]
    NoTopic {
        /// Where it was looked for.
        address: String,
        /// The topic.
        topic: String,
    },
    /// The broker refused for good.
    #[error("partition {partition} of {topic} refused a batch: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Kafka's name of the error.
        reason: String,
    },
    /// Tried until time was up.
    #[error("partition {partition} of {topic} took no batch for {seconds} s; the last reason: {reason}")]
    TimedOut {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// For how long.
        seconds: u64,
        /// The last reason.
        reason: String,
    },
    /// Records that do not fit the format.
    #[error("a batch could not be encoded: {0}")]
    Encode(String),
}

/// A record to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Its create time, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// An idempotent producer.
#[derive(Debug)]
pub struct Producer {
    address: String,
    connections: HashMap<i32, Connection>,
    brokers: HashMap<i32, String>,
    topics: HashMap<String, BTreeMap<i32, Partition>>,
    producer_id: i64,
    producer_epoch: i16,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    leader: i32,
    next_sequence: i32,
}

/// A batch as it goes over the wire.
#[derive(Clone, Debug)]
struct Batch {
    topic: String,
    partition: i32,
    records: Bytes,
    count: u64,
    reason: String,
}

impl Producer {
    /// Connects, takes a producer id and learns where the topics are.
    ///
    /// # Errors
    /// When no broker answers or a topic does not exist.
    pub async fn connect(address: &str, topics: &[&str]) -> Result<Self, ProducerError> {
        let mut producer = Self {
            address: address.to_owned(),
            connections: HashMap::new(),
            brokers: HashMap::new(),
            topics: HashMap::new(),
            producer_id: -1,
            producer_epoch: -1,
        };
        let unreachable = |source| ProducerError::Unreachable { address: address.to_owned(), source };
        let until = Instant::now() + Duration::from_secs(10);
        for topic in topics {
            producer.topics.insert((*topic).to_owned(), BTreeMap::new());
        }
        producer.refresh().await.map_err(unreachable)?;
        while let Some((topic, _)) = producer.topics.iter().find(|(_, partitions)| partitions.is_empty()) {
            if Instant::now() > until {
                return Err(ProducerError::NoTopic { address: address.to_owned(), topic: topic.clone() });
            }
            sleep(Duration::from_millis(200)).await;
            producer.refresh().await.map_err(unreachable)?;
        }
        producer.take_id(until).await.map_err(unreachable)?;
        Ok(producer)
    }

    /// How many partitions a topic has.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> u32 {
        self.topics.get(topic).map_or(0, |partitions| u32::try_from(partitions.len()).unwrap_or(u32::MAX))
    }

    /// Sends one batch to each partition named and waits until every one is acknowledged. Gives the number of records.
    ///
    /// # Errors
    /// When a batch is refused for good or not taken in time. Batches of other partitions may have been taken.
    pub async fn send(&mut self, batches: BTreeMap<(String, i32), Vec<Outgoing>>) -> Result<u64, ProducerError> {
        let mut waiting = Vec::with_capacity(batches.len());
        for ((topic, partition), records) in batches {
            waiting.push(self.encode(topic, partition, &records)?);
        }
        let sent: u64 = waiting.iter().map(|batch| batch.count).sum();
        let until = Instant::now() + Duration::from_secs(DELIVERY_SECONDS_MAX);
        let mut backoff_ms = BACKOFF_MS_MIN;
        loop {
            waiting = self.attempt(waiting).await?;
            let Some(batch) = waiting.first() else { return Ok(sent) };
            if Instant::now() > until {
                let Batch { topic, partition, reason, .. } = batch.clone();
                return Err(ProducerError::TimedOut { topic, partition, seconds: DELIVERY_SECONDS_MAX, reason });
            }
            sleep(Duration::from_millis(backoff_ms)).await;
            backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
            // Where the leaders are now; a broker that is away is asked again in the next round.
            let _still_away = self.refresh().await;
        }
    }

    /// Tries every batch once at its leader; gives back those to try again.
    async fn attempt(&mut self, batches: Vec<Batch>) -> Result<Vec<Batch>, ProducerError> {
        let mut by_leader: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
        for batch in batches {
            let leader = self.partition(&batch.topic, batch.partition).map_or(-1, |partition| partition.leader);
            by_leader.entry(leader).or_default().push(batch);
        }
        let mut again = Vec::new();
        for (leader, mut batches) in by_leader {
            match self.produce(leader, &batches).await {
                Ok(answers) => again.extend(unanswered(batches, &answers)?),
                Err(error) => {
                    self.connections.remove(&leader);
                    batches.iter_mut().for_each(|batch| batch.reason = error.to_string());
                    again.extend(batches);
                }
            }
        }
        Ok(again)
    }

    async fn produce(&mut self, leader: i32, batches: &[Batch]) -> Result<Answers, ConnectionError> {
        let mut by_topic: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
        for batch in batches {
            let data =
                PartitionProduceData::default().with_index(batch.partition).with_records(Some(batch.records.clone()));
            by_topic.entry(&batch.topic).or_default().push(data);
        }
        let topics = by_topic.into_iter().map(|(topic, partitions)| {
            TopicProduceData::default().with_name(name(topic)).with_partition_data(partitions)
        });
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(i32::try_from(REQUEST_SECONDS_MAX * 1_000).unwrap_or(i32::MAX))
            .with_topic_data(topics.collect());
        let response = self.leader(leader).await?.call(PRODUCE_VERSION_MAX, &request).await?;
        let mut answers = Answers::new();
        for topic in response.responses {
            for partition in topic.partition_responses {
                answers.insert((topic.name.to_string(), partition.index), partition.error_code);
            }
        }
        Ok(answers)
    }

    fn encode(&mut self, topic: String, partition: i32, records: &[Outgoing]) -> Result<Batch, ProducerError> {
        let (producer_id, producer_epoch) = (self.producer_id, self.producer_epoch);
        let state = self.topics.get_mut(&topic).and_then(|partitions| partitions.get_mut(&partition));
        let state =
            state.ok_or_else(|| ProducerError::NoTopic { address: self.address.clone(), topic: topic.clone() })?;
        let base = state.next_sequence;
        let encoded: Vec<Record> = (0_i32..)
            .zip(records)
            .map(|(index, record)| Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id,
                producer_epoch,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(index),
                sequence: base.wrapping_add(index),
                timestamp: record.timestamp_ms,
                key: Some(record.key.clone()),
                value: Some(record.value.clone()),
                headers: IndexMap::new(),
            })
            .collect();
        let count = encoded.len();
        // Sequences run from 0 to 2^31-1 and then from 0 again.
        let advance = i32::try_from(count).map_err(|_| ProducerError::Encode("too many records".to_owned()))?;
        state.next_sequence = base.wrapping_add(advance) & i32::MAX;
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &encoded, &options)
            .map_err(|error| ProducerError::Encode(error.to_string()))?;
        let reason = String::new();
        Ok(Batch { topic, partition, records: bytes.freeze(), count: count as u64, reason })
    }

    /// Asks any broker where the topics are. Sequences are kept.
    async fn refresh(&mut self) -> Result<(), ConnectionError> {
        let topics = self.topics.keys().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
        let request =
            MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(true);
        // The first address is the one that the user gave: brokers may come and go behind it.
        let mut connection = open(&self.address).await?;
        let metadata = connection.call(METADATA_VERSION_MAX, &request).await?;
        self.learn(metadata);
        Ok(())
    }

    fn learn(&mut self, metadata: MetadataResponse) {
        for broker in metadata.brokers {
            let address = format!("{}:{}", &*broker.host, broker.port);
            if self.brokers.insert(broker.node_id.0, address.clone()).is_some_and(|before| before != address) {
                self.connections.remove(&broker.node_id.0);
            }
        }
        for topic in metadata.topics {
            let Some(partitions) = topic.name.and_then(|name| self.topics.get_mut(&*name.0)) else { continue };
            for partition in topic.partitions.iter().filter(|partition| partition.leader_id.0 >= 0) {
                partitions
                    .entry(partition.partition_index)
                    .and_modify(|known| known.leader = partition.leader_id.0)
                    .or_insert(Partition { leader: partition.leader_id.0, next_sequence: 0 });
            }
        }
    }

    async fn take_id(&mut self, until: Instant) -> Result<(), ConnectionError> {
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        loop {
            let mut connection = open(&self.address).await?;
            let answer = connection.call(INIT_PRODUCER_ID_VERSION_MAX, &request).await?;
            match answer.error_code.err() {
                None => {
                    self.producer_id = answer.producer_id.0;
                    self.producer_epoch = answer.producer_epoch;
                    return Ok(());
                }
                Some(error) if error.is_retriable() && Instant::now() < until => {
                    sleep(Duration::from_millis(200)).await
                }
                Some(error) => {
                    let what = format!("it gives no producer id ({error:?})");
                    return Err(ConnectionError::Protocol { address: self.address.clone(), what });
                }
            }
        }
    }

    async fn leader(&mut self, leader: i32) -> Result<&mut Connection, ConnectionError> {
        let address = self.brokers.get(&leader).unwrap_or(&self.address).clone();
        match self.connections.entry(leader) {
            std::collections::hash_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => Ok(place.insert(open(&address).await?)),
        }
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<Partition> {
        self.topics.get(topic)?.get(&partition).copied()
    }
}

/// Connects, and says who asks where a token is given.
async fn open(address: &str) -> Result<Connection, ConnectionError> {
    let mut connection = Connection::open(address, "vitalake-simulate", REQUEST_SECONDS_MAX).await?;
    let token = std::env::var("VITALAKE_TOKEN").ok().filter(|token| !token.is_empty());
    // What is sent in the clear is for this machine alone.
    if let Some(token) = token.filter(|_| connection.asks_who() && is_here(address)) {
        connection.say_who(ANY_NAME, &token).await?;
    }
    Ok(connection)
}

type Answers = HashMap<(String, i32), i16>;

/// The batches that are to be tried again. A duplicate was taken when it came first.
fn unanswered(batches: Vec<Batch>, answers: &Answers) -> Result<Vec<Batch>, ProducerError> {
    let mut again = Vec::new();
    for mut batch in batches {
        let code = answers.get(&(batch.topic.clone(), batch.partition)).copied();
        let error = code.map_or(Some(ResponseError::NetworkException), |code| code.err());
        match error {
            None | Some(ResponseError::DuplicateSequenceNumber) => {}
            Some(error) if error.is_retriable() => {
                batch.reason = format!("{error:?}");
                again.push(batch);
            }
            Some(error) => {
                let Batch { topic, partition, .. } = batch;
                return Err(ProducerError::Refused { topic, partition, reason: format!("{error:?}") });
            }
        }
    }
    Ok(again)
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
