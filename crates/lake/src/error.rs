//! What can go wrong in the lake, in one place.
//!
//! Every variant says what was attempted on which table; the source holds why. Display never prints its source.

use vitalake_contract::DatasetName;
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::catalogue::TableId;
use crate::delta::FilePath;
use crate::gate::HoldReason;
use crate::txn::TxnId;

/// A failure of the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The Delta log could not be read or written.
    #[error("{attempt} of {table} failed")]
    Delta {
        /// What was attempted: `commit`, `open`, …
        attempt: &'static str,
        /// On which table.
        table: TableId,
        /// Why.
        #[source]
        source: crate::delta::DeltaError,
    },
    /// Rows could not be written as Parquet, or read back.
    #[error("{attempt} of {table} failed")]
    Parquet {
        /// What was attempted.
        attempt: &'static str,
        /// On which table.
        table: TableId,
        /// Why.
        #[source]
        source: crate::delta::DeltaError,
    },
    /// The stored table and its contract do not fit.
    #[error(
        "the contract of {table} no longer fits the table that is there: {reason}; give the dataset a new name, or the contract its old form back"
    )]
    ContractChanged {
        /// The table.
        table: TableId,
        /// What differs: names and types only.
        reason: String,
    },
    /// A batch whose columns are not the table's was handed over.
    #[error("rows for {table} do not have its columns: {reason}")]
    WrongColumns {
        /// The table.
        table: TableId,
        /// What differs.
        reason: String,
    },
    /// No such dataset in this project.
    #[error("there is no dataset {0}; `vitalake datasets` lists them")]
    NoSuchDataset(DatasetName),
    /// A table that another process makes or changes is not there, or not as the contract wants it.
    #[error(
        "{0} is not there yet as its contract says; the process that writes it makes it at its start (docs/operations.md)"
    )]
    NotThereYet(TableId),
    /// The workers that compute ended first.
    #[error("{attempt} of {table} was interrupted")]
    Interrupted {
        /// What was attempted.
        attempt: &'static str,
        /// On which table.
        table: TableId,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The lake was closed: nothing is committed any longer.
    #[error("{attempt} of {table} was stopped: the lake is closed")]
    Stopped {
        /// What was attempted.
        attempt: &'static str,
        /// On which table.
        table: TableId,
    },
    /// Another process has taken over what this one was doing.
    #[error("another process commits to {table} what this one was about to: begin anew from the tables")]
    LeaseLost {
        /// The table.
        table: TableId,
    },
    /// The source under a table is another than the one that was read.
    #[error("what was read for {table} is not committed: its source has changed; begin anew from the tables")]
    SourceChanged {
        /// The table.
        table: TableId,
    },
    /// Another process was first with a delivery.
    #[error("{txn} of {table} is at {committed} already: another process delivered meanwhile; take the next number")]
    Superseded {
        /// The table.
        table: TableId,
        /// The transaction.
        txn: TxnId,
        /// Its version in the table.
        committed: i64,
    },
    /// A file to replace is not in the table.
    #[error("file {path} is not in {table} any longer: something else rewrote the table; begin anew from it")]
    FileNotInHead {
        /// The table.
        table: TableId,
        /// The file.
        path: FilePath,
    },
    /// The table's gate holds the commit; nothing of it is in the table.
    #[error("a commit of {table} is held by its gate ({}): its last version stays what readers see", in_words(.reasons))]
    Held {
        /// The table.
        table: TableId,
        /// Why: every rule that it does not pass.
        reasons: Vec<HoldReason>,
    },
}

impl Classified for LakeError {
    fn class(&self) -> Class {
        self.verdict().0
    }

    fn retry(&self) -> Retry {
        self.verdict().1
    }
}

impl LakeError {
    /// Whose fault it is and whether the same call may succeed later, in one table.
    fn verdict(&self) -> (Class, Retry) {
        match self {
            Self::Delta { source, .. } | Self::Parquet { source, .. } => (source.class(), source.retry()),
            Self::ContractChanged { .. } | Self::NoSuchDataset(_) => (Class::User, Retry::Never),
            Self::WrongColumns { .. } => (Class::Internal, Retry::Never),
            Self::NotThereYet(_) | Self::Held { .. } => (Class::External, Retry::Later),
            Self::Interrupted { .. } => (Class::Internal, Retry::Later),
            Self::Stopped { .. } => (Class::Internal, Retry::Never),
            Self::LeaseLost { .. }
            | Self::SourceChanged { .. }
            | Self::Superseded { .. }
            | Self::FileNotInHead { .. } => (Class::External, Retry::Never),
        }
    }
}

fn in_words(reasons: &[HoldReason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
