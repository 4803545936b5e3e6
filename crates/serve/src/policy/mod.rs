//! What an identity may see: made of its roles and of what contracts say, and put into every session by one function.
//!
//! A column is shown in the clear, masked or not at all; a row is shown or is not there. `view` gives
//! sessions a value whose tables are so, each behind a barrier in the plan (`barrier`). Invariant: what no contract and
//! no role says is not seen.

mod barrier;
mod consent;
mod explained;
mod hidden;
mod mask;
mod rows;
mod rules;
mod seen;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use vitalake_contract::access::RECORD_COLUMNS;
use vitalake_ops::audit::{Accessed, Shown as Told};
use vitalake_runtime::config::access::Action;

use crate::audit::Watched;
use crate::identity::{Door, Identity};
use crate::pinned::Pinned;

pub use explained::{ColumnSeen, Explained, TableSeen, explain};
use hidden::WithoutColumns;
pub use mask::FEW_PEOPLE_ZIPS;
pub use rules::{Access, AccessProblem};
use rules::{Roles, Shown};
pub use seen::{ColumnShown, Seen, SeenKey};
use view::PolicyView;

/// What an identity may see.
#[derive(Debug, Clone)]
pub(crate) enum Policy {
    /// Everything.
    AllowAll,
    /// Everything but the columns that hold a record as it came.
    WithoutRecords,
    /// What its roles say.
    Roles(Roles),
}

impl Policy {
    /// The policy of an identity.
    pub(crate) fn of(identity: &Identity, access: &Arc<Access>) -> Self {
        match identity.door() {
            Door::Loopback => Self::AllowAll,
            Door::Runbook => Self::WithoutRecords,
            Door::Proof => Self::Roles(access.roles_of(identity)),
        }
    }

    /// The same for a query that is for something.
    ///
    /// # Errors
    /// Says who may state that purpose.
    pub(crate) fn for_purpose(self, purpose: Option<&str>) -> Result<Self, String> {
        match (self, purpose) {
            (Self::Roles(roles), Some(purpose)) => {
                let ask = roles.stating(purpose);
                let refused = || match ask.as_slice() {
                    [] => "no role may state this purpose; ask whoever keeps `access:`".to_owned(),
                    roles => format!("you may not state this purpose; ask for one of the roles {}", roles.join(", ")),
                };
                roles.for_purpose(purpose).map(Self::Roles).ok_or_else(refused)
            }
            (policy, _) => Ok(policy),
        }
    }

    /// Whether it shows records as they came: their bytes cannot be masked column by column.
    pub(crate) fn shows_records(&self) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.shows_records(),
        }
    }

    /// Whether it lets do something beside reading.
    pub(crate) fn may(&self, action: Action) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.may(action),
        }
    }

    /// Whether it lets records or files of a dataset be handed in.
    pub(crate) fn delivers(&self, dataset: &str) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.delivers(dataset),
        }
    }

    /// Whether it shows what the platform says of all datasets.
    pub(crate) fn watches(&self) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.watches(),
        }
    }

    /// Whether it shows who saw what.
    pub(crate) fn audits(&self) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.audits(),
        }
    }

    /// Whether it shows a table as it is.
    pub(crate) fn shows_whole(&self, schema: &str, table: &str) -> bool {
        match self {
            Self::AllowAll => true,
            Self::WithoutRecords => false,
            Self::Roles(roles) => roles.sight(schema, table).is_some_and(|sight| sight.is_whole()),
        }
    }

    /// Whether it shows every row of a table.
    pub(crate) fn shows_all_rows(&self, schema: &str, table: &str) -> bool {
        match self {
            Self::AllowAll | Self::WithoutRecords => true,
            Self::Roles(roles) => roles.sight(schema, table).is_some_and(|sight| sight.shows_all_rows()),
        }
    }

    /// The fingerprint of the rules, where there are any.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        match self {
            Self::AllowAll | Self::WithoutRecords => None,
            Self::Roles(roles) => Some(roles.fingerprint()),
        }
    }

    /// How columns of a table are seen, for the journal.
    pub(crate) fn accessed(&self, schema: &str, table: &str, columns: BTreeSet<String>) -> Accessed {
        let sight = match self {
            Self::AllowAll | Self::WithoutRecords => None,
            Self::Roles(roles) => roles.sight(schema, table),
        };
        let is_masked = |name: &str| sight.as_ref().is_some_and(|sight| matches!(sight.of(name), Shown::Masked(_)));
        let told = |name: String| if is_masked(&name) { (name, Told::Masked) } else { (name, Told::Clear) };
        Accessed {
            dataset: format!("{schema}.{table}"),
            columns: columns.into_iter().map(told).collect(),
            filtered: sight.as_ref().is_some_and(|sight| !sight.shows_all_rows()),
        }
    }

    /// The value as this policy shows it, for one query, with what tells which tables the query's plan reads.
    pub(crate) fn watched(&self, pinned: Arc<dyn Pinned>) -> (Arc<dyn Pinned>, Arc<Watched>) {
        // Around a view of the engine's, which a plan takes apart, a table could not be told again.
        if let Self::WithoutRecords = self {
            let watched = Arc::new(Watched::new(pinned));
            return (self.view(Arc::clone(&watched) as _), watched);
        }
        let watched = Arc::new(Watched::new(self.view(pinned)));
        (Arc::clone(&watched) as _, watched)
    }

    /// The value as this policy shows it. Queries, EXPLAIN and the introspection tables are all made of what this gives,
    /// so that none of them can name what another hides.
    pub(crate) fn view(&self, pinned: Arc<dyn Pinned>) -> Arc<dyn Pinned> {
        match self {
            Self::AllowAll => pinned,
            Self::WithoutRecords => Arc::new(WithoutColumns::new(pinned, &RECORD_COLUMNS)),
            Self::Roles(roles) => Arc::new(PolicyView::new(pinned, roles.clone())),
        }
    }
}
