//! Where the book is kept between processes: in the lake, whole, one numbered object after the other.
//!
//! A new number is put only where it is not taken, so that of two processes that both believe that they are the owner
//! one finds the other's (docs/decisions/0015). Invariant: once `save` has returned, the next process finds that book.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use super::book::Book;

/// The folder of the books, beside the tables.
const FOLDER: &str = "alerts";
/// Numbers that are left behind the newest: whoever is reading one finds it.
const KEPT: u64 = 3;
/// The largest book that is read.
const BYTES_MAX: u64 = 64 << 20;

/// Why a book was not read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store failed.
    #[error("the state of the alerts could not be {what}; it is tried again")]
    Store {
        /// `read` or `kept`.
        what: &'static str,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The store took too long.
    #[error("the state of the alerts was not kept in time; it is tried again")]
    Slow,
    /// Another process has kept a newer one.
    #[error("another process has written the state of the alerts: this one takes it up")]
    Superseded,
    /// What is there is no book.
    #[error("the state of the alerts in {path} cannot be read; remove the file to begin without it")]
    Unreadable {
        /// The object.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A lake's books.
#[derive(Debug)]
pub struct Keeper {
    store: Arc<dyn ObjectStore>,
    version: u64,
    /// Tells what this one has put from what others have: a put that failed may have come about.
    writer: String,
}

/// A book as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    writer: String,
    book: Book,
}

impl Keeper {
    /// The books of a store, and the newest of them.
    ///
    /// # Errors
    /// [`KeepError`] but `Superseded`.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<(Self, Book), KeepError> {
        let (version, kept) = newest(&store).await?;
        let writer = uuid::Uuid::new_v4().to_string();
        Ok((Self { store, version, writer }, kept.map(|kept| kept.book).unwrap_or_default()))
    }

    /// Where the books lie.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Keeps a book.
    ///
    /// # Errors
    /// `Superseded` when another process has kept one since; `Store` when it is not known to be kept.
    pub async fn save(&mut self, book: &Book) -> Result<(), KeepError> {
        let kept = Kept { writer: self.writer.clone(), book: book.clone() };
        let bytes = serde_json::to_vec(&kept);
        let bytes = bytes.map_err(|source| KeepError::Unreadable { path: FOLDER.to_owned(), source })?;
        if !self.put(&bytes).await? {
            // What stands there may be our own, of a put that seemed to fail.
            let (version, found) = newest(&self.store).await?;
            if found.is_none_or(|found| found.writer != self.writer) {
                return Err(KeepError::Superseded);
            }
            self.version = version;
            if !self.put(&bytes).await? {
                return Err(KeepError::Superseded);
            }
        }
        if let Some(old) = self.version.checked_sub(KEPT).filter(|old| *old > 0) {
            // One that stays is found by nobody; the next start reads the newest.
            let _gone = self.store.delete(&place(old)).await;
        }
        Ok(())
    }

    /// Puts the next number; false where it is taken.
    async fn put(&mut self, bytes: &[u8]) -> Result<bool, KeepError> {
        let next = self.version + 1;
        let only_where_none_is = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&place(next), PutPayload::from(bytes.to_vec()), only_where_none_is).await {
            Ok(_) => {
                self.version = next;
                Ok(true)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(KeepError::Store { what: "kept", source }),
        }
    }
}

/// The newest book of a store and its number; 0 where there is none.
async fn newest(store: &Arc<dyn ObjectStore>) -> Result<(u64, Option<Kept>), KeepError> {
    let failed = |source| KeepError::Store { what: "read", source };
    let listed = store.list_with_delimiter(Some(&Path::from(FOLDER))).await.map_err(failed)?;
    let version = listed.objects.iter().filter_map(|object| number(&object.location)).max().unwrap_or(0);
    if version == 0 {
        return Ok((0, None));
    }
    let path = place(version);
    let found = store.get(&path).await.map_err(failed)?;
    if found.meta.size > BYTES_MAX {
        let source = serde::de::Error::custom("it is larger than any book");
        return Err(KeepError::Unreadable { path: path.to_string(), source });
    }
    let bytes = found.bytes().await.map_err(failed)?;
    let kept = serde_json::from_slice(&bytes);
    Ok((version, Some(kept.map_err(|source| KeepError::Unreadable { path: path.to_string(), source })?)))
}

fn place(version: u64) -> Path {
    Path::from(format!("{FOLDER}/{version:020}.json"))
}

fn number(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn the_next_process_finds_the_newest_book_and_of_two_owners_one_is_superseded() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (mut first, book) = Keeper::open(Arc::clone(&store)).await.unwrap();
        assert_eq!(book, Book::default());
        let named = |name: &str| Book {
            ledgers: std::iter::once((name.to_owned(), super::super::book::Ledger::default())).collect(),
            ..Book::default()
        };
        for name in ["a", "b", "c", "d", "e"] {
            first.save(&named(name)).await.unwrap();
        }
        let (mut second, book) = Keeper::open(Arc::clone(&store)).await.unwrap();
        assert_eq!(book, named("e"));
        second.save(&named("f")).await.unwrap();
        assert!(matches!(first.save(&named("g")).await, Err(KeepError::Superseded)));
        let (_, book) = Keeper::open(Arc::clone(&store)).await.unwrap();
        assert_eq!(book, named("f"));
        let left = store.list_with_delimiter(Some(&Path::from(FOLDER))).await.unwrap().objects.len();
        assert_eq!(left as u64, KEPT);
    }
}
