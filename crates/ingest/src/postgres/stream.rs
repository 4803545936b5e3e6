//! Chunks of COPY → batches → pieces of an Arrow IPC stream, on a thread that may wait.
//!
//! Invariant: batches end at the same rows whatever the chunks were, so that the same rows are the same bytes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};

use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::columns::SourceColumns;
use super::copy::{CopyRows, Malformed, Next};
use super::rows::{Rows, Unfit};
use super::watermark::{NewEdge, Watermark, mark};
use super::{PostgresError, ReadOutcome};
use crate::delivery::Piece;

/// How many rows a batch has at most.
const BATCH_ROWS_MAX: usize = 16_384;
/// At how many bytes it is full.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What comes of the server.
pub(super) enum Chunk {
    Bytes(Vec<u8>),
    End,
    Failed(PostgresError),
}

/// What is known before anything is delivered.
pub(super) enum First {
    /// There are rows.
    Rows,
    /// There are none.
    Nothing,
    /// It failed before the first.
    Failed(PostgresError),
}

/// A read on its way from rows to bytes.
pub(super) struct Decoding {
    names: Vec<String>,
    rows: Rows,
    copied: CopyRows,
    /// Rows that were read before, each with how often.
    known: HashMap<String, usize>,
    edge: Option<NewEdge>,
    outcome: Arc<OnceLock<ReadOutcome>>,
    pieces: mpsc::Sender<io::Result<Piece>>,
    total: u64,
    left_out: u64,
}

/// The stream's writer; its bytes are taken out after each batch.
type Writer = StreamWriter<Vec<u8>>;

/// Why it ended before its end.
enum Stop {
    Failed(PostgresError),
    /// Nobody takes the pieces any longer.
    Unwanted,
}

impl From<PostgresError> for Stop {
    fn from(error: PostgresError) -> Self {
        Self::Failed(error)
    }
}

impl From<ArrowError> for Stop {
    fn from(error: ArrowError) -> Self {
        Self::Failed(error.into())
    }
}

impl Decoding {
    pub(super) fn new(
        columns: &SourceColumns,
        edge: Option<NewEdge>,
        after: Option<&Watermark>,
        outcome: Arc<OnceLock<ReadOutcome>>,
        pieces: mpsc::Sender<io::Result<Piece>>,
    ) -> Self {
        Self {
            names: columns.0.iter().map(|column| column.name.clone()).collect(),
            rows: Rows::new(columns),
            copied: CopyRows::default(),
            known: after.map(Watermark::read_before).unwrap_or_default(),
            edge,
            outcome,
            pieces,
            total: 0,
            left_out: 0,
        }
    }

    /// Decodes to the end. What happens before the first batch is full or the end is here is said through `first`.
    pub(super) fn run(mut self, mut chunks: mpsc::Receiver<Chunk>, first: oneshot::Sender<First>) {
        let mut first = Some(first);
        let outcome = self.all(&mut chunks, &mut first);
        let Err(Stop::Failed(error)) = outcome else { return };
        match first {
            Some(first) => drop(first.send(First::Failed(error))),
            None => drop(self.pieces.blocking_send(Err(io::Error::other(error)))),
        }
    }

    fn all(
        &mut self,
        chunks: &mut mpsc::Receiver<Chunk>,
        first: &mut Option<oneshot::Sender<First>>,
    ) -> Result<(), Stop> {
        let mut writer = Writer::try_new(Vec::new(), self.rows.schema())?;
        loop {
            match chunks.blocking_recv() {
                Some(Chunk::Bytes(bytes)) => self.copied.push(&bytes),
                Some(Chunk::Failed(error)) => return Err(error.into()),
                Some(Chunk::End) | None => return Err(malformed().into()),
            }
            if self.rows_here(&mut writer, first)? {
                break;
            }
        }
        // The mark of the end is in the rows; that the transaction came to its end is said by the server.
        match chunks.blocking_recv() {
            Some(Chunk::End) => {}
            Some(Chunk::Failed(error)) => return Err(error.into()),
            Some(Chunk::Bytes(_)) | None => return Err(malformed().into()),
        }
        if self.rows.count() > 0 {
            say(first, First::Rows);
            self.write_batch(&mut writer)?;
        }
        writer.finish()?;
        let is_empty = self.total == 0;
        let watermark = self.edge.take().map(NewEdge::finish);
        let _set = self.outcome.set(ReadOutcome { rows: self.total, known: self.left_out, watermark });
        if is_empty {
            say(first, First::Nothing);
        }
        self.send(&mut writer)?;
        self.pieces.blocking_send(Ok(Piece::End)).map_err(|_| Stop::Unwanted)
    }

    /// Takes the rows that are here; whether they were the last.
    fn rows_here(&mut self, writer: &mut Writer, first: &mut Option<oneshot::Sender<First>>) -> Result<bool, Stop> {
        let fields = self.names.len() + if self.edge.is_some() { 2 } else { 0 };
        loop {
            match self.copied.next(fields) {
                Ok(Next::Row) => self.row()?,
                Ok(Next::More) => return Ok(false),
                Ok(Next::End) => return Ok(true),
                Err(Malformed) => return Err(malformed().into()),
            }
            if self.rows.count() >= BATCH_ROWS_MAX || self.rows.bytes() >= BATCH_BYTES_MAX {
                say(first, First::Rows);
                self.write_batch(writer)?;
            }
        }
    }

    fn row(&mut self) -> Result<(), PostgresError> {
        let count = self.names.len();
        if let Some(edge) = &mut self.edge {
            let is = |at: usize| self.copied.field(at).is_some_and(|byte| byte == [1]);
            let row = self.copied.first_fields(count);
            if is(count + 1) {
                edge.remember(row)?;
            }
            if is(count)
                && let Some(left) = self.known.get_mut(&mark(row)).filter(|left| **left > 0)
            {
                *left -= 1;
                self.left_out += 1;
                return Ok(());
            }
        }
        let taken = self.rows.take(self.copied.row_bytes(), |at| self.copied.field(at));
        self.total += 1;
        taken.map_err(|(at, Unfit(what, help))| PostgresError::Value {
            column: self.names.get(at).cloned().unwrap_or_default(),
            row: self.total,
            what,
            help,
        })
    }

    fn write_batch(&mut self, writer: &mut Writer) -> Result<(), Stop> {
        writer.write(&self.rows.finish()?)?;
        self.send(writer)
    }

    fn send(&self, writer: &mut Writer) -> Result<(), Stop> {
        let bytes = Bytes::from(std::mem::take(writer.get_mut()));
        if bytes.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(Piece::Bytes(bytes))).map_err(|_| Stop::Unwanted)
    }
}

fn say(first: &mut Option<oneshot::Sender<First>>, what: First) {
    if let Some(first) = first.take() {
        let _asked_no_more = first.send(what);
    }
}

fn malformed() -> PostgresError {
    PostgresError::server("the server", "reading rows", &sqlx::Error::Protocol(String::new()))
}
