//! De-duplication by the contract's primary key within a horizon: which rows are new, which were here with the same
//! values, and which were here with others. Between the rules and the table.
//!
//! The index is a cache of the table: it is empty at start and filled again from the rows that are there. Invariant:
//! it holds keys of rows that are in the table, and of no others, so that a row processed again after a crash is new.

mod hash;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use vitalake_runtime::disk::Disk;

pub use hash::RowHasher;
pub(crate) use hash::hash_bytes;
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

/// The limits of an index of keys.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateLimits {
    /// How long a key is known, in log append time.
    pub horizon: Duration,
    /// Keys in memory; more are written to disk in a sorted run. A key takes some 40 bytes in memory.
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
    recent: HashMap<u64, Entry, Identity>,
    /// Oldest first.
    runs: Vec<Run>,
    runs_made: u64,
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
            recent: HashMap::default(),
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
            let verdict = match self.find(*key, *time)? {
                Some(entry) if entry.value == *value => Verdict::Duplicate,
                Some(_) => Verdict::Conflict,
                None => {
                    self.recent.insert(*key, Entry { value: *value, time: *time });
                    if self.recent.len() >= self.keys_in_memory_max {
                        self.spill()?;
                    }
                    Verdict::New
                }
            };
            verdicts.push(verdict);
        }
        self.expire();
        Ok(verdicts)
    }

    /// Keys that are known, in memory and on disk; those past the horizon may still be counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recent.len() + self.runs.iter().map(Run::len).sum::<usize>()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, key: u64, time: i64) -> Result<Option<Entry>> {
        let within = |entry: &Entry| time.saturating_sub(entry.time) <= self.horizon_us;
        if let Some(entry) = self.recent.get(&key) {
            return Ok(Some(*entry).filter(within));
        }
        for run in self.runs.iter().rev() {
            if let Some(entry) = run.find(key).map_err(|source| self.error("read", source))? {
                return Ok(Some(entry).filter(within));
            }
        }
        Ok(None)
    }

    fn spill(&mut self) -> Result<()> {
        self.sweep();
        if self.recent.len() < self.keys_in_memory_max / 2 {
            return Ok(());
        }
        let mut entries: Vec<(u64, Entry)> = self.recent.iter().map(|(key, entry)| (*key, *entry)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let path = self.folder.join(format!("{:08}.keys", self.runs_made));
        let run = self
            .disk
            .create_dir_all(&self.folder)
            .and_then(|()| Run::write(self.disk.as_ref(), &path, &entries))
            .map_err(|source| self.error("written", source))?;
        self.runs_made += 1;
        self.runs.push(run);
        self.recent.clear();
        Ok(())
    }

    fn expire(&mut self) {
        if self.newest_us.saturating_sub(self.swept_us) >= SWEEP_US {
            self.sweep();
        }
    }

    /// Drops what is past the horizon. A run whose file cannot be removed is removed at the next start.
    fn sweep(&mut self) {
        self.swept_us = self.newest_us;
        let since = self.newest_us.saturating_sub(self.horizon_us);
        self.recent.retain(|_, entry| entry.time >= since);
        let disk = &self.disk;
        self.runs.retain(|run| {
            let keep = run.newest_us() >= since;
            if !keep && let Err(error) = disk.remove(run.path()) {
                tracing::warn!(path = %run.path().display(), %error, "a run of old keys could not be removed");
            }
            keep
        });
    }

    fn error(&self, attempted: &'static str, source: std::io::Error) -> Error {
        Error::Index { path: self.folder.display().to_string(), attempted, source }
    }
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
