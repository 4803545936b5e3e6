//! Small files that are there whole or not at all: registries, keys, receipts.
//!
//! Invariant: a name is that of bytes that are durable; one that was not written to its end never had it.

use std::io;
use std::path::{Path, PathBuf};

use super::Disk;

/// The bytes of a file that is no larger than `bytes_max`.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read_whole(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, false)?;
    let length = file.len()?;
    if length > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts a file in the place of the one of that name, durable with its name when this returns.
///
/// # Errors
/// When it cannot be written; the one before is there then.
pub fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(disk, path, bytes, |_| ())
}

/// The same for what nobody but the owner may read, where the machine knows owners.
///
/// # Errors
/// As [`write_whole`].
pub fn write_secret(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(disk, path, bytes, own)
}

fn write(disk: &dyn Disk, path: &Path, bytes: &[u8], keep: impl FnOnce(&Path)) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let file = disk.open(&next, true)?;
    // Before there is anything in it.
    file.set_len(0)?;
    keep(&next);
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&next, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn own(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A disk of a rehearsal has no such file.
        let _absent = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::LocalDisk;
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_secret_is_its_owners() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (LocalDisk::shared(), folder.path().join("key"));
        for bytes in [&b"a longer one"[..], b"one"] {
            write_secret(disk.as_ref(), &path, bytes).unwrap();
            assert_eq!(read_whole(disk.as_ref(), &path, 12).unwrap(), bytes);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write_whole(disk.as_ref(), &path, b"thirteen long").unwrap();
        assert!(read_whole(disk.as_ref(), &path, 12).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
