//! Held deliveries: bytes that came, and nothing of them is in a table until somebody decides.
//!
//! `staged/{dataset}/deliveries/{id}` has the bytes as they came, `{id}.json` beside it what is known of them. The bytes
//! are durable before the JSON is there, and the JSON goes before them: what has no JSON is not held. Invariant: a delivery
//! that is said to be held can be released, whatever is killed, whenever.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use uuid::Uuid;
use vitalake_contract::DatasetName;

use super::delivered::Verdict;
use super::expected::Expected;
use super::{Piece, Pieces};
use crate::decode::DeliveryFormat;

/// Bytes of a file that stay in memory until it is known whether it is held.
const BYTES_IN_MEMORY: usize = 8 << 20;
/// How long bytes without their JSON are left: another process may be about to write it.
const ORPHANS_KEPT_MS: i64 = 24 * 3_600_000;

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLimits {
    /// Deliveries.
    pub deliveries_max: usize,
    /// Their bytes in all.
    pub bytes_max: u64,
}

impl Default for HeldLimits {
    fn default() -> Self {
        Self { deliveries_max: 100, bytes_max: 16 << 30 }
    }
}

/// Why something could not be held, or what is held not be read.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// The store refused.
    #[error("{attempt} of a held delivery of {dataset} failed")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// The dataset.
        dataset: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// So much is held already.
    #[error(
        "the delivery of {dataset} cannot be held: {deliveries} deliveries of {bytes} bytes are held already, and no more are kept; release or reject some of them, and deliver the file again"
    )]
    Full {
        /// The dataset.
        dataset: String,
        /// How many are held.
        deliveries: usize,
        /// Their bytes.
        bytes: u64,
    },
}

/// A delivery that is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// What it is known by.
    #[serde(with = "super::text")]
    pub id: Uuid,
    /// The dataset that it is for.
    pub dataset: String,
    /// The feed that brought it.
    #[serde(default)]
    pub feed: Option<String>,
    /// The file's name.
    pub name: String,
    /// Its form.
    pub format: DeliveryFormat,
    /// The day that it stands for.
    #[serde(default, with = "super::text::maybe")]
    pub business_date: Option<NaiveDate>,
    /// The content's SHA-256, in hex.
    pub sha256: String,
    /// The file's bytes.
    pub bytes: u64,
    /// Where it is several files: after how many bytes each of them but the last ends.
    #[serde(default)]
    pub ends: Vec<u64>,
    /// Records in it.
    pub records: u64,
    /// Rows that keep the contract's rules.
    pub rows: u64,
    /// Those that would go to quarantine.
    pub rejects: u64,
    /// When it came, milliseconds since 1970.
    pub since_ms: i64,
    /// Why it is held.
    pub why: Vec<Verdict>,
    /// What its sender said that it holds.
    #[serde(default)]
    pub expected: Option<Expected>,
    /// The delivery that was in the place that it would take, when it came.
    #[serde(default)]
    pub instead_of: Option<i64>,
}

impl Held {
    /// Why, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        self.why.iter().map(Verdict::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Everything that is held in one store.
#[derive(Debug)]
pub struct HeldDeliveries {
    store: Arc<dyn ObjectStore>,
    datasets: Vec<DatasetName>,
    limits: HeldLimits,
    /// As of the last look, by dataset.
    known: Mutex<BTreeMap<String, Vec<Held>>>,
    /// One at a time is added, since there is a limit.
    adding: tokio::sync::Mutex<()>,
    /// One at a time is decided.
    deciding: tokio::sync::Mutex<()>,
}

impl HeldDeliveries {
    /// Of these datasets in a store, as much as the limits allow.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, datasets: Vec<DatasetName>, limits: HeldLimits) -> Self {
        Self {
            store,
            datasets,
            limits,
            known: Mutex::default(),
            adding: Default::default(),
            deciding: Default::default(),
        }
    }

    /// The datasets that may have some.
    #[must_use]
    pub fn datasets(&self) -> &[DatasetName] {
        &self.datasets
    }

    /// The one of an id, wherever it is.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn find(&self, id: Uuid) -> Result<Option<Held>, HeldError> {
        for dataset in &self.datasets {
            if let Some(found) = self.list(dataset).await?.into_iter().find(|held| held.id == id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Those of a dataset, as the store has them now, oldest first.
    ///
    /// # Errors
    /// When the store refuses. What cannot be understood is left out, and said in the log.
    pub async fn list(&self, dataset: &DatasetName) -> Result<Vec<Held>, HeldError> {
        let failed = |source| HeldError::Store { attempt: "the listing", dataset: dataset.to_string(), source };
        let listed = self.store.list(Some(&folder(dataset.as_str())));
        let names: Vec<Path> = listed.map_ok(|meta| meta.location).try_collect().await.map_err(failed)?;
        let mut held = Vec::new();
        for name in names.into_iter().filter(|name| name.extension() == Some("json")) {
            let bytes = match self.store.get(&name).await {
                Ok(found) => found.bytes().await.map_err(failed)?,
                // Somebody has decided meanwhile.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(source) => return Err(failed(source)),
            };
            match serde_json::from_slice::<Held>(&bytes) {
                Ok(found) if found.dataset == dataset.as_str() => held.push(found),
                _ => {
                    tracing::error!(%dataset, file = %name, "what is known of a held delivery cannot be read: look at the file")
                }
            }
        }
        held.sort_by_key(|held| (held.since_ms, held.id));
        self.known.lock().insert(dataset.to_string(), held.clone());
        Ok(held)
    }

    /// Those of a dataset, as of the last look.
    #[must_use]
    pub fn known(&self, dataset: &str) -> Vec<Held> {
        self.known.lock().get(dataset).cloned().unwrap_or_default()
    }

    /// Removes bytes that nobody said to be held, and that nobody is writing.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn clean(&self, dataset: &DatasetName, now_ms: i64) -> Result<usize, HeldError> {
        let failed = |source| HeldError::Store { attempt: "the clean-up", dataset: dataset.to_string(), source };
        let listed: Vec<_> = self.store.list(Some(&folder(dataset.as_str()))).try_collect().await.map_err(failed)?;
        let has_json = |path: &Path| listed.iter().any(|meta| meta.location.as_ref() == format!("{path}.json"));
        let is_orphan = |meta: &&object_store::ObjectMeta| {
            meta.location.extension().is_none()
                && !has_json(&meta.location)
                && meta.last_modified.timestamp_millis() < now_ms - ORPHANS_KEPT_MS
        };
        let orphans: Vec<Path> = listed.iter().filter(is_orphan).map(|meta| meta.location.clone()).collect();
        for orphan in &orphans {
            self.store.delete(orphan).await.map_err(failed)?;
        }
        Ok(orphans.len())
    }

    /// The bytes of one, as they came.
    #[must_use]
    pub fn pieces(&self, held: &Held) -> Pieces {
        let (sender, pieces) = mpsc::channel(4);
        let (store, location) = (Arc::clone(&self.store), data(&held.dataset, held.id));
        let mut ends: VecDeque<u64> = held.ends.iter().copied().collect();
        tokio::spawn(async move {
            let read = async {
                let (mut bytes, mut at) = (store.get(&location).await?.into_stream(), 0);
                while let Some(next) = bytes.next().await {
                    for piece in in_files(next?, &mut at, &mut ends) {
                        if sender.send(Ok(piece)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                let _ = sender.send(Ok(Piece::End)).await;
                Ok::<_, object_store::Error>(())
            };
            if let Err(error) = read.await {
                let _ = sender.send(Err(io::Error::other(error))).await;
            }
        });
        pieces
    }

    /// The turn to decide about what is held: one at a time.
    pub async fn turn_to_decide(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.deciding.lock().await
    }

    /// Forgets one, for good. Say first what became of it.
    ///
    /// # Errors
    /// When the store refuses; it is held as before, or its bytes are cleaned later.
    pub async fn forget(&self, held: &Held) -> Result<(), HeldError> {
        let failed = |source| HeldError::Store { attempt: "the removal", dataset: held.dataset.clone(), source };
        for path in [json(&held.dataset, held.id), data(&held.dataset, held.id)] {
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        if let Some(known) = self.known.lock().get_mut(&held.dataset) {
            known.retain(|other| other.id != held.id);
        }
        Ok(())
    }

    /// A place for the bytes of a file that may have to be held.
    pub(super) fn spool(&self, dataset: &str) -> Spool {
        let id = Uuid::now_v7();
        let writer = BufWriter::with_capacity(Arc::clone(&self.store), data(dataset, id), BYTES_IN_MEMORY);
        Spool { id, writer, bytes: 0, ends: Vec::new() }
    }

    /// Holds what was spooled, where there is room.
    pub(super) async fn hold(&self, mut spool: Spool, held: Held) -> Result<(), HeldError> {
        let _one_at_a_time = self.adding.lock().await;
        let (mut deliveries, mut bytes) = (0, 0);
        for dataset in &self.datasets {
            for other in self.list(dataset).await? {
                deliveries += 1;
                bytes += other.bytes;
            }
        }
        if deliveries >= self.limits.deliveries_max || bytes.saturating_add(held.bytes) > self.limits.bytes_max {
            spool.give_up().await;
            return Err(HeldError::Full { dataset: held.dataset, deliveries, bytes });
        }
        let failed = |attempt, source| HeldError::Store { attempt, dataset: held.dataset.clone(), source };
        let of_io = |source: io::Error| failed("the keeping", generic(source));
        spool.writer.shutdown().await.map_err(of_io)?;
        let said = serde_json::to_vec_pretty(&held).map_err(|source| failed("the description", generic(source)))?;
        let put = self.store.put(&json(&held.dataset, held.id), PutPayload::from(said)).await;
        put.map_err(|source| failed("the description", source))?;
        self.known.lock().entry(held.dataset.clone()).or_default().push(held);
        Ok(())
    }
}

/// Bytes that begin after so many, with the ends of the files that lie in them.
fn in_files(mut bytes: Bytes, at: &mut u64, ends: &mut VecDeque<u64>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some(end) = ends.front().copied().filter(|end| *end <= *at + bytes.len() as u64) {
        let before = usize::try_from(end.saturating_sub(*at)).unwrap_or(usize::MAX).min(bytes.len());
        pieces.push(Piece::Bytes(bytes.split_to(before)));
        pieces.push(Piece::NextFile);
        *at += before as u64;
        ends.pop_front();
    }
    *at += bytes.len() as u64;
    pieces.push(Piece::Bytes(bytes));
    pieces.retain(|piece| !matches!(piece, Piece::Bytes(bytes) if bytes.is_empty()));
    pieces
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "held deliveries", source: Box::new(source) }
}

fn folder(dataset: &str) -> Path {
    Path::from_iter(["staged", dataset, "deliveries"])
}

fn data(dataset: &str, id: Uuid) -> Path {
    folder(dataset).join(id.to_string())
}

fn json(dataset: &str, id: Uuid) -> Path {
    folder(dataset).join(format!("{id}.json"))
}

/// Bytes that may have to be held.
pub(super) struct Spool {
    pub(super) id: Uuid,
    writer: BufWriter,
    bytes: u64,
    /// After how many bytes each file but the last ends.
    pub(super) ends: Vec<u64>,
}

impl Spool {
    /// Nothing of it is kept.
    pub(super) async fn give_up(&mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "bytes of a delivery stay until they are cleaned"
            );
        }
    }

    /// Passes pieces on and keeps their bytes; none where the file did not come to its end.
    pub(super) async fn pass(mut self, mut from: Pieces, to: mpsc::Sender<io::Result<Piece>>) -> Option<Self> {
        while let Some(piece) = from.recv().await {
            let piece = match piece {
                Ok(Piece::Bytes(bytes)) => match self.writer.write_all(&bytes).await {
                    Ok(()) => {
                        self.bytes += bytes.len() as u64;
                        Ok(Piece::Bytes(bytes))
                    }
                    Err(error) => Err(error),
                },
                Ok(Piece::NextFile) => {
                    self.ends.push(self.bytes);
                    Ok(Piece::NextFile)
                }
                piece => piece,
            };
            let (ended, failed) = (matches!(piece, Ok(Piece::End)), piece.is_err());
            let gone = to.send(piece).await.is_err();
            if ended && !gone {
                return Some(self);
            }
            if failed || gone {
                break;
            }
        }
        self.give_up().await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_files_are_where_they_were_however_the_bytes_come() {
        let all = b"one,two-three";
        for size in 1..=all.len() {
            let (mut at, mut ends) = (0, VecDeque::from([0, 4, 4, 8]));
            let pieces: Vec<Piece> =
                all.chunks(size).flat_map(|chunk| in_files(Bytes::from_static(chunk), &mut at, &mut ends)).collect();
            let mut files = vec![Vec::new()];
            for piece in pieces {
                match piece {
                    Piece::Bytes(bytes) => files.last_mut().into_iter().for_each(|file| file.extend_from_slice(&bytes)),
                    Piece::NextFile => files.push(Vec::new()),
                    Piece::End => {}
                }
            }
            let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
            assert_eq!(files, [b"".as_slice(), b"one,", b"", b"two-", b"three"], "{size}");
        }
    }
}
