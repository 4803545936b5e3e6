//! Keys that did not fit into memory: one sorted file, with a Bloom filter and the first key of each block in memory.
//!
//! A cache of the table: never synced, removed at start. Invariant: a file's entries are sorted by key, each once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitalake_runtime::disk::{Disk, DiskFile};

use crate::duplicates::Entry;

const ENTRY_BYTES: usize = 24;
const BLOCK_ENTRIES: usize = 128;
/// Bytes that are written, and read by a merge, at a time.
const WRITE_BYTES: usize = BLOCK_ENTRIES * ENTRY_BYTES * 64;
/// Bits of the Bloom filter for each key, and bits set for each: one new key in two thousand is looked up in vain, so
/// that what a flush reads stays small however many runs there are.
const BLOOM_BITS: usize = 16;
const BLOOM_PROBES: u32 = 11;

/// A sorted file of keys.
#[derive(Debug)]
pub(crate) struct Run {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    level: u8,
    entries: usize,
    newest_us: i64,
    first_keys: Vec<u64>,
    bloom: Vec<u64>,
}

impl Run {
    /// Writes entries that come sorted by key, at most `count` of them.
    pub(crate) fn write(
        disk: &dyn Disk,
        path: &Path,
        level: u8,
        count: usize,
        entries: impl Iterator<Item = io::Result<(u64, Entry)>>,
    ) -> io::Result<Self> {
        let file = disk.open(path, true)?;
        file.set_len(0)?;
        let bloom = vec![0_u64; (count * BLOOM_BITS).div_ceil(64).max(1)];
        let first_keys = Vec::with_capacity(count.div_ceil(BLOCK_ENTRIES));
        let mut run = Self { path: path.to_owned(), file, level, entries: 0, newest_us: i64::MIN, first_keys, bloom };
        let mut bytes = Vec::with_capacity(WRITE_BYTES);
        let mut position = 0;
        for entry in entries {
            let (key, entry) = entry?;
            run.note(key, entry);
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&entry.value.to_le_bytes());
            bytes.extend_from_slice(&entry.time.to_le_bytes());
            if bytes.len() >= WRITE_BYTES {
                run.file.write_all_at(&bytes, position)?;
                position += bytes.len() as u64;
                bytes.clear();
            }
        }
        run.file.write_all_at(&bytes, position)?;
        Ok(run)
    }

    /// Writes the entries of several runs as one of the next level, without those from before a time. Of a key that
    /// stands in several the newest entry is kept.
    pub(crate) fn merge(disk: &dyn Disk, path: &Path, runs: &[Arc<Self>], since_us: i64) -> io::Result<Self> {
        let level = runs.iter().map(|run| run.level).max().unwrap_or(0) + 1;
        let count = runs.iter().map(|run| run.len()).sum();
        let mut readers = runs.iter().map(|run| Reader::open(run)).collect::<io::Result<Vec<_>>>()?;
        let merged = std::iter::from_fn(|| next_of(&mut readers).transpose());
        let young = merged.filter(|entry| entry.as_ref().map_or(true, |(_, entry)| entry.time >= since_us));
        Self::write(disk, path, level, count, young)
    }

    fn note(&mut self, key: u64, entry: Entry) {
        if self.entries.is_multiple_of(BLOCK_ENTRIES) {
            self.first_keys.push(key);
        }
        self.entries += 1;
        self.newest_us = self.newest_us.max(entry.time);
        for bit in bloom_bits(key, self.bloom.len()) {
            if let Some(word) = self.bloom.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Looks a key up; reads at most one block.
    pub(crate) fn find(&self, key: u64) -> io::Result<Option<Entry>> {
        if !self.may_hold(key) {
            return Ok(None);
        }
        let Some(block) = self.first_keys.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(None);
        };
        let bytes = self.read(block * BLOCK_ENTRIES, BLOCK_ENTRIES)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let found = entries.binary_search_by_key(&key, |entry| word(entry, 0));
        Ok(found.ok().and_then(|index| entries.get(index)).map(|entry| decoded(entry).1))
    }

    /// Whether a key must be looked for on disk.
    pub(crate) fn may_hold(&self, key: u64) -> bool {
        bloom_bits(key, self.bloom.len())
            .all(|bit| self.bloom.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0))
    }

    /// The bytes of up to `count` entries.
    fn read(&self, from: usize, count: usize) -> io::Result<Vec<u8>> {
        let count = count.min(self.entries.saturating_sub(from));
        let mut bytes = vec![0; count * ENTRY_BYTES];
        self.file.read_exact_at(&mut bytes, (from * ENTRY_BYTES) as u64)?;
        Ok(bytes)
    }

    /// How often its entries were merged.
    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    /// How many keys it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// The time of its newest key.
    pub(crate) fn newest_us(&self) -> i64 {
        self.newest_us
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A run's entries in order.
struct Reader<'a> {
    run: &'a Run,
    taken: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn open(run: &'a Run) -> io::Result<Self> {
        let mut reader = Self { run, taken: 0, bytes: Vec::new(), at: 0 };
        reader.fill()?;
        Ok(reader)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.bytes = self.run.read(self.taken, WRITE_BYTES / ENTRY_BYTES)?;
        self.taken += self.bytes.len() / ENTRY_BYTES;
        self.at = 0;
        Ok(())
    }

    fn peek(&self) -> Option<(u64, Entry)> {
        self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<ENTRY_BYTES>()).map(decoded)
    }

    fn advance(&mut self) -> io::Result<()> {
        self.at += ENTRY_BYTES;
        if self.at >= self.bytes.len() { self.fill() } else { Ok(()) }
    }
}

/// The smallest key of all readers, with the entry of the last of them, which is what was written last; all of them move
/// past it.
fn next_of(readers: &mut [Reader<'_>]) -> io::Result<Option<(u64, Entry)>> {
    let Some(key) = readers.iter().filter_map(|reader| reader.peek().map(|(key, _)| key)).min() else {
        return Ok(None);
    };
    let mut last: Option<Entry> = None;
    for reader in readers {
        if let Some((found, entry)) = reader.peek()
            && found == key
        {
            last = Some(entry);
            reader.advance()?;
        }
    }
    Ok(last.map(|entry| (key, entry)))
}

fn decoded(entry: &[u8; ENTRY_BYTES]) -> (u64, Entry) {
    (word(entry, 0), Entry { value: word(entry, 8), time: word(entry, 16).cast_signed() })
}

fn word(entry: &[u8; ENTRY_BYTES], at: usize) -> u64 {
    entry.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The bits of a key, by two numbers mixed out of it (splitmix64's steps): the key's own bits order the run's entries,
/// and keys that lie close together must not share their probes.
fn bloom_bits(key: u64, words: usize) -> impl Iterator<Item = usize> {
    let bits = (words * 64) as u64;
    let first = mix(key);
    let step = mix(first) | 1;
    (0..BLOOM_PROBES).map(move |probe| {
        let mixed = first.wrapping_add(step.wrapping_mul(u64::from(probe)));
        // The high half of the product: a place in the filter without a division.
        let bit = (u128::from(mixed) * u128::from(bits)) >> 64;
        usize::try_from(bit).unwrap_or(0)
    })
}

fn mix(key: u64) -> u64 {
    let mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
