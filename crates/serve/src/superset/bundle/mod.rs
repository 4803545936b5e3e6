//! The assets that Superset imports: a database, datasets, charts and dashboards as files of one bundle.
//!
//! Pure: dashboards and contracts come in, texts go out. Invariant: a bundle that is given refers to nothing that is not
//! in it, as Superset takes such a reference without a word and drops what comes after it.

mod chart;
mod check;
mod context;
mod dataset;
mod export;
mod page;
mod query;
mod uuid;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use vitalake_contract::Contract;
use vitalake_contract::dashboard::{Dashboard, MeasureSet, TIME};

pub use self::check::check;
pub use self::export::{Assets, Exported, Refusal, export};
pub use self::uuid::{AssetKind, asset_uuid};
use context::{Charted, DATABASE, VERSION};

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

/// Why no bundle was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A chart's dataset has no contract here.
    #[error("there is no contract of {dataset}; run `vitalake validate`")]
    NoDataset {
        /// The dataset.
        dataset: String,
    },
    /// A name stands for nothing.
    #[error("{dataset} has no {what} `{name}`; run `vitalake validate`")]
    NoName {
        /// The dataset.
        dataset: String,
        /// What it was to be.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// What was made does not hold together.
    #[error("the bundle's {file} is wrong: {reason}")]
    Wrong {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Files of one import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Paths below one folder, and what they hold, in order.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Bundle {
    /// Makes the assets of a project's dashboards, and looks whether they hold together.
    ///
    /// # Errors
    /// When a dashboard refers to something that is not there, which the project's checks find before.
    pub fn of(source: &Source<'_>) -> Result<Self, BundleError> {
        let head = json!({ "version": VERSION, "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00" });
        let mut files = vec![("metadata.yaml".to_owned(), head)];
        files.push((format!("databases/{DATABASE}.yaml"), dataset::database(source)));
        for name in datasets(source.dashboards) {
            let charted = Charted::find(source, &name)?;
            files.push((format!("datasets/{DATABASE}/{name}.yaml"), dataset::dataset(source, &charted)));
        }
        for dashboard in source.dashboards {
            for (name, chart) in dashboard.charts() {
                let path = format!("charts/{}__{name}.yaml", dashboard.name);
                files.push((path, chart::chart(source, dashboard, (name, chart))?));
            }
        }
        for dashboard in source.dashboards {
            files.push((format!("dashboards/{}.yaml", dashboard.name), page::dashboard(source, dashboard)?));
        }
        check(&files)?;
        // JSON is YAML, and has one way to be written.
        let bytes = |file: &Json| format!("{file:#}\n").into_bytes();
        Ok(Self { files: files.iter().map(|(path, file)| (path.clone(), bytes(file))).collect() })
    }
}

/// The datasets that are charted, or whose values filters offer.
fn datasets(dashboards: &[Dashboard]) -> BTreeSet<String> {
    let charted = dashboards.iter().flat_map(Dashboard::charts).map(|(_, chart)| chart.dataset.to_string());
    let filters = dashboards.iter().flat_map(|dashboard| &dashboard.filters).filter(|filter| filter.dimension != TIME);
    charted.chain(filters.filter_map(|filter| filter.dataset.as_ref()).map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests;
