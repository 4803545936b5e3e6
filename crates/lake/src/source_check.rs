//! A question between an epoch's end and its commit: whether what was read for it may still be committed.
//!
//! A source can change under a table, as when a topic is deleted and made again under its name. Who lands from it asks
//! here, when nothing more can come into the epoch and nothing of it is committed. Invariant: an epoch that was refused
//! is never committed by this process.

use std::collections::BTreeMap;
use std::fmt;

use futures::future::BoxFuture;

use crate::delta::Snapshot;
use crate::txn::TxnId;

/// Asked before each commit of a table that lands from a source.
pub trait SourceCheck: fmt::Debug + Send + Sync {
    /// Whether an epoch with these transactions may follow this head.
    fn may_commit<'a>(&'a self, head: &'a Snapshot, txns: &'a BTreeMap<TxnId, i64>) -> BoxFuture<'a, bool>;
}
