//! De-duplication by the contract's primary key within a horizon: which rows are new, which were here with the same
//! values, and which were here with others. Between the rules and the table.
//!
//! The index is a cache of the table: it is empty at start and filled again from the rows that are there. Invariant:
//! it holds keys of rows that are in the table, and of no others, so that a row processed again after a crash is new.

mod hash;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hashbrown::HashMap;
use vitalake_runtime::disk::Disk;

pub use hash::RowHasher;
pub(crate) use hash::{hash_bytes, random_seed};
use run::Run;

use crate::error::{Error, Result};

/// What is known of a row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key was not seen within the horizon.
    New,
    /// The key was seen with the same values.
    Duplicate,
    /// The key was seen with other values.
    Conflict,
}

impl Verdict {
    fn of(known: Option<Entry>, value: u64) -> Self {
        match known {
            None => Self::New,
            Some(entry) if entry.value == value => Self::Duplicate,
            Some(_) => Self::Conflict,
        }
    }
}

/// The limits of an index of keys.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateLimits {
    /// How long a key is known, in log append time.
    pub horizon: Duration,
    /// Keys in memory, half of them new and half on their way to disk, where each half becomes a sorted run. A key takes
    /// some 40 bytes in memory.
    pub keys_in_memory_max: usize,
}

impl Default for DuplicateLimits {
    fn default() -> Self {
        Self { horizon: Duration::from_secs(24 * 3600), keys_in_memory_max: 2_000_000 }
    }
}

/// A key with the hash of its values and the time of its record, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: u64,
    pub(crate) time: i64,
}

/// Runs of one level that are made into one of the next.
const MERGED_RUNS: usize = 8;
/// The level whose runs are let stand, so that a key past the horizon is not kept long for the sake of younger ones.
const LEVEL_MAX: u8 = 2;
/// How often keys past the horizon are dropped from memory, in microseconds of log append time.
const SWEEP_US: i64 = 3_600_000_000;

/// The keys that a table holds, within a horizon.
#[derive(Debug)]
pub struct DuplicateIndex {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    keys_in_memory_max: usize,
    horizon_us: i64,
    newest_us: i64,
    swept_us: i64,
    recent: Recent,
    /// What is being written to disk.
    spilling: Option<Spilling>,
    /// Runs that are being made into one.
    merging: Option<Merging>,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    runs_made: u64,
}

/// In the place of the hash of a key's values: the key is not known.
const FORGOTTEN: u64 = u64::MAX;

type Recent = HashMap<u64, Entry, Identity>;

/// Keys that are judged together with an index and are not part of it: of rows that may still be dropped.
#[derive(Debug, Default)]
pub struct KeysBeside(Recent);

impl KeysBeside {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Keys on their way to disk, sorted and written by a thread of their own, so that no row waits for it. They are
/// answered from memory until the run is there.
#[derive(Debug)]
struct Spilling {
    keys: Arc<Recent>,
    writing: JoinHandle<std::io::Result<Run>>,
}

/// Runs that a thread of its own makes into one; they are asked until it is there.
#[derive(Debug)]
struct Merging {
    runs: Vec<Arc<Run>>,
    writing: JoinHandle<std::io::Result<Run>>,
}

impl DuplicateIndex {
    /// An empty index; what an earlier process spilled into the folder is removed.
    ///
    /// # Errors
    /// When the folder cannot be cleared.
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf, limits: DuplicateLimits) -> Result<Self> {
        match disk.remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Index { path: folder.display().to_string(), attempted: "cleared", source });
            }
            _ => {}
        }
        Ok(Self {
            disk,
            folder,
            keys_in_memory_max: limits.keys_in_memory_max.max(1),
            horizon_us: i64::try_from(limits.horizon.as_micros()).unwrap_or(i64::MAX),
            newest_us: i64::MIN,
            swept_us: i64::MIN,
            recent: Recent::default(),
            spilling: None,
            merging: None,
            runs: Vec::new(),
            runs_made: 0,
        })
    }

    /// The time before which keys are no longer known, in microseconds; `None` while nothing was seen.
    #[must_use]
    pub fn known_since_us(&self) -> Option<i64> {
        (self.newest_us != i64::MIN).then(|| self.newest_us.saturating_sub(self.horizon_us))
    }

    /// Judges rows in order and remembers the new ones, which the caller must then put into the table; if it cannot,
    /// the index is to be made again from the table. The three slices have one length.
    ///
    /// # Errors
    /// When keys cannot be written to disk or read back.
    pub fn check(&mut self, keys: &[u64], values: &[u64], times_us: &[i64]) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::with_capacity(keys.len());
        for ((key, value), time) in keys.iter().zip(values).zip(times_us) {
            self.newest_us = self.newest_us.max(*time);
            let value = (*value).min(FORGOTTEN - 1);
            let verdict = Verdict::of(self.find(*key, *time)?, value);
            if verdict == Verdict::New {
                self.recent.insert(*key, Entry { value, time: *time });
                if self.recent.len() >= (self.keys_in_memory_max / 2).max(1) {
                    self.spill()?;
                }
            }
            verdicts.push(verdict);
        }
        if self.spilling.as_ref().is_some_and(|spilling| spilling.writing.is_finished()) {
            self.finish_spilling()?;
        }
        if self.merging.as_ref().is_some_and(|merging| merging.writing.is_finished()) {
            self.finish_merging()?;
        }
        self.expire();
        Ok(verdicts)
    }

    /// Judges rows in order as [`Self::check`] does and remembers the new ones beside the index, which stays as it is.
    ///
    /// # Errors
    /// When keys cannot be read back from disk.
    pub fn check_beside(
        &self,
        beside: &mut KeysBeside,
        keys: &[u64],
        values: &[u64],
        times_us: &[i64],
    ) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::with_capacity(keys.len());
        for ((key, value), time) in keys.iter().zip(values).zip(times_us) {
            let known = match beside.0.get(key) {
                Some(entry) => Some(*entry),
                None => self.find(*key, *time)?,
            };
            let value = (*value).min(FORGOTTEN - 1);
            let verdict = Verdict::of(known, value);
            if verdict == Verdict::New {
                beside.0.insert(*key, Entry { value, time: *time });
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Forgets keys whose rows have left the table: they are new again.
    ///
    /// # Errors
    /// When keys cannot be written to disk.
    pub fn forget(&mut self, keys: &[u64]) -> Result<()> {
        for key in keys {
            // What is on disk stays there and is not looked at: this stands in its way, for as long as it could be known.
            self.recent.insert(*key, Entry { value: FORGOTTEN, time: self.newest_us });
            if self.recent.len() >= (self.keys_in_memory_max / 2).max(1) {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Keys that are known, in memory and on disk; those past the horizon may still be counted.
    #[must_use]
    pub fn len(&self) -> usize {
        let spilling = self.spilling.as_ref().map_or(0, |spilling| spilling.keys.len());
        self.recent.len() + spilling + self.runs.iter().map(|run| run.len()).sum::<usize>()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, key: u64, time: i64) -> Result<Option<Entry>> {
        let within = |entry: &Entry| entry.value != FORGOTTEN && time.saturating_sub(entry.time) <= self.horizon_us;
        if let Some(entry) = self.recent.get(&key) {
            return Ok(Some(*entry).filter(within));
        }
        if let Some(entry) = self.spilling.as_ref().and_then(|spilling| spilling.keys.get(&key)) {
            return Ok(Some(*entry).filter(within));
        }
        for run in self.runs.iter().rev() {
            if let Some(entry) = run.find(key).map_err(|source| self.error("read", source))? {
                return Ok(Some(entry).filter(within));
            }
        }
        Ok(None)
    }

    /// Hands the keys in memory to a thread that writes them; waits for the one before, which then was slower than the
    /// rows that came.
    fn spill(&mut self) -> Result<()> {
        self.sweep();
        if self.recent.len() < self.keys_in_memory_max / 4 {
            return Ok(());
        }
        self.finish_spilling()?;
        let path = self.next_path();
        let room = self.recent.len();
        let keys = Arc::new(std::mem::replace(&mut self.recent, Recent::with_capacity_and_hasher(room, Identity)));
        let (disk, folder, held) = (Arc::clone(&self.disk), self.folder.clone(), Arc::clone(&keys));
        let writing = std::thread::spawn(move || {
            let mut entries: Vec<(u64, Entry)> = held.iter().map(|(key, entry)| (*key, *entry)).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            disk.create_dir_all(&folder)?;
            Run::write(disk.as_ref(), &path, 0, entries.len(), entries.into_iter().map(Ok))
        });
        self.spilling = Some(Spilling { keys, writing });
        Ok(())
    }

    fn next_path(&mut self) -> PathBuf {
        self.runs_made += 1;
        self.folder.join(format!("{:08}.keys", self.runs_made))
    }

    /// Waits for the run that is being written.
    fn finish_spilling(&mut self) -> Result<()> {
        let Some(Spilling { writing, .. }) = self.spilling.take() else { return Ok(()) };
        self.runs.push(Arc::new(joined(writing).map_err(|source| self.error("written", source))?));
        if self.merging.is_none() {
            self.merge();
        }
        Ok(())
    }

    /// Begins to make runs of one level into one when there are enough, so that a key is looked for in few.
    fn merge(&mut self) {
        let of_level = |level| self.runs.iter().filter(move |run| run.level() == level).cloned();
        let enough =
            (0..LEVEL_MAX).map(|level| of_level(level).collect()).find(|runs: &Vec<_>| runs.len() >= MERGED_RUNS);
        let Some(runs) = enough else { return };
        let (path, disk, merged) = (self.next_path(), Arc::clone(&self.disk), runs.clone());
        let since = self.newest_us.saturating_sub(self.horizon_us);
        let writing = std::thread::spawn(move || Run::merge(disk.as_ref(), &path, &merged, since));
        self.merging = Some(Merging { runs, writing });
    }

    /// Puts the run that was made of several in their place.
    fn finish_merging(&mut self) -> Result<()> {
        let Some(Merging { runs, writing }) = self.merging.take() else { return Ok(()) };
        let merged = Arc::new(joined(writing).map_err(|source| self.error("merged", source))?);
        let is_old = |run: &Arc<Run>| runs.iter().any(|old| Arc::ptr_eq(old, run));
        let at = self.runs.iter().position(&is_old).unwrap_or(0);
        self.runs.retain(|run| !is_old(run));
        self.runs.insert(at, merged);
        for run in &runs {
            self.remove(run);
        }
        self.merge();
        Ok(())
    }

    fn expire(&mut self) {
        if self.newest_us.saturating_sub(self.swept_us) >= SWEEP_US {
            self.sweep();
        }
    }

    /// Drops what is past the horizon; runs that are being merged go with what is made of them.
    fn sweep(&mut self) {
        self.swept_us = self.newest_us;
        let since = self.newest_us.saturating_sub(self.horizon_us);
        self.recent.retain(|_, entry| entry.time >= since);
        if self.merging.is_none() {
            let (kept, old) = self.runs.drain(..).partition(|run| run.newest_us() >= since);
            self.runs = kept;
            let old: Vec<Arc<Run>> = old;
            old.iter().for_each(|run| self.remove(run));
        }
    }

    /// A run whose file cannot be removed is removed at the next start.
    fn remove(&self, run: &Run) {
        if let Err(error) = self.disk.remove(run.path()) {
            tracing::warn!(path = %run.path().display(), %error, "a run of old keys could not be removed");
        }
    }

    fn error(&self, attempted: &'static str, source: std::io::Error) -> Error {
        Error::Index { path: self.folder.display().to_string(), attempted, source }
    }
}

impl Drop for DuplicateIndex {
    /// The next index of the folder begins by clearing it: nothing may be written there after this one.
    fn drop(&mut self) {
        let spilling = self.spilling.take().map(|spilling| spilling.writing);
        let merging = self.merging.take().map(|merging| merging.writing);
        for writing in spilling.into_iter().chain(merging) {
            let _ = writing.join();
        }
    }
}

fn joined(writing: JoinHandle<std::io::Result<Run>>) -> std::io::Result<Run> {
    writing.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that wrote it ended")))
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Identity;

impl std::hash::BuildHasher for Identity {
    type Hasher = IdentityHasher;

    fn build_hasher(&self) -> IdentityHasher {
        IdentityHasher(0)
    }
}

struct IdentityHasher(u64);

impl std::hash::Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests;
