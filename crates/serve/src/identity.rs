//! Who asks, and what they may see. No surface makes a policy: [`Sessions::open`](crate::session::Sessions::open) does.
//!
//! Invariant: two identities are the same only when the same door let them in under the same name.

use std::sync::Arc;

use crate::hidden::WithoutColumns;
use crate::pinned::Pinned;

/// Columns that hold a record, or parts of it, as it came: no contract says what is in them.
pub const RECORD_COLUMNS: [&str; 4] = ["_raw", "_rescued", "_key", "_headers"];

/// What vouches for a client's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Door {
    /// Reaching a loopback address of this machine.
    Loopback,
    /// Being a query of a runbook, whoever opens it: its answer is kept and shown to whoever is called at night.
    Runbook,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    door: Door,
    name: String,
}

impl Identity {
    /// Whoever can reach a loopback address.
    pub fn local() -> Self {
        Self::new(Door::Loopback, "local")
    }

    /// The queries of runbooks.
    pub fn runbook() -> Self {
        Self::new(Door::Runbook, "runbook")
    }

    /// A client by the name that a door vouches for.
    pub fn new(door: Door, name: impl Into<String>) -> Self {
        Self { door, name: name.into() }
    }

    /// What let it in.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The name that audit knows.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether an identity may see records as they came: their bytes cannot be masked column by column, so only who may see
/// everything does.
#[must_use]
pub fn may_see_records(identity: &Identity) -> bool {
    Policy::of(identity) == Policy::AllowAll
}

/// What an identity may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Everything.
    AllowAll,
    /// Everything but the columns that hold a record as it came.
    WithoutRecords,
}

impl Policy {
    /// The policy of an identity.
    pub(crate) fn of(identity: &Identity) -> Self {
        match identity.door() {
            Door::Loopback => Self::AllowAll,
            Door::Runbook => Self::WithoutRecords,
        }
    }

    /// The value as this policy shows it. Queries, EXPLAIN and the introspection tables are all made of what this gives,
    /// so that none of them can name what another hides.
    pub(crate) fn view(&self, pinned: Arc<dyn Pinned>) -> Arc<dyn Pinned> {
        match self {
            Self::AllowAll => pinned,
            Self::WithoutRecords => Arc::new(WithoutColumns::new(pinned, &RECORD_COLUMNS)),
        }
    }
}
