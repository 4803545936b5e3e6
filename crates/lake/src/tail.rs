//! The writable side of a table's tail: chunks in order, in memory or already in files.
//!
//! Appends add chunks at the end; small neighbours are joined so that a query does not meet thousands; an early write
//! turns a run of chunks into a file. Invariant: chunks are in the order of their change numbers and never overlap.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};

use crate::changes::Increment;
use crate::delta::DataFile;
use crate::epoch::{ChangeNumber, Seal};

/// Joining stops at chunks of this many rows.
const JOINED_ROWS_MAX: usize = 8192;
/// So many small chunks are let stand before they are joined.
const SMALL_CHUNKS_MAX: usize = 32;

#[derive(Clone, Debug)]
enum Data {
    Rows(RecordBatch),
    File(Arc<DataFile>),
}

#[derive(Clone, Debug)]
struct Chunk {
    first: ChangeNumber,
    last: ChangeNumber,
    bytes: usize,
    data: Data,
}

/// Rows to be written as one file.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) first: ChangeNumber,
    pub(crate) last: ChangeNumber,
    pub(crate) batches: Vec<RecordBatch>,
}

#[derive(Debug, Default)]
pub(crate) struct TailChunks {
    chunks: Vec<Chunk>,
    /// Chunks up to here are being written or sealed and keep their shape.
    frozen: ChangeNumber,
    /// Ends of epochs that are not committed yet: no file may hold rows of two.
    epochs: Vec<ChangeNumber>,
    bytes: usize,
}

impl TailChunks {
    pub(crate) fn push(&mut self, number: ChangeNumber, batch: RecordBatch, bytes: usize) {
        self.bytes += bytes;
        self.chunks.push(Chunk { first: number, last: number, bytes, data: Data::Rows(batch) });
        self.join_small();
    }

    /// An epoch ends here: no chunk and no file may come to lie across it.
    pub(crate) fn end_epoch(&mut self, through: ChangeNumber) {
        self.frozen = self.frozen.max(through);
        self.epochs.push(through);
    }

    /// Whether nothing follows the head.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of the rows in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.chunks.iter().filter_map(|c| match &c.data {
            Data::File(file) => Some(file),
            Data::Rows(_) => None,
        })
    }

    pub(crate) fn files_through(&self, through: ChangeNumber) -> Vec<Arc<DataFile>> {
        let until = self.chunks.partition_point(|c| c.last <= through);
        self.chunks
            .iter()
            .take(until)
            .filter_map(|c| if let Data::File(f) = &c.data { Some(Arc::clone(f)) } else { None })
            .collect()
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.chunks.iter().filter_map(|c| match &c.data {
            Data::Rows(batch) => Some(batch),
            Data::File(_) => None,
        })
    }

    /// Runs of rows up to a change, each at least `bytes_min` but for the last, to be written as files. They stay visible
    /// as rows until `written`.
    pub(crate) fn runs(&mut self, through: ChangeNumber, bytes_min: usize) -> Vec<Run> {
        self.frozen = self.frozen.max(through);
        let (mut runs, mut open, mut bytes): (Vec<Run>, Option<Run>, usize) = (Vec::new(), None, 0);
        for chunk in self.chunks.iter().take_while(|c| c.last <= through) {
            if open.as_ref().is_some_and(|run| self.epochs.iter().any(|end| run.last <= *end && *end < chunk.first)) {
                runs.extend(open.take());
                bytes = 0;
            }
            match &chunk.data {
                Data::Rows(batch) => {
                    let run =
                        open.get_or_insert_with(|| Run { first: chunk.first, last: chunk.last, batches: Vec::new() });
                    run.last = chunk.last;
                    run.batches.push(batch.clone());
                    bytes += chunk.bytes;
                    if bytes >= bytes_min {
                        runs.extend(open.take());
                        bytes = 0;
                    }
                }
                Data::File(_) => {
                    runs.extend(open.take());
                    bytes = 0;
                }
            }
        }
        runs.extend(open);
        runs
    }

    /// The tail for a reader that comes late: increments that do not cross the seals given, and end at `last`.
    pub(crate) fn increments(&self, seals: &[Arc<Seal>], last: ChangeNumber) -> Vec<Increment> {
        let mut increments = Vec::new();
        let mut from = ChangeNumber(0);
        for (through, seal) in seals.iter().map(|s| (s.through, Some(s))).chain([(last, None)]) {
            let mut rows = Increment { through, seal: seal.cloned(), ..Increment::default() };
            for chunk in self.chunks.iter().filter(|c| c.last > from && c.last <= through) {
                match &chunk.data {
                    Data::Rows(batch) => rows.rows.push(batch.clone()),
                    Data::File(file) => {
                        increments.push(Increment { files: vec![Arc::clone(file)], ..Increment::default() })
                    }
                }
            }
            if !rows.rows.is_empty() || rows.seal.is_some() {
                increments.push(rows);
            }
            from = through;
        }
        increments
    }

    /// A run's rows are in files now.
    pub(crate) fn written(&mut self, run: &Run, files: &[Arc<DataFile>]) {
        let inside = |c: &Chunk| c.first >= run.first && c.last <= run.last;
        let Some(at) = self.chunks.iter().position(inside) else {
            return;
        };
        self.bytes -= self.chunks.iter().filter(|c| inside(c)).map(|c| c.bytes).sum::<usize>();
        self.chunks.retain(|c| !inside(c));
        let chunks =
            files.iter().map(|f| Chunk { first: run.first, last: run.last, bytes: 0, data: Data::File(Arc::clone(f)) });
        self.chunks.splice(at..at, chunks);
    }

    /// Everything up to a change is in a commit.
    pub(crate) fn committed(&mut self, through: ChangeNumber) {
        self.bytes -= self.chunks.iter().filter(|c| c.last <= through).map(|c| c.bytes).sum::<usize>();
        self.chunks.retain(|c| c.last > through);
        self.epochs.retain(|end| *end > through);
    }

    /// Nothing of it is to be committed any longer.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.epochs.clear();
        self.bytes = 0;
    }

    /// Keeps of each batch in memory what `keep` gives back.
    pub(crate) fn retain_rows(&mut self, keep: impl Fn(&RecordBatch) -> Option<RecordBatch>) {
        self.chunks.retain_mut(|chunk| {
            let Data::Rows(batch) = &chunk.data else { return true };
            match keep(batch) {
                Some(kept) => {
                    if kept.num_rows() < batch.num_rows() {
                        let kept = compact(&kept);
                        chunk.bytes = kept.get_array_memory_size();
                        chunk.data = Data::Rows(kept);
                    }
                    true
                }
                None => false,
            }
        });
        self.bytes = self.chunks.iter().map(|chunk| chunk.bytes).sum();
    }

    fn join_small(&mut self) {
        let small =
            |c: &&Chunk| matches!(&c.data, Data::Rows(b) if b.num_rows() < JOINED_ROWS_MAX) && c.first > self.frozen;
        let run = self.chunks.iter().rev().take_while(small).count();
        if run < SMALL_CHUNKS_MAX {
            return;
        }
        let at = self.chunks.len() - run;
        let Some(joined) = join(self.chunks.get(at..).unwrap_or_default()) else {
            return;
        };
        let before: usize = self.chunks.iter().skip(at).map(|chunk| chunk.bytes).sum();
        self.bytes = self.bytes - before + joined.bytes;
        self.chunks.truncate(at);
        self.chunks.push(joined);
    }
}

/// The same rows without room for others: views keep whole buffers alive of which they may show little.
fn compact(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => {
            column.as_string_view_opt().map_or_else(|| Arc::clone(column), |view| Arc::new(view.gc()))
        }
        DataType::BinaryView => {
            column.as_binary_view_opt().map_or_else(|| Arc::clone(column), |view| Arc::new(view.gc()))
        }
        _ => Arc::clone(column),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or_else(|_| batch.clone())
}

/// One chunk out of several; `None` leaves them as they are.
fn join(chunks: &[Chunk]) -> Option<Chunk> {
    let (first, last) = (chunks.first()?, chunks.last()?);
    let batches: Vec<&RecordBatch> =
        chunks.iter().filter_map(|c| if let Data::Rows(b) = &c.data { Some(b) } else { None }).collect();
    let schema: SchemaRef = batches.first()?.schema();
    let batch = compact(&concat_batches(&schema, batches).ok()?);
    let bytes = batch.get_array_memory_size();
    Some(Chunk { first: first.first, last: last.last, bytes, data: Data::Rows(batch) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use arrow::array::{Array, Int64Array, StringViewBuilder};
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(rows: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..rows))]).unwrap()
    }

    fn push(tail: &mut TailChunks, number: u64, batch: RecordBatch) {
        let bytes = batch.get_array_memory_size();
        tail.push(ChangeNumber(number), batch, bytes);
    }

    fn bytes(tail: &TailChunks) -> usize {
        tail.batches().map(RecordBatch::get_array_memory_size).sum()
    }

    fn rows(tail: &TailChunks) -> usize {
        tail.batches().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn small_chunks_are_joined_and_no_row_is_lost() {
        let mut tail = TailChunks::default();
        for n in 1..=1000 {
            push(&mut tail, n, batch(3));
        }
        assert_eq!((rows(&tail), tail.bytes()), (3000, bytes(&tail)));
        assert!(tail.batches().count() <= SMALL_CHUNKS_MAX);
    }

    #[test]
    fn joined_rows_do_not_keep_the_room_that_small_batches_came_with() {
        let mut tail = TailChunks::default();
        for n in 1..=2000 {
            let mut text = StringViewBuilder::new().with_fixed_block_size(8192);
            text.append_value(format!("a text that is no longer short, {n}"));
            let column: ArrayRef = Arc::new(text.finish());
            push(&mut tail, n, RecordBatch::try_from_iter([("text", column)]).unwrap());
        }
        assert_eq!((rows(&tail), tail.bytes()), (2000, bytes(&tail)));
        // Of the last few, none was joined yet.
        assert!(tail.bytes() < 2000 * 100 + SMALL_CHUNKS_MAX * 10_000, "{} bytes", tail.bytes());
        let last = tail.batches().last().unwrap().column(0).as_string_view();
        assert_eq!(last.value(last.len() - 1), "a text that is no longer short, 2000");
    }

    #[test]
    fn no_run_holds_rows_of_two_epochs() {
        let mut tail = TailChunks::default();
        for n in 1..=9 {
            tail.push(ChangeNumber(n), batch(1), 8);
            if n == 3 || n == 6 {
                tail.end_epoch(ChangeNumber(n));
            }
        }
        let ends: Vec<(u64, u64)> =
            tail.runs(ChangeNumber(9), usize::MAX).iter().map(|r| (r.first.0, r.last.0)).collect();
        assert_eq!(ends, [(1, 3), (4, 6), (7, 9)]);
    }

    #[test]
    fn chunks_that_are_being_written_keep_their_shape() {
        let mut tail = TailChunks::default();
        for n in 1..=10 {
            tail.push(ChangeNumber(n), batch(1), 8);
        }
        let runs = tail.runs(ChangeNumber(10), usize::MAX);
        for n in 11..=100 {
            push(&mut tail, n, batch(1));
        }
        tail.written(&runs[0], &[]);
        assert_eq!(rows(&tail), 90);
        tail.committed(ChangeNumber(10));
        assert_eq!((rows(&tail), tail.bytes()), (90, bytes(&tail)));
    }
}
