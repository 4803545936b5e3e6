//! One way to run a statement on either database.
//!
//! Statements are static texts that both read alike: placeholders `$1`, types TEXT and BIGINT, `ON CONFLICT … RETURNING`.
//! Invariant: a value reaches a database as a parameter, never as text of a statement.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite, Transaction};

use super::schema;
use crate::postgres::PostgresAddress;

/// How long a connection is waited for.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How many connections one process has to a server.
const CONNECTIONS_MAX: u32 = 4;
/// How long a connection is used: who it was made for may have lost its rights since.
const LIFETIME_MAX: Duration = Duration::from_secs(1_800);
/// What the server ends by itself, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// The schema of our tables on a server. SQLite has none.
const SCHEMA: &str = "vitalake";
/// One process at a time makes or changes the tables: the key of that lock, any number that is ours.
const LOCK_TO_MIGRATE: &str = "SELECT pg_advisory_xact_lock(8241925330071)";

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Long(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Long(number)
    }
}

/// A statement and its parameters.
pub(super) type Statement = (&'static str, Vec<Value>);

/// An open database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn text(&self, column: usize) -> Result<String, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn long(&self, column: usize) -> Result<i64, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// Runs one statement and gives its rows.
macro_rules! fetch {
    ($row:path, $statement:expr, $executor:expr) => {{
        let (text, values): &Statement = $statement;
        let mut query = sqlx::query(*text);
        for value in values {
            query = match value {
                Value::Text(value) => query.bind(value.clone()),
                Value::Long(value) => query.bind(*value),
            };
        }
        let rows = query.fetch_all($executor).await?;
        Ok::<Vec<Row>, sqlx::Error>(rows.into_iter().map($row).collect())
    }};
}

/// Applies the migrations that a database has not had, within a transaction.
macro_rules! migrate {
    ($row:path, $executor:expr) => {{
        sqlx::query(schema::VERSION_TABLE).execute($executor).await?;
        let rows = fetch!($row, &(schema::VERSION, Vec::new()), $executor)?;
        let found = rows.first().map_or(Ok(0), |row| row.long(0))?;
        let mut version = found;
        for statements in schema::since(found) {
            for statement in *statements {
                sqlx::query(*statement).execute($executor).await?;
            }
            version += 1;
        }
        if version > found {
            fetch!($row, &(schema::SET_VERSION, vec![Value::Long(version)]), $executor)?;
        }
        (found, version)
    }};
}

fn options(address: &PostgresAddress, password: Option<&str>) -> PgConnectOptions {
    let options = address.options("vitalake control store");
    let options = options.options([("search_path", SCHEMA.to_owned())]);
    let options = options.options([("statement_timeout", STATEMENT_TIMEOUT_MS)]);
    match password {
        Some(password) => options.password(password),
        None => options,
    }
}

impl Database {
    /// A server, which is not asked before the first statement; a password that is given stands for that of the address.
    pub(super) fn postgres(address: &PostgresAddress, password: Option<&str>) -> Self {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(CONNECT_MAX);
        let pool = pool.max_lifetime(LIFETIME_MAX);
        Self::Postgres(pool.connect_lazy_with(options(address, password)))
    }

    /// Has connections that are made from now on show another password.
    pub(super) fn set_password(&self, address: &PostgresAddress, password: &str) {
        if let Self::Postgres(pool) = self {
            pool.set_connect_options(options(address, Some(password)));
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.is_closed(),
            Self::Postgres(pool) => pool.is_closed(),
        }
    }

    /// Runs a statement; alone it is a transaction.
    pub(super) async fn rows(&self, statement: &Statement) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => fetch!(Row::Sqlite, statement, pool),
            Self::Postgres(pool) => fetch!(Row::Postgres, statement, pool),
        }
    }

    /// Runs statements in one transaction, the others only if the first gives a row. Gives the rows of the first.
    pub(super) async fn all(&self, statements: &[Statement]) -> Result<Vec<Row>, sqlx::Error> {
        macro_rules! run {
            ($row:path, $transaction:expr) => {{
                let mut transaction = $transaction;
                let mut first = Vec::new();
                for (at, statement) in statements.iter().enumerate() {
                    let rows = fetch!($row, statement, &mut *transaction)?;
                    if at == 0 && rows.is_empty() {
                        transaction.rollback().await?;
                        return Ok(rows);
                    }
                    if at == 0 {
                        first = rows;
                    }
                }
                transaction.commit().await?;
                Ok(first)
            }};
        }
        match self {
            Self::Sqlite(pool) => run!(Row::Sqlite, pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => run!(Row::Postgres, pool.begin().await?),
        }
    }

    /// Makes the tables or brings them up to date, one process at a time. Gives the version that was found and the one
    /// that it has now.
    pub(super) async fn migrate(&self) -> Result<(i64, i64), sqlx::Error> {
        match self {
            Self::Sqlite(pool) => {
                let mut transaction: Transaction<'static, Sqlite> = pool.begin_with("BEGIN IMMEDIATE").await?;
                let versions = migrate!(Row::Sqlite, &mut *transaction);
                transaction.commit().await?;
                Ok(versions)
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                sqlx::query(LOCK_TO_MIGRATE).execute(&mut *transaction).await?;
                // Asked first: making what is there already needs a right that is otherwise not needed.
                let there: Option<String> =
                    sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname = 'vitalake'")
                        .fetch_optional(&mut *transaction)
                        .await?;
                if there.is_none() {
                    sqlx::query("CREATE SCHEMA vitalake").execute(&mut *transaction).await?;
                }
                let versions = migrate!(Row::Postgres, &mut *transaction);
                transaction.commit().await?;
                Ok(versions)
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
