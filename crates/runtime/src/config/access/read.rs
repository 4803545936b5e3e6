//! Reads roles, and the words and texts that all of `access:` is made of.
//!
//! Invariant: a word that is not known is a finding, and gives nothing.

use std::collections::BTreeSet;

use saphyr::{MarkedYaml, Scalar, YamlData};

use super::super::document::{in_place_of, problem_at, text_of};
use super::super::problem::ConfigProblem;
use super::{Access, Action, ENTRIES_MAX, MASK_KEY_BYTES_MIN, Role};

const CLASSES: [&str; 4] = ["public", "internal", "confidential", "restricted"];
const LAYERS: [&str; 5] = ["raw", "curated", "serving", "quarantine", "ops"];

/// Reads the map under `access:`.
pub(in crate::config) fn read(node: &MarkedYaml<'_>, problems: &mut Vec<ConfigProblem>) -> Access {
    let mut reader = Reader { problems, access: Access::default() };
    for (key, value) in reader.entries("access", node, &["roles", "clients", "issuers", "static_web_app", "mask_key"]) {
        match key {
            "roles" => reader.roles(value),
            "clients" => reader.clients(value),
            "issuers" => reader.issuers(value),
            "static_web_app" => reader.static_web_app(value),
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
    reader.check_clients(node);
    reader.check_issuers(node);
    reader.check_static_web_app(node);
    reader.access
}

pub(super) struct Reader<'p> {
    problems: &'p mut Vec<ConfigProblem>,
    pub(super) access: Access,
}

impl Reader<'_> {
    pub(super) fn problem(&mut self, node: &MarkedYaml<'_>, message: String, help: &str) {
        self.problems.push(problem_at(node, message).with_help(help));
    }

    /// The entries of a map; with `known` keys, those alone, and a finding for each other.
    pub(super) fn entries<'n, 'y>(
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
    pub(super) fn words(&mut self, path: &str, node: &MarkedYaml<'_>, known: &[&str]) -> Vec<String> {
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

    pub(super) fn texts(&mut self, path: &str, node: &MarkedYaml<'_>) -> Vec<String> {
        match &node.data {
            YamlData::Sequence(items) => items.iter().filter_map(|item| self.text(path, item)).collect(),
            _ => self.text(path, node).into_iter().collect(),
        }
    }

    pub(super) fn text(&mut self, path: &str, node: &MarkedYaml<'_>) -> Option<String> {
        let text = text_of(node);
        if text.is_none() {
            self.problem(node, format!("{path} needs a text"), "give it one");
        }
        text
    }
}
