//! What the store does with files, blocking: placing whole objects durably, reading, listing, deleting.
//!
//! Invariant: a name that begins with [`TEMPORARY_PREFIX`] is never an object; nothing lists it, and what is left of
//! it after a crash is swept away.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error, GetRange, ListResult, ObjectMeta, PutPayload, Result};
use parking_lot::Mutex;
use uuid::Uuid;
use vitalake_runtime::disk::{DirEntry, Disk, DiskFile};

use super::{STORE, generic};

/// How the name of a file begins that is being written.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// Whether a name that is taken is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placing {
    /// `AlreadyExists` when the name is taken.
    Create,
    /// What was there is replaced, at once.
    Replace,
}

/// The files under the root folder.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Folders that are known to be there durably.
    folders: Mutex<HashSet<PathBuf>>,
    /// Tells the temporary files of this process from those of others on the same folder.
    writer: String,
    temporary_made: AtomicU64,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        let writer = Uuid::new_v4().simple().to_string();
        Self { disk, root, folders: Mutex::new(HashSet::new()), writer, temporary_made: AtomicU64::new(0) }
    }

    pub(super) fn root(&self) -> &FilePath {
        &self.root
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn put(&self, location: &Path, payload: &PutPayload, placing: Placing) -> Result<()> {
        let (temporary, file) = self.begin(location)?;
        let written = write(file.as_ref(), payload, 0).and_then(|()| file.sync_data());
        self.finish(location, &temporary, placing, written)
    }

    /// A temporary file in the folder of an object.
    pub(super) fn begin(&self, location: &Path) -> Result<(PathBuf, Arc<dyn DiskFile>)> {
        let folder = folder_of(&self.path(location)?);
        self.with_folder(&folder, || {
            loop {
                let number = self.temporary_made.fetch_add(1, Ordering::Relaxed);
                let path = folder.join(format!("{TEMPORARY_PREFIX}{}-{number:x}", self.writer));
                match self.disk.create_new(&path) {
                    Ok(file) => return Ok((path, file)),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .map_err(|error| failed(error, location))
    }

    /// Gives a temporary file its name durably, or removes it when it could not be written.
    pub(super) fn finish(
        &self,
        location: &Path,
        temporary: &FilePath,
        placing: Placing,
        written: io::Result<()>,
    ) -> Result<()> {
        let placed = written.and_then(|()| {
            let target = self.path(location).map_err(io::Error::other)?;
            match placing {
                Placing::Replace => self.disk.rename(temporary, &target),
                Placing::Create => self.disk.hard_link(temporary, &target),
            }
        });
        if placing == Placing::Create || placed.is_err() {
            // What cannot be removed is swept away at the next start.
            let _ = self.disk.remove(temporary);
        }
        let synced = || self.disk.sync_dir(&folder_of(temporary));
        let placed = match placed {
            Ok(()) => synced(),
            // It may be there from a try whose sync failed: who hears that it is there may rely on it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => synced().and(Err(error)),
            Err(error) => Err(error),
        };
        placed.map_err(|error| failed(error, location))
    }

    pub(super) fn discard(&self, temporary: &FilePath) {
        let _ = self.disk.remove(temporary);
    }

    pub(super) fn put_unsynced(&self, location: &Path, payload: &PutPayload) -> Result<()> {
        let path = self.path(location)?;
        let file = self
            .with_folder(&folder_of(&path), || self.disk.create_new(&path))
            .map_err(|error| failed(error, location))?;
        write(file.as_ref(), payload, 0).map_err(|error| {
            self.discard(&path);
            failed(error, location)
        })
    }

    pub(super) fn open(&self, location: &Path) -> Result<(Arc<dyn DiskFile>, ObjectMeta)> {
        let path = self.path(location)?;
        // The name may stand for another file by now: the length is that of the one that is open.
        let opened = self.disk.open(&path, false).and_then(|file| {
            let (length, modified_ms) = (file.len()?, self.disk.metadata(&path)?.modified_ms);
            Ok((file, length, modified_ms))
        });
        let (file, length, modified_ms) = opened.map_err(|error| failed(error, location))?;
        Ok((file, object_meta(location.clone(), length, modified_ms)))
    }

    pub(super) fn read(&self, file: &dyn DiskFile, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(|error| generic(error.into()))?;
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, range.start).map_err(|error| failed(error, location))?;
        Ok(buffer.into())
    }

    pub(super) fn read_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = self.path(location)?;
        let file = self.disk.open(&path, false).map_err(|error| failed(error, location))?;
        let length = file.len().map_err(|error| failed(error, location))?;
        ranges
            .iter()
            .map(|range| {
                let range =
                    GetRange::Bounded(range.clone()).as_range(length).map_err(|source| generic(source.into()))?;
                self.read(file.as_ref(), location, range)
            })
            .collect()
    }

    /// Deletes objects, then syncs each of their folders once.
    pub(super) fn delete(&self, locations: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let mut folders = BTreeSet::new();
        let mut deleted: Vec<Result<Path>> = locations
            .into_iter()
            .map(|location| {
                let location = location?;
                let path = self.path(&location)?;
                self.disk.remove(&path).map_err(|error| failed(error, &location))?;
                folders.insert(folder_of(&path));
                Ok(location)
            })
            .collect();
        for folder in folders {
            // A folder that is gone took its names along.
            match self.disk.sync_dir(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => deleted.push(Err(generic(error.into()))),
                _ => {}
            }
        }
        deleted
    }

    pub(super) fn copy(&self, from: &Path, to: &Path, placing: Placing) -> Result<()> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        // Objects are replaced and never changed in place, so that two names may share one file.
        let synced = self.disk.open(&source, false).and_then(|file| file.sync_data());
        synced.map_err(|error| failed(error, from))?;
        let folder = folder_of(&target);
        let linked = match placing {
            Placing::Create => self.with_folder(&folder, || self.disk.hard_link(&source, &target)),
            Placing::Replace => {
                let (temporary, _) = self.begin(to)?;
                self.discard(&temporary);
                let linked = self.disk.hard_link(&source, &temporary);
                let renamed = linked.and_then(|()| self.disk.rename(&temporary, &target));
                // A rename onto another name of the same file does nothing and leaves the first name.
                self.discard(&temporary);
                renamed
            }
        };
        linked.and_then(|()| self.disk.sync_dir(&folder)).map_err(|error| failed(error, to))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path, placing: Placing) -> Result<()> {
        self.copy(from, to, placing)?;
        if from == to {
            return Ok(());
        }
        let source = self.path(from)?;
        let removed = self.disk.remove(&source).and_then(|()| self.disk.sync_dir(&folder_of(&source)));
        removed.map_err(|error| failed(error, from))
    }

    /// All objects under a prefix, sorted by location.
    pub(super) fn list_tree(&self, prefix: &Path, offset: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        let mut open = vec![prefix.clone()];
        while let Some(folder) = open.pop() {
            for (location, entry) in self.entries(&folder, offset)? {
                if entry.is_dir {
                    open.push(location);
                } else if offset.is_none_or(|offset| location > *offset) {
                    found.push(object_meta(location, entry.length, entry.modified_ms));
                }
            }
        }
        found.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(found)
    }

    /// The objects right in a folder, and the folders in it that hold any.
    pub(super) fn list_folder(&self, prefix: &Path) -> Result<ListResult> {
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for (location, entry) in self.entries(prefix, None)? {
            if entry.is_dir {
                result.common_prefixes.push(location);
            } else {
                result.objects.push(object_meta(location, entry.length, entry.modified_ms));
            }
        }
        Ok(result)
    }

    pub(super) fn sweep_temporary(&self, age: Option<Duration>) -> Result<usize> {
        let until_ms = match age {
            Some(age) => self.now_ms()?.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            None => i64::MAX,
        };
        let mut swept = 0;
        let mut open = vec![self.root.clone()];
        while let Some(folder) = open.pop() {
            let entries = match self.disk.list(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| generic(error.into()))?,
            };
            for entry in entries {
                if entry.is_dir {
                    open.push(entry.path);
                } else if is_temporary(&entry.path) && entry.modified_ms < until_ms {
                    // Another process on this folder may have come to the end of a put meanwhile.
                    match self.disk.remove(&entry.path) {
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        removed => {
                            removed.map_err(|error| generic(error.into()))?;
                            swept += 1;
                        }
                    }
                }
            }
        }
        Ok(swept)
    }

    /// The time as this folder has it: that of a file that is made now.
    fn now_ms(&self) -> Result<i64> {
        let location = Path::from("now");
        let (temporary, _file) = self.begin(&location)?;
        let found = self.disk.metadata(&temporary);
        self.discard(&temporary);
        found.map(|found| found.modified_ms).map_err(|error| failed(error, &location))
    }

    /// The entries of a folder that may be objects, with their locations.
    fn entries(&self, folder: &Path, offset: Option<&Path>) -> Result<Vec<(Path, DirEntry)>> {
        let path = self.path(folder)?;
        // An offset in this very folder spares looking at the names up to it.
        let after = offset.filter(|offset| offset.prefix_match(folder).is_some_and(|parts| parts.count() == 1));
        let listed = match after.and_then(Path::filename) {
            Some(name) => self.disk.list_after(&path, name.as_ref()),
            None => self.disk.list(&path),
        };
        let entries = match listed {
            Ok(entries) => entries,
            // The prefix is a file, or goes through one: it is no folder and holds nothing.
            Err(error) if error.kind() == ErrorKind::NotADirectory => Vec::new(),
            Err(error) => return Err(failed(error, folder)),
        };
        let is_object = |entry: DirEntry| {
            let name = entry.path.file_name()?.to_str()?;
            let location = if folder.as_ref().is_empty() { name.to_string() } else { format!("{folder}/{name}") };
            // A name that no location can spell was not put by a store.
            let location = Path::parse(location).ok()?;
            (!is_temporary(&entry.path)).then_some((location, entry))
        };
        Ok(entries.into_iter().filter_map(is_object).collect())
    }

    fn path(&self, location: &Path) -> Result<PathBuf> {
        let path = match location.as_ref() {
            "" => return Ok(self.root.clone()),
            relative => self.root.join(relative),
        };
        if is_temporary(&path) {
            let message = format!("a name that begins with {TEMPORARY_PREFIX} is kept for files being written");
            return Err(generic(message.into()));
        }
        Ok(path)
    }

    /// Does something in a folder, which is made first when it is not known to be there durably.
    fn with_folder<T>(&self, folder: &FilePath, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        if self.folders.lock().contains(folder) {
            match work() {
                // Someone removed the folder behind the store's back: make it again.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
        }
        self.disk.create_dir_all(folder)?;
        // It may have been made by a process that died before it had synced its name.
        for parent in folder.ancestors().skip(1) {
            self.disk.sync_dir(parent)?;
            if !parent.starts_with(&self.root) {
                break;
            }
        }
        self.folders.lock().insert(folder.to_path_buf());
        work()
    }
}

pub(super) fn write(file: &dyn DiskFile, payload: &PutPayload, position: u64) -> io::Result<()> {
    let buffers: Vec<IoSlice<'_>> = payload.iter().map(|bytes| IoSlice::new(bytes)).collect();
    file.write_all_vectored_at(&buffers, position)
}

fn folder_of(path: &FilePath) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

fn is_temporary(path: &FilePath) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
}

fn object_meta(location: Path, size: u64, modified_ms: i64) -> ObjectMeta {
    let last_modified = DateTime::<Utc>::from_timestamp_millis(modified_ms).unwrap_or_default();
    // No tag: two writes within a millisecond could not be told apart by what the file layer knows.
    ObjectMeta { location, last_modified, size, e_tag: None, version: None }
}

/// An I/O error as the store's error for an object.
pub(super) fn failed(error: io::Error, location: &Path) -> Error {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            Error::NotFound { path, source: error.into() }
        }
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
        _ => Error::Generic { store: STORE, source: error.into() },
    }
}
