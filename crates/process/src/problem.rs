//! What is wrong with a model, said so that its author can mend it: the binary turns it into a diagnostic of its file.
//!
//! Pure data. Invariant: a problem has a line and a column of the model's file, both counted from one.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::{Location, Span};

/// One thing wrong with a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelProblem {
    /// Line in the model's file, from one.
    pub line: usize,
    /// Column in the line, in characters, from one.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl ModelProblem {
    /// A problem at a place.
    pub(crate) fn at(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line: place.line, column: place.column, message: message.into(), help: help.into() }
    }
}

impl fmt::Display for ModelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} (help: {})", self.line, self.column, self.message, self.help)
    }
}

/// A place in a model's file, from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Place {
    /// A place, from numbers that count from one.
    #[must_use]
    pub fn new(line: usize, column: usize) -> Self {
        Self { line: line.max(1), column: column.max(1) }
    }

    /// Where a span begins; the given place where the parser kept none.
    pub(crate) fn of(span: Span, otherwise: Place) -> Self {
        let Location { line, column } = span.start;
        if line == 0 { otherwise } else { Self::new(usize_of(line), usize_of(column)) }
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The candidate that a misspelt name was meant to be: the nearest by edit distance, when it is near.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, r) in row.iter_mut().skip(1).zip(&right) {
            let change = diagonal + usize::from(l != *r);
            diagonal = *cell;
            *cell = change.min(before + 1).min(diagonal + 1);
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("hourly_step", ["hourly_steps", "patients"].into_iter()), Some("hourly_steps"));
        assert_eq!(nearest("xyz", ["hourly_steps", "patients"].into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
