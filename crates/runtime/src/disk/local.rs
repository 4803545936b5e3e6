//! The machine's file system behind [`Disk`].
//!
//! Everything here blocks; callers in async code go through `spawn_blocking`. Invariant: a folder that
//! `create_dir_all` made is in its parent durably before the call returns.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{DirEntry, Disk, DiskFile, FileMetadata};

/// The most buffers that one `pwritev` takes (Linux: IOV_MAX).
const VECTORED_BUFFERS_MAX: usize = 1024;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl LocalDisk {
    /// The machine's file system, ready to share.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(LocalDisk)
    }
}

impl Disk for LocalDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let opened = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path);
        match opened {
            Ok(file) => Ok(Arc::new(LocalFile { file })),
            // On a store that has turned read-only, what is there can still be read.
            Err(error) if is_write_refused(&error) && !create => {
                let file = File::open(path)?;
                Ok(Arc::new(LocalFile { file }))
            }
            Err(error) => Err(error),
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(LocalFile { file }))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        self.create_dir_all(parent)?;
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
        self.sync_dir(parent)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The parent of a relative path's first folder is the empty path: the folder that the process is in.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        list(path, None)
    }

    fn list_after(&self, path: &Path, name: &OsStr) -> io::Result<Vec<DirEntry>> {
        list(path, Some(name))
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        let metadata = fs::metadata(path)?;
        Ok(FileMetadata { length: metadata.len(), modified_ms: modified_ms(&metadata)?, is_dir: metadata.is_dir() })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

fn list(path: &Path, after: Option<&OsStr>) -> io::Result<Vec<DirEntry>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_before = after.is_some_and(|after| entry.file_name().as_os_str() <= after);
        if is_before && !entry.file_type()?.is_dir() {
            continue;
        }
        // An entry that vanishes between the two calls was removed by someone else: it is not there.
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_dir = metadata.is_dir();
        let (length, modified_ms) = if is_dir { (0, 0) } else { (metadata.len(), modified_ms(&metadata)?) };
        found.push(DirEntry { path: entry.path(), is_dir, length, modified_ms });
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

fn modified_ms(metadata: &fs::Metadata) -> io::Result<i64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn is_write_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

#[derive(Debug)]
struct LocalFile {
    file: File,
}

impl DiskFile for LocalFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    fn write_all_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        for group in buffers.chunks(VECTORED_BUFFERS_MAX) {
            let mut owned: Vec<IoSlice<'_>> = group.to_vec();
            let mut left: &mut [IoSlice<'_>] = &mut owned;
            // Drops empty buffers at the front, so that a call that writes nothing means a full device.
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                let written = match rustix::io::pwritev(&self.file, left, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                position += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
