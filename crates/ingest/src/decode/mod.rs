//! Decoders: bytes that arrived become rows of a raw dataset and rejects of its quarantine, as its contract says.
//!
//! Landing feeds [`JsonDecoder`] with the records of a log; a delivery goes through [`decode_delivery`]. Both fill the
//! same columns and keep the same rules. Invariant: every record becomes one row or one reject, in the order in which
//! it came, and a bad record changes nothing for its neighbours.

mod again;
mod blocks;
mod bundle;
mod columns;
mod csv;
mod delivery;
mod document;
mod envelope;
mod fhir;
mod file_form;
mod finish;
mod first_bytes;
mod header;
mod input;
mod json;
mod number;
mod open;
mod path;
mod plan;
mod records;
mod refused;
mod request;
mod rescue;
mod rows;
mod sample;
mod scan;
mod spool;
mod typed;

use std::sync::Arc;

use arrow::array::RecordBatch;
use vitalake_contract::Contract;
use vitalake_contract::check::{CheckError, SqlRules};

pub use again::{Redecoded, Redecoder};
pub use delivery::{DeliveryDecoder, DeliveryTotals, Misfit, decode_delivery};
pub use envelope::Envelope;
pub use fhir::ResourceTotals;
pub use json::JsonDecoder;
pub use refused::DeliveryError;
pub use request::{BodyForm, Rejected};
pub(crate) use request::{Found, Picked, SplitLimits, Unsplit, pick, split};
pub use sample::{Sampled, read_sample};
pub use typed::{TypedField, read_parquet_fields};
pub use vitalake_contract::DeliveryFormat;

/// The name of the rule that a record breaks when it is not one JSON object.
pub const RULE_JSON: &str = "json";
/// The name of the rule that a record without a value breaks: a tombstone.
pub const RULE_TOMBSTONE: &str = "tombstone";
/// The name of the rule that a line breaks when it is not a line of the file's header.
pub const RULE_CSV: &str = "csv";
/// The name of the rule that a record breaks when it is no FHIR resource of which the contract's view makes rows.
pub const RULE_FHIR: &str = "fhir";
/// The name of the rule of a batch of records that cannot be read; its bytes are no record's.
pub const RULE_BATCH: &str = "batch";
/// The name of the rule of records that the source's retention removed before they were read; there are no bytes.
pub const RULE_RETENTION: &str = "retention";

/// A contract, with its rules in SQL where somebody compiled them: what decoders are made from.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) contract: Arc<Contract>,
    pub(crate) sql: Option<Arc<dyn SqlRules>>,
}

impl Rules {
    /// A contract with the compiled form of its rules in SQL.
    #[must_use]
    pub fn new(contract: Arc<Contract>, sql: Option<Arc<dyn SqlRules>>) -> Self {
        Self { contract, sql }
    }
}

impl From<Arc<Contract>> for Rules {
    fn from(contract: Arc<Contract>) -> Self {
        Self { contract, sql: None }
    }
}

/// Where a record stands and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// The partition of the topic; for a delivery its number.
    pub partition: i32,
    /// The record's offset in the partition; for a delivery the row's number from 0.
    pub offset: i64,
    /// The record's own time in ms since 1970 UTC; `None` where it has none (Kafka's -1).
    pub timestamp_ms: Option<i64>,
    /// The log's append time in ms since 1970 UTC.
    pub ingested_at_ms: i64,
}

/// What a batch of records became.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows that keep the contract, in the shape of `Contract::table_schema()`.
    pub rows: RecordBatch,
    /// The records that do not, in the shape of `quarantine_schema()`, in the order in which they came.
    pub rejects: RecordBatch,
    /// Rows (kept) that break a rule of severity warning: the rule's index in `Contract::row_rules` and how many.
    pub warnings: Vec<(usize, u64)>,
    /// The same for rules of severity error. Those rows are rejects.
    pub errors: Vec<(usize, u64)>,
    /// The same for rules of severity fatal. Those rows are rejects too; whoever promotes or delivers stops here.
    pub fatal: Vec<(usize, u64)>,
    /// Records that are not one JSON object.
    pub not_json: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// The first record that breaks a rule of severity fatal, where the batch was cut before it: its offset and the
    /// rule's name.
    pub stopped_at: Option<(i64, String)>,
    /// Values of rows (kept) that did not fit their column, are null and were rescued: the column's index and how many.
    pub misfits: Vec<(usize, u64)>,
}

/// Why a batch could not be made at all. No record causes this; a wrong contract or a batch that is too large does.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Arrow refused the columns.
    #[error("the batch of dataset {dataset} could not be built; decode fewer records at a time")]
    Build {
        /// The dataset.
        dataset: String,
        /// Arrow's reason.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The rules do not fit the columns.
    #[error("the rules of dataset {dataset} could not be checked")]
    Check {
        /// The dataset.
        dataset: String,
        /// The rule and the column.
        #[source]
        source: CheckError,
    },
}

#[cfg(test)]
mod tests;
