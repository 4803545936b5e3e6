//! How we speak to a PostgreSQL server: an address whose password nobody sees, and errors without values.
//!
//! The control store and the feeds that read a database use it. Invariant: nothing here shows a password, and what a
//! server says is repeated only where it can hold no value of a row.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use vitalake_runtime::error::{Class, Classified, Retry};

/// What an address looks like.
const FORM: &str = "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded";
/// The parameters that an address may have after its `?`. Any other would be ignored, and shown in the log.
const PARAMETERS: [&str; 14] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "port",
    "dbname",
    "user",
    "password",
];
/// Classes of SQLSTATE whose messages name things of the schema, the session or the query, and no value of a row:
/// connection, unsupported, transaction state, authorisation, catalogue, schema, syntax and access, resources, limits,
/// state of an object, intervention, system.
const CLASSES_WITHOUT_VALUES: [&str; 12] = ["08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58"];

/// Where a PostgreSQL server is reached.
#[derive(Clone)]
pub struct PostgresAddress {
    options: PgConnectOptions,
    has_password: bool,
}

/// Why an address is none. Holds no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no address of a PostgreSQL server: {reason}")]
pub struct AddressError {
    reason: &'static str,
}

impl Classified for AddressError {
    fn class(&self) -> Class {
        Class::User
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl PostgresAddress {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`. Asks no network.
    ///
    /// # Errors
    /// When it is no such address, or has a parameter that is not known.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(AddressError { reason: FORM });
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let known = |pair: &str| PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
        if !query.split('&').filter(|pair| !pair.is_empty()).all(known) {
            return Err(AddressError { reason: "after `?` it takes sslmode, sslrootcert, sslcert and sslkey" });
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| AddressError { reason: FORM })?;
        // Statements hold values of rows, where they go on from one; they are not for the log.
        let in_query = query.split('&').any(|pair| pair.starts_with("password="));
        let authority = url.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
        let in_front = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        Ok(Self { options: options.disable_statement_logging(), has_password: in_query || in_front })
    }

    /// What a connection is opened with; `application` is what the server's administrator sees it as.
    #[must_use]
    pub fn options(&self, application: &str) -> PgConnectOptions {
        self.options.clone().application_name(application)
    }

    /// The server and the database, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let host = match self.options.get_socket() {
            Some(socket) => Cow::Owned(socket.display().to_string()),
            None => Cow::Borrowed(self.options.get_host()),
        };
        format!(
            "{host}:{}/{}",
            self.options.get_port(),
            self.options.get_database().unwrap_or(self.options.get_username())
        )
    }

    /// Whether it has a password of its own.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether a connection that is not encrypted would be refused.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull)
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// The SQLSTATE of an error that a server gave.
#[must_use]
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Cow::into_owned)
}

/// Whether a server knows neither the user nor the password.
#[must_use]
pub fn is_refused(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some_and(|code| code.starts_with("28"))
}

/// What an error of the client says, without a value of a row and without a part of an address.
#[must_use]
pub fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match CLASSES_WITHOUT_VALUES.iter().any(|class| code.starts_with(class)) {
                true => format!("{} (SQLSTATE {code})", error.message()),
                false => format!("the server answered SQLSTATE {code}; its log says more"),
            }
        }
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("no encrypted connection: {error}"),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "the connection was closed".to_owned(),
        sqlx::Error::Configuration(_) => "the address or a certificate that it names cannot be used".to_owned(),
        sqlx::Error::Protocol(_) => "it did not keep to the protocol of PostgreSQL".to_owned(),
        _ => "the answer cannot be read".to_owned(),
    }
}

/// Whose fault an error of a server is, and whether the same may succeed later.
#[must_use]
pub fn verdict(error: &sqlx::Error) -> (Class, Retry) {
    let Some(code) = sqlstate(error) else {
        return match error {
            sqlx::Error::Configuration(_) => (Class::User, Retry::Never),
            _ => (Class::External, Retry::Later),
        };
    };
    match code.get(..2).unwrap_or_default() {
        // A person grants what is missing, makes the database or corrects the password, and it goes on.
        "28" | "3D" | "3F" => (Class::User, Retry::Later),
        _ if code == "42501" => (Class::User, Retry::Later),
        "0A" | "21" | "22" | "23" | "25" | "26" | "42" | "54" => (Class::User, Retry::Never),
        _ => (Class::External, Retry::Later),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[test]
    fn an_address_shows_its_place_and_no_password() {
        let address = PostgresAddress::parse("postgres://lake:hunter2@db.example:6432/clinic?sslmode=require").unwrap();
        assert_eq!(address.place(), "db.example:6432/clinic");
        assert!(address.is_encrypted());
        assert_eq!(format!("{address:?}"), "db.example:6432/clinic");
    }

    #[rstest]
    #[case::another_scheme("mysql://u:hunter2@h/db")]
    #[case::no_scheme("hunter2@h/db")]
    #[case::a_port_that_is_none("postgres://u:hunter2@h:port/db")]
    #[case::an_encryption_that_is_none("postgres://u@h/db?sslmode=hunter2")]
    #[case::a_parameter_that_is_not_known("postgres://u@h/db?sslpassword=hunter2")]
    fn what_is_no_address_is_refused_without_a_part_of_it(#[case] url: &str) {
        let error = PostgresAddress::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
