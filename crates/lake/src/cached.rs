//! Files of a remote lake kept on this machine's disk once they were read or written.
//!
//! A Parquet file never changes under its name, so what is here is right for as long as it is here: a query on an
//! unchanged table asks nothing of the store, and queries go on with what is here while the store is away. Commits and
//! listings always go to the store. Invariant: a file is here whole or not at all; at start there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::store::DiskStore;

/// Larger files are read in place: a table's own are smaller, and a foreign one should not push them out.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A remote store with files of it on disk.
pub struct CachedStore {
    remote: Arc<dyn ObjectStore>,
    here: DiskStore,
    kept: Arc<Mutex<Kept>>,
    bytes_max: u64,
}

/// What is here, and in which order it was last used.
#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<Path, (u64, u64)>,
    by_use: BTreeMap<u64, Path>,
    bytes: u64,
    clock: u64,
}

impl Kept {
    fn used(&mut self, location: &Path) -> bool {
        let Some((_, last)) = self.files.get_mut(location) else { return false };
        self.clock += 1;
        self.by_use.remove(last);
        *last = self.clock;
        self.by_use.insert(self.clock, location.clone());
        true
    }

    fn add(&mut self, location: &Path, size: u64) {
        self.remove(location);
        self.clock += 1;
        self.files.insert(location.clone(), (size, self.clock));
        self.by_use.insert(self.clock, location.clone());
        self.bytes += size;
    }

    /// Whether it was here.
    fn remove(&mut self, location: &Path) -> bool {
        let Some((size, last)) = self.files.remove(location) else { return false };
        self.by_use.remove(&last);
        self.bytes -= size;
        true
    }

    /// The file that was not used for longest.
    fn oldest(&self) -> Option<Path> {
        self.by_use.first_key_value().map(|(_, location)| location.clone())
    }
}

impl CachedStore {
    /// A remote store whose files are kept in a folder store, which must be empty, up to so many bytes.
    #[must_use]
    pub fn new(remote: Arc<dyn ObjectStore>, here: DiskStore, bytes_max: u64) -> Self {
        Self { remote, here, kept: Arc::default(), bytes_max }
    }

    /// Whether a file never changes under its name.
    fn is_kept_kind(location: &Path) -> bool {
        location.extension() == Some("parquet") && !location.as_ref().contains("_delta_log")
    }

    /// Keeps a file, in place of those that were not used for longest. What the disk refuses is read from the store.
    async fn keep(&self, location: &Path, payload: PutPayload) {
        let size = payload.content_length() as u64;
        if size > FILE_BYTES_MAX.min(self.bytes_max) {
            return;
        }
        while let Some(oldest) = {
            let kept = self.kept.lock();
            (kept.bytes + size > self.bytes_max).then(|| kept.oldest()).flatten()
        } {
            self.forget(&oldest).await;
        }
        match self.here.put_unsynced(location, payload).await {
            Ok(()) => self.kept.lock().add(location, size),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => tracing::debug!(%error, "a file of the lake could not be kept on disk"),
        }
    }

    async fn forget(&self, location: &Path) {
        self.kept.lock().remove(location);
        let _ = self.here.delete(location).await;
    }

    /// Whether the file is here, fetched if need be.
    async fn is_here(&self, location: &Path) -> Result<bool> {
        if self.kept.lock().used(location) {
            return Ok(true);
        }
        let fetched = self.remote.get_opts(location, GetOptions::default()).await?;
        if fetched.meta.size > FILE_BYTES_MAX {
            return Ok(false);
        }
        self.keep(location, fetched.bytes().await?.into()).await;
        Ok(self.kept.lock().used(location))
    }
}

impl fmt::Debug for CachedStore {
    /// The store's own form may show its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedStore({})", self.remote)
    }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({})", self.remote)
    }
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let keep = (Self::is_kept_kind(location) && matches!(options.mode, PutMode::Create | PutMode::Overwrite))
            .then(|| payload.clone());
        let put = self.remote.put_opts(location, payload, options).await?;
        if let Some(payload) = keep {
            self.keep(location, payload).await;
        }
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.remote.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if Self::is_kept_kind(location) && self.is_here(location).await? {
            if let Ok(found) = self.here.get_opts(location, options.clone()).await {
                return Ok(found);
            }
            self.forget(location).await;
        }
        self.remote.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (here, kept) = (self.here.clone(), Arc::clone(&self.kept));
        let deleted = self.remote.delete_stream(locations);
        deleted
            .then(move |location| {
                let (here, kept) = (here.clone(), Arc::clone(&kept));
                async move {
                    if let Ok(location) = &location
                        && kept.lock().remove(location)
                    {
                        let _ = here.delete(location).await;
                    }
                    location
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.remote.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.remote.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.remote.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.remote.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use object_store::memory::InMemory;
    use vitalake_runtime::disk::LocalDisk;

    fn cached(bytes_max: u64) -> (Arc<InMemory>, CachedStore, tempfile::TempDir) {
        let (remote, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let here = DiskStore::new(LocalDisk::shared(), folder.path());
        (Arc::clone(&remote), CachedStore::new(remote, here, bytes_max), folder)
    }

    async fn read(store: &CachedStore, location: &Path) -> Result<Vec<u8>> {
        Ok(store.get(location).await?.bytes().await?.to_vec())
    }

    #[tokio::test]
    async fn what_was_written_or_read_is_read_without_the_store() {
        let (remote, store, _folder) = cached(1 << 20);
        let (written, read_once) = (Path::from("lake/a.parquet"), Path::from("lake/b.parquet"));
        store.put(&written, "aaa".into()).await.unwrap();
        remote.put(&read_once, "bbb".into()).await.unwrap();
        assert_eq!(read(&store, &read_once).await.unwrap(), b"bbb");
        remote.delete(&written).await.unwrap();
        remote.delete(&read_once).await.unwrap();
        assert_eq!(read(&store, &written).await.unwrap(), b"aaa");
        assert_eq!(store.get_range(&read_once, 1..3).await.unwrap().as_ref(), b"bb");
    }

    #[tokio::test]
    async fn logs_and_checkpoints_are_always_the_stores() {
        let (remote, store, _folder) = cached(1 << 20);
        for name in ["t/_delta_log/0.json", "t/_delta_log/1.checkpoint.parquet"] {
            let location = Path::from(name);
            store.put(&location, "old".into()).await.unwrap();
            remote.put(&location, "new".into()).await.unwrap();
            assert_eq!(read(&store, &location).await.unwrap(), b"new");
        }
    }

    #[tokio::test]
    async fn the_file_that_was_not_used_for_longest_gives_way() {
        let (remote, store, _folder) = cached(5);
        let names = ["a.parquet", "b.parquet", "c.parquet"].map(Path::from);
        for name in names.iter().take(2) {
            store.put(name, "xx".into()).await.unwrap();
        }
        read(&store, &names[0]).await.unwrap();
        store.put(&names[2], "xx".into()).await.unwrap();
        for name in &names {
            remote.delete(name).await.unwrap();
        }
        let mut here = Vec::new();
        for name in &names {
            here.push(read(&store, name).await.is_ok());
        }
        assert_eq!(here, [true, false, true]);
    }

    #[tokio::test]
    async fn a_deleted_file_is_gone_here_too() {
        let (_remote, store, _folder) = cached(1 << 20);
        let location = Path::from("a.parquet");
        store.put(&location, "xx".into()).await.unwrap();
        store.delete(&location).await.unwrap();
        assert!(matches!(read(&store, &location).await, Err(object_store::Error::NotFound { .. })));
    }
}
