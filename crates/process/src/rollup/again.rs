//! Groups that are computed again: the state of a group is set, whatever it was, and one without rows is gone.
//!
//! Taken where rows of the input are gone: what they brought to a minimum or a sum of floats cannot be taken out of it.
//! Invariant: after [`Leaves::set`] the leaves hold of these groups what was set and nothing else, and all others as before.

use std::collections::HashSet;

use arrow::array::{BooleanArray, RecordBatch};

use crate::error::Result;
use crate::increment::chosen;
use crate::rollup::layout::times;
use crate::rollup::leaf::Leaf;
use crate::rollup::leaves::{Leaves, all_rows};

/// Groups by their keys.
#[derive(Default)]
pub(crate) struct Groups {
    keys: HashSet<Box<[u8]>>,
    /// Partial results that hold each of them once.
    rows: Vec<RecordBatch>,
    /// First and last value of the time column, as leaves count it.
    range: Option<(i64, i64)>,
    without_time: bool,
}

impl Groups {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Partial results that hold each of them once.
    pub(crate) fn rows(&self) -> &[RecordBatch] {
        &self.rows
    }

    /// Whether one of them may have a time in this range.
    pub(crate) fn may_lie_in(&self, range: (i64, i64), without_time: bool) -> bool {
        let overlaps = self.range.is_some_and(|(from, to)| from <= range.1 && to >= range.0);
        overlaps || (without_time && self.without_time)
    }
}

impl Leaves {
    /// Adds the groups of partial results.
    pub(crate) fn note(&self, partial: &[RecordBatch], groups: &mut Groups) -> Result<()> {
        for batch in partial {
            let keys = self.incoming(batch)?;
            let is_new: BooleanArray =
                (0..batch.num_rows()).map(|row| Some(groups.keys.insert(keys.key(row).into()))).collect();
            let new = chosen(batch, &is_new)?;
            for time in times(&new, self.shape.time)? {
                match time {
                    Some(time) => {
                        let (from, to) = groups.range.unwrap_or((time, time));
                        groups.range = Some((from.min(time), to.max(time)));
                    }
                    None => groups.without_time = true,
                }
            }
            if new.num_rows() > 0 {
                groups.rows.push(new);
            }
        }
        Ok(())
    }

    /// The partial results of these groups alone.
    pub(crate) fn only(&self, partial: &[RecordBatch], groups: &Groups) -> Result<Vec<RecordBatch>> {
        partial.iter().map(|batch| self.divided(batch, groups, true)).collect()
    }

    fn divided(&self, batch: &RecordBatch, groups: &Groups, inside: bool) -> Result<RecordBatch> {
        let keys = self.incoming(batch)?;
        let mask: BooleanArray =
            (0..batch.num_rows()).map(|row| Some(groups.keys.contains(keys.key(row)) == inside)).collect();
        chosen(batch, &mask)
    }

    /// A place for partial results beside the leaves.
    pub(crate) fn beside(&self) -> Leaf {
        Leaf::new(&self.shape)
    }

    /// Merges partial results into such a place.
    pub(crate) fn merge_beside(&self, beside: &mut Leaf, partial: &[RecordBatch]) -> Result<()> {
        partial.iter().try_for_each(|batch| beside.merge(&self.incoming(batch)?, &all_rows(batch)))
    }

    /// Sets these groups to what such a place holds of them; those that it does not hold are gone. The leaves that the
    /// groups belong to must be in memory.
    pub(crate) fn set(&mut self, groups: &Groups, beside: &Leaf) -> Result<()> {
        let mut touched = HashSet::new();
        for batch in &groups.rows {
            touched.extend(self.route(batch)?.into_iter().map(|(id, _)| id));
        }
        for id in &touched {
            self.ready(*id)?;
        }
        for id in touched {
            let Some(states) = self.nodes.get(&id).and_then(|node| node.leaf.as_ref()).map(|l| l.states(&self.finish))
            else {
                continue;
            };
            let mut leaf = Leaf::new(&self.shape);
            for batch in &states? {
                let kept = self.divided(batch, groups, false)?;
                leaf.merge(&self.incoming(&kept)?, &all_rows(&kept))?;
            }
            if let Some(node) = self.nodes.get_mut(&id) {
                (node.leaf, node.unsealed, node.used) = (Some(leaf), true, self.clock);
            }
        }
        self.apply(&beside.states(&self.finish)?)
    }

    /// Empties every leaf, for who makes the table again from the beginning.
    pub(crate) fn empty(&mut self) {
        for node in self.nodes.values_mut() {
            (node.leaf, node.aside, node.unsealed) = (Some(Leaf::new(&self.shape)), None, true);
        }
    }
}
