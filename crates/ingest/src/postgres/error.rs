//! Why a database could not be read. No message holds a password or a value of a row.

use vitalake_lake::postgres::{self, AddressError};
use vitalake_runtime::error::{Class, Classified, Retry};

/// A failure of reading a PostgreSQL database; nothing of the run is loaded.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The address cannot be used.
    #[error("the source's address: {0}")]
    Address(#[from] AddressError),
    /// The server does not answer, went away, or refuses.
    #[error("PostgreSQL at {place} ({attempt}): {reason}")]
    Server {
        /// The server and the database.
        place: String,
        /// What was attempted.
        attempt: &'static str,
        /// What it or the connection said.
        reason: String,
        /// Whose fault it is and whether the same may succeed later.
        verdict: (Class, Retry),
    },
    /// The query is no single SELECT, or does not fit the database.
    #[error(
        "the query of the feed cannot be read from PostgreSQL at {place}: {reason}; it must be one SELECT that changes nothing"
    )]
    Query {
        /// The server and the database.
        place: String,
        /// What the server says.
        reason: String,
    },
    /// No such table.
    #[error(
        "there is no table or view {table} in PostgreSQL at {place}, or its user may not see it: name it as schema.table, and names with capitals in double quotes"
    )]
    NoTable {
        /// The server and the database.
        place: String,
        /// The table as the feed names it.
        table: String,
    },
    /// Two columns have one name.
    #[error("the query gives two columns the name {column}: give one of them another with AS")]
    TwoColumns {
        /// The name.
        column: String,
    },
    /// The watermark is no column of what is read.
    #[error("the watermark {column} is no column of what the feed reads")]
    NoWatermark {
        /// The column.
        column: String,
    },
    /// The watermark has a type that does not order rows, or the lag does not fit it.
    #[error("the watermark {column} is of type {kind}, {wrong}")]
    WatermarkType {
        /// The column.
        column: String,
        /// Its type.
        kind: String,
        /// What is wrong with that.
        wrong: &'static str,
    },
    /// What was read before went by another column.
    #[error(
        "the feed has gone by the watermark {was} so far and is to go by {column} now: what is new cannot be told; name {was} again, or begin a new feed"
    )]
    WatermarkChanged {
        /// The column now.
        column: String,
        /// The column before.
        was: String,
    },
    /// The column has another type than when it was last read, and another order.
    #[error(
        "the watermark {column} is {now} now and was {was}: what is new cannot be told; cast it in the query to what it was, or begin a new feed"
    )]
    WatermarkOrder {
        /// The column.
        column: String,
        /// What it is.
        now: &'static str,
        /// What it was.
        was: String,
    },
    /// Rows without a watermark.
    #[error(
        "some rows have no {column}: they would never be read; give them one, or write coalesce({column}, …) AS {column} in the query"
    )]
    WatermarkNull {
        /// The column.
        column: String,
    },
    /// The newest watermark cannot be gone on from.
    #[error(
        "the newest {column} {what}: every row after it would seem old; correct that row, or leave it out in the query"
    )]
    WatermarkBeyond {
        /// The column.
        column: String,
        /// What it is.
        what: &'static str,
    },
    /// The newest watermark is older than the last that was read.
    #[error(
        "the newest {column} is before the last that was read: rows were deleted there, or the database was set back. After a deletion nothing is to be done, the feed goes on with the next newer row; a database that was set back is read again by a new feed"
    )]
    WatermarkWentBack {
        /// The column.
        column: String,
    },
    /// Too many rows at the edge to remember.
    #[error(
        "more than {most} rows have the newest {column}, or lie within the lag before it: rows that come later with such a value could not be told from them; use a column with finer values, or a shorter lag"
    )]
    EdgeTooWide {
        /// The column.
        column: String,
        /// How many can be remembered.
        most: usize,
    },
    /// A value that has no exact form here.
    #[error("row {row} of what was read has {what} in {column}: {help}")]
    Value {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// What it has.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The rows could not be made into Arrow.
    #[error("the rows could not be written as Arrow IPC")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl PostgresError {
    pub(super) fn server(place: &str, attempt: &'static str, error: &sqlx::Error) -> Self {
        let (reason, verdict) = (postgres::said(error), postgres::verdict(error));
        Self::Server { place: place.to_owned(), attempt, reason, verdict }
    }

    pub(super) fn silent(place: &str, attempt: &'static str) -> Self {
        let (reason, verdict) = ("no answer in time".to_owned(), (Class::External, Retry::Later));
        Self::Server { place: place.to_owned(), attempt, reason, verdict }
    }

    /// An error of the feed's own query: what the server will not run is the query's fault, the rest the server's.
    pub(super) fn query(place: &str, attempt: &'static str, error: &sqlx::Error) -> Self {
        let code = postgres::sqlstate(error).unwrap_or_default();
        let of_query = ["0A", "25", "42", "54"].iter().any(|class| code.starts_with(class)) && code != "42501";
        match of_query {
            true => Self::Query { place: place.to_owned(), reason: postgres::said(error) },
            false => Self::server(place, attempt, error),
        }
    }
}

impl Classified for PostgresError {
    fn class(&self) -> Class {
        match self {
            Self::Server { verdict, .. } => verdict.0,
            Self::Arrow(_) => Class::Internal,
            _ => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Server { verdict, .. } => verdict.1,
            // A person mends these at the source, and it goes on.
            Self::NoTable { .. }
            | Self::WatermarkNull { .. }
            | Self::WatermarkBeyond { .. }
            | Self::WatermarkWentBack { .. }
            | Self::Value { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}
