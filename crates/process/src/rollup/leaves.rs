//! A rollup table as leaves: disjoint ranges of its time column, each one file of the table. A micro-batch touches the
//! leaves whose range holds its groups, and only those are read, merged, published and written again.
//!
//! Synchronous and without I/O: the runner loads the leaves that [`Leaves::missing`] names and writes what
//! [`Leaves::seal`] gives. Invariants: every group is in exactly one leaf; a leaf that is dirty is in memory or set
//! aside in a file that no commit names yet; the files of a dirty leaf are hidden from readers, who see it from there.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::row::RowConverter;

use crate::error::{Error, Result};
use crate::rollup::leaf::{Incoming, Leaf, key_converter};
use crate::rollup::partial::{Finish, RollupPlan};
use crate::rollup::shape::RollupShape;

/// A leaf's identity while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(u64);

/// First and last value of the time column: days for a date, milliseconds for a timestamp (rounded down, because that
/// is how far the statistics of a Delta file can be trusted). `None` is the leaf of rows without a time.
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

/// What a commit writes: one file per leaf, in the place of that leaf's files.
#[derive(Clone, Debug)]
pub struct Sealed {
    leaves: Vec<LeafId>,
    /// The rows of each new file.
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
    converter: RowConverter,
    shape: RollupShape,
    finish: Finish,
    limits: LeavesLimits,
    nodes: BTreeMap<LeafId, Node>,
    /// The first value of each leaf's range, to the leaf.
    starts: BTreeMap<i64, LeafId>,
    without_time: Option<LeafId>,
    next: u64,
    clock: u64,
}

struct Node {
    files: Vec<String>,
    rows_on_disk: usize,
    leaf: Option<Leaf>,
    /// The file that holds the leaf as it is, when it is dirty and not in memory.
    aside: Option<String>,
    /// Changed since the last seal.
    unsealed: bool,
    /// Seals that hold changes of this leaf and are not committed yet.
    pending: usize,
    used: u64,
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

    /// Files whose ranges overlap are one leaf, whoever wrote them.
    fn adopt(&mut self, mut head: Vec<HeadLeaf>) {
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
            self.next = self.next.max(id.0 + 1);
            let node = self.nodes.entry(id).or_insert_with(Node::new);
            node.files.push(file.path);
            node.rows_on_disk += file.rows;
        }
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

    fn incoming(&self, batch: &RecordBatch) -> Result<Incoming> {
        Incoming::of(&self.converter, self.shape.groups.len(), batch)
    }

    /// A leaf without files is made when it is first met.
    fn ready(&mut self, id: LeafId) -> Result<()> {
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

    /// A sealed commit has ended: its leaves have these files now, one for each in the order of `adds`. Leaves without
    /// changes since the seal are clean again.
    pub fn committed(&mut self, sealed: &Sealed, paths: &[String]) {
        for ((id, path), rows) in sealed.leaves.iter().zip(paths).zip(&sealed.adds) {
            if let Some(node) = self.nodes.get_mut(id) {
                node.files = vec![path.clone()];
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
    fn evict(&mut self) {
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

    /// The rows of a batch by the leaf that they belong to. A leaf's range reaches to the start of the next one; what
    /// lies before the first leaf belongs to it.
    fn route(&mut self, batch: &RecordBatch) -> Result<Vec<(LeafId, Vec<u32>)>> {
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
    fn split_large(&mut self) -> Result<()> {
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
        let mut rows_at: BTreeMap<i64, usize> = BTreeMap::new();
        for batch in &states {
            for time in times(batch, self.shape.time)?.into_iter().flatten() {
                *rows_at.entry(time).or_default() += 1;
            }
        }
        let cuts = cuts(&rows_at, self.limits.leaf_rows_max);
        if cuts.is_empty() {
            return Ok(());
        }
        let mut parts = vec![(start, id, Leaf::new(&self.shape))];
        for cut in cuts {
            let new = self.new_id();
            parts.push((cut, new, Leaf::new(&self.shape)));
        }
        for batch in &states {
            let times = times(batch, self.shape.time)?;
            let incoming = self.incoming(batch)?;
            for index in 0..parts.len() {
                let to = parts.get(index + 1).map(|(cut, ..)| *cut);
                let Some((from, _, leaf)) = parts.get_mut(index) else { continue };
                let from = if index == 0 { i64::MIN } else { *from };
                let chosen: Vec<u32> = (0_u32..)
                    .zip(&times)
                    .filter(|(_, time)| time.is_some_and(|t| t >= from && to.is_none_or(|to| t < to)))
                    .map(|(row, _)| row)
                    .collect();
                if !chosen.is_empty() {
                    leaf.merge(&incoming, &chosen)?;
                }
            }
        }
        let clock = self.clock;
        for (start, id, leaf) in parts {
            self.starts.insert(start, id);
            let node = self.nodes.entry(id).or_insert_with(Node::new);
            (node.leaf, node.unsealed, node.used) = (Some(leaf), true, clock);
        }
        Ok(())
    }
}

impl Node {
    fn new() -> Self {
        Self { files: Vec::new(), rows_on_disk: 0, leaf: None, aside: None, unsealed: false, pending: 0, used: 0 }
    }

    /// Whether the leaf holds what its files do not.
    fn is_dirty(&self) -> bool {
        self.unsealed || self.pending > 0
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

fn all_rows(batch: &RecordBatch) -> Vec<u32> {
    (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect()
}

/// The time column of groups: days, or milliseconds rounded down.
fn times(batch: &RecordBatch, time: usize) -> Result<Vec<Option<i64>>> {
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
