//! YAML as a tree that knows where each key and value stands, for contracts and every other file a user writes.
//!
//! Reads events, never recursively, under limits: a hostile file costs what its limits allow. Invariant: a tree is at
//! most `DEPTH_MAX` deep and has at most `NODES_MAX` nodes, aliases written out.

mod builder;

use serde_json::{Map, Number, Value as Json};

use crate::diagnostic::Diagnostic;
use builder::Builder;

/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: usize = 64;
const NODES_MAX: usize = 200_000;

/// A place in a text: line and column in characters, from 1, and how many characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters from there.
    pub length: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
}

/// A value of the YAML 1.2 core schema.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The entry of a mapping's key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a mapping's key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A mapping's entries; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// A sequence's items; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The text of a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value of a boolean.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Boolean(value) = self.value { Some(value) } else { None }
    }

    /// The value of a whole number.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Value::Integer(value) = self.value { Some(value) } else { None }
    }

    /// The value of any number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a bound beyond 2^53 is asked for as a real number")]
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Value::Integer(value) => Some(value as f64),
            Value::Real(value) => Some(value),
            _ => None,
        }
    }

    /// The same value as JSON; a number that JSON cannot hold is its text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Boolean(value) => Json::Bool(*value),
            Value::Integer(value) => Json::Number((*value).into()),
            Value::Real(value) => {
                Number::from_f64(*value).map_or_else(|| Json::String(value.to_string()), Json::Number)
            }
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// Reads a file's bytes: within the size limit, UTF-8, one document.
///
/// # Errors
/// Gives what is wrong with the file's form, with positions.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<(String, Node), Vec<Diagnostic>> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(vec![too_large(file, bytes.len())]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text).map(|node| (text.to_owned(), node)),
        Err(error) => {
            let valid = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default()).into_owned();
            let line = valid.matches('\n').count() + 1;
            let column = valid.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            let lossy = String::from_utf8_lossy(bytes);
            Err(vec![
                Diagnostic::error(file, "not-utf8", "the file is not UTF-8 text")
                    .at(&lossy, line, column, 1)
                    .help("save the file in UTF-8"),
            ])
        }
    }
}

/// Reads a text that holds one YAML document.
///
/// # Errors
/// Gives what is wrong with the text's form, with positions; duplicate keys are found all at once.
pub fn parse(file: &str, text: &str) -> Result<Node, Vec<Diagnostic>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(vec![too_large(file, text.len())]);
    }
    let mut builder = Builder::new(file, text);
    match builder.run() {
        Ok(Some(root)) if builder.found.is_empty() => Ok(root),
        Ok(Some(_)) => Err(builder.found),
        Ok(None) => Err(vec![
            Diagnostic::error(file, "empty-file", "the file holds no YAML document")
                .help("write the file, or remove it"),
        ]),
        Err(diagnostic) => {
            builder.found.push(*diagnostic);
            Err(builder.found)
        }
    }
}

fn too_large(file: &str, bytes: usize) -> Diagnostic {
    Diagnostic::error(
        file,
        "file-too-large",
        format!("the file has {bytes} bytes, and at most {FILE_BYTES_MAX} are read"),
    )
    .help("split it into smaller files")
}

/// A piece of a file in a message, cut to a readable length.
#[must_use]
pub fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(59).chain(['…']).collect() }
}
