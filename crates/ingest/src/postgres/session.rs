//! One connection in one transaction that sees one snapshot, changes nothing and locks nobody out.
//!
//! Invariant: everything of a run is asked in this transaction; the server itself refuses what would write in it, and
//! gives up what waits too long.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgRow, PgStatement};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _};
use tokio::time::timeout;
use vitalake_lake::postgres::PostgresAddress;

use super::{PostgresError, PostgresLimits};

/// Every row of a run is of the moment at which it began.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The texts of values that come as text are the same whatever the server's settings.
const TEXTS: &str = "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601'; SET LOCAL timezone = 'UTC'; \
     SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL standard_conforming_strings = on";

pub(super) struct Session {
    connection: PgConnection,
    pub(super) place: String,
    limits: PostgresLimits,
}

impl Session {
    /// Connects and begins the transaction. `feed` is what the server's administrator sees.
    pub(super) async fn open(
        address: &PostgresAddress,
        feed: &str,
        limits: PostgresLimits,
    ) -> Result<Self, PostgresError> {
        const ATTEMPT: &str = "connecting";
        let place = address.place();
        let options = address.options(&format!("vitalake feed {feed}"));
        let connecting = timeout(limits.connect, PgConnection::connect_with(&options));
        let connection = connecting.await.map_err(|_| PostgresError::silent(&place, ATTEMPT))?;
        let connection = connection.map_err(|error| PostgresError::server(&place, ATTEMPT, &error))?;
        let mut session = Self { connection, place, limits };
        session.run(BEGIN).await?;
        session.run(TEXTS).await?;
        let limits = format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
            limits.statement.as_millis(),
            limits.lock.as_millis(),
            limits.idle.as_millis()
        );
        session.run_text(limits).await?;
        Ok(session)
    }

    async fn run(&mut self, text: &'static str) -> Result<(), PostgresError> {
        self.run_text(text.to_owned()).await
    }

    async fn run_text(&mut self, text: String) -> Result<(), PostgresError> {
        const ATTEMPT: &str = "beginning a read-only transaction";
        let running = timeout(self.limits.connect, self.connection.execute(sqlx::raw_sql(AssertSqlSafe(text))));
        let done = running.await.map_err(|_| PostgresError::silent(&self.place, ATTEMPT))?;
        done.map(drop).map_err(|error| PostgresError::server(&self.place, ATTEMPT, &error))
    }

    /// Has the server read a statement without running it: it refuses more than one.
    pub(super) async fn prepare(&mut self, text: String) -> Result<PgStatement, PostgresError> {
        const ATTEMPT: &str = "reading the query";
        let preparing = timeout(self.silence(), self.connection.prepare(AssertSqlSafe(text).into_sql_str()));
        let prepared = preparing.await.map_err(|_| PostgresError::silent(&self.place, ATTEMPT))?;
        prepared.map_err(|error| PostgresError::query(&self.place, ATTEMPT, &error))
    }

    /// The first row of a query of ours over the feed's.
    pub(super) async fn first(
        &mut self,
        attempt: &'static str,
        text: String,
        parameters: &[&str],
    ) -> Result<Option<PgRow>, PostgresError> {
        let mut query = sqlx::query(AssertSqlSafe(text));
        for parameter in parameters {
            query = query.bind((*parameter).to_owned());
        }
        let asking = timeout(self.silence(), query.persistent(false).fetch_optional(&mut self.connection));
        let answer = asking.await.map_err(|_| PostgresError::silent(&self.place, attempt))?;
        answer.map_err(|error| PostgresError::query(&self.place, attempt, &error))
    }

    /// All rows of a query about the catalogue.
    pub(super) async fn rows<'q>(
        &mut self,
        attempt: &'static str,
        query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<Vec<PgRow>, PostgresError> {
        let asking = timeout(self.silence(), query.persistent(false).fetch_all(&mut self.connection));
        let answer = asking.await.map_err(|_| PostgresError::silent(&self.place, attempt))?;
        answer.map_err(|error| PostgresError::query(&self.place, attempt, &error))
    }

    /// The rows of a SELECT as COPY's binary form, as they come.
    pub(super) async fn copy(&mut self, select: &str) -> Result<Copying<'_>, PostgresError> {
        const ATTEMPT: &str = "reading rows";
        let silence = self.silence();
        let text = format!("COPY (\n{select}\n) TO STDOUT (FORMAT binary)");
        let asking = timeout(silence, self.connection.copy_out_raw(&text));
        let stream = asking.await.map_err(|_| PostgresError::silent(&self.place, ATTEMPT))?;
        let stream = stream.map_err(|error| PostgresError::query(&self.place, ATTEMPT, &error))?;
        Ok(Copying { stream, place: &self.place, silence })
    }

    /// A server that is silent for longer than it may work on a statement is gone.
    fn silence(&self) -> Duration {
        self.limits.statement + self.limits.connect
    }

    /// Ends the transaction and the connection; that it could not be said changes nothing.
    pub(super) async fn close(self) {
        let _ = timeout(self.limits.connect, self.connection.close()).await;
    }
}

/// Rows on their way.
pub(super) struct Copying<'a> {
    stream: BoxStream<'a, Result<bytes::Bytes, sqlx::Error>>,
    place: &'a str,
    silence: Duration,
}

impl Copying<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, PostgresError> {
        const ATTEMPT: &str = "reading rows";
        let next = timeout(self.silence, self.stream.next()).await;
        let next = next.map_err(|_| PostgresError::silent(self.place, ATTEMPT))?;
        next.transpose().map_err(|error| PostgresError::query(self.place, ATTEMPT, &error))
    }
}
