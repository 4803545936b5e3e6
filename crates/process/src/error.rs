//! What can go wrong in this crate. Messages name datasets, columns and rules, never a record's value.

use vitalake_contract::DatasetName;

use crate::problem::ModelProblem;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of models and their runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model that cannot be run as written.
    #[error("model {model}: {problem}")]
    Model {
        /// The model's dataset.
        model: DatasetName,
        /// The first thing wrong with it.
        problem: Box<ModelProblem>,
    },
    /// The engine could not make or run a plan.
    #[error("model {model}: {attempted} failed in the query engine")]
    Engine {
        /// The model's dataset.
        model: DatasetName,
        /// What was attempted.
        attempted: &'static str,
        /// Why; may quote values, so it is shown in no log.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    /// Columns that are not as the table's schema says.
    #[error("{what} does not have the columns expected: {detail}")]
    Columns {
        /// Which rows.
        what: String,
        /// Which column, and how it differs.
        detail: String,
    },
    /// A computation on columns failed.
    #[error("{attempted} failed on columns in memory")]
    Arrow {
        /// What was attempted.
        attempted: &'static str,
        /// Why; may quote values, so it is shown in no log.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The spilled part of the index of keys could not be written or read.
    #[error("the index of keys in {path} could not be {attempted}; check the disk")]
    Index {
        /// Its folder.
        path: String,
        /// What was attempted.
        attempted: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The author of the project.
    User,
    /// Whoever runs the storage.
    External,
    /// Us.
    Internal,
}

impl Error {
    /// Who has to act.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Model { .. } => Class::User,
            Self::Index { .. } => Class::External,
            Self::Engine { .. } | Self::Columns { .. } | Self::Arrow { .. } => Class::Internal,
        }
    }

    /// Whether the same thing may succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        !matches!(self, Self::Model { .. })
    }
}
