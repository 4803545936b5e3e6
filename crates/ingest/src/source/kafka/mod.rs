//! Apache Kafka, or what speaks its protocol such as Azure Event Hubs, as the source of records.
//!
//! librdkafka fetches; each partition has a queue of its own that landing's steps poll straight into the decoder.
//! Offsets of record are in the Delta log: the group's are committed after, for tools that show lag. Invariant: a
//! partition is read from exactly where landing says; where that cannot be, `restart` fires and everything begins anew.

mod context;
mod token;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;
use vitalake_runtime::health::Health;

use context::Context;
pub use context::Group;
use token::TokenOptions;
pub use topics::{TopicProblem, TopicState};

use super::{FetchedRecord, Item, Source, SourceError};
use crate::log::{TopicId, TopicPartition};

/// How long a question to the broker may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a commit waits to be told whether its topic is still the same: a broker that is away serves no new topic.
const STILL_MAX: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How long the serving thread waits for events at a time.
const SERVE_WAIT: Duration = Duration::from_millis(100);

/// Where the broker is and how to speak to it.
#[derive(Clone)]
pub struct BrokerOptions {
    /// `HOST:PORT[,HOST:PORT…]`.
    pub bootstrap: String,
    /// The consumer group: its members share partitions, its offsets are a courtesy.
    pub group: String,
    /// librdkafka's properties as the project gives them, such as `security.protocol`. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("BrokerOptions")
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("properties", &properties)
            .finish()
    }
}

impl BrokerOptions {
    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        let ours = [
            ("client.id", "vitalake"),
            ("check.crcs", "true"),
            ("topic.metadata.refresh.interval.ms", "10000"),
            ("socket.timeout.ms", "10000"),
            ("reconnect.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", "1000"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "2000"),
            // About a tenth of a second of records of each partition; beyond it fetching waits a moment, not a second.
            ("queued.min.messages", "30000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.queue.backoff.ms", "5"),
        ];
        for (key, value) in ours {
            config.set(key, value);
        }
        for (key, value) in self.properties.iter().filter(|(key, _)| !token::is_ours(&self.properties, key)) {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("partition.assignment.strategy", "range")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "1000");
        config
    }
}

/// What became of an offset that the broker does not have.
enum Range {
    /// Retention removed it: reading begins anew, and finds the gap.
    Gone,
    /// The partition ends before it.
    Broken(String),
}

struct Partition {
    queue: PartitionQueue<Context>,
    /// The offset after the last record that was handed over, or at which reading begins.
    next_offset: i64,
    /// The broker said that there is nothing beyond.
    at_end: bool,
    /// Records that the broker's retention removed before reading began here.
    gone: Option<(i64, i64)>,
    /// Why it cannot be read on; only beginning anew may help.
    broken: Option<String>,
    /// Something may have come since the queue was last emptied.
    news: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Topic {
    name: String,
    changed: watch::Sender<u64>,
    /// Whether its id is made here, because the broker does not tell one.
    id_is_made_up: bool,
}

/// What the consumer's callbacks and the source share.
struct Shared {
    topics: RwLock<BTreeMap<TopicId, Topic>>,
    partitions: RwLock<BTreeMap<TopicPartition, Arc<Mutex<Partition>>>>,
    /// First and last-stable offsets by topic and partition, as last heard.
    watermarks: Mutex<BTreeMap<(String, i32), (i64, i64)>>,
    health: Health,
    /// Where tokens come from, if any are wanted, and why the last could not be had.
    tokens: Option<TokenOptions>,
    token_trouble: Mutex<Option<String>>,
    /// The last failure of a connection, until a broker is connected again.
    connection_trouble: Mutex<Option<String>>,
    /// Whether no broker was connected when the client last told.
    was_down: AtomicBool,
    /// Ids that were made up for topics of which there is another by now.
    outlived: Mutex<BTreeSet<TopicId>>,
    restart: watch::Sender<bool>,
    consumer: OnceLock<std::sync::Weak<BaseConsumer<Context>>>,
    group: Mutex<Option<Arc<dyn Group>>>,
}

/// A broker's topics as a source.
pub struct KafkaSource {
    consumer: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    options: BrokerOptions,
    stop: Arc<AtomicBool>,
    serving: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("options", &self.options).finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// A client of the broker that reads nothing yet.
    ///
    /// # Errors
    /// When a property is unknown or does not fit the others, in librdkafka's words.
    pub fn connect(options: BrokerOptions, health: Health) -> Result<Arc<Self>, TopicProblem> {
        let tokens = TokenOptions::parse(&options.properties).map_err(|reason| TopicProblem::Client { reason })?;
        let shared = Arc::new(Shared {
            topics: RwLock::default(),
            partitions: RwLock::default(),
            watermarks: Mutex::default(),
            health,
            tokens,
            token_trouble: Mutex::default(),
            connection_trouble: Mutex::default(),
            was_down: AtomicBool::new(false),
            outlived: Mutex::default(),
            restart: watch::channel(false).0,
            consumer: OnceLock::new(),
            group: Mutex::new(None),
        });
        let context = Context { shared: Arc::clone(&shared) };
        let consumer: BaseConsumer<Context> = options
            .client_config()
            .create_with_context(context)
            .map_err(|error| TopicProblem::Client { reason: without_value(&error) })?;
        let consumer = Arc::new(consumer);
        let _ = shared.consumer.set(Arc::downgrade(&consumer));
        let source =
            Self { consumer, shared, options, stop: Arc::new(AtomicBool::new(false)), serving: Mutex::new(None) };
        // From the beginning on: no question is answered before a token was asked for here.
        source.serve();
        Ok(Arc::new(source))
    }

    /// Names a topic's id, so that its partitions can be asked for.
    pub fn register(&self, id: TopicId, name: &str) {
        let topic =
            Topic { name: name.to_owned(), changed: watch::channel(0).0, id_is_made_up: topics::is_made_up(id) };
        self.shared.topics.write().insert(id, topic);
    }

    /// Begins to read partitions, each from its offset, for as long as the source lives.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign(&self, starts: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        let list = self.shared.split(&self.consumer, starts)?;
        self.consumer.assign(&list).map_err(|error| self.shared.refused(starts.first(), &error))?;
        self.shared.wake();
        Ok(())
    }

    /// Joins the group: its partitions come and go through `group`, from and to its other members.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn subscribe(&self, group: Arc<dyn Group>) -> Result<(), SourceError> {
        *self.shared.group.lock() = Some(group);
        let topics = self.shared.topics.read();
        let names: Vec<&str> = topics.values().map(|topic| topic.name.as_str()).collect();
        self.consumer.subscribe(&names).map_err(|error| self.shared.refused(None, &error))?;
        Ok(())
    }

    /// Fires when this source can no longer say that it reads on from where landing is.
    pub async fn must_restart(&self) {
        let mut restart = self.shared.restart.subscribe();
        let _ = restart.wait_for(|restart| *restart).await;
    }

    /// Ids that were made up here for topics that turned out to have been made anew.
    #[must_use]
    pub fn outlived(&self) -> BTreeSet<TopicId> {
        self.shared.outlived.lock().clone()
    }

    /// Whether the broker answers.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.shared.health
    }

    /// Leaves the group, giving partitions up as to another member, and ends the client's work. Blocking.
    pub fn close(&self) {
        self.consumer.unsubscribe();
        let until = Instant::now() + LEAVE_MAX;
        let is_member = self.shared.group.lock().is_some();
        while is_member && !self.shared.partitions.read().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        *self.shared.group.lock() = None;
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.serving.lock().take() {
            let _ = thread.join();
        }
        let _ = self.consumer.unassign();
        // Each holds the consumer: without them it ends.
        self.shared.partitions.write().clear();
    }

    /// Events, rebalances among them, are served by a thread of their own; it never hands over records.
    fn serve(&self) {
        let (consumer, shared, stop) = (Arc::clone(&self.consumer), Arc::clone(&self.shared), Arc::clone(&self.stop));
        let serving = std::thread::Builder::new().name("kafka-events".to_owned()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                match consumer.poll(SERVE_WAIT) {
                    Some(Ok(stray)) => {
                        tracing::warn!(
                            topic = stray.topic(),
                            partition = stray.partition(),
                            "a record came by the wrong way: reading begins anew"
                        );
                        shared.restart.send_replace(true);
                    }
                    Some(Err(error)) => tracing::debug!(%error, "the Kafka client reports"),
                    None => {}
                }
            }
        });
        match serving {
            Ok(thread) => *self.serving.lock() = Some(thread),
            Err(error) => {
                tracing::error!(%error, "the thread for the Kafka client could not be started");
                self.shared.restart.send_replace(true);
            }
        }
    }

    /// An error of a partition's queue: a range that is not there, or a failure that may pass.
    fn trouble(&self, name: &str, id: TopicPartition, next: i64, error: &KafkaError) -> Result<Range, SourceError> {
        let code = error.rdkafka_error_code();
        let out_of_range = matches!(code, Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset));
        if !out_of_range {
            return Err(SourceError::broker(name, id.partition, error));
        }
        let (low, high) = self.fetch_watermarks(name, id.partition)?;
        if low > next {
            return Ok(Range::Gone);
        }
        Ok(Range::Broken(format!(
            "it ends at offset {high}, before offset {next} where landing goes on: the broker has lost records, or the \
             topic was made anew under its old id. Nothing is read, because new records would get offsets that the table \
             has; give the contract a new topic, or make this one anew"
        )))
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn name(&self, topic: TopicId) -> String {
        self.topics.read().get(&topic).map_or_else(|| topic.to_string(), |known| known.name.clone())
    }

    fn id_is_made_up(&self, topic: TopicId) -> bool {
        self.topics.read().get(&topic).is_some_and(|known| known.id_is_made_up)
    }

    /// Why no broker can be spoken to, as far as is known.
    fn why(&self, otherwise: &str) -> String {
        let token = self.token_trouble.lock().clone();
        token.or_else(|| self.connection_trouble.lock().clone()).unwrap_or_else(|| otherwise.to_owned())
    }

    /// Landing looks once at what it was given: a queue that still holds records of an earlier assignment, which
    /// nobody is given, does not say that others have come.
    fn wake(&self) {
        self.topics.read().values().for_each(|topic| tell(&topic.changed));
    }

    fn refused(&self, first: Option<&(TopicPartition, i64)>, error: &KafkaError) -> SourceError {
        let (topic, partition) =
            first.map_or_else(|| ("all topics".to_owned(), -1), |(id, _)| (self.name(id.topic), id.partition));
        SourceError::broker(&topic, partition, error)
    }

    /// A queue for each partition, and the assignment that fills them.
    fn split(
        &self,
        consumer: &Arc<BaseConsumer<Context>>,
        starts: &[(TopicPartition, i64)],
    ) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (id, next_offset) in starts {
            let name = self.name(id.topic);
            let queue = consumer.split_partition_queue(&name, id.partition);
            let mut queue =
                queue.ok_or_else(|| SourceError::broker(&name, id.partition, "the client has no such partition"))?;
            let news = Arc::new(AtomicBool::new(true));
            let (told, changed) =
                (Arc::clone(&news), self.topics.read().get(&id.topic).map(|topic| topic.changed.clone()));
            queue.set_nonempty_callback(move || {
                told.store(true, Ordering::Release);
                changed.iter().for_each(tell);
            });
            let low = self.watermarks.lock().get(&(name.clone(), id.partition)).map_or(0, |(low, _)| *low);
            let gone = (low > *next_offset).then(|| (*next_offset, low - 1));
            list.add_partition_offset(&name, id.partition, Offset::Offset(low.max(*next_offset)))
                .map_err(|error| SourceError::broker(&name, id.partition, error))?;
            let partition = Partition { queue, next_offset: *next_offset, at_end: false, gone, broken: None, news };
            self.partitions.write().insert(*id, Arc::new(Mutex::new(partition)));
        }
        Ok(list)
    }
}

impl Source for KafkaSource {
    fn start_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.watermarks(&self.shared.name(id.topic), id.partition)?.0)
    }

    fn end_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.watermarks(&self.shared.name(id.topic), id.partition)?.1)
    }

    fn is_at_end(&self, id: TopicPartition, next_offset: i64) -> bool {
        let partition = self.shared.partitions.read().get(&id).cloned();
        partition.is_some_and(|partition| {
            let partition = partition.lock();
            partition.at_end && partition.next_offset == next_offset && !partition.news.load(Ordering::Acquire)
        })
    }

    fn watch(&self, topic: TopicId) -> Option<watch::Receiver<u64>> {
        self.shared.topics.read().get(&topic).map(|topic| topic.changed.subscribe())
    }

    fn read(
        &self,
        id: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<i64, SourceError> {
        let Some(partition) = self.shared.partitions.read().get(&id).cloned() else { return Ok(from_offset) };
        let mut partition = partition.lock();
        if partition.next_offset != from_offset {
            // What was handed over did not land. Only the tables say from where to go on.
            self.shared.restart.send_replace(true);
            return Ok(from_offset);
        }
        if let Some(reason) = &partition.broken {
            return Err(SourceError::broker(&self.shared.name(id.topic), id.partition, reason));
        }
        partition.news.store(false, Ordering::Release);
        let (mut next_offset, mut bytes, mut end) = (from_offset, 0, partition.at_end);
        if let Some((first, last)) = partition.gone.take() {
            sink(Item::Gone(first, last));
            next_offset = last + 1;
        }
        while bytes < bytes_max {
            match partition.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    end = false;
                    if message.offset() < next_offset {
                        continue;
                    }
                    let value = message.payload();
                    bytes += value.map_or(0, <[u8]>::len) + RECORD_OVERHEAD_BYTES;
                    let timestamp_ms = message.timestamp().to_millis();
                    sink(Item::Record(FetchedRecord { offset: message.offset(), timestamp_ms, value }));
                    next_offset = message.offset() + 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => end = true,
                Some(Err(error)) => {
                    let name = self.shared.name(id.topic);
                    match self.trouble(&name, id, next_offset, &error) {
                        Ok(Range::Gone) => {
                            self.shared.restart.send_replace(true);
                            break;
                        }
                        Ok(Range::Broken(_)) if self.shared.id_is_made_up(id.topic) => {
                            tracing::warn!(
                                topic = name,
                                partition = id.partition,
                                "the topic ends before what was read of it, so it was deleted and made again: it lands \
                                 from its beginning"
                            );
                            self.shared.outlived.lock().insert(id.topic);
                            self.shared.restart.send_replace(true);
                            break;
                        }
                        Ok(Range::Broken(reason)) => {
                            partition.broken = Some(reason.clone());
                            partition.news.store(true, Ordering::Release);
                            if next_offset == from_offset {
                                return Err(SourceError::broker(&name, id.partition, reason));
                            }
                            break;
                        }
                        Err(error) if next_offset == from_offset => return Err(error),
                        // What was read before it lands first; the broker says it again.
                        Err(_) => break,
                    }
                }
            }
        }
        (partition.next_offset, partition.at_end) = (next_offset, end);
        Ok(next_offset)
    }

    fn is_still(&self, topic: TopicId) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let names = [self.shared.name(topic)];
            let asked = tokio::time::timeout(STILL_MAX, self.topic_ids(&names)).await;
            let ids = asked.ok().and_then(Result::ok).flatten().unwrap_or_default();
            let still = ids.values().all(|id| *id == topic.0);
            if !still {
                self.shared.restart.send_replace(true);
            }
            still
        })
    }

    fn committed(&self, topic: TopicId, last_offsets: &[(i32, i64)]) -> Result<(), SourceError> {
        let name = self.shared.name(topic);
        let mut list = TopicPartitionList::with_capacity(last_offsets.len());
        for (partition, last_offset) in last_offsets {
            if !self.shared.partitions.read().contains_key(&TopicPartition::new(topic, *partition)) {
                continue;
            }
            let refused = |error: KafkaError| self.shared.refused(None, &error);
            list.add_partition_offset(&name, *partition, Offset::Offset(last_offset + 1)).map_err(refused)?;
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group's offsets could not be committed; they are a courtesy");
        }
        Ok(())
    }
}

/// What a record takes beside its value, so that a step of empty records ends too.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// Tells who waits for a topic that there may be more to read.
fn tell(changed: &watch::Sender<u64>) {
    changed.send_modify(|count| *count = count.wrapping_add(1));
}

/// What the client says of its configuration, without the value that it refuses: that may be a secret.
fn without_value(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) if !value.is_empty() => {
            format!("{} ({key})", reason.replace(value.as_str(), "***"))
        }
        KafkaError::ClientConfig(_, reason, key, _) => format!("{reason} ({key})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaConfRes;

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let said = |reason: &str| {
            let (key, value) = ("sasl.pasword".to_owned(), "word1".to_owned());
            without_value(&KafkaError::ClientConfig(
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
                reason.to_owned(),
                key,
                value,
            ))
        };
        assert_eq!(said("No such property"), "No such property (sasl.pasword)");
        assert_eq!(said("Invalid value \"word1\""), "Invalid value \"***\" (sasl.pasword)");
    }
}
