//! The one `ObjectStore` of the lake, over the durable file layer: our Delta writer and every reader go through it.
//!
//! Invariant: an object is there whole or not at all, and once a put has returned, a crash does not take it away. A
//! put writes a temporary file beside its place, syncs it, gives it its name, and syncs the folder. What nobody
//! looks for after a crash is put with [`DiskStore::put_unsynced`].

mod files;
mod upload;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result,
};
use vitalake_runtime::disk::{Disk, DiskFile};

use files::{Files, Placing};

/// The name that errors carry.
const STORE: &str = "DiskStore";
/// Reads up to this size are done where they are asked for: from the page cache they take less time than a change of
/// threads.
const INLINE_READ_BYTES_MAX: u64 = 64 << 10;
/// What one step of a stream reads.
const STREAM_CHUNK_BYTES: u64 = 8 << 20;
/// How many objects are deleted for one sync of their folders.
const DELETES_PER_SYNC: usize = 256;

/// Objects as files under a root folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskStore {
    files: Arc<Files>,
}

impl DiskStore {
    /// A store of the objects under a folder, which is made when the first object is. Touches nothing yet.
    pub fn new(disk: Arc<dyn Disk>, root: impl Into<std::path::PathBuf>) -> Self {
        Self { files: Arc::new(Files::new(disk, root.into())) }
    }

    /// The folder that holds the objects.
    pub fn root(&self) -> &FilePath {
        self.files.root()
    }

    /// The disk that the folder is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        self.files.disk()
    }

    /// Writes a new object without making it durable; `AlreadyExists` when it is there. A crash may leave it torn: for what
    /// nobody looks for after one.
    ///
    /// # Errors
    /// When the disk refuses; what was written is removed again as far as possible.
    pub async fn put_unsynced(&self, location: &Path, payload: PutPayload) -> Result<()> {
        let (files, location) = (Arc::clone(&self.files), location.clone());
        blocking(move || files.put_unsynced(&location, &payload)).await
    }

    /// Removes what puts that a crash interrupted left behind and returns how many files that were. Call it before
    /// the first put. With an age, what was written to within that time stays: somebody else may be at it.
    ///
    /// # Errors
    /// When a folder cannot be listed or a file not be removed.
    pub async fn sweep_temporary(&self, age: Option<Duration>) -> Result<usize> {
        let files = Arc::clone(&self.files);
        blocking(move || files.sweep_temporary(age)).await
    }
}

/// The kind of the I/O error at the root of a store's error, such as `StorageFull`.
pub fn io_error_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.root().display())
    }
}

#[async_trait]
impl ObjectStore for DiskStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(not_implemented("a put with attributes"));
        }
        let placing = match options.mode {
            PutMode::Overwrite => Placing::Replace,
            PutMode::Create => Placing::Create,
            PutMode::Update(_) => return Err(not_implemented("a put on condition of a version")),
        };
        let (files, location) = (Arc::clone(&self.files), location.clone());
        blocking(move || files.put(&location, &payload, placing)).await?;
        Ok(put_result())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(not_implemented("a put with attributes"));
        }
        let (files, location) = (Arc::clone(&self.files), location.clone());
        let upload = blocking(move || upload::Upload::begin(files, location)).await?;
        Ok(Box::new(upload))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (file, meta) = self.files.open(location)?;
        options.check_preconditions(&meta)?;
        let range = match options.range {
            Some(range) => range.as_range(meta.size).map_err(|source| generic(source.into()))?,
            None => 0..meta.size,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else if range.end - range.start <= STREAM_CHUNK_BYTES {
            let bytes = read_where_fit(&self.files, file, location, range.clone()).await?;
            stream::once(async move { Ok(bytes) }).boxed()
        } else {
            chunks(Arc::clone(&self.files), file, location.clone(), range.clone())
        };
        Ok(GetResult { payload: GetResultPayload::Stream(payload), meta, range, attributes: Default::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let total: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        if total <= INLINE_READ_BYTES_MAX {
            return self.files.read_ranges(location, ranges);
        }
        let (files, location, ranges) = (Arc::clone(&self.files), location.clone(), ranges.to_vec());
        blocking(move || files.read_ranges(&location, &ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let files = Arc::clone(&self.files);
        locations
            .chunks(DELETES_PER_SYNC)
            .then(move |locations| {
                let files = Arc::clone(&files);
                async move {
                    let deleted = blocking(move || Ok(files.delete(locations))).await;
                    stream::iter(deleted.unwrap_or_else(|error| vec![Err(error)]))
                }
            })
            .flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(Arc::clone(&self.files), prefix.cloned().unwrap_or_default(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(Arc::clone(&self.files), prefix.cloned().unwrap_or_default(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (files, prefix) = (Arc::clone(&self.files), prefix.cloned().unwrap_or_default());
        blocking(move || files.list_folder(&prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let placing = match options.mode {
            CopyMode::Overwrite => Placing::Replace,
            CopyMode::Create => Placing::Create,
        };
        let (files, from, to) = (Arc::clone(&self.files), from.clone(), to.clone());
        blocking(move || files.copy(&from, &to, placing)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let placing = match options.target_mode {
            RenameTargetMode::Overwrite => Placing::Replace,
            RenameTargetMode::Create => Placing::Create,
        };
        let (files, from, to) = (Arc::clone(&self.files), from.clone(), to.clone());
        blocking(move || files.rename(&from, &to, placing)).await
    }
}

/// Everything under a prefix, sorted, listed when it is first asked for.
fn listed(files: Arc<Files>, prefix: Path, offset: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
    let found = blocking(move || files.list_tree(&prefix, offset.as_ref()));
    stream::once(found).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
}

/// The bytes of a range in steps, for objects that are too large to read at once.
fn chunks(
    files: Arc<Files>,
    file: Arc<dyn DiskFile>,
    location: Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold(range, move |left| {
        let (files, file, location) = (Arc::clone(&files), Arc::clone(&file), location.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + STREAM_CHUNK_BYTES);
            let bytes = read_where_fit(&files, file, &location, left.start..end).await?;
            Ok(Some((bytes, end..left.end)))
        }
    })
    .boxed()
}

async fn read_where_fit(
    files: &Arc<Files>,
    file: Arc<dyn DiskFile>,
    location: &Path,
    range: Range<u64>,
) -> Result<Bytes> {
    if range.end - range.start <= INLINE_READ_BYTES_MAX {
        return files.read(file.as_ref(), location, range);
    }
    let (files, location) = (Arc::clone(files), location.clone());
    blocking(move || files.read(file.as_ref(), &location, range)).await
}

/// Runs blocking work on the runtime's blocking threads; in place where there is no runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(|error| generic(error.into()))?,
        Err(_) => work(),
    }
}

fn put_result() -> PutResult {
    PutResult { e_tag: None, version: None }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: STORE, source }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_string(), implementer: STORE.to_string() }
}

#[cfg(test)]
mod tests;
