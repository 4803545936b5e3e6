//! Wearers and app users as a load: events from a seed, sent to any Kafka address at a rate.
//!
//! `wearer` is the body, `events` what it sends and what goes wrong on purpose, `client` the producer. Invariant: the
//! same seed, start and count give the same events; what is counted as acknowledged was acknowledged.

pub mod client;
pub mod events;
pub mod guide;
pub mod incident;
pub mod noise;
pub mod wearer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout};

pub use self::client::ProducerError;
use self::client::{Outgoing, Producer};
use self::events::{APP_EVENTS_TOPIC, Event, Mischief, Population, READINGS_TOPIC, Shares};
use self::incident::Incident;

const TICK_MS: u64 = 100;
const EVENTS_PER_SEND_MAX: usize = 5_000;
/// How long a stop waits for what is in flight.
const GRACE_SECONDS: u64 = 5;
const MINUTE_MS: i64 = 60_000;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Kafka address.
    pub kafka: String,
    /// How many wearers.
    pub wearers: u32,
    /// Events a second of all wearers together; 0 is as fast as they are taken.
    pub rate: f64,
    /// Where the random choices start.
    pub seed: u64,
    /// Shares of events that are late, doubled or malformed.
    pub shares: Shares,
    /// Minutes of history to send first.
    pub history_minutes: u32,
    /// Stop after so long.
    pub duration: Option<Duration>,
    /// Stop after so many events.
    pub count: Option<u64>,
    /// The time of the first event; now when absent.
    pub start: Option<DateTime<Utc>>,
    /// What goes wrong on purpose.
    pub incident: Option<Incident>,
}

impl Options {
    /// So many wearers with one event a second each, none of them late, doubled or malformed beyond the usual few.
    #[must_use]
    pub fn new(kafka: &str, wearers: u32) -> Self {
        Self {
            kafka: kafka.to_owned(),
            wearers,
            rate: f64::from(wearers),
            seed: 1,
            shares: Shares { late: 0.02, duplicate: 0.01, malformed: 0.01 },
            history_minutes: 0,
            duration: None,
            count: None,
            start: None,
            incident: None,
        }
    }

    fn population(&self) -> Population {
        Population::new(self.seed, self.wearers, self.rate, self.shares)
    }

    /// When the event with this number happens, in microseconds since 1970.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "microseconds of a run fit 53 bits"
    )]
    fn time_us(&self, start_ms: i64, number: u64) -> i64 {
        let rate = if self.rate > 0.0 { self.rate } else { f64::from(self.wearers) };
        start_ms * 1_000 + (number as f64 / rate * 1_000_000.0) as i64
    }
}

/// What was sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Records sent, copies and history included.
    pub sent: u64,
    /// Records that were acknowledged as durable.
    pub acknowledged: u64,
    /// Records of the history.
    pub history: u64,
    /// Events that told of minutes to hours ago.
    pub late: u64,
    /// Second copies.
    pub duplicate: u64,
    /// Events that break the contract.
    pub malformed: u64,
    /// How long it took so far.
    pub seconds: f64,
}

/// The events of a run, without sending them. Needs `count`; without `start` they begin at the time given.
pub fn dry_run(options: &Options, now: DateTime<Utc>) -> impl Iterator<Item = Event> {
    let population = options.population();
    let start_ms = options.start.unwrap_or(now).timestamp_millis();
    let history = minutes(options, start_ms).flat_map(move |minute| population.minute(minute));
    let live = (0..options.count.unwrap_or(0)).flat_map(move |number| {
        let event = population.event(number, options.time_us(start_ms, number));
        let copy = (event.mischief == Mischief::Duplicate).then(|| event.clone());
        std::iter::once(event).chain(copy).flat_map(|event| afflicted(options.incident, event))
    });
    history.chain(live)
}

/// What is sent in place of an event.
fn afflicted(incident: Option<Incident>, event: Event) -> Vec<Event> {
    incident.map_or_else(|| vec![event.clone()], |incident| incident.afflict(event.clone()))
}

/// Sends events until the count or the duration is reached or `stop` resolves, telling `progress` every second.
///
/// After `stop` the batches in flight have a few seconds left; what is not acknowledged then counts as sent only.
///
/// # Errors
/// When no broker answers, a topic is missing, or a batch is refused for good.
pub async fn run(
    options: &Options,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary, ProducerError> {
    let mut sender = Sender::connect(options).await?;
    let stopped = AtomicBool::new(false);
    let mut sending = Box::pin(sender.run(options, &stopped, &mut progress));
    tokio::select! {
        ended = &mut sending => ended?,
        () = stop => {
            stopped.store(true, Ordering::Relaxed);
            if let Ok(ended) = timeout(Duration::from_secs(GRACE_SECONDS), &mut sending).await {
                ended?;
            }
        }
    }
    drop(sending);
    Ok(sender.finish())
}

/// Whole minutes of history that lie before `start_ms`.
fn minutes(options: &Options, start_ms: i64) -> std::ops::Range<i64> {
    let last = start_ms.div_euclid(MINUTE_MS);
    last - i64::from(options.history_minutes)..last
}

/// How many events are due now.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate times seconds, cut to a batch")]
fn due(options: &Options, began: Instant, number: u64) -> u64 {
    let most = EVENTS_PER_SEND_MAX as u64;
    let left = options.count.map_or(most, |count| count.saturating_sub(number));
    if options.rate <= 0.0 {
        return left.min(most);
    }
    // The first event is due at once.
    let target = (began.elapsed().as_secs_f64() * options.rate) as u64 + 1;
    target.saturating_sub(number).min(left).min(most)
}

/// Collects events into batches by partition and sends them.
struct Sender {
    producer: Producer,
    population: Population,
    batches: BTreeMap<(String, i32), Vec<Outgoing>>,
    waiting: usize,
    summary: Summary,
    began: Instant,
    told: Instant,
    live_clock: bool,
}

impl Sender {
    async fn connect(options: &Options) -> Result<Self, ProducerError> {
        let producer = Producer::connect(&options.kafka, &[READINGS_TOPIC, APP_EVENTS_TOPIC]).await?;
        Ok(Self {
            producer,
            population: options.population(),
            batches: BTreeMap::new(),
            waiting: 0,
            summary: Summary::default(),
            began: Instant::now(),
            told: Instant::now(),
            live_clock: options.start.is_none() && options.rate <= 0.0,
        })
    }

    async fn run(
        &mut self,
        options: &Options,
        stopped: &AtomicBool,
        progress: &mut impl FnMut(&Summary),
    ) -> Result<(), ProducerError> {
        let start_ms = options.start.unwrap_or_else(Utc::now).timestamp_millis();
        for minute in minutes(options, start_ms) {
            for event in self.population.minute(minute) {
                self.summary.history += 1;
                self.add(event);
                self.flush_when_full().await?;
            }
            self.tell(progress);
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        self.flush().await?;
        self.live(options, start_ms, stopped, progress).await
    }

    async fn live(
        &mut self,
        options: &Options,
        start_ms: i64,
        stopped: &AtomicBool,
        progress: &mut impl FnMut(&Summary),
    ) -> Result<(), ProducerError> {
        let began = Instant::now();
        let until = options.duration.map(|duration| began + duration);
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
            let due = due(options, began, number);
            for _ in 0..due {
                self.take(options, start_ms, number);
                number += 1;
            }
            self.flush().await?;
            self.tell(progress);
            if options.count.is_some_and(|count| number >= count) {
                break;
            }
            // Who is behind does not wait.
            if due < EVENTS_PER_SEND_MAX as u64 {
                let tick = Instant::now() + Duration::from_millis(TICK_MS);
                sleep_until(until.map_or(tick, |until| until.min(tick))).await;
            }
        }
        Ok(())
    }

    /// Makes one event and counts it.
    fn take(&mut self, options: &Options, start_ms: i64, number: u64) {
        // Without a rate events are made as fast as they are taken, so that only the clock keeps them from the future;
        // the number's last digits keep two readings of one device in one millisecond apart.
        let apart_us = i64::try_from(number % 1_000).unwrap_or(0);
        let at_us = if self.live_clock {
            Utc::now().timestamp_millis() * 1_000 + apart_us
        } else {
            options.time_us(start_ms, number)
        };
        let event = self.population.event(number, at_us);
        match event.mischief {
            Mischief::None => {}
            Mischief::Late => self.summary.late += 1,
            Mischief::Malformed => self.summary.malformed += 1,
            Mischief::Duplicate => {
                self.summary.duplicate += 1;
                self.add(event.clone());
            }
        }
        afflicted(options.incident, event).into_iter().for_each(|event| self.add(event));
    }

    fn add(&mut self, event: Event) {
        let partitions = self.producer.partition_count(event.topic);
        let partition = vitalake_ingest::murmur2::partition(event.key.as_bytes(), partitions);
        let record = Outgoing { key: event.key.into(), value: event.value.into(), timestamp_ms: event.sent_at_ms };
        let partition = i32::try_from(partition).unwrap_or(0);
        self.batches.entry((event.topic.to_owned(), partition)).or_default().push(record);
        self.summary.sent += 1;
        self.waiting += 1;
    }

    /// Sends what was collected once it is a good load: a flush is a sync of the broker's disk.
    async fn flush_when_full(&mut self) -> Result<(), ProducerError> {
        if self.waiting >= EVENTS_PER_SEND_MAX { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), ProducerError> {
        self.waiting = 0;
        if !self.batches.is_empty() {
            self.summary.acknowledged += self.producer.send(std::mem::take(&mut self.batches)).await?;
        }
        Ok(())
    }

    fn tell(&mut self, progress: &mut impl FnMut(&Summary)) {
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.told = Instant::now();
            self.summary.seconds = self.began.elapsed().as_secs_f64();
            progress(&self.summary);
        }
    }

    fn finish(mut self) -> Summary {
        self.summary.seconds = self.began.elapsed().as_secs_f64();
        self.summary
    }
}
