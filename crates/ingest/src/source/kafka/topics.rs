//! A broker's topics: their ids and partitions, and making those that are missing.
//!
//! A topic's id tells a topic from another of the same name that was made after it. Metadata v10 and later give it;
//! librdkafka does not show it, so a broker without encryption is asked directly. Where that is not possible, and where
//! the broker has no ids (Event Hubs), the id is made of the cluster's id and the topic's name, and a topic that was
//! made anew is known by its offsets lying before those that are committed. Invariant: asking changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{FuturesUnordered, StreamExt as _};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vitalake_runtime::error::in_full;

use super::{ANSWER_MAX, KafkaSource};
use crate::kafka::client::Connection;
use crate::log::TopicId;
use crate::source::SourceError;

/// The newest Metadata version that we ask in.
const METADATA_VERSION_MAX: i16 = 12;
/// The first that names topics' ids.
const IDS_SINCE_VERSION: i16 = 10;

/// The most brokers, beside those of the configuration, that are asked one question at a time.
const ASKED_AT_ONCE_MAX: usize = 8;

/// Why the broker's topics could not be known or made.
#[derive(Debug, thiserror::Error)]
pub enum TopicProblem {
    /// The client cannot be made of these properties.
    #[error("the Kafka client refuses its configuration: {reason}; see kafka.properties in docs/configuration.md")]
    Client {
        /// What it says.
        reason: String,
    },
    /// The broker does not answer.
    #[error("Kafka at {bootstrap} does not answer: {reason}")]
    Away {
        /// Where it was looked for.
        bootstrap: String,
        /// What the client says.
        reason: String,
    },
    /// A topic is missing and may not, or could not, be made.
    #[error(
        "topic {topic} is not there: {reason}; make it with `kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {topic} --partitions {partitions}`"
    )]
    Missing {
        /// Its name.
        topic: String,
        /// Partitions that its contract asks for.
        partitions: u32,
        /// Where.
        bootstrap: String,
        /// Why it was not made.
        reason: String,
    },
}

/// A topic as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its id where the broker gives one.
    pub id: Option<Uuid>,
    /// How many partitions.
    pub partitions: u32,
}

impl KafkaSource {
    /// The topics of these names that are there. Blocking.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn topics(&self, names: &[String]) -> Result<BTreeMap<String, TopicState>, TopicProblem> {
        let away = |reason: String| {
            let reason = self.shared.why(&reason);
            TopicProblem::Away { bootstrap: self.options.bootstrap.clone(), reason }
        };
        let mut found = BTreeMap::new();
        for name in names {
            let metadata = self.consumer.fetch_metadata(Some(name), ANSWER_MAX).map_err(|e| away(e.to_string()))?;
            for topic in metadata.topics().iter().filter(|topic| topic.name() == name) {
                match topic.error() {
                    None => {
                        let partitions = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
                        found.insert(name.clone(), TopicState { id: None, partitions });
                    }
                    Some(
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                        | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                    ) => {}
                    Some(error) => return Err(away(format!("topic {name}: {}", RDKafkaErrorCode::from(error)))),
                }
            }
        }
        Ok(found)
    }

    /// The ids of those topics that are there; `None` where the broker cannot be asked without encryption, or has none.
    /// All brokers are asked at once, and the first answer counts: an address where nothing answers delays nobody.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn topic_ids(&self, names: &[String]) -> Result<Option<BTreeMap<String, Uuid>>, TopicProblem> {
        if !self.asks_ids() {
            return Ok(None);
        }
        let mut addresses: BTreeSet<String> =
            self.options.bootstrap.split(',').map(|address| address.trim().to_owned()).collect();
        addresses.extend(self.shared.addresses.lock().iter().take(ASKED_AT_ONCE_MAX).cloned());
        let mut asking: FuturesUnordered<_> = addresses.iter().map(|address| ask_ids(address, names)).collect();
        let mut reasons = Vec::new();
        while let Some(answer) = asking.next().await {
            match answer {
                Ok(ids) => return Ok(ids),
                Err(error) => reasons.push(in_full(&error)),
            }
        }
        Err(TopicProblem::Away { bootstrap: self.options.bootstrap.clone(), reason: reasons.join("; ") })
    }

    /// Whether brokers are asked for topics' ids at all: we speak to them without encryption only.
    pub(super) fn asks_ids(&self) -> bool {
        self.options.properties.get("security.protocol").is_none_or(|p| p.eq_ignore_ascii_case("plaintext"))
    }

    /// Makes a topic with the broker's own replication.
    ///
    /// # Errors
    /// `Missing` when the broker refuses.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), TopicProblem> {
        let missing = |reason: String| self.missing(name, partitions, reason);
        if self.shared.tokens.is_some() {
            return Err(missing("a client with OAUTHBEARER does not make topics".to_owned()));
        }
        let admin: AdminClient<DefaultClientContext> = self
            .admin_config()
            .create()
            .map_err(|error| TopicProblem::Client { reason: super::without_value(&error) })?;
        let count = i32::try_from(partitions).unwrap_or(i32::MAX);
        let topic = NewTopic::new(name, count, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX));
        let made = admin.create_topics([&topic], &options).await.map_err(|error| missing(error.to_string()))?;
        for result in made {
            match result {
                Ok(_) => tracing::info!(topic = name, partitions, "the topic was made"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(missing(code.to_string())),
            }
        }
        Ok(())
    }

    /// What an admin client shares with the consumer: where the broker is, and how to be let in. Taken from the project's
    /// properties, because a `ClientConfig` gives no password back.
    fn admin_config(&self) -> rdkafka::ClientConfig {
        let shared = ["security.", "sasl.", "ssl.", "enable.ssl", "https."];
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.options.bootstrap).set("client.id", "vitalake");
        for (key, value) in &self.options.properties {
            if shared.iter().any(|prefix| key.starts_with(prefix)) {
                config.set(key, value);
            }
        }
        config
    }

    /// A topic that is not there, in words.
    #[must_use]
    pub fn missing(&self, topic: &str, partitions: u32, reason: String) -> TopicProblem {
        let bootstrap = self.options.bootstrap.clone();
        TopicProblem::Missing { topic: topic.to_owned(), partitions, bootstrap, reason }
    }

    /// An id for a topic whose broker gives none; the `incarnation` counts topics of the name that were made anew.
    #[must_use]
    pub fn made_up_id(&self, name: &str, incarnation: u32) -> TopicId {
        let cluster = self.consumer.client().fetch_cluster_id(ANSWER_MAX).unwrap_or_default();
        let digest = Sha256::digest(format!("{cluster}/{name}/{incarnation}"));
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(byte, made)| *byte = made);
        TopicId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// First offset and end of a partition of a topic: the last that was heard, or what the broker says now. Blocking.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), SourceError> {
        let key = (topic.to_owned(), partition);
        if let Some(known) = self.shared.watermarks.lock().get(&key) {
            return Ok(*known);
        }
        let heard = self.fetch_watermarks(topic, partition)?;
        self.shared.watermarks.lock().insert(key, heard);
        Ok(heard)
    }

    /// The same as the broker says it now.
    pub(super) fn fetch_watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), SourceError> {
        let heard = self.consumer.fetch_watermarks(topic, partition, ANSWER_MAX);
        heard.map_err(|error| SourceError::broker(topic, partition, error))
    }
}

/// Whether an id comes from [`KafkaSource::made_up_id`]: a broker's own are random.
pub(super) fn is_made_up(id: TopicId) -> bool {
    id.0.get_version() == Some(uuid::Version::Custom)
}

async fn ask_ids(
    address: &str,
    names: &[String],
) -> Result<Option<BTreeMap<String, Uuid>>, crate::kafka::client::ConnectionError> {
    let mut connection = Connection::open(address, "vitalake", ANSWER_MAX.as_secs()).await?;
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name.clone())))));
    let request = MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
    let (version, answer) = connection.call_versioned(METADATA_VERSION_MAX, &request).await?;
    let there: Vec<_> = answer.topics.into_iter().filter(|topic| topic.error_code == 0).collect();
    if version < IDS_SINCE_VERSION || there.iter().any(|topic| topic.topic_id.is_nil()) {
        return Ok(None);
    }
    Ok(Some(there.into_iter().filter_map(|topic| Some((topic.name?.0.to_string(), topic.topic_id))).collect()))
}
