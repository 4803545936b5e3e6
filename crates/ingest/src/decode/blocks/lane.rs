//! A thread that decodes blocks of a file, one after the other.
//!
//! Invariant: it ends when nobody gives it blocks any longer, or takes what they became.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::block::{Outcome, decode};
use crate::decode::RecordMeta;
use crate::decode::csv::CsvDecoder;

/// How many threads decode one file at most.
pub(super) const LANES_MAX: usize = 4;

/// Where blocks are given and taken back.
#[derive(Debug)]
pub(super) struct Lane {
    blocks: SyncSender<Vec<u8>>,
    outcomes: Receiver<Outcome>,
}

impl Lane {
    /// With a thread of its own; none where the machine has none left.
    pub(super) fn start(mut csv: CsvDecoder, meta: RecordMeta) -> Option<Self> {
        let (blocks, given) = sync_channel(1);
        let (back, outcomes) = sync_channel(2);
        let decoding = move || {
            while let Ok(block) = given.recv() {
                if back.send(decode(&mut csv, block, meta)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("vitalake-csv".to_owned()).spawn(decoding);
        thread.ok().map(|_| Self { blocks, outcomes })
    }

    /// Gives it a block.
    pub(super) fn give(&self, block: Vec<u8>) {
        let _ = self.blocks.send(block);
    }

    /// What its next block became; none where the thread is gone.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcomes.recv().ok()
    }
}
