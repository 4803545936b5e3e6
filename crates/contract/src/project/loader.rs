//! The walk through a project's directory: what is read, and what lies where nothing reads it.
//!
//! Invariant: no file larger than the limit is read, and no entry makes the walk fail as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::alerts::{self, AlertFile};
use super::dashboards::{self, DashboardFile, MeasureFile};
use super::feeds::{self, FeedFile};
use super::{CONFIG_FILE, ContractSource, ModelFile, RunbookFile, ViewFile};
use crate::compile::{Compiled, compile};
use crate::contract::{Contract, DatasetName, Layer};
use crate::diagnostic::Diagnostic;
use crate::feed::FeedSource;
use crate::fhir;
use crate::verdict::nearest;
use crate::yaml::FILE_BYTES_MAX;

/// Files past this number are not read.
const FILES_MAX: usize = 10_000;
/// Folders whose files other parts of vitalake read, or its users keep there: the data folder, files to deliver.
const OTHER_FOLDERS: [&str; 3] = ["tests", "data", "deliveries"];
/// Bytes of a runbook's name.
const RUNBOOK_NAME_BYTES_MAX: usize = 100;

/// Reads a project's files, one after another.
pub(super) struct Loader {
    root: PathBuf,
    pub(super) found: Vec<Diagnostic>,
    files: usize,
    pub(super) compiled: Vec<(Option<Contract>, ContractSource)>,
    pub(super) models: Vec<ModelFile>,
    pub(super) runbooks: Vec<RunbookFile>,
    pub(super) alerts: Vec<AlertFile>,
    pub(super) feeds: Vec<FeedFile>,
    pub(super) dashboards: Vec<DashboardFile>,
    pub(super) measures: Vec<MeasureFile>,
    pub(super) views: Vec<ViewFile>,
}

impl Loader {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            found: Vec::new(),
            files: 0,
            compiled: Vec::new(),
            models: Vec::new(),
            runbooks: Vec::new(),
            alerts: Vec::new(),
            feeds: Vec::new(),
            dashboards: Vec::new(),
            measures: Vec::new(),
            views: Vec::new(),
        }
    }

    /// Reads everything; gives the text of the configuration.
    pub(super) fn run(&mut self) -> Option<String> {
        let mut config_text = None;
        let names = self.list("")?;
        if !self.root.join(CONFIG_FILE).exists() {
            // Whatever else lies in a folder that is no project is none of our business.
            let folder = if self.root == Path::new(".") { "this folder".into() } else { self.root.to_string_lossy() };
            let message = format!("{folder} is not a vitalake project: no {CONFIG_FILE}");
            let finding = Diagnostic::error(CONFIG_FILE, "no-config", message);
            self.found.push(
                finding.help("give the folder of a project; a new one begins with a vitalake.yaml that has `name:`"),
            );
            return None;
        }
        let mut others = Vec::new();
        for (name, is_folder) in names {
            match (name.as_str(), is_folder) {
                ("contracts", true) => self.layers("contracts", &[Layer::Raw, Layer::Curated, Layer::Serving]),
                ("models", true) => self.layers("models", &[Layer::Curated, Layer::Serving]),
                ("runbooks", true) => self.runbooks(),
                ("alerts", true) => self.alerts(),
                ("feeds", true) => self.feeds(),
                ("views", true) => self.views(),
                ("dashboards", true) => self.dashboards(),
                ("measures", true) => self.measures(),
                (CONFIG_FILE, false) => config_text = self.read_text(CONFIG_FILE),
                (folder, true) if OTHER_FOLDERS.contains(&folder) => {}
                (_, true) => others.push(name),
                (file, false) => self.unknown_top_file(file),
            }
        }
        let of_settings = config_text.as_deref().map(|text| feeds::in_settings(CONFIG_FILE, text, &mut self.found));
        self.feeds.extend(of_settings.into_iter().flatten());
        self.feeds.sort_by(|left, right| left.feed.name.as_str().cmp(right.feed.name.as_str()));
        others.retain(|folder| !self.is_read_by_a_feed(folder));
        for folder in others {
            self.unknown_folder(
                &folder,
                &["contracts", "models", "dashboards", "alerts", "feeds", "measures", "runbooks", "tests", "views"],
            );
        }
        config_text
    }

    /// Whether files that lie in or below a folder of the project are deliveries.
    fn is_read_by_a_feed(&self, folder: &str) -> bool {
        self.feeds.iter().any(|file| match &file.feed.source {
            FeedSource::Folder(files) => Path::new(&files.place).starts_with(folder),
            FeedSource::Store(_) | FeedSource::Postgres(_) => false,
        })
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
                None => {
                    self.warn(&path, "unknown-file", "the file is not read", &format!("files here end in .{ending}"))
                }
            }
        }
    }

    fn alerts(&mut self) {
        for (name, is_folder) in self.list("alerts").unwrap_or_default() {
            let path = format!("alerts/{name}");
            let Some(stem) = name.strip_suffix(".yaml").filter(|_| !is_folder) else {
                self.warn(&path, "unknown-file", "it is not read", "an alert is a file here that ends in .yaml");
                continue;
            };
            let Some(bytes) = self.read(&path) else { return };
            self.alerts.extend(alerts::read(&path, stem, &bytes, &mut self.found));
        }
    }

    fn feeds(&mut self) {
        for (name, is_folder) in self.list("feeds").unwrap_or_default() {
            let path = format!("feeds/{name}");
            let Some(stem) = name.strip_suffix(".yaml").filter(|_| !is_folder) else {
                self.warn(&path, "unknown-file", "it is not read", "a feed is a file here that ends in .yaml");
                continue;
            };
            let Some(bytes) = self.read(&path) else { return };
            self.feeds.extend(feeds::read(&path, stem, &bytes, &mut self.found));
        }
    }

    fn dashboards(&mut self) {
        for (name, is_folder) in self.list("dashboards").unwrap_or_default() {
            let path = format!("dashboards/{name}");
            let Some(stem) = name.strip_suffix(".yaml").filter(|_| !is_folder) else {
                self.warn(&path, "unknown-file", "it is not read", "a dashboard is a file here that ends in .yaml");
                continue;
            };
            let Some(bytes) = self.read(&path) else { return };
            self.dashboards.extend(dashboards::read(&path, stem, &bytes, &mut self.found));
        }
    }

    fn measures(&mut self) {
        for (name, is_folder) in self.list("measures").unwrap_or_default() {
            let path = format!("measures/{name}");
            let Some(stem) = name.strip_suffix(".yaml").filter(|_| !is_folder) else {
                let help = "measures are files here that end in .yaml, named as their serving datasets";
                self.warn(&path, "unknown-file", "it is not read", help);
                continue;
            };
            let Some(bytes) = self.read(&path) else { return };
            self.measures.extend(dashboards::read_measures(&path, stem, &bytes, &mut self.found));
        }
    }

    fn views(&mut self) {
        for (file, is_folder) in self.list("views").unwrap_or_default() {
            let path = format!("views/{file}");
            let named = file.rsplit_once('.').filter(|(_, ending)| !is_folder && matches!(*ending, "json" | "yaml"));
            let Some((name, _)) = named else {
                let help = "a view is a file here that ends in .json or .yaml";
                self.warn(&path, "unknown-file", "it is not read", help);
                continue;
            };
            if let Some(first) = self.views.iter().find(|view| view.name == name) {
                let message = format!("the view {name} is in {} already", first.path);
                self.error(&path, "duplicate-name", &message, "rename one of the two");
                continue;
            }
            let Some(bytes) = self.read(&path) else { return };
            let read = fhir::read(&path, name, &bytes);
            self.found.extend(read.diagnostics);
            self.views.push(ViewFile { name: name.to_owned(), path, said: bytes, view: read.view.map(Arc::new) });
        }
    }

    fn dataset(&mut self, path: &str, stem: &str, model: bool, layer: Layer) {
        let dataset = match DatasetName::new(stem) {
            Ok(dataset) => dataset,
            Err(reason) => {
                let found = Diagnostic::error(path, "bad-name", format!("the file's name is no dataset's: {reason}"));
                return self.found.push(found.help("rename the file"));
            }
        };
        let Some(bytes) = self.read(path) else { return };
        if model {
            match String::from_utf8(bytes) {
                Ok(text) => self.models.push(ModelFile { dataset, layer, path: path.to_owned(), text }),
                Err(_) => self.error(path, "not-utf8", "the file is not UTF-8 text", "save the file in UTF-8"),
            }
            return;
        }
        let Compiled { contract, source, diagnostics } = compile(path, &bytes, layer, &dataset);
        self.found.extend(diagnostics);
        if let Some(source) = source {
            self.compiled.push((contract, source));
        }
    }

    fn runbooks(&mut self) {
        for (file, is_folder) in self.list("runbooks").unwrap_or_default() {
            let path = format!("runbooks/{file}");
            let name = file.strip_suffix(".md").filter(|_| !is_folder);
            let Some(name) = name else {
                self.warn(&path, "unknown-file", "it is not read", "a runbook is a file here whose name ends in .md");
                continue;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || name.len() > RUNBOOK_NAME_BYTES_MAX || !name.chars().all(plain) {
                let message = "the file's name is no runbook's: it is made of letters, digits, _ and -";
                self.error(&path, "bad-name", message, "rename the file");
                continue;
            }
            if let Some(text) = self.read_text(&path) {
                self.runbooks.push(RunbookFile { name: name.to_owned(), path, text });
            }
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
                self.warn(shown, "unknown-file", "a file's name here is not UTF-8, and it is not read", "rename it");
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            match fs::metadata(entry.path()) {
                Ok(found) if found.is_dir() || found.is_file() => names.push((name, found.is_dir())),
                Ok(_) => self.warn(&path, "unknown-file", "neither a file nor a folder; it is not read", "remove it"),
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
                let message = format!("the project has more than {FILES_MAX} files; the rest is not read");
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
            let message = format!("the file has {size} bytes, and at most {FILE_BYTES_MAX} are read");
            self.error(path, "file-too-large", &message, "split it into smaller files");
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
            self.error(path, "not-utf8", "the file is not UTF-8 text", "save the file in UTF-8");
        }
        text
    }

    fn unknown_folder(&mut self, path: &str, known: &[&str]) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.warn(path, "unknown-folder", "nothing in this folder is read", &help);
    }

    fn unknown_top_file(&mut self, name: &str) {
        let is_ours = name.rsplit_once('.').is_some_and(|(_, ending)| matches!(ending, "yaml" | "yml" | "sql"));
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
        self.error(path, "unreadable", &format!("cannot be read: {error}"), help);
    }

    fn error(&mut self, path: &str, code: &'static str, message: &str, help: &str) {
        self.found.push(Diagnostic::error(path, code, message).help(help));
    }

    fn warn(&mut self, path: &str, code: &'static str, message: &str, help: &str) {
        self.found.push(Diagnostic::warning(path, code, message).help(help));
    }
}
