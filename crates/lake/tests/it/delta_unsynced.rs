//! A commit whose name could not be synced can be read, and is gone after a crash: it must not count as committed.

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use object_store::path::Path;
use vitalake_lake::delta::{Change, DeltaLog};
use vitalake_lake::store::DiskStore;
use vitalake_runtime::disk::{CrashDisk, DirEntry, Disk, DiskFile, FileMetadata};

use crate::delta_fixture::{NOW_MS, schema};

/// A disk that refuses to sync folders a number of times.
#[derive(Debug)]
struct Unsynced {
    disk: CrashDisk,
    refusals: AtomicU64,
}

impl Disk for Unsynced {
    fn sync_dir(&self, path: &FilePath) -> io::Result<()> {
        let refused = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() { Err(io::Error::other("refused")) } else { self.disk.sync_dir(path) }
    }

    fn open(&self, path: &FilePath, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, create)
    }

    fn create_new(&self, path: &FilePath) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path)
    }

    fn hard_link(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }

    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &FilePath) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_dir_all(&self, path: &FilePath) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &FilePath) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn list(&self, path: &FilePath) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn metadata(&self, path: &FilePath) -> io::Result<FileMetadata> {
        self.disk.metadata(path)
    }

    fn free_bytes(&self, path: &FilePath) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

/// A table's log on a disk, as a process that has just started sees it.
fn log(disk: Arc<dyn Disk>) -> DeltaLog {
    let store: Arc<dyn ObjectStore> = Arc::new(DiskStore::new(disk, FilePath::new("/data")));
    DeltaLog::new(store, Path::from("lake/raw/x"))
}

#[tokio::test]
async fn what_was_said_to_be_committed_is_there_after_a_crash() {
    let (mut committed, mut refused) = (0, 0);
    for seed in 0..64 {
        let crash = CrashDisk::new(seed);
        let disk = Arc::new(Unsynced { disk: crash.clone(), refusals: AtomicU64::new(0) });
        let head = {
            let log = log(disk.clone());
            let head = log.create("x", &schema(), Default::default(), NOW_MS).await.unwrap();
            disk.refusals.store(1 + seed % 4, Ordering::SeqCst);
            let change = Change::new("WRITE", NOW_MS).with_txn("vitalake/topic/0", 9);
            log.append(&head, change).await
        };
        crash.crash();
        let found = log(Arc::new(crash.clone())).load().await.unwrap().unwrap();
        match head {
            Ok(_) => {
                committed += 1;
                assert_eq!(found.txn("vitalake/topic/0"), Some(9), "seed {seed}: it was said to be committed");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(committed > 0 && refused > 0, "{committed} committed, {refused} refused");
}
