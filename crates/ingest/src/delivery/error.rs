//! Why a delivery was refused.
//!
//! Invariant: counts, names and words of ours, never a record's value.

use chrono::NaiveDate;
use vitalake_lake::LakeError;
use vitalake_runtime::error::{Class, Classified, Retry};

use super::delivered::Verdict;
use super::held::HeldError;
use crate::decode::DeliveryError;

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
    /// A rule of severity fatal about the delivery as a set was broken, or could not be evaluated.
    #[error(
        "the delivery of {dataset} does not keep the rule {rule}, whose severity is fatal: {found} in place of {want}; nothing of it was loaded: correct the file and deliver it again"
    )]
    FatalSet {
        /// The dataset.
        dataset: String,
        /// The rule's name.
        rule: String,
        /// What was found, in words.
        found: String,
        /// What it wants, in words.
        want: String,
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
    /// It is not what its sender says, or has lost too much.
    #[error(
        "the delivery of {dataset} is not taken: {verdict}; nothing of it was loaded: correct the file or what is said of it, and deliver it again, or have it held for somebody to decide"
    )]
    NotAsExpected {
        /// The dataset.
        dataset: String,
        /// What was found, and what is wanted.
        verdict: Verdict,
    },
    /// Every later delivery would seem old beside it.
    #[error(
        "the delivery of {dataset} stands for {date}, more than a year ahead: every later one would seem old beside it; nothing of it was loaded: correct its date"
    )]
    FarAhead {
        /// The dataset.
        dataset: String,
        /// The day that it is to stand for.
        date: NaiveDate,
    },
    /// What was held is not in its place any longer.
    #[error(
        "{dataset} has taken delivery {newer} of {date} since this one was held; it would take that one's place: reject this one, or release it with the newer one replaced"
    )]
    NewerThere {
        /// The dataset.
        dataset: String,
        /// The delivery that is there.
        newer: i64,
        /// Of which day, in words.
        date: String,
    },
    /// It could not be held.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Another process may run the feed that it is of.
    #[error(
        "the delivery of {0} was given up, since this process does not run its feed any longer; whoever does takes it"
    )]
    LeaseLost(String),
    /// The platform is shutting down.
    #[error("the delivery of {0} was stopped; deliver it again")]
    Stopped(String),
}

impl DeliverError {
    /// Which of a delivery's several files is wrong, from 1.
    #[must_use]
    pub fn file(&self) -> Option<usize> {
        match self {
            Self::File(error) => error.file(),
            _ => None,
        }
    }
}

impl Classified for DeliverError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => match error.cause() {
                DeliveryError::Read { .. } | DeliveryError::NoRoom { .. } => Class::External,
                DeliveryError::Decode(_) | DeliveryError::Interrupted { .. } => Class::Internal,
                _ => Class::User,
            },
            Self::Held(_) | Self::LeaseLost(_) | Self::Stopped(_) => Class::External,
            Self::Fatal { .. }
            | Self::FatalSet { .. }
            | Self::Empty { .. }
            | Self::NotAsExpected { .. }
            | Self::FarAhead { .. }
            | Self::NewerThere { .. } => Class::User,
            Self::Lake(error) => error.class(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::File(error) => match error.cause() {
                DeliveryError::Read { .. } | DeliveryError::NoRoom { .. } => Retry::Later,
                _ => Retry::Never,
            },
            Self::Held(_) | Self::LeaseLost(_) | Self::Stopped(_) => Retry::Later,
            Self::Fatal { .. }
            | Self::FatalSet { .. }
            | Self::Empty { .. }
            | Self::NotAsExpected { .. }
            | Self::FarAhead { .. }
            | Self::NewerThere { .. } => Retry::Never,
            Self::Lake(error) => error.retry(),
        }
    }
}
