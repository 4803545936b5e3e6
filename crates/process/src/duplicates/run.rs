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
/// Bits of the Bloom filter for each key, and bits set for each: one key in a hundred is looked up in vain.
const BLOOM_BITS: usize = 10;
const BLOOM_PROBES: u32 = 6;

/// A sorted file of keys.
#[derive(Debug)]
pub(crate) struct Run {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    entries: usize,
    newest_us: i64,
    first_keys: Vec<u64>,
    bloom: Vec<u64>,
}

impl Run {
    /// Writes entries that are sorted by key.
    pub(crate) fn write(disk: &dyn Disk, path: &Path, entries: &[(u64, Entry)]) -> io::Result<Self> {
        let file = disk.open(path, true)?;
        file.set_len(0)?;
        let mut bloom = vec![0_u64; (entries.len() * BLOOM_BITS).div_ceil(64).max(1)];
        let mut first_keys = Vec::with_capacity(entries.len().div_ceil(BLOCK_ENTRIES));
        let mut position = 0;
        for blocks in entries.chunks(BLOCK_ENTRIES * 64) {
            let mut bytes = Vec::with_capacity(blocks.len() * ENTRY_BYTES);
            for block in blocks.chunks(BLOCK_ENTRIES) {
                first_keys.extend(block.first().map(|(key, _)| *key));
                for (key, entry) in block {
                    bytes.extend_from_slice(&key.to_le_bytes());
                    bytes.extend_from_slice(&entry.value.to_le_bytes());
                    bytes.extend_from_slice(&entry.time.to_le_bytes());
                    for bit in bloom_bits(*key, bloom.len()) {
                        if let Some(word) = bloom.get_mut(bit / 64) {
                            *word |= 1 << (bit % 64);
                        }
                    }
                }
            }
            file.write_all_at(&bytes, position)?;
            position += bytes.len() as u64;
        }
        let newest_us = entries.iter().map(|(_, entry)| entry.time).max().unwrap_or(i64::MIN);
        Ok(Self { path: path.to_owned(), file, entries: entries.len(), newest_us, first_keys, bloom })
    }

    /// Looks a key up; reads at most one block.
    pub(crate) fn find(&self, key: u64) -> io::Result<Option<Entry>> {
        let may_hold = bloom_bits(key, self.bloom.len())
            .all(|bit| self.bloom.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0));
        if !may_hold {
            return Ok(None);
        }
        let Some(block) = self.first_keys.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(None);
        };
        let from = block * BLOCK_ENTRIES;
        let count = BLOCK_ENTRIES.min(self.entries - from);
        let mut bytes = vec![0; count * ENTRY_BYTES];
        self.file.read_exact_at(&mut bytes, (from * ENTRY_BYTES) as u64)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let found = entries.binary_search_by_key(&key, |entry| word(entry, 0));
        Ok(found
            .ok()
            .and_then(|index| entries.get(index))
            .map(|entry| Entry { value: word(entry, 8), time: word(entry, 16).cast_signed() }))
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

fn word(entry: &[u8; ENTRY_BYTES], at: usize) -> u64 {
    entry.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The bits of a key. The key is a hash already: its halves make the probes.
fn bloom_bits(key: u64, words: usize) -> impl Iterator<Item = usize> {
    let bits = (words * 64) as u64;
    let step = key.rotate_left(32) | 1;
    (0..BLOOM_PROBES).map(move |probe| {
        let bit = key.wrapping_add(step.wrapping_mul(u64::from(probe))) % bits;
        usize::try_from(bit).unwrap_or(0)
    })
}
