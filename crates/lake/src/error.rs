//! What can go wrong in the lake, in one place.
//!
//! Every variant says what was attempted on which table; the source holds why. Display never prints its source.

use vitalake_contract::DatasetName;

use crate::catalogue::TableId;

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
    /// A task of the platform ended before it answered.
    #[error("{0} was stopped before it was done")]
    Stopped(&'static str),
}

impl vitalake_runtime::error::Classified for LakeError {
    fn class(&self) -> vitalake_runtime::error::Class {
        use vitalake_runtime::error::Class;
        match self {
            Self::ContractChanged { .. } | Self::NoSuchDataset(_) => Class::User,
            Self::Delta { .. } | Self::Parquet { .. } | Self::NotThereYet(_) => Class::External,
            Self::WrongColumns { .. } | Self::Interrupted { .. } | Self::Stopped(_) => Class::Internal,
        }
    }

    fn retry(&self) -> vitalake_runtime::error::Retry {
        use vitalake_runtime::error::Retry;
        match self {
            Self::Delta { .. } | Self::Parquet { .. } | Self::NotThereYet(_) | Self::Interrupted { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}
