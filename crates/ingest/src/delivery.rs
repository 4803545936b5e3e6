//! A delivered file → the same decoders and rules as a stream → one atomic commit.
//!
//! The file is decoded while it comes in; its rows are written as files that nothing names, and one commit makes all of
//! them the delivery. It is known by its content: the same bytes again are the same delivery. Invariant: a delivery is
//! taken whole or not at all, and its rejects are in quarantine before its rows are in the table.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use vitalake_contract::Delivery;
use vitalake_contract::check::SqlRules;
use vitalake_lake::{DataFile, DeliveredFiles, LakeError, Table, TxnId};

use crate::decode::{Decoded, DeliveryError, DeliveryFormat, DeliveryTotals, Rules, decode_delivery};

/// Decoded rows that wait, in bytes of memory, before they become a file.
const FILE_BYTES_IN_MEMORY: usize = 64 << 20;

/// Why a delivery was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The file as a whole cannot be taken.
    #[error(transparent)]
    File(#[from] DeliveryError),
    /// A rule of severity fatal was broken.
    #[error(
        "{rows} rows of the delivery of {dataset} break the rule {rule}, whose severity is fatal; nothing of it was loaded: correct the file and deliver it again"
    )]
    Fatal {
        /// The dataset.
        dataset: String,
        /// The rule's name.
        rule: String,
        /// How many rows break it.
        rows: u64,
    },
    /// It would leave the dataset empty.
    #[error(
        "the delivery would replace {dataset} by nothing: no row of it is good, and {rejects} break a rule; what was there stays"
    )]
    Empty {
        /// The dataset.
        dataset: String,
        /// How many rows break a rule.
        rejects: u64,
    },
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The platform is shutting down.
    #[error("the delivery of {0} was stopped; deliver it again")]
    Stopped(String),
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its number.
    pub number: i64,
    /// The content's SHA-256, in hex.
    pub sha256: String,
    /// Whether the same content had been loaded before; nothing was done then.
    pub known: bool,
    /// What it held.
    pub totals: DeliveryTotals,
    /// The version of the table that holds it.
    pub version: i64,
}

/// The bytes of a file on their way in; an error is said by whoever sends.
pub type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// Takes one delivery. Deliveries of one dataset come one after the other: the caller holds a lock per dataset, and runs
/// this in a task that outlives the request.
///
/// # Errors
/// When the file, the table or the store refuses; nothing of the delivery is in the table then.
pub async fn deliver(
    table: &Arc<Table>,
    sql: Option<Arc<dyn SqlRules>>,
    name: &str,
    format: DeliveryFormat,
    chunks: Chunks,
    now_ms: i64,
) -> Result<Delivered, DeliverError> {
    let dataset = table.contract().dataset.to_string();
    let app_id = TxnId::delivery(&dataset);
    let number = table.committed_txn(&app_id).max(table.rejects_txn(&app_id)).unwrap_or(0) + 1;
    let (sender, mut decoded) = mpsc::channel(2);
    let rules = Rules::new(Arc::clone(table.contract()), sql);
    let partition = i32::try_from(number).unwrap_or(i32::MAX);
    let decoding = tokio::task::spawn_blocking(move || {
        let mut reader = HashingReader::new(chunks);
        let mut decoder = decode_delivery(rules, format, &mut reader, partition, now_ms);
        for batch in decoder.by_ref() {
            if sender.blocking_send(batch).is_err() {
                break;
            }
        }
        let totals = decoder.totals();
        drop(decoder);
        (totals, reader.finish())
    });
    let mut files = Files::default();
    while let Some(batch) = decoded.recv().await {
        files.take(table, batch?).await?;
    }
    files.write(table).await?;
    let (totals, sha256) = decoding.await.map_err(|_| DeliverError::Stopped(dataset.clone()))?;
    let content_id = TxnId::delivered_content(&dataset, &sha256);
    let replace = table.contract().delivery == Delivery::Replace;
    // Of a dataset that is replaced, only the delivery that is in place now is there already.
    let in_place = |known: &i64| !replace || table.committed_txn(&app_id) == Some(*known);
    if let Some(known) = table.committed_txn(&content_id).filter(in_place) {
        return Ok(Delivered {
            number: known,
            sha256,
            known: true,
            totals,
            version: i64::try_from(table.head().version().0).unwrap_or(i64::MAX),
        });
    }
    let rejected_before = table.rejects_txn(&content_id) > table.committed_txn(&content_id);
    if replace && totals.rows == 0 {
        return Err(DeliverError::Empty { dataset, rejects: totals.rejects });
    }
    let info = BTreeMap::from([
        ("vitalakeDelivery".to_owned(), number.to_string()),
        ("vitalakeDeliveryName".to_owned(), name.to_owned()),
        ("vitalakeDeliverySha256".to_owned(), sha256.clone()),
    ]);
    let version = table
        .deliver(DeliveredFiles {
            rows: files.rows,
            rejects: if rejected_before { Vec::new() } else { files.rejects },
            replace,
            txns: vec![(app_id, number), (content_id, number)],
            info,
        })
        .await?;
    Ok(Delivered { number, sha256, known: false, totals, version })
}

/// Decoded rows on their way into files.
#[derive(Default)]
struct Files {
    rows: Vec<Arc<DataFile>>,
    rejects: Vec<Arc<DataFile>>,
    waiting_rows: Vec<RecordBatch>,
    waiting_rejects: Vec<RecordBatch>,
    bytes: usize,
}

impl Files {
    async fn take(&mut self, table: &Table, decoded: Decoded) -> Result<(), DeliverError> {
        if let Some((rule, rows)) = decoded.fatal.first() {
            let rule = table.contract().row_rules.get(*rule).map_or_else(String::new, |r| r.name.clone());
            return Err(DeliverError::Fatal { dataset: table.contract().dataset.to_string(), rule, rows: *rows });
        }
        self.bytes += decoded.rows.get_array_memory_size() + decoded.rejects.get_array_memory_size();
        self.waiting_rows.push(decoded.rows);
        self.waiting_rejects.push(decoded.rejects);
        if self.bytes >= FILE_BYTES_IN_MEMORY { self.write(table).await } else { Ok(()) }
    }

    async fn write(&mut self, table: &Table) -> Result<(), DeliverError> {
        self.rows.extend(table.write_rows(std::mem::take(&mut self.waiting_rows)).await?);
        self.rejects.extend(table.write_rejects(std::mem::take(&mut self.waiting_rejects)).await?);
        self.bytes = 0;
        Ok(())
    }
}

/// Bytes as they come, hashed on the way.
struct HashingReader {
    chunks: Chunks,
    current: Bytes,
    hash: Sha256,
}

impl HashingReader {
    fn new(chunks: Chunks) -> Self {
        Self { chunks, current: Bytes::new(), hash: Sha256::new() }
    }

    /// The hash of everything, in hex; what the decoder did not ask for is read to its end.
    fn finish(mut self) -> String {
        let mut sink = [0_u8; 8192];
        while self.read(&mut sink).is_ok_and(|n| n > 0) {}
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => {
                    self.current = chunk?;
                    self.hash.update(&self.current);
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        let taken = self.current.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&taken);
        }
        Ok(count)
    }
}
