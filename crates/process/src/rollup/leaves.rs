//! A rollup table as leaves: disjoint ranges of its time column, each one file of the table. A micro-batch touches the
//! leaves whose range holds its groups, and only those are read, merged, published and written again.
//!
//! Synchronous and without I/O: the runner loads the leaves that [`Leaves::missing`] names and writes what
//! [`Leaves::seal`] gives. Invariants: every group is in exactly one leaf; a leaf that is dirty is in memory or set
//! aside in a file that no commit names yet; the files of a dirty leaf are hidden from readers, who see it from there.

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use arrow::row::RowConverter;

use crate::error::{Error, Result};
use crate::rollup::leaf::{Incoming, Leaf, key_converter};
use crate::rollup::partial::{Finish, RollupPlan};
use crate::rollup::shape::RollupShape;

/// A leaf's identity while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(pub(super) u64);

/// First and last value of the time column: days for a date, milliseconds for a timestamp (rounded down, because that
/// is how far the statistics of a Delta file can be trusted). `None` where no row has a time.
pub type TimeRange = Option<(i64, i64)>;

/// A file of the table, as a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLeaf {
    /// Its path in the table.
    pub path: String,
    /// Its number of rows.
    pub rows: usize,
    /// The range of its time column.
    pub range: TimeRange,
    /// Whether it may hold rows without a time.
    pub without_time: bool,
}

/// The limits of a rollup table in memory.
#[derive(Clone, Copy, Debug)]
pub struct LeavesLimits {
    /// Rows after which a leaf is split, where its time column allows.
    pub leaf_rows_max: usize,
    /// Rows in dirty leaves in memory; beyond it the runner commits early or sets leaves aside.
    pub dirty_rows_max: usize,
    /// Rows in clean leaves that are kept in memory, because what came once comes again.
    pub clean_rows_max: usize,
}

impl Default for LeavesLimits {
    fn default() -> Self {
        Self { leaf_rows_max: 64 * 1024, dirty_rows_max: 2 * 1024 * 1024, clean_rows_max: 512 * 1024 }
    }
}

/// What a commit writes: the rows of each leaf, in the place of that leaf's files.
#[derive(Clone, Debug)]
pub struct Sealed {
    leaves: Vec<LeafId>,
    /// The rows of each leaf that is to be written.
    pub adds: Vec<Vec<RecordBatch>>,
    /// Leaves whose rows are in files already: those that were set aside.
    aside: Vec<(LeafId, String)>,
}

impl Sealed {
    /// The files that were set aside and are part of this commit.
    pub fn aside(&self) -> impl Iterator<Item = &String> {
        self.aside.iter().map(|(_, path)| path)
    }
}

/// What readers see of a table whose leaves have changed.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Files of the table that they must not see.
    pub hidden: HashSet<String>,
    /// Files that were set aside, which they see instead.
    pub aside: Vec<String>,
    /// Rows that they see instead.
    pub rows: Vec<RecordBatch>,
}

/// All leaves of a rollup table.
pub struct Leaves {
    pub(super) converter: RowConverter,
    pub(super) shape: RollupShape,
    pub(super) finish: Finish,
    pub(super) limits: LeavesLimits,
    pub(super) nodes: BTreeMap<LeafId, Node>,
    /// The first value of each leaf's range, to the leaf.
    pub(super) starts: BTreeMap<i64, LeafId>,
    pub(super) without_time: Option<LeafId>,
    pub(super) next: u64,
    pub(super) clock: u64,
}

pub(super) struct Node {
    pub(super) files: Vec<String>,
    pub(super) rows_on_disk: usize,
    pub(super) leaf: Option<Leaf>,
    /// The file that holds the leaf as it is, when it is dirty and not in memory.
    pub(super) aside: Option<String>,
    /// Changed since the last seal.
    pub(super) unsealed: bool,
    /// Seals that hold changes of this leaf and are not committed yet.
    pub(super) pending: usize,
    pub(super) used: u64,
}

impl Leaves {
    /// The leaves of a table with these files.
    ///
    /// # Errors
    /// When the type of a group column cannot be compared.
    pub fn new(plan: &RollupPlan, limits: LeavesLimits, head: Vec<HeadLeaf>) -> Result<Self> {
        let mut leaves = Self {
            converter: key_converter(plan.shape())?,
            shape: plan.shape().clone(),
            finish: plan.finish().clone(),
            limits,
            nodes: BTreeMap::new(),
            starts: BTreeMap::new(),
            without_time: None,
            next: 0,
            clock: 0,
        };
        leaves.adopt(head);
        Ok(leaves)
    }

    /// The leaves that some groups belong to and that are not in memory, with the files to load.
    ///
    /// # Errors
    /// When the groups do not have the shape's columns.
    pub fn missing(&mut self, partial: &[RecordBatch]) -> Result<Vec<(LeafId, Vec<String>)>> {
        let mut wanted = HashSet::new();
        for batch in partial {
            for (id, _) in self.route(batch)? {
                wanted.insert(id);
            }
        }
        let absent = wanted.into_iter().filter_map(|id| {
            let node = self.nodes.get(&id)?;
            let files = || node.aside.as_ref().map_or_else(|| node.files.clone(), |aside| vec![aside.clone()]);
            node.leaf.is_none().then(|| (id, files()))
        });
        Ok(absent.collect())
    }

    /// Puts the rows of a leaf's files into memory.
    ///
    /// # Errors
    /// When the rows do not have the stored columns.
    pub fn load(&mut self, id: LeafId, rows: &[RecordBatch]) -> Result<()> {
        let mut leaf = Leaf::new(&self.shape);
        for batch in rows {
            let incoming = self.incoming(&self.finish.state(batch)?)?;
            leaf.merge(&incoming, &all_rows(batch))?;
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            (node.leaf, node.aside) = (Some(leaf), None);
        }
        Ok(())
    }

    /// Merges groups into their leaves, which must be in memory.
    ///
    /// # Errors
    /// When a leaf is not in memory, or the groups do not have the shape's columns. Nothing is merged then.
    pub fn apply(&mut self, partial: &[RecordBatch]) -> Result<()> {
        self.clock += 1;
        let routed = partial.iter().map(|batch| Ok((batch, self.route(batch)?))).collect::<Result<Vec<_>>>()?;
        for (_, route) in &routed {
            for (id, _) in route {
                self.ready(*id)?;
            }
        }
        for (batch, route) in routed {
            let incoming = self.incoming(batch)?;
            for (id, rows) in route {
                let Some(node) = self.nodes.get_mut(&id) else { continue };
                if let Some(leaf) = node.leaf.as_mut() {
                    leaf.merge(&incoming, &rows)?;
                }
                (node.unsealed, node.used) = (true, self.clock);
            }
        }
        Ok(())
    }

    pub(super) fn incoming(&self, batch: &RecordBatch) -> Result<Incoming> {
        Incoming::of(&self.converter, self.shape.groups.len(), batch)
    }

    /// A leaf without files is made when it is first met.
    pub(super) fn ready(&mut self, id: LeafId) -> Result<()> {
        let node = self.nodes.entry(id).or_insert_with(Node::new);
        if node.leaf.is_none() {
            if !node.files.is_empty() || node.aside.is_some() {
                let what = "a leaf of the rollup".to_owned();
                return Err(Error::Columns {
                    what,
                    detail: "it is not in memory; load what `missing` names".to_owned(),
                });
            }
            node.leaf = Some(Leaf::new(&self.shape));
        }
        Ok(())
    }

    /// The files that readers must not see, and what they see instead.
    ///
    /// # Errors
    /// When an output cannot be computed.
    pub fn overlay(&mut self) -> Result<Shown> {
        let mut shown = Shown::default();
        for node in self.nodes.values_mut().filter(|node| node.is_dirty()) {
            shown.hidden.extend(node.files.iter().cloned());
            match node.leaf.as_mut() {
                Some(leaf) => shown.rows.extend(leaf.publish(&self.finish)?),
                None => shown.aside.extend(node.aside.clone()),
            }
        }
        Ok(shown)
    }

    /// Takes what the leaves hold now, to be committed. Leaves that have grown too large are split first.
    ///
    /// # Errors
    /// When an output cannot be computed.
    pub fn seal(&mut self) -> Result<Sealed> {
        self.split_large()?;
        let mut sealed = Sealed { leaves: Vec::new(), adds: Vec::new(), aside: Vec::new() };
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.unsealed) {
            match (node.leaf.as_mut(), &node.aside) {
                (Some(leaf), _) => {
                    sealed.leaves.push(*id);
                    sealed.adds.push(leaf.publish(&self.finish)?);
                }
                (None, Some(path)) => sealed.aside.push((*id, path.clone())),
                (None, None) => continue,
            }
            node.unsealed = false;
            node.pending += 1;
        }
        Ok(sealed)
    }

    /// The files that a sealed commit takes the place of, as of now: ask when the commit before it has ended.
    #[must_use]
    pub fn removes(&self, sealed: &Sealed) -> Vec<String> {
        let ids = sealed.leaves.iter().chain(sealed.aside.iter().map(|(id, _)| id));
        let nodes = ids.filter_map(|id| self.nodes.get(id));
        nodes.flat_map(|node| node.files.iter().cloned()).collect()
    }

    /// A sealed commit has ended: its leaves have these files now, each its own in the order of `adds`; a leaf without
    /// rows has none. Leaves without changes since the seal are clean again.
    pub fn committed(&mut self, sealed: &Sealed, files: &[Vec<String>]) {
        for ((id, files), rows) in sealed.leaves.iter().zip(files).zip(&sealed.adds) {
            if let Some(node) = self.nodes.get_mut(id) {
                node.files.clone_from(files);
                node.rows_on_disk = rows.iter().map(RecordBatch::num_rows).sum();
                node.pending = node.pending.saturating_sub(1);
            }
        }
        for (id, path) in &sealed.aside {
            if let Some(node) = self.nodes.get_mut(id) {
                node.files = vec![path.clone()];
                node.pending = node.pending.saturating_sub(1);
                if !node.is_dirty() {
                    node.aside = None;
                }
            }
        }
        self.evict();
    }
}

impl Node {
    pub(super) fn new() -> Self {
        Self { files: Vec::new(), rows_on_disk: 0, leaf: None, aside: None, unsealed: false, pending: 0, used: 0 }
    }

    /// Whether the leaf holds what its files do not.
    pub(super) fn is_dirty(&self) -> bool {
        self.unsealed || self.pending > 0
    }
}

pub(super) fn all_rows(batch: &RecordBatch) -> Vec<u32> {
    (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect()
}
