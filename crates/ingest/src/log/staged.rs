//! A group of one partition between its judgement and its sync: what is written, and who is answered what.
//!
//! Invariant: nobody of a group is answered well before all of it is synced.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::LogError;
use super::batch::{BatchHeader, CheckedBatch};
use super::entry::{BATCH_PREFIX_BYTES, ENTRY_PREFIX_BYTES};
use super::partition::{Partition, Writer};
use super::producers::Verdict;
use super::queue::Reply;

pub(super) struct Written {
    pub(super) prefix: [u8; ENTRY_PREFIX_BYTES],
    pub(super) batch: CheckedBatch,
    pub(super) base_offset: i64,
}

pub(super) struct Answer {
    pub(super) base_offset: i64,
    pub(super) append_time_ms: i64,
    pub(super) duplicate: bool,
}

pub(super) struct Staged<'a> {
    pub(super) partition: &'a Arc<Partition>,
    pub(super) writer: MutexGuard<'a, Writer>,
    pub(super) written: Vec<Written>,
    pub(super) answers: Vec<(Reply, Answer)>,
}

impl Staged<'_> {
    /// Writes the group's batches one after the other from a position of the segment.
    pub(super) fn write(&self, mut position: u64) -> io::Result<()> {
        // A writev takes at most 1024 pieces.
        for some in self.written.chunks(256) {
            let pieces: Vec<IoSlice<'_>> = some
                .iter()
                .flat_map(|written| {
                    [
                        IoSlice::new(&written.prefix),
                        IoSlice::new(written.batch.bytes().get(BATCH_PREFIX_BYTES..).unwrap_or_default()),
                    ]
                })
                .collect();
            self.writer.segment.file.write_all_vectored_at(&pieces, position)?;
            position += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        }
        Ok(())
    }
}

/// A verdict that refuses, as what the producer is told.
pub(super) fn sequence_error(partition: &Partition, header: &BatchHeader, verdict: Verdict) -> LogError {
    match verdict {
        Verdict::OutOfOrder { want } => {
            LogError::OutOfOrderSequence { partition: partition.id, got: header.base_sequence, want }
        }
        Verdict::Fenced => LogError::ProducerFenced(partition.id),
        _ => LogError::UnknownProducer(partition.id),
    }
}
