//! Where a lake lies: a folder of this machine, or a container of ADLS Gen2 or Azure Blob Storage.
//!
//! Both come out as the one `ObjectStore` that every reader and writer of the lake uses. On Azure a commit is a put on
//! condition that the name is free, so that no lock table is needed. Invariant: no message here holds a credential.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::ObjectStore;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::health::Health;

#[cfg(feature = "azure")]
use crate::cached::CachedStore;
use crate::store::DiskStore;

/// After so long without a write, a file that a put has begun in a shared folder belongs to nobody.
const LEFT_FOR_GOOD: Duration = Duration::from_secs(24 * 3600);

/// Where a lake lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageUrl {
    /// A folder.
    Folder {
        /// Where it is.
        root: PathBuf,
        /// Whether other processes may write there too.
        shared: bool,
    },
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX` or `az://CONTAINER/PREFIX`.
    Azure(String),
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
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
    fn empty(&self) -> Result<(), StorageError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let source = object_store::Error::Generic { store: "cache", source: error.into() };
                Err(StorageError::Store {
                    attempt: "emptying the cache",
                    place: self.folder.display().to_string(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Why a URL is refused in which a secret may stand.
fn may_hold_a_secret(url: &str) -> Option<&'static str> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let names_container = matches!(scheme, "abfss" | "abfs");
    if rest.contains('?') {
        return Some(
            "it may have no query (what begins with `?`): give a SAS token as AZURE_STORAGE_SAS_TOKEN in the environment",
        );
    }
    if rest.contains('#') {
        return Some("it may have no fragment (what begins with `#`)");
    }
    if path.contains(['@', '%', '&', ';']) {
        return Some(
            "its path may hold no `@`, `%`, `&` or `;`: credentials belong into the environment (docs/azure.md)",
        );
    }
    match authority.rsplit_once('@') {
        Some((container, _)) if names_container && !container.contains([':', '@']) => None,
        None if !authority.contains(':') || authority.starts_with('[') => None,
        _ => Some("it may name no user and no password: credentials belong into the environment (docs/azure.md)"),
    }
}

/// A store and what is known of its use; both are `None` for a folder.
#[derive(Clone)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// What it was asked.
    pub requests: Option<Arc<Requests>>,
    /// Whether it answers.
    pub health: Option<Health>,
}

impl fmt::Debug for Opened {
    /// The store's own form may show its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("store", &self.store.to_string()).finish_non_exhaustive()
    }
}

/// Whether a URL names a container of Azure, in whatever build.
#[must_use]
pub fn names_azure(url: &str) -> bool {
    matches!(url.split_once("://"), Some(("abfss" | "abfs" | "az" | "azure", _)))
}

impl StorageUrl {
    /// The place that `storage.url` names; `None` stands for the data folder.
    ///
    /// # Errors
    /// When the URL has a scheme that is not supported, this build lacks it, or it has a part that may be a secret: such
    /// a URL would be shown, and become part of the names of objects.
    pub fn parse(url: Option<&str>, data: &std::path::Path) -> Result<Self, StorageError> {
        // What lies in the data folder is this process's alone, by the folder's lock.
        let folder = |root: PathBuf| Self::Folder { shared: !root.starts_with(data), root };
        let Some(url) = url else { return Ok(folder(data.to_path_buf())) };
        if let Some(reason) = may_hold_a_secret(url) {
            // Where the secret ends is not known: nothing of what follows the scheme is shown.
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            return Err(StorageError::Wrong { url: format!("{scheme}://***"), reason: reason.to_owned() });
        }
        let wrong = |reason: &str| StorageError::Wrong { url: url.to_owned(), reason: reason.to_owned() };
        match url.split_once("://") {
            None => Ok(folder(PathBuf::from(url))),
            Some(("file", path)) if path.starts_with('/') => Ok(folder(PathBuf::from(path))),
            Some(_) if names_azure(url) && cfg!(feature = "azure") => Ok(Self::Azure(url.to_owned())),
            Some(_) if names_azure(url) => {
                Err(wrong("this binary was built without Azure storage; build it with --features azure"))
            }
            Some(_) => Err(wrong("give a folder, or a URL that begins with abfss:// or az://")),
        }
    }

    /// The store at this place. Nothing is asked of a remote one yet.
    ///
    /// # Errors
    /// When files of an interrupted put cannot be removed, or the URL and the credentials do not fit.
    pub async fn open(&self, disk: &Arc<dyn Disk>, cache: &Cache, health: Health) -> Result<Opened, StorageError> {
        match self {
            Self::Folder { root, shared } => {
                let store = DiskStore::new(Arc::clone(disk), root);
                // Another process may be writing in a folder that is not this one's alone.
                store.sweep_temporary(shared.then_some(LEFT_FOR_GOOD)).await.map_err(|source| StorageError::Store {
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
                Err(StorageError::Wrong { url: url.clone(), reason })
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
        for (url, want, shared) in [
            (None, "/data", false),
            (Some("/data/tables"), "/data/tables", false),
            (Some("/lake"), "/lake", true),
            (Some("file:///lake"), "/lake", true),
        ] {
            assert_eq!(StorageUrl::parse(url, data).unwrap(), StorageUrl::Folder { root: want.into(), shared });
        }
    }

    #[rstest::rstest]
    #[case::query("az://c/p?sv=2024&sig=HUNTER2")]
    #[case::query_without_path("az://c?sig=HUNTER2")]
    #[case::fragment("az://c/p#HUNTER2")]
    #[case::password("abfss://c:HUNTER2@a.dfs.core.windows.net/p")]
    #[case::password_with_a_slash("abfss://user:HUN/HUNTER2@a.dfs.core.windows.net/p")]
    #[case::user("az://HUNTER2@c/p")]
    #[case::two_users("abfss://HUNTER2@c@a.dfs.core.windows.net/p")]
    #[case::encoded_query("az://c/p%3Fsv=2024%26sig=HUNTER2")]
    #[case::connection_string("az://c/AccountName=a;AccountKey=HUNTER2")]
    #[case::port_or_password("az://c:HUNTER2")]
    #[case::unknown_scheme("s3://key:HUNTER2@bucket/x?sig=HUNTER2")]
    #[case::file("file:///lake?sig=HUNTER2")]
    fn a_url_that_may_hold_a_secret_is_refused_and_not_shown(#[case] url: &str) {
        let error = StorageUrl::parse(Some(url), Path::new("/data")).unwrap_err();
        let mut said = format!("{error:?}\n{error:#?}\n{}", vitalake_runtime::error::in_full(&error));
        said.make_ascii_uppercase();
        assert!(!said.contains("HUN") && said.contains("STORAGE.URL"), "{said}");
    }

    #[cfg(feature = "azure")]
    #[rstest::rstest]
    #[case("abfss://lake@account.dfs.core.windows.net/a/b-c_d=1.x")]
    #[case("az://lake/a")]
    #[case("az://lake")]
    fn a_url_that_names_a_place_alone_is_taken(#[case] url: &str) {
        assert_eq!(StorageUrl::parse(Some(url), Path::new("/data")).unwrap(), StorageUrl::Azure(url.to_owned()));
    }
}
