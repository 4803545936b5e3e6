//! A disk that breaks down once, in the middle of whoever asks it, and a store that does so or refuses.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use vitalake_runtime::disk::{CrashDisk, DirEntry, Disk, DiskFile, FileMetadata};

/// Panics at the next folder that it makes or removes, once for each time that it is told to.
#[derive(Debug)]
pub struct Breaking {
    pub disk: CrashDisk,
    pub next: Arc<AtomicBool>,
}

impl Breaking {
    fn maybe(&self) {
        assert!(!self.next.swap(false, Ordering::SeqCst), "the disk breaks down");
    }
}

impl Disk for Breaking {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, create)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.maybe();
        self.disk.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.maybe();
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn list_after(&self, path: &Path, name: &OsStr) -> io::Result<Vec<DirEntry>> {
        self.disk.list_after(path, name)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.disk.metadata(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

/// What a store does with what is put into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Puts {
    Panic,
    /// Then what is put into another folder is refused.
    PanicThenRefuse(&'static str),
    Refuse,
    /// So many are refused, and the first of them is taken all the same.
    TakeAndRefuse(usize),
    /// The first so many are taken.
    RefuseAfter(usize),
}

/// Panics once at what is put into a folder, or refuses it for as long as it is told to.
#[derive(Debug)]
pub struct BreakingStore {
    pub store: Arc<dyn ObjectStore>,
    pub next: Arc<Mutex<Option<(&'static str, Puts)>>>,
    /// Whether one that is refused was taken.
    pub taken: AtomicBool,
}

impl BreakingStore {
    fn maybe(&self, location: &StorePath) -> object_store::Result<()> {
        let mut next = self.next.lock();
        match next.filter(|(folder, _)| location.as_ref().contains(folder)) {
            Some((_, Puts::Panic)) => {
                *next = None;
                drop(next);
                panic!("the store breaks down")
            }
            Some((_, Puts::PanicThenRefuse(other))) => {
                *next = Some((other, Puts::Refuse));
                drop(next);
                panic!("the store breaks down")
            }
            Some((folder, Puts::RefuseAfter(taken))) if taken > 0 => {
                *next = Some((folder, Puts::RefuseAfter(taken - 1)));
                Ok(())
            }
            Some((_, Puts::Refuse | Puts::RefuseAfter(_))) => {
                Err(object_store::Error::Generic { store: "test", source: "503".into() })
            }
            Some((_, Puts::TakeAndRefuse(_))) | None => Ok(()),
        }
    }

    /// Whether a put is refused whose like may be taken, and whether this one is.
    fn refuses_now(&self, location: &StorePath) -> Option<bool> {
        let mut next = self.next.lock();
        let (folder, Puts::TakeAndRefuse(times)) = (*next)? else { return None };
        if !location.as_ref().contains(folder) {
            return None;
        }
        let first = !self.taken.swap(true, Ordering::SeqCst);
        *next = (times > 1).then_some((folder, Puts::TakeAndRefuse(times - 1)));
        Some(first)
    }
}

impl std::fmt::Display for BreakingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BreakingStore({})", self.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for BreakingStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if let Some(first) = self.refuses_now(location) {
            if first {
                self.store.put_opts(location, payload, options).await?;
            }
            return Err(object_store::Error::Generic { store: "test", source: "503".into() });
        }
        self.maybe(location)?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
