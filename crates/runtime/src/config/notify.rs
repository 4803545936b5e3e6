//! Where alerts are sent: the receivers under `notify:`, with secrets by reference until somebody sends.
//!
//! Read by `document` when a project is checked; [`resolve`] puts the environment's variables in when the platform
//! starts, so that a project is valid on a machine that has none of them. Invariant: neither form shows a value in Debug,
//! nor does a message here hold one.

use std::collections::BTreeMap;
use std::fmt;

use saphyr::{MarkedYaml, YamlData};

use super::document::{Unresolved, in_place_of, problem_at, replace_variables, text_of};
use super::problem::ConfigProblem;
use super::{ConfigError, Environment};

/// Where PagerDuty takes events.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// The receiver that alerts go to which name none.
pub const DEFAULT_RECEIVER: &str = "default";
/// The most receivers: each has a sender of its own.
const RECEIVERS_MAX: usize = 50;

/// A text that may be a secret or refer to one. Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself, for whoever sends with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A receiver of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// Any service that takes our own JSON.
    Webhook {
        /// Where.
        url: Hidden,
        /// Headers to send with it, such as `Authorization`.
        headers: BTreeMap<String, Hidden>,
    },
    /// An incoming webhook of Slack.
    Slack {
        /// Where.
        url: Hidden,
    },
    /// A workflow of Teams that posts what it is sent.
    Teams {
        /// Where.
        url: Hidden,
    },
    /// PagerDuty's Events API v2.
    PagerDuty {
        /// The integration's key.
        routing_key: Hidden,
        /// Where; another address for a region or a relay.
        url: Hidden,
    },
    /// Mail.
    Email {
        /// `smtp://USER:PASSWORD@HOST:PORT`, or `smtps://…`.
        smtp: Hidden,
        /// Who it comes from.
        from: String,
        /// Who it goes to.
        to: Vec<String>,
    },
}

impl Receiver {
    /// Its type, as the file names it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Teams { .. } => "teams",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Email { .. } => "email",
        }
    }

    fn hidden(&mut self) -> Vec<(&'static str, &mut Hidden)> {
        match self {
            Self::Webhook { url, headers } => {
                let headers = headers.values_mut().map(|header| ("headers", header));
                std::iter::once(("url", url)).chain(headers).collect()
            }
            Self::Slack { url } | Self::Teams { url } => vec![("url", url)],
            Self::PagerDuty { routing_key, url } => vec![("routing_key", routing_key), ("url", url)],
            Self::Email { smtp, .. } => vec![("smtp", smtp)],
        }
    }
}

/// The receivers with the environment's variables put in.
///
/// # Errors
/// Every variable that is not set and every address that is none, with its receiver and key.
pub fn resolve(
    receivers: &BTreeMap<String, Receiver>,
    environment: &Environment,
) -> Result<BTreeMap<String, Receiver>, ConfigError> {
    let (mut resolved, mut problems) = (receivers.clone(), Vec::new());
    for (name, receiver) in &mut resolved {
        for (key, hidden) in receiver.hidden() {
            match replace_variables(&hidden.0, environment) {
                Ok(text) => *hidden = Hidden(text),
                Err(Unresolved::Open) => problems.push(open_variable(name, key)),
                Err(Unresolved::Unset(variables)) => problems.extend(variables.into_iter().map(|variable| {
                    ConfigProblem::nowhere(format!("notify.{name}.{key}: environment variable {variable} is not set"))
                        .with_help(format!("set {variable} where vitalake runs, or remove the receiver"))
                })),
            }
            let text = hidden.0.as_str();
            if let Some(schemes) = schemes(key).filter(|_| !text.contains("${"))
                && !is_address(text, schemes)
            {
                problems.push(ConfigProblem::nowhere(format!("notify.{name}.{key}: {}", not_an_address(schemes))));
            }
        }
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(ConfigError::Invalid { path: super::FILE_NAME.into(), problems })
    }
}

/// Those of the receivers whose variables are set, for a process that sends nothing but what somebody tries: no text that
/// still asks for a variable is ever sent as an address or a secret.
#[must_use]
pub fn resolvable(receivers: &BTreeMap<String, Receiver>, environment: &Environment) -> BTreeMap<String, Receiver> {
    let one = |(name, receiver): (&String, &Receiver)| {
        resolve(&BTreeMap::from([(name.clone(), receiver.clone())]), environment).ok()
    };
    receivers.iter().filter_map(one).flatten().collect()
}

/// The schemes of a key whose text is an address.
fn schemes(key: &str) -> Option<&'static [&'static str]> {
    match key {
        "url" => Some(&["http://", "https://"]),
        "smtp" => Some(&["smtp://", "smtps://"]),
        _ => None,
    }
}

fn is_address(text: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace))
}

fn not_an_address(schemes: &[&str]) -> String {
    format!("this is no address that begins with {}", schemes.join(" or "))
}

fn open_variable(name: &str, key: &str) -> ConfigProblem {
    ConfigProblem::nowhere(format!("notify.{name}.{key}: `${{` without its `}}`"))
}

/// Reads the map under `notify:`.
pub(super) fn read(node: &MarkedYaml<'_>, problems: &mut Vec<ConfigProblem>) -> BTreeMap<String, Receiver> {
    let mut receivers = BTreeMap::new();
    let YamlData::Mapping(entries) = &node.data else {
        problems.push(problem_at(node, "notify must be a map of names"));
        return receivers;
    };
    for (key, value) in entries {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match key.data.as_str().filter(|name| !name.is_empty() && name.chars().all(fits)) {
            Some(name) if receivers.len() < RECEIVERS_MAX => {
                if let Some(receiver) = (Entry { name, problems }).receiver(value) {
                    receivers.insert(name.to_owned(), receiver);
                }
            }
            Some(_) => problems.push(problem_at(key, format!("notify has more than {RECEIVERS_MAX} receivers"))),
            None => problems
                .push(problem_at(key, "a name in notify must be text").with_help("use letters, digits, _ and - alone")),
        }
    }
    receivers
}

const TYPES: [(&str, &[&str]); 5] = [
    ("webhook", &["type", "url", "headers"]),
    ("slack", &["type", "url"]),
    ("teams", &["type", "url"]),
    ("pagerduty", &["type", "routing_key", "url"]),
    ("email", &["type", "smtp", "from", "to"]),
];

struct Entry<'a> {
    name: &'a str,
    problems: &'a mut Vec<ConfigProblem>,
}

impl Entry<'_> {
    fn receiver(&mut self, node: &MarkedYaml<'_>) -> Option<Receiver> {
        let known = TYPES.map(|(name, _)| name).join(", ");
        let Some(kind) = get(node, "type").and_then(|kind| kind.data.as_str()) else {
            self.problem(node, "has no `type`", &format!("give it one of {known}"));
            return None;
        };
        let Some((kind, keys)) = TYPES.into_iter().find(|(name, _)| *name == kind) else {
            let place = get(node, "type").unwrap_or(node);
            self.problem(place, "has a type that is not known", &format!("known types: {known}"));
            return None;
        };
        self.keys(node, keys);
        match kind {
            "webhook" => Some(Receiver::Webhook { url: self.address(node, "url")?, headers: self.headers(node) }),
            "slack" => Some(Receiver::Slack { url: self.address(node, "url")? }),
            "teams" => Some(Receiver::Teams { url: self.address(node, "url")? }),
            "pagerduty" => {
                let url = if get(node, "url").is_some() { self.address(node, "url")? } else { PAGERDUTY_URL.into() };
                Some(Receiver::PagerDuty { routing_key: self.text(node, "routing_key")?.as_str().into(), url })
            }
            _ => {
                let (smtp, from) = (self.address(node, "smtp"), self.text(node, "from"));
                let to = self.texts(node, "to");
                Some(Receiver::Email { smtp: smtp?, from: from?, to: to? })
            }
        }
    }

    fn problem(&mut self, node: &MarkedYaml<'_>, what: &str, help: &str) {
        self.problems.push(problem_at(node, format!("notify.{} {what}", self.name)).with_help(help));
    }

    fn keys(&mut self, node: &MarkedYaml<'_>, known: &[&'static str]) {
        let YamlData::Mapping(entries) = &node.data else { return };
        for (key, _) in entries {
            let name = key.data.as_str().unwrap_or_default();
            if known.contains(&name) {
                continue;
            }
            self.problem(key, "has an unknown key", &in_place_of(name, known, "it takes"));
        }
    }

    fn text(&mut self, node: &MarkedYaml<'_>, key: &str) -> Option<String> {
        let found = get(node, key).and_then(text_of);
        if found.is_none() {
            let help = format!("add `{key}:`; a secret by reference, such as ${{NAME}}");
            self.problem(get(node, key).unwrap_or(node), &format!("needs a text for `{key}`"), &help);
        }
        found
    }

    /// An address, which may be a variable as a whole or in part.
    fn address(&mut self, node: &MarkedYaml<'_>, key: &str) -> Option<Hidden> {
        let text = self.text(node, key)?;
        let schemes = schemes(key).unwrap_or_default();
        if !text.contains("${") && !is_address(&text, schemes) {
            let what = format!("has a `{key}` that is no address");
            self.problem(get(node, key).unwrap_or(node), &what, &format!("begin it with {}", schemes.join(" or ")));
        }
        Some(Hidden(text))
    }

    fn texts(&mut self, node: &MarkedYaml<'_>, key: &str) -> Option<Vec<String>> {
        match get(node, key).map(|value| &value.data) {
            Some(YamlData::Sequence(items)) if !items.is_empty() => {
                let texts: Option<Vec<_>> =
                    items.iter().map(|item| item.data.as_str().map(ToOwned::to_owned)).collect();
                if texts.is_none() {
                    self.problem(node, &format!("needs a list of texts for `{key}`"), "write addresses");
                }
                texts
            }
            _ => self.text(node, key).map(|text| vec![text]),
        }
    }

    fn headers(&mut self, node: &MarkedYaml<'_>) -> BTreeMap<String, Hidden> {
        let Some(value) = get(node, "headers") else { return BTreeMap::new() };
        let YamlData::Mapping(entries) = &value.data else {
            self.problem(value, "needs a map for `headers`", "write NAME: VALUE lines");
            return BTreeMap::new();
        };
        let read = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
            Some((key.data.as_str()?.to_owned(), Hidden(value.data.as_str()?.to_owned())))
        };
        let headers: BTreeMap<_, _> = entries.iter().filter_map(read).collect();
        if headers.len() != entries.len() {
            self.problem(value, "has a header that is no text", "write NAME: VALUE lines");
        }
        headers
    }
}

fn get<'a, 'y>(node: &'a MarkedYaml<'y>, key: &str) -> Option<&'a MarkedYaml<'y>> {
    let YamlData::Mapping(entries) = &node.data else { return None };
    entries.iter().find(|(name, _)| name.data.as_str() == Some(key)).map(|(_, value)| value)
}
