//! Where a feed's files lie, which of them are complete and new, and their bytes.
//!
//! A place is listed, [`Looks`] says what of the listing is a delivery now, and the place gives its bytes in the form that
//! [`crate::delivery`] takes. Nothing here knows contracts or schedules, and nothing is ever written or removed in a
//! place. Invariant: a file that changes while it is read has no end.

mod folder;
mod looks;
mod objects;

use std::io;
use std::sync::Arc;

use object_store::ObjectStore;
use tokio::sync::mpsc;
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::delivery::{MANIFEST_BYTES_MAX, Piece, Pieces};

pub use folder::FolderFiles;
pub use looks::{Arrival, Look, Looks, Taken};
pub use objects::StoreFiles;

/// The most entries of a place that are looked at.
pub const ENTRIES_MAX: usize = 200_000;
/// Pieces of a file that wait for the decoder.
const PIECES_WAITING_MAX: usize = 4;

/// Why a place could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The folder is not there, or may not be read.
    #[error("the folder {folder} cannot be read: {}", in_words(source))]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store refused, or does not answer.
    #[error("{place} cannot be listed")]
    Store {
        /// The store and its prefix.
        place: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// There are more entries than are looked at.
    #[error("{place} has more than {ENTRIES_MAX} entries; move what has been delivered away")]
    TooMany {
        /// The folder or store.
        place: String,
    },
    /// The manifest beside a file could not be read.
    #[error("the manifest {name} cannot be read to its end")]
    Manifest {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process ends.
    #[error("looking into {place} was stopped")]
    Stopped {
        /// The folder or store.
        place: String,
    },
}

/// What a person does about a folder that cannot be read.
fn in_words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there; mount it or make it again, and the feed goes on",
        io::ErrorKind::PermissionDenied => "this user may not; give it the right to read and enter it",
        io::ErrorKind::NotADirectory => "it is a file; name a folder",
        _ => "the system refuses; see to the disk or the mount",
    }
}

impl Classified for FeedError {
    fn class(&self) -> Class {
        match self {
            Self::TooMany { .. } => Class::User,
            _ => Class::External,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Later
    }
}

/// What tells one content of a name from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Print {
    /// Its length.
    pub bytes: u64,
    /// When it was last written, in microseconds since 1970.
    pub modified_us: i64,
    /// What the store calls this content, where it does.
    pub tag: Option<Arc<str>>,
}

/// A file of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its content as far as it is known.
    pub print: Print,
}

/// What lies in a place.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The files.
    pub files: Vec<FoundFile>,
    /// What is no file to be read, and why.
    pub refused: Vec<(String, &'static str)>,
}

/// Where a feed's files lie.
#[derive(Clone, Debug)]
pub enum Files {
    /// A folder of this machine.
    Folder(FolderFiles),
    /// A prefix of an object store.
    Store(StoreFiles),
}

impl Files {
    /// A store with what it is called in messages, without a credential.
    #[must_use]
    pub fn store(store: Arc<dyn ObjectStore>, label: String) -> Self {
        Self::Store(StoreFiles::new(store, label))
    }

    /// What lies there now.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn list(&self) -> Result<Listing, FeedError> {
        match self {
            Self::Folder(folder) => folder.list().await,
            Self::Store(store) => store.list().await,
        }
    }

    /// The manifest beside a file, `NAME.manifest.json` or `NAME.ctl`, as far as one may reach; none where there is none.
    /// Where what was listed lacks it, it is looked for once more: it may have come since.
    ///
    /// # Errors
    /// When the place cannot be looked at, or the manifest cannot be read.
    pub async fn manifest(&self, name: &str, listed: &Listing) -> Result<Option<Vec<u8>>, FeedError> {
        let names = [format!("{name}.manifest.json"), format!("{name}.ctl")];
        let beside = |listing: &Listing| listing.files.iter().find(|file| names.contains(&file.name)).cloned();
        let found = match beside(listed) {
            Some(found) => Some(found),
            None => beside(&self.list().await?),
        };
        let Some(found) = found else { return Ok(None) };
        let (name, mut bytes, mut pieces) = (found.name.clone(), Vec::new(), self.read(vec![found]));
        while let Some(piece) = pieces.recv().await {
            match piece {
                Ok(Piece::Bytes(more)) if bytes.len() <= MANIFEST_BYTES_MAX => bytes.extend_from_slice(&more),
                Ok(_) => break,
                Err(source) => return Err(FeedError::Manifest { name, source }),
            }
        }
        Ok(Some(bytes))
    }

    /// The bytes of files, one after the other. Give them up by dropping the pieces.
    #[must_use]
    pub fn read(&self, files: Vec<FoundFile>) -> Pieces {
        let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
        match self.clone() {
            Self::Folder(folder) => drop(tokio::task::spawn_blocking(move || folder.send(&files, &sender))),
            Self::Store(store) => drop(tokio::spawn(async move { store.send(&files, &sender).await })),
        }
        pieces
    }
}

/// Where the bytes of files go.
type Sender = mpsc::Sender<io::Result<Piece>>;

/// What is said of a file that is not what it was when it was looked at.
fn changed() -> io::Error {
    io::Error::other("it was changed while it was read; nothing of it was loaded, and it is taken once it stands still")
}
