//! The double: what was synced survives a crash, what was not may not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from("/data/log")
}

fn disk_with_folder(seed: u64) -> CrashDisk {
    let disk = CrashDisk::new(seed);
    disk.create_dir_all(&folder()).unwrap();
    disk
}

fn contents(disk: &CrashDisk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, false)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A file whose name and first bytes are durable.
fn durable_file(disk: &CrashDisk, name: &str, bytes: &[u8]) -> (PathBuf, Arc<dyn DiskFile>) {
    let path = folder().join(name);
    let file = disk.create_new(&path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(&folder()).unwrap();
    (path, file)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Appends in chunks with a sync somewhere between: the synced part is there, the rest is a prefix of what was written.
    #[test]
    fn synced_bytes_survive_and_nothing_appears_that_was_not_written(
        seed: u64,
        chunks in prop::collection::vec(prop::collection::vec(1u8.., 1..900), 1..12),
        synced in 0usize..12,
        has_holes: bool,
    ) {
        let disk = disk_with_folder(seed);
        disk.set_holes(has_holes);
        let (path, file) = durable_file(&disk, "a", b"");
        let mut written = Vec::new();
        let mut durable = 0;
        for (index, chunk) in chunks.iter().enumerate() {
            file.write_all_at(chunk, written.len() as u64).unwrap();
            written.extend_from_slice(chunk);
            if index == synced {
                file.sync_data().unwrap();
                durable = written.len();
            }
        }
        disk.crash();
        let found = contents(&disk, &path).unwrap();
        prop_assert!(found.len() >= durable && found.len() <= written.len());
        prop_assert_eq!(&found[..durable], &written[..durable]);
        for (at, byte) in found.iter().enumerate().skip(durable) {
            prop_assert!(*byte == written[at] || (has_holes && *byte == 0), "byte {} is foreign", at);
        }
    }

    /// Overwriting and cutting: every byte afterwards is one that stood at its place at some time since the sync.
    #[test]
    fn overwrites_and_cuts_leave_old_or_new_bytes(
        seed: u64,
        changes in prop::collection::vec((0usize..200, prop::collection::vec(1u8.., 0..80)), 1..10),
    ) {
        let disk = disk_with_folder(seed);
        let (path, file) = durable_file(&disk, "a", &[9; 100]);
        let mut model = vec![9u8; 100];
        let mut seen: Vec<Vec<u8>> = (0..400).map(|at| if at < 100 { vec![0, 9] } else { vec![0] }).collect();
        let mut lengths = vec![100];
        for (position, bytes) in changes {
            if bytes.is_empty() {
                file.set_len(position as u64).unwrap();
                model.resize(position, 0);
            } else {
                file.write_all_at(&bytes, position as u64).unwrap();
                model.resize(model.len().max(position + bytes.len()), 0);
                model[position..position + bytes.len()].copy_from_slice(&bytes);
            }
            for (at, byte) in model.iter().enumerate() {
                seen[at].push(*byte);
            }
            lengths.push(model.len());
        }
        prop_assert_eq!(contents(&disk, &path).unwrap(), model);
        disk.crash();
        let found = contents(&disk, &path).unwrap();
        prop_assert!(found.len() <= *lengths.iter().max().unwrap());
        for (at, byte) in found.iter().enumerate() {
            prop_assert!(seen[at].contains(byte), "byte {} at {} was never there", byte, at);
        }
    }

    /// Names made and moved: those before the last sync of the folder stand as they were, later ones are there or not.
    #[test]
    fn synced_names_survive_and_a_rename_happens_whole_or_not_at_all(seed: u64) {
        let disk = disk_with_folder(seed);
        let (from, _) = durable_file(&disk, "from", b"one");
        let (kept, _) = durable_file(&disk, "kept", b"two");
        let to = folder().join("to");
        disk.rename(&from, &to).unwrap();
        disk.create_new(&folder().join("late")).unwrap();
        disk.crash();
        prop_assert_eq!(contents(&disk, &kept).unwrap(), b"two");
        let (old, new) = (contents(&disk, &from), contents(&disk, &to));
        prop_assert!(old.is_ok() != new.is_ok());
        prop_assert_eq!(old.or(new).unwrap(), b"one");
    }
}

#[test]
fn what_is_not_synced_is_kept_under_some_seeds_and_lost_under_others() {
    let outcome = |seed| {
        let disk = disk_with_folder(seed);
        let (path, file) = durable_file(&disk, "a", b"");
        file.write_all_at(&[7; 5_000], 0).unwrap();
        disk.create_new(&folder().join("b")).unwrap();
        disk.crash();
        let found = contents(&disk, &path).unwrap();
        let is_holed = found.contains(&0);
        (found.len(), is_holed, disk.metadata(&folder().join("b")).is_ok())
    };
    let outcomes: Vec<_> = (0..200).map(outcome).collect();
    assert!(outcomes.iter().any(|(length, _, _)| *length == 0));
    assert!(outcomes.iter().any(|(length, _, _)| *length == 5_000));
    assert!(outcomes.iter().any(|(length, _, _)| (1..5_000).contains(length)));
    assert!(outcomes.iter().any(|(_, is_holed, _)| *is_holed));
    assert!(outcomes.iter().any(|(_, _, is_named)| *is_named) && outcomes.iter().any(|(_, _, is_named)| !*is_named));
    assert_eq!(outcomes, (0..200).map(outcome).collect::<Vec<_>>(), "a seed means one outcome");
}

#[test]
fn handles_of_before_the_crash_are_dead_and_new_ones_work() {
    let disk = disk_with_folder(1);
    let (path, file) = durable_file(&disk, "a", b"bytes");
    disk.crash();
    let error = file.write_all_at(b"x", 0).unwrap_err();
    assert!(error.to_string().contains("disk is gone"), "{error}");
    assert!(file.sync_data().is_err() && file.len().is_err());
    disk.open(&path, false).unwrap().write_all_at(b"B", 0).unwrap();
    assert_eq!(contents(&disk, &path).unwrap(), b"Bytes");
}

#[test]
fn a_restart_of_the_process_alone_loses_nothing() {
    let disk = disk_with_folder(1);
    let (path, file) = durable_file(&disk, "a", b"");
    file.write_all_at(b"not synced", 0).unwrap();
    disk.restart();
    assert!(file.len().is_err());
    assert_eq!(contents(&disk, &path).unwrap(), b"not synced");
}

#[test]
fn a_killed_disk_fails_everything_until_the_crash() {
    for operations in 1..=4 {
        let disk = disk_with_folder(operations);
        let (path, file) = durable_file(&disk, "a", b"");
        disk.kill_after(operations);
        let results = [
            file.write_all_at(b"1", 0).is_ok(),
            file.sync_data().is_ok(),
            disk.rename(&path, &folder().join("b")).is_ok(),
            disk.sync_dir(&folder()).is_ok(),
        ];
        let succeeded = results.iter().filter(|is_ok| **is_ok).count() as u64;
        assert_eq!(succeeded, operations - 1);
        assert!(disk.is_dead() && disk.list(&folder()).is_err() && file.len().is_err());
        disk.crash();
        assert!(!disk.is_dead());
        assert_eq!(disk.list(&folder()).unwrap().len(), 1);
    }
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_a_read_only_one_every_change() {
    let disk = disk_with_folder(1);
    let (path, file) = durable_file(&disk, "a", b"bytes");
    disk.fail_writes(Some(ErrorKind::StorageFull));
    assert_eq!(file.write_all_at(b"more", 5).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.create_new(&folder().join("b")).unwrap_err().kind(), ErrorKind::StorageFull);
    file.set_len(5).unwrap();
    file.sync_data().unwrap();
    disk.fail_writes(Some(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(disk.remove(&path).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(contents(&disk, &path).unwrap(), b"bytes");
    disk.fail_writes(None);
    disk.remove(&path).unwrap();
    disk.set_free_bytes(10);
    assert_eq!(disk.free_bytes(&folder()).unwrap(), 10);
}

/// What both disks must do alike.
fn behaves_like_a_file_system(disk: &dyn Disk, root: &Path) {
    let (folder, at) = (root.join("x/y"), |name: &str| root.join("x/y").join(name));
    assert_eq!(disk.list(&folder).unwrap(), Vec::new());
    assert_eq!(disk.open(&at("a"), true).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir_all(&folder).unwrap();
    disk.create_dir_all(&folder).unwrap();
    let file = disk.create_new(&at("a")).unwrap();
    assert_eq!(disk.create_new(&at("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let parts = [io::IoSlice::new(b""), io::IoSlice::new(b"ab"), io::IoSlice::new(b""), io::IoSlice::new(b"cde")];
    file.write_all_vectored_at(&parts, 2).unwrap();
    let mut bytes = [1; 7];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"\0\0abcde");
    assert_eq!(file.read_exact_at(&mut bytes, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(3).unwrap();
    assert!(file.len().unwrap() == 3 && !file.is_empty().unwrap());
    file.sync_data().unwrap();
    disk.hard_link(&at("a"), &at("b")).unwrap();
    assert_eq!(disk.hard_link(&at("a"), &at("b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    disk.open(&at("c"), true).unwrap().write_all_at(b"c", 0).unwrap();
    disk.rename(&at("c"), &at("a")).unwrap();
    disk.sync_dir(&folder).unwrap();
    let lengths = |entries: Vec<DirEntry>| -> Vec<(PathBuf, u64)> {
        entries.into_iter().map(|entry| (entry.path, entry.length)).collect()
    };
    assert_eq!(lengths(disk.list(&folder).unwrap()), [(at("a"), 1), (at("b"), 3)]);
    assert_eq!(lengths(disk.list_after(&folder, "a".as_ref()).unwrap()), [(at("b"), 3)]);
    assert!(disk.list(&root.join("x")).unwrap()[0].is_dir && disk.metadata(&folder).unwrap().is_dir);
    assert_eq!(disk.metadata(&at("b")).unwrap().length, 3);
    disk.remove(&at("b")).unwrap();
    assert_eq!(disk.remove(&at("b")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.free_bytes(root).unwrap() > 0);
    disk.remove_dir_all(&root.join("x")).unwrap();
    assert_eq!(disk.metadata(&at("a")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn both_disks_behave_alike() {
    behaves_like_a_file_system(&CrashDisk::new(1), Path::new("/"));
    let home = tempfile::tempdir().unwrap();
    behaves_like_a_file_system(&super::super::LocalDisk, home.path());
}

#[test]
fn a_vectored_write_of_more_buffers_than_a_system_call_takes_arrives_whole() {
    let home = tempfile::tempdir().unwrap();
    let file = super::super::LocalDisk.create_new(&home.path().join("a")).unwrap();
    let bytes: Vec<[u8; 3]> = (0..5_000u32).map(|n| [(n % 251) as u8, (n % 7) as u8, 1]).collect();
    let buffers: Vec<io::IoSlice<'_>> = bytes.iter().map(|part| io::IoSlice::new(part)).collect();
    file.write_all_vectored_at(&buffers, 1).unwrap();
    let mut found = vec![0; 15_000];
    file.read_exact_at(&mut found, 1).unwrap();
    assert_eq!(found, bytes.concat());
}
