//! A folder of this machine as a place of deliveries.
//!
//! Invariant: nothing outside the folder is read: no folder below it, and no link that leads out of it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::{ENTRIES_MAX, FeedError, FoundFile, Listing, Print, Sender, changed};
use crate::delivery::Piece;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 1 << 20;

const LEADS_OUT: &str = "a link that leads out of the folder, or to nothing";
const NOT_A_FILE: &str = "neither a file nor a folder";
const NOT_UTF8: &str = "its name is not UTF-8";
const UNREADABLE: &str = "it cannot be looked at";

/// A folder.
#[derive(Clone, Debug)]
pub struct FolderFiles {
    path: PathBuf,
}

impl FolderFiles {
    /// The folder at an absolute path; it may be there or not.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) async fn list(&self) -> Result<Listing, FeedError> {
        let folder = self.clone();
        let listed = tokio::task::spawn_blocking(move || folder.entries()).await;
        listed.map_err(|_| FeedError::Stopped { place: self.shown() })?
    }

    fn entries(&self) -> Result<Listing, FeedError> {
        let failed = |source| FeedError::Folder { folder: self.shown(), source };
        let root = fs::canonicalize(&self.path).map_err(failed)?;
        let mut listing = Listing::default();
        for (count, entry) in fs::read_dir(&root).map_err(failed)?.enumerate() {
            if count >= ENTRIES_MAX {
                return Err(FeedError::TooMany { place: self.shown() });
            }
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                let name = entry.file_name().to_string_lossy().into_owned();
                listing.refused.push((name, NOT_UTF8));
                continue;
            };
            match look_at(&root, &entry.path()) {
                Ok(Some(metadata)) => listing.files.push(FoundFile { name, print: print(&metadata) }),
                Ok(None) => {}
                Err(reason) => listing.refused.push((name, reason)),
            }
        }
        Ok(listing)
    }

    /// Sends the bytes of files, the end of each said.
    pub(super) fn send(&self, files: &[FoundFile], sender: &Sender) {
        // One for all of them: there may be ten thousand, each of a few lines.
        let mut buffer = vec![0; PIECE_BYTES];
        for (index, file) in files.iter().enumerate() {
            let end = if index + 1 == files.len() { Piece::End } else { Piece::NextFile };
            let sent = self.send_one(file, &mut buffer, sender).map(|()| end);
            let failed = sent.is_err();
            if sender.blocking_send(sent).is_err() || failed {
                return;
            }
        }
    }

    fn send_one(&self, file: &FoundFile, buffer: &mut [u8], sender: &Sender) -> io::Result<()> {
        let root = fs::canonicalize(&self.path)?;
        let path = root.join(&file.name);
        if look_at(&root, &path).is_err() {
            return Err(io::Error::other(LEADS_OUT));
        }
        let mut source = File::open(&path)?;
        let stands = |source: &File| Ok::<bool, io::Error>(print(&source.metadata()?) == file.print);
        if !stands(&source)? {
            return Err(changed());
        }
        let mut left = file.print.bytes;
        loop {
            let count = source.read(buffer)?;
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64).ok_or_else(changed)?;
            let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
            if sender.blocking_send(Ok(Piece::Bytes(bytes))).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        // By its name too: another file may have taken its place.
        let there = fs::metadata(&path).map_err(|_| changed())?;
        if left == 0 && stands(&source)? && print(&there) == file.print { Ok(()) } else { Err(changed()) }
    }
}

/// A file's metadata; none of a folder below.
fn look_at(root: &Path, path: &Path) -> Result<Option<Metadata>, &'static str> {
    let metadata = fs::symlink_metadata(path).map_err(|_| UNREADABLE)?;
    let metadata = match metadata.is_symlink() {
        true => {
            let target = fs::canonicalize(path).map_err(|_| LEADS_OUT)?;
            if target.parent() != Some(root) {
                return Err(LEADS_OUT);
            }
            fs::metadata(&target).map_err(|_| UNREADABLE)?
        }
        false => metadata,
    };
    match () {
        () if metadata.is_file() => Ok(Some(metadata)),
        () if metadata.is_dir() => Ok(None),
        () => Err(NOT_A_FILE),
    }
}

fn print(metadata: &Metadata) -> Print {
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let modified_us = i64::try_from(modified.as_micros()).unwrap_or(i64::MAX);
    Print { bytes: metadata.len(), modified_us, tag: None }
}
