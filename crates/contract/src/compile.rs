//! The document of a contract becomes the compiled [`Contract`], or findings that say why it cannot.
//!
//! First the standard's verdict, then what a project asks beyond it: one dataset in a file, columns that Delta can
//! hold, rules that refer to something. Invariant: a contract is given exactly when there is no error.

mod access;
mod columns;
pub(crate) mod consent;
pub mod custom;
pub(crate) mod duration;
mod files;
mod gate;
mod metrics;
mod options;
mod pattern;
mod predicate;
mod quality;
mod references;
mod sla;
mod sort;
pub(crate) mod sql;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::contract::{Column, ColumnType, Contract, DEDUP_HORIZON_DEFAULT, DatasetName, Delivery, Layer, Source};
use crate::dashboard::Grain;
use crate::diagnostic::{self, Diagnostic};
use crate::odcs::{Document, Version};
use crate::project::{ContractSource, Places};
use crate::verdict::nearest;
use crate::yaml::{Node, Place, shorten};

use columns::Columns;
use custom::{Custom, Level};

/// What compiling a file gave.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The contract, when there was no error.
    pub contract: Option<Contract>,
    /// Where it is written, when the file could be read as YAML.
    pub source: Option<ContractSource>,
    /// The findings, in the file's order.
    pub diagnostics: Vec<Diagnostic>,
}

/// How many partitions a topic has where its contract is silent.
pub const PARTITIONS_DEFAULT: u32 = 4;
const PARTITIONS_MAX: i64 = 1024;

/// Compiles a contract's file for a layer and a dataset, the file's name without its ending.
#[must_use]
pub fn compile(file: &str, bytes: &[u8], layer: Layer, dataset: &DatasetName) -> Compiled {
    let document = match Document::parse(file, bytes) {
        Ok(document) => document,
        Err(diagnostics) => {
            return Compiled { contract: None, source: None, diagnostics };
        }
    };
    let version = document.version().unwrap_or(Version::V3_1_0);
    let mut context = Context { document: &document, version, layer, dataset, found: standard(&document) };
    let of_standard: Vec<(usize, usize)> = context.found.iter().map(|d| (d.line, d.column)).collect();
    let (contract, places) = context.contract();
    let mut diagnostics = context.found;
    // What the standard has refused at a place is not refused there a second time in other words.
    let mut number = 0;
    diagnostics.retain(|found| {
        number += 1;
        number <= of_standard.len() || !of_standard.contains(&(found.line, found.column))
    });
    diagnostic::sort(&mut diagnostics);
    let name =
        document.root.entry("name").or_else(|| document.root.entry("id")).map_or(Place::default(), |e| e.node.place);
    let text = document.text.clone();
    let path = file.to_owned();
    let source = Some(ContractSource { dataset: dataset.clone(), layer, path, text, places, name });
    let contract = if diagnostic::has_errors(&diagnostics) { None } else { contract };
    Compiled { contract, source, diagnostics }
}

/// A team's name; a list of members, as older versions have it, has none.
fn team(root: &Node) -> Option<String> {
    let name = root.get("team")?.get("name")?.text()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// What the dataset is for.
fn purpose(root: &Node) -> Option<String> {
    let text = root.get("description")?.get("purpose")?.text()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn standard(document: &Document) -> Vec<Diagnostic> {
    match document.version() {
        // What 3.2.0 adds is not known here and refused by its name; all else is as in 3.1.0.
        Ok(_) if document.root.get("apiVersion").and_then(Node::text) == Some("v3.2.0") => document.verdict_as_v3_1_0(),
        Ok(version) => document.verdict(version),
        Err(diagnostic) => vec![*diagnostic],
    }
}

/// One compilation: what it reads and what it finds.
struct Context<'d> {
    document: &'d Document,
    version: Version,
    layer: Layer,
    dataset: &'d DatasetName,
    found: Vec<Diagnostic>,
}

impl<'d> Context<'d> {
    fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let found = self.document.error(place, code, message).help(help);
        self.found.push(found);
    }

    fn warn(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let found = self.document.warning(place, code, message).help(help);
        self.found.push(found);
    }

    /// The contract, and where its parts are written.
    fn contract(&mut self) -> (Option<Contract>, Places) {
        let document = self.document;
        let root = &document.root;
        let Some(object) = self.object(root) else {
            return (None, Places::default());
        };
        self.names(root, object);
        let mut lists = vec![root.get("customProperties")];
        lists.push(object.get("customProperties"));
        let custom = custom::collect(self, &lists, Level::Contract);
        let mut columns = self.columns(object);
        let (mut row_rules, mut set_rules) =
            (std::mem::take(&mut columns.row_rules), std::mem::take(&mut columns.set_rules));
        self.object_quality(object, &mut columns, &mut row_rules, &mut set_rules);
        let mut references = std::mem::take(&mut columns.references);
        references.extend(self.references(object, None, &mut columns));
        let (references, reference_places) = references.into_iter().unzip();
        self.hashed_columns(&columns);
        let (readers, writers) = self.roles(root, &columns);
        let sla = self.sla(root, &columns);
        let (consent, consent_place) = self.consent(&custom, &columns).unzip();
        let places = Places {
            consent: consent_place,
            columns: std::mem::take(&mut columns.places),
            references: reference_places,
            rules: std::mem::take(&mut columns.rule_places),
            view: self.view(&custom),
        };
        let contract = Contract {
            dataset: self.dataset.clone(),
            layer: self.layer,
            id: root.get("id").and_then(Node::text).unwrap_or_default().to_owned(),
            version: root.get("version").and_then(Node::text).unwrap_or_default().to_owned(),
            team: team(root),
            purpose: purpose(root),
            fingerprint: fingerprint(root),
            source: self.source(&custom),
            view: None,
            delivery: self.delivery(&custom),
            control_totals: self.control_totals(&custom),
            snapshot_loss_max: self.snapshot_loss_max(&custom),
            history: self.history(&custom),
            files: self.file_options(&custom),
            sort_by: self.sort_by(&custom, &columns),
            gate_window: self.gate_window(&custom, &columns),
            gate_inputs: self.gate_inputs(&custom),
            on_stale: self.on_stale(&custom),
            publish_group: custom.text(self, "publishGroup").map(|(group, _)| group.to_owned()),
            time_column: self.time_column(&custom, &columns),
            time_grain: self.time_grain(&custom),
            dedup_horizon: self.dedup_horizon(&custom),
            primary_key: columns.primary_key,
            columns: columns.columns,
            row_rules,
            set_rules,
            references,
            readers,
            writers,
            consent,
            sla,
        };
        (Some(contract), places)
    }

    /// The one schema object of the contract.
    fn object(&mut self, root: &'d Node) -> Option<&'d Node> {
        let help = "a file describes one dataset: write one item under `schema:`";
        let Some(entry) = root.entry("schema") else {
            let place = root.entries().first().map_or(Place { length: 1, ..root.place }, |entry| entry.place);
            self.error(place, "no-schema", "the contract has no `schema`", help);
            return None;
        };
        match entry.node.items() {
            [object] => Some(object),
            [] => {
                self.error(entry.place, "no-schema", "the contract's `schema` is empty", help);
                None
            }
            [_, second, ..] => {
                let place = second.entry("name").map_or(second.place, |entry| entry.place);
                self.error(place, "several-objects", "the contract has more than one schema object", help);
                None
            }
        }
    }

    /// The file is named as the dataset, in the schema object or as the contract.
    fn names(&mut self, root: &Node, object: &Node) {
        let of_object = object.get("name");
        let of_contract = root.get("name");
        let fits = |node: Option<&Node>| node.and_then(Node::text) == Some(self.dataset.as_str());
        if fits(of_object) || fits(of_contract) {
            return;
        }
        let Some(node) = of_object.or(of_contract) else {
            return;
        };
        let written = shorten(node.text().unwrap_or_default());
        let message = format!("the file is named {}, the dataset `{written}`", self.dataset);
        self.error(node.place, "name-mismatch", message, format!("rename one of them: `name: {}`", self.dataset));
    }

    fn source(&mut self, custom: &Custom<'_>) -> Option<Source> {
        if self.layer != Layer::Raw {
            return None;
        }
        let feed = match custom.text(self, "source") {
            Some(("feed", _)) => true,
            Some(("stream", _)) | None => false,
            Some((other, place)) => {
                let message = format!("`source` cannot be `{}`", shorten(other));
                self.error(place, "not-allowed", message, "allowed: stream, feed");
                false
            }
        };
        let topic = custom.text(self, "topic");
        let partitions = self.partitions(custom);
        if feed {
            for name in ["topic", "partitions"] {
                if let Some(node) = custom.get(name) {
                    let message = format!("a dataset whose `source` is feed has no topic, and `{name}` no meaning");
                    self.error(node.place, "no-topic", message, format!("remove `{name}`, or set `source: stream`"));
                }
            }
            return Some(Source::Feed);
        }
        let topic = match topic {
            Some((topic, place)) => {
                self.topic(topic, place);
                topic.to_owned()
            }
            None => self.dataset.as_str().to_owned(),
        };
        Some(Source::Stream { topic, partitions })
    }

    /// The view that deliveries are read through.
    fn view(&mut self, custom: &Custom<'_>) -> Option<(String, Place)> {
        let (name, place) = custom.text(self, "view")?;
        if custom.get("source").and_then(Node::text) != Some("feed") {
            let message = "only delivered files are read through a view";
            self.error(place, "no-feed", message, "add the custom property `source: feed`, or remove `view`");
        }
        Some((name.to_owned(), place))
    }

    /// Kafka's own rule for the name of a topic.
    fn topic(&mut self, topic: &str, place: Place) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || matches!(topic, "." | "..") || !topic.chars().all(legal) {
            let message = format!("`{}` cannot be a topic's name", shorten(topic));
            self.error(place, "bad-name", message, "use up to 249 letters, digits, dots, underscores and hyphens");
        } else if topic.starts_with("__") {
            let message = format!("`{}` is kept for Kafka's own topics", shorten(topic));
            self.error(place, "bad-name", message, "begin the topic's name with a letter");
        }
    }

    fn partitions(&mut self, custom: &Custom<'_>) -> u32 {
        let Some(node) = custom.get("partitions") else {
            return PARTITIONS_DEFAULT;
        };
        match node.integer().filter(|count| (1..=PARTITIONS_MAX).contains(count)).and_then(|c| u32::try_from(c).ok()) {
            Some(count) => count,
            None => {
                let message = format!("`partitions` must be a whole number from 1 to {PARTITIONS_MAX}");
                self.error(node.place, "not-allowed", message, format!("{PARTITIONS_DEFAULT} is the default"));
                PARTITIONS_DEFAULT
            }
        }
    }

    fn delivery(&mut self, custom: &Custom<'_>) -> Delivery {
        match custom.text(self, "delivery") {
            Some(("replace", _)) => Delivery::Replace,
            Some(("append", _)) | None => Delivery::Append,
            Some((other, place)) => {
                let message = format!("`delivery` cannot be `{}`", shorten(other));
                self.error(place, "not-allowed", message, "allowed: append, replace");
                Delivery::Append
            }
        }
    }

    fn control_totals(&mut self, custom: &Custom<'_>) -> bool {
        match custom.text(self, "controlTotals") {
            Some(("required", _)) => true,
            Some(("optional", _)) | None => false,
            Some((other, place)) => {
                let message = format!("`controlTotals` cannot be `{}`", shorten(other));
                self.error(place, "not-allowed", message, "allowed: optional, required");
                false
            }
        }
    }

    fn snapshot_loss_max(&mut self, custom: &Custom<'_>) -> Option<f64> {
        let node = custom.get("snapshotLossMax")?;
        let text = node.to_json();
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
            None => text.parse().ok(),
        };
        if !matches!(custom.get("delivery").and_then(Node::text), Some("replace")) {
            let help = "set `delivery: replace`, or remove it";
            self.error(node.place, "no-snapshot", "`snapshotLossMax` has no meaning where deliveries add rows", help);
        }
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            let message = format!("`{}` is no share", shorten(&text));
            self.error(node.place, "not-allowed", message, "write a share from 0 to 1, such as 0.2 or 20%");
        }
        share
    }

    fn history(&mut self, custom: &Custom<'_>) -> bool {
        let Some(node) = custom.get("history") else { return false };
        node.boolean().unwrap_or_else(|| {
            self.error(node.place, "not-allowed", "`history` is neither true nor false", "write `true` or `false`");
            false
        })
    }

    fn time_column(&mut self, custom: &Custom<'_>, columns: &Columns) -> Option<usize> {
        let is_time = |column: &Column| matches!(column.kind, ColumnType::Timestamp(_));
        let Some((name, place)) = custom.text(self, "timeColumn") else {
            return columns.columns.iter().position(|column| column.required && is_time(column));
        };
        let found = columns.find(self, name, place)?;
        if columns.columns.get(found).is_some_and(is_time) {
            return Some(found);
        }
        let message = format!("`{}` is no timestamp", shorten(name));
        self.error(place, "wrong-type", message, "name a column whose logicalType is timestamp");
        None
    }

    fn time_grain(&mut self, custom: &Custom<'_>) -> Option<Grain> {
        let (text, place) = custom.text(self, "timeGrain")?;
        let found = Grain::parse(text);
        if found.is_none() {
            let message = format!("`{}` is no step of time", shorten(text));
            let help = match nearest(text, Grain::words()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", Grain::words().join(", ")),
            };
            self.error(place, "not-allowed", message, help);
        }
        found
    }

    fn dedup_horizon(&mut self, custom: &Custom<'_>) -> std::time::Duration {
        let Some((text, place)) = custom.text(self, "dedupHorizon") else {
            return DEDUP_HORIZON_DEFAULT;
        };
        match duration::iso(text) {
            Some(horizon) if !horizon.is_zero() => horizon,
            _ => {
                let message = format!("`{}` is not a length of time", shorten(text));
                self.error(place, "bad-duration", message, "write an ISO 8601 duration, such as PT24H or P7D");
                DEDUP_HORIZON_DEFAULT
            }
        }
    }
}

/// SHA-256 over what the document says, its keys in order, the first half of it.
fn fingerprint(root: &Node) -> Arc<str> {
    let mut said = root.to_json();
    said.sort_all_objects();
    let digest = Sha256::digest(said.to_string());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Names that have been given, to find the second of two.
type Taken = BTreeMap<String, usize>;
