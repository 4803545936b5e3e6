//! How every error of every crate says whose fault it is and whether trying again can help.
//!
//! The way in and the way out map these, and nothing else, to HTTP statuses, Kafka codes and exit codes.

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was asked cannot be done as asked: the asker must change it.
    User,
    /// Something outside the process: the disk, the network, another system.
    External,
    /// A mistake of ours.
    Internal,
}

impl Class {
    /// Its name as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::External => "external",
            Self::Internal => "internal",
        }
    }
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The cause may go away by itself.
    Later,
}

/// An error that says whose fault it is and whether to try again.
pub trait Classified {
    /// Whose fault it is.
    fn class(&self) -> Class;
    /// Whether to try again.
    fn retry(&self) -> Retry;
}

/// An error with its causes, `what: why: why`, on one line: for logs and statuses.
#[must_use]
pub fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
