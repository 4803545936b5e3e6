//! From the text of `vitalake.yaml` to settings, every problem with its line and column.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::problem::ConfigProblem;
use super::settings::{Kind, SETTINGS, Setting};
use super::{Config, Environment};

/// Beyond this edit distance a known key is no likely meaning of an unknown one.
const DISTANCE_MAX: usize = 3;
/// How deep a map that is kept as it is may nest.
const DEPTH_MAX: usize = 32;

/// Takes every setting that the file gives.
pub(super) fn apply(text: &str, environment: &Environment, config: &mut Config, problems: &mut Vec<ConfigProblem>) {
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(error) => {
            let at = error.marker();
            problems.push(ConfigProblem::at(at.line(), at.col() + 1, format!("not YAML: {}", error.info())));
            return;
        }
    };
    if let Some(second) = documents.get(1) {
        problems.push(
            problem_at(second, "only one document is allowed in this file")
                .with_help("remove the `---` and what follows"),
        );
    }
    let Some(root) = documents.first() else {
        return;
    };
    let mut reader = Reader { environment, config, problems };
    match &root.data {
        YamlData::Value(Scalar::Null) => {}
        YamlData::Mapping(_) => reader.section("", root),
        _ => reader
            .problems
            .push(problem_at(root, "the file must be a map of settings").with_help("begin it with `name: …`")),
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    config: &'a mut Config,
    problems: &'a mut Vec<ConfigProblem>,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, node: &MarkedYaml<'_>) {
        let YamlData::Mapping(entries) = &node.data else {
            return;
        };
        for (key, value) in entries {
            let Some(name) = key.data.as_str() else {
                self.problems.push(problem_at(key, "a key must be text"));
                continue;
            };
            let path = format!("{prefix}{name}");
            // Feeds are read with the project's other files.
            if path == "feeds" {
                continue;
            }
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == path) {
                self.setting(setting, key, value);
            } else if SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{path}."))) {
                self.subsection(&path, value);
            } else {
                self.problems.push(unknown_key(key, &path));
            }
        }
    }

    fn subsection(&mut self, path: &str, value: &MarkedYaml<'_>) {
        match &value.data {
            YamlData::Mapping(_) => self.section(&format!("{path}."), value),
            YamlData::Value(Scalar::Null) => {}
            _ => self.problems.push(problem_at(value, format!("{path} must be a map of settings"))),
        }
    }

    fn setting(&mut self, setting: &Setting, key: &MarkedYaml<'_>, value: &MarkedYaml<'_>) {
        if let Kind::Receivers = setting.kind {
            self.config.notify = super::notify::read(value, self.problems);
            return;
        }
        if let Kind::Access = setting.kind {
            self.config.access = super::access::read(value, self.problems);
            return;
        }
        if let Kind::Map(set) = setting.kind {
            self.map(setting, set, value);
            return;
        }
        let text = match &value.data {
            YamlData::Value(Scalar::Null) => {
                self.problems.push(
                    problem_at(key, format!("{} has no value", setting.key))
                        .with_help("give it one, or remove the key"),
                );
                return;
            }
            YamlData::Value(scalar) => scalar_text(scalar),
            _ => {
                self.problems.push(problem_at(value, format!("{} must be a single value", setting.key)));
                return;
            }
        };
        let Some(text) = self.with_variables(&text, value) else {
            return;
        };
        if let Err(message) = setting.set(&text, self.config) {
            self.problems.push(problem_at(value, message).with_help_of(setting));
        }
    }

    fn map(&mut self, setting: &Setting, set: fn(&mut Config, String, serde_json::Value), value: &MarkedYaml<'_>) {
        match &value.data {
            YamlData::Mapping(entries) => {
                for (key, value) in entries {
                    let Some(name) = key.data.as_str() else {
                        self.problems.push(problem_at(key, format!("a name in {} must be text", setting.key)));
                        continue;
                    };
                    if let Some(value) = self.json(value, DEPTH_MAX) {
                        set(self.config, name.to_string(), value);
                    }
                }
            }
            YamlData::Value(Scalar::Null) => {}
            _ => self.problems.push(problem_at(value, format!("{} must be a map of names", setting.key))),
        }
    }

    /// A value as JSON, its variables replaced; `None` once a problem has been told.
    fn json(&mut self, node: &MarkedYaml<'_>, depth: usize) -> Option<serde_json::Value> {
        use serde_json::Value;
        if depth == 0 {
            self.problems.push(problem_at(node, "nested too deeply"));
            return None;
        }
        match &node.data {
            YamlData::Value(Scalar::Null) => Some(Value::Null),
            YamlData::Value(Scalar::Boolean(value)) => Some(Value::Bool(*value)),
            YamlData::Value(Scalar::Integer(value)) => Some(Value::from(*value)),
            YamlData::Value(Scalar::FloatingPoint(value)) => Some(Value::from(value.into_inner())),
            YamlData::Value(Scalar::String(text)) => self.with_variables(text, node).map(Value::String),
            YamlData::Sequence(items) => {
                let items: Vec<Option<Value>> = items.iter().map(|item| self.json(item, depth - 1)).collect();
                items.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
            }
            YamlData::Mapping(entries) => {
                let mut object = serde_json::Map::new();
                for (key, value) in entries {
                    let Some(name) = key.data.as_str() else {
                        self.problems.push(problem_at(key, "a key must be text"));
                        continue;
                    };
                    let value = self.json(value, depth - 1)?;
                    object.insert(name.to_string(), value);
                }
                Some(Value::Object(object))
            }
            _ => {
                self.problems.push(problem_at(node, "a tag, an alias or a value of this form is not allowed here"));
                None
            }
        }
    }

    /// Replaces `${NAME}` by the environment's variable; `None` once a problem has been told.
    fn with_variables(&mut self, text: &str, node: &MarkedYaml<'_>) -> Option<String> {
        match replace_variables(text, self.environment) {
            Ok(replaced) => return Some(replaced),
            Err(Unresolved::Open) => self
                .problems
                .push(problem_at(node, "`${` without its `}`").with_help("write ${NAME}, or $${ for the text itself")),
            Err(Unresolved::Unset(names)) => self.problems.extend(names.into_iter().map(|name| {
                problem_at(node, format!("environment variable {name} is not set"))
                    .with_help(format!("set {name}, or write the value in its place"))
            })),
        }
        None
    }
}

/// Why a text's variables could not be replaced.
pub(super) enum Unresolved {
    /// `${` without its `}`.
    Open,
    /// Variables that are not set.
    Unset(Vec<String>),
}

/// Replaces `${NAME}` by the environment's variable, and `$${` by `${`.
pub(super) fn replace_variables(text: &str, environment: &Environment) -> Result<String, Unresolved> {
    let (mut replaced, mut unset) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = after;
            continue;
        }
        let (name, left) = after.split_once('}').ok_or(Unresolved::Open)?;
        replaced.push_str(before);
        match environment.get(name) {
            Some(value) => replaced.push_str(value),
            None => unset.push(name.to_owned()),
        }
        rest = left;
    }
    replaced.push_str(rest);
    if unset.is_empty() { Ok(replaced) } else { Err(Unresolved::Unset(unset)) }
}

fn unknown_key(key: &MarkedYaml<'_>, path: &str) -> ConfigProblem {
    let problem = problem_at(key, format!("unknown key {path}"));
    let sections = SETTINGS.iter().filter_map(|setting| setting.key.split_once('.').map(|(section, _)| section));
    let known = SETTINGS.iter().map(|setting| setting.key).chain(sections);
    match nearest(path, known) {
        Some(near) => problem.with_help(format!("did you mean {near}?")),
        None => problem.with_help("remove it; docs/configuration.md lists the settings"),
    }
}

pub(super) fn problem_at(node: &MarkedYaml<'_>, message: impl Into<String>) -> ConfigProblem {
    // saphyr counts lines from 1 and columns from 0.
    ConfigProblem::at(node.span.start.line(), node.span.start.col() + 1, message)
}

pub(super) fn scalar_text(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => String::new(),
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::FloatingPoint(value) => value.to_string(),
        Scalar::String(text) => text.to_string(),
    }
}

/// A value that is written as one, in its text; none for nothing, a list or a map.
pub(super) fn text_of(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(scalar) => Some(scalar_text(scalar)).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// What to write in place of a word that is not known: the one that is most like it, else `all` those that are.
pub(super) fn in_place_of(unknown: &str, known: &[&str], all: &str) -> String {
    nearest(unknown, known.iter().copied())
        .map_or_else(|| format!("{all} {}", known.join(", ")), |near| format!("did you mean {near}?"))
}

/// The known key that is most like an unknown one, when one is like it at all: by spelling, else by its last part.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last_part = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let scored = known.map(|key| {
        let distance = strsim::damerau_levenshtein(unknown, key);
        let is_moved = last_part(unknown) == last_part(key);
        (if is_moved { distance.min(DISTANCE_MAX) } else { distance }, key)
    });
    scored.filter(|(distance, _)| *distance <= DISTANCE_MAX).min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}
