//! What a start makes of a partition's files: cuts a torn tail, and nothing else.
//!
//! An entry that does not read well is a torn tail when no intact entry after it was written later than a sync that
//! covered it; otherwise it is damage to acknowledged records, which is said loudly and never cut.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use vitalake_runtime::disk::{Disk, DiskFile};

use super::batch::BatchHeader;
use super::entry::{ENTRY_HEADER_BYTES, ENTRY_PREFIX_BYTES, EntryHeader, MAGIC, decode_prefix};
use super::partition::{Partition, Writer};
use super::producers::Producers;
use super::segment::{Segment, SegmentState, base_offset_of, load_index, log_path, snapshot_path};
use super::{LogError, LogOptions, TopicPartition};

/// Acknowledged records that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The partition.
    pub partition: TopicPartition,
    /// The file.
    pub path: PathBuf,
    /// Where the damage begins.
    pub position: u64,
    /// The last offset that reads well before it.
    pub after_offset: i64,
}

impl Damage {
    /// The damage as what a reader or producer is told.
    #[must_use]
    pub fn error(&self) -> LogError {
        LogError::Damaged { path: self.path.clone(), position: self.position, after_offset: self.after_offset }
    }
}

/// What was found in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecovery {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: TopicPartition,
    /// First offset held.
    pub start_offset: i64,
    /// Next offset.
    pub end_offset: i64,
    /// Bytes of a torn tail that were cut.
    pub truncated_bytes: u64,
    /// Idempotent producers remembered.
    pub producers: usize,
    /// Damage, when there is any: the partition is then read-only up to it.
    pub damage: Option<Damage>,
}

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Every partition of every registered topic.
    pub partitions: Vec<PartitionRecovery>,
    /// Folders that look like a partition's and that no registered topic owns; left alone.
    pub orphans: Vec<PathBuf>,
}

pub(super) struct PartitionToOpen<'a> {
    pub disk: &'a Arc<dyn Disk>,
    pub folder: PathBuf,
    pub id: TopicPartition,
    pub topic: &'a str,
    pub changed: Arc<watch::Sender<u64>>,
}

/// Opens a partition's folder, or makes it.
pub(super) fn open_partition(
    place: PartitionToOpen<'_>,
    options: &LogOptions,
    now_ms: i64,
) -> Result<(Partition, PartitionRecovery), LogError> {
    let disk = place.disk.as_ref();
    disk.create_dir_all(&place.folder).map_err(LogError::io("make", &place.folder))?;
    let listed = disk.list(&place.folder).map_err(LogError::io("list", &place.folder))?;
    let mut bases: Vec<i64> = listed.iter().filter_map(|entry| base_offset_of(&entry.path, "log")).collect();
    bases.sort_unstable();
    let mut found = Found { segments: Vec::new(), damage: None, truncated_bytes: 0 };
    for (at, base) in bases.iter().enumerate() {
        if found.damage.is_none() {
            found.open_segment(&place, *base, bases.get(at + 1).copied(), options)?;
        }
    }
    let last = match found.segments.last() {
        Some(last) => Arc::clone(last),
        None => {
            let segment =
                Segment::create(disk, &place.folder, 0).map_err(LogError::io("make a segment in", &place.folder))?;
            found.segments.push(Arc::clone(&segment));
            segment
        }
    };
    disk.sync_dir(&place.folder).map_err(LogError::io("sync", &place.folder))?;
    let mut snapshots: Vec<i64> = listed.iter().filter_map(|entry| base_offset_of(&entry.path, "producers")).collect();
    snapshots.sort_unstable();
    let mut producers = rebuild_producers(&place, &found.segments, &snapshots, options.producers_max)?;
    producers.expire(now_ms.saturating_sub(options.producer_retention_ms), options.producers_max);
    Ok(found.into_partition(place, last, producers))
}

struct Found {
    segments: Vec<Arc<Segment>>,
    damage: Option<Damage>,
    truncated_bytes: u64,
}

impl Found {
    fn open_segment(
        &mut self,
        place: &PartitionToOpen<'_>,
        base: i64,
        next_base: Option<i64>,
        options: &LogOptions,
    ) -> Result<(), LogError> {
        let path = log_path(&place.folder, base);
        let reading = || LogError::io("read", &path);
        let file = place.disk.open(&path, false).map_err(reading())?;
        let length = file.len().map_err(reading())?;
        let indexed = next_base.and_then(|_| load_index(place.disk.as_ref(), &path));
        let (state, problem) = match indexed {
            Some(state) if state.bytes <= length => (state, None),
            // The index was made when the segment was closed: the file has lost synced bytes since.
            Some(_) => (scan(file.as_ref(), length, base, options).map_err(reading())?, Some(length)),
            None => {
                let state = scan(file.as_ref(), length, base, options).map_err(reading())?;
                let end = state.bytes;
                let problem = match next_base {
                    // What follows the next segment's beginning is left from a write that failed and was answered so.
                    Some(next) if state.next_offset == next => None,
                    Some(_) => Some(end),
                    None => {
                        (end < length && vouched_after(file.as_ref(), end, length).map_err(reading())?).then_some(end)
                    }
                };
                (state, problem)
            }
        };
        if let Some(position) = problem {
            let damage = Damage {
                partition: place.id,
                path: path.clone(),
                position: position.min(state.bytes),
                after_offset: state.next_offset - 1,
            };
            tracing::error!(error = %damage.error(), "the log is damaged");
            self.damage = Some(damage);
        } else if next_base.is_none() {
            let cutting = LogError::io("cut the torn tail off", &path);
            self.truncated_bytes = length.saturating_sub(state.bytes);
            let settle = || {
                if state.bytes < length {
                    file.set_len(state.bytes)?;
                }
                // What was read may be in the page cache only, left by a process that was killed.
                file.sync_data()
            };
            settle().map_err(cutting)?;
        }
        self.segments.push(Arc::new(Segment { base_offset: base, path, file, state: parking_lot::RwLock::new(state) }));
        Ok(())
    }

    fn into_partition(
        self,
        place: PartitionToOpen<'_>,
        segment: Arc<Segment>,
        producers: Producers,
    ) -> (Partition, PartitionRecovery) {
        let start = self.segments.first().map_or(0, |segment| segment.base_offset);
        let end = segment.state.read().next_offset;
        let report = PartitionRecovery {
            topic: place.topic.to_owned(),
            partition: place.id,
            start_offset: start,
            end_offset: end,
            truncated_bytes: self.truncated_bytes,
            producers: producers.len(),
            damage: self.damage.clone(),
        };

        let partition = Partition {
            id: place.id,
            folder: place.folder,
            disk: Arc::clone(place.disk),
            segments: parking_lot::RwLock::new(self.segments),
            durable_end: end.into(),
            start_offset: start.into(),
            landed_end: start.into(),
            unlanded_bytes: parking_lot::Mutex::new(0),
            damage: self.damage,
            damage_met: parking_lot::Mutex::default(),
            writer: parking_lot::Mutex::new(Writer { segment, producers, broken: false }),
            changed: place.changed,
        };
        (partition, report)
    }
}

/// Newest intact snapshot at or before the last segment's beginning, then every batch after it.
fn rebuild_producers(
    place: &PartitionToOpen<'_>,
    segments: &[Arc<Segment>],
    snapshots: &[i64],
    producers_max: usize,
) -> Result<Producers, LogError> {
    let last_base = segments.last().map_or(0, |segment| segment.base_offset);
    let usable = snapshots.iter().rev().filter(|base| **base <= last_base);
    let loaded = usable
        .filter_map(|base| {
            Producers::load(place.disk.as_ref(), &snapshot_path(&place.folder, *base))
                .map(|producers| (*base, producers))
        })
        .next();
    let (from, mut producers) = loaded.unwrap_or_default();
    for segment in segments.iter().filter(|segment| segment.state.read().next_offset > from) {
        let bytes = segment.state.read().bytes;
        let mut visit = |entry: EntryHeader, header: &BatchHeader| {
            if header.base_offset >= from {
                producers.remember(header, header.base_offset, entry.append_time_ms);
                producers.commit(producers_max);
            }
        };
        walk_headers(segment.file.as_ref(), bytes, &mut visit).map_err(LogError::io("read", &segment.path))?;
    }
    Ok(producers)
}

type Visit<'a> = dyn FnMut(EntryHeader, &BatchHeader) + 'a;

/// Reads entries from the start of a file while they are intact and their offsets follow each other.
pub(super) fn scan(file: &dyn DiskFile, length: u64, base: i64, options: &LogOptions) -> io::Result<SegmentState> {
    let mut state = SegmentState::empty(base);
    let mut window = Window::new(file, length);
    while let Some((entry, header)) = window.intact_entry(state.bytes)? {
        if header.base_offset != state.next_offset {
            break;
        }
        state.note(
            &header,
            header.base_offset,
            entry.append_time_ms,
            (ENTRY_HEADER_BYTES + header.batch_bytes) as u64,
            options.index_interval_bytes,
        );
    }
    Ok(state)
}

/// Reads only the headers of entries that are known to be intact.
fn walk_headers(file: &dyn DiskFile, length: u64, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut window = Window::new(file, length);
    let mut position = 0;
    while let Some((entry, header)) = window.intact_entry(position)? {
        visit(entry, &header);
        position += (ENTRY_HEADER_BYTES + header.batch_bytes) as u64;
    }
    Ok(())
}

/// Whether an intact entry after a position says that the position had been synced when it was written.
fn vouched_after(file: &dyn DiskFile, position: u64, length: u64) -> io::Result<bool> {
    let mut window = Window::new(file, length);
    let mut at = position + 1;
    while at + ENTRY_PREFIX_BYTES as u64 <= length {
        let Some(found) = window.find(&MAGIC, at)? else {
            return Ok(false);
        };
        if window.intact_entry(found)?.is_some_and(|(entry, _)| entry.synced_through > position) {
            return Ok(true);
        }
        at = found + 1;
    }
    Ok(false)
}

/// A part of a file in memory, moved along as it is read.
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

const WINDOW_BYTES: usize = 4 << 20;

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, length: u64) -> Self {
        Self { file, length, start: 0, bytes: Vec::new() }
    }

    fn get(&mut self, position: u64, wanted: usize) -> io::Result<Option<&[u8]>> {
        if position.checked_add(wanted as u64).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        let inside = |start: u64, held: usize| {
            position.checked_sub(start).and_then(|at| usize::try_from(at).ok()).filter(|at| at + wanted <= held)
        };
        let at = match inside(self.start, self.bytes.len()) {
            Some(at) => at,
            None => {
                let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
                self.bytes.resize(WINDOW_BYTES.max(wanted).min(left), 0);
                self.file.read_exact_at(&mut self.bytes, position)?;
                self.start = position;
                0
            }
        };
        Ok(self.bytes.get(at..at + wanted))
    }

    pub(super) fn intact_entry(&mut self, position: u64) -> io::Result<Option<(EntryHeader, BatchHeader)>> {
        let Some(entry) = self.get(position, ENTRY_PREFIX_BYTES)?.and_then(decode_prefix) else {
            return Ok(None);
        };
        let batch = self.get(position + ENTRY_HEADER_BYTES as u64, entry.batch_bytes as usize)?;
        Ok(batch.and_then(|batch| BatchHeader::parse(batch).ok()).map(|header| (entry, header)))
    }

    fn find(&mut self, needle: &[u8], from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at + needle.len() as u64 <= self.length {
            let wanted = usize::try_from(self.length - at).unwrap_or(usize::MAX).min(WINDOW_BYTES / 4);
            let Some(bytes) = self.get(at, wanted)? else {
                return Ok(None);
            };
            if let Some(found) = memchr::memmem::find(bytes, needle) {
                return Ok(Some(at + found as u64));
            }
            at += (wanted + 1 - needle.len()) as u64;
        }
        Ok(None)
    }
}
