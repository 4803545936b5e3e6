//! A table or a query of a PostgreSQL database → one Arrow IPC stream, as if it were a file.
//!
//! Everything of a read is of one moment: one transaction, REPEATABLE READ and READ ONLY. Rows come by COPY in binary
//! and are decoded on a thread beside the network's. The bytes are the same for the same rows in the same order; a table
//! is ordered by its primary key, a watermark by itself, a query without one by what it says. Invariant: the end of the
//! stream is said only when the server has said the end of the rows, so that nothing is loaded of a read that broke off.

mod columns;
mod copy;
mod error;
mod numeric;
mod rows;
mod session;
mod stream;
mod watermark;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Row as _;
use tokio::sync::{mpsc, oneshot};
use vitalake_lake::postgres::PostgresAddress;

use crate::delivery::Pieces;

use columns::SourceColumns;
pub use error::PostgresError;
use session::Session;
use stream::{Chunk, Decoding, First};
pub use watermark::{Lag, Watermark, WatermarkColumn};

/// How many chunks of rows wait to be decoded.
const CHUNKS_MAX: usize = 4;
/// How many pieces of the stream wait to be taken.
const PIECES_MAX: usize = 2;
/// Bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresRows {
    /// A table or view, as SQL names it: `schema.name`.
    Table(String),
    /// A SELECT.
    Query(String),
}

/// How long the server may take, so that a read never stands in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresLimits {
    /// For a connection.
    pub connect: Duration,
    /// For one statement, the read of all rows among them.
    pub statement: Duration,
    /// For a lock that somebody else has, a change of the table's form say.
    pub lock: Duration,
    /// Between two statements.
    pub idle: Duration,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            statement: Duration::from_secs(3_600),
            lock: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// A source of rows.
#[derive(Clone, Debug)]
pub struct PostgresSource {
    /// The server.
    pub address: PostgresAddress,
    /// What is read of it.
    pub rows: PostgresRows,
    /// What tells new rows from those that were read; all are read where there is none.
    pub watermark: Option<WatermarkColumn>,
    /// How long the server may take.
    pub limits: PostgresLimits,
}

/// A read under way.
#[derive(Debug)]
pub struct Reading {
    /// The rows as an Arrow IPC stream, for a delivery.
    pub pieces: Pieces,
    outcome: Arc<OnceLock<ReadOutcome>>,
}

/// What a read has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Rows of the stream.
    pub rows: u64,
    /// Rows at the edge that were read before and left out.
    pub known: u64,
    /// From where the next read goes on. It is to be kept once the delivery is committed, and not before.
    pub watermark: Option<Watermark>,
}

impl Reading {
    /// What it has come to; there once the end of the stream was said, and for as long as this is asked.
    #[must_use]
    pub fn outcome(&self) -> OutcomeOfReading {
        OutcomeOfReading(Arc::clone(&self.outcome))
    }
}

/// What a read has come to, for whoever has given its pieces away.
#[derive(Clone, Debug)]
pub struct OutcomeOfReading(Arc<OnceLock<ReadOutcome>>);

impl OutcomeOfReading {
    /// None before the end of the stream was said.
    #[must_use]
    pub fn get(&self) -> Option<&ReadOutcome> {
        self.0.get()
    }
}

impl PostgresSource {
    /// Begins a read after a watermark. `None` where there is one and nothing is new. `feed` is whom the server's
    /// administrator sees.
    ///
    /// # Errors
    /// When the server does not answer, the query is none that can be read, or the watermark cannot be gone on from. What
    /// breaks off later is said in the pieces.
    pub async fn read(&self, feed: &str, after: Option<&Watermark>) -> Result<Option<Reading>, PostgresError> {
        let mut session = Session::open(&self.address, feed, self.limits).await?;
        let Some(plan) = self.plan(&mut session, after).await? else {
            session.close().await;
            return Ok(None);
        };
        let texts = plan.columns.texts();
        if !texts.is_empty() {
            tracing::info!(feed, columns = texts.join(", "), "columns of these types come as text");
        }
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let (piece_sender, pieces) = mpsc::channel(PIECES_MAX);
        let (first_sender, first) = oneshot::channel();
        let outcome = Arc::new(OnceLock::new());
        let decoding = Decoding::new(&plan.columns, plan.edge, after, Arc::clone(&outcome), piece_sender);
        tokio::spawn(pump(session, plan.select, chunk_sender));
        tokio::task::spawn_blocking(move || decoding.run(chunks, first_sender));
        match first.await {
            Ok(First::Rows) => Ok(Some(Reading { pieces, outcome })),
            Ok(First::Nothing) if self.watermark.is_some() => Ok(None),
            Ok(First::Nothing) => Ok(Some(Reading { pieces, outcome })),
            Ok(First::Failed(error)) => Err(error),
            Err(_) => Err(PostgresError::silent(&self.address.place(), "decoding rows")),
        }
    }

    /// What is asked of the server; none where a watermark is given and there are no rows at all.
    async fn plan(&self, session: &mut Session, after: Option<&Watermark>) -> Result<Option<Plan>, PostgresError> {
        let (from, table) = match &self.rows {
            PostgresRows::Table(name) => {
                let (oid, name) = resolve(session, name).await?;
                (name, Some(oid))
            }
            PostgresRows::Query(query) => (format!("(\n{}\n)", query.trim().trim_end_matches(';')), None),
        };
        let columns = SourceColumns::of(session, &from).await?;
        let mut selected = columns.selected();
        let (mut conditions, mut order, mut edge) = (String::new(), Vec::new(), None);
        if let Some(watermark) = &self.watermark {
            let Some(window) = watermark::window(session, &from, &columns, (watermark, after)).await? else {
                return Ok(None);
            };
            selected.extend([window.is_old, window.is_edge]);
            conditions = window.condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
            order.push(window.order);
            edge = Some(window.edge);
        }
        if let Some(table) = table {
            order.extend(primary_key(session, table, &columns).await?);
        }
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let select = format!("SELECT {} FROM {from} {}{conditions}{order}", selected.join(", "), columns.alias());
        Ok(Some(Plan { select, columns, edge }))
    }
}

struct Plan {
    select: String,
    columns: SourceColumns,
    edge: Option<watermark::NewEdge>,
}

/// The number of a table and its name as SQL takes it.
async fn resolve(session: &mut Session, table: &str) -> Result<(i64, String), PostgresError> {
    const ATTEMPT: &str = "looking for the table";
    const TABLE: &str = "SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let missing = PostgresError::NoTable { place: session.place.clone(), table: table.to_owned() };
    let row = match session.first(ATTEMPT, TABLE.to_owned(), &[table]).await {
        Ok(Some(row)) => row,
        // A text that is no name of a table is refused by the server in its own words.
        Ok(None) | Err(PostgresError::Query { .. }) => return Err(missing),
        Err(error) => return Err(error),
    };
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    read(&row).map_err(|error| PostgresError::server(&session.place, ATTEMPT, &error))
}

/// The columns of a table's primary key, as they are called in the query; none where it has none.
async fn primary_key(session: &mut Session, table: i64, columns: &SourceColumns) -> Result<Vec<String>, PostgresError> {
    const KEY: &str = "SELECT a.attname::text FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, at) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE i.indisprimary AND i.indrelid = $1::bigint::oid ORDER BY k.at";
    let rows = session.rows("asking for the primary key", sqlx::query(KEY).bind(table)).await?;
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    let place = |name: &String| columns.0.iter().position(|column| column.name == *name);
    Ok(names.iter().filter_map(place).map(|at| format!("s.c{}", at + 1)).collect())
}

/// Hands the rows over as they come, and says how they ended.
async fn pump(mut session: Session, select: String, chunks: mpsc::Sender<Chunk>) {
    let ended = match copy_all(&mut session, &select, &chunks).await {
        Ok(true) => Chunk::End,
        // Nobody takes them any longer; the connection is dropped, which ends the server's part.
        Ok(false) => return,
        Err(error) => Chunk::Failed(error),
    };
    let _ = chunks.send(ended).await;
    session.close().await;
}

/// Whether all rows were handed over.
async fn copy_all(session: &mut Session, select: &str, chunks: &mpsc::Sender<Chunk>) -> Result<bool, PostgresError> {
    let mut copying = session.copy(select).await?;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while let Some(bytes) = copying.next().await? {
        chunk.extend_from_slice(&bytes);
        if chunk.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
            if chunks.send(Chunk::Bytes(full)).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(chunk.is_empty() || chunks.send(Chunk::Bytes(chunk)).await.is_ok())
}
