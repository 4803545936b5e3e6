//! Reads clients: their tokens, the hashes of their passwords, and what each proof is good for.
//!
//! Invariant: no finding quotes a token, a password or a hash of one.

use std::collections::{BTreeMap, BTreeSet};

use crate::hex;
use chrono::{DateTime, NaiveDate, Utc};
use saphyr::{MarkedYaml, YamlData};

use super::super::document::nearest;
use super::super::notify::Hidden;
use super::read::Reader;
use super::{Client, PASSWORD_HASH_PREFIX, Reach, SCRAM_PREFIXES, Scope, TOKEN_HASH_PREFIX, Token};

const CLIENT_KEYS: [&str; 9] =
    ["roles", "token", "tokens", "password", "certificate", "expires", "scopes", "datasets", "subject"];
const TOKEN_KEYS: [&str; 5] = ["token", "expires", "scopes", "datasets", "subject"];

impl Reader<'_> {
    pub(super) fn clients(&mut self, node: &MarkedYaml<'_>) {
        for (name, value) in self.entries("access.clients", node, &[]) {
            let path = format!("access.clients.{name}");
            let client = self.client(&path, value);
            if client.tokens.is_empty() && client.password.is_empty() && client.certificates.is_empty() {
                self.problem(value, format!("{path} has no token and no other proof"), TOKEN_HELP);
            } else {
                self.access.clients.insert(name.to_owned(), client);
            }
        }
    }

    fn client(&mut self, path: &str, node: &MarkedYaml<'_>) -> Client {
        let (mut client, mut token, mut listed) = (Client::default(), None, Vec::new());
        for (key, value) in self.entries(path, node, &CLIENT_KEYS) {
            let path = format!("{path}.{key}");
            match key {
                "roles" => client.roles = self.texts(&path, value).into_iter().collect(),
                "token" => token = self.token(&path, value),
                "tokens" => listed = self.tokens(&path, value),
                "password" => client.password = self.password(&path, value),
                "certificate" => client.certificates = self.certificates(&path, value),
                "expires" => client.expires = self.expires(&path, value),
                _ => self.narrow(&mut client.scope, key, &path, value),
            }
        }
        let own = token.map(|sha256| Token { sha256, expires: None, scope: Scope::default() });
        client.tokens = own.into_iter().chain(listed).collect();
        for token in &mut client.tokens {
            token.scope = token.scope.and(&client.scope);
            token.expires = [token.expires, client.expires].into_iter().flatten().min();
        }
        client
    }

    /// Several tokens of one client, each for less than the client may.
    fn tokens(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<Token> {
        let YamlData::Sequence(items) = &node.data else {
            self.problem(node, format!("{path} is no list"), "write `- token: sha256:…` for each");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.listed_token(path, item)).collect()
    }

    fn listed_token(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<Token> {
        let (mut sha256, mut expires, mut scope) = (None, None, Scope::default());
        for (key, value) in self.entries(path, node, &TOKEN_KEYS) {
            let path = format!("{path}.{key}");
            match key {
                "token" => sha256 = self.token(&path, value),
                "expires" => expires = self.expires(&path, value),
                _ => self.narrow(&mut scope, key, &path, value),
            }
        }
        if sha256.is_none() {
            self.problem(node, format!("an entry of {path} has no token"), TOKEN_HELP);
        }
        Some(Token { sha256: sha256?, expires, scope })
    }

    fn narrow(&mut self, scope: &mut Scope, key: &str, path: &str, node: &MarkedYaml<'_>) {
        if key == "datasets" {
            scope.datasets = Some(self.texts(path, node).into_iter().collect());
            return;
        }
        if key == "subject" {
            // What it would read is not that subject's alone. A subject that cannot be read is nobody's.
            let subject = self.text(path, node).unwrap_or_default();
            *scope = scope.and(&Scope::of_subject(subject));
            return;
        }
        let words = self.words(path, node, &Reach::ALL.map(|(word, _)| word));
        let to = Some(words.iter().filter_map(|word| Reach::named(word)).collect::<BTreeSet<_>>());
        *scope = scope.and(&Scope { to, ..Scope::default() });
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

    /// Neither does a password: its hashes do, or where they are.
    fn password(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<Hidden> {
        let verifiers: Vec<Hidden> = self.texts(path, node).iter().map(|text| text.as_str().into()).collect();
        // What stands behind a variable is seen at start.
        let is_here = verifiers.iter().all(|verifier| !verifier.expose().contains("${"));
        if let Err(wrong) = check_password(&verifiers)
            && is_here
        {
            self.problem(node, format!("{path} {wrong}"), PASSWORD_HELP);
            return Vec::new();
        }
        verifiers
    }

    fn certificates(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<String> {
        let mut names = self.texts(path, node);
        for name in &mut names {
            if let Some(fingerprint) = name.strip_prefix(TOKEN_HASH_PREFIX) {
                *name = format!("{TOKEN_HASH_PREFIX}{}", fingerprint.replace(':', "").to_ascii_lowercase());
            }
        }
        let is_hash = |name: &str| name.strip_prefix(TOKEN_HASH_PREFIX).is_some_and(|text| digest_of(text).is_some());
        let named = |name: &str| {
            CERTIFICATE_NAMES.iter().any(|kind| name.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
        };
        if names.iter().any(|name| !is_hash(name) && !named(name)) {
            let help = "write \"CN=NAME\", \"DNS:NAME\", \"URI:NAME\", \"EMAIL:NAME\", or sha256: and the fingerprint";
            self.problem(node, format!("{path} is no name of a certificate"), help);
            return Vec::new();
        }
        names
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

    pub(super) fn check_clients(&mut self, node: &MarkedYaml<'_>) {
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
        let mut owners: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for token in self.access.clients.values().flat_map(|client| &client.tokens) {
            *owners.entry(token.sha256).or_default() += 1;
        }
        let mut shown: Vec<&String> = self.access.clients.values().flat_map(|client| &client.certificates).collect();
        shown.sort_unstable();
        if shown.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            let help = "name for each what is in its certificate alone";
            self.problem(node, "two clients under access.clients have the same certificate".to_owned(), help);
        }
        if owners.values().any(|count| *count > 1) {
            let help = "make one for each with `vitalake token`: a token says whose it is";
            self.problem(node, "two clients under access.clients have the same token".to_owned(), help);
        }
    }
}

/// What is wrong with the hashes of a password, as far as their kinds tell.
pub(super) fn check_password(verifiers: &[Hidden]) -> Result<(), &'static str> {
    let of = |prefix: &str| verifiers.iter().filter(|verifier| verifier.expose().starts_with(prefix)).count();
    let scram: Vec<usize> = SCRAM_PREFIXES.iter().map(|prefix| of(prefix)).collect();
    let argon = of(PASSWORD_HASH_PREFIX);
    if argon + scram.iter().sum::<usize>() != verifiers.len() {
        return Err("is not the hash of a password");
    }
    let is_single = argon <= 1 && scram.iter().all(|count| *count <= 1);
    if !is_single || (argon == 0 && !verifiers.is_empty()) {
        return Err("needs one hash of argon2id, and at most one verifier of each kind of SCRAM");
    }
    Ok(())
}

/// What a name in a certificate is.
const CERTIFICATE_NAMES: [&str; 4] = ["CN=", "DNS:", "URI:", "EMAIL:"];

/// The SHA-256 of no text at all.
const NOTHING_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

const PASSWORD_HELP: &str =
    "run `vitalake password NAME` and write the lines that it shows, or where they are, as ${NAME}";
const TOKEN_HELP: &str = "make a token with `vitalake token NAME --role ROLE` and write the line that it shows";

/// 64 hex digits as bytes.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    hex::decode(text)?.try_into().ok()
}
