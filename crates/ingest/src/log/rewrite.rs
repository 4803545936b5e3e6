//! A person's records out of a log that nobody has open: emptied where they stand, in segments that are written again. Records
//! of others that name the person say less.
//!
//! A record keeps its offset, its time and its place in its producer's sequence; key, value and headers go, and a header says
//! why. What a batch's header says of offsets, producer and sequence stays, so that readers, landing and producers go on as
//! before. Invariant: a segment is replaced in one step, its index goes before it, and a segment without the person's records
//! is not touched.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use vitalake_runtime::disk::{Disk, DiskFile};

use super::batch::{BatchHeader, Compression};
use super::builder::{BatchBuilder, ProducerSequence};
use super::entry::{BATCH_PREFIX_BYTES, ENTRY_HEADER_BYTES, EntryHeader, encode_prefix};
use super::records::{Headers, RecordRef, Records};
use super::recovery::{Window, scan};
use super::registry::Registry;
use super::segment::{Segment, base_offset_of};
use super::{LogError, LogOptions};

/// The header of a record that was emptied.
pub const ERASED_HEADER: &[u8] = b"vitalake-erased";
/// How a segment's name ends while it is written again.
const NEXT: &str = "erasing";

/// What was written again, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Segments.
    pub segments: u64,
    /// Batches.
    pub batches: u64,
    /// Records that are empty now, or say less.
    pub records: u64,
}

/// A record's key, value and headers, as somebody looks at them.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// What stands in the place of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing: it is a person's.
    Nothing,
    /// The same without what names a person in it.
    Without {
        /// Its key.
        key: Option<Vec<u8>>,
        /// Its value.
        value: Option<Vec<u8>>,
        /// Whether its headers stay.
        headers: bool,
    },
}

/// What stands in the place of a record; none where it stays as it is.
pub type Judge<'a> = dyn Fn(Looked<'_>) -> Option<Instead> + Send + Sync + 'a;

/// Empties the records that go in every segment of a log that is not open. Blocking.
///
/// # Errors
/// When a file cannot be read or written: call again, what was done is not done twice.
pub fn rewrite_log(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    judge: &Judge<'_>,
    dry_run: bool,
) -> Result<Rewritten, LogError> {
    let registry = Registry::load(Arc::clone(disk), folder)?;
    let names: BTreeMap<String, String> =
        registry.topics().map(|(name, id, _)| (id.to_string(), name.to_owned())).collect();
    let mut done = Rewritten::default();
    for entry in disk.list(folder).map_err(LogError::io("list", folder))?.into_iter().filter(|entry| entry.is_dir) {
        let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((id, partition)) = name.rsplit_once('-') else { continue };
        let topic = names.get(id).map_or("", String::as_str);
        let work = Work { disk, judge, topic, partition: partition.parse().unwrap_or(-1), dry_run };
        for segment in disk.list(&entry.path).map_err(LogError::io("list", &entry.path))? {
            if segment.path.extension().is_some_and(|extension| extension == NEXT) {
                disk.remove(&segment.path).map_err(LogError::io("remove", &segment.path))?;
            } else if let Some(base) = base_offset_of(&segment.path, "log") {
                work.segment(&segment.path, base, &mut done)?;
            }
        }
    }
    Ok(done)
}

/// Whether a record was emptied by an erasure.
#[must_use]
pub fn is_erased(value: Option<&[u8]>, mut headers: Headers<'_>) -> bool {
    value.is_none() && headers.any(|header| header.key == Some(ERASED_HEADER))
}

struct Work<'a> {
    disk: &'a Arc<dyn Disk>,
    judge: &'a Judge<'a>,
    topic: &'a str,
    partition: i32,
    dry_run: bool,
}

impl Work<'_> {
    fn segment(&self, path: &Path, base: i64, done: &mut Rewritten) -> Result<(), LogError> {
        let failed = || LogError::io("write again", path);
        let file = self.disk.open(path, false).map_err(failed())?;
        let length = file.len().map_err(failed())?;
        let (batches, records) = self.counted(file.as_ref(), length).map_err(failed())?;
        if records == 0 {
            return Ok(());
        }
        done.segments += 1;
        done.batches += batches;
        done.records += records;
        if self.dry_run {
            return Ok(());
        }
        let next = path.with_extension(NEXT);
        self.write_again(file.as_ref(), length, &next).map_err(failed())?;
        self.put_in_place(path, &next, base).map_err(failed())
    }

    fn counted(&self, file: &dyn DiskFile, length: u64) -> io::Result<(u64, u64)> {
        let (mut batches, mut records) = (0, 0);
        each_entry(file, length, &mut |_, batch| {
            let going = self.going(&batch);
            batches += u64::from(going > 0);
            records += going;
            Ok(())
        })?;
        Ok((batches, records))
    }

    /// How many records of a batch go. One that cannot be read goes nowhere: it is in quarantine, as bytes.
    fn going(&self, batch: &Bytes) -> u64 {
        let Ok(records) = Records::open(batch) else { return 0 };
        records.iter().filter_map(Result::ok).filter(|record| self.instead(record).is_some()).count() as u64
    }

    fn instead(&self, record: &RecordRef<'_>) -> Option<Instead> {
        let RecordRef { key, value, headers, offset, .. } = *record;
        if is_erased(value, headers) {
            return None;
        }
        let (topic, partition) = (self.topic, self.partition);
        (self.judge)(Looked { topic, partition, offset, key, value, headers })
    }

    /// Every entry into another file, those with records that go without these.
    fn write_again(&self, file: &dyn DiskFile, length: u64, next: &Path) -> io::Result<()> {
        let target = self.disk.open(next, true)?;
        target.set_len(0)?;
        let mut at = 0;
        each_entry(file, length, &mut |entry, batch| {
            let batch = if self.going(&batch) > 0 { self.emptied(&batch)? } else { batch };
            let header = BatchHeader::peek(&batch).map_err(invalid)?;
            let first: &[u8; BATCH_PREFIX_BYTES] = batch.first_chunk().ok_or_else(|| invalid("a batch is cut"))?;
            let batch_bytes = u32::try_from(batch.len()).map_err(invalid)?;
            // All of this file is synced before it gets its name.
            let entry = EntryHeader { batch_bytes, append_time_ms: entry.append_time_ms, synced_through: at };
            let mut bytes = encode_prefix(entry, header.base_offset, first).to_vec();
            bytes.extend_from_slice(batch.get(BATCH_PREFIX_BYTES..).unwrap_or_default());
            target.write_all_at(&bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        target.sync_data()
    }

    /// A batch whose records that go are empty.
    fn emptied(&self, batch: &Bytes) -> io::Result<Bytes> {
        let records = Records::open(batch).map_err(invalid)?;
        let header = *records.header();
        let mut built = BatchBuilder::beginning_at(header.base_timestamp_ms);
        for record in &records {
            let record = record.map_err(invalid)?;
            let headers: Vec<_> = record.headers.map(|header| (header.key.unwrap_or_default(), header.value)).collect();
            match self.instead(&record) {
                None => built.push_with(record.timestamp_ms, record.key, record.value, &headers),
                Some(Instead::Nothing) => built.push_with(record.timestamp_ms, None, None, &[(ERASED_HEADER, None)]),
                Some(Instead::Without { key, value, headers: stay }) => {
                    let headers = if stay { headers.as_slice() } else { &[] };
                    built.push_with(record.timestamp_ms, key.as_deref(), value.as_deref(), headers)
                }
            };
        }
        let codec = header.compression().map_err(invalid)?;
        let body = compressed(codec, built.body())?;
        let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let producer = Some(ProducerSequence { id, epoch, sequence });
        let mut bytes = built.build_compressed(producer, header.attributes, &body).to_vec();
        // Not under the checksum: readers take the offsets from where the batch lies.
        if let Some(place) = bytes.first_chunk_mut::<8>() {
            *place = header.base_offset.to_be_bytes();
        }
        Ok(Bytes::from(bytes))
    }

    /// The index goes first: one of another length would say that the segment has lost bytes.
    fn put_in_place(&self, path: &Path, next: &Path, base: i64) -> io::Result<()> {
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let index = path.with_extension("index");
        let was_closed = self.disk.list(&folder)?.iter().any(|entry| entry.path == index);
        if was_closed {
            self.disk.remove(&index)?;
            self.disk.sync_dir(&folder)?;
        }
        self.disk.rename(next, path)?;
        self.disk.sync_dir(&folder)?;
        if was_closed {
            let file = self.disk.open(path, false)?;
            let state = scan(file.as_ref(), file.len()?, base, &LogOptions::default())?;
            let segment =
                Segment { base_offset: base, path: path.to_path_buf(), file, state: parking_lot::RwLock::new(state) };
            segment.store_index(self.disk.as_ref())?;
            self.disk.sync_dir(&folder)?;
        }
        Ok(())
    }
}

/// Visits the intact entries of a segment in their order.
fn each_entry(
    file: &dyn DiskFile,
    length: u64,
    visit: &mut dyn FnMut(EntryHeader, Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let (mut window, mut position) = (Window::new(file, length), 0);
    while let Some((entry, header)) = window.intact_entry(position)? {
        let mut batch = vec![0; header.batch_bytes];
        file.read_exact_at(&mut batch, position + ENTRY_HEADER_BYTES as u64)?;
        visit(entry, Bytes::from(batch))?;
        position += (ENTRY_HEADER_BYTES + header.batch_bytes) as u64;
    }
    Ok(())
}

fn compressed(codec: Compression, body: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Compression::None => Ok(body.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(body).map_err(invalid),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(body)?;
            encoder.finish().map_err(invalid)
        }
        Compression::Zstd => zstd::stream::encode_all(body, 0),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
