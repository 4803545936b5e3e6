//! What can go wrong with the control store. No variant holds a password or a value.

use vitalake_runtime::error::{Class, Classified, Retry};

use crate::postgres::{self, AddressError};

/// A failure of the control store.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// `control.url` cannot be used.
    #[error("control.url: {0}")]
    Address(#[from] AddressError),
    /// It did not answer, or refused.
    #[error("the control store at {place} does not answer ({attempt}): {reason}")]
    Away {
        /// Where it is.
        place: String,
        /// What was attempted.
        attempt: &'static str,
        /// What it or the connection said.
        reason: String,
        /// Whose fault it is and whether it may pass.
        verdict: (Class, Retry),
    },
    /// A newer vitalake has made its tables.
    #[error(
        "the control store at {place} is of version {found}, and this vitalake knows versions up to {known}: run the newer one, or give this one another database"
    )]
    Newer {
        /// Where it is.
        place: String,
        /// Its version.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
}

impl ControlError {
    pub(super) fn away(place: &str, attempt: &'static str, error: &sqlx::Error) -> Self {
        let (reason, verdict) = match is_sqlite(error) {
            true => (sqlite_said(error), (Class::External, Retry::Later)),
            false => (postgres::said(error), postgres::verdict(error)),
        };
        Self::Away { place: place.to_owned(), attempt, reason, verdict }
    }

    pub(super) fn silent(place: &str, attempt: &'static str) -> Self {
        let verdict = (Class::External, Retry::Later);
        Self::Away { place: place.to_owned(), attempt, reason: "no answer in time".to_owned(), verdict }
    }
}

impl Classified for ControlError {
    fn class(&self) -> Class {
        match self {
            Self::Address(error) => error.class(),
            Self::Away { verdict, .. } => verdict.0,
            Self::Newer { .. } => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Address(error) => error.retry(),
            Self::Away { verdict, .. } => verdict.1,
            Self::Newer { .. } => Retry::Never,
        }
    }
}

fn is_sqlite(error: &sqlx::Error) -> bool {
    let known =
        |error: &dyn sqlx::error::DatabaseError| error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
    error.as_database_error().is_some_and(known)
}

/// SQLite's own words: they name files, tables and kinds of failure.
fn sqlite_said(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
