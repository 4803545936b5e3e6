//! A disk as one process sees it: when the process has ended, nothing of it reaches the disk any longer.

use std::io;
use std::path::Path;
use std::sync::Arc;

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

    fn run<T>(&self, operation: impl FnOnce(&CrashDisk) -> io::Result<T>) -> io::Result<T> {
        let alive = self.alive.read();
        if *alive { operation(&self.disk) } else { Err(io::Error::other("the process has ended")) }
    }
}

impl Disk for ProcessDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.run(|disk| disk.open(path, create))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.run(|disk| disk.create_new(path))
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
