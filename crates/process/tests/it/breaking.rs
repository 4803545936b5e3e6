//! A disk that breaks down once, in the middle of whoever asks it.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vitalake_runtime::disk::{CrashDisk, DirEntry, Disk, DiskFile, FileMetadata};

/// Panics at the next folder that it makes or removes, once for each time that it is told to.
#[derive(Debug)]
pub struct Breaking {
    pub disk: CrashDisk,
    pub next: Arc<AtomicBool>,
}

impl Breaking {
    fn maybe(&self) {
        assert!(!self.next.swap(false, Ordering::SeqCst), "the disk breaks down");
    }
}

impl Disk for Breaking {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, create)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path)
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
        self.maybe();
        self.disk.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.maybe();
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn list_after(&self, path: &Path, name: &OsStr) -> io::Result<Vec<DirEntry>> {
        self.disk.list_after(path, name)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.disk.metadata(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}
