//! Removing what is landed and old, or landed and too much. Never past what landing has committed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit::roll;
use super::partition::Partition;
use super::segment::{Segment, base_offset_of, snapshot_path};
use super::{LogError, LogOptions};

/// What a trim removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments removed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Trims one partition.
pub(super) fn trim(partition: &Partition, options: &LogOptions, now_ms: i64) -> Result<Trimmed, LogError> {
    if partition.damage.is_some() {
        return Ok(Trimmed::default());
    }
    close_old_segment(partition, options, now_ms)?;
    let landed = partition.landed_end.load(Ordering::Acquire);
    let mut total = partition.bytes();
    let mut trimmed = Trimmed::default();
    loop {
        let Some((segment, next)) = first_two(partition) else {
            break;
        };
        let (bytes, end, last_append_ms) = {
            let state = segment.state.read();
            (state.bytes, state.next_offset, state.last_append_ms)
        };
        let old = last_append_ms < now_ms.saturating_sub(options.retention_ms);
        if end > landed || !(old || total > options.retention_bytes) {
            break;
        }
        partition.start_offset.store(next.base_offset, Ordering::Release);
        partition.segments.write().retain(|held| !Arc::ptr_eq(held, &segment));
        partition.disk.remove(&segment.path).map_err(LogError::io("remove", &segment.path))?;
        let _ = partition.disk.remove(&segment.path.with_extension("index"));
        // One by one, oldest first and synced, so that a crash never leaves a hole between two segments.
        partition.disk.sync_dir(&partition.folder).map_err(LogError::io("sync", &partition.folder))?;
        total -= bytes.min(total);
        trimmed.segments += 1;
        trimmed.bytes += bytes;
    }
    remove_old_snapshots(partition)?;
    Ok(trimmed)
}

/// The last segment is never removed; when it is old and landed whole it is closed, so that the next trim can.
fn close_old_segment(partition: &Partition, options: &LogOptions, now_ms: i64) -> Result<(), LogError> {
    let mut writer = partition.writer.lock();
    let (bytes, end, last_append_ms) = {
        let state = writer.segment.state.read();
        (state.bytes, state.next_offset, state.last_append_ms)
    };
    let old = last_append_ms < now_ms.saturating_sub(options.retention_ms);
    if bytes == 0 || writer.broken || !old || end > partition.landed_end.load(Ordering::Acquire) {
        return Ok(());
    }
    roll(partition, &mut writer, None, options, now_ms)
}

fn first_two(partition: &Partition) -> Option<(Arc<Segment>, Arc<Segment>)> {
    let segments = partition.segments.read();
    Some((segments.first()?.clone(), segments.get(1)?.clone()))
}

/// The newest two are kept: the older one serves when the newer is not intact.
fn remove_old_snapshots(partition: &Partition) -> Result<(), LogError> {
    let listed = partition.disk.list(&partition.folder).map_err(LogError::io("list", &partition.folder))?;
    let mut bases: Vec<i64> = listed.iter().filter_map(|entry| base_offset_of(&entry.path, "producers")).collect();
    bases.sort_unstable();
    bases.truncate(bases.len().saturating_sub(2));
    for base in bases {
        let _ = partition.disk.remove(&snapshot_path(&partition.folder, base));
    }
    Ok(())
}
