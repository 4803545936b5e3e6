//! Who may come in and what they may do: roles and clients under `access:`.
//!
//! A client proves its name by a token of which the project holds the SHA-256 alone, so that the file may be read by
//! everybody. Pure. Invariant: whoever is not listed has no role, and a role may nothing that is not written.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use saphyr::{MarkedYaml, Scalar, YamlData};

use super::document::{Unresolved, in_place_of, nearest, problem_at, replace_variables, text_of};
use super::notify::Hidden;
use super::problem::ConfigProblem;
use super::{ConfigError, Environment};

/// What is written in front of the SHA-256 of a token.
pub const TOKEN_HASH_PREFIX: &str = "sha256:";
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
    /// The key of the mask `hash`, once resolved; none where no column is masked so.
    pub mask_key: Option<Hidden>,
}

impl Access {
    /// Whether clients have to say who they are. Where nobody is listed, whoever reaches the loopback address may all.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The same with the environment's variables put into its key.
    ///
    /// # Errors
    /// A variable that is not set, by its name.
    pub fn resolved(&self, environment: &Environment) -> Result<Self, ConfigError> {
        let problem = |message: String| ConfigError::Invalid {
            path: super::FILE_NAME.into(),
            problems: vec![ConfigProblem::nowhere(message).with_help("set it where vitalake runs")],
        };
        let mut access = self.clone();
        if let Some(key) = &self.mask_key {
            let text = replace_variables(key.expose(), environment).map_err(|unresolved| match unresolved {
                Unresolved::Open => problem("access.mask_key: `${` without its `}`".to_owned()),
                Unresolved::Unset(names) => {
                    problem(format!("access.mask_key: environment variable {} is not set", names.join(", ")))
                }
            })?;
            if text.len() < MASK_KEY_BYTES_MIN {
                return Err(problem(format!("access.mask_key: a key has at least {MASK_KEY_BYTES_MIN} characters")));
            }
            access.mask_key = Some(text.as_str().into());
        }
        Ok(access)
    }

    /// Whether anything is written under `access:`.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.is_required() || !self.roles.is_empty()
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its roles.
    pub roles: BTreeSet<String>,
    /// SHA-256 of its token.
    pub token_sha256: [u8; 32],
    /// When the token ends to be good.
    pub expires: Option<DateTime<Utc>>,
    /// The one subject that it may write records of, as a device does: it writes nothing else.
    pub subject: Option<String>,
}

const CLASSES: [&str; 4] = ["public", "internal", "confidential", "restricted"];
const LAYERS: [&str; 5] = ["raw", "curated", "serving", "quarantine", "ops"];

/// Reads the map under `access:`.
pub(super) fn read(node: &MarkedYaml<'_>, problems: &mut Vec<ConfigProblem>) -> Access {
    let mut reader = Reader { problems, access: Access::default() };
    for (key, value) in reader.entries("access", node, &["roles", "clients", "mask_key"]) {
        match key {
            "roles" => reader.roles(value),
            "clients" => reader.clients(value),
            _ => {
                let text = reader.text("access.mask_key", value);
                if text.as_ref().is_some_and(|text| !text.contains("${") && text.len() < MASK_KEY_BYTES_MIN) {
                    let message = format!("access.mask_key: a key has at least {MASK_KEY_BYTES_MIN} characters");
                    reader.problem(value, message, "give it by reference, as ${NAME}");
                }
                reader.access.mask_key = text.map(|text| text.as_str().into());
            }
        }
    }
    reader.check_roles(node);
    reader.access
}

struct Reader<'p> {
    problems: &'p mut Vec<ConfigProblem>,
    access: Access,
}

impl Reader<'_> {
    fn problem(&mut self, node: &MarkedYaml<'_>, message: String, help: &str) {
        self.problems.push(problem_at(node, message).with_help(help));
    }

    /// The entries of a map; with `known` keys, those alone, and a finding for each other.
    fn entries<'n, 'y>(
        &mut self,
        path: &str,
        node: &'n MarkedYaml<'y>,
        known: &[&'static str],
    ) -> Vec<(&'n str, &'n MarkedYaml<'y>)> {
        let YamlData::Mapping(entries) = &node.data else {
            if !matches!(node.data, YamlData::Value(Scalar::Null)) {
                self.problem(node, format!("{path} must be a map"), "write NAME: VALUE lines");
            }
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in entries {
            let name = key.data.as_str().unwrap_or_default();
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
            if !known.is_empty() && !known.contains(&name) {
                self.problem(key, format!("{path} has an unknown key"), &in_place_of(name, known, "it takes"));
            } else if name.is_empty() || name.len() > 200 || !name.chars().all(fits) {
                let help = "use letters, digits and _ - . @ alone";
                self.problem(key, format!("a name in {path} must be text"), help);
            } else {
                found.push((name, value));
            }
        }
        if found.len() > ENTRIES_MAX {
            self.problem(node, format!("{path} has more than {ENTRIES_MAX} entries"), "remove those that nobody uses");
            found.truncate(ENTRIES_MAX);
        }
        found
    }

    fn roles(&mut self, node: &MarkedYaml<'_>) {
        for (name, value) in self.entries("access.roles", node, &[]) {
            let path = format!("access.roles.{name}");
            let mut role = Role::default();
            for (key, value) in self.entries(&path, value, &["clearance", "layers", "records", "may", "purposes"]) {
                let path = format!("{path}.{key}");
                match key {
                    "clearance" => {
                        let words = self.words(&path, value, &CLASSES);
                        role.clearance = match words.as_slice() {
                            [only] => only.clone(),
                            _ => {
                                self.problem(value, format!("{path} is not one class"), "write one word");
                                String::new()
                            }
                        };
                    }
                    "purposes" => role.purposes = self.texts(&path, value).into_iter().collect(),
                    "layers" => role.layers = self.words(&path, value, &LAYERS).into_iter().collect(),
                    "records" => match value.data {
                        YamlData::Value(Scalar::Boolean(records)) => role.records = records,
                        _ => self.problem(value, format!("{path} is neither true nor false"), "write true or false"),
                    },
                    _ => role.may = self.actions(&path, value),
                }
            }
            self.access.roles.insert(name.to_owned(), role);
        }
    }

    fn actions(&mut self, path: &str, node: &MarkedYaml<'_>) -> BTreeSet<Action> {
        let words = self.words(path, node, &Action::ALL.map(|(word, _)| word));
        let named = |word: &String| Action::ALL.iter().find(|(known, _)| known == word).map(|(_, action)| *action);
        words.iter().filter_map(named).collect()
    }

    /// One word or a list of them, each of those that are known.
    fn words(&mut self, path: &str, node: &MarkedYaml<'_>, known: &[&str]) -> Vec<String> {
        let mut words = self.texts(path, node);
        for word in &words {
            if !known.contains(&word.as_str()) {
                let help = in_place_of(word, known, "write one of");
                self.problem(node, format!("{path} has a word that is not known"), &help);
            }
        }
        words.retain(|word| known.contains(&word.as_str()));
        words
    }

    fn texts(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<String> {
        match &node.data {
            YamlData::Sequence(items) => items.iter().filter_map(|item| self.text(path, item)).collect(),
            _ => self.text(path, node).into_iter().collect(),
        }
    }

    fn text(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<String> {
        let text = text_of(node);
        if text.is_none() {
            self.problem(node, format!("{path} needs a text"), "give it one");
        }
        text
    }

    fn clients(&mut self, node: &MarkedYaml<'_>) {
        for (name, value) in self.entries("access.clients", node, &[]) {
            let path = format!("access.clients.{name}");
            let (mut roles, mut token, mut expires, mut subject) = (BTreeSet::new(), None, None, None);
            for (key, value) in self.entries(&path, value, &["roles", "token", "expires", "subject"]) {
                let path = format!("{path}.{key}");
                match key {
                    "roles" => roles = self.texts(&path, value).into_iter().collect(),
                    "token" => token = self.token(&path, value),
                    "subject" => {
                        subject = self.text(&path, value);
                        // One that cannot be read is nobody's.
                        subject = subject.or_else(|| Some(String::new()));
                    }
                    _ => expires = self.expires(&path, value),
                }
            }
            match token {
                Some(token_sha256) => {
                    let client = Client { roles, token_sha256, expires, subject };
                    self.access.clients.insert(name.to_owned(), client);
                }
                None => self.problem(value, format!("{path} has no token"), TOKEN_HELP),
            }
        }
    }

    /// The token itself never stands in a file: whoever wrote one there is told so, and not what it is.
    fn token(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<[u8; 32]> {
        let text = self.text(path, node)?;
        let digest = text.strip_prefix(TOKEN_HASH_PREFIX).and_then(digest_of);
        let digest = digest.filter(|digest| *digest != NOTHING_SHA256);
        if digest.is_none() {
            self.problem(node, format!("{path} is not the SHA-256 of a token"), TOKEN_HELP);
        }
        digest
    }

    fn expires(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<DateTime<Utc>> {
        let text = self.text(path, node)?;
        let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
        let moment = DateTime::parse_from_rfc3339(&text).ok().map(|moment| moment.to_utc()).or_else(day);
        if moment.is_none() {
            let help = "write a day, on which it is no longer good, such as 2027-01-31, or a moment with its zone";
            self.problem(node, format!("{path} is no day"), help);
            // A token whose end cannot be read is over.
            return Some(DateTime::UNIX_EPOCH);
        }
        moment
    }

    fn check_roles(&mut self, node: &MarkedYaml<'_>) {
        let mut unknown = Vec::new();
        let known = || self.access.roles.keys().map(String::as_str);
        for (name, client) in &self.access.clients {
            for role in client.roles.iter().filter(|role| !self.access.roles.contains_key(*role)) {
                let help = nearest(role, known()).map_or_else(
                    || "write the role under access.roles".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                unknown.push((format!("access.clients.{name}.roles: there is no role {role}"), help));
            }
        }
        for (message, help) in unknown {
            self.problem(node, message, &help);
        }
        let owners: BTreeMap<[u8; 32], usize> =
            self.access.clients.values().fold(BTreeMap::new(), |mut owners, client| {
                *owners.entry(client.token_sha256).or_default() += 1;
                owners
            });
        if owners.values().any(|count| *count > 1) {
            let help = "make one for each with `vitalake token`: a token says whose it is";
            self.problem(node, "two clients under access.clients have the same token".to_owned(), help);
        }
    }
}

/// The SHA-256 of no text at all.
const NOTHING_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

const TOKEN_HELP: &str = "make a token with `vitalake token NAME --role ROLE` and write the line that it shows";

/// 64 hex digits as bytes.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;
