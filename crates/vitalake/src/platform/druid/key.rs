//! The key of the addresses of published files: random bytes in the data folder, made once.
//!
//! Invariant: without a disk that keeps it there is a key all the same, which ends with the process.

use std::path::Path;

use vitalake_runtime::disk::{Disk, read_whole, write_secret};
use vitalake_serve::druid_engine::FileKey;

const FILE_NAME: &str = "published.key";
const KEY_BYTES: u64 = 32;

/// The key that lies there, or a new one.
pub(super) fn open(disk: &dyn Disk, folder: &Path) -> FileKey {
    match read_whole(disk, &folder.join(FILE_NAME), KEY_BYTES) {
        Ok(key) if key.len() as u64 == KEY_BYTES => FileKey::new(key),
        _ => {
            let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
            if let Err(error) = keep(disk, folder, &key) {
                tracing::warn!(kind = ?error.kind(), "the key of published files is not kept: after a restart Druid's open tasks begin anew");
            }
            FileKey::new(key)
        }
    }
}

fn keep(disk: &dyn Disk, folder: &Path, key: &[u8]) -> std::io::Result<()> {
    disk.create_dir_all(folder)?;
    write_secret(disk, &folder.join(FILE_NAME), key)
}
