//! What can go wrong in the lake, in one place.
//!
//! Every variant says what was attempted on which table; the source holds why. Display never prints its source.

use vitalake_contract::DatasetName;
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::books::Balance;
use crate::catalogue::TableId;
use crate::delta::{FilePath, TableVersion};
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
    /// The dataset's table could not be opened when the lake was.
    #[error("{table} is not open: {reason}")]
    NotOpen {
        /// The table.
        table: TableId,
        /// Why, and what to do.
        reason: String,
    },
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
    /// What was offered to a table and what is to be committed do not agree.
    #[error(
        "an epoch of {table} is not committed, because its books do not balance ({balance}): rows were lost or made up on the way. Nothing is lost for good: it is taken up anew from its source when the server is started again; report it with these counts"
    )]
    Unbalanced {
        /// The table.
        table: TableId,
        /// The counts.
        balance: Balance,
    },
    /// Another writer has committed to a gated table since what is staged was made.
    #[error(
        "version {version} of {table} is another writer's and changes its rows or columns: what is staged does not know of it and is not published over it"
    )]
    ForeignCommit {
        /// The table.
        table: TableId,
        /// The first such version.
        version: TableVersion,
    },
    /// Files that a staged log names are gone.
    #[error("{files} of the staged files of {table} are gone, {first} among them")]
    StagedFilesGone {
        /// The table.
        table: TableId,
        /// How many.
        files: usize,
        /// One of them.
        first: FilePath,
    },
    /// What was to be published is no longer in the staged log.
    #[error("version {version} of what is staged for {table} can no longer be read")]
    StagedVersionGone {
        /// The table.
        table: TableId,
        /// The version.
        version: i64,
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
    /// Whether a file was to be read that is not there any longer.
    #[must_use]
    pub fn is_file_gone(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(object_store::Error::NotFound { .. }) = error.downcast_ref::<object_store::Error>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Whose fault it is and whether the same call may succeed later, in one table.
    fn verdict(&self) -> (Class, Retry) {
        match self {
            Self::Delta { source, .. } | Self::Parquet { source, .. } => (source.class(), source.retry()),
            Self::ContractChanged { .. } | Self::NotOpen { .. } | Self::NoSuchDataset(_) => (Class::User, Retry::Never),
            Self::WrongColumns { .. } | Self::Unbalanced { .. } => (Class::Internal, Retry::Never),
            Self::NotThereYet(_)
            | Self::ForeignCommit { .. }
            | Self::StagedFilesGone { .. }
            | Self::StagedVersionGone { .. } => (Class::External, Retry::Later),
            Self::Interrupted { .. } => (Class::Internal, Retry::Later),
            Self::Stopped { .. } => (Class::Internal, Retry::Never),
            Self::LeaseLost { .. }
            | Self::SourceChanged { .. }
            | Self::Superseded { .. }
            | Self::FileNotInHead { .. } => (Class::External, Retry::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::error::Error;
    use std::io;

    use rstest::rstest;

    use super::*;
    use crate::catalogue::Space;
    use crate::delta::{DeltaError, TableVersion};

    fn id() -> TableId {
        TableId::new(Space::Raw, DatasetName::new("x").unwrap())
    }

    fn text() -> String {
        "x".to_owned()
    }

    fn busy() -> object_store::Error {
        object_store::Error::Generic { store: "test", source: "503: server busy".into() }
    }

    fn refused() -> object_store::Error {
        object_store::Error::PermissionDenied { path: text(), source: "AuthorizationFailure".into() }
    }

    /// As the client of a store wraps what an answer was made into.
    fn wrong() -> object_store::Error {
        let refused = crate::refusal::Refused("it answered 400".to_owned());
        object_store::Error::Generic { store: "test", source: refused.into() }
    }

    fn absent() -> object_store::Error {
        object_store::Error::NotFound { path: text(), source: "ContainerNotFound".into() }
    }

    fn store(source: object_store::Error) -> DeltaError {
        DeltaError::Store { action: "write", path: text(), source }
    }

    fn unknown(source: object_store::Error) -> DeltaError {
        DeltaError::CommitUnknown { table: text(), version: TableVersion(1), source }
    }

    fn parquet(source: impl Error + Send + Sync + 'static) -> DeltaError {
        DeltaError::parquet("x", ::parquet::errors::ParquetError::External(Box::new(source)))
    }

    fn sort(source: impl Error + Send + Sync + 'static) -> DeltaError {
        let source = datafusion::error::DataFusionError::External(Box::new(source));
        DeltaError::Sort { table: text(), source: Box::new(source) }
    }

    const LATER: (Class, Retry) = (Class::External, Retry::Later);
    const BROKEN: (Class, Retry) = (Class::External, Retry::Never);
    const USER: (Class, Retry) = (Class::User, Retry::Never);
    /// A person mends it outside, and it goes on.
    const GIVEN: (Class, Retry) = (Class::User, Retry::Later);
    const OURS: (Class, Retry) = (Class::Internal, Retry::Never);

    #[rstest]
    #[case::throttled(store(busy()), LATER)]
    #[case::unknown(unknown(busy()), LATER)]
    #[case::permission(store(refused()), GIVEN)]
    #[case::permission_at_commit(unknown(refused()), GIVEN)]
    #[case::credential(
        store(object_store::Error::Unauthenticated { path: text(), source: "401".into() }),
        GIVEN
    )]
    #[case::a_request_that_is_wrong(store(wrong()), USER)]
    #[case::a_request_that_is_wrong_at_commit(unknown(wrong()), USER)]
    #[case::a_file_behind_a_request_that_is_wrong(parquet(wrong()), USER)]
    #[case::container(store(absent()), GIVEN)]
    #[case::container_at_commit(unknown(absent()), GIVEN)]
    #[case::not_supported(store(object_store::Error::NotSupported { source: "x".into() }), OURS)]
    #[case::disk_full(
        store(object_store::Error::Generic { store: "disk", source: io::Error::from(io::ErrorKind::StorageFull).into() }),
        LATER
    )]
    #[case::append_only(DeltaError::AppendOnly { table: text() }, USER)]
    #[case::feature(DeltaError::UnsupportedFeature { table: text(), feature: "deletionVectors".to_owned() }, USER)]
    #[case::kind(DeltaError::UnsupportedType { column: text(), kind: "map".to_owned() }, USER)]
    #[case::commit_file(DeltaError::InvalidCommit { path: text(), line: 1, reason: text() }, BROKEN)]
    #[case::checkpoint(DeltaError::InvalidCheckpoint { path: text(), reason: text() }, BROKEN)]
    #[case::gap(DeltaError::MissingVersion { table: text(), missing: TableVersion(3) }, BROKEN)]
    #[case::half(DeltaError::Incomplete { table: text(), what: "protocol" }, BROKEN)]
    #[case::schema(DeltaError::InvalidSchema { table: text(), reason: text() }, BROKEN)]
    #[case::cleaned(DeltaError::HistoryCleaned { table: text(), version: TableVersion(3) }, BROKEN)]
    #[case::superseded(DeltaError::TxnSuperseded { table: text(), app_id: text(), committed: 1 }, BROKEN)]
    #[case::not_live(DeltaError::FileNotLive { table: text(), path: text() }, BROKEN)]
    #[case::concurrent(
        DeltaError::ConcurrentChange { table: text(), version: TableVersion(1), what: "metadata" },
        LATER
    )]
    #[case::contended(DeltaError::Contended { table: text(), attempts: 3 }, LATER)]
    #[case::torn_file(DeltaError::parquet("x", ::parquet::errors::ParquetError::EOF(text())), BROKEN)]
    #[case::file_behind_a_busy_store(parquet(busy()), LATER)]
    #[case::file_that_may_not_be_read(parquet(refused()), GIVEN)]
    #[case::file_that_is_gone_and_may_be_brought_back(parquet(absent()), LATER)]
    #[case::file_on_a_bad_disk(parquet(io::Error::other("x")), LATER)]
    #[case::rows_of_another_shape(DeltaError::arrow("x", arrow::error::ArrowError::SchemaError(text())), OURS)]
    #[case::rows_behind_a_busy_store(
        DeltaError::arrow("x", arrow::error::ArrowError::ExternalError(Box::new(busy()))),
        LATER
    )]
    #[case::sort(sort(io::Error::other("x")), LATER)]
    #[case::sort_of_a_torn_file(sort(DeltaError::parquet("x", ::parquet::errors::ParquetError::EOF(text()))), BROKEN)]
    fn whether_to_try_again_is_asked_through_the_chain(#[case] error: DeltaError, #[case] want: (Class, Retry)) {
        let attempt = "a commit";
        assert_eq!((error.class(), error.retry()), want, "{error}");
        let error = LakeError::Delta { attempt, table: id(), source: error };
        assert_eq!((error.class(), error.retry()), want, "{error}");
    }

    #[rstest]
    #[case(LakeError::ContractChanged { table: id(), reason: text() }, USER)]
    #[case(LakeError::NotOpen { table: id(), reason: text() }, USER)]
    #[case(LakeError::NoSuchDataset(DatasetName::new("x").unwrap()), USER)]
    #[case(LakeError::WrongColumns { table: id(), reason: text() }, OURS)]
    #[case(LakeError::Unbalanced { table: id(), balance: Balance { offered: 2, accepted: 1, quarantined: 0, duplicates: 0, filtered: 0, erased: 0 } }, OURS)]
    #[case(LakeError::NotThereYet(id()), LATER)]
    #[case(LakeError::ForeignCommit { table: id(), version: TableVersion(1) }, LATER)]
    #[case(LakeError::StagedFilesGone { table: id(), files: 1, first: FilePath::of_store("x") }, LATER)]
    #[case(LakeError::StagedVersionGone { table: id(), version: 1 }, LATER)]
    #[case(LakeError::Stopped { attempt: "a commit", table: id() }, OURS)]
    #[case(LakeError::LeaseLost { table: id() }, BROKEN)]
    #[case(LakeError::SourceChanged { table: id() }, BROKEN)]
    #[case(LakeError::Superseded { table: id(), txn: TxnId::delivery("x"), committed: 1 }, BROKEN)]
    #[case(LakeError::FileNotInHead { table: id(), path: FilePath::of_store("x") }, BROKEN)]
    fn the_lakes_own_errors_say_so_too(#[case] error: LakeError, #[case] want: (Class, Retry)) {
        assert_eq!((error.class(), error.retry()), want, "{error}");
    }
}
