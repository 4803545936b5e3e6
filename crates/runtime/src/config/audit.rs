//! Settings of the audit journal, and of where lineage is told.
//!
//! Invariant: what may be secret is hidden in Debug.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::notify::Hidden;

/// How long rows of `ops.audit` are kept: six years, as 45 CFR 164.316(b)(2) and 164.528 ask.
pub const AUDIT_RETENTION_MS_DEFAULT: u64 = 2_192 * 24 * 3_600_000;

/// The audit journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The folder of its keys; inside the journal's own where none is named.
    pub keys: Option<PathBuf>,
    /// Where signed heads are kept as well: a folder, or an address that takes each by POST.
    pub export: Option<String>,
    /// How long rows of `ops.audit` are kept, in milliseconds.
    pub retention_ms: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keys: None, export: None, retention_ms: AUDIT_RETENTION_MS_DEFAULT }
    }
}

impl Audit {
    /// The folder that heads are exported to, where it is one.
    #[must_use]
    pub fn export_folder(&self) -> Option<PathBuf> {
        self.export.as_deref().filter(|place| !is_url(place)).map(PathBuf::from)
    }

    /// The address that heads are sent to, where it is one.
    #[must_use]
    pub fn export_url(&self) -> Option<&str> {
        self.export.as_deref().filter(|place| is_url(place))
    }
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Where lineage is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The address that takes OpenLineage events by POST.
    pub url: Option<String>,
    /// Headers of each request to it. May hold secrets.
    pub headers: BTreeMap<String, Hidden>,
}
