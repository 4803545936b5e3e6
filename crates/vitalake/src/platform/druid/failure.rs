//! Why a version is not published, in words that say what to do.
//!
//! Invariant: none of Druid's own words, and no record's value.

use thiserror::Error;
use vitalake_lake::LakeError;
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_serve::druid_engine::DruidError;

use super::watch::LOADING_MAX;

/// Why a version is not published.
#[derive(Debug, Error)]
pub(super) enum PublishError {
    /// Druid cannot be asked.
    #[error(transparent)]
    Druid(#[from] DruidError),
    /// The table cannot be read.
    #[error("the table cannot be read: {}", in_full(.0))]
    Lake(#[from] LakeError),
    /// The task failed.
    #[error("{reason}; Druid's log has more under task {task}; it is tried again")]
    Task {
        /// The task.
        task: String,
        /// Why, in our words.
        reason: &'static str,
    },
    /// Druid took other rows, or answers otherwise.
    #[error("{words} (task {task}): all of it is published again")]
    Differs {
        /// The task.
        task: String,
        /// What.
        words: String,
    },
    /// It is not loaded.
    #[error("version {version} is in Druid's deep storage and not loaded after {} s: see to its historicals, which may have no room", LOADING_MAX.as_secs())]
    NotLoaded {
        /// The version.
        version: u64,
    },
    /// Somebody else's, or not to be done now.
    #[error("{0}")]
    Foreign(String),
    /// Rows that have no place in Druid.
    #[error(
        "{0} rows have no {1}, which Druid wants of every row: make the column required in the contract, or take another by `timeColumn`"
    )]
    Timeless(u64, String),
    /// Another process publishes, or the control store is away.
    #[error("another process publishes to Druid, or the control store does not answer: nothing is sent")]
    NotOurs,
    /// A person has taken the datasource over meanwhile.
    #[error("it is taken over: all of it is replaced with the next publication")]
    Adopted,
}

impl PublishError {
    /// Whether a person has to decide.
    pub(super) fn needs_a_person(&self) -> bool {
        match self {
            Self::Foreign(_) | Self::Timeless(..) => true,
            Self::Druid(error) => error.retry() == Retry::Never,
            Self::Lake(_)
            | Self::Task { .. }
            | Self::Differs { .. }
            | Self::NotLoaded { .. }
            | Self::NotOurs
            | Self::Adopted => false,
        }
    }
}
