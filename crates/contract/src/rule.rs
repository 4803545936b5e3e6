//! Rules of a compiled contract: what a row must keep, and what a set of rows must keep.
//!
//! Pure data; `check` evaluates row rules over Arrow arrays. Invariant: a rule's column index is one of its contract's.

use std::fmt;

use regex::Regex;

use crate::compile::sql::column_name;
use crate::contract::Column;
use crate::schedule::Schedule;

/// What breaking a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The row is counted and kept.
    Warning,
    /// The row goes to quarantine.
    Error,
    /// The batch is not promoted.
    Fatal,
}

/// Every word that means a severity, in any case; the first of each is its own name.
pub const SEVERITIES: [(&str, Severity); 16] = [
    ("fatal", Severity::Fatal),
    ("blocker", Severity::Fatal),
    ("error", Severity::Error),
    ("critical", Severity::Error),
    ("severe", Severity::Error),
    ("high", Severity::Error),
    ("major", Severity::Error),
    ("warning", Severity::Warning),
    ("warn", Severity::Warning),
    ("info", Severity::Warning),
    ("information", Severity::Warning),
    ("notice", Severity::Warning),
    ("medium", Severity::Warning),
    ("minor", Severity::Warning),
    ("low", Severity::Warning),
    ("none", Severity::Warning),
];

impl Severity {
    /// The severity that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        SEVERITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word.trim())).map(|(_, severity)| *severity)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// A rule on one row.
#[derive(Clone, Debug)]
pub struct RowRule {
    /// Its name, as in `_rule` of a quarantined row: `steps.minimum`.
    pub name: String,
    /// The column that it is about; `None` for a predicate over the whole row.
    pub column: Option<usize>,
    /// What must hold.
    pub check: Check,
    /// What breaking it means.
    pub severity: Severity,
}

/// What must hold for a value. A null keeps every check but `Required`.
#[derive(Clone, Debug)]
pub enum Check {
    /// Not null.
    Required,
    /// At least so many characters.
    MinLength(u64),
    /// At most so many characters.
    MaxLength(u64),
    /// Matches the pattern somewhere (ECMA 262 semantics, as ODCS says).
    Pattern(Regex),
    /// Is one of these, compared as text (for numbers: as numbers).
    OneOf(Vec<String>),
    /// `>=`; dates and timestamps in their Arrow unit.
    Minimum(Bound),
    /// `<=`.
    Maximum(Bound),
    /// `>`.
    ExclusiveMinimum(Bound),
    /// `<`.
    ExclusiveMaximum(Bound),
    /// A whole multiple.
    MultipleOf(f64),
    /// A SQL predicate that is true of rows that BREAK the rule (from `SELECT COUNT(*) FROM {object} WHERE p`,
    /// `mustBe: 0`). Evaluated by the lake with DataFusion, not by this crate.
    NotSql(String),
}

/// A bound of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// For integers, dates (days) and timestamps (µs).
    Whole(i64),
    /// For numbers.
    Real(f64),
}

/// A rule on a delivery, a window or the table.
#[derive(Clone, Debug)]
pub struct SetRule {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// What the measure must be.
    pub must: Must,
    /// What breaking it means.
    pub severity: Severity,
    /// When the whole table is measured; where the contract is silent, whoever measures decides.
    pub schedule: Option<Schedule>,
}

/// What a set rule measures.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Number of rows.
    RowCount,
    /// Rows that share the columns' values with another row; all of them are counted. A null makes no duplicate.
    DuplicateValues(Vec<usize>),
    /// Rows with a null in the column.
    NullValues(usize),
    /// One number from one row of SQL, `{object}` replaced by the dataset.
    Sql(String),
}

impl Measure {
    /// The query that measures it over these columns, with `{object}` for the dataset; none when an index is not theirs.
    #[must_use]
    pub fn query(&self, columns: &[Column]) -> Option<String> {
        let name = |index: &usize| columns.get(*index).map(|column| column_name(&column.name));
        Some(match self {
            Self::RowCount => "SELECT COUNT(*) FROM {object}".to_owned(),
            Self::NullValues(index) => format!("SELECT COUNT(*) FROM {{object}} WHERE {} IS NULL", name(index)?),
            Self::DuplicateValues(indices) => {
                let names = indices.iter().map(name).collect::<Option<Vec<_>>>()?;
                let whole: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
                format!(
                    "SELECT COALESCE(SUM(_rows), 0) FROM (SELECT COUNT(*) AS _rows FROM {{object}} WHERE {} GROUP BY {} \
                     HAVING COUNT(*) > 1) AS g",
                    whole.join(" AND "),
                    names.join(", ")
                )
            }
            Self::Sql(query) => query.clone(),
        })
    }
}

/// A comparison of the standard.
#[derive(Clone, Debug, PartialEq)]
pub enum Must {
    /// `mustBe`
    Be(f64),
    /// `mustNotBe`
    NotBe(f64),
    /// `mustBeGreaterThan`
    BeGreaterThan(f64),
    /// `mustBeGreaterOrEqualTo`
    BeGreaterOrEqualTo(f64),
    /// `mustBeLessThan`
    BeLessThan(f64),
    /// `mustBeLessOrEqualTo`
    BeLessOrEqualTo(f64),
    /// `mustBeBetween`, both ends included
    BeBetween(f64, f64),
    /// `mustNotBeBetween`
    NotBeBetween(f64, f64),
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
