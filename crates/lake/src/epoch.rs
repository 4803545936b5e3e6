//! Epochs: a seal marks the point of a table's changes that one Delta commit holds.
//!
//! A table's changes are numbered. A seal fixes the last number of an epoch when the epoch ends and learns its Delta
//! version when the commit is known. Derived tables stop at each seal, so that what they made of an epoch is exactly
//! what its version holds. Invariant: seals of a table are committed in order.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::books::Account;
use crate::txn::TxnId;

/// The number of a change to a table since this process opened it; 0 stands for what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ChangeNumber(pub u64);

impl ChangeNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The end of an epoch.
#[derive(Debug)]
pub struct Seal {
    /// Counts the seals of the table.
    pub number: u64,
    /// The last change of the epoch.
    pub through: ChangeNumber,
    /// The `txn` actions that its commit carries: application id and version.
    pub txns: BTreeMap<TxnId, i64>,
    /// What was offered in the epoch, and what of it is neither row nor reject.
    pub(crate) account: Account,
    /// Whether readers of the table's changes are given it.
    pub(crate) for_readers: bool,
    version: watch::Sender<Option<i64>>,
}

impl Seal {
    pub(crate) fn new(number: u64, through: ChangeNumber, txns: BTreeMap<TxnId, i64>) -> Self {
        Self { number, through, txns, account: Account::default(), for_readers: true, version: watch::channel(None).0 }
    }

    pub(crate) fn with_account(self, account: Account) -> Self {
        Self { account, ..self }
    }

    pub(crate) fn given_to_readers(self, for_readers: bool) -> Self {
        Self { for_readers, ..self }
    }

    /// The end of what is committed with a version already.
    #[must_use]
    pub fn committed(number: u64, through: ChangeNumber, version: i64) -> Self {
        let seal = Self::new(number, through, BTreeMap::new());
        seal.set_version(version);
        seal
    }

    pub(crate) fn set_version(&self, version: i64) {
        self.version.send_replace(Some(version));
    }

    /// The Delta version that holds the epoch, once it is known.
    #[must_use]
    pub fn version_now(&self) -> Option<i64> {
        *self.version.borrow()
    }

    /// Waits until the epoch has been committed. Never returns when the table is dropped before.
    pub async fn version(&self) -> i64 {
        let mut version = self.version.subscribe();
        loop {
            if let Some(known) = *version.borrow_and_update() {
                return known;
            }
            if version.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
