//! What was sent, and what the tables must hold because of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Dice;

/// A reading; two with the same key are the same tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    pub id: String,
    pub device: String,
    pub hour: i64,
    pub minute: i64,
    pub steps: i64,
}

#[derive(Clone, Debug)]
pub enum Record {
    Good {
        n: i64,
        tick: Tick,
    },
    /// What it is made of is not allowed, or is no JSON.
    Bad {
        bytes: Vec<u8>,
    },
}

impl Record {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Good { n, tick } => tick_json(*n, tick, tick.steps).into_bytes(),
            Self::Bad { bytes } => bytes.clone(),
        }
    }
}

fn tick_json(n: i64, tick: &Tick, steps: i64) -> String {
    let Tick { id, device, hour, minute, .. } = tick;
    let (day, hour) = (hour / 24 + 1, hour % 24);
    format!(
        r#"{{"n":{n},"tick_id":"{id}","device":"{device}","at":"2026-01-{day:02}T{hour:02}:{minute:02}:00Z","steps":{steps}}}"#
    )
}

/// Makes the records of one partition: some twice, some with another's key, some wrong.
#[derive(Debug)]
pub struct Ticks {
    dice: Dice,
    partition: i32,
    next: i64,
    ticks: Vec<Tick>,
}

impl Ticks {
    pub fn new(seed: u64, partition: i32) -> Self {
        Self { dice: Dice::new(seed ^ (0xabcd + partition as u64)), partition, next: 0, ticks: Vec::new() }
    }

    pub fn make(&mut self) -> Record {
        let n = self.next * 2 + i64::from(self.partition);
        self.next += 1;
        if !self.ticks.is_empty() && self.dice.once_in(8) {
            let mut tick = self.ticks[self.dice.below(self.ticks.len() as u64) as usize].clone();
            if self.dice.once_in(3) {
                tick.steps += 1_000;
            }
            return Record::Good { n, tick };
        }
        let tick = Tick {
            id: format!("t{n}"),
            device: format!("d{}", self.dice.below(5)),
            hour: (n / 200 - self.dice.below(6) as i64).clamp(0, 24 * 25),
            minute: self.dice.below(60) as i64,
            steps: self.dice.below(100) as i64,
        };
        if self.dice.once_in(20) {
            let bytes = match self.dice.below(3) {
                0 => tick_json(n, &tick, -1).into_bytes(),
                1 => format!(r#"{{"n":{n},"tick_id"#).into_bytes(),
                _ => [format!("{n}").as_bytes(), &[0xff, 0x00]].concat(),
            };
            return Record::Bad { bytes };
        }
        self.ticks.push(tick.clone());
        Record::Good { n, tick }
    }
}

/// What the tables hold when everything that was sent has arrived once.
#[derive(Debug, Default)]
pub struct Truth {
    pub raw: BTreeSet<i64>,
    pub rejected: Vec<Vec<u8>>,
    pub curated: HashMap<String, Tick>,
    /// Records with the key of another and other values.
    pub conflicts: u64,
    /// By device and hour: how many, steps, most.
    pub hourly: BTreeMap<(String, i64), (i64, i64, i64)>,
}

impl Truth {
    /// Of each partition's records, in their order. A key never comes in two partitions.
    pub fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut truth = Self::default();
        for record in records {
            match record {
                Record::Bad { bytes } => truth.rejected.push(bytes.clone()),
                Record::Good { n, tick } => {
                    assert!(truth.raw.insert(*n));
                    match truth.curated.get(&tick.id) {
                        Some(known) if known == tick => {}
                        Some(_) => truth.conflicts += 1,
                        None => {
                            truth.curated.insert(tick.id.clone(), tick.clone());
                        }
                    }
                }
            }
        }
        truth.rejected.sort();
        for tick in truth.curated.values() {
            let group = truth.hourly.entry((tick.device.clone(), tick.hour)).or_insert((0, 0, i64::MIN));
            *group = (group.0 + 1, group.1 + tick.steps, group.2.max(tick.steps));
        }
        truth
    }
}
