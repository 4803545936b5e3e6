//! The gate of a table: whether a commit goes to the head that every reader opens.
//!
//! It is asked when the commit's files are written and nothing of it is committed: it may read them. What it checks is
//! the model's crate's business; here is only the question. When another writer commits in between, it is asked
//! again about the version that is there then. Invariant: no commit of rows goes past a table's gate, which has seen the
//! version that it follows; of what a gate holds nothing is committed, rejects neither unless another writer came in
//! between: then those are ahead, as after a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::catalogue::TableId;
use crate::delta::{DataFile, Snapshot};
use crate::txn::TxnId;

/// A commit whose files are written and that nobody sees yet.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The table.
    pub table: &'a TableId,
    /// The version that it would follow.
    pub head: &'a Arc<Snapshot>,
    /// Files that it would add.
    pub adds: &'a [Arc<DataFile>],
    /// Files of the head that it would take away.
    pub removes: &'a [Arc<DataFile>],
    /// Transactions that it would carry.
    pub txns: &'a BTreeMap<TxnId, i64>,
}

/// What becomes of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the table's head.
    Publish,
    /// It does not, for these reasons.
    Hold(Vec<HoldReason>),
}

/// Why a candidate is held: one rule that it does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReason {
    /// The rule's name.
    pub rule: String,
    /// What was found: a count, an age; never a record's value.
    pub got: String,
    /// What the rule wants.
    pub want: String,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} in place of {}", self.rule, self.got, self.want)
    }
}

/// Judges a table's candidates.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Whether a candidate is published or held. A gate that cannot tell holds and says why.
    fn judge<'a>(&'a self, candidate: Candidate<'a>) -> BoxFuture<'a, Verdict>;
}
