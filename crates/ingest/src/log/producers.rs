//! Idempotent producers of one partition: which sequences were written, so that a retried batch is one batch.
//!
//! The last five batches of each producer are remembered, as Kafka does, for 24 h, rebuilt from the snapshot at the
//! last segment's beginning and the batches after it. Invariant: what a failed group changed is undone, so memory
//! never knows a batch that the log does not hold; and of ids, which clients choose, no more are kept than the limit.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use vitalake_runtime::disk::Disk;

use super::batch::BatchHeader;

const BATCHES_REMEMBERED: usize = 5;

/// The epoch of a producer that sends one batch in its life, as each request with a key of its own is. Its sequence says
/// what it sends: another content under the same id is refused. No client of Kafka's comes to this epoch.
pub const ONE_BATCH_EPOCH: i16 = i16::MAX;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    append_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    last_append_ms: i64,
    seen: VecDeque<Seen>,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it.
    Fresh,
    /// It is there already.
    Duplicate { base_offset: i64, append_time_ms: i64 },
    /// Its sequence is not the next.
    OutOfOrder { want: i32 },
    /// It goes on a sequence that nobody remembers.
    Unknown,
    /// A newer epoch has written.
    Fenced,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(super) struct Producers {
    states: HashMap<i64, Producer>,
    undo: HashMap<i64, Option<Producer>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: i64,
    producer: Producer,
}

impl Producers {
    /// Judges a batch by its sequence.
    pub(super) fn judge(&self, header: &BatchHeader) -> Verdict {
        if header.producer_id < 0 {
            return Verdict::Fresh;
        }
        let one_batch = header.producer_epoch == ONE_BATCH_EPOCH;
        let Some(known) = self.states.get(&header.producer_id) else {
            return if header.base_sequence == 0 || one_batch { Verdict::Fresh } else { Verdict::Unknown };
        };
        if header.producer_epoch < known.epoch {
            return Verdict::Fenced;
        }
        if one_batch && known.epoch == ONE_BATCH_EPOCH && known.seen.is_empty() {
            return Verdict::Fresh;
        }
        if header.producer_epoch > known.epoch {
            return if header.base_sequence == 0 { Verdict::Fresh } else { Verdict::OutOfOrder { want: 0 } };
        }
        let last_sequence = sequence_after(header.base_sequence, header.last_offset_delta);
        if let Some(seen) = known
            .seen
            .iter()
            .find(|seen| seen.first_sequence == header.base_sequence && seen.last_sequence == last_sequence)
        {
            return Verdict::Duplicate { base_offset: seen.base_offset, append_time_ms: seen.append_time_ms };
        }
        if header.base_sequence == known.next_sequence && !one_batch {
            Verdict::Fresh
        } else {
            Verdict::OutOfOrder { want: known.next_sequence }
        }
    }

    /// The sequence of the one batch that a producer has sent; none where it is no such producer.
    pub(super) fn only_batch(&self, producer_id: i64) -> Option<i32> {
        let known = self.states.get(&producer_id).filter(|known| known.epoch == ONE_BATCH_EPOCH)?;
        known.seen.back().map(|seen| seen.first_sequence)
    }

    /// Remembers a batch that is being written; undone by `roll_back` until `commit`.
    pub(super) fn remember(&mut self, header: &BatchHeader, base_offset: i64, append_time_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        let before = self.states.get(&header.producer_id).cloned();
        let mut producer =
            before.clone().filter(|known| known.epoch == header.producer_epoch).unwrap_or_else(|| Producer {
                epoch: header.producer_epoch,
                next_sequence: 0,
                last_append_ms: 0,
                seen: VecDeque::with_capacity(BATCHES_REMEMBERED),
            });
        self.undo.entry(header.producer_id).or_insert(before);
        let last_sequence = sequence_after(header.base_sequence, header.last_offset_delta);
        if producer.seen.len() == BATCHES_REMEMBERED {
            producer.seen.pop_front();
        }
        producer.seen.push_back(Seen {
            first_sequence: header.base_sequence,
            last_sequence,
            base_offset,
            append_time_ms,
        });
        producer.next_sequence = sequence_after(last_sequence, 1);
        producer.last_append_ms = append_time_ms;
        self.states.insert(header.producer_id, producer);
    }

    /// A producer's first batch was refused for a passing reason: its later ones, already on their way, must wait for it.
    /// Beyond the limit it is not remembered: refusals alone drive no producer out that has written.
    pub(super) fn expect_first(&mut self, header: &BatchHeader, now_ms: i64, producers_max: usize) {
        if header.producer_id >= 0 && header.base_sequence == 0 && self.states.len() < producers_max {
            self.states.entry(header.producer_id).or_insert_with(|| Producer {
                epoch: header.producer_epoch,
                next_sequence: 0,
                last_append_ms: now_ms,
                seen: VecDeque::new(),
            });
        }
    }

    /// The group is durable. Beyond the limit an eighth of it is forgotten at once, so that a client that takes a new id
    /// for each batch does not have all of them looked through each time.
    pub(super) fn commit(&mut self, producers_max: usize) {
        self.undo.clear();
        if self.states.len() > producers_max {
            self.forget_beyond(producers_max - producers_max / 8);
        }
    }

    /// The group failed. A producer that was new in it is kept as one whose first batch is still to come, within the limit.
    pub(super) fn roll_back(&mut self, producers_max: usize) {
        for (id, before) in self.undo.drain() {
            match before {
                Some(before) => {
                    self.states.insert(id, before);
                }
                None if self.states.len() > producers_max => {
                    self.states.remove(&id);
                }
                None => {
                    if let Some(producer) = self.states.get_mut(&id) {
                        producer.seen.clear();
                        producer.next_sequence = 0;
                    }
                }
            }
        }
    }

    /// Forgets who has been silent since before, and the longest silent beyond the limit.
    pub(super) fn expire(&mut self, before_ms: i64, producers_max: usize) {
        self.states.retain(|_, producer| producer.last_append_ms >= before_ms);
        self.forget_beyond(producers_max);
    }

    /// Forgets the longest silent until so many are left; of those that wrote in the same millisecond, any.
    fn forget_beyond(&mut self, left: usize) {
        let Some(beyond) = self.states.len().checked_sub(left).filter(|beyond| *beyond > 0) else { return };
        let mut times: Vec<i64> = self.states.values().map(|producer| producer.last_append_ms).collect();
        let (_, cut, newer) = times.select_nth_unstable(beyond - 1);
        let (cut, newer) = (*cut, newer.iter().filter(|time| **time > *cut).count());
        let mut of_the_same_time = left - newer;
        self.states.retain(|_, producer| match producer.last_append_ms.cmp(&cut) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => {
                let stays = of_the_same_time > 0;
                of_the_same_time = of_the_same_time.saturating_sub(1);
                stays
            }
        });
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Writes and syncs the snapshot; its name is durable only after the folder was synced.
    pub(super) fn store(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let lines: Vec<Line> =
            self.states.iter().map(|(id, producer)| Line { id: *id, producer: producer.clone() }).collect();
        let text = serde_json::to_vec(&lines).map_err(io::Error::other)?;
        let sum = crc32c::crc32c(&text).to_be_bytes();
        let file = disk.open(path, true)?;
        file.set_len(0)?;
        file.write_all_vectored_at(&[io::IoSlice::new(&sum), io::IoSlice::new(&text)], 0)?;
        file.sync_data()
    }

    /// Reads a snapshot; `None` when it is not intact.
    pub(super) fn load(disk: &dyn Disk, path: &Path) -> Option<Self> {
        let file = disk.open(path, false).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok().filter(|length| *length <= 1 << 30)?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (sum, text) = bytes.split_first_chunk::<4>()?;
        if crc32c::crc32c(text) != u32::from_be_bytes(*sum) {
            return None;
        }
        let lines: Vec<Line> = serde_json::from_slice(text).ok()?;
        Some(Self { states: lines.into_iter().map(|line| (line.id, line.producer)).collect(), undo: HashMap::new() })
    }
}

/// Sequences go from 0 to 2^31-1 and begin again at 0.
fn sequence_after(sequence: i32, by: i32) -> i32 {
    i32::try_from((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{BatchBuilder, CheckedBatch, ProducerSequence};

    const MAX: usize = 16;

    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    fn first(producer_id: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new();
        builder.push(1, None, Some(b"value"));
        let sequence = ProducerSequence { id: producer_id, epoch: 0, sequence: 0 };
        *CheckedBatch::new(builder.build(Some(sequence))).unwrap().header()
    }

    #[test]
    fn ids_that_a_client_makes_up_are_bounded_between_two_rolls_and_the_last_ones_are_kept() {
        for same_time in [false, true] {
            let mut producers = Producers::default();
            for id in 0..1_000 {
                let now_ms = if same_time { 5 } else { id };
                producers.remember(&first(id), id, now_ms);
                producers.commit(MAX);
                assert!(producers.len() <= MAX, "{} after {id}", producers.len());
            }
            assert!(producers.len() >= MAX - MAX / 8);
            let verdict = producers.judge(&first(999));
            assert!(same_time || verdict == Verdict::Duplicate { base_offset: 999, append_time_ms: 999 });
        }
    }

    #[test]
    fn a_producer_of_one_batch_sends_it_once_and_nothing_else_also_when_its_first_try_failed() {
        #[expect(clippy::unwrap_used, reason = "a helper of tests")]
        fn only(sequence: i32, records: usize) -> BatchHeader {
            let mut builder = BatchBuilder::new();
            (0..records).for_each(|_| {
                builder.push(1, None, Some(b"value"));
            });
            let sequence = ProducerSequence { id: 7, epoch: ONE_BATCH_EPOCH, sequence };
            *CheckedBatch::new(builder.build(Some(sequence))).unwrap().header()
        }
        let mut producers = Producers::default();
        assert_eq!(producers.judge(&only(40, 2)), Verdict::Fresh);
        producers.remember(&only(40, 2), 10, 5);
        producers.roll_back(MAX);
        assert_eq!((producers.only_batch(7), producers.judge(&only(41, 2))), (None, Verdict::Fresh));
        producers.remember(&only(40, 2), 10, 5);
        producers.commit(MAX);
        assert_eq!(producers.only_batch(7), Some(40));
        assert_eq!(producers.judge(&only(40, 2)), Verdict::Duplicate { base_offset: 10, append_time_ms: 5 });
        for other in [only(41, 2), only(42, 1), only(40, 1), only(0, 2)] {
            assert!(matches!(producers.judge(&other), Verdict::OutOfOrder { .. }));
        }
    }

    #[test]
    fn what_is_refused_or_fails_is_remembered_within_the_limit_and_drives_out_nobody() {
        let mut producers = Producers::default();
        for id in 0..10 {
            producers.remember(&first(id), id, id);
        }
        producers.commit(MAX);
        (100..200).for_each(|id| producers.expect_first(&first(id), 1_000, MAX));
        assert_eq!(producers.len(), MAX);
        (200..300).for_each(|id| producers.remember(&first(id), id, 1_000));
        producers.roll_back(MAX);
        assert_eq!(producers.len(), MAX);
        for id in 0..10 {
            assert_eq!(producers.judge(&first(id)), Verdict::Duplicate { base_offset: id, append_time_ms: id });
        }
    }
}
