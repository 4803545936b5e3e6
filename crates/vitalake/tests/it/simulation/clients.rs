//! What outlives a crash on the clients' side, and what clients do meanwhile: they send, look, read HEAD, and take the
//! disk's room away.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_ingest::log::{BatchBuilder, CheckedBatch, Log, ProducerSequence, TopicPartition};
use vitalake_runtime::disk::CrashDisk;

use super::life::Life;
use super::looks::{Counts, head, passes_its_gate};
use crate::rehearsal::process::ProcessDisk;
use crate::rehearsal::truth::{Record, Ticks};
use crate::rehearsal::{Dice, project};

/// What outlives a crash on the side of clients.
pub struct World {
    pub producers: Vec<Arc<tokio::sync::Mutex<Producer>>>,
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    /// The most that readers have seen.
    pub seen: Mutex<Counts>,
    pub looks: AtomicU64,
    pub published: AtomicU64,
    pub failure: Mutex<Option<String>>,
}

impl World {
    pub fn fail(&self, what: String) {
        self.failure.lock().get_or_insert(what);
    }
}

/// An idempotent producer of one partition: the same batch again until it is acknowledged.
pub struct Producer {
    pub partition: i32,
    pub source: Ticks,
    pub dice: Dice,
    pub sequence: i32,
    pub pending: Option<Vec<Record>>,
    pub acknowledged: Vec<Record>,
    pub tries: u64,
    pub sent_again: u64,
}

impl Producer {
    pub fn new(seed: u64, partition: i32) -> Self {
        Self {
            partition,
            source: Ticks::new(seed, partition),
            dice: Dice::new(seed.wrapping_add(77 + partition as u64)),
            sequence: 0,
            pending: None,
            acknowledged: Vec::new(),
            tries: 0,
            sent_again: 0,
        }
    }

    /// Sends one batch once.
    pub async fn send(&mut self, world: &World, log: &Log) -> Result<(), String> {
        let records = match self.pending.take() {
            Some(records) => records,
            None => {
                let records: Vec<Record> = (0..=self.dice.below(20)).map(|_| self.source.make()).collect();
                world.sent.fetch_add(records.len() as u64, Ordering::SeqCst);
                self.tries = 0;
                records
            }
        };
        let mut batch = BatchBuilder::new();
        for record in &records {
            batch.push(1_767_225_600_000, Some(b"key"), Some(&record.bytes()));
        }
        let id = 1_000 + i64::from(self.partition);
        let bytes = batch.build(Some(ProducerSequence { id, epoch: 0, sequence: self.sequence }));
        let topic = log.topic(project::TOPIC).ok_or("the topic is gone")?.id;
        let ticket = log.append(TopicPartition::new(topic, self.partition), CheckedBatch::new(bytes).unwrap());
        self.sent_again += u64::from(self.tries > 0);
        self.tries += 1;
        self.pending = Some(records);
        match ticket.await {
            Ok(_) => {
                let records = self.pending.take().unwrap_or_default();
                self.sequence += records.len() as i32;
                world.acknowledged.fetch_add(records.len() as u64, Ordering::SeqCst);
                self.acknowledged.extend(records);
                Ok(())
            }
            Err(error) if error.retry() => Ok(()),
            Err(error) => Err(format!("partition {} refused a batch for good: {error}", self.partition)),
        }
    }
}

pub async fn produce(world: Arc<World>, life: Arc<Life>, producer: Arc<tokio::sync::Mutex<Producer>>) {
    let mut producer = producer.lock().await;
    while life.disk.is_alive() {
        if let Err(what) = producer.send(&world, life.log()).await {
            return world.fail(what);
        }
        let wait = producer.dice.below(6);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// The disk is full or read-only for a moment, again and again: what was under way is left half done.
pub async fn refuse_writes_now_and_then(disk: CrashDisk, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
        let kind = if dice.once_in(2) { ErrorKind::StorageFull } else { ErrorKind::ReadOnlyFilesystem };
        disk.fail_writes(Some(kind));
        tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
        disk.fail_writes(None);
    }
}

pub async fn dead(disk: &ProcessDisk) {
    while disk.is_alive() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Readers: from the moment when the platform says that it is ready, counts never fall and never overshoot.
pub async fn watch(world: Arc<World>, life: Arc<Life>) {
    let acknowledged = life.acknowledged;
    while !life.platform.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut floor = *world.seen.lock();
    let mut first = true;
    loop {
        let counts = match life.look().await {
            Ok(counts) => counts,
            Err(_) if !life.disk.is_alive() => return,
            Err(what) => return world.fail(format!("a query failed: {what}")),
        };
        let sent = world.sent.load(Ordering::SeqCst) as i64;
        let arrived = counts.raw + counts.rejected;
        if !counts.not_below(&floor) || !counts.consistent() || arrived > sent || (first && arrived < acknowledged) {
            return world.fail(format!(
                "readers see {counts:?} after {floor:?}, with {sent} sent, {acknowledged} acknowledged before the start"
            ));
        }
        first = false;
        floor = floor.max(&counts);
        *world.seen.lock() = floor;
        world.looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// A foreign reader beside everything else: it never meets what the gate has not passed.
pub async fn read_head_forever(world: Arc<World>, life: Arc<Life>) {
    loop {
        match head(life.platform.lake().store()).await {
            Ok(ticks) if passes_its_gate(ticks) => {
                world.published.fetch_add(u64::from(ticks > 0), Ordering::Relaxed);
            }
            Ok(ticks) => return world.fail(format!("a foreign reader finds {ticks} ticks, which no gate has passed")),
            Err(_) if !life.disk.is_alive() => return,
            Err(what) => return world.fail(what),
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
