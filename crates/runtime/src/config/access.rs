//! Who may come in and what they may do: roles and clients under `access:`.
//!
//! A client proves its name by a token or password of which the project holds hashes alone, so that the file may be read
//! by everybody. Pure. Invariant: whoever is not listed has no role, and a role may nothing that is not written.

mod clients;
mod issuers;
mod read;
mod static_web_app;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::document::{Unresolved, replace_variables};
use super::notify::Hidden;
use super::problem::ConfigProblem;
use super::{ConfigError, Environment};

pub use issuers::{ALGORITHMS, ClaimedRole, Issuer, Login, is_private};
pub(super) use read::read;
pub use static_web_app::StaticWebApp;

/// What is written in front of the SHA-256 of a token.
pub const TOKEN_HASH_PREFIX: &str = "sha256:";
/// What the hash of a password begins with, in the form of the Password Hashing Competition.
pub const PASSWORD_HASH_PREFIX: &str = "$argon2id$";
/// What verifiers of SCRAM begin with, in PostgreSQL's form `MECHANISM$iterations:salt$stored key:server key`.
pub const SCRAM_PREFIXES: [&str; 2] = ["SCRAM-SHA-256$", "SCRAM-SHA-512$"];
/// Below this a key can be found by trying.
const MASK_KEY_BYTES_MIN: usize = 16;
/// The most clients and roles.
const ENTRIES_MAX: usize = 1_000;

/// Everything under `access:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Clients by name.
    pub clients: BTreeMap<String, Client>,
    /// Who else may say who somebody is, by name.
    pub issuers: BTreeMap<String, Issuer>,
    /// An Azure Static Web App whose word is taken; none where it is not.
    pub static_web_app: Option<StaticWebApp>,
    /// The key of the mask `hash`, once resolved; none where no column is masked so.
    pub mask_key: Option<Hidden>,
}

impl Access {
    /// Whether clients have to say who they are. Where nobody is listed, whoever reaches the loopback address may all.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.clients.is_empty() || !self.issuers.is_empty() || self.static_web_app.is_some()
    }

    /// The same with the environment's variables put into its key and the hashes of passwords.
    ///
    /// # Errors
    /// A variable that is not set, by its name; what a key or hash cannot be.
    pub fn resolved(&self, environment: &Environment) -> Result<Self, ConfigError> {
        let mut access = self.clone();
        if let Some(key) = &self.mask_key {
            let text = resolve("access.mask_key", key, environment)?;
            if text.expose().len() < MASK_KEY_BYTES_MIN {
                return Err(invalid(format!("access.mask_key: a key has at least {MASK_KEY_BYTES_MIN} characters")));
            }
            access.mask_key = Some(text);
        }
        for (name, client) in &mut access.clients {
            let path = format!("access.clients.{name}.password");
            for verifier in &mut client.password {
                *verifier = resolve(&path, verifier, environment)?;
            }
            clients::check_password(&client.password).map_err(|wrong| invalid(format!("{path} {wrong}")))?;
        }
        for (name, issuer) in &mut access.issuers {
            let path = format!("access.issuers.{name}.login.client_secret");
            if let Some(secret) = issuer.login.as_mut().and_then(|login| login.client_secret.as_mut()) {
                *secret = resolve(&path, secret, environment)?;
            }
        }
        Ok(access)
    }

    /// Whether anything is written under `access:`.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.is_required() || !self.roles.is_empty()
    }
}

fn invalid(message: String) -> ConfigError {
    let problems = vec![ConfigProblem::nowhere(message).with_help("set it where vitalake runs")];
    ConfigError::Invalid { path: super::FILE_NAME.into(), problems }
}

fn resolve(path: &str, text: &Hidden, environment: &Environment) -> Result<Hidden, ConfigError> {
    let replaced = replace_variables(text.expose(), environment).map_err(|unresolved| match unresolved {
        Unresolved::Open => invalid(format!("{path}: `${{` without its `}}`")),
        Unresolved::Unset(names) => invalid(format!("{path}: environment variable {} is not set", names.join(", "))),
    })?;
    Ok(replaced.as_str().into())
}

/// What those who have it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The strictest class of columns that it sees in the clear: `public`, `internal`, `confidential` or `restricted`.
    pub clearance: String,
    /// The layers whose datasets it reads where a contract lists no roles; `quarantine` and `ops` among them.
    pub layers: BTreeSet<String>,
    /// Whether it sees records as they came, whose bytes cannot be masked column by column.
    pub records: bool,
    /// What it may do beside reading.
    pub may: BTreeSet<Action>,
    /// What it may say that its queries are for, where rows are bound to consent.
    pub purposes: BTreeSet<String>,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            clearance: "internal".to_owned(),
            layers: BTreeSet::from(["serving".to_owned()]),
            records: false,
            may: BTreeSet::new(),
            purposes: BTreeSet::new(),
        }
    }
}

/// What a role may do beside reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Deliver files.
    Deliver,
    /// Flush, run feeds, decide for gates, quarantine, deliveries and alerts.
    Operate,
}

impl Action {
    const ALL: [(&'static str, Self); 2] = [("deliver", Self::Deliver), ("operate", Self::Operate)];

    /// Its name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Operate => "operate",
        }
    }
}

/// Somebody or something that may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its roles.
    pub roles: BTreeSet<String>,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Hashes of its password, by whatever ways it is asked for: argon2id always, SCRAM where it is to work. None where it
    /// has no password.
    pub password: Vec<Hidden>,
    /// How its certificate is named: `CN=…`, `DNS:…`, `URI:…`, `EMAIL:…` or `sha256:…`, the digits of its fingerprint.
    pub certificates: Vec<String>,
    /// When its password and certificate end to be good.
    pub expires: Option<DateTime<Utc>>,
    /// What they are narrowed to.
    pub scope: Scope,
}

/// A token as the project knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of its text.
    pub sha256: [u8; 32],
    /// When it ends to be good.
    pub expires: Option<DateTime<Utc>>,
    /// What it is narrowed to.
    pub scope: Scope,
}

/// How much of what a client may do a proof of its name is good for. The default narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What may be done; none where everything that the roles say.
    pub to: Option<BTreeSet<Reach>>,
    /// With which datasets; none where with all.
    pub datasets: Option<BTreeSet<String>>,
    /// The one subject whose records may be written; none where those of all.
    pub subject: Option<Subject>,
}

/// One kind of what may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// Read.
    Read,
    /// Do something beside it.
    Act(Action),
}

impl Reach {
    const ALL: [(&'static str, Self); 3] =
        [("read", Self::Read), ("deliver", Self::Act(Action::Deliver)), ("operate", Self::Act(Action::Operate))];

    /// Delivering.
    pub const DELIVER: Self = Self::Act(Action::Deliver);

    /// The one that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, reach)| *reach)
    }
}

/// Whose records a device may write. Debug does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// The identifier itself, to be compared with those of records.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Scope {
    /// Delivering the records of one subject, and nothing else.
    #[must_use]
    pub fn of_subject(id: String) -> Self {
        Self { to: Some(BTreeSet::from([Reach::DELIVER])), datasets: None, subject: Some(Subject(id)) }
    }

    /// Whether something may be done with a dataset, or with whatever there is.
    #[must_use]
    pub fn allows(&self, reach: Reach, dataset: Option<&str>) -> bool {
        let to = self.to.as_ref().is_none_or(|to| to.contains(&reach));
        to && match (&self.datasets, dataset) {
            (None, _) => true,
            (Some(listed), Some(dataset)) => listed.contains(dataset),
            (Some(_), None) => false,
        }
    }

    /// What both allow. A second subject allows nothing beside the first.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        fn both<T: Ord + Clone>(one: &Option<BTreeSet<T>>, other: &Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one & other),
                (one, other) => one.as_ref().or(other.as_ref()).cloned(),
            }
        }
        let mut scope = Self {
            to: both(&self.to, &other.to),
            datasets: both(&self.datasets, &other.datasets),
            subject: self.subject.clone().or_else(|| other.subject.clone()),
        };
        if matches!((&self.subject, &other.subject), (Some(one), Some(other)) if one != other) {
            scope.to = Some(BTreeSet::new());
        }
        scope
    }
}

#[cfg(test)]
mod tests;
