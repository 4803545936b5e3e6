//! What is known while assets are made: the source's parts by name, and ids.
//!
//! Invariant: a name that the project's checks have passed is found here.

use serde_json::{Value as Json, json};
use vitalake_contract::dashboard::{Dashboard, Measure, MeasureSet, TIME, TimeAxis, time_of, title_of};
use vitalake_contract::{ColumnType, Contract};

use super::uuid::{AssetKind, asset_uuid};
use super::{BundleError, Source};

/// The database's name, and of the folder of its datasets.
pub(super) const DATABASE: &str = "vitalake";
/// The form of the files.
pub(super) const VERSION: &str = "1.0.0";

/// One charted dataset.
#[derive(Clone, Copy)]
pub(super) struct Charted<'a> {
    pub(super) contract: &'a Contract,
    pub(super) set: Option<&'a MeasureSet>,
    pub(super) time: Option<TimeAxis<'a>>,
}

impl<'a> Charted<'a> {
    /// The dataset with a name.
    pub(super) fn find(source: &Source<'a>, dataset: &str) -> Result<Self, BundleError> {
        let contract = source.contracts.iter().find(|contract| contract.dataset.as_str() == dataset);
        let contract = contract.ok_or_else(|| BundleError::NoDataset { dataset: dataset.to_owned() })?;
        let set = source.measures.iter().find(|set| set.dataset == contract.dataset);
        Ok(Self { contract, set, time: time_of(contract) })
    }

    /// Whether its time is a day.
    pub(super) fn is_by_day(&self) -> bool {
        self.time.is_some_and(|time| matches!(time.column.kind, ColumnType::Date(_)))
    }

    pub(super) fn measure(&self, name: &str) -> Result<&'a Measure, BundleError> {
        let found = self.set.and_then(|set| set.measure(name));
        found.ok_or_else(|| self.missing("measure", name))
    }

    /// The name of a dimension's column in Superset.
    pub(super) fn column(&self, name: &str) -> Result<&'a str, BundleError> {
        if name == TIME {
            return self.time.map(|time| time.sql_name).ok_or_else(|| self.missing("time", name));
        }
        let of_contract = self.contract.columns.iter().find(|column| *column.name == *name).map(|column| &*column.name);
        let computed = || self.set.and_then(|set| set.dimension(name)).map(|dimension| dimension.name.as_str());
        of_contract.or_else(computed).ok_or_else(|| self.missing("column", name))
    }

    /// What a dimension is called.
    pub(super) fn title(&self, name: &str) -> String {
        let said = self.set.and_then(|set| set.dimension(name)).and_then(|dimension| dimension.title.clone());
        let column = match self.time {
            Some(time) if name == TIME => Some(time.column),
            _ => self.contract.columns.iter().find(|column| *column.name == *name),
        };
        said.or_else(|| column.and_then(|column| column.title.clone()))
            .unwrap_or_else(|| title_of(column.map_or(name, |column| &column.name)))
    }

    fn missing(&self, what: &'static str, name: &str) -> BundleError {
        BundleError::NoName { dataset: self.contract.dataset.to_string(), what, name: name.to_owned() }
    }
}

impl Source<'_> {
    /// Whether the time of all that a page shows is a day.
    pub(super) fn is_by_day(&self, dashboard: &Dashboard) -> bool {
        let mut charted = dashboard.charts().map(|(_, chart)| Charted::find(self, chart.dataset.as_str())).peekable();
        charted.peek().is_some() && charted.all(|charted| charted.is_ok_and(|charted| charted.is_by_day()))
    }

    /// The id of an asset of the project.
    pub(super) fn uuid(&self, kind: AssetKind, name: &str) -> String {
        asset_uuid(self.project, kind, name).to_string()
    }

    /// Where an asset says that it is managed.
    pub(super) fn external_url(&self, path: &str) -> Json {
        match self.managed_at.trim_end_matches('/') {
            "" => Json::Null,
            base => json!(format!("{base}/{path}")),
        }
    }
}
