//! Places of a feed's files: what is listed, what is refused, and bytes whose end is said only when they are whole.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;
use vitalake_ingest::delivery::Piece;
use vitalake_ingest::feed::{FeedError, Files, FolderFiles, FoundFile, Listing};

const WAIT_MAX: Duration = Duration::from_secs(30);

fn folder(files: &[(&str, &str)]) -> (TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let place = Files::Folder(FolderFiles::new(folder.path().to_owned()));
    (folder, place)
}

async fn store(files: &[(&str, &str)]) -> (Arc<dyn ObjectStore>, Files) {
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(InMemory::new(), "clinic"));
    for (name, text) in files {
        store.put(&(*name).into(), PutPayload::from((*text).to_owned())).await.unwrap();
    }
    (Arc::clone(&store), Files::store(store, "az://c/clinic".into()))
}

fn names(listing: &Listing) -> Vec<&str> {
    let mut names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The text of files, each with its end, or why it did not come.
async fn read(place: &Files, files: Vec<FoundFile>) -> Result<String, String> {
    let mut pieces = place.read(files);
    let mut text = String::new();
    let reading = async {
        loop {
            match pieces.recv().await {
                Some(Ok(Piece::Bytes(bytes))) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Some(Ok(Piece::NextFile)) => text.push('|'),
                Some(Ok(Piece::End)) => return Ok(text + "."),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("no end".to_owned()),
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, reading).await.unwrap()
}

fn the(listing: &Listing, name: &str) -> FoundFile {
    listing.files.iter().find(|file| file.name == name).unwrap().clone()
}

#[tokio::test]
async fn files_are_read_one_after_the_other() {
    let files = [("a.csv", "1"), ("b.csv", "2"), ("c.csv", "")];
    let (_kept, in_folder) = folder(&files);
    let (_kept, in_store) = store(&files).await;
    for place in [in_folder, in_store] {
        let listing = place.list().await.unwrap();
        assert_eq!(names(&listing), ["a.csv", "b.csv", "c.csv"]);
        let files = ["b.csv", "a.csv", "c.csv"].map(|name| the(&listing, name)).to_vec();
        assert_eq!(read(&place, files).await.unwrap(), "2|1|.");
    }
}

#[tokio::test]
async fn what_was_changed_since_it_was_listed_has_no_end() {
    let (kept, in_folder) = folder(&[("a.csv", "1")]);
    let listing = in_folder.list().await.unwrap();
    std::fs::write(kept.path().join("a.csv"), "12").unwrap();
    let error = read(&in_folder, listing.files).await.unwrap_err();
    assert!(error.contains("changed while it was read"), "{error}");

    let (objects, in_store) = store(&[("a.csv", "1")]).await;
    let listing = in_store.list().await.unwrap();
    objects.put(&"a.csv".into(), PutPayload::from_static(b"2")).await.unwrap();
    let error = read(&in_store, listing.files.clone()).await.unwrap_err();
    assert!(error.contains("changed while it was read"), "{error}");
    objects.delete(&"a.csv".into()).await.unwrap();
    assert!(read(&in_store, listing.files).await.is_err());
}

#[tokio::test]
async fn nothing_outside_a_folder_is_read() {
    let (outside, _) = folder(&[("secret.csv", "1")]);
    let (kept, place) = folder(&[("a.csv", "1")]);
    let at = |name: &str| kept.path().join(name);
    std::fs::create_dir(at("below")).unwrap();
    std::fs::write(at("below/b.csv"), "1").unwrap();
    symlink(outside.path().join("secret.csv"), at("out.csv")).unwrap();
    symlink("below/b.csv", at("down.csv")).unwrap();
    symlink("nowhere", at("dangling.csv")).unwrap();
    symlink("a.csv", at("within.csv")).unwrap();
    let listing = place.list().await.unwrap();
    assert_eq!(names(&listing), ["a.csv", "within.csv"]);
    let mut refused: Vec<&str> = listing.refused.iter().map(|(name, _)| name.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["dangling.csv", "down.csv", "out.csv"]);
    // A link that is turned after the look leads nowhere either.
    let within = the(&listing, "within.csv");
    std::fs::remove_file(at("within.csv")).unwrap();
    symlink(outside.path().join("secret.csv"), at("within.csv")).unwrap();
    assert!(read(&place, vec![within]).await.is_err());
}

#[tokio::test]
async fn a_folder_that_is_gone_says_so_and_is_back_when_it_is() {
    let (kept, place) = folder(&[("a.csv", "1")]);
    let aside = kept.path().with_extension("aside");
    std::fs::rename(kept.path(), &aside).unwrap();
    let error = place.list().await.unwrap_err();
    assert!(matches!(error, FeedError::Folder { .. }) && error.to_string().contains("it is not there"), "{error}");
    std::fs::rename(&aside, kept.path()).unwrap();
    assert_eq!(names(&place.list().await.unwrap()), ["a.csv"]);
    let file = Files::Folder(FolderFiles::new(Path::new(kept.path()).join("a.csv")));
    assert!(file.list().await.is_err(), "a file is no folder");
}
