//! A table's changes in order, for the models that read it: rows as they come, epochs as they end.
//!
//! The tail shows readers of SQL what is there; this shows models what is new. A reader is given increments that never
//! cross a seal. Rows stay in memory only while a reader has them still to come and they are few; beyond that an entry
//! names the files that hold them. Invariant: every reader is given every change once, in order, whatever was committed
//! or written early in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::books::Account;
use crate::delta::{DataFile, TableVersion};
use crate::epoch::{ChangeNumber, Seal};
use crate::txn::TxnId;

/// Rows in memory of committed epochs beyond which an epoch's entries name files instead.
const COMMITTED_BYTES_IN_MEMORY_MAX: usize = 16 * 1024 * 1024;

/// What a reader is given: rows or files, and the seal when the epoch ends here.
#[derive(Debug, Default)]
pub struct Increment {
    /// Rows in memory.
    pub rows: Vec<RecordBatch>,
    /// Files to read; never together with rows.
    pub files: Vec<Arc<DataFile>>,
    /// Files whose rows are gone: they go before those of `files` come. Tables that only grow have none. An increment
    /// that has some is one commit's, or several of history as one, and says which version they end with.
    pub removed: Vec<Arc<DataFile>>,
    /// The epoch ends with this increment.
    pub seal: Option<Arc<Seal>>,
    /// The last change that it holds.
    pub through: ChangeNumber,
    /// The committed version that its files came with, where it was read from the table's history or rows went.
    pub version: Option<i64>,
}

impl Increment {
    /// Whether nothing came or went with it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.files.is_empty() && self.removed.is_empty()
    }
}

/// What one commit did to the rows, as files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) added: Vec<Arc<DataFile>>,
    pub(crate) removed: Vec<Arc<DataFile>>,
    /// The version that it made, where it took rows away.
    pub(crate) version: Option<i64>,
}

impl Change {
    pub(crate) fn added(files: Vec<Arc<DataFile>>) -> Self {
        Self { added: files, ..Self::default() }
    }

    fn rows(&self) -> usize {
        let counts = self.added.iter().chain(&self.removed).filter_map(|file| file.rows);
        counts.map(|count| usize::try_from(count).unwrap_or(usize::MAX)).fold(0, usize::saturating_add)
    }
}

#[derive(Debug)]
enum What {
    Rows(RecordBatch),
    Files(Change),
    /// A delivery whose commit is on its way: nobody passes it before it is known.
    Pending,
}

#[derive(Debug)]
struct Entry {
    number: ChangeNumber,
    bytes: usize,
    what: What,
}

#[derive(Clone, Debug)]
struct Cursor {
    through: ChangeNumber,
    seals_seen: u64,
    /// The input's version that the reader is known to be past.
    consumed: Option<TableVersion>,
    /// The last seal that it was given: once that is committed it is past its version.
    last_seal: Option<Arc<Seal>>,
}

impl Cursor {
    fn consumed(&self) -> TableVersion {
        let of_seal = self.last_seal.as_ref().and_then(|seal| seal.version_now()).and_then(|v| u64::try_from(v).ok());
        of_seal.map(TableVersion).max(self.consumed).unwrap_or(TableVersion(0))
    }
}

/// A place that no reader has any longer.
const GONE: Cursor = Cursor {
    through: ChangeNumber(u64::MAX),
    seals_seen: u64::MAX,
    consumed: Some(TableVersion(u64::MAX)),
    last_seal: None,
};

/// Names a reader of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderId(usize);

#[derive(Debug, Default)]
pub(crate) struct Changes {
    last: ChangeNumber,
    /// The last change that readers are given: rejects are none.
    last_for_readers: ChangeNumber,
    entries: VecDeque<Entry>,
    seals: VecDeque<Arc<Seal>>,
    last_seal: u64,
    last_seal_for_readers: u64,
    last_sealed: ChangeNumber,
    /// Whether epochs end where rejects do: the rows change by whole commits, each an epoch of its own to readers.
    grouped: bool,
    readers: Vec<Cursor>,
}

impl Changes {
    /// Of a table of groups, or another whose rows change by whole commits.
    pub(crate) fn of_commits() -> Self {
        Self { grouped: true, ..Self::default() }
    }

    /// The number for the next change.
    pub(crate) fn advance(&mut self) -> ChangeNumber {
        self.last = ChangeNumber(self.last.0 + 1);
        self.last
    }

    pub(crate) fn last(&self) -> ChangeNumber {
        self.last
    }

    pub(crate) fn last_for_readers(&self) -> ChangeNumber {
        self.last_for_readers
    }

    pub(crate) fn has_news_to_seal(&self) -> bool {
        self.last > self.last_sealed
    }

    /// A reader that has seen everything up to a change (and every seal so far).
    pub(crate) fn register(&mut self, through: ChangeNumber, consumed: Option<TableVersion>) -> ReaderId {
        let cursor = Cursor { through, seals_seen: self.last_seal, consumed, last_seal: None };
        match self.readers.iter_mut().enumerate().find(|(_, place)| place.through == GONE.through) {
            Some((free, place)) => {
                *place = cursor;
                ReaderId(free)
            }
            None => {
                self.readers.push(cursor);
                ReaderId(self.readers.len() - 1)
            }
        }
    }

    /// A reader that is gone: nothing is kept for it any longer.
    pub(crate) fn deregister(&mut self, reader: ReaderId) {
        if let Some(cursor) = self.readers.get_mut(reader.0) {
            *cursor = GONE;
        }
        self.forget();
    }

    /// A reader has come to the end of an epoch that a version holds.
    pub(crate) fn note_consumed(&mut self, reader: ReaderId, version: TableVersion) {
        if let Some(cursor) = self.readers.get_mut(reader.0) {
            cursor.consumed = Some(version);
        }
    }

    /// The version that every reader is past; `None` when nobody reads.
    pub(crate) fn consumed_by_all(&self) -> Option<TableVersion> {
        self.readers.iter().map(Cursor::consumed).min()
    }

    /// The number of the last seal that readers are given.
    pub(crate) fn last_seal_number(&self) -> u64 {
        self.last_seal_for_readers
    }

    /// Whether everything that came is in an epoch that has ended.
    pub(crate) fn is_sealed(&self) -> bool {
        self.last == self.last_sealed
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.readers.iter().any(|cursor| cursor.through != GONE.through)
    }

    pub(crate) fn push_rows(&mut self, number: ChangeNumber, batch: &RecordBatch, bytes: usize) {
        self.last_for_readers = number;
        if self.has_readers() {
            self.entries.push_back(Entry { number, bytes, what: What::Rows(batch.clone()) });
        }
    }

    /// A change that is in a commit already.
    pub(crate) fn push_change(&mut self, number: ChangeNumber, change: Change) {
        self.last_for_readers = number;
        if self.has_readers() {
            self.entries.push_back(Entry { number, bytes: 0, what: What::Files(change) });
        }
    }

    pub(crate) fn push_pending(&mut self, number: ChangeNumber) {
        self.last_for_readers = number;
        if self.has_readers() {
            self.entries.push_back(Entry { number, bytes: 0, what: What::Pending });
        }
    }

    /// A pending delivery is known: its files take its place.
    pub(crate) fn resolve(&mut self, number: ChangeNumber, change: Change) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.number == number) {
            entry.what = What::Files(change);
        }
    }

    pub(crate) fn seal(&mut self, txns: BTreeMap<TxnId, i64>, account: Account) -> Arc<Seal> {
        self.last_sealed = self.last;
        let grouped = self.grouped;
        self.push_seal(|seal| seal.with_account(account).given_to_readers(!grouped), txns)
    }

    /// A commit that is known already, as an epoch of its own.
    pub(crate) fn push_epoch(&mut self, change: Change, version: i64) {
        let follows_a_seal = self.is_sealed();
        let number = self.advance();
        self.push_change(number, change);
        if follows_a_seal {
            self.last_sealed = number;
        }
        self.push_seal(|seal| seal, BTreeMap::new()).set_version(version);
        self.forget();
    }

    fn push_seal(&mut self, made: impl FnOnce(Seal) -> Seal, txns: BTreeMap<TxnId, i64>) -> Arc<Seal> {
        self.last_seal += 1;
        let seal = Arc::new(made(Seal::new(self.last_seal, self.last, txns)));
        if seal.for_readers {
            self.last_seal_for_readers = seal.number;
        }
        self.seals.push_back(Arc::clone(&seal));
        seal
    }

    /// Seals whose commit is not known yet, in order.
    pub(crate) fn open_seals(&self) -> Vec<Arc<Seal>> {
        self.seals.iter().filter(|s| s.version_now().is_none()).cloned().collect()
    }

    /// Changes after `from` up to `through` were written to files: entries that no reader is in the middle of name them.
    pub(crate) fn written(&mut self, from: ChangeNumber, through: ChangeNumber, files: &[Arc<DataFile>]) {
        let between = self.readers.iter().any(|c| c.through > from && c.through < through);
        if between || !self.entries.iter().any(|e| e.number > from && e.number <= through) {
            return;
        }
        if self.entries.iter().any(|e| e.number > from && e.number <= through && !matches!(e.what, What::Rows(_))) {
            return;
        }
        let files = Change::added(files.to_vec());
        let at = self.entries.iter().position(|e| e.number > from).unwrap_or(0);
        self.entries.retain(|e| e.number <= from || e.number > through);
        self.entries.insert(at.min(self.entries.len()), Entry { number: through, bytes: 0, what: What::Files(files) });
    }

    /// An epoch has been committed: forget what every reader has seen, and what is large and in files now.
    pub(crate) fn committed(&mut self, seal: &Arc<Seal>, previous: ChangeNumber, files: &[Arc<DataFile>]) {
        self.forget();
        if self.bytes_through(seal.through) > COMMITTED_BYTES_IN_MEMORY_MAX {
            self.written(previous, seal.through, files);
        }
    }

    /// Whether an epoch that a reader has not been given has ended, and can be given now.
    pub(crate) fn has_ended(&self, reader: ReaderId) -> bool {
        let Some(cursor) = self.readers.get(reader.0) else { return false };
        let next = self.entries.iter().find(|entry| entry.number > cursor.through);
        let is_pending = next.is_some_and(|entry| matches!(entry.what, What::Pending));
        !is_pending && self.seals.iter().any(|seal| seal.number > cursor.seals_seen && seal.for_readers)
    }

    /// What a reader has not seen yet, as far as the next seal and about `rows_max` rows.
    pub(crate) fn take(&mut self, reader: ReaderId, rows_max: usize) -> Option<Increment> {
        let cursor = self.readers.get(reader.0)?.clone();
        let seal = self.seals.iter().find(|s| s.number > cursor.seals_seen && s.for_readers).cloned();
        let limit = seal.as_ref().map_or(ChangeNumber(u64::MAX), |s| s.through);
        let mut increment = Increment { through: cursor.through, ..Increment::default() };
        let (mut rows, mut more) = (0, false);
        for entry in self.entries.iter().filter(|e| e.number > cursor.through) {
            if entry.number > limit {
                break;
            }
            more = true;
            if !increment.removed.is_empty() {
                break;
            }
            match &entry.what {
                What::Rows(batch) if rows < rows_max && increment.files.is_empty() => {
                    rows += batch.num_rows();
                    increment.rows.push(batch.clone());
                }
                // What takes rows away is an increment of its own.
                What::Files(change)
                    if rows < rows_max
                        && increment.rows.is_empty()
                        && (change.removed.is_empty() || increment.files.is_empty()) =>
                {
                    rows += change.rows();
                    increment.removed.extend(change.removed.iter().cloned());
                    increment.files.extend(change.added.iter().cloned());
                    increment.version = change.version.filter(|_| !change.removed.is_empty());
                }
                _ => break,
            }
            increment.through = entry.number;
            more = false;
        }
        if let Some(seal) = seal.filter(|_| !more) {
            increment.through = seal.through;
            increment.seal = Some(seal);
        }
        if increment.through == cursor.through && increment.seal.is_none() {
            return None;
        }
        if let Some(cursor) = self.readers.get_mut(reader.0) {
            cursor.through = increment.through;
            cursor.seals_seen = increment.seal.as_ref().map_or(cursor.seals_seen, |s| s.number);
            if let Some(seal) = &increment.seal {
                // The one before may be committed by now, and this one not for long.
                cursor.consumed = Some(cursor.consumed());
                cursor.last_seal = Some(Arc::clone(seal));
            }
        }
        self.forget();
        Some(increment)
    }

    /// Drops what every reader has seen.
    pub(crate) fn forget(&mut self) {
        let seen = self.readers.iter().map(|c| c.through).min().unwrap_or(self.last);
        let seals = self.readers.iter().map(|c| c.seals_seen).min().unwrap_or(self.last_seal);
        while self.entries.front().is_some_and(|e| e.number <= seen) {
            self.entries.pop_front();
        }
        let is_given = |seal: &Seal| seal.number <= seals || !seal.for_readers;
        while self.seals.front().is_some_and(|s| is_given(s) && s.version_now().is_some()) {
            self.seals.pop_front();
        }
    }

    /// Bytes of rows that are here for readers alone: those of committed epochs.
    pub(crate) fn bytes_through(&self, committed: ChangeNumber) -> usize {
        self.entries.iter().filter(|e| e.number <= committed).map(|e| e.bytes).sum()
    }
}

#[cfg(test)]
mod tests;
