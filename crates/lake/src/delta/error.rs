//! What can go wrong with a Delta table, and what the caller may do about it.
//!
//! Invariant: no message and no source carries a value of a record. Statistics hold such values, so the parsers'
//! own errors are reduced to a place and a category before they get here.

use vitalake_runtime::error::{Class, Classified, Retry};

use super::TableVersion;
use crate::refusal::Refused;

/// A failure of a Delta table's log, its checkpoints or its Parquet files.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The object store refused or failed.
    #[error("could not {action} {path}")]
    Store {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's path in the store.
        path: String,
        /// The store's own error.
        #[source]
        source: object_store::Error,
    },
    /// A commit file does not hold Delta actions.
    #[error("{path} line {line} is not a delta action ({reason}): restore the file from a copy")]
    InvalidCommit {
        /// The commit file.
        path: String,
        /// The line in it, from 1.
        line: usize,
        /// The parser's category and column.
        reason: String,
    },
    /// A checkpoint cannot be used.
    #[error(
        "checkpoint {path} cannot be read ({reason}): remove it when the log before it is still there, else restore it from a copy"
    )]
    InvalidCheckpoint {
        /// The checkpoint file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A commit that must be there is not.
    #[error("the log of {table} has no version {missing} but newer ones: restore _delta_log/{missing:020}.json from a copy", missing = missing.0)]
    MissingVersion {
        /// The table's root.
        table: String,
        /// The first version that is missing.
        missing: TableVersion,
    },
    /// The log has commits and neither schema nor protocol.
    #[error(
        "the log of {table} has no {what} action: it is not a whole delta table: restore its _delta_log from a copy"
    )]
    Incomplete {
        /// The table's root.
        table: String,
        /// The action that is missing.
        what: &'static str,
    },
    /// The table uses something of Delta that is not supported here.
    #[error("{table} uses the delta feature {feature}, which is not supported: rewrite the table without it")]
    UnsupportedFeature {
        /// The table's root, or the file.
        table: String,
        /// The feature's name in the protocol.
        feature: String,
    },
    /// A column has a type that is not supported.
    #[error(
        "column {column} has the type {kind}, which is not supported: use string, binary, long, integer, double, float, boolean, date or timestamp"
    )]
    UnsupportedType {
        /// The column's name.
        column: String,
        /// The type, in Delta's or Arrow's words.
        kind: String,
    },
    /// A schema string is not one.
    #[error("the schema of {table} is not valid ({reason})")]
    InvalidSchema {
        /// The table's root.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// A Parquet file cannot be written or read.
    #[error("parquet file {path} failed")]
    Parquet {
        /// The file.
        path: String,
        /// The codec's own error.
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    /// Rows do not have the shape that the file or table wants.
    #[error("rows for {path} do not fit its schema")]
    Arrow {
        /// The file.
        path: String,
        /// Arrow's own error.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The engine failed while files were sorted.
    #[error("could not sort the rows of {table}")]
    Sort {
        /// The table's root.
        table: String,
        /// The engine's own error.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    /// History before a version was cleaned up.
    #[error("{table} has no commit file for version {version} any more: it was cleaned up, start again from a snapshot", version = version.0)]
    HistoryCleaned {
        /// The table's root.
        table: String,
        /// The version that was wanted.
        version: TableVersion,
    },
    /// Another commit already carries this `txn` or a later one.
    #[error("transaction {app_id} of {table} is already at {committed}: reload and go on from there")]
    TxnSuperseded {
        /// The table's root.
        table: String,
        /// The transaction's id.
        app_id: String,
        /// The version that the table has.
        committed: i64,
    },
    /// Another writer changed what the commit was planned on.
    #[error("version {version} of {table} changed its {what}: reload and plan the commit again", version = version.0)]
    ConcurrentChange {
        /// The table's root.
        table: String,
        /// The commit that did it.
        version: TableVersion,
        /// `metadata`, `protocol`, `rows` or `head`.
        what: &'static str,
    },
    /// A file to remove is not in the table (any more).
    #[error("{path} is not a live file of {table}: reload and plan the commit again")]
    FileNotLive {
        /// The table's root.
        table: String,
        /// The file.
        path: String,
    },
    /// The table is append-only and the commit removes data.
    #[error("{table} is append-only (delta.appendOnly): data may not be removed from it")]
    AppendOnly {
        /// The table's root.
        table: String,
    },
    /// Others won the race for the next version too often.
    #[error("{attempts} versions of {table} in a row went to other writers: try again later")]
    Contended {
        /// The table's root.
        table: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// It is not known whether the commit took place.
    #[error("it is not known whether version {version} of {table} was committed: reload and compare the transaction", version = version.0)]
    CommitUnknown {
        /// The table's root.
        table: String,
        /// The version that was tried.
        version: TableVersion,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

impl DeltaError {
    pub(crate) fn store(action: &'static str, path: &object_store::path::Path, source: object_store::Error) -> Self {
        Self::Store { action, path: path.to_string(), source }
    }

    pub(crate) fn parquet(path: impl ToString, source: ::parquet::errors::ParquetError) -> Self {
        Self::Parquet { path: path.to_string(), source }
    }

    pub(crate) fn arrow(path: impl ToString, source: arrow::error::ArrowError) -> Self {
        Self::Arrow { path: path.to_string(), source }
    }
}

impl Classified for DeltaError {
    fn class(&self) -> Class {
        self.verdict().0
    }

    fn retry(&self) -> Retry {
        self.verdict().1
    }
}

impl DeltaError {
    /// Whose fault it is and whether the same call may succeed later, in one table.
    fn verdict(&self) -> (Class, Retry) {
        match self {
            // An object that is asked for and not there is no error of its own: what is not found here is its container,
            // which can be made while it is waited for.
            Self::Store { source: object_store::Error::NotFound { .. }, .. }
            | Self::CommitUnknown { source: object_store::Error::NotFound { .. }, .. } => (Class::User, Retry::Later),
            Self::Store { source, .. } | Self::CommitUnknown { source, .. } => of_store(source),
            Self::AppendOnly { .. } | Self::UnsupportedFeature { .. } | Self::UnsupportedType { .. } => {
                (Class::User, Retry::Never)
            }
            // A log that is broken stays so until somebody restores it.
            Self::InvalidCommit { .. }
            | Self::InvalidCheckpoint { .. }
            | Self::MissingVersion { .. }
            | Self::Incomplete { .. }
            | Self::InvalidSchema { .. } => (Class::External, Retry::Never),
            // The caller has to reload first: the same call fails again.
            Self::HistoryCleaned { .. } | Self::TxnSuperseded { .. } | Self::FileNotLive { .. } => {
                (Class::External, Retry::Never)
            }
            Self::ConcurrentChange { .. } | Self::Contended { .. } => (Class::External, Retry::Later),
            Self::Parquet { source, .. } => of_cause(source).unwrap_or((Class::External, Retry::Never)),
            Self::Arrow { source, .. } => of_cause(source).unwrap_or((Class::Internal, Retry::Never)),
            Self::Sort { source, .. } => of_cause(source.as_ref()).unwrap_or((Class::External, Retry::Later)),
        }
    }
}

/// What the store's own error in a chain of causes says; `None` where there is none.
fn of_cause(error: &(dyn std::error::Error + 'static)) -> Option<(Class, Retry)> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| {
        let of_disk = || cause.downcast_ref::<std::io::Error>().map(of_io);
        let of_delta = || cause.downcast_ref::<DeltaError>().map(DeltaError::verdict);
        cause.downcast_ref::<object_store::Error>().map(of_store).or_else(of_delta).or_else(of_disk)
    })
}

/// What a failure of the store means. Throttling, server errors and time-outs have no kind of their own: they may pass.
/// So may a refusal of who asks: a role is given, a firewall opened, a folder's rights set, while it is asked again.
fn of_store(error: &object_store::Error) -> (Class, Retry) {
    use object_store::Error;
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    if causes.any(|cause| cause.is::<Refused>()) {
        return (Class::User, Retry::Never);
    }
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (Class::User, Retry::Later),
        Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. }
        | Error::UnknownConfigurationKey { .. } => (Class::Internal, Retry::Never),
        // A file may be brought back, and is waited for.
        _ => (Class::External, Retry::Later),
    }
}

fn of_io(error: &std::io::Error) -> (Class, Retry) {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => (Class::User, Retry::Later),
        _ => (Class::External, Retry::Later),
    }
}
