//! Committed rejects in portions, each put through again as a whole: what passes comes into the table, what does not stays.
//!
//! A portion is some files of quarantine. They are read batch by batch; rows and what stays are written as files that
//! nothing names, and one pair of commits makes them count. Invariant: a reject that is meant is given once to who puts it
//! through, and every other one of its file is kept as it is.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::error::ArrowError;
use futures::TryStreamExt;

use super::RejectFilter;
use super::take_back::TakeBack;
use crate::delta::{DataFile, DeltaError, FilePath};
use crate::error::LakeError;
use crate::table::Table;
use crate::txn::TxnId;

/// Bytes of files that make a portion.
const PORTION_BYTES: u64 = 64 << 20;
/// Files that make a portion: their names stand in the commit.
const PORTION_FILES_MAX: usize = 256;

/// Files of quarantine in which there are rejects that are meant.
#[derive(Clone, Debug)]
pub struct Portion {
    pub(crate) files: Vec<Arc<DataFile>>,
    /// How many of their rejects are meant.
    pub rejects: u64,
}

impl Portion {
    /// Its files.
    #[must_use]
    pub fn files(&self) -> &[Arc<DataFile>] {
        &self.files
    }
}

/// What rejects became.
#[derive(Debug, Default)]
pub struct Again {
    /// Rows for the table.
    pub rows: Vec<RecordBatch>,
    /// Rejects that stay, as they are now.
    pub rejects: Vec<RecordBatch>,
    /// How many were there already.
    pub duplicates: u64,
}

/// Puts rejects through once more.
pub trait PutThrough: Send {
    /// What can go wrong.
    type Error: From<LakeError> + Send;

    /// What these rejects become.
    fn put_through(&mut self, rejects: RecordBatch) -> impl Future<Output = Result<Again, Self::Error>> + Send;
}

/// Gives rejects up: nothing becomes of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct GiveUp;

impl PutThrough for GiveUp {
    type Error = LakeError;

    async fn put_through(&mut self, _rejects: RecordBatch) -> Result<Again, LakeError> {
        Ok(Again::default())
    }
}

/// What came of a portion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Rejects that were put through.
    pub taken: u64,
    /// Rows that came of them.
    pub rows: u64,
    /// Those that the table had already.
    pub duplicates: u64,
    /// Those that failed again, by the first rule that they break now.
    pub failed: BTreeMap<String, u64>,
}

impl Tried {
    /// Adds another portion's.
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.rows += other.rows;
        self.duplicates += other.duplicates;
        for (rule, rows) in &other.failed {
            *self.failed.entry(rule.clone()).or_default() += rows;
        }
    }

    /// How many failed again.
    #[must_use]
    pub fn failed_rows(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Which rejects are put through, and how it is told how many have been.
#[derive(Clone, Copy, Debug)]
pub struct Putting<'a> {
    /// Those that are meant.
    pub filter: &'a RejectFilter,
    /// Counts those that have been put through.
    pub done: &'a AtomicU64,
}

/// Under what terms a portion is committed.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// A transaction of the table that must not have moved meanwhile.
    pub unless_moved: Option<(TxnId, Option<i64>)>,
    /// What the commits say of themselves beside the counts.
    pub info: BTreeMap<String, String>,
    /// The field that says how many rejects left quarantine for good, where nothing became of them.
    pub given_up: Option<&'static str>,
}

impl Table {
    /// The committed rejects that are meant, in portions; files that are named are left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn portions(
        &self,
        filter: &RejectFilter,
        without: &HashSet<FilePath>,
    ) -> Result<Vec<Portion>, LakeError> {
        let head = self.at(crate::side::SideName::Rejects).1;
        let (mut portions, mut open, mut bytes): (Vec<Portion>, Option<Portion>, u64) = (Vec::new(), None, 0);
        for file in head.files().filter(|file| !without.contains(file.path())) {
            let rejects = self.meant(file, filter).await?;
            if rejects == 0 {
                continue;
            }
            let portion = open.get_or_insert_with(|| Portion { files: Vec::new(), rejects: 0 });
            portion.files.push(Arc::clone(file));
            portion.rejects += rejects;
            bytes += file.size_bytes();
            if bytes >= PORTION_BYTES || portion.files.len() >= PORTION_FILES_MAX {
                portions.extend(open.take());
                bytes = 0;
            }
        }
        portions.extend(open);
        Ok(portions)
    }

    async fn meant(&self, file: &DataFile, filter: &RejectFilter) -> Result<u64, LakeError> {
        if filter.is_everything()
            && let Some(rows) = file.rows
        {
            return Ok(rows);
        }
        let mut batches = self.stream_rejects(file, Some(&filter.columns())).await?;
        let mut count = 0;
        while let Some(batch) = batches.try_next().await? {
            count += filter.mask(&batch).true_count() as u64;
        }
        Ok(count)
    }

    /// What would become of a portion; nothing changes.
    ///
    /// # Errors
    /// When a file cannot be read, or the rejects cannot be put through at all.
    pub async fn try_portion<P: PutThrough>(
        &self,
        portion: &Portion,
        putting: Putting<'_>,
        through: &mut P,
    ) -> Result<Tried, P::Error> {
        let mut tried = Tried::default();
        for file in &portion.files {
            let mut batches = self.stream_rejects(file, None).await?;
            while let Some(batch) = batches.try_next().await? {
                let (taken, _) = self.split(&batch, putting.filter)?;
                count(&mut tried, &taken, putting, &put(through, taken.clone()).await?);
            }
        }
        Ok(tried)
    }

    /// Puts a portion through and commits what comes of it. `None` when something has moved meanwhile: nothing is done
    /// then. Gives the files with the rejects that stay beside the counts.
    ///
    /// # Errors
    /// As [`Table::try_portion`] and [`Table::take_back`]; nothing is done then.
    pub async fn put_portion_through<P: PutThrough>(
        &self,
        portion: &Portion,
        putting: Putting<'_>,
        through: &mut P,
        terms: Terms,
    ) -> Result<Option<(Tried, Vec<FilePath>)>, P::Error> {
        let (mut tried, mut back) =
            (Tried::default(), TakeBack { taken: portion.files.clone(), ..TakeBack::default() });
        let (mut rows, mut stay) = (Waiting::default(), Waiting::default());
        let bytes_max = self.shared.options.file_bytes_in_memory;
        for file in &portion.files {
            let mut batches = self.stream_rejects(file, None).await?;
            while let Some(batch) = batches.try_next().await? {
                let (taken, kept) = self.split(&batch, putting.filter)?;
                stay.push(kept);
                let again = put(through, taken.clone()).await?;
                count(&mut tried, &taken, putting, &again);
                again.rows.into_iter().for_each(|batch| rows.push(batch));
                again.rejects.into_iter().for_each(|batch| stay.push(batch));
                if rows.bytes >= bytes_max {
                    back.rows.extend(self.write_rows(rows.take()).await?);
                }
                if stay.bytes >= bytes_max {
                    back.kept.extend(self.write_rejects(stay.take()).await?);
                }
            }
        }
        back.rows.extend(self.write_rows(rows.take()).await?);
        back.kept.extend(self.write_rejects(stay.take()).await?);
        back.info = said(&tried, &terms);
        back.duplicates = tried.duplicates;
        back.given_up = if terms.given_up.is_some() { tried.taken } else { 0 };
        back.unless_moved = terms.unless_moved;
        let kept = back.kept.iter().map(|file| file.path().clone()).collect();
        Ok(self.take_back(&back).await?.map(|_| (tried, kept)))
    }

    /// The rejects of a batch that are meant, and the others.
    fn split(&self, batch: &RecordBatch, filter: &RejectFilter) -> Result<(RecordBatch, RecordBatch), LakeError> {
        let meant = filter.mask(batch);
        let pick = |mask: &BooleanArray| filter_record_batch(batch, mask);
        let split = pick(&meant).and_then(|taken| Ok((taken, pick(&not(&meant)?)?)));
        split.map_err(|source| self.unsplit(source))
    }

    fn unsplit(&self, source: ArrowError) -> LakeError {
        let id = self.rejects_id();
        LakeError::Parquet { attempt: "reading a file", source: DeltaError::arrow(id.root(), source), table: id }
    }
}

async fn put<P: PutThrough>(through: &mut P, taken: RecordBatch) -> Result<Again, P::Error> {
    match taken.num_rows() {
        0 => Ok(Again::default()),
        _ => through.put_through(taken).await,
    }
}

fn count(tried: &mut Tried, taken: &RecordBatch, putting: Putting<'_>, again: &Again) {
    let rows = taken.num_rows() as u64;
    putting.done.fetch_add(rows, Ordering::Relaxed);
    tried.taken += rows;
    tried.rows += again.rows.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    tried.duplicates += again.duplicates;
    let rules = again.rejects.iter().filter_map(|batch| batch.column_by_name("_rule")?.as_string_view_opt());
    for rule in rules.flatten().flatten() {
        match tried.failed.get_mut(rule) {
            Some(count) => *count += 1,
            None => {
                tried.failed.insert(rule.to_owned(), 1);
            }
        }
    }
}

/// What the commits say: how many rejects left quarantine and what became of them, for the books.
fn said(tried: &Tried, terms: &Terms) -> BTreeMap<String, String> {
    let mut info = terms.info.clone();
    if let Some(field) = terms.given_up {
        info.insert(field.to_owned(), tried.taken.to_string());
        return info;
    }
    info.insert("vitalakeReplayTaken".to_owned(), tried.taken.to_string());
    info.insert("vitalakeReplayed".to_owned(), tried.rows.to_string());
    info.insert("vitalakeReplayDuplicates".to_owned(), tried.duplicates.to_string());
    info.insert("vitalakeReplayFailed".to_owned(), tried.failed_rows().to_string());
    info
}

/// Batches on their way into a file.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.bytes += batch.get_array_memory_size();
            self.batches.push(batch);
        }
    }

    fn take(&mut self) -> Vec<RecordBatch> {
        self.bytes = 0;
        std::mem::take(&mut self.batches)
    }
}
