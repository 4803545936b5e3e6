//! Requests over HTTP into the log: the same log as the Kafka endpoint's, answered when what they brought is durable.
//!
//! A request is unpacked (`unpack`), split into records (`decode::request`), its records keyed and put into one batch for
//! each partition (`batches`), and appended. Landing decodes them as it does all others. Invariant: nothing is answered
//! as accepted before it is durable, and what a request with a key has brought is there once.

mod batches;
mod error;
mod keys;
mod unpack;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use vitalake_contract::{Contract, Source};
use vitalake_runtime::clock::Clock;

use crate::decode::Rejected;
use crate::log::{AppendTicket, Log, TopicInfo, TopicPartition};
use batches::Batches;

pub use crate::decode::BodyForm;
pub use error::GatewayError;
pub use unpack::Packing;

/// What requests may bring, each limit with its default and unit.
#[derive(Clone, Copy, Debug)]
pub struct GatewayOptions {
    /// A larger body, unpacked, is refused. Default 8 MiB, as a batch by Kafka's protocol.
    pub body_bytes_max: usize,
    /// A larger record is rejected. Default 1 MiB.
    pub record_bytes_max: usize,
    /// More records in one request are refused. Default 100,000.
    pub records_max: usize,
    /// Bytes of requests that wait for the disk; beyond them others are told to come back. Default 256 MiB.
    pub waiting_bytes_max: usize,
    /// How long the disk may take. Default 30 s.
    pub durable_wait_max: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            record_bytes_max: 1 << 20,
            records_max: 100_000,
            waiting_bytes_max: 256 << 20,
            durable_wait_max: Duration::from_secs(30),
        }
    }
}

/// What somebody sends.
#[derive(Clone, Debug)]
pub struct Request {
    /// The sender's name.
    pub client: String,
    /// How the records stand in the body.
    pub form: BodyForm,
    /// How the body is packed.
    pub packing: Packing,
    /// The body as it came.
    pub body: Bytes,
    /// The sender's `Idempotency-Key`.
    pub key: Option<String>,
    /// A key for all of its records, in place of what stands in them.
    pub partition_key: Option<String>,
    /// The one subject that the sender may write of.
    pub subject: Option<String>,
}

/// What was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The request's id, which each of its records carries in the header [`REQUEST_HEADER`].
    pub request: Uuid,
    /// Records that are durable in the log.
    pub accepted: u64,
    /// What stood where a record should and was none.
    pub rejected: Vec<Rejected>,
    /// Whether all of it had been taken before, under the same key.
    pub replayed: bool,
}

/// The header of a record that names the request which brought it.
pub const REQUEST_HEADER: &str = "request";

/// The way into one log by requests.
#[derive(Debug)]
pub struct Gateway {
    log: Arc<Log>,
    clock: Clock,
    options: GatewayOptions,
    /// Requests that are unpacked and split at once: that bounds what they become.
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Producers whose requests are being taken.
    in_use: Mutex<HashSet<i64>>,
}

/// What is ready for the log.
struct Prepared {
    batches: Batches,
    topic: TopicInfo,
    rejected: Vec<Rejected>,
    /// What the batches hold in memory.
    _waiting: OwnedSemaphorePermit,
    in_use: Option<i64>,
}

impl Gateway {
    /// A way into a log.
    #[must_use]
    pub fn new(log: Arc<Log>, clock: Clock, options: GatewayOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let (turns, waiting) =
            (Semaphore::new(cores), Semaphore::new(options.waiting_bytes_max.min(u32::MAX as usize)));
        Self { log, clock, options, turns: turns.into(), waiting: waiting.into(), in_use: Mutex::default() }
    }

    /// Takes a request for a contract's topic. It is taken to its end also when nobody waits for the answer any longer.
    ///
    /// # Errors
    /// Every [`GatewayError`].
    pub async fn take(self: &Arc<Self>, contract: &Arc<Contract>, request: Request) -> Result<Taken, GatewayError> {
        if self.log.admit().await > 0 {
            return Err(GatewayError::Behind("the platform is behind with what it has taken"));
        }
        self.log.room()?;
        let (gateway, contract) = (Arc::clone(self), Arc::clone(contract));
        let work = tokio::spawn(async move { gateway.work(contract, request).await });
        work.await.unwrap_or(Err(GatewayError::Interrupted))
    }

    async fn work(self: Arc<Self>, contract: Arc<Contract>, request: Request) -> Result<Taken, GatewayError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| GatewayError::Interrupted)?;
        let gateway = Arc::clone(&self);
        let prepare = move || {
            let _turn = turn;
            gateway.prepare(&contract, request)
        };
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|_| GatewayError::Interrupted)??;
        let in_use = prepared.in_use;
        let taken = self.append(prepared).await;
        if let Some(producer) = in_use {
            self.in_use.lock().remove(&producer);
        }
        taken
    }

    /// All that needs the processor, and a look at what the log knows of the request's key.
    fn prepare(&self, contract: &Contract, request: Request) -> Result<Prepared, GatewayError> {
        let Some(Source::Stream { topic, .. }) = &contract.source else { return Err(GatewayError::Interrupted) };
        let topic = self.log.topic(topic).filter(|topic| topic.active).ok_or(GatewayError::Interrupted)?;
        let now_ms = self.clock.now_ms();
        let (batches, rejected) = Batches::of(contract, request, topic.partitions, (now_ms, &self.options))?;
        let behind = |_| GatewayError::Behind("too many requests wait for the disk");
        let bytes = u32::try_from(batches.bytes().min(self.options.waiting_bytes_max)).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.waiting).try_acquire_many_owned(bytes).map_err(behind)?;
        let mut prepared = Prepared { batches, topic, rejected, _waiting: waiting, in_use: None };
        let Some(once) = prepared.batches.once else { return Ok(prepared) };
        if !self.in_use.lock().insert(once.producer.id) {
            return Err(GatewayError::KeyInUse);
        }
        prepared.in_use = Some(once.producer.id);
        for partition in 0..i32::try_from(prepared.topic.partitions).unwrap_or(i32::MAX) {
            let known = self.log.only_batch(TopicPartition::new(prepared.topic.id, partition), once.producer.id);
            match known {
                Ok(None) => {}
                Ok(Some(sequence)) if sequence == once.producer.sequence => {}
                other => {
                    self.in_use.lock().remove(&once.producer.id);
                    return Err(other.map_or_else(GatewayError::Log, |_| GatewayError::KeyReused));
                }
            }
        }
        Ok(prepared)
    }

    /// Appends one batch to each partition, and waits until all are durable.
    async fn append(&self, prepared: Prepared) -> Result<Taken, GatewayError> {
        let Prepared { batches, topic, rejected, .. } = &prepared;
        let deadline = Instant::now() + self.options.durable_wait_max;
        let checked = batches.checked()?;
        let append = |(partition, batch)| {
            let id = TopicPartition::new(topic.id, partition);
            (id, self.log.append(id, batch))
        };
        let tickets: Vec<(TopicPartition, AppendTicket)> = checked.into_iter().map(append).collect();
        let (mut replayed, mut failed) = (true, None);
        for (id, ticket) in tickets {
            match timeout_at(deadline, ticket).await {
                Ok(Ok(appended)) => replayed &= appended.duplicate,
                Ok(Err(error)) => failed = failed.or(Some(batches.refused(error))),
                Err(_) => failed = failed.or(Some(GatewayError::TimedOut(id))),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                Ok(Taken { request: batches.request, accepted: batches.records, rejected: rejected.clone(), replayed })
            }
        }
    }
}
