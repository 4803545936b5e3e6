//! What of a rollup's leaves is in memory, and what goes when it is too much.
//!
//! Invariant: a leaf that holds what its files do not leaves memory only when it is in a file of its own.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::rollup::leaf::Leaf;
use crate::rollup::leaves::{LeafId, Leaves, Node};

impl Leaves {
    /// Dirty leaves to be written to files of their own so that memory stays within its limit, those not used for
    /// longest first, with their rows. Large ones are split first. Ask when no sealed commit is open.
    ///
    /// # Errors
    /// When an output cannot be computed.
    pub fn to_set_aside(&mut self) -> Result<Vec<(LeafId, Vec<RecordBatch>)>> {
        self.split_large()?;
        let mut dirty: Vec<(u64, LeafId, usize)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_dirty())
            .filter_map(|(id, node)| node.leaf.as_ref().map(|leaf| (node.used, *id, leaf.rows())))
            .collect();
        dirty.sort_unstable();
        let mut left: usize = dirty.iter().map(|(_, _, rows)| rows).sum();
        let mut chosen = Vec::new();
        for (_, id, rows) in dirty {
            // Down to half, so that the next step does not begin this again.
            if left <= self.limits.dirty_rows_max / 2 {
                break;
            }
            left -= rows;
            if let Some(leaf) = self.nodes.get_mut(&id).and_then(|node| node.leaf.as_mut()) {
                chosen.push((id, leaf.publish(&self.finish)?));
            }
        }
        Ok(chosen)
    }

    /// A leaf is in this file now and leaves memory; it is loaded from there when it is met again.
    pub fn set_aside(&mut self, id: LeafId, path: String) {
        if let Some(node) = self.nodes.get_mut(&id) {
            (node.leaf, node.aside) = (None, Some(path));
        }
    }

    /// Whether dirty leaves hold so much that a commit should not wait for the next epoch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows_where(Node::is_dirty) > self.limits.dirty_rows_max
    }

    /// Rows in memory, dirty and clean.
    #[must_use]
    pub fn rows_in_memory(&self) -> usize {
        self.rows_where(|_| true)
    }

    fn rows_where(&self, choose: impl Fn(&Node) -> bool) -> usize {
        let nodes = self.nodes.values().filter(|node| choose(node));
        nodes.filter_map(|node| node.leaf.as_ref()).map(Leaf::rows).sum()
    }

    /// Drops clean leaves from memory, those not used for longest first.
    pub(super) fn evict(&mut self) {
        let mut clean: Vec<(u64, LeafId, usize)> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.is_dirty())
            .filter_map(|(id, node)| node.leaf.as_ref().map(|leaf| (node.used, *id, leaf.rows())))
            .collect();
        clean.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut kept = 0;
        for (_, id, rows) in clean {
            kept += rows;
            if kept > self.limits.clean_rows_max
                && let Some(node) = self.nodes.get_mut(&id)
            {
                node.leaf = None;
            }
        }
    }
}
