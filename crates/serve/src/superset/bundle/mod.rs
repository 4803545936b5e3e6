//! The assets that Superset imports: a database, datasets, charts and dashboards as files of one bundle.
//!
//! Pure: dashboards and contracts come in, texts go out. Invariant: a bundle that is given refers to nothing that is not
//! in it, as Superset takes such a reference without a word and drops what comes after it.

mod uuid;

use std::collections::BTreeMap;
use std::sync::Arc;

use vitalake_contract::Contract;
use vitalake_contract::dashboard::{Dashboard, MeasureSet};

pub use self::uuid::{AssetKind, asset_uuid};

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The project's name: what ids are made of.
    pub project: &'a str,
    /// The dashboards.
    pub dashboards: &'a [Dashboard],
    /// Measures of the datasets.
    pub measures: &'a [MeasureSet],
    /// The contracts of all datasets that are charted; others do no harm.
    pub contracts: &'a [Arc<Contract>],
    /// How Superset reaches the datasets.
    pub database: Database<'a>,
    /// What a dataset's gate says, in words, by the dataset's name: `gate passed`.
    pub gates: BTreeMap<String, String>,
    /// Where assets say that they are managed: the beginning of every `external_url`, such as the repository's address.
    pub managed_at: &'a str,
    /// Where runbooks are shown: `http://127.0.0.1:8888/runbooks`.
    pub runbooks_at: &'a str,
}

/// The connection.
#[derive(Clone, Copy, Debug)]
pub struct Database<'a> {
    /// SQLAlchemy's URI, the password as `XXXXXXXXXX`.
    pub uri: &'a str,
    /// The schema of the datasets there: `druid`.
    pub schema: &'a str,
}

/// Files of one import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Paths below one folder, and what they hold, in order.
    pub files: Vec<(String, Vec<u8>)>,
}
