//! What can go wrong between a statement and its rows, by what the caller can do about it.
//!
//! One invariant: nothing that Spark says in words is in here. Its messages and parameters hold values of records; its
//! error classes, SQL states and positions do not.

use std::ops::Range;

use vitalake_runtime::error::{Class, Classified, Retry};

use crate::proto::FetchErrorDetailsResponse;
use crate::proto::fetch_error_details_response::QueryContext;
use crate::proto::fetch_error_details_response::query_context::ContextType;
use crate::verdict::{self, Said};

/// Why a statement gave no rows, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is not one.
    #[error("the address of Spark is not one: {reason}; write sc://host:port/;use_ssl=true;token=…")]
    Endpoint {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Spark cannot be reached, or its connection broke and did not come back in time.
    #[error("Spark at {endpoint} is away: {reason}")]
    Away {
        /// Where it should be.
        endpoint: String,
        /// What the network, or the protocol's status, says.
        reason: String,
    },
    /// Spark, or what stands before it, does not let us in.
    #[error("Spark at {endpoint} refuses us ({status}): check the token and the user")]
    Refused {
        /// Where it is.
        endpoint: String,
        /// The protocol's status.
        status: &'static str,
    },
    /// The session, or the operation, is not known there any more: Spark has begun anew, or closed it.
    #[error("Spark at {endpoint} has lost the session: run the statement again")]
    SessionLost {
        /// Where it is.
        endpoint: String,
    },
    /// The statement cannot be run, as it is, on what it is given.
    #[error("Spark cannot run the statement: {}", said(class.as_deref(), sql_state.as_deref()))]
    Statement {
        /// Spark's error class, `DIVIDE_BY_ZERO`.
        class: Option<String>,
        /// The SQL state, `22012`.
        sql_state: Option<String>,
        /// The bytes of the statement that it is about.
        place: Option<Range<usize>>,
    },
    /// Spark itself failed: an executor, memory, storage, or somebody who cancelled.
    #[error("Spark failed to run the statement: {}", said(class.as_deref(), sql_state.as_deref()))]
    Failed {
        /// Spark's error class, when it has one.
        class: Option<String>,
        /// The SQL state, when it has one.
        sql_state: Option<String>,
    },
    /// What answers does not speak the protocol as Spark 4 does.
    #[error("what answers at {endpoint} is not Spark Connect 4: {reason}")]
    Protocol {
        /// Where it is.
        endpoint: String,
        /// What it said, or did not say.
        reason: &'static str,
    },
    /// Spark is older than what is asked of it.
    #[error("Spark at {endpoint} is version {version}: Spark 4.1 or newer is needed")]
    Version {
        /// Where it is.
        endpoint: String,
        /// Its version.
        version: String,
    },
    /// A column of an input has a type that Spark does not take.
    #[error("column {column} of input {input} is {kind}, which Spark does not take")]
    InputType {
        /// The input's name.
        input: String,
        /// The column's name.
        column: String,
        /// Its Arrow type.
        kind: String,
    },
    /// The rows of an input are more than are sent in one statement.
    #[error("input {input} is larger than the {limit_bytes} bytes that a statement takes: give it as files")]
    InputSize {
        /// The input's name.
        input: String,
        /// The most that is sent.
        limit_bytes: u64,
    },
    /// The answer cannot be read as Arrow of the schema that was said.
    #[error("Spark's answer cannot be read: {reason}")]
    Answer {
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Spark's error class, such as `DIVIDE_BY_ZERO` or `CAST_INVALID_INPUT`.
    #[must_use]
    pub fn error_class(&self) -> Option<&str> {
        match self {
            Self::Statement { class, .. } | Self::Failed { class, .. } => class.as_deref(),
            _ => None,
        }
    }

    /// The SQL state, such as `22012`.
    #[must_use]
    pub fn sql_state(&self) -> Option<&str> {
        match self {
            Self::Statement { sql_state, .. } | Self::Failed { sql_state, .. } => sql_state.as_deref(),
            _ => None,
        }
    }

    /// The bytes of the statement's text that the error is about.
    #[must_use]
    pub fn place(&self) -> Option<Range<usize>> {
        match self {
            Self::Statement { place, .. } => place.clone(),
            _ => None,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Endpoint { .. } | Self::Statement { .. } | Self::InputType { .. } | Self::InputSize { .. } => {
                Class::User
            }
            Self::Away { .. } | Self::Refused { .. } | Self::SessionLost { .. } | Self::Failed { .. } => {
                Class::External
            }
            Self::Protocol { .. } | Self::Version { .. } | Self::Answer { .. } => Class::External,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Away { .. } | Self::Refused { .. } | Self::SessionLost { .. } | Self::Failed { .. } => Retry::Later,
            // What answers there may be replaced by what should.
            Self::Protocol { .. } | Self::Version { .. } => Retry::Later,
            Self::Endpoint { .. } | Self::Statement { .. } => Retry::Never,
            Self::InputType { .. } | Self::InputSize { .. } | Self::Answer { .. } => Retry::Never,
        }
    }
}

fn said(class: Option<&str>, sql_state: Option<&str>) -> String {
    match (class, sql_state) {
        (Some(class), Some(state)) => format!("{class} (SQL state {state})"),
        (Some(class), None) => class.to_owned(),
        (None, Some(state)) => format!("SQL state {state}"),
        (None, None) => String::from("it does not say why"),
    }
}

/// What Java itself throws at a value, where Spark has no error class for it: `Division impossible` of a decimal is one.
const OF_VALUES: [&str; 4] = [
    "java.lang.ArithmeticException",
    "java.lang.IllegalArgumentException",
    "java.lang.NegativeArraySizeException",
    "java.time.DateTimeException",
];

/// An error of Spark's with what it tells of it: the first cause that has a class is the one that says what happened.
pub(crate) fn from_details(details: FetchErrorDetailsResponse, said: Said, statement: &str) -> Error {
    let mut at = details.root_error_idx;
    let mut found = None;
    let (mut line, mut of_values) = (said.line, false);
    // Causes are as many as errors at most, whatever they point at.
    for _ in 0..details.errors.len() {
        let Some(error) = at.and_then(|at| details.errors.get(usize::try_from(at).ok()?)) else { break };
        line = line.or_else(|| verdict::line(&error.message));
        of_values |= error.error_type_hierarchy.iter().any(|name| OF_VALUES.contains(&name.as_str()));
        if let Some(throwable) = error.spark_throwable.as_ref().filter(|throwable| throwable.error_class.is_some()) {
            found = Some(throwable);
            break;
        }
        at = error.cause_idx;
    }
    let class = found.and_then(|found| verdict::as_class(found.error_class.as_deref()?)).or(said.class);
    let sql_state = found.and_then(|found| verdict::as_sql_state(found.sql_state.as_deref()?)).or(said.sql_state);
    let of_values = of_values && class.is_none() && sql_state.is_none();
    if !of_values && !verdict::is_of_the_statement(class.as_deref(), sql_state.as_deref()) {
        return Error::Failed { class, sql_state };
    }
    let contexts = found.map(|found| found.query_contexts.as_slice()).unwrap_or_default();
    let place = contexts.iter().find_map(|context| place(context, statement)).or_else(|| at_line(line?, statement));
    Error::Statement { class, sql_state, place }
}

/// Spark counts characters, from the first to the last; we count bytes, up to the first that is not of it.
fn place(context: &QueryContext, statement: &str) -> Option<Range<usize>> {
    let (first, last) = (usize::try_from(context.start_index).ok()?, usize::try_from(context.stop_index).ok()?);
    // A view has a text of its own, into which the context then points.
    if !context.object_type.is_empty() || context.context_type() != ContextType::Sql || last < first {
        return None;
    }
    let start = statement.char_indices().nth(first)?.0;
    let (end, character) = statement.char_indices().nth(last)?;
    Some(start..end + character.len_utf8())
}

/// A parser says a line, from 1, and how many characters stand before.
fn at_line((line, column): (usize, usize), statement: &str) -> Option<Range<usize>> {
    let before: usize = statement.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let text = statement.get(before..)?.split('\n').next()?;
    let start = before + text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
    let end = statement.get(start..)?.chars().next().map_or(start, |character| start + character.len_utf8());
    Some(start..end)
}
