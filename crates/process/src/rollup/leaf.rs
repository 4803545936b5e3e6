//! The groups of one range of time, in memory: merged in place, published as rows without copying what has not changed.
//!
//! A leaf is what one file of the table holds. Invariant: `index` has one entry per row, and every chunk but the last
//! has `CHUNK_ROWS` rows.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::rollup::order::grouped;
use crate::rollup::partial::Finish;
use crate::rollup::shape::RollupShape;
use crate::rollup::values::{Arriving, Values};

/// Groups that arrive, in the form in which leaves merge them; made once for all the leaves of a batch.
pub(crate) struct Incoming {
    columns: Vec<ArrayRef>,
    keys: Rows,
    states: Vec<Arriving>,
}

impl Incoming {
    /// Takes a batch of groups and states.
    pub(crate) fn of(converter: &RowConverter, groups: usize, batch: &RecordBatch) -> Result<Self> {
        let columns: Vec<ArrayRef> = batch.columns().get(..groups).unwrap_or_default().iter().map(grouped).collect();
        let keys = converter.convert_columns(&columns).map_err(arrow_error)?;
        let states = batch.columns().get(groups..).unwrap_or_default();
        let states = states.iter().map(Arriving::of).collect::<Result<_, _>>().map_err(arrow_error)?;
        Ok(Self { columns, keys, states })
    }

    /// The key of a row, as all batches of the shape spell it.
    pub(crate) fn key(&self, row: usize) -> &[u8] {
        self.keys.row(row).data()
    }
}

/// Makes comparable keys of the group columns.
pub(crate) fn key_converter(shape: &RollupShape) -> Result<RowConverter> {
    let fields = shape.groups.iter().map(|g| SortField::new(g.kind.clone())).collect();
    RowConverter::new(fields).map_err(arrow_error)
}

/// Rows that are published as one batch.
const CHUNK_ROWS: usize = 4096;

/// The groups of one leaf.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Row number by group; keys are compared in `keys`.
    index: HashTable<u32>,
    hashes: Vec<u64>,
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    chunks: Vec<Chunk>,
    states: Vec<Values>,
}

#[derive(Debug)]
struct Chunk {
    columns: Vec<ArrayRef>,
    rows: usize,
    /// The chunk as stored rows, until one of its groups changes.
    published: Option<RecordBatch>,
}

fn arrow_error(source: ArrowError) -> Error {
    Error::Arrow { attempted: "merging groups", source }
}

impl Leaf {
    /// A leaf without groups.
    pub(crate) fn new(shape: &RollupShape) -> Self {
        Self {
            index: HashTable::new(),
            hashes: Vec::new(),
            keys: Vec::new(),
            key_ends: Vec::new(),
            chunks: Vec::new(),
            states: shape.states.iter().map(|s| Values::new(&s.kind, s.merge)).collect(),
        }
    }

    /// How many groups there are.
    pub(crate) fn rows(&self) -> usize {
        self.hashes.len()
    }

    /// Merges groups: those that are here change, others are added. `chosen` are the rows of the batch that belong here.
    pub(crate) fn merge(&mut self, incoming: &Incoming, chosen: &[u32]) -> Result<()> {
        let before = self.rows();
        let mut rows = Vec::with_capacity(chosen.len());
        let mut added = Vec::new();
        for source in chosen {
            let key = incoming.keys.row(*source as usize);
            let (row, new) = self.row_of(key.as_ref());
            if new {
                added.push(*source);
            }
            rows.push(row);
        }
        for row in rows.iter().filter(|row| (**row as usize) < before) {
            if let Some(chunk) = self.chunks.get_mut(*row as usize / CHUNK_ROWS) {
                chunk.published = None;
            }
        }
        for (state, arriving) in self.states.iter_mut().zip(&incoming.states) {
            state.merge(arriving, chosen, &rows);
        }
        self.add_groups(&incoming.columns, added)
    }

    fn row_of(&mut self, key: &[u8]) -> (u32, bool) {
        let hash = crate::duplicates::hash_bytes(key);
        let (hashes, keys, ends) = (&self.hashes, &self.keys, &self.key_ends);
        let same = |row: &u32| {
            let row = *row as usize;
            let from = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
            hashes.get(row) == Some(&hash) && ends.get(row).and_then(|to| keys.get(from..*to)) == Some(key)
        };
        if let Some(row) = self.index.find(hash, same) {
            return (*row, false);
        }
        let row = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        self.hashes.push(hash);
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len());
        let hashes = &self.hashes;
        self.index.insert_unique(hash, row, |row| hashes.get(*row as usize).copied().unwrap_or_default());
        (row, true)
    }

    /// Adds the group columns of new rows, filling the last chunk before another is begun.
    fn add_groups(&mut self, columns: &[ArrayRef], added: Vec<u32>) -> Result<()> {
        let mut rest = added.as_slice();
        while !rest.is_empty() {
            let room = self.chunks.last().map_or(0, |chunk| CHUNK_ROWS - chunk.rows);
            if room == 0 {
                self.chunks.push(Chunk { columns: Vec::new(), rows: 0, published: None });
            }
            let Some(chunk) = self.chunks.last_mut() else { break };
            let (now, later) = rest.split_at(rest.len().min(CHUNK_ROWS - chunk.rows));
            let indices = UInt32Array::from(now.to_vec());
            let mut grown = Vec::with_capacity(columns.len());
            for (position, column) in columns.iter().enumerate() {
                let new = take(column, &indices, None).map_err(arrow_error)?;
                grown.push(match chunk.columns.get(position) {
                    Some(held) => concat(&[held.as_ref(), new.as_ref()]).map_err(arrow_error)?,
                    None => new,
                });
            }
            chunk.columns = grown;
            chunk.rows += now.len();
            chunk.published = None;
            rest = later;
        }
        Ok(())
    }

    /// The leaf as stored rows. What has not changed since the last call is not made again.
    pub(crate) fn publish(&mut self, finish: &Finish) -> Result<Vec<RecordBatch>> {
        let mut made = Vec::with_capacity(self.chunks.len());
        let mut from = 0;
        for chunk in &mut self.chunks {
            let to = from + chunk.rows;
            let rows = match &chunk.published {
                Some(rows) => rows.clone(),
                None => {
                    let state = state_batch(chunk, &self.states, from, to, finish)?;
                    chunk.published.insert(finish.rows(&state)?).clone()
                }
            };
            made.push(rows);
            from = to;
        }
        Ok(made)
    }

    /// The leaf's groups and states, to be put into other leaves.
    pub(crate) fn states(&self, finish: &Finish) -> Result<Vec<RecordBatch>> {
        let mut from = 0;
        let mut made = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            let to = from + chunk.rows;
            made.push(state_batch(chunk, &self.states, from, to, finish)?);
            from = to;
        }
        Ok(made)
    }
}

fn state_batch(chunk: &Chunk, states: &[Values], from: usize, to: usize, finish: &Finish) -> Result<RecordBatch> {
    let mut columns = chunk.columns.clone();
    for state in states {
        columns.push(state.array(from, to).map_err(arrow_error)?);
    }
    RecordBatch::try_new(std::sync::Arc::clone(&finish.state_schema), columns).map_err(arrow_error)
}
