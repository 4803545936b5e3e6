//! Roles over datasets: which of them a client reads, with what clearance, and which rows.
//!
//! Pure. Invariant: two roles together never show a value in a row that neither of them shows there.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use vitalake_contract::access::{Classification, Mask, Predicate, RECORD_COLUMNS, Reader, Unnamed};
use vitalake_contract::consent::Consent;
use vitalake_contract::{Contract, Layer};
use vitalake_runtime::config::access::{Access as Settings, Action, Reach, Role, Scope};
use vitalake_runtime::hex;

use super::mask::MaskKey;
use crate::identity::Identity;

/// Why what a project says of access cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessProblem {
    /// A hash without a key could be undone by trying.
    #[error("access.mask_key is missing, and {0} is masked with hash; give it as ${{NAME}}")]
    NoMaskKey(String),
    /// A contract lets in a role that there is none of.
    #[error("the contract of {dataset} names the role {role}, which access.roles does not have; add it there")]
    UnknownRole {
        /// The dataset.
        dataset: String,
        /// The role.
        role: String,
    },
}

impl AccessProblem {
    /// The dataset whose contract it is about.
    #[must_use]
    pub fn dataset(&self) -> Option<&str> {
        match self {
            Self::NoMaskKey(column) => column.split('.').next(),
            Self::UnknownRole { dataset, .. } => Some(dataset),
        }
    }
}

/// Everything that decides who sees what. Immutable; a process makes it once.
#[derive(Debug, Default)]
pub struct Access {
    roles: BTreeMap<String, Role>,
    datasets: BTreeMap<String, Dataset>,
    key: Option<MaskKey>,
    /// Tells these rules from others.
    fingerprint: String,
}

/// What a contract says of a dataset.
#[derive(Debug)]
struct Dataset {
    layer: Layer,
    readers: Vec<Reader>,
    writers: Vec<String>,
    columns: Arc<[Column]>,
    consent: Option<Arc<Consent>>,
}

impl Dataset {
    /// Whether its contract says which roles it is for; else the layers of a role decide who reads it.
    fn lists_roles(&self) -> bool {
        !self.readers.is_empty() || !self.writers.is_empty()
    }
}

/// What a contract says of a column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    classification: Classification,
    mask: Option<Mask>,
}

impl Access {
    /// What a project's settings and contracts say, with a key where a mask needs one.
    ///
    /// # Errors
    /// The first thing that could not be kept.
    pub fn new<'c>(
        settings: &Settings,
        contracts: impl IntoIterator<Item = &'c Contract>,
    ) -> Result<Self, AccessProblem> {
        let key = settings.mask_key.as_ref().map(|key| MaskKey::new(key.expose().as_bytes()));
        let mut datasets = BTreeMap::new();
        for contract in contracts {
            let name = contract.dataset.to_string();
            let hashed = contract.columns.iter().find(|column| column.mask == Some(Mask::Hash));
            if let Some(column) = hashed.filter(|_| key.is_none() && settings.is_given()) {
                return Err(AccessProblem::NoMaskKey(format!("{name}.{}", column.name)));
            }
            let mut listed = contract.readers.iter().map(|reader| &reader.role).chain(&contract.writers);
            let unknown = listed.find(|role| !settings.roles.contains_key(*role));
            if let Some(role) = unknown.filter(|_| settings.is_given()) {
                return Err(AccessProblem::UnknownRole { dataset: name, role: role.clone() });
            }
            let columns = contract.columns.iter().map(|column| Column {
                name: Arc::clone(&column.name),
                classification: column.classification.unwrap_or_default(),
                mask: column.mask,
            });
            let (readers, writers) = (contract.readers.clone(), contract.writers.clone());
            let consent = contract.consent.clone().map(Arc::new);
            let dataset = Dataset { layer: contract.layer, readers, writers, columns: columns.collect(), consent };
            datasets.insert(name, dataset);
        }
        let roles = settings.roles.clone();
        let fingerprint = fingerprint(&format!("{roles:?}\n{datasets:?}"));
        Ok(Self { roles, datasets, key, fingerprint })
    }

    /// The roles of an identity. Names that there is no role of give nothing.
    pub(crate) fn roles_of(self: &Arc<Self>, identity: &Identity) -> Roles {
        let known = identity.roles().iter().filter(|name| self.roles.contains_key(&***name));
        let scope = identity.scope().clone();
        Roles { access: Arc::clone(self), names: known.cloned().collect(), scope, purpose: None }
    }
}

/// A short hash of rules as they were read.
fn fingerprint(rules: &str) -> String {
    hex::encode(&Sha256::digest(rules.as_bytes())[..8])
}

/// Columns of the platform's own tables that hold what rules, gates and runbooks found, which may be a record's value.
const FOUND_COLUMNS: [&str; 6] = ["found", "got", "reasons", "reason", "summary", "detail"];

/// The table of who saw what, for the highest clearance alone.
const AUDIT: &str = "audit";

/// Some roles, as one client has them.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    access: Arc<Access>,
    names: Arc<[Arc<str>]>,
    /// What the client's proof is good for.
    scope: Scope,
    /// What they ask for, where they said it.
    purpose: Option<Arc<str>>,
}

/// How a client sees one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    clearance: Classification,
    /// Which rows; each of a contract's indices is of `columns`.
    pub(super) rows: Option<Predicate>,
    /// The filters behind `rows`, as contracts write them.
    written: Vec<String>,
    pub(super) columns: Arc<[Column]>,
    records: bool,
    /// Whether it is a table of the platform's own, or a quarantine.
    is_ours: bool,
    /// What its rows are bound to, for what these roles ask.
    pub(super) consent: Option<Arc<Consent>>,
}

/// How a client sees one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shown {
    /// As it is.
    Clear,
    /// Something else stands in its place.
    Masked(Mask),
    /// It cannot be named; a role of this clearance can.
    Not(Classification),
}

impl Roles {
    fn all(&self) -> impl Iterator<Item = (&str, &Role)> {
        self.names.iter().filter_map(|name| self.access.roles.get(&**name).map(|role| (&**name, role)))
    }

    /// The same, who ask for a purpose; none where no role of theirs may state it.
    pub(super) fn for_purpose(self, purpose: &str) -> Option<Self> {
        let may = self.all().any(|(_, role)| role.purposes.contains(purpose));
        may.then(|| Self { purpose: Some(Arc::from(purpose)), ..self })
    }

    /// What they ask for.
    pub(super) fn purpose(&self) -> Option<&Arc<str>> {
        self.purpose.as_ref()
    }

    /// Roles that may state a purpose.
    pub(super) fn stating(&self, purpose: &str) -> Vec<String> {
        let roles = self.access.roles.iter().filter(|(_, role)| role.purposes.contains(purpose));
        roles.map(|(name, _)| name.clone()).collect()
    }

    /// The layer of a dataset.
    pub(super) fn layer(&self, dataset: &str) -> Option<Layer> {
        self.access.datasets.get(dataset).map(|dataset| dataset.layer)
    }

    /// Whether one of them may do that.
    pub(crate) fn may(&self, action: Action) -> bool {
        self.scope.allows(Reach::Act(action), None) && self.all().any(|(_, role)| role.may.contains(&action))
    }

    /// Whether they hand in what becomes a dataset.
    pub(super) fn delivers(&self, dataset: &str) -> bool {
        let writers = self.access.datasets.get(dataset).map_or(&[][..], |dataset| dataset.writers.as_slice());
        let may = |name: &str, role: &Role| match writers {
            [] => role.may.contains(&Action::Deliver),
            listed => listed.iter().any(|writer| writer == name),
        };
        // A device needs no role for its own subject's records where the contract names nobody.
        let is_device = self.scope.subject.is_some() && self.names.is_empty() && writers.is_empty();
        self.scope.allows(Reach::DELIVER, Some(dataset))
            && (is_device || self.all().any(|(name, role)| may(name, role)))
    }

    /// Whether they see the records of quarantines.
    pub(super) fn shows_records(&self) -> bool {
        let reads = self.scope.allows(Reach::Read, None);
        reads && self.all().any(|(_, role)| role.records && role.layers.contains("quarantine"))
    }

    /// Whether they see what the platform says of all datasets.
    pub(crate) fn watches(&self) -> bool {
        let sees_all = |role: &Role| role.layers.contains("ops") && clearance(role) == Classification::Restricted;
        let reads = self.scope.allows(Reach::Read, None);
        reads && self.all().any(|(_, role)| role.may.contains(&Action::Operate) || sees_all(role))
    }

    /// The fingerprint of all rules.
    pub(super) fn fingerprint(&self) -> String {
        self.access.fingerprint.clone()
    }

    /// Whether they may see who saw what.
    pub(crate) fn audits(&self) -> bool {
        let sees_all = |role: &Role| role.layers.contains("ops") && clearance(role) == Classification::Restricted;
        self.scope.allows(Reach::Read, None) && self.all().any(|(_, role)| sees_all(role))
    }

    pub(super) fn key(&self) -> Option<&MaskKey> {
        self.access.key.as_ref()
    }

    /// How they see a table; none when they do not.
    pub(super) fn sight(&self, schema: &str, table: &str) -> Option<Sight> {
        if !self.reaches(schema, table) {
            return None;
        }
        let by_layer = || self.all().filter(|(_, role)| role.layers.contains(schema));
        let Some(dataset) = self.dataset(schema, table) else {
            // Quarantines and what the platform says of itself have no contract of the project.
            let is_ours =
                matches!(schema, "quarantine" | "ops") && (table != AUDIT || schema != "ops" || self.audits());
            let records = by_layer().any(|(_, role)| role.records);
            let clearance = by_layer().map(|(_, role)| clearance(role)).max()?;
            return is_ours.then(|| Sight { clearance, records, is_ours, ..Sight::default() });
        };
        let read: Vec<(&Role, Option<&Predicate>)> = if !dataset.lists_roles() {
            by_layer().map(|(_, role)| (role, None)).collect()
        } else {
            let of = |name: &str| dataset.readers.iter().find(|reader| reader.role == name);
            self.all().filter_map(|(name, role)| Some((role, of(name)?.rows.as_ref()))).collect()
        };
        let (_, first_rows) = *read.first()?;
        let clearances = read.iter().map(|(role, _)| clearance(role));
        let same_rows = read.iter().all(|(_, rows)| *rows == first_rows);
        // Of other rows another clearance would show what no role shows: the strictest holds for all.
        let clearance = if same_rows { clearances.max() } else { clearances.min() }.unwrap_or_default();
        let mut of_records = read.iter().map(|(role, _)| role.records);
        let records = if same_rows { of_records.any(|records| records) } else { of_records.all(|records| records) };
        let rows: Option<Vec<Predicate>> = read.iter().map(|(_, rows)| rows.cloned()).collect();
        let rows = if same_rows { first_rows.cloned() } else { rows.map(Predicate::Any) };
        let reads = |reader: &&Reader| self.names.iter().any(|name| **name == *reader.role);
        let filters = dataset.readers.iter().filter(reads).filter_map(|reader| reader.written.clone());
        let mut written: Vec<String> = if rows.is_some() { filters.collect() } else { Vec::new() };
        written.dedup();
        let needs = |consent: &&Arc<Consent>| {
            !self.purpose.as_ref().is_some_and(|purpose| consent.without.iter().any(|free| **free == **purpose))
        };
        let consent = dataset.consent.as_ref().filter(needs).cloned();
        let columns = Arc::clone(&dataset.columns);
        Some(Sight { clearance, rows, written, columns, records, is_ours: false, consent })
    }

    /// Whether the client's proof is good for reading a table at all. One for some datasets is not for what the platform
    /// says of all.
    fn reaches(&self, schema: &str, table: &str) -> bool {
        let live = table.strip_suffix("_live").filter(|_| schema == "serving");
        let of = |dataset| self.scope.allows(Reach::Read, dataset);
        of(None) || (schema != "ops" && (of(Some(table)) || live.is_some_and(|table| of(Some(table)))))
    }

    /// Who may read a table that they may not.
    pub(super) fn readers(&self, schema: &str, table: &str) -> Vec<String> {
        match self.dataset(schema, table) {
            Some(dataset) if dataset.lists_roles() => {
                dataset.readers.iter().map(|reader| reader.role.clone()).collect()
            }
            _ => {
                let reads = |role: &&String| self.access.roles.get(*role).is_some_and(|r| r.layers.contains(schema));
                self.access.roles.keys().filter(reads).cloned().collect()
            }
        }
    }

    /// Roles whose clearance is at least that.
    pub(super) fn cleared(&self, class: Classification) -> Vec<String> {
        let roles = self.access.roles.iter().filter(|(_, role)| clearance(role) >= class);
        roles.map(|(name, _)| name.clone()).collect()
    }

    fn dataset(&self, schema: &str, table: &str) -> Option<&Dataset> {
        let of = |name: &str| self.access.datasets.get(name).filter(|dataset| dataset.layer.as_str() == schema);
        of(table).or_else(|| of(table.strip_suffix("_live").filter(|_| schema == "serving")?))
    }
}

fn clearance(role: &Role) -> Classification {
    Classification::named(&role.clearance).unwrap_or(Classification::Public)
}

impl Sight {
    /// Which rows, as contracts say it.
    pub(super) fn rows_in_words(&self) -> Option<String> {
        let of_roles = self.rows.as_ref().map(|_| match self.written.as_slice() {
            [only] => only.clone(),
            several => several.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" OR "),
        });
        let of_consent = self.consent.as_ref().map(|consent| {
            let own = self.columns.get(consent.own).map_or("", |column| &column.name);
            format!("{own} has agreed in {} to the purpose that the query states", consent.dataset)
        });
        match (of_roles, of_consent) {
            (Some(rows), Some(agreed)) => Some(format!("({rows}) AND {agreed}")),
            (rows, agreed) => rows.or(agreed),
        }
    }

    /// Whether every row is shown.
    pub(super) fn shows_all_rows(&self) -> bool {
        self.rows.is_none() && self.consent.is_none()
    }

    /// Whether nothing of the table is masked, hidden or filtered.
    pub(super) fn is_whole(&self) -> bool {
        self.records
            && self.shows_all_rows()
            && self.columns.iter().all(|column| column.classification <= self.clearance)
    }

    /// The class of a column.
    pub(super) fn class(&self, name: &str) -> Option<Classification> {
        if RECORD_COLUMNS.contains(&name) {
            return Some(Classification::Restricted);
        }
        self.columns.iter().find(|column| &*column.name == name).map(|column| column.classification)
    }

    /// How a column of the stored table is seen.
    pub(super) fn of(&self, name: &str) -> Shown {
        if let Some(column) = self.columns.iter().find(|column| &*column.name == name) {
            let above = || column.mask.map_or(Shown::Not(column.classification), Shown::Masked);
            return if column.classification <= self.clearance { Shown::Clear } else { above() };
        }
        let (unnamed, restricted) = (Unnamed::of(name), Classification::Restricted);
        let (is_shown, class) = match unnamed {
            Unnamed::Record => (self.records, restricted),
            Unnamed::Place => (self.shows_all_rows(), restricted),
            Unnamed::Arrival => (true, restricted),
            Unnamed::Made | Unnamed::Unknown if self.is_ours => {
                (!FOUND_COLUMNS.contains(&name) || self.clearance == restricted, restricted)
            }
            Unnamed::Made | Unnamed::Unknown => {
                let class = unnamed.class(self.columns.iter().map(|column| column.classification));
                (class <= self.clearance, class)
            }
        };
        if is_shown { Shown::Clear } else { Shown::Not(class) }
    }
}

#[cfg(test)]
mod tests;
