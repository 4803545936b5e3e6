//! A project's directory: what a team keeps in its git, read whole and checked as far as names and contracts go.
//!
//! The only I/O of this crate. Models and configuration are handed on as text: other crates read them, and point at
//! contracts through [`ContractSource`]. Invariant: whatever lies in the directory, loading gives diagnostics, never a panic.

pub mod alerts;
mod consents;
pub mod dashboards;
pub mod feeds;
mod loader;
mod places;
mod references;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::contract::{Contract, DatasetName, Layer, Source};
use crate::diagnostic::{self, Diagnostic};
use crate::fhir::View;
use crate::yaml::Place;
use alerts::AlertFile;
use dashboards::{DashboardFile, MeasureFile};
use feeds::FeedFile;
use loader::Loader;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "vitalake.yaml";
/// A project's directory, read.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// The directory.
    pub root: PathBuf,
    /// The text of `vitalake.yaml`, where there is one.
    pub config_text: Option<String>,
    /// The contracts without errors, by layer and name.
    pub contracts: Vec<Arc<Contract>>,
    /// Where each of `contracts` is written, in the same order.
    pub contract_sources: Vec<ContractSource>,
    /// The models, by layer and name; their SQL is not parsed here.
    pub models: Vec<ModelFile>,
    /// The runbooks, by name; their text is not parsed here.
    pub runbooks: Vec<RunbookFile>,
    /// The alerts without errors, by name.
    pub alerts: Vec<AlertFile>,
    /// The feeds without errors, by name.
    pub feeds: Vec<FeedFile>,
    /// The dashboards without errors, by name.
    pub dashboards: Vec<DashboardFile>,
    /// The measures of datasets, by the dataset's name.
    pub measures: Vec<MeasureFile>,
    /// The views of FHIR resources, by name.
    pub views: Vec<ViewFile>,
}

/// A ViewDefinition's file.
#[derive(Clone, Debug)]
pub struct ViewFile {
    /// The view's name: the file's, without its ending.
    pub name: String,
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// What the file says: its text.
    pub said: Vec<u8>,
    /// The view; none where the file has errors.
    pub view: Option<Arc<View>>,
}

/// Where a contract is written, so that a finding elsewhere can point into it.
#[derive(Clone, Debug)]
pub struct ContractSource {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its layer.
    pub layer: Layer,
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// Where its parts are written.
    pub places: Places,
    /// The place of the contract's `name`, for findings on the contract as a whole.
    pub name: Place,
}

/// Where the parts of a contract are written.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The name of each column, in the order of the contract's columns.
    pub columns: Vec<Place>,
    /// Each reference to another dataset, in the order of the contract's.
    pub references: Vec<Place>,
    /// Rules of `quality` by their names: the query, where there is one.
    pub rules: BTreeMap<String, Place>,
    /// The view that deliveries are read through: the name that the contract gives.
    pub view: Option<(String, Place)>,
    /// What binds its rows to consent.
    pub consent: Option<Place>,
}

impl ContractSource {
    /// An error that points at a place of the file.
    pub(crate) fn error_in(&self, place: Place, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.path, code, message).at(&self.text, place.line, place.column, place.length)
    }

    /// An error that points at a rule, or at the contract's name where the rule is not one of `quality`.
    #[must_use]
    pub fn error_at_rule(&self, rule: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.error_in(self.places.rules.get(rule).copied().unwrap_or(self.name), code, message)
    }

    /// An error that points at a column's name, or at the contract's where the index is none of its columns.
    #[must_use]
    pub fn error_at(&self, column: Option<usize>, code: &'static str, message: impl Into<String>) -> Diagnostic {
        let place = column.and_then(|index| self.places.columns.get(index)).copied().unwrap_or(self.name);
        self.error_in(place, code, message)
    }
}

/// A model's file.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The dataset that it derives: the file's name.
    pub dataset: DatasetName,
    /// The layer of that dataset.
    pub layer: Layer,
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
}

/// A runbook's file.
#[derive(Clone, Debug)]
pub struct RunbookFile {
    /// The runbook's name: the file's, without its ending.
    pub name: String,
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text: Markdown.
    pub text: String,
}

impl Project {
    /// Reads a directory. The project holds what is in order; the findings, sorted by file and place, say what is not.
    #[must_use]
    pub fn load(root: &Path) -> (Self, Vec<Diagnostic>) {
        let mut loader = Loader::new(root);
        let config_text = loader.run();
        let Loader {
            mut found,
            mut compiled,
            models,
            runbooks,
            mut alerts,
            feeds,
            views,
            mut dashboards,
            mut measures,
            ..
        } = loader;
        check_whole(&compiled, &models, &mut found);
        references::resolve(&mut compiled, &mut found);
        consents::check(&compiled, &mut found);
        views::resolve(&mut compiled, &views, &mut found);
        let contracts: Vec<&Contract> = compiled.iter().filter_map(|(contract, _)| contract.as_ref()).collect();
        // A contract with errors is not among them: an alert or a feed of it would seem wrong because of that alone.
        if contracts.len() == compiled.len() {
            alerts::check(&mut alerts, &contracts, &feeds, &mut found);
            feeds::check(&feeds, &contracts, &mut found);
            dashboards::check(&mut dashboards, &mut measures, &contracts, &mut found);
        }
        diagnostic::sort(&mut found);
        let (contracts, contract_sources) =
            compiled.into_iter().filter_map(|(contract, source)| contract.map(|c| (Arc::new(c), source))).unzip();
        (
            Self {
                root: root.to_owned(),
                config_text,
                contracts,
                contract_sources,
                models,
                runbooks,
                alerts,
                feeds,
                dashboards,
                measures,
                views,
            },
            found,
        )
    }

    /// The contract of a dataset.
    #[must_use]
    pub fn contract(&self, dataset: &str) -> Option<&Arc<Contract>> {
        self.contracts.iter().find(|contract| contract.dataset.as_str() == dataset)
    }

    /// Where the contract of a dataset is written.
    #[must_use]
    pub fn contract_source(&self, dataset: &str) -> Option<&ContractSource> {
        self.contract_sources.iter().find(|source| source.dataset.as_str() == dataset)
    }
}

/// What only the whole project shows: names, ids and topics that stand twice, contracts and models without each other.
fn check_whole(compiled: &[(Option<Contract>, ContractSource)], models: &[ModelFile], found: &mut Vec<Diagnostic>) {
    let mut datasets: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    let mut ids: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    let mut topics: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    for (contract, source) in compiled {
        if let Some(first) = datasets.insert(source.dataset.as_str(), source) {
            let message = format!("the dataset `{}` has a contract in {} already", source.dataset, first.path);
            found.push(
                source
                    .error_at(None, "duplicate-dataset", message)
                    .help("a dataset's name is unique in the project, whatever its layer: rename one"),
            );
        }
        let Some(contract) = contract else { continue };
        if let Some(first) = ids.insert(&contract.id, source) {
            let message = format!("the contract's `id` is that of {}", first.path);
            found.push(
                source
                    .error_at(None, "duplicate-id", message)
                    .help("give each contract an id of its own, such as a new UUID"),
            );
        }
        if let Some(Source::Stream { topic, .. }) = &contract.source
            && let Some(first) = topics.insert(topic, source)
        {
            let message = format!("the topic `{topic}` feeds {} already", first.path);
            found.push(
                source.error_at(None, "duplicate-topic", message).help("give each raw dataset a topic of its own"),
            );
        }
    }
    for model in models {
        if !compiled.iter().any(|(_, source)| source.layer == model.layer && source.dataset == model.dataset) {
            let message =
                format!("the model has no contract: there is no contracts/{}/{}.yaml", model.layer, model.dataset);
            found.push(
                Diagnostic::error(&model.path, "no-contract", message)
                    .help("write the contract; without one there is no dataset"),
            );
        }
    }
    for (_, source) in compiled.iter().filter(|(_, source)| source.layer != Layer::Raw) {
        if !models.iter().any(|model| source.layer == model.layer && source.dataset == model.dataset) {
            let message =
                format!("nothing makes the dataset: there is no models/{}/{}.sql", source.layer, source.dataset);
            found.push(source.error_at(None, "no-model", message).help("write the model, or remove the contract"));
        }
    }
}
