//! What judges the commits of derived tables. Every one of them is asked for here, and nowhere else.
//!
//! Gates are not evaluated yet, so every candidate is published. Invariant: what is held is never committed to the table
//! that readers open; the lake asks before it commits.

use futures::FutureExt;
use futures::future::BoxFuture;
use vitalake_lake::{Candidate, Gate, Verdict};

/// The gate of a table without conditions.
#[derive(Clone, Copy, Debug)]
pub struct Unconditional;

impl Gate for Unconditional {
    fn judge<'a>(&'a self, _candidate: Candidate<'a>) -> BoxFuture<'a, Verdict> {
        std::future::ready(Verdict::Publish).boxed()
    }
}
