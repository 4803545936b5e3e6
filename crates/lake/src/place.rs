//! Where a lake lies: a folder of this machine, or a container of ADLS Gen2 or Azure Blob Storage.
//!
//! Both come out as the one `ObjectStore` that every reader and writer of the lake uses. On Azure a commit is a put on
//! condition that the name is free, so that no lock table is needed. Invariant: no message here holds a credential.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use vitalake_runtime::config::masked_url;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::health::Health;

#[cfg(feature = "azure")]
use crate::cached::CachedStore;
use crate::store::DiskStore;

/// Where a lake lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX` or `az://CONTAINER/PREFIX`.
    Azure(String),
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The URL or what belongs to it is wrong.
    #[error("storage.url {url}: {reason}")]
    Wrong {
        /// The URL, without what may be secret in it.
        url: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The store refused, or could not be asked.
    #[error("{attempt} at {place} failed")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// Counts what a remote store is asked, by kind of request; retries count too.
#[derive(Debug, Default)]
pub struct Requests {
    counts: [AtomicU64; RequestKind::ALL.len()],
    /// Answers that asked to come back later (429 and 503).
    pub throttled: AtomicU64,
    /// Bytes of bodies that were sent.
    pub bytes_sent: AtomicU64,
    /// Bytes of bodies that came back.
    pub bytes_received: AtomicU64,
}

/// Kinds of request, as an operator is billed for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A whole object was written.
    Put,
    /// An object was written on condition that its name was free: a commit.
    PutIfAbsent,
    /// A block of a large object, or their list.
    Block,
    /// Bytes of an object were read.
    Get,
    /// An object's size and date were asked for.
    Head,
    /// Names were listed.
    List,
    /// An object was deleted.
    Delete,
    /// A token was asked for, or anything else.
    Other,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Put, Self::PutIfAbsent, Self::Block, Self::Get, Self::Head, Self::List, Self::Delete, Self::Other];

    /// Its name as a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutIfAbsent => "put_if_absent",
            Self::Block => "block",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

impl Requests {
    /// How many there were of a kind.
    #[must_use]
    pub fn count(&self, kind: RequestKind) -> u64 {
        self.counts.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    #[cfg(feature = "azure")]
    pub(crate) fn add(&self, kind: RequestKind) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where files of a remote lake are kept on this machine, and how many bytes of them.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The folder; its content is removed at start.
    pub folder: PathBuf,
    /// The most bytes.
    pub bytes_max: u64,
}

impl Cache {
    /// What an earlier process left may be torn.
    #[cfg(feature = "azure")]
    fn empty(&self) -> Result<(), PlaceError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let source = object_store::Error::Generic { store: "cache", source: error.into() };
                Err(PlaceError::Store {
                    attempt: "emptying the cache",
                    place: self.folder.display().to_string(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}

/// A store and what is known of its use; both are `None` for a folder.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// What it was asked.
    pub requests: Option<Arc<Requests>>,
    /// Whether it answers.
    pub health: Option<Health>,
}

impl Place {
    /// The place that `storage.url` names; `None` stands for the data folder.
    ///
    /// # Errors
    /// When the URL has a scheme that is not supported, or this build lacks it.
    pub fn parse(url: Option<&str>, data: &std::path::Path) -> Result<Self, PlaceError> {
        let Some(url) = url else { return Ok(Self::Folder(data.to_path_buf())) };
        let wrong = |reason: &str| PlaceError::Wrong { url: masked_url(url), reason: reason.to_owned() };
        match url.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(url))),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Folder(PathBuf::from(path))),
            Some(("abfss" | "abfs" | "az" | "azure", _)) if cfg!(feature = "azure") => Ok(Self::Azure(url.to_owned())),
            Some(("abfss" | "abfs" | "az" | "azure", _)) => {
                Err(wrong("this binary was built without Azure storage; build it with --features azure"))
            }
            Some(_) => Err(wrong("give a folder, or a URL that begins with abfss:// or az://")),
        }
    }

    /// The store at this place. Nothing is asked of a remote one yet.
    ///
    /// # Errors
    /// When files of an interrupted put cannot be removed, or the URL and the credentials do not fit.
    pub async fn open(&self, disk: &Arc<dyn Disk>, cache: &Cache, health: Health) -> Result<Opened, PlaceError> {
        match self {
            Self::Folder(root) => {
                let store = DiskStore::new(Arc::clone(disk), root);
                store.sweep_temporary().await.map_err(|source| PlaceError::Store {
                    attempt: "removing files that an earlier stop left",
                    place: root.display().to_string(),
                    source,
                })?;
                Ok(Opened { store: Arc::new(store), requests: None, health: None })
            }
            #[cfg(feature = "azure")]
            Self::Azure(url) => {
                let mut opened = crate::azure::open(url, health)?;
                cache.empty()?;
                // Where nothing is kept, a part of a file is asked for as a part.
                if cache.bytes_max > 0 {
                    let here = DiskStore::new(Arc::clone(disk), &cache.folder);
                    opened.store = Arc::new(CachedStore::new(opened.store, here, cache.bytes_max));
                }
                Ok(opened)
            }
            #[cfg(not(feature = "azure"))]
            Self::Azure(url) => {
                drop((health, cache));
                let reason = "this binary was built without Azure storage".to_owned();
                Err(PlaceError::Wrong { url: masked_url(url), reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    #[test]
    fn a_folder_is_a_folder_however_it_is_written() {
        let data = Path::new("/data");
        for (url, want) in [(None, "/data"), (Some("/lake"), "/lake"), (Some("file:///lake"), "/lake")] {
            assert_eq!(Place::parse(url, data).unwrap(), Place::Folder(want.into()));
        }
    }

    #[test]
    fn a_refusal_holds_no_secret() {
        let error = Place::parse(Some("s3://key:secret@bucket/x?sig=abc"), Path::new("/data")).unwrap_err().to_string();
        assert!(error.contains("s3://") && !error.contains("secret") && !error.contains("abc"), "{error}");
    }
}
