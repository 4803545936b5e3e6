//! Apache Kafka, or what speaks its protocol such as Azure Event Hubs, as the source of records.
//!
//! librdkafka fetches; each partition has a queue of its own that landing's steps poll straight into the decoder
//! (`partition`). Offsets of record are in the Delta log: the group's are committed after, for tools that show lag.
//! Invariant: a partition is read from exactly where landing says; where that cannot be, `restart` fires and everything
//! begins anew.

mod context;
mod options;
mod partition;
mod reading;
mod shared;
mod token;
mod topics;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use tokio::sync::watch;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::Health;

use context::Context;
pub use context::Group;
pub use options::BrokerOptions;
use options::without_value;
use shared::{Shared, Topic};
use token::TokenOptions;
pub use topics::{TopicProblem, TopicState};

use super::SourceError;
use crate::log::{TopicId, TopicPartition};

/// How long a question to the broker may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a commit waits to be told whether its topic is still the same.
const CHECK_MAX: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How long the serving thread waits for events at a time.
const SERVE_WAIT: Duration = Duration::from_millis(100);

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
    pub fn connect(options: BrokerOptions, health: Health, clock: Clock) -> Result<Arc<Self>, TopicProblem> {
        let tokens = TokenOptions::parse(&options.properties).map_err(|reason| TopicProblem::Client { reason })?;
        let shared = Arc::new(Shared::new(health, clock, tokens));
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
    pub fn replaced_topics(&self) -> BTreeSet<TopicId> {
        self.shared.replaced.lock().clone()
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
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
