//! A CSV in blocks of lines that are decoded at once, by as many threads as there are cores, and given in their order.
//!
//! After the header, in the place of one record after the other. A block ends with a line, which need not be the end of a
//! record: a quoted cell may hold line ends. Each is decoded as if a record began with it; where the block before shows
//! that none does, that is thrown away and the rest of the one is decoded with the other. Invariant: what is given is what
//! one decoder would give that read record after record.

mod block;
mod lane;

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use self::block::{Broken, Outcome, decode};
use self::lane::Lane;
use super::csv::{CsvDecoder, OFFSET_COLUMN};
use super::records::{FileRecords, RECORD_BYTES_MAX};
use super::refused::DeliveryError;
use super::{DecodeError, Decoded, RecordMeta};

/// About how many bytes a block has.
const BLOCK_BYTES: usize = 2 << 20;
/// How many blocks a lane has at most: one that it decodes, and one that waits.
const BLOCKS_OF_A_LANE: u64 = 2;

/// The blocks of one file.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Decodes what no lane does: a file of one block, and blocks that hang together.
    own: CsvDecoder,
    lanes: Vec<Lane>,
    lanes_max: usize,
    block_bytes: usize,
    /// A block that is decoded here.
    here: Option<Vec<u8>>,
    /// How many blocks were given to lanes, and how many came back: in turns, so that they come back in their order.
    given: u64,
    back: u64,
    ready: VecDeque<(usize, Decoded)>,
    /// The beginning of a record that goes on in the next block.
    rest: Vec<u8>,
    /// The line in which the next block begins.
    line: u64,
    source: Source,
    broken: Option<DeliveryError>,
    spare: Vec<Vec<u8>>,
}

/// What becomes of the file's bytes.
#[derive(Debug)]
enum Source {
    Coming,
    Ended,
    Failed(DeliveryError),
}

impl Blocks {
    /// What follows line by line.
    pub(super) fn new(own: CsvDecoder, line: u64) -> Self {
        let lanes_max = std::thread::available_parallelism().map_or(1, usize::from).min(lane::LANES_MAX);
        Self::with(own, line, lanes_max, BLOCK_BYTES)
    }

    pub(super) fn with(own: CsvDecoder, line: u64, lanes_max: usize, block_bytes: usize) -> Self {
        let (ready, rest, spare) = Default::default();
        let (lanes, here, broken) = (Vec::new(), None, None);
        let source = Source::Coming;
        Self { own, lanes, lanes_max, block_bytes, here, given: 0, back: 0, ready, rest, line, source, broken, spare }
    }

    /// The file's columns that the contract does not name.
    pub(super) fn unnamed(&self) -> Vec<String> {
        self.own.unnamed()
    }

    /// The next rows and rejects, and how many records they were; none at the end.
    pub(super) fn next<R: Read>(
        &mut self,
        records: &mut FileRecords<R>,
        meta: &mut RecordMeta,
    ) -> Result<Option<(usize, Decoded)>, DeliveryError> {
        loop {
            if let Some((count, decoded)) = self.ready.pop_front() {
                let build = |source| DecodeError::Build { dataset: self.own.dataset(), source };
                let decoded = numbered_from(meta.offset, decoded).map_err(build)?;
                meta.offset += i64::try_from(count).unwrap_or(i64::MAX);
                return Ok(Some((count, decoded)));
            }
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            self.give(records, *meta);
            match self.next_outcome(*meta)? {
                Some(outcome) => self.accept(outcome, *meta),
                None => return self.end().map(|()| None),
            }
        }
    }

    /// Hands on what there is room for. What cannot be read is said once all before it is decoded.
    fn give<R: Read>(&mut self, records: &mut FileRecords<R>, meta: RecordMeta) {
        let has_room = |blocks: &Self| {
            let of_lanes = BLOCKS_OF_A_LANE * blocks.lanes.len() as u64;
            blocks.here.is_none() && (blocks.given == blocks.back || blocks.given - blocks.back < of_lanes)
        };
        while matches!(self.source, Source::Coming) && has_room(self) {
            match records.block(self.block_bytes, self.spare.pop().unwrap_or_default()) {
                Err(error) => self.source = Source::Failed(error),
                Ok(block) if block.is_empty() => self.source = Source::Ended,
                Ok(block) => self.pass_on(block, records.is_at_end(), meta),
            }
        }
    }

    /// A file of one block costs no thread.
    fn pass_on(&mut self, block: Vec<u8>, is_last: bool, meta: RecordMeta) {
        if self.lanes.is_empty() && !is_last && self.lanes_max > 1 {
            let lanes = (0..self.lanes_max).map_while(|_| Lane::start(self.own.another(), meta));
            self.lanes = lanes.collect();
        }
        match self.lane(self.given) {
            Some(lane) => {
                // A lane that is gone is found when its outcome is asked for.
                lane.give(block);
                self.given += 1;
            }
            None => self.here = Some(block),
        }
    }

    fn lane(&self, turn: u64) -> Option<&Lane> {
        let turn = usize::try_from(turn.checked_rem(self.lanes.len() as u64)?).ok()?;
        self.lanes.get(turn)
    }

    /// What the next block became; none when there is no block left.
    fn next_outcome(&mut self, meta: RecordMeta) -> Result<Option<Outcome>, DeliveryError> {
        if let Some(block) = self.here.take() {
            return Ok(Some(decode(&mut self.own, block, meta)));
        }
        if self.back == self.given {
            return Ok(None);
        }
        let outcome = self.lane(self.back).and_then(Lane::outcome);
        self.back += 1;
        outcome.map(Some).ok_or_else(|| DeliveryError::Interrupted { dataset: self.own.dataset() })
    }

    fn accept(&mut self, outcome: Outcome, meta: RecordMeta) {
        let outcome = if self.rest.is_empty() {
            outcome
        } else {
            let mut joined = std::mem::take(&mut self.rest);
            joined.extend_from_slice(&outcome.bytes);
            self.keep_for_later(outcome.bytes);
            decode(&mut self.own, joined, meta)
        };
        let Outcome { bytes, done, parts, lines, broken } = outcome;
        self.ready.extend(parts);
        self.line += lines;
        let rest = bytes.get(done..).unwrap_or(&[]);
        self.broken = match broken {
            Some(Broken::Decode(error)) => Some(error.into()),
            Some(Broken::TooLarge) => Some(self.too_large()),
            None => (rest.len() > RECORD_BYTES_MAX).then(|| self.too_large()),
        };
        self.rest = rest.to_vec();
        self.keep_for_later(bytes);
    }

    fn keep_for_later(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() <= 4 * self.block_bytes {
            self.spare.push(bytes);
        }
    }

    fn too_large(&self) -> DeliveryError {
        let (dataset, line) = (self.own.dataset(), self.line);
        DeliveryError::RecordTooLarge { dataset, line, bytes_max: RECORD_BYTES_MAX }
    }

    /// Whether all was well.
    fn end(&mut self) -> Result<(), DeliveryError> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Failed(error) => Err(error),
            _ if self.rest.is_empty() => Ok(()),
            _ => Err(DeliveryError::QuoteUnclosed { dataset: self.own.dataset(), line: self.line }),
        }
    }
}

/// With the places of a file, in place of those of a batch.
fn numbered_from(first: i64, decoded: Decoded) -> Result<Decoded, ArrowError> {
    if first == 0 {
        return Ok(decoded);
    }
    let (rows, rejects) = (moved(decoded.rows, first)?, moved(decoded.rejects, first)?);
    Ok(Decoded { rows, rejects, ..decoded })
}

fn moved(batch: RecordBatch, by: i64) -> Result<RecordBatch, ArrowError> {
    let at = batch.schema_ref().index_of(OFFSET_COLUMN)?;
    let mut columns = batch.columns().to_vec();
    if let Some(column) = columns.get_mut(at) {
        *column = Arc::new(column.as_primitive::<Int64Type>().unary::<_, Int64Type>(|offset| offset + by));
    }
    RecordBatch::try_new(batch.schema(), columns)
}
