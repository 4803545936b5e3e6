//! Rows of which some cannot be run: the batch is halved until those are alone, and all others go on.
//!
//! Taken for a batch that failed only. Invariant: every row is in what was made or among the failed ones, never in both;
//! an engine that fails whatever the rows are is an error, and no row is blamed for it.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use crate::engine::Engine;
use crate::engine::bounded::TooLarge;
use crate::error::{Error, Result};

/// What came of rows.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) made: Vec<RecordBatch>,
    pub(crate) failed: Vec<FailedRow>,
    /// No row, and the failure, where the engine fails whatever the rows are.
    pub(crate) unrunnable: Option<(RecordBatch, Error)>,
}

/// A row of the driving table that the engine could not run.
#[derive(Debug)]
pub(crate) struct FailedRow {
    /// The row, alone, with the columns that the model reads.
    pub(crate) row: RecordBatch,
    /// Why, without a value.
    pub(crate) cause: &'static str,
}

/// Runs rows, and where that fails finds those that cannot be run: with one such row about twice as many runs as the
/// batch has halvings.
pub(crate) async fn run_each(engine: &Engine, rows: &[RecordBatch]) -> Result<Ran> {
    let failure = match engine.run(rows).await {
        Ok(made) => return Ok(Ran { made, ..Ran::default() }),
        Err(failure) => failure,
    };
    let Some(first) = rows.first() else { return Err(failure) };
    if cause(&failure).is_none() {
        return Err(failure);
    }
    // What fails without any row fails for all of them.
    let none = first.slice(0, 0);
    if engine.run(std::slice::from_ref(&none)).await.is_err() {
        return Ok(Ran { unrunnable: Some((none, failure)), ..Ran::default() });
    }
    let mut ran = Ran::default();
    // Last in, first out: the halves of a batch come before what follows it, so that rows keep their order.
    let mut pieces: Vec<RecordBatch> = rows.iter().rev().filter(|batch| batch.num_rows() > 0).cloned().collect();
    while let Some(piece) = pieces.pop() {
        let failure = match engine.run(std::slice::from_ref(&piece)).await {
            Ok(made) => {
                ran.made.extend(made);
                continue;
            }
            Err(failure) => failure,
        };
        let count = piece.num_rows();
        match cause(&failure) {
            None => return Err(failure),
            Some(cause) if count == 1 => ran.failed.push(FailedRow { row: engine.as_read(&piece)?, cause }),
            Some(_) => {
                pieces.push(piece.slice(count / 2, count - count / 2));
                pieces.push(piece.slice(0, count / 2));
            }
        }
        // A batch of bad rows is many runs: others have their turn between.
        tokio::task::yield_now().await;
    }
    Ok(ran)
}

/// What a row can be blamed for; `None` for what is no row's fault.
fn cause(failure: &Error) -> Option<&'static str> {
    match failure {
        Error::Panicked { .. } => Some("a function of the engine broke down"),
        Error::Engine { source, .. } => of_engine(source),
        _ => None,
    }
}

fn of_engine(error: &DataFusionError) -> Option<&'static str> {
    Some(match error.find_root() {
        DataFusionError::External(source) if source.is::<TooLarge>() => "its result would be too large",
        // Groups and joins of a batch that is halved need less.
        DataFusionError::ResourcesExhausted(_) => "its result would be too large",
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) | DataFusionError::ExecutionJoin(_) => {
            return None;
        }
        DataFusionError::ArrowError(source, _) => match source.as_ref() {
            ArrowError::IoError(..) => return None,
            ArrowError::DivideByZero => "it divides by zero",
            ArrowError::ArithmeticOverflow(_) => "a number is too large or too small for its type",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => {
                "a value cannot be converted to the type that is wanted"
            }
            _ => "a function cannot be computed",
        },
        _ => "a function cannot be computed",
    })
}
