//! The thin file layer that the log and the store write through, so that a crash can be rehearsed.
//!
//! `LocalDisk` is the machine's file system. `CrashDisk` keeps files in memory and forgets, on [`CrashDisk::crash`],
//! every byte and every name that was not synced, and tears the last write. Invariant: code above this layer makes
//! nothing durable but by `sync_data`, `sync_dir` and what those promise.

mod crash;
mod local;
mod whole;

pub use crash::CrashDisk;
pub use local::LocalDisk;
pub use whole::{read_whole, write_secret, write_whole};

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, blocking. Paths are absolute.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing; makes it when `create`. Its name is durable only after `sync_dir`.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a file that must not exist yet (`AlreadyExists` otherwise).
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// A second name for a file; `AlreadyExists` when the name is taken. With `remove`, an atomic put-if-absent.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and its parents, each synced into its parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and what is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The entries of a folder, sorted by name; empty when it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// The files whose names come after a name, and every folder, as [`Disk::list`] gives them; the files up to it cost
    /// next to nothing.
    fn list_after(&self, path: &Path, name: &OsStr) -> io::Result<Vec<DirEntry>> {
        let mut entries = self.list(path)?;
        entries.retain(|entry| entry.is_dir || entry.path.file_name() > Some(name));
        Ok(entries)
    }
    /// A file's length and time of modification.
    fn metadata(&self, path: &Path) -> io::Result<FileMetadata>;
    /// Free bytes for this process on the file system that holds the path.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. Positions are explicit, so that one handle serves many threads.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Writes all bytes at a position, extending the file as needed. Not durable before `sync_data`.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Writes several buffers one after the other from a position.
    fn write_all_vectored_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut at = position;
        for buffer in buffers {
            self.write_all_at(buffer, at)?;
            at += buffer.len() as u64;
        }
        Ok(())
    }
    /// Fills the buffer from a position; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the bytes written before this call durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The whole path.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes; 0 for a folder.
    pub length: u64,
    /// Milliseconds since 1970, UTC; 0 for a folder.
    pub modified_ms: i64,
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// Length in bytes.
    pub length: u64,
    /// Milliseconds since 1970, UTC.
    pub modified_ms: i64,
    /// Whether it is a folder.
    pub is_dir: bool,
}
