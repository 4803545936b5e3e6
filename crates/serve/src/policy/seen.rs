//! What an identity sees of datasets beside their rows: which there are, which of their columns, and whether all of them.
//!
//! What the console tells is cut to it, as INFORMATION_SCHEMA is. Invariant: what no query of the identity could name is
//! named nowhere.

use std::sync::Arc;

use vitalake_contract::access::RECORD_COLUMNS;
use vitalake_runtime::config::access::Scope;

use super::Policy;
use super::rules::Shown;
use crate::identity::{Door, Identity};

/// What one identity sees. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Seen {
    policy: Policy,
    key: SeenKey,
}

/// Tells what identities see: where two have the same, they see the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeenKey(Door, Arc<[Arc<str>]>, Scope);

/// How a column is seen that is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnShown {
    /// As it is.
    Clear,
    /// By this mask.
    Masked(&'static str),
}

impl Seen {
    pub(crate) fn new(identity: &Identity, policy: Policy) -> Self {
        let key = SeenKey(identity.door(), Arc::from(identity.roles()), identity.scope().clone());
        Self { policy, key }
    }

    /// Tells this from what others see.
    #[must_use]
    pub fn key(&self) -> &SeenKey {
        &self.key
    }

    /// Whether the platform's own words about all datasets are shown.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.policy.watches()
    }

    /// Whether a table is there.
    #[must_use]
    pub fn table(&self, schema: &str, table: &str) -> bool {
        match &self.policy {
            Policy::AllowAll | Policy::WithoutRecords => true,
            Policy::Roles(roles) => roles.sight(schema, table).is_some(),
        }
    }

    /// Whether all rows of a table are shown: who sees some must not learn how many others there are.
    #[must_use]
    pub fn all_rows(&self, schema: &str, table: &str) -> bool {
        self.policy.shows_all_rows(schema, table)
    }

    /// How a column is seen; none where it cannot be named.
    #[must_use]
    pub fn column(&self, schema: &str, table: &str, column: &str) -> Option<ColumnShown> {
        self.columns(schema, table)(column)
    }

    /// The same for many columns of one table.
    pub(crate) fn columns(&self, schema: &str, table: &str) -> impl Fn(&str) -> Option<ColumnShown> {
        let sight = match &self.policy {
            Policy::Roles(roles) => roles.sight(schema, table),
            Policy::AllowAll | Policy::WithoutRecords => None,
        };
        move |column| match &self.policy {
            Policy::AllowAll => Some(ColumnShown::Clear),
            Policy::WithoutRecords => (!RECORD_COLUMNS.contains(&column)).then_some(ColumnShown::Clear),
            Policy::Roles(_) => match sight.as_ref()?.of(column) {
                Shown::Clear => Some(ColumnShown::Clear),
                Shown::Masked(mask) => Some(ColumnShown::Masked(mask.as_str())),
                Shown::Not(_) => None,
            },
        }
    }
}
