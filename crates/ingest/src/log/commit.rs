//! Group commit: a lane's thread takes what many connections appended, writes it with one call per partition, syncs
//! once per partition, and only then answers.
//!
//! A failed sync is never tried again on the same bytes (the kernel may have dropped them and say yes the next time):
//! the group is refused, the file is cut to its durable part and closed, and a new segment is begun.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::in_full;

use super::entry::{BATCH_PREFIX_BYTES, ENTRY_HEADER_BYTES, EntryHeader, encode_prefix};
use super::partition::{Appended, Partition, Writer};
use super::producers::Verdict;
use super::queue::{Append, LaneQueue, Waiting};
use super::segment::{Segment, snapshot_path};
use super::staged::{Answer, Staged, Written, sequence_error};
use super::{LogError, LogMetrics, LogOptions};

/// What a lane's thread needs.
#[derive(Clone)]
pub(super) struct Lane {
    pub queue: Arc<LaneQueue>,
    pub options: Arc<LogOptions>,
    pub metrics: Arc<LogMetrics>,
    pub clock: Clock,
    /// Whether the last group found too little room.
    pub full: Cell<bool>,
}

impl Lane {
    /// The thread's life: until the queue is closed and empty.
    pub(super) fn run(&self) {
        while let Some(appends) = self.queue.take() {
            let mut appends = appends.into_iter().peekable();
            while appends.peek().is_some() {
                let mut bytes = 0;
                let mut group = Vec::new();
                while let Some(append) = appends.next_if(|_| bytes < self.options.group_bytes_max) {
                    bytes += append.batch.bytes().len() as u64;
                    group.push(append);
                }
                self.commit(group);
            }
        }
    }

    fn commit(&self, group: Vec<Append>) {
        let now_ms = self.clock.now_ms();
        let mut by_partition: Vec<(Arc<Partition>, Vec<Waiting>)> = Vec::new();
        for Append { partition, batch, reply } in group {
            match by_partition.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &partition)) {
                Some((_, appends)) => appends.push((batch, reply)),
                None => by_partition.push((partition, vec![(batch, reply)])),
            }
        }
        let mut staged = Vec::with_capacity(by_partition.len());
        for (partition, appends) in &mut by_partition {
            if let Err(error) = self.check_room(partition) {
                self.refuse_all(partition, std::mem::take(appends), &error, now_ms);
                continue;
            }
            if let Some(group) = self.stage(partition, std::mem::take(appends), now_ms) {
                staged.push(group);
            }
        }
        for group in staged {
            self.finish(group, now_ms);
        }
    }

    fn check_room(&self, partition: &Partition) -> Result<(), LogError> {
        let free_bytes = partition
            .disk
            .free_bytes(&partition.folder)
            .map_err(LogError::io("ask for the free space of", &partition.folder))?;
        let room = enough(free_bytes, &self.options);
        let was_full = self.full.replace(room.is_err());
        match &room {
            Err(error) if !was_full => tracing::error!(%error, "produces are refused, reads go on"),
            Ok(()) if was_full => tracing::info!(free_bytes, "there is room again: produces are taken"),
            _ => {}
        }
        room
    }

    fn refuse_all(&self, partition: &Partition, appends: Vec<Waiting>, error: &LogError, now_ms: i64) {
        let mut writer = partition.writer.lock();
        for (batch, reply) in appends {
            let refusal = match error {
                LogError::DiskFull { free_bytes, reserve_bytes } => {
                    self.metrics.disk_full_refusals.fetch_add(1, Relaxed);
                    LogError::DiskFull { free_bytes: *free_bytes, reserve_bytes: *reserve_bytes }
                }
                other => LogError::WriteFailed { partition: partition.id, reason: other.to_string() },
            };
            writer.producers.expect_first(batch.header(), now_ms, self.options.producers_max);
            let _ = reply.send(Err(refusal));
        }
    }

    /// Judges, gives offsets and writes. What is refused or failed is answered at once.
    fn stage<'a>(&self, partition: &'a Arc<Partition>, appends: Vec<Waiting>, now_ms: i64) -> Option<Staged<'a>> {
        let mut writer = partition.writer.lock();
        if let Err(error) = self.repair(partition, &mut writer) {
            drop(writer);
            self.refuse_all(partition, appends, &error, now_ms);
            return None;
        }
        let (synced_through, mut next_offset) = {
            let state = writer.segment.state.read();
            (state.bytes, state.next_offset)
        };
        let mut group = Staged { partition, writer, written: Vec::new(), answers: Vec::with_capacity(appends.len()) };
        for (batch, reply) in appends {
            let header = *batch.header();
            match group.writer.producers.judge(&header) {
                Verdict::Fresh => {
                    group.writer.producers.remember(&header, next_offset, now_ms);
                    let entry = EntryHeader {
                        batch_bytes: u32::try_from(header.batch_bytes).unwrap_or(u32::MAX),
                        append_time_ms: now_ms,
                        synced_through,
                    };
                    let first: [u8; BATCH_PREFIX_BYTES] =
                        batch.bytes().first_chunk().copied().unwrap_or([0; BATCH_PREFIX_BYTES]);
                    group.written.push(Written {
                        prefix: encode_prefix(entry, next_offset, &first),
                        batch,
                        base_offset: next_offset,
                    });
                    group
                        .answers
                        .push((reply, Answer { base_offset: next_offset, append_time_ms: now_ms, duplicate: false }));
                    next_offset += i64::from(header.last_offset_delta) + 1;
                }
                Verdict::Duplicate { base_offset, append_time_ms } => {
                    group.answers.push((reply, Answer { base_offset, append_time_ms, duplicate: true }))
                }
                refusal => {
                    self.metrics.sequence_refusals.fetch_add(1, Relaxed);
                    let _ = reply.send(Err(sequence_error(partition, &header, refusal)));
                }
            }
        }
        if let Err(error) = group.write(synced_through) {
            self.fail(group, &error, "write");
            return None;
        }
        Some(group)
    }

    /// Syncs, publishes and answers; then begins a new segment when this one is full.
    fn finish(&self, mut group: Staged<'_>, now_ms: i64) {
        if !group.written.is_empty() {
            let began = Instant::now();
            let synced = group.writer.segment.file.sync_data();
            self.metrics.syncs.fetch_add(1, Relaxed);
            self.metrics.sync_micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
            if let Err(error) = synced {
                self.fail(group, &error, "sync");
                return;
            }
            group.writer.producers.commit(self.options.producers_max);
            self.publish(&group, now_ms);
        }
        let start_offset = group.partition.start();
        for (reply, answer) in group.answers.drain(..) {
            if answer.duplicate {
                self.metrics.duplicate_batches.fetch_add(1, Relaxed);
            }
            let _ = reply.send(Ok(Appended {
                base_offset: answer.base_offset,
                append_time_ms: answer.append_time_ms,
                start_offset,
                duplicate: answer.duplicate,
            }));
        }
        let full = group.writer.segment.state.read().bytes >= self.options.segment_bytes;
        if full && let Err(error) = roll(group.partition, &mut group.writer, None, &self.options, now_ms) {
            tracing::warn!(partition = %group.partition.id, error = in_full(&error), "could not begin a new segment; produces to this partition wait for that");
        }
    }

    fn publish(&self, group: &Staged<'_>, now_ms: i64) {
        let partition = group.partition;
        let (mut bytes, mut records) = (0u64, 0u64);
        let mut unlanded = partition.unlanded_bytes.lock();
        let end = {
            let mut state = group.writer.segment.state.write();
            for written in &group.written {
                let header = written.batch.header();
                bytes += header.batch_bytes as u64;
                records += u64::try_from(header.records).unwrap_or(0);
                state.note(
                    header,
                    written.base_offset,
                    now_ms,
                    (ENTRY_HEADER_BYTES + header.batch_bytes) as u64,
                    self.options.index_interval_bytes,
                );
            }
            state.next_offset
        };
        *unlanded += bytes;
        self.metrics.unlanded_bytes.fetch_add(i64::try_from(bytes).unwrap_or(0), Relaxed);
        partition.durable_end.store(end, std::sync::atomic::Ordering::Release);
        drop(unlanded);
        self.metrics.batches_appended.fetch_add(group.written.len() as u64, Relaxed);
        self.metrics.records_appended.fetch_add(records, Relaxed);
        self.metrics.bytes_appended.fetch_add(bytes, Relaxed);
        partition.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Nothing of the group counts: memory is undone, the file is cut, everyone waiting is told.
    fn fail(&self, mut group: Staged<'_>, error: &io::Error, doing: &'static str) {
        self.metrics.write_failures.fetch_add(1, Relaxed);
        tracing::error!(partition = %group.partition.id, doing, %error, "the log could not be written; this group is refused");
        group.writer.producers.roll_back(self.options.producers_max);
        group.writer.broken = true;
        for (reply, _) in group.answers.drain(..) {
            let _ = reply.send(Err(LogError::WriteFailed { partition: group.partition.id, reason: error.to_string() }));
        }
        let mut writer = group.writer;
        if let Err(error) = self.repair(group.partition, &mut writer) {
            tracing::error!(partition = %group.partition.id, error = in_full(&error), "the log could not be repaired yet; produces to this partition are refused");
        }
    }

    /// After a failure: cuts the file to its durable part, closes it and begins a new segment.
    fn repair(&self, partition: &Arc<Partition>, writer: &mut Writer) -> Result<(), LogError> {
        if let Some(damage) = &partition.damage {
            return Err(damage.error());
        }
        if !writer.broken {
            return Ok(());
        }
        let durable = writer.segment.state.read().bytes;
        let cut = || {
            writer.segment.file.set_len(durable)?;
            writer.segment.file.sync_data()
        };
        cut().map_err(LogError::io("cut the failed writes off", &writer.segment.path))?;
        roll(partition, writer, None, &self.options, self.clock.now_ms())?;
        writer.broken = false;
        Ok(())
    }
}

/// Closes the writer's segment and begins the next, at its end or at a later offset. Synced before it is used.
/// When that fails half done the writer is broken: the old segment must not grow beyond the new one's beginning.
pub(super) fn roll(
    partition: &Partition,
    writer: &mut Writer,
    at: Option<i64>,
    options: &LogOptions,
    now_ms: i64,
) -> Result<(), LogError> {
    let (next_offset, bytes) = {
        let state = writer.segment.state.read();
        (state.next_offset, state.bytes)
    };
    let base_offset = at.unwrap_or(next_offset);
    if bytes == 0 && base_offset == writer.segment.base_offset {
        return Ok(());
    }
    writer.producers.expire(now_ms.saturating_sub(options.producer_retention_ms), options.producers_max);
    let disk = partition.disk.as_ref();
    writer.broken = true;
    let mut next = None;
    let mut begin = || {
        writer.segment.store_index(disk)?;
        writer.producers.store(disk, &snapshot_path(&partition.folder, base_offset))?;
        disk.sync_dir(&partition.folder)?;
        next = Some(Segment::create(disk, &partition.folder, base_offset)?);
        disk.sync_dir(&partition.folder)
    };
    begin().map_err(LogError::io("begin a segment in", &partition.folder))?;
    if let Some(next) = next {
        partition.segments.write().push(Arc::clone(&next));
        writer.segment = next;
        writer.broken = false;
    }
    Ok(())
}

/// Whether so much free space is enough for produces.
pub(super) fn enough(free_bytes: u64, options: &LogOptions) -> Result<(), LogError> {
    let reserve_bytes = options.reserve_bytes;
    if free_bytes < reserve_bytes { Err(LogError::DiskFull { free_bytes, reserve_bytes }) } else { Ok(()) }
}
