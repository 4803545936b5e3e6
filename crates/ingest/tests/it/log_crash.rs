//! Power failures at every kind of moment: nothing acknowledged is lost, nothing is there twice, order is kept.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use vitalake_ingest::log::{Log, LogError, ProducerSequence, TopicPartition};
use vitalake_runtime::disk::CrashDisk;

use crate::support::{checked, open, options, read_all, values, wait};

const PRODUCERS: i64 = 3;
const PARTITIONS: i32 = 2;
const IN_FLIGHT_MAX: usize = 5;

/// An idempotent producer as clients are: retries what is unanswered, in order, under the same sequences.
struct Producer {
    id: i64,
    partition: i32,
    next_sequence: i32,
    made: u64,
    unanswered: Vec<(i32, Vec<String>)>,
    acknowledged: Vec<(i64, Vec<String>)>,
}

impl Producer {
    fn fill(&mut self, random: &mut StdRng) {
        while self.unanswered.len() < IN_FLIGHT_MAX {
            let count = random.random_range(1..6);
            let values: Vec<String> = (0..count).map(|_| self.value(random)).collect();
            self.unanswered.push((self.next_sequence, values));
            self.next_sequence += count;
        }
    }

    fn value(&mut self, random: &mut StdRng) -> String {
        self.made += 1;
        format!("{}-{}-{}", self.id, self.made, "x".repeat(random.random_range(0..200)))
    }

    fn send(&mut self, log: &Log, topic: TopicPartition) {
        let send = |(sequence, values): &(i32, Vec<String>)| {
            log.append(topic, checked(values, Some(ProducerSequence { id: self.id, epoch: 0, sequence: *sequence })))
        };
        let tickets: Vec<_> = self.unanswered.iter().map(send).collect();
        let mut still = Vec::new();
        for (ticket, (sequence, values)) in tickets.into_iter().zip(std::mem::take(&mut self.unanswered)) {
            match wait(ticket) {
                Ok(appended) => self.acknowledged.push((appended.base_offset, values)),
                Err(LogError::UnknownProducer(_)) => panic!("the log forgot producer {}", self.id),
                Err(_) => still.push((sequence, values)),
            }
        }
        self.unanswered = still;
    }
}

fn crash_run(seed: u64, crashes: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = CrashDisk::new(seed);
    let mut producers: Vec<Producer> = (0..PRODUCERS)
        .map(|id| Producer {
            id: id + 100,
            partition: (id % i64::from(PARTITIONS)) as i32,
            next_sequence: 0,
            made: 0,
            unanswered: Vec::new(),
            acknowledged: Vec::new(),
        })
        .collect();
    let topic = {
        let (log, _) = open(&disk, options());
        log.ensure_topic("readings", PARTITIONS as u32).unwrap()
    };
    for _ in 0..crashes {
        let (log, report) = open(&disk, options());
        assert!(report.partitions.iter().all(|partition| partition.damage.is_none()), "seed {seed}: {report:?}");
        assert_eq!(log.ensure_topic("readings", PARTITIONS as u32).unwrap(), topic, "seed {seed}");
        disk.kill_after(random.random_range(1..40));
        while !disk.is_dead() {
            for producer in &mut producers {
                producer.fill(&mut random);
                producer.send(&log, TopicPartition::new(topic, producer.partition));
            }
        }
        drop(log);
        disk.crash();
    }
    let (log, report) = open(&disk, options());
    assert!(report.partitions.iter().all(|partition| partition.damage.is_none()), "seed {seed}: {report:?}");
    for producer in &mut producers {
        producer.send(&log, TopicPartition::new(topic, producer.partition));
        assert!(producer.unanswered.is_empty(), "seed {seed}: a healthy disk refuses");
    }
    check(&log, topic, &producers, seed);
}

fn check(log: &Log, topic: vitalake_ingest::log::TopicId, producers: &[Producer], seed: u64) {
    for partition in 0..PARTITIONS {
        let found = values(&read_all(log, TopicPartition::new(topic, partition)));
        for (expected, (offset, _)) in (0..).zip(&found) {
            assert_eq!(*offset, expected, "seed {seed}: offsets follow each other");
        }
        for producer in producers.iter().filter(|producer| producer.partition == partition) {
            let own: Vec<&str> = found
                .iter()
                .map(|(_, value)| value.as_str())
                .filter(|value| value.starts_with(&format!("{}-", producer.id)))
                .collect();
            let sent: Vec<&str> =
                producer.acknowledged.iter().flat_map(|(_, values)| values).map(String::as_str).collect();
            assert_eq!(own, sent, "seed {seed}: each record once, in order");
            for (base, values) in &producer.acknowledged {
                assert_eq!(found[*base as usize].1, values[0], "seed {seed}: at the offset that was answered");
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_power_failures() {
    let first: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    for seed in first..first + seeds {
        crash_run(seed, 12);
    }
}
