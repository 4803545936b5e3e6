//! The key of the addresses of published files: random bytes in the data folder, made once.
//!
//! Invariant: without a disk that keeps it there is a key all the same, which ends with the process.

use std::path::Path;

use vitalake_runtime::disk::Disk;
use vitalake_serve::druid_engine::FileKey;

const FILE_NAME: &str = "published.key";
const KEY_BYTES: usize = 32;

/// The key that lies there, or a new one.
pub(super) fn open(disk: &dyn Disk, folder: &Path) -> FileKey {
    match read(disk, folder) {
        Ok(key) => FileKey::new(key),
        Err(_) => {
            let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
            if let Err(error) = keep(disk, folder, &key) {
                tracing::warn!(kind = ?error.kind(), "the key of published files is not kept: after a restart Druid's open tasks begin anew");
            }
            FileKey::new(key)
        }
    }
}

fn read(disk: &dyn Disk, folder: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(&folder.join(FILE_NAME), false)?;
    let mut key = vec![0; KEY_BYTES];
    file.read_exact_at(&mut key, 0)?;
    Ok(key)
}

fn keep(disk: &dyn Disk, folder: &Path, key: &[u8]) -> std::io::Result<()> {
    let (whole, next) = (folder.join(FILE_NAME), folder.join(format!("{FILE_NAME}.new")));
    disk.create_dir_all(folder)?;
    let _left_behind = disk.remove(&next);
    let file = disk.create_new(&next)?;
    file.write_all_at(key, 0)?;
    file.sync_data()?;
    disk.rename(&next, &whole)?;
    disk.sync_dir(folder)
}
