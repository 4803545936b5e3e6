//! An object that is written in parts: the parts go to a temporary file, which gets its name when all are there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use vitalake_runtime::disk::DiskFile;

use super::files::{self, Files, Placing};
use super::{blocking, generic, put_result};

/// An upload under way. Dropped without `complete`, it leaves nothing.
#[derive(Debug)]
pub(super) struct Upload {
    files: Arc<Files>,
    location: Path,
    file: Arc<dyn DiskFile>,
    /// `None` once completed or aborted.
    temporary: Option<PathBuf>,
    position: u64,
    written_bytes: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn begin(files: Arc<Files>, location: Path) -> Result<Self> {
        let (temporary, file) = files.begin(&location)?;
        let written_bytes = Arc::new(AtomicU64::new(0));
        Ok(Self { files, location, file, temporary: Some(temporary), position: 0, written_bytes })
    }

    fn take_temporary(&mut self) -> Result<PathBuf> {
        self.temporary.take().ok_or_else(|| generic("the upload is already completed or aborted".into()))
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let position = self.position;
        let length = payload.content_length() as u64;
        self.position += length;
        let (file, location) = (Arc::clone(&self.file), self.location.clone());
        let written_bytes = Arc::clone(&self.written_bytes);
        blocking(move || {
            files::write(file.as_ref(), &payload, position).map_err(|error| files::failed(error, &location))?;
            written_bytes.fetch_add(length, Ordering::SeqCst);
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let temporary = self.take_temporary()?;
        let is_whole = self.written_bytes.load(Ordering::SeqCst) == self.position;
        let (files, file, location) = (Arc::clone(&self.files), Arc::clone(&self.file), self.location.clone());
        blocking(move || {
            let written =
                if is_whole { file.sync_data() } else { Err(io::Error::other("a part of the upload is missing")) };
            files.finish(&location, &temporary, Placing::Replace, written)
        })
        .await?;
        Ok(put_result())
    }

    async fn abort(&mut self) -> Result<()> {
        let temporary = self.take_temporary()?;
        self.files.discard(&temporary);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.files.discard(&temporary);
        }
    }
}
