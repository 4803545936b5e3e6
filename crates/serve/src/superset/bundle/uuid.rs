//! Ids of assets, made of names: the same dashboard is the same asset on every Superset.
//!
//! Invariant: an id follows from project, kind and name alone.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// What Superset keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssetKind {
    /// A connection.
    Database,
    /// A dataset with its columns and metrics.
    Dataset,
    /// A chart; its name is `dashboard/chart`.
    Chart,
    /// A dashboard.
    Dashboard,
}

impl AssetKind {
    /// All of them, each after those that it refers to.
    pub const ALL: [Self; 4] = [Self::Database, Self::Dataset, Self::Chart, Self::Dashboard];

    /// The word for one of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Dataset => "dataset",
            Self::Chart => "chart",
            Self::Dashboard => "dashboard",
        }
    }
}

/// The id of a project's asset.
#[must_use]
pub fn asset_uuid(project: &str, kind: AssetKind, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    for part in ["vitalake/superset", project, kind.as_str(), name] {
        // Each part with its length: `a/b`, `c` is another name than `a`, `b/c`.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_project_kind_and_name() {
        let id = |project, kind, name| asset_uuid(project, kind, name);
        let one = id("remote-care", AssetKind::Chart, "ward/trend");
        assert_eq!(one.to_string(), "5a226818-7a23-882b-899c-36550128ca0b");
        for other in [
            id("remote", AssetKind::Chart, "ward/trend"),
            id("remote-care", AssetKind::Dashboard, "ward/trend"),
            id("remote-care", AssetKind::Chart, "ward/trends"),
        ] {
            assert_ne!(one, other);
        }
    }
}
