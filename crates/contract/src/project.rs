//! A project's directory: what a team keeps in its git, read whole and checked as far as names and contracts go.
//!
//! The only I/O of this crate. Models and configuration are handed on as text: other crates read them, and point at
//! contracts through [`ContractSource`]. Invariant: whatever lies in the directory, loading gives diagnostics, never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compile::{Compiled, compile};
use crate::contract::{Contract, DatasetName, Layer, Source};
use crate::diagnostic::{self, Diagnostic};
use crate::verdict::nearest;
use crate::yaml::{FILE_BYTES_MAX, Place};

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "vitalake.yaml";
/// Files past this number are not read.
const FILES_MAX: usize = 10_000;
/// Folders whose files other parts of vitalake read, or its users keep there: the data folder, files to deliver.
const OTHER_FOLDERS: [&str; 6] = ["dashboards", "alerts", "runbooks", "tests", "data", "deliveries"];

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
    /// The place of each column's name, in the order of the contract's columns.
    pub columns: Vec<Place>,
    /// The place of the contract's `name`, for findings on the contract as a whole.
    pub name: Place,
}

impl ContractSource {
    /// An error that points at a column's name, or at the contract's where the index is none of its columns.
    #[must_use]
    pub fn error_at(
        &self,
        column: Option<usize>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let place = column
            .and_then(|index| self.columns.get(index))
            .copied()
            .unwrap_or(self.name);
        Diagnostic::error(&self.path, code, message).at(
            &self.text,
            place.line,
            place.column,
            place.length,
        )
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

impl Project {
    /// Reads a directory. The project holds what is in order; the findings, sorted by file and place, say what is not.
    #[must_use]
    pub fn load(root: &Path) -> (Self, Vec<Diagnostic>) {
        let mut loader = Loader {
            root: root.to_owned(),
            found: Vec::new(),
            files: 0,
            compiled: Vec::new(),
            models: Vec::new(),
        };
        let config_text = loader.run();
        let Loader {
            mut found,
            compiled,
            models,
            ..
        } = loader;
        check_whole(&compiled, &models, &mut found);
        diagnostic::sort(&mut found);
        let (contracts, contract_sources) = compiled
            .into_iter()
            .filter_map(|(contract, source)| contract.map(|c| (Arc::new(c), source)))
            .unzip();
        (
            Self {
                root: root.to_owned(),
                config_text,
                contracts,
                contract_sources,
                models,
            },
            found,
        )
    }

    /// The contract of a dataset.
    #[must_use]
    pub fn contract(&self, dataset: &str) -> Option<&Arc<Contract>> {
        self.contracts
            .iter()
            .find(|contract| contract.dataset.as_str() == dataset)
    }

    /// Where the contract of a dataset is written.
    #[must_use]
    pub fn contract_source(&self, dataset: &str) -> Option<&ContractSource> {
        self.contract_sources
            .iter()
            .find(|source| source.dataset.as_str() == dataset)
    }
}

struct Loader {
    root: PathBuf,
    found: Vec<Diagnostic>,
    files: usize,
    compiled: Vec<(Option<Contract>, ContractSource)>,
    models: Vec<ModelFile>,
}

impl Loader {
    fn run(&mut self) -> Option<String> {
        let mut config_text = None;
        let Some(names) = self.list("") else {
            return None;
        };
        for (name, is_folder) in names {
            match (name.as_str(), is_folder) {
                ("contracts", true) => {
                    self.layers("contracts", &[Layer::Raw, Layer::Curated, Layer::Serving])
                }
                ("models", true) => self.layers("models", &[Layer::Curated, Layer::Serving]),
                (CONFIG_FILE, false) => config_text = self.read_text(CONFIG_FILE),
                (folder, true) if OTHER_FOLDERS.contains(&folder) => {}
                (folder, true) => self.unknown_folder(
                    folder,
                    &[
                        "contracts",
                        "models",
                        "dashboards",
                        "alerts",
                        "runbooks",
                        "tests",
                    ],
                ),
                (file, false) => self.unknown_top_file(file),
            }
        }
        if config_text.is_none() && !self.root.join(CONFIG_FILE).exists() {
            self.found.push(
                Diagnostic::error(
                    CONFIG_FILE,
                    "no-config",
                    format!("{} holds no {CONFIG_FILE}", self.root.display()),
                )
                .help(
                    "give the directory of a project; a new one needs a vitalake.yaml with `name:`",
                ),
            );
        }
        config_text
    }

    fn layers(&mut self, folder: &str, layers: &[Layer]) {
        let known: Vec<&str> = layers.iter().map(|layer| layer.as_str()).collect();
        for (name, is_folder) in self.list(folder).unwrap_or_default() {
            let path = format!("{folder}/{name}");
            match layers.iter().find(|layer| layer.as_str() == name) {
                Some(layer) if is_folder => self.datasets(&path, folder == "models", *layer),
                _ if is_folder => self.unknown_folder(&path, &known),
                _ => self.warn(
                    &path,
                    "unknown-file",
                    "no file is read here",
                    &format!("move it into one of {}", known.join(", ")),
                ),
            }
        }
    }

    fn datasets(&mut self, folder: &str, models: bool, layer: Layer) {
        let ending = if models { "sql" } else { "yaml" };
        for (name, is_folder) in self.list(folder).unwrap_or_default() {
            let path = format!("{folder}/{name}");
            if is_folder {
                self.warn(
                    &path,
                    "unknown-folder",
                    "folders in here are not read",
                    "keep the files of a layer in one folder",
                );
                continue;
            }
            match name.rsplit_once('.') {
                Some((stem, found)) if found == ending => self.dataset(&path, stem, models, layer),
                Some((stem, _)) => {
                    let help = format!(
                        "a {} here ends in .{ending}: rename it to {stem}.{ending}, or move it away",
                        if models { "model" } else { "contract" }
                    );
                    self.warn(&path, "unknown-file", "the file is not read", &help);
                }
                None => self.warn(
                    &path,
                    "unknown-file",
                    "the file is not read",
                    &format!("files here end in .{ending}"),
                ),
            }
        }
    }

    fn dataset(&mut self, path: &str, stem: &str, model: bool, layer: Layer) {
        let dataset = match DatasetName::new(stem) {
            Ok(dataset) => dataset,
            Err(reason) => {
                let found = Diagnostic::error(
                    path,
                    "bad-name",
                    format!("the file's name is no dataset's: {reason}"),
                );
                return self.found.push(found.help("rename the file"));
            }
        };
        let Some(bytes) = self.read(path) else { return };
        if model {
            match String::from_utf8(bytes) {
                Ok(text) => self.models.push(ModelFile {
                    dataset,
                    layer,
                    path: path.to_owned(),
                    text,
                }),
                Err(_) => self.error(
                    path,
                    "not-utf8",
                    "the file is not UTF-8 text",
                    "save the file in UTF-8",
                ),
            }
            return;
        }
        let Compiled {
            contract,
            source,
            diagnostics,
        } = compile(path, &bytes, layer, &dataset);
        self.found.extend(diagnostics);
        if let Some(source) = source {
            self.compiled.push((contract, source));
        }
    }

    /// A folder's entries in order, without hidden ones; links are followed once, to files and folders alike.
    fn list(&mut self, folder: &str) -> Option<Vec<(String, bool)>> {
        let shown = if folder.is_empty() { "." } else { folder };
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(shown, &error);
                return None;
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unreadable(shown, &error);
                    continue;
                }
            };
            let Ok(name) = entry.file_name().into_string() else {
                self.warn(
                    shown,
                    "unknown-file",
                    "a file's name here is not UTF-8, and it is not read",
                    "rename it",
                );
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            match fs::metadata(entry.path()) {
                Ok(found) if found.is_dir() || found.is_file() => {
                    names.push((name, found.is_dir()))
                }
                Ok(_) => self.warn(
                    &path,
                    "unknown-file",
                    "neither a file nor a folder; it is not read",
                    "remove it",
                ),
                Err(error) => self.unreadable(&path, &error),
            }
        }
        names.sort();
        Some(names)
    }

    fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        self.files += 1;
        if self.files > FILES_MAX {
            if self.files == FILES_MAX + 1 {
                let message =
                    format!("the project has more than {FILES_MAX} files; the rest is not read");
                self.error(path, "too-many-files", &message, "split the project");
            }
            return None;
        }
        let full = self.root.join(path);
        let size = match fs::metadata(&full) {
            Ok(found) => found.len(),
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        if size > FILE_BYTES_MAX as u64 {
            let message =
                format!("the file has {size} bytes, and at most {FILE_BYTES_MAX} are read");
            self.error(
                path,
                "file-too-large",
                &message,
                "split it into smaller files",
            );
            return None;
        }
        match fs::read(&full) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    fn read_text(&mut self, path: &str) -> Option<String> {
        let text = String::from_utf8(self.read(path)?).ok();
        if text.is_none() {
            self.error(
                path,
                "not-utf8",
                "the file is not UTF-8 text",
                "save the file in UTF-8",
            );
        }
        text
    }

    fn unknown_folder(&mut self, path: &str, known: &[&str]) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.warn(
            path,
            "unknown-folder",
            "nothing in this folder is read",
            &help,
        );
    }

    fn unknown_top_file(&mut self, name: &str) {
        let is_ours = name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| matches!(ending, "yaml" | "yml" | "sql"));
        if !is_ours {
            return;
        }
        let help = match nearest(name, [CONFIG_FILE]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "contracts lie in contracts/LAYER/, models in models/LAYER/".to_owned(),
        };
        self.warn(name, "unknown-file", "the file is not read", &help);
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "it is missing, or a link to nothing",
            io::ErrorKind::PermissionDenied => "give this user the right to read it",
            _ => "check the file; a link must not lead back to itself",
        };
        self.error(
            path,
            "unreadable",
            &format!("cannot be read: {error}"),
            help,
        );
    }

    fn error(&mut self, path: &str, code: &'static str, message: &str, help: &str) {
        self.found
            .push(Diagnostic::error(path, code, message).help(help));
    }

    fn warn(&mut self, path: &str, code: &'static str, message: &str, help: &str) {
        self.found
            .push(Diagnostic::warning(path, code, message).help(help));
    }
}

/// What only the whole project shows: names, ids and topics that stand twice, contracts and models without each other.
fn check_whole(
    compiled: &[(Option<Contract>, ContractSource)],
    models: &[ModelFile],
    found: &mut Vec<Diagnostic>,
) {
    let mut datasets: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    let mut ids: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    let mut topics: BTreeMap<&str, &ContractSource> = BTreeMap::new();
    for (contract, source) in compiled {
        if let Some(first) = datasets.insert(source.dataset.as_str(), source) {
            let message = format!(
                "the dataset `{}` has a contract in {} already",
                source.dataset, first.path
            );
            found.push(
                source.error_at(None, "duplicate-dataset", message).help(
                    "a dataset's name is unique in the project, whatever its layer: rename one",
                ),
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
                source
                    .error_at(None, "duplicate-topic", message)
                    .help("give each raw dataset a topic of its own"),
            );
        }
    }
    for model in models {
        if !compiled
            .iter()
            .any(|(_, source)| source.layer == model.layer && source.dataset == model.dataset)
        {
            let message = format!(
                "the model has no contract: there is no contracts/{}/{}.yaml",
                model.layer, model.dataset
            );
            found.push(
                Diagnostic::error(&model.path, "no-contract", message)
                    .help("write the contract; without one there is no dataset"),
            );
        }
    }
    for (_, source) in compiled
        .iter()
        .filter(|(_, source)| source.layer != Layer::Raw)
    {
        if !models
            .iter()
            .any(|model| source.layer == model.layer && source.dataset == model.dataset)
        {
            let message = format!(
                "nothing makes the dataset: there is no models/{}/{}.sql",
                source.layer, source.dataset
            );
            found.push(
                source
                    .error_at(None, "no-model", message)
                    .help("write the model, or remove the contract"),
            );
        }
    }
}
