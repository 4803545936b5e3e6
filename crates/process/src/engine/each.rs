//! Rows of which some cannot be run: the batch is halved until those are alone, and all others go on.
//!
//! Taken for a batch that failed only. Invariant: every row is in what was made or among the failed ones, never in both;
//! an engine that fails whatever the rows are is an error, and no row is blamed for it.

use std::borrow::Cow;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use crate::engine::Engine;
use crate::engine::bounded::TooLarge;
use crate::engine::spark::Failure;
use crate::error::{Error, Result};
use crate::problem::Place;

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
    pub(crate) cause: Cow<'static, str>,
    /// Where in the model, as far as the engine says it.
    pub(crate) place: Option<Place>,
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
    // What fails without any row fails for all of them; an engine that has gone meanwhile says nothing of them.
    let none = first.slice(0, 0);
    if let Err(without) = engine.run(std::slice::from_ref(&none)).await {
        return match cause(&without) {
            Some(_) => Ok(Ran { unrunnable: Some((none, failure)), ..Ran::default() }),
            None => Err(without),
        };
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
            Some(cause) if count == 1 => {
                let place = place(&failure);
                ran.failed.push(FailedRow { row: engine.as_read(&piece)?, cause, place });
            }
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
fn cause(failure: &Error) -> Option<Cow<'static, str>> {
    match failure {
        Error::Panicked { .. } => Some("a function of the engine broke down".into()),
        Error::Engine { source, .. } => of_engine(source).map(Cow::Borrowed),
        Error::Spark { failure, .. } if failure.is_of_statement() => Some(failure.to_string().into()),
        _ => None,
    }
}

/// Where in the model an engine says that it fails.
fn place(failure: &Error) -> Option<Place> {
    match failure {
        Error::Spark { place, failure: Failure::Statement { at: Some(_), .. }, .. } => Some(*place),
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
