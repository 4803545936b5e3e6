//! A prefix of an object store as a place of deliveries.
//!
//! Invariant: an object is read under the tag that it was listed with, so that its bytes are of one content.

use std::io;
use std::sync::Arc;

use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};

use super::{ENTRIES_MAX, FeedError, FoundFile, Listing, Print, Sender, changed};
use crate::delivery::Piece;

/// A store, seen from its prefix.
#[derive(Clone)]
pub struct StoreFiles {
    store: Arc<dyn ObjectStore>,
    label: String,
}

impl std::fmt::Debug for StoreFiles {
    /// The store's own form may show its credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreFiles").field("label", &self.label).finish_non_exhaustive()
    }
}

impl StoreFiles {
    pub(super) fn new(store: Arc<dyn ObjectStore>, label: String) -> Self {
        Self { store, label }
    }

    pub(super) async fn list(&self) -> Result<Listing, FeedError> {
        let listed = self.store.list_with_delimiter(None).await;
        let listed = listed.map_err(|source| FeedError::Store { place: self.label.clone(), source })?;
        if listed.objects.len() > ENTRIES_MAX {
            return Err(FeedError::TooMany { place: self.label.clone() });
        }
        let found = |object: object_store::ObjectMeta| {
            let name = object.location.filename()?.to_owned();
            let modified_us = object.last_modified.timestamp_micros();
            let tag = object.e_tag.map(Into::into);
            Some(FoundFile { name, print: Print { bytes: object.size, modified_us, tag } })
        };
        Ok(Listing { files: listed.objects.into_iter().filter_map(found).collect(), refused: Vec::new() })
    }

    /// Sends the bytes of objects, the end of each said.
    pub(super) async fn send(&self, files: &[FoundFile], sender: &Sender) {
        for (index, file) in files.iter().enumerate() {
            let end = if index + 1 == files.len() { Piece::End } else { Piece::NextFile };
            let sent = self.send_one(file, sender).await.map(|()| end);
            let failed = sent.is_err();
            if sender.send(sent).await.is_err() || failed {
                return;
            }
        }
    }

    async fn send_one(&self, file: &FoundFile, sender: &Sender) -> io::Result<()> {
        let options =
            GetOptions { if_match: file.print.tag.as_deref().map(ToOwned::to_owned), ..GetOptions::default() };
        let got = self.store.get_opts(&Path::from(file.name.as_str()), options).await.map_err(in_words)?;
        let mut stream = got.into_stream();
        let mut left = file.print.bytes;
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(in_words)?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(changed)?;
            if sender.send(Ok(Piece::Bytes(bytes))).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        if left == 0 { Ok(()) } else { Err(changed()) }
    }
}

/// A store's own words may quote a URL with what is secret in it.
fn in_words(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. } => changed(),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::Error::new(io::ErrorKind::PermissionDenied, "the store refuses to give it; see to the credentials")
        }
        _ => io::Error::new(io::ErrorKind::TimedOut, "the store did not give all of it; it is read again"),
    }
}
