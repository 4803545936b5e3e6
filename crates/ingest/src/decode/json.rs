//! JSON records straight into Arrow columns, by contract.

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_contract::Contract;
use vitalake_contract::contract::quarantine_schema;

use super::{DecodeError, Decoded, RecordMeta};

/// Decodes JSON records, one object each, into batches of rows and rejects.
#[derive(Debug)]
pub struct JsonDecoder {
    contract: Arc<Contract>,
}

impl JsonDecoder {
    /// A decoder for a raw dataset's records. `_topic` is the contract's topic, or `feed/{dataset}` for a feed.
    #[must_use]
    pub fn new(contract: Arc<Contract>) -> Self {
        Self { contract }
    }

    /// Takes one record; `None` is a record without a value (a tombstone), which is a reject.
    pub fn append(&mut self, value: Option<&[u8]>, meta: RecordMeta) {
        let _ = (value, meta);
    }

    /// How many records were taken since the last `finish`.
    #[must_use]
    pub fn records(&self) -> usize {
        0
    }

    /// How many bytes of values are held since the last `finish`. Callers finish well before 2 GiB.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }

    /// Gives the rows and rejects of the records taken so far, and begins anew.
    ///
    /// # Errors
    /// When Arrow or the contract's rules refuse the columns as a whole.
    pub fn finish(&mut self) -> Result<Decoded, DecodeError> {
        Ok(Decoded {
            rows: RecordBatch::new_empty(self.contract.table_schema()),
            rejects: RecordBatch::new_empty(quarantine_schema()),
            warnings: Vec::new(),
            errors: Vec::new(),
            fatal: Vec::new(),
        })
    }
}
