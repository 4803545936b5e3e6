//! Why something was refused, as PostgreSQL's clients read it: a code of five signs, a sentence of ours, a place.
//!
//! Invariant: the sentence is one of ours, from `QueryError` or written here; no engine's text comes through.

use crate::error::QueryError;

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// PostgreSQL's code, SQLSTATE.
    pub code: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// The character of the statement where it is, from one.
    pub place: Option<usize>,
}

impl Refusal {
    /// A refusal with that code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None }
    }

    /// What is not done here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// What a session said to a statement with that text.
    pub fn of(error: &QueryError, sql: &str) -> Self {
        let place = match error {
            QueryError::Invalid { position: Some(place), .. } => character(sql, place.start),
            _ => None,
        };
        Self { code: code(error), message: error.to_string(), place }
    }

    /// The same for a statement that begins at that character of a text.
    #[must_use]
    pub fn after(self, characters: usize) -> Self {
        Self { place: self.place.map(|place| place + characters), ..self }
    }
}

/// The number of the character at a line and a column, all from one.
fn character(sql: &str, (line, column): (u64, u64)) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
    Some(before + column)
}

fn code(error: &QueryError) -> &'static str {
    match error {
        QueryError::Invalid { message, .. } => code_of(message),
        QueryError::Context(_) => "22023",
        QueryError::ResourceLimit(_) => "54000",
        QueryError::Capacity(_) => "53300",
        QueryError::Timeout { .. } | QueryError::Cancelled => "57014",
        QueryError::Runtime(message) if message.contains("by zero") => "22012",
        QueryError::Runtime(_) => "22000",
        QueryError::NotReady(_) => "57P03",
        QueryError::NotOpen(_) => "55000",
        QueryError::Internal { .. } => "XX000",
    }
}

/// Our own sentences are told apart by how they begin.
fn code_of(message: &str) -> &'static str {
    let begins = |start: &str| message.starts_with(start);
    if message.contains("you may not") {
        "42501"
    } else if begins("relation ") || begins("Object") {
        "42P01"
    } else if begins("schema ") {
        "3F000"
    } else if begins("Column") && message.contains("ambiguous") {
        "42702"
    } else if begins("Column") {
        "42703"
    } else if begins("function ") {
        "42883"
    } else if begins("Cannot apply an operator") || begins("Invalid number or types") {
        "42804"
    } else if begins("Expression is not being grouped") {
        "42803"
    } else if begins("a value could not be cast") || begins("a constant of the query could not") {
        "22P02"
    } else if message.contains("is not supported") || message.contains("are not supported") {
        "0A000"
    } else if begins("a subquery that stands for one value") {
        "21000"
    } else {
        "42601"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Position;

    #[test]
    fn a_place_is_counted_in_characters_over_lines() {
        let error = QueryError::invalid_at("Incorrect syntax", Some(Position { start: (2, 3), end: (2, 3) }));
        assert_eq!(Refusal::of(&error, "SELECT 'ü',\n  x y").place, Some(15));
        assert_eq!(Refusal::of(&error, "SELECT 'ü',\n  x y").after(10).place, Some(25));
    }
}
