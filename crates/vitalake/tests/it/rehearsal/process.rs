//! A disk as one process sees it: when the process has ended, nothing of it reaches the disk any longer.
//!
//! `VITALAKE_LEFT_OUT=NAME` leaves one kind of sync out, for all that run on such disks: then a rehearsal has to fail, or
//! it proves nothing. The names are those of [`kind`].

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use vitalake_runtime::disk::{CrashDisk, DirEntry, Disk, DiskFile, FileMetadata};

/// The disk of one process. Its open files die with the disk's next crash or restart.
#[derive(Debug)]
pub struct ProcessDisk {
    disk: CrashDisk,
    alive: RwLock<bool>,
}

impl ProcessDisk {
    pub fn new(disk: &CrashDisk) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), alive: RwLock::new(true) })
    }

    /// The process ends: what it still tries fails.
    pub fn end(&self) {
        *self.alive.write() = false;
    }

    pub fn is_alive(&self) -> bool {
        *self.alive.read() && !self.disk.is_dead()
    }

    fn opened(
        &self,
        path: &Path,
        open: impl FnOnce(&CrashDisk) -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.run(open)?;
        if is_left_out(path, false) { Ok(Arc::new(Unsynced(file))) } else { Ok(file) }
    }

    fn run<T>(&self, operation: impl FnOnce(&CrashDisk) -> io::Result<T>) -> io::Result<T> {
        let alive = self.alive.read();
        if *alive { operation(&self.disk) } else { Err(io::Error::other("the process has ended")) }
    }
}

impl Disk for ProcessDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.opened(path, |disk| disk.open(path, create))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.opened(path, |disk| disk.create_new(path))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|disk| disk.hard_link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(|disk| disk.remove(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.run(|disk| disk.create_dir_all(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.run(|disk| disk.remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if is_left_out(path, true) {
            return self.run(|_| Ok(()));
        }
        self.run(|disk| disk.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.run(|disk| disk.list(path))
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.run(|disk| disk.metadata(path))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.run(|disk| disk.free_bytes(path))
    }
}

fn is_left_out(path: &Path, is_folder: bool) -> bool {
    static LEFT_OUT: OnceLock<Option<String>> = OnceLock::new();
    let left_out = LEFT_OUT.get_or_init(|| std::env::var("VITALAKE_LEFT_OUT").ok());
    left_out.as_deref().is_some_and(|left_out| kind(path, is_folder) == left_out)
}

/// What a sync makes durable.
fn kind(path: &Path, is_folder: bool) -> &'static str {
    let text = path.to_string_lossy();
    let within = |folder: &str| text.contains(folder);
    let ends = |end: &str| text.ends_with(end);
    match is_folder {
        true if ends("/_delta_log") => "commit-folder",
        true if within("/lake/") => "data-folder",
        true if ends("/log") => "log-folder",
        true if within("/log/") => "partition-folder",
        false if within("/_delta_log/") => "commit",
        false if within("/lake/") => "data",
        false if within("/topics.json") => "registry",
        false if within("/log/") && ends(".log") => "segment",
        false if within("/log/") && ends(".producers") => "producers",
        _ => "other",
    }
}

/// A file whose syncs are left out.
#[derive(Debug)]
struct Unsynced(Arc<dyn DiskFile>);

impl DiskFile for Unsynced {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
