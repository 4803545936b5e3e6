//! The store over the real disk and the double: what a put promises holds after a crash.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use object_store::{GetRange, ObjectStoreExt};
use vitalake_runtime::disk::{CrashDisk, LocalDisk};

fn store_on(disk: &CrashDisk) -> DiskStore {
    DiskStore::new(Arc::new(disk.clone()), "/data/lake")
}

async fn read(store: &DiskStore, location: &Path) -> Option<Vec<u8>> {
    match store.get(location).await {
        Ok(found) => Some(found.bytes().await.unwrap().to_vec()),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn names(store: &DiskStore) -> Vec<String> {
    let found: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    found.into_iter().map(|meta| meta.location.to_string()).collect()
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

#[tokio::test]
async fn what_a_put_has_answered_survives_a_crash() {
    for seed in 0..200 {
        let disk = CrashDisk::new(seed);
        let store = store_on(&disk);
        let (made, replaced, parts) = (Path::from("t/_delta_log/0.json"), Path::from("t/last"), Path::from("t/u/p"));
        store.put_opts(&made, "made".into(), create()).await.unwrap();
        store.put(&replaced, "old".into()).await.unwrap();
        store.put(&replaced, "new".into()).await.unwrap();
        let mut upload = store.put_multipart(&parts).await.unwrap();
        upload.put_part("par".into()).await.unwrap();
        upload.put_part("ts".into()).await.unwrap();
        upload.complete().await.unwrap();
        disk.crash();
        let store = store_on(&disk);
        assert_eq!(read(&store, &made).await.unwrap(), b"made", "seed {seed}");
        assert_eq!(read(&store, &replaced).await.unwrap(), b"new", "seed {seed}");
        assert_eq!(read(&store, &parts).await.unwrap(), b"parts", "seed {seed}");
        assert!(matches!(store.put_opts(&made, "x".into(), create()).await, Err(Error::AlreadyExists { .. })));
    }
}

/// Kills each put at each of its operations: the object is then whole or as it was before.
#[tokio::test]
async fn a_put_that_was_killed_leaves_the_whole_object_or_none() {
    let (mut left, mut gone) = (0, 0);
    for seed in 0..300 {
        let disk = CrashDisk::new(seed);
        let store = store_on(&disk);
        let (created, replaced) = (Path::from("t/a"), Path::from("t/b"));
        let bytes = vec![7u8; 3_000];
        store.put(&replaced, "old".into()).await.unwrap();
        disk.kill_after(1 + seed % 8);
        let is_created = store.put_opts(&created, bytes.clone().into(), create()).await.is_ok();
        let is_replaced = store.put(&replaced, bytes.clone().into()).await.is_ok();
        disk.crash();
        let store = store_on(&disk);
        let swept = store.sweep_temporary(None).await.unwrap();
        assert!(swept <= 2);
        match read(&store, &created).await {
            Some(found) => {
                assert_eq!(found, bytes, "seed {seed}");
                left += 1;
            }
            None => {
                assert!(!is_created, "seed {seed}");
                gone += 1;
            }
        }
        let found = read(&store, &replaced).await.unwrap();
        assert!(found == bytes || (found == b"old" && !is_replaced), "seed {seed}");
        assert!(disk.list(FilePath::new("/data/lake/t")).unwrap().len() <= 2);
    }
    assert!(left > 20 && gone > 20, "{left} left, {gone} gone");
}

#[tokio::test]
async fn an_unsynced_object_is_there_until_a_crash_and_never_in_the_place_of_another() {
    let store = store_on(&CrashDisk::new(1));
    let location = Path::from("t/part-0.parquet");
    store.put_unsynced(&location, vec![1u8; 2_000].into()).await.unwrap();
    let taken = store.put_unsynced(&location, "x".into()).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })));
    assert_eq!(read(&store, &location).await.unwrap(), vec![1u8; 2_000]);
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    let disk = CrashDisk::new(5);
    let store = store_on(&disk);
    let location = Path::from("t/a");
    store.put(&location, "old".into()).await.unwrap();
    disk.fail_writes(Some(io::ErrorKind::StorageFull));
    let error = store.put(&location, "new".into()).await.unwrap_err();
    assert_eq!(io_error_kind(&error), Some(io::ErrorKind::StorageFull));
    disk.fail_writes(None);
    assert_eq!(read(&store, &location).await.unwrap(), b"old");
    assert_eq!(disk.list(FilePath::new("/data/lake/t")).unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_is_sorted_starts_after_its_offset_and_shows_no_unfinished_object() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStore::new(LocalDisk::shared(), home.path());
    for name in ["t/b", "t/a/x", "t/c", "u", "t.x/y"] {
        store.put(&Path::from(name), "1".into()).await.unwrap();
    }
    let upload = store.put_multipart(&Path::from("t/unfinished")).await.unwrap();
    assert_eq!(names(&store).await, ["t.x/y", "t/a/x", "t/b", "t/c", "u"]);
    let after: Vec<ObjectMeta> =
        store.list_with_offset(Some(&Path::from("t")), &Path::from("t/b")).try_collect().await.unwrap();
    assert_eq!(after.len(), 1);
    let folder = store.list_with_delimiter(Some(&Path::from("t"))).await.unwrap();
    assert_eq!((folder.common_prefixes.len(), folder.objects.len()), (1, 2));
    drop(upload);
    assert_eq!(store.sweep_temporary(None).await.unwrap(), 0);
    assert!(store.put(&Path::from("t/.tmp-1"), "1".into()).await.is_err());
}

#[tokio::test]
async fn a_start_on_a_shared_folder_leaves_what_another_process_is_writing() {
    let disk = CrashDisk::new(1);
    disk.set_now_ms(1_700_000_000_000);
    let (first, second) = (store_on(&disk), store_on(&disk));
    let mut upload = first.put_multipart(&Path::from("t/large")).await.unwrap();
    upload.put_part("par".into()).await.unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(second.sweep_temporary(Some(day)).await.unwrap(), 0);
    // The other's names are not taken for its own.
    second.put(&Path::from("t/other"), "other".into()).await.unwrap();
    upload.put_part("ts".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(read(&second, &Path::from("t/large")).await.unwrap(), b"parts");
    // What a process that was killed has left goes when nobody has written to it for so long.
    let mut left = first.put_multipart(&Path::from("t/left")).await.unwrap();
    left.put_part("half".into()).await.unwrap();
    std::mem::forget(left);
    disk.set_now_ms(1_700_000_000_000 + 86_400_001);
    assert_eq!(second.sweep_temporary(Some(day)).await.unwrap(), 1);
}

#[tokio::test]
async fn ranges_heads_and_large_objects_are_read() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStore::new(LocalDisk::shared(), home.path());
    let location = Path::from("t/large");
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
    store.put(&location, bytes.clone().into()).await.unwrap();
    assert_eq!(store.head(&location).await.unwrap().size, 20_000_000);
    assert_eq!(read(&store, &location).await.unwrap(), bytes);
    assert_eq!(store.get_range(&location, 5..9).await.unwrap(), &bytes[5..9]);
    let ranges = store.get_ranges(&location, &[0..3, 100_000..300_000, 19_999_999..20_000_050]).await.unwrap();
    assert_eq!((&ranges[0][..], ranges[1].len(), ranges[2].len()), (&bytes[0..3], 200_000, 1));
    let options = GetOptions { range: Some(GetRange::Suffix(4)), ..GetOptions::default() };
    let tail = store.get_opts(&location, options).await.unwrap().bytes().await.unwrap();
    assert_eq!(tail, &bytes[19_999_996..]);
    assert!(store.get_range(&location, 20_000_000..20_000_001).await.is_err());
}

#[tokio::test]
async fn copies_renames_and_deletes_survive_a_crash() {
    for seed in 0..100 {
        let disk = CrashDisk::new(seed);
        let store = store_on(&disk);
        let path = |name: &str| Path::from(format!("t/{name}"));
        store.put(&path("a"), "a".into()).await.unwrap();
        store.put(&path("b"), "b".into()).await.unwrap();
        store.copy(&path("a"), &path("c")).await.unwrap();
        store.rename(&path("a"), &Path::from("v/d")).await.unwrap();
        assert!(matches!(store.copy_if_not_exists(&path("b"), &path("c")).await, Err(Error::AlreadyExists { .. })));
        store.delete(&path("b")).await.unwrap();
        assert!(matches!(store.delete(&path("b")).await, Err(Error::NotFound { .. })));
        disk.crash();
        assert_eq!(names(&store_on(&disk)).await, ["t/c", "v/d"], "seed {seed}");
    }
}

#[test]
fn a_store_works_without_a_runtime() {
    let home = tempfile::tempdir().unwrap();
    let store = DiskStore::new(LocalDisk::shared(), home.path());
    let location = Path::from("a");
    let found = futures::executor::block_on(async {
        store.put(&location, vec![3u8; 100_000].into()).await.unwrap();
        read(&store, &location).await
    });
    assert_eq!(found.unwrap().len(), 100_000);
}
