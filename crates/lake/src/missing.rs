//! Files that a table names and that are not there, noted where a read meets them: a query, a model or compaction.
//!
//! Every read goes through one store, so they are noted there. Invariant: what is noted is only a hint; what counts is
//! whether the pinned value still names the file.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parking_lot::Mutex;

use crate::catalogue::{Catalogue, TableId};

/// More are not remembered: one is enough to act on.
const NOTED_MAX: usize = 1_000;

/// What reads did not find.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missing(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    any: AtomicBool,
    paths: Mutex<BTreeSet<Path>>,
}

impl Missing {
    /// The files that a value names and that reads have not found, with their tables.
    pub(crate) fn named_by(&self, catalogue: &Catalogue) -> Vec<(TableId, Path)> {
        if !self.0.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let noted = self.0.paths.lock();
        let of = |view: &crate::catalogue::TableView| {
            let published = view.published.iter().flat_map(|head| head.files());
            let files =
                view.head.files().chain(published).chain(&view.tail.early).map(|file| file.location(&view.root));
            let missing = files.filter(|location| noted.contains(location));
            missing.map(|location| (view.id.clone(), location)).collect::<BTreeSet<_>>()
        };
        catalogue.tables().flat_map(|view| of(view)).collect()
    }

    fn note<T>(&self, location: &Path, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Err(Error::NotFound { .. }) if location.extension() == Some("parquet") => {
                let mut paths = self.0.paths.lock();
                if paths.len() < NOTED_MAX {
                    paths.insert(location.clone());
                    self.0.any.store(true, Ordering::Release);
                }
            }
            // It is there again.
            Ok(_) if self.0.any.load(Ordering::Acquire) => {
                let mut paths = self.0.paths.lock();
                paths.remove(location);
                self.0.any.store(!paths.is_empty(), Ordering::Release);
            }
            _ => {}
        }
        outcome
    }
}

/// A store that notes which files were asked for in vain.
pub(crate) struct NotingStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) missing: Missing,
}

impl fmt::Debug for NotingStore {
    /// The store's own form may show its credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NotingStore({})", self.store)
    }
}

impl fmt::Display for NotingStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(formatter)
    }
}

#[async_trait]
impl ObjectStore for NotingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.missing.note(location, self.store.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.missing.note(location, self.store.get_ranges(location, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store.rename_opts(from, to, options).await
    }
}
