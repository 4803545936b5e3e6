//! Epochs that have ended and wait until the input's version of them is known, for works that commit in their own task.
//!
//! Invariant: nothing here takes an epoch out of its queue, so that who is stopped while it waits loses none.

use std::sync::Arc;

use vitalake_lake::Seal;

/// The version of the oldest epoch that is open, once it is known; waits for it where `must_wait`.
pub(super) async fn known_version(oldest: Option<&Arc<Seal>>, must_wait: bool) -> Option<i64> {
    match (oldest?.version_now(), must_wait) {
        (None, true) => Some(oldest?.version().await),
        (known, _) => known,
    }
}

/// Waits until the version of the oldest epoch is known; for ever where none is open.
pub(super) async fn until_known(oldest: Option<&Arc<Seal>>) {
    match oldest {
        Some(seal) => drop(seal.version().await),
        None => std::future::pending().await,
    }
}
