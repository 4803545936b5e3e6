//! The lock of a data folder: one process owns it.
//!
//! Invariant: the lock ends with the process, however it ends; a LOCK file that lies about is no obstacle.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Class, Classified, Retry};

/// The file in the data folder.
pub const FILE_NAME: &str = "LOCK";

/// The ownership of a data folder, held until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    _file: File,
}

/// Why a data folder cannot be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process owns it.
    #[error("the data folder {} is in use by process {holder}: stop that process, or use another folder with --data", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process id that the file names.
        holder: String,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock the data folder {}: check that it can be written", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FolderLock {
    /// Takes a data folder, which is made when it is not there.
    ///
    /// # Errors
    /// [`LockError::Held`] at once when another process has it.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { folder: folder.to_path_buf(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(FILE_NAME))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { folder: folder.to_path_buf(), holder: holder(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The id is for people. A full disk is no reason not to start: the lock itself needs no room.
        let _ = write_holder(&mut file);
        Ok(Self { folder: folder.to_path_buf(), _file: file })
    }

    /// The folder that is owned.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(id)) => id.to_string(),
        _ => "(unknown)".to_string(),
    }
}

impl Classified for LockError {
    fn class(&self) -> Class {
        match self {
            LockError::Held { .. } => Class::User,
            LockError::Io { .. } => Class::External,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Later
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_folder_is_owned_once_and_the_error_names_folder_and_process() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("data");
        let lock = FolderLock::take(&folder).unwrap();
        let error = FolderLock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(folder.to_str().unwrap()), "{error}");
        assert!(error.contains(&format!("process {}:", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(FolderLock::take(&folder).unwrap().folder(), folder);
    }

    #[test]
    fn a_file_left_by_a_process_that_died_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE_NAME), "4000000\n").unwrap();
        FolderLock::take(home.path()).unwrap();
        let named = fs::read_to_string(home.path().join(FILE_NAME)).unwrap();
        assert_eq!(named.trim(), std::process::id().to_string());
    }
}
