//! What the client's callbacks, the thread that serves it and landing's reads share.
//!
//! Invariant: locks here are held for a look or a change, never while the broker is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::Health;

use super::context::{Context, Group};
use super::partition::Partition;
use super::token::TokenOptions;
use crate::log::{TopicId, TopicPartition};
use crate::source::SourceError;

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) changed: watch::Sender<u64>,
    /// Whether its id is made here, because the broker does not tell one.
    pub(super) id_is_made_up: bool,
}

/// What the consumer's callbacks and the source share.
pub(super) struct Shared {
    pub(super) topics: RwLock<BTreeMap<TopicId, Topic>>,
    pub(super) partitions: RwLock<BTreeMap<TopicPartition, Arc<Mutex<Partition>>>>,
    /// First and last-stable offsets by topic and partition, as last heard.
    pub(super) watermarks: Mutex<BTreeMap<(String, i32), (i64, i64)>>,
    pub(super) health: Health,
    pub(super) clock: Clock,
    /// Where the brokers are that the client has heard of.
    pub(super) addresses: Mutex<BTreeSet<String>>,
    /// Where tokens come from, if any are wanted, and why the last could not be had.
    pub(super) tokens: Option<TokenOptions>,
    pub(super) token_trouble: Mutex<Option<String>>,
    /// The last failure of a connection, until a broker is connected again.
    pub(super) connection_trouble: Mutex<Option<String>>,
    /// Whether no broker was connected when the client last told.
    pub(super) was_down: AtomicBool,
    /// Ids that were made up for topics of which there is another by now.
    pub(super) replaced: Mutex<BTreeSet<TopicId>>,
    pub(super) restart: watch::Sender<bool>,
    pub(super) consumer: OnceLock<std::sync::Weak<BaseConsumer<Context>>>,
    pub(super) group: Mutex<Option<Arc<dyn Group>>>,
}

impl Shared {
    pub(super) fn new(health: Health, clock: Clock, tokens: Option<TokenOptions>) -> Self {
        Self {
            topics: RwLock::default(),
            partitions: RwLock::default(),
            watermarks: Mutex::default(),
            health,
            clock,
            addresses: Mutex::default(),
            tokens,
            token_trouble: Mutex::default(),
            connection_trouble: Mutex::default(),
            was_down: AtomicBool::new(false),
            replaced: Mutex::default(),
            restart: watch::channel(false).0,
            consumer: OnceLock::new(),
            group: Mutex::new(None),
        }
    }

    pub(super) fn name(&self, topic: TopicId) -> String {
        self.topics.read().get(&topic).map_or_else(|| topic.to_string(), |known| known.name.clone())
    }

    pub(super) fn id_is_made_up(&self, topic: TopicId) -> bool {
        self.topics.read().get(&topic).is_some_and(|known| known.id_is_made_up)
    }

    /// Why no broker can be spoken to, as far as is known.
    pub(super) fn why(&self, otherwise: &str) -> String {
        let token = self.token_trouble.lock().clone();
        token.or_else(|| self.connection_trouble.lock().clone()).unwrap_or_else(|| otherwise.to_owned())
    }

    /// Landing looks once at what it was given: a queue that still holds records of an earlier assignment, which
    /// nobody is given, does not say that others have come.
    pub(super) fn wake(&self) {
        self.topics.read().values().for_each(|topic| tell(&topic.changed));
    }

    pub(super) fn refused(&self, first: Option<&(TopicPartition, i64)>, error: &KafkaError) -> SourceError {
        let (topic, partition) =
            first.map_or_else(|| ("all topics".to_owned(), -1), |(id, _)| (self.name(id.topic), id.partition));
        SourceError::broker(&topic, partition, error)
    }

    /// A queue for each partition, and the assignment that fills them.
    pub(super) fn split(
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
            let partition = Partition::new(queue, *next_offset, gone, news);
            self.partitions.write().insert(*id, Arc::new(Mutex::new(partition)));
        }
        Ok(list)
    }
}

/// Tells who waits for a topic that there may be more to read.
pub(super) fn tell(changed: &watch::Sender<u64>) {
    changed.send_modify(|count| *count = count.wrapping_add(1));
}
