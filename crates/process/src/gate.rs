//! Whether a commit of a serving table is published or staged. Every derived commit asks here, and nowhere else.
//!
//! Gates are not evaluated yet, so every commit is published. Invariant: what is not published is never committed to
//! the table that readers open.

use vitalake_contract::Contract;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// It goes to the table's head, where every reader sees it.
    Now,
}

/// Decides for one commit of a table with this contract.
#[must_use]
pub fn decide(contract: &Contract) -> Publish {
    let _ = contract;
    Publish::Now
}
