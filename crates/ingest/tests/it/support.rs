//! What the tests share: batches, logs on a disk, a runtime.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use vitalake_ingest::log::{
    BatchBuilder, CheckedBatch, Log, LogOptions, ProducerSequence, Records, RecoveryReport, StoredBatch, TopicPartition,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::{CrashDisk, DirEntry, Disk, DiskFile, FileMetadata};

pub const NOW_MS: i64 = 1_760_000_000_000;

pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 4 << 10,
        index_interval_bytes: 512,
        lanes: 1,
        reserve_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

pub fn open(disk: &CrashDisk, options: LogOptions) -> (Arc<Log>, RecoveryReport) {
    open_at(disk, options, &Clock::manual(NOW_MS))
}

pub fn open_at(disk: &CrashDisk, options: LogOptions, clock: &Clock) -> (Arc<Log>, RecoveryReport) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Path::new("/data/log"), options, clock.clone()).unwrap()
}

pub fn batch(values: &[String], producer: Option<ProducerSequence>) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (at, value) in values.iter().enumerate() {
        builder.push(NOW_MS + at as i64, Some(b"key"), Some(value.as_bytes()));
    }
    builder.build(producer)
}

pub fn checked(values: &[String], producer: Option<ProducerSequence>) -> CheckedBatch {
    CheckedBatch::new(batch(values, producer)).unwrap()
}

pub fn wait<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

pub fn read_all(log: &Log, partition: TopicPartition) -> Vec<StoredBatch> {
    let (mut from, mut all) = (log.start_offset(partition).unwrap(), Vec::new());
    while from < log.durable_end(partition).unwrap() {
        let read = log.read(partition, from, 10_000).unwrap();
        assert!(!read.is_empty(), "nothing at {from}, before the end");
        from = read.last().unwrap().last_offset + 1;
        all.extend(read);
    }
    all
}

pub fn values(batches: &[StoredBatch]) -> Vec<(i64, String)> {
    let mut out = Vec::new();
    for stored in batches {
        for record in &Records::open(&stored.batch).unwrap() {
            let record = record.unwrap();
            out.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    out
}

pub fn compressed(codec: i16, body: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        3 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        4 => zstd::stream::encode_all(body, 1).unwrap(),
        _ => body.to_vec(),
    }
}

/// What is done before a sync of a file or a folder; says whether the sync is made.
type OnSync = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// A disk whose syncs can be held up or left out.
#[derive(Clone)]
pub struct HookedDisk {
    disk: CrashDisk,
    on_sync: OnSync,
}

struct HookedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    on_sync: OnSync,
}

impl HookedDisk {
    pub fn new(disk: CrashDisk, on_sync: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        Self { disk, on_sync: Arc::new(on_sync) }
    }

    fn hooked(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HookedFile { file, path: path.to_owned(), on_sync: Arc::clone(&self.on_sync) })
    }
}

/// Syncs wait while it is closed.
#[derive(Clone, Default)]
pub struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    pub fn close(&self) {
        *self.0.0.lock() = true;
    }

    pub fn open(&self) {
        *self.0.0.lock() = false;
        self.0.1.notify_all();
    }

    pub fn disk(&self, disk: CrashDisk) -> HookedDisk {
        let barrier = self.clone();
        HookedDisk::new(disk, move |_| {
            let mut closed = barrier.0.0.lock();
            barrier.0.1.wait_while(&mut closed, |closed| *closed);
            true
        })
    }
}

impl std::fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookedDisk").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskFile for HookedFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }
    fn write_all_vectored_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_vectored_at(buffers, position)
    }
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        if (self.on_sync)(&self.path) { self.file.sync_data() } else { Ok(()) }
    }
}

impl Disk for HookedDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, create).map(|file| self.hooked(path, file))
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path).map(|file| self.hooked(path, file))
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if (self.on_sync)(path) { self.disk.sync_dir(path) } else { Ok(()) }
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.disk.metadata(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}
