//! Which leaf holds which groups: files become leaves, rows are routed to them, and what has grown too large is split.
//!
//! Invariant: every group is in exactly one leaf, however the files of the table are laid out and whoever wrote them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use crate::error::{Error, Result};
use crate::rollup::leaf::Leaf;
use crate::rollup::leaves::{HeadLeaf, LeafId, Leaves, Node};

/// A part of a leaf that is split.
struct Part {
    /// Where its range begins; `None` for the rows without a time.
    from: Option<i64>,
    id: LeafId,
    leaf: Leaf,
}

impl Leaves {
    /// Files whose ranges overlap are one leaf, whoever wrote them; so are all that may hold rows without a time, since
    /// such a group can be in any of them.
    pub(super) fn adopt(&mut self, mut head: Vec<HeadLeaf>) {
        head.iter_mut().for_each(|file| file.without_time |= file.range.is_none());
        let mixed = head.iter().filter(|file| file.without_time).filter_map(|file| file.range);
        if let Some(mixed) = mixed.reduce(|(from, to), (other_from, other_to)| (from.min(other_from), to.max(other_to)))
        {
            head.iter_mut().filter(|file| file.without_time).for_each(|file| file.range = Some(mixed));
        }
        head.sort_by_key(|file| file.range);
        let mut open: Option<(LeafId, i64)> = None;
        for file in head {
            let id = match (file.range, open) {
                (None, _) => *self.without_time.get_or_insert(LeafId(self.next)),
                (Some((from, _)), Some((id, end))) if from <= end => id,
                (Some((from, _)), _) => *self.starts.entry(from).or_insert(LeafId(self.next)),
            };
            if let Some((_, to)) = file.range {
                open = Some((id, open.filter(|(open, _)| *open == id).map_or(to, |(_, end)| end.max(to))));
            }
            if file.without_time {
                self.without_time = Some(id);
            }
            self.next = self.next.max(id.0 + 1);
            let node = self.nodes.entry(id).or_insert_with(Node::new);
            node.files.push(file.path);
            node.rows_on_disk += file.rows;
        }
    }

    /// The rows of a batch by the leaf that they belong to. A leaf's range reaches to the start of the next one; what
    /// lies before the first leaf belongs to it.
    pub(super) fn route(&mut self, batch: &RecordBatch) -> Result<Vec<(LeafId, Vec<u32>)>> {
        let times = times(batch, self.shape.time)?;
        let mut route: BTreeMap<LeafId, Vec<u32>> = BTreeMap::new();
        // Bound by the earliest of the batch, so that one batch makes one first leaf and not one per value.
        if let Some(earliest) = times.iter().flatten().min().copied() {
            self.begin_at(earliest);
        }
        let mut last: Option<(i64, LeafId)> = None;
        for (row, time) in times.iter().enumerate() {
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            let id = match time {
                Some(time) => match last {
                    Some((known, id)) if known == *time => id,
                    _ => {
                        let id = self.starts.range(..=*time).next_back().map(|(_, id)| *id);
                        let id = id.unwrap_or(LeafId(u64::MAX));
                        last = Some((*time, id));
                        id
                    }
                },
                None => self.leaf_without_time(),
            };
            route.entry(id).or_default().push(row);
        }
        Ok(route.into_iter().collect())
    }

    /// Makes sure that a leaf begins at or before a time: the first leaf is stretched down to it.
    fn begin_at(&mut self, earliest: i64) {
        match self.starts.first_key_value().map(|(start, id)| (*start, *id)) {
            Some((start, _)) if start <= earliest => {}
            Some((start, id)) => {
                self.starts.remove(&start);
                self.starts.insert(earliest, id);
            }
            None => {
                let id = self.new_id();
                self.starts.insert(earliest, id);
            }
        }
    }

    fn leaf_without_time(&mut self) -> LeafId {
        match self.without_time {
            Some(id) => id,
            None => {
                let id = self.new_id();
                self.without_time = Some(id);
                id
            }
        }
    }

    fn new_id(&mut self) -> LeafId {
        let id = LeafId(self.next);
        self.next += 1;
        self.nodes.insert(id, Node::new());
        id
    }

    /// Splits leaves that are about to be written and are too large, at bucket boundaries.
    pub(super) fn split_large(&mut self) -> Result<()> {
        let limit = self.limits.leaf_rows_max;
        let large: Vec<(i64, LeafId)> = self
            .starts
            .iter()
            .filter(|(_, id)| {
                self.nodes.get(*id).is_some_and(|n| n.unsealed && n.leaf.as_ref().is_some_and(|l| l.rows() > limit))
            })
            .map(|(start, id)| (*start, *id))
            .collect();
        for (start, id) in large {
            self.split(start, id)?;
        }
        Ok(())
    }

    fn split(&mut self, start: i64, id: LeafId) -> Result<()> {
        let Some(states) = self.nodes.get(&id).and_then(|n| n.leaf.as_ref()).map(|l| l.states(&self.finish)) else {
            return Ok(());
        };
        let states = states?;
        let (mut rows_at, mut has_untimed): (BTreeMap<i64, usize>, bool) = (BTreeMap::new(), false);
        for batch in &states {
            for time in times(batch, self.shape.time)? {
                match time {
                    Some(time) => *rows_at.entry(time).or_default() += 1,
                    None => has_untimed = true,
                }
            }
        }
        let cuts = cuts(&rows_at, self.limits.leaf_rows_max);
        let untimed = (has_untimed && !rows_at.is_empty()).then(|| self.new_id());
        if cuts.is_empty() && untimed.is_none() {
            return Ok(());
        }
        let mut parts = vec![Part { from: Some(start), id, leaf: Leaf::new(&self.shape) }];
        for cut in cuts {
            parts.push(Part { from: Some(cut), id: self.new_id(), leaf: Leaf::new(&self.shape) });
        }
        parts.extend(untimed.map(|id| Part { from: None, id, leaf: Leaf::new(&self.shape) }));
        for batch in &states {
            self.distribute(batch, &mut parts)?;
        }
        let clock = self.clock;
        for Part { from, id, leaf } in parts {
            match from {
                Some(from) => drop(self.starts.insert(from, id)),
                None => self.without_time = Some(id),
            }
            let node = self.nodes.entry(id).or_insert_with(Node::new);
            (node.leaf, node.unsealed, node.used) = (Some(leaf), true, clock);
        }
        Ok(())
    }

    /// Puts each row of a batch into the part that it belongs to.
    fn distribute(&self, batch: &RecordBatch, parts: &mut [Part]) -> Result<()> {
        let times = times(batch, self.shape.time)?;
        let incoming = self.incoming(batch)?;
        let starts: Vec<Option<i64>> = parts.iter().map(|part| part.from).collect();
        let mut chosen: Vec<Vec<u32>> = vec![Vec::new(); parts.len()];
        for (row, time) in (0_u32..).zip(&times) {
            // What lies before the first part belongs to it.
            let part = match time {
                Some(time) => starts.iter().rposition(|from| from.is_some_and(|from| from <= *time)).unwrap_or(0),
                None => starts.iter().position(Option::is_none).unwrap_or(0),
            };
            chosen.get_mut(part).into_iter().for_each(|rows| rows.push(row));
        }
        for (part, rows) in parts.iter_mut().zip(chosen).filter(|(_, rows)| !rows.is_empty()) {
            part.leaf.merge(&incoming, &rows)?;
        }
        Ok(())
    }
}

/// The times at which new leaves begin, so that each holds at most three quarters of the limit where buckets allow:
/// a leaf that was just split can grow before it is split again.
fn cuts(rows_at: &BTreeMap<i64, usize>, limit: usize) -> Vec<i64> {
    let (mut cuts, mut rows) = (Vec::new(), 0);
    for (time, count) in rows_at {
        if rows > 0 && rows + count > limit * 3 / 4 {
            cuts.push(*time);
            rows = 0;
        }
        rows += count;
    }
    cuts
}

/// The time column of groups: days, or milliseconds rounded down.
pub(super) fn times(batch: &RecordBatch, time: usize) -> Result<Vec<Option<i64>>> {
    let what = "a partial result";
    let unexpected =
        || Error::Columns { what: what.to_owned(), detail: "its time column is neither date nor timestamp".to_owned() };
    let column = batch.columns().get(time).ok_or_else(unexpected)?;
    match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive_opt::<arrow::datatypes::Date32Type>().ok_or_else(unexpected)?;
            Ok(days.reinterpret_cast::<Int32Type>().iter().map(|d| d.map(i64::from)).collect())
        }
        DataType::Timestamp(_, _) => {
            let numbers = cast(column, &DataType::Int64)
                .map_err(|source| Error::Arrow { attempted: "reading the time column", source })?;
            let micros = numbers.as_primitive_opt::<Int64Type>().ok_or_else(unexpected)?;
            Ok(micros.iter().map(|t| t.map(|t| t.div_euclid(1000))).collect())
        }
        _ => Err(unexpected()),
    }
}
