//! Why a query was not answered, in our own words.
//!
//! An engine's error text may hold values of records, so it never reaches a client: `sql::fault` turns every such error
//! into one of these. The HTTP status and Druid's form of each are in `druid::error`.

use thiserror::Error;

/// A place in the text of a query: both count from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line and column of the first character.
    pub start: (u64, u64),
    /// Line and column of the last character.
    pub end: (u64, u64),
}

/// Why a query was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The text is not a query that we read, or names what is not there.
    #[error("{message}")]
    Invalid {
        /// What is wrong; names come from the client's own text or from schemas.
        message: String,
        /// Where, when it is known.
        position: Option<Position>,
    },
    /// A key of the request's context has a wrong value.
    #[error("{0}")]
    Context(String),
    /// The query is well formed and asks for more than a limit allows.
    #[error("{0}")]
    ResourceLimit(String),
    /// Too many queries run already.
    #[error("{0}")]
    Capacity(String),
    /// The query ran longer than its time limit.
    #[error("the query ran longer than its time limit of {timeout_ms} ms")]
    Timeout {
        /// The limit that was reached.
        timeout_ms: u64,
    },
    /// Somebody cancelled the query.
    #[error("the query was cancelled")]
    Cancelled,
    /// A computation failed on the data, such as a division by zero.
    #[error("{0}")]
    Runtime(String),
    /// Recovery is not complete.
    #[error("vitalake is not ready: waiting for {}", .0.join(", "))]
    NotReady(Vec<String>),
    /// A table is not open: the others are answered.
    #[error("{0}")]
    NotOpen(String),
    /// Our fault; the cause is in the server's log under this id.
    #[error("the query failed inside the server; its log has the cause under error id {id}")]
    Internal {
        /// The id to look for in the log.
        id: String,
    },
}

impl QueryError {
    /// An [`QueryError::Invalid`] without a place.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), position: None }
    }

    /// An [`QueryError::Invalid`] at a place.
    pub fn invalid_at(message: impl Into<String>, position: Option<Position>) -> Self {
        Self::Invalid { message: message.into(), position }
    }

    /// How the query ended, in one word: a label of the metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Context(_) => "invalid",
            Self::ResourceLimit(_) => "limit",
            Self::Capacity(_) => "capacity",
            Self::Timeout { .. } => "timeout",
            Self::Cancelled => "cancelled",
            Self::NotReady(_) => "not_ready",
            Self::Runtime(_) | Self::NotOpen(_) | Self::Internal { .. } => "failed",
        }
    }
}
