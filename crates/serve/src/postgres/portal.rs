//! Rows on their way to a client: of a portal, of a cursor, or of a query that is sent at once.

use arrow::record_batch::RecordBatch;
use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::encode;
use super::refusal::Refusal;
use super::reply::Column;
use super::statement::Statement;
use super::types::column;
use crate::error::QueryError;
use crate::session::Answer;
use crate::sql::fault::{Phase, explain};

/// The answer of a query, as far as it was sent.
pub struct Rows {
    answer: Answer,
    /// The columns.
    pub columns: Vec<Column>,
    sql: String,
    batch: Option<RecordBatch>,
    has_ended: bool,
    cpu: Handle,
    /// When it is given up.
    pub deadline: Instant,
}

impl Rows {
    /// The rows of an answer to a query with that text.
    pub fn new(answer: Answer, sql: String, cpu: Handle, deadline: Instant) -> Self {
        let fields = answer.schema().fields().iter().zip(answer.labels());
        let columns = fields.map(|(field, label)| column(label, field)).collect();
        Self { answer, columns, sql, batch: None, has_ended: false, cpu, deadline }
    }

    /// The id by which it can be cancelled.
    pub fn query_id(&self) -> &str {
        self.answer.query_id()
    }

    /// So many rows at most as messages, and how many they are; nothing where there are no more.
    ///
    /// # Errors
    /// What the session says, or that a value cannot be written.
    pub async fn next(&mut self, rows_max: usize, formats: &[i16]) -> Result<Option<(usize, BytesMut)>, Refusal> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None if self.has_ended => return Ok(None),
            None => match self.answer.next().await.map_err(|error| Refusal::of(&error, &self.sql))? {
                Some(batch) => batch,
                None => {
                    self.has_ended = true;
                    return Ok(None);
                }
            },
        };
        let count = batch.num_rows().min(rows_max);
        if count < batch.num_rows() {
            self.batch = Some(batch.slice(count, batch.num_rows() - count));
        }
        let part = batch.slice(0, count);
        let types: Vec<u32> = self.columns.iter().map(|column| column.type_id).collect();
        let formats = formats.to_vec();
        let written = self.cpu.spawn(async move { encode::rows(&part, &types, &formats) }).await;
        match written {
            Ok(Ok(bytes)) => Ok(Some((count, bytes))),
            Ok(Err(error)) => {
                let error = explain(&error.into(), Phase::Running, self.answer.query_id(), false);
                Err(Refusal::of(&error, &self.sql))
            }
            Err(_) => Err(Refusal::of(&QueryError::Internal { id: self.answer.query_id().to_owned() }, &self.sql)),
        }
    }
}

/// A statement with values for its parameters.
pub struct Portal {
    /// What it is.
    pub statement: Statement,
    /// Its text.
    pub sql: String,
    /// The values.
    pub parameters: Vec<datafusion::sql::sqlparser::ast::Expr>,
    /// Forms of the columns.
    pub formats: Vec<i16>,
    /// The columns that the client was told of before the values were known.
    pub told: Option<Vec<Column>>,
    /// Its rows, once they were asked for.
    pub rows: Option<Rows>,
    /// Whether all of them were sent.
    pub is_done: bool,
}
