//! A dataset whose table could not be opened: it stands still alone, and the lake goes on without it.
//!
//! Its contract no longer fits the table that is there, or its log cannot be read. Invariant: nothing is read from such a
//! table or written to it before it opens as a whole.

use std::sync::Arc;

use vitalake_contract::Contract;
use vitalake_runtime::error::{Classified, Retry, in_full};

use crate::catalogue::{Space, TableId};
use crate::error::LakeError;
use crate::lake::{Lake, TableSpec, open_table};

/// A table that is not open, and why.
#[derive(Debug)]
pub struct Unopened {
    spec: TableSpec,
    error: LakeError,
}

impl Unopened {
    pub(crate) fn new(spec: TableSpec, error: LakeError) -> Self {
        Self { spec, error }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TableId {
        TableId::new(Space::from(self.spec.contract.layer), self.spec.contract.dataset.clone())
    }

    /// Its contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.spec.contract
    }

    /// Whether a gate stands between its commits and its readers.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.spec.gated
    }

    /// What happened and what to do, with the causes: they name files and columns.
    #[must_use]
    pub fn reason(&self) -> String {
        in_full(&self.error)
    }

    /// Whether it may open by itself: the store refused, or another process has yet to make the table.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        self.error.retry() == Retry::Later
    }

    pub(crate) fn into_error(self) -> LakeError {
        self.error
    }

    pub(crate) fn refusal(&self) -> LakeError {
        LakeError::NotOpen { table: self.id(), reason: self.reason() }
    }
}

impl Lake {
    /// The tables that could not be opened, by name.
    pub fn unopened(&self) -> impl Iterator<Item = &Unopened> {
        self.unopened.values()
    }

    /// Whether a table that is not open here could be opened now: then a new lake has it.
    pub async fn would_open(&self, unopened: &Unopened) -> bool {
        open_table(&self.shared, unopened.spec.clone()).await.is_ok()
    }
}
