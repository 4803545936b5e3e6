//! A store in memory whose commits fail, wait or lose their answer, and whose reads fail, when a test says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes place.
    Passed,
    /// It fails and does not take place.
    Refused,
    /// It takes place and is reported as failed.
    Unanswered,
}

#[derive(Debug)]
pub struct Unruly {
    /// What is beneath, for other writers.
    pub inner: Arc<InMemory>,
    /// What becomes of the next commits.
    pub fates: Mutex<VecDeque<Fate>>,
    /// Whether every commit is refused.
    pub is_away: AtomicBool,
    /// What cannot be read.
    pub unreadable: Mutex<Option<Path>>,
    /// What was read.
    pub reads: Mutex<Vec<Path>>,
    /// Told whenever a commit is about to take place.
    pub arrived: Notify,
    /// Commits wait for a permit here.
    pub permits: Semaphore,
}

impl Unruly {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(InMemory::new()),
            fates: Mutex::default(),
            is_away: AtomicBool::new(false),
            unreadable: Mutex::default(),
            reads: Mutex::default(),
            arrived: Notify::new(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Lets no commit pass until a permit is added.
    pub fn stop_commits(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }
}

fn failure() -> Error {
    Error::Generic { store: "unruly", source: "the server is busy".into() }
}

impl std::fmt::Display for Unruly {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("unruly")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Unruly {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if location.extension() != Some("json") {
            return self.inner.put_opts(location, payload, options).await;
        }
        self.arrived.notify_one();
        self.permits.acquire().await.unwrap().forget();
        let fate = self.fates.lock().pop_front();
        if self.is_away.load(Ordering::SeqCst) || fate == Some(Fate::Refused) {
            return Err(failure());
        }
        let put = self.inner.put_opts(location, payload, options).await;
        if put.is_ok() && fate == Some(Fate::Unanswered) { Err(failure()) } else { put }
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.lock().push(location.clone());
        if self.unreadable.lock().as_ref() == Some(location) {
            return Err(failure());
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
