//! Reads issuers: who else may say who somebody is, by signed tokens, and which of his claims are which roles.
//!
//! Invariant: an algorithm by which whoever checks could also sign is none, whatever is written.

use std::collections::BTreeSet;

use saphyr::{MarkedYaml, YamlData};

use super::super::document::nearest;
use super::super::notify::Hidden;
use super::read::Reader;
use crate::http::is_here;

/// Algorithms that are taken: a key of theirs that checks does not sign.
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const ALGORITHMS_DEFAULT: [&str; 3] = ["RS256", "PS256", "ES256"];
const KEYS: [&str; 9] =
    ["url", "discovery", "audience", "algorithms", "name", "roles", "subject", "leeway_seconds", "login"];
const LEEWAY_SECONDS_DEFAULT: u32 = 60;
const LEEWAY_SECONDS_MAX: u32 = 300;

/// Somebody whose word on who a client is is taken: an OpenID provider, such as Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What its tokens have as `iss`.
    pub url: String,
    /// Where its OpenID configuration is; below `url` where that is not said.
    pub discovery: Option<String>,
    /// What its tokens have as `aud`: one of these.
    pub audiences: BTreeSet<String>,
    /// The algorithms that are taken.
    pub algorithms: BTreeSet<String>,
    /// The claims that a name is taken from, the first that a token has.
    pub name: Vec<String>,
    /// Which claims are which roles.
    pub roles: Vec<ClaimedRole>,
    /// The claim that says whose records a device writes, where tokens are those of devices.
    pub subject: Option<String>,
    /// How far clocks may be apart, in seconds.
    pub leeway_seconds: u32,
    /// How browsers log in there; none where they do not.
    pub login: Option<Login>,
}

/// This platform as an issuer's client, for log-ins of browsers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// Its id there.
    pub client_id: String,
    /// Its secret, once resolved; none of a public client, whose codes PKCE alone guards.
    pub client_secret: Option<Hidden>,
    /// The scopes that are asked for; `openid profile` where none are named.
    pub scopes: Vec<String>,
}

/// A value of a claim that gives a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRole {
    /// The claim: a text, several texts, or words with spaces between.
    pub claim: String,
    /// The value.
    pub value: String,
    /// The role.
    pub role: String,
}

impl Reader<'_> {
    pub(super) fn issuers(&mut self, node: &MarkedYaml<'_>) {
        for (name, value) in self.entries("access.issuers", node, &[]) {
            let path = format!("access.issuers.{name}");
            let issuer = self.issuer(&path, value);
            self.access.issuers.insert(name.to_owned(), issuer);
        }
    }

    fn issuer(&mut self, path: &str, node: &MarkedYaml<'_>) -> Issuer {
        let mut issuer = Issuer {
            url: String::new(),
            discovery: None,
            audiences: BTreeSet::new(),
            algorithms: ALGORITHMS_DEFAULT.map(ToOwned::to_owned).into(),
            name: vec!["sub".to_owned()],
            roles: Vec::new(),
            subject: None,
            leeway_seconds: LEEWAY_SECONDS_DEFAULT,
            login: None,
        };
        for (key, value) in self.entries(path, node, &KEYS) {
            let path = format!("{path}.{key}");
            match key {
                "url" => issuer.url = self.address(&path, value).unwrap_or_default(),
                "discovery" => issuer.discovery = self.address(&path, value),
                "audience" => issuer.audiences = self.texts(&path, value).into_iter().collect(),
                "algorithms" => issuer.algorithms = self.words(&path, value, &ALGORITHMS).into_iter().collect(),
                "name" => issuer.name = self.texts(&path, value),
                "roles" => issuer.roles = self.claimed_roles(&path, value),
                "subject" => issuer.subject = self.text(&path, value),
                "login" => issuer.login = Some(self.login(&path, value)),
                _ => issuer.leeway_seconds = self.leeway(&path, value),
            }
        }
        for (key, is_missing) in [("url", issuer.url.is_empty()), ("audience", issuer.audiences.is_empty())] {
            if is_missing {
                let help =
                    "write the `iss` of its tokens as url, and the `aud` that this platform has there as audience";
                self.problem(node, format!("{path} has no {key}"), help);
            }
        }
        issuer
    }

    fn login(&mut self, path: &str, node: &MarkedYaml<'_>) -> Login {
        let mut login = Login::default();
        for (key, value) in self.entries(path, node, &["client_id", "client_secret", "scopes"]) {
            let path = format!("{path}.{key}");
            match key {
                "client_id" => login.client_id = self.text(&path, value).unwrap_or_default(),
                "client_secret" => {
                    let text = self.text(&path, value);
                    if text.as_ref().is_some_and(|text| !text.contains("${")) {
                        let help = "give it by reference, as ${NAME}";
                        self.problem(value, format!("{path} is a secret, and stands in the file"), help);
                    }
                    login.client_secret = text.map(|text| text.as_str().into());
                }
                _ => login.scopes = self.texts(&path, value),
            }
        }
        if login.client_id.is_empty() {
            let help = "write the id that this platform has at the issuer, and register /api/v1/login/callback there";
            self.problem(node, format!("{path} has no client_id"), help);
        }
        login
    }

    /// An address that nobody between can answer for: https, or this machine.
    fn address(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<String> {
        let url = self.text(path, node)?;
        if !is_private(&url) {
            let help = "write an https:// address; http:// is for this machine alone";
            self.problem(node, format!("{path} is no address whose answers can be trusted"), help);
            return None;
        }
        Some(url)
    }

    fn leeway(&mut self, path: &str, node: &MarkedYaml<'_>) -> u32 {
        let seconds = self.text(path, node).and_then(|text| text.parse().ok()).filter(|s| *s <= LEEWAY_SECONDS_MAX);
        seconds.unwrap_or_else(|| {
            self.problem(node, format!("{path} is not 0 to {LEEWAY_SECONDS_MAX} seconds"), "write a number");
            LEEWAY_SECONDS_DEFAULT
        })
    }

    fn claimed_roles(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<ClaimedRole> {
        let YamlData::Sequence(items) = &node.data else {
            self.problem(node, format!("{path} is no list"), ROLES_HELP);
            return Vec::new();
        };
        items.iter().filter_map(|item| self.claimed_role(path, item)).collect()
    }

    fn claimed_role(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<ClaimedRole> {
        let (mut claim, mut is, mut role) = (None, None, None);
        for (key, value) in self.entries(path, node, &["claim", "value", "role"]) {
            let path = format!("{path}.{key}");
            match key {
                "claim" => claim = self.text(&path, value),
                "value" => is = self.text(&path, value),
                _ => role = self.text(&path, value),
            }
        }
        if claim.is_none() || is.is_none() || role.is_none() {
            self.problem(node, format!("an entry of {path} is not whole"), ROLES_HELP);
        }
        Some(ClaimedRole { claim: claim?, value: is?, role: role? })
    }

    pub(super) fn check_issuers(&mut self, node: &MarkedYaml<'_>) {
        let mut wrong = Vec::new();
        for (name, issuer) in &self.access.issuers {
            for given in issuer.roles.iter().filter(|given| !self.access.roles.contains_key(&given.role)) {
                let help = nearest(&given.role, self.access.roles.keys().map(String::as_str)).map_or_else(
                    || "write the role under access.roles".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                wrong.push((format!("access.issuers.{name}.roles: there is no role {}", given.role), help));
            }
            if self.access.issuers.iter().any(|(other, of)| other < name && of.url == issuer.url) {
                let help = "give one entry both audiences and all roles".to_owned();
                wrong.push((format!("access.issuers.{name}: another entry has the same url"), help));
            }
        }
        for (message, help) in wrong {
            self.problem(node, message, &help);
        }
    }
}

const ROLES_HELP: &str = "write `- {claim: roles, value: Lake.Reader, role: analyst}` for each";

/// Whether what an address answers comes from it: by TLS, or from this machine.
#[must_use]
pub fn is_private(url: &str) -> bool {
    let fits = |rest: &str| !rest.is_empty() && !rest.contains(['@', ' ', '?', '#', '\\']);
    if let Some(rest) = url.strip_prefix("https://") {
        return fits(rest);
    }
    url.strip_prefix("http://").is_some_and(fits) && is_here(url)
}
