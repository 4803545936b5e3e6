//! One file of a partition's log, with its sparse index of offsets, positions and timestamps.
//!
//! The state that readers see covers synced bytes only. The `.index` file is written when a segment is closed; it
//! saves a scan at start and can be rebuilt from the segment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use vitalake_runtime::disk::{Disk, DiskFile};

use super::batch::BatchHeader;

const INDEX_MAGIC: [u8; 4] = *b"VLI1";

/// An entry of the index: where a batch begins, and the newest timestamp from there up to the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub offset: i64,
    pub position: u64,
    pub max_timestamp_ms: i64,
}

/// What is known of a segment's durable part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentState {
    pub bytes: u64,
    pub next_offset: i64,
    pub max_timestamp_ms: i64,
    pub first_append_ms: i64,
    pub last_append_ms: i64,
    pub index: Vec<IndexEntry>,
}

impl SegmentState {
    /// Of a segment that holds nothing.
    pub(super) fn empty(base_offset: i64) -> Self {
        Self {
            bytes: 0,
            next_offset: base_offset,
            max_timestamp_ms: i64::MIN,
            first_append_ms: i64::MAX,
            last_append_ms: i64::MIN,
            index: Vec::new(),
        }
    }

    /// Takes in a batch that lies at a position and is durable.
    pub(super) fn note(
        &mut self,
        header: &BatchHeader,
        base_offset: i64,
        append_time_ms: i64,
        entry_bytes: u64,
        index_interval_bytes: u64,
    ) {
        let position = self.bytes;
        let distance = self.index.last().map_or(u64::MAX, |last| position.saturating_sub(last.position));
        if distance >= index_interval_bytes {
            self.index.push(IndexEntry { offset: base_offset, position, max_timestamp_ms: i64::MIN });
        }
        if let Some(last) = self.index.last_mut() {
            last.max_timestamp_ms = last.max_timestamp_ms.max(header.max_timestamp_ms);
        }
        self.bytes += entry_bytes;
        self.next_offset = base_offset + i64::from(header.last_offset_delta) + 1;
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
        self.first_append_ms = self.first_append_ms.min(append_time_ms);
        self.last_append_ms = self.last_append_ms.max(append_time_ms);
    }

    /// Position of an entry at or before the batch that holds an offset.
    pub(super) fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |entry| entry.position)
    }
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub base_offset: i64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub state: RwLock<SegmentState>,
}

impl Segment {
    /// Makes a segment's file; its name is durable only after the folder was synced.
    pub(super) fn create(disk: &dyn Disk, folder: &Path, base_offset: i64) -> io::Result<Arc<Self>> {
        let path = log_path(folder, base_offset);
        let file = disk.open(&path, true)?;
        file.set_len(0)?;
        Ok(Arc::new(Self { base_offset, path, file, state: RwLock::new(SegmentState::empty(base_offset)) }))
    }

    /// Writes and syncs the index; its name is durable only after the folder was synced.
    pub(super) fn store_index(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = encode_index(&self.state.read());
        let file = disk.open(&self.path.with_extension("index"), true)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()
    }
}

/// The path of a segment's file.
pub(super) fn log_path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

/// The path of the producers' snapshot taken when the segment began.
pub(super) fn snapshot_path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.producers"))
}

/// The base offset in a file's name, when it has this extension.
pub(super) fn base_offset_of(path: &Path, extension: &str) -> Option<i64> {
    if path.extension()?.to_str()? != extension {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok().filter(|offset| *offset >= 0)
}

fn encode_index(state: &SegmentState) -> Vec<u8> {
    let mut out = Vec::with_capacity(56 + state.index.len() * 24);
    out.extend_from_slice(&INDEX_MAGIC);
    out.extend_from_slice(&u32::try_from(state.index.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&state.bytes.to_be_bytes());
    for value in [state.next_offset, state.max_timestamp_ms, state.first_append_ms, state.last_append_ms] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    for entry in &state.index {
        out.extend_from_slice(&entry.offset.to_be_bytes());
        out.extend_from_slice(&entry.position.to_be_bytes());
        out.extend_from_slice(&entry.max_timestamp_ms.to_be_bytes());
    }
    let sum = crc32c::crc32c(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

/// Reads an index file; `None` when it is absent or not intact.
pub(super) fn load_index(disk: &dyn Disk, log_path: &Path) -> Option<SegmentState> {
    let file = disk.open(&log_path.with_extension("index"), false).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok().filter(|length| *length <= 256 << 20)?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = body.strip_prefix(&INDEX_MAGIC)?;
    let entries = u32::from_be_bytes(take(&mut rest)?) as usize;
    let bytes = u64::from_be_bytes(take(&mut rest)?);
    let mut state = SegmentState {
        bytes,
        next_offset: long(&mut rest)?,
        max_timestamp_ms: long(&mut rest)?,
        first_append_ms: long(&mut rest)?,
        last_append_ms: long(&mut rest)?,
        index: Vec::new(),
    };
    if rest.len() != entries.checked_mul(24)? {
        return None;
    }
    while !rest.is_empty() {
        state.index.push(IndexEntry {
            offset: long(&mut rest)?,
            position: u64::from_be_bytes(take(&mut rest)?),
            max_timestamp_ms: long(&mut rest)?,
        });
    }
    Some(state)
}

fn long(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(i64::from_be_bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
