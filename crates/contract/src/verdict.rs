//! The words for what a JSON schema finds: each error at the key or value that it is about, with what to do.
//!
//! Between `odcs` (the document) and the `jsonschema` crate. Invariant: a document that the schema refuses has at
//! least one finding, and one that it accepts has none.

use std::collections::BTreeSet;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::odcs::{DIAGNOSTICS_MAX, Document};
use crate::yaml::{Node, Place, Value, shorten};

/// Every finding of the schema on the document.
pub(crate) fn explain(document: &Document, schema: &Json, validator: &Validator, instance: &Json) -> Vec<Diagnostic> {
    let explainer = Explainer { document, schema };
    let mut found = Vec::new();
    for error in validator.iter_errors(instance).take(DIAGNOSTICS_MAX) {
        explainer.error(&error, &mut found, 0);
    }
    drop_consequences(found)
}

/// A finding with what decides whether it is only the consequence of another.
struct Finding {
    diagnostic: Diagnostic,
    /// The value that was refused.
    instance: String,
    /// A known key that no form of its object allows: what follows when the right form has another fault.
    consequence: bool,
}

/// Leaves out "not allowed here" where the same object has a finding that explains it.
fn drop_consequences(found: Vec<Finding>) -> Vec<Diagnostic> {
    let explained: BTreeSet<String> = found.iter().filter(|f| !f.consequence).map(|f| f.instance.clone()).collect();
    found
        .into_iter()
        .filter(|f| !f.consequence || !explained.iter().any(|path| is_within(path, &f.instance)))
        .map(|f| f.diagnostic)
        .collect()
}

/// Whether a path leads to a value or to something in it.
fn is_within(path: &str, value: &str) -> bool {
    path.strip_prefix(value).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Explainer<'a> {
    document: &'a Document,
    schema: &'a Json,
}

/// Forms within forms are followed so far.
const FORMS_DEPTH_MAX: usize = 6;

impl Explainer<'_> {
    fn error(&self, error: &ValidationError<'_>, found: &mut Vec<Finding>, depth: usize) {
        let path = error.instance_path();
        let (node, key_place) = self.locate(path);
        let key = last_key(path);
        let subject = key.as_ref().map_or_else(|| "the contract".to_owned(), |key| format!("`{key}`"));
        let mut push = |place: Place, code: &'static str, message: String, help: Option<String>| {
            let mut diagnostic = self.document.error(place, code, message);
            diagnostic.help = help;
            found.push(Finding { diagnostic, instance: path.as_str().to_owned(), consequence: false });
        };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                self.unexpected(error, node, unexpected, found);
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let message = format!("{subject} has no `{name}`, which the standard requires");
                push(key_place, "missing-key", message, Some(format!("add `{name}:`")));
            }
            ValidationErrorKind::Type { kind } => {
                let expected = type_words(kind);
                let message = format!("{subject} must be {expected}, and is {}", describe(node));
                push(node.place, "wrong-type", message, Some(type_help(node, &expected)));
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
                let message = format!("{subject} cannot be {}", describe(node));
                push(node.place, "not-allowed", message, Some(choice_help(node.text(), &options)));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                self.no_form(error, context, found, depth);
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                let present: Vec<String> = node
                    .entries()
                    .iter()
                    .filter(|entry| entry.key.starts_with("must"))
                    .map(|entry| format!("`{}`", entry.key))
                    .collect();
                if present.len() > 1 {
                    let message = format!("only one of {} can stand here", present.join(", "));
                    push(node.place, "several-forms", message, Some("keep one of them, or write two rules".to_owned()));
                } else {
                    let message = format!("{subject} fits more than one of the forms that the standard allows");
                    push(node.place, "several-forms", message, None);
                }
            }
            ValidationErrorKind::Pattern { pattern } => {
                let message = format!("{subject} is {}, which has not the form required", describe(node));
                push(node.place, "bad-form", message, Some(format!("it must match `{pattern}`")));
            }
            _ => push(node.place, "not-valid", format!("{subject}: {}", error.masked_with("the value")), None),
        }
    }

    /// One finding for every key that nothing allows.
    fn unexpected(&self, error: &ValidationError<'_>, node: &Node, unexpected: &[String], found: &mut Vec<Finding>) {
        let mut known = BTreeSet::new();
        if let Some(parent) = parent_schema(self.schema, error.schema_path()) {
            collect_keys(self.schema, parent, &mut known, 0);
        }
        for name in unexpected {
            let place = node.entry(name).map_or(node.place, |entry| entry.place);
            let is_known = known.contains(name.as_str());
            let (code, message, help) = if is_known {
                let message = format!("`{}` does not belong to this form of its object", shorten(name));
                (
                    "misplaced-key",
                    message,
                    "remove it, or mend the key that decides the form, such as `type`".to_owned(),
                )
            } else {
                (
                    "unknown-key",
                    format!("the standard knows no key `{}` here", shorten(name)),
                    unknown_help(name, &known),
                )
            };
            found.push(Finding {
                diagnostic: self.document.error(place, code, message).help(help),
                instance: error.instance_path().as_str().to_owned(),
                consequence: is_known,
            });
        }
    }

    /// Explains by the form that comes nearest.
    fn no_form(
        &self,
        error: &ValidationError<'_>,
        forms: &[Vec<ValidationError<'static>>],
        found: &mut Vec<Finding>,
        depth: usize,
    ) {
        let here = error.instance_path().as_str();
        let (node, key_place) = self.locate(error.instance_path());
        let missing: Vec<String> = forms.iter().filter_map(|form| only_missing_key(form, here)).collect();
        let key = last_key(error.instance_path());
        let subject = key.map_or_else(|| "the contract".to_owned(), |key| format!("`{key}`"));
        let mut push = |place, code, message: String, help: Option<String>| {
            let mut diagnostic = self.document.error(place, code, message);
            diagnostic.help = help;
            found.push(Finding { diagnostic, instance: here.to_owned(), consequence: false });
        };
        if missing.len() == forms.len() {
            let help = format!("add one of `{}`", missing.join("`, `"));
            return push(
                key_place,
                "no-form",
                format!("{subject} lacks one of the keys of which it needs one"),
                Some(help),
            );
        }
        let wrong_type = |form: &[ValidationError<'_>]| {
            form.iter()
                .any(|e| matches!(e.kind(), ValidationErrorKind::Type { .. }) && e.instance_path().as_str() == here)
        };
        let fitting: Vec<&Vec<ValidationError<'_>>> = forms.iter().filter(|form| !wrong_type(form)).collect();
        match fitting.iter().min_by_key(|form| form.len()) {
            Some(form) if depth < FORMS_DEPTH_MAX && !form.is_empty() => {
                for inner in form.iter().take(DIAGNOSTICS_MAX) {
                    self.error(inner, found, depth + 1);
                }
            }
            Some(_) => {
                push(node.place, "no-form", format!("{subject} has none of the forms that the standard allows"), None)
            }
            None => {
                let mut expected: Vec<String> = Vec::new();
                for inner in forms.iter().flatten() {
                    if let ValidationErrorKind::Type { kind } = inner.kind()
                        && !expected.contains(&type_words(kind))
                    {
                        expected.push(type_words(kind));
                    }
                }
                let expected = expected.join(" or ");
                let help = Some(type_help(node, &expected));
                push(
                    node.place,
                    "wrong-type",
                    format!("{subject} must be {expected}, and is {}", describe(node)),
                    help,
                );
            }
        }
    }

    /// The node that a path leads to, and the place of the key that holds it (its own where no key does).
    fn locate(&self, path: &Location) -> (&Node, Place) {
        let mut node = &self.document.root;
        let mut place = Place { length: 1, ..node.place };
        for segment in path.segments() {
            match segment {
                LocationSegment::Property(key) => match node.entry(&key) {
                    Some(entry) => (node, place) = (&entry.node, entry.place),
                    None => break,
                },
                LocationSegment::Index(index) => match node.items().get(index) {
                    Some(item) => (node, place) = (item, Place { length: 1, ..item.place }),
                    None => break,
                },
            }
        }
        (node, place)
    }
}

/// The nearest key in a path, or `key[2]` for an item of a list.
fn last_key(path: &Location) -> Option<String> {
    let mut name: Option<String> = None;
    for segment in path.segments() {
        match segment {
            LocationSegment::Property(key) => name = Some(shorten(&key)),
            LocationSegment::Index(index) => name = name.map(|key| format!("{key}[{index}]")),
        }
    }
    name
}

/// The key whose absence is all that a form found wrong with the object itself.
fn only_missing_key(form: &[ValidationError<'_>], here: &str) -> Option<String> {
    match form {
        [only] if only.instance_path().as_str() == here => match only.kind() {
            ValidationErrorKind::Required { property } => property.as_str().map(ToOwned::to_owned),
            _ => None,
        },
        _ => None,
    }
}

fn parent_schema<'s>(schema: &'s Json, path: &Location) -> Option<&'s Json> {
    let (parent, _) = path.as_str().rsplit_once('/')?;
    schema.pointer(parent)
}

/// The keys that a schema names in any of its forms.
fn collect_keys<'s>(root: &'s Json, schema: &'s Json, known: &mut BTreeSet<&'s str>, depth: usize) {
    if depth > 12 {
        return;
    }
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        known.extend(properties.keys().map(String::as_str));
    }
    if let Some(target) =
        schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#')).and_then(|r| root.pointer(r))
    {
        collect_keys(root, target, known, depth + 1);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for form in schema.get(keyword).and_then(Json::as_array).into_iter().flatten() {
            collect_keys(root, form, known, depth + 1);
        }
    }
    for keyword in ["then", "else"] {
        if let Some(form) = schema.get(keyword) {
            collect_keys(root, form, known, depth + 1);
        }
    }
}

/// The candidate that a misspelt word most likely meant.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = shorten(word).to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn unknown_help(name: &str, known: &BTreeSet<&str>) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.len() <= 12 && !known.is_empty() => {
            let names: Vec<&str> = known.iter().copied().collect();
            format!("known here: {}", names.join(", "))
        }
        None => "put what the standard has no word for under `customProperties`".to_owned(),
    }
}

fn choice_help(written: Option<&str>, options: &[&str]) -> String {
    match written.and_then(|written| nearest(written, options.iter().copied())) {
        Some(near) => format!("did you mean `{near}`? allowed: {}", options.join(", ")),
        None => format!("allowed: {}", options.join(", ")),
    }
}

fn type_words(kind: &TypeKind) -> String {
    let words = |name: &str| match name {
        "array" => "a list".to_owned(),
        "object" => "a mapping".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(one) => words(&one.to_string()),
        TypeKind::Multiple(set) => set.iter().map(|one| words(&one.to_string())).collect::<Vec<_>>().join(" or "),
    }
}

fn type_help(node: &Node, expected: &str) -> String {
    match &node.value {
        Value::Integer(_) | Value::Real(_) | Value::Boolean(_) if expected.contains("text") => {
            "put it in quotes".to_owned()
        }
        Value::Text(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            "write the number without quotes".to_owned()
        }
        Value::Null => "give it a value, or remove the key".to_owned(),
        _ if expected == "a list" => "write it as a list, each item after `- `".to_owned(),
        _ => format!("write {expected} here"),
    }
}

fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "empty".to_owned(),
        Value::Boolean(value) => format!("the boolean `{value}`"),
        Value::Integer(value) => format!("the number `{value}`"),
        Value::Real(value) => format!("the number `{value}`"),
        Value::Text(text) => format!("the text `{}`", shorten(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}
