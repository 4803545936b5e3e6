//! YAML as a tree that knows where each key and value stands, for contracts and every other file a user writes.
//!
//! Reads events, never recursively, under limits: a hostile file costs what its limits allow. Invariant: a tree is at
//! most `DEPTH_MAX` deep and has at most `NODES_MAX` nodes, aliases written out.

use std::collections::{BTreeMap, HashSet};

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Span};
use serde_json::{Map, Number, Value as Json};

use crate::diagnostic::Diagnostic;

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
        if let Value::Map(entries) = &self.value {
            entries
        } else {
            &[]
        }
    }

    /// A sequence's items; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value {
            items
        } else {
            &[]
        }
    }

    /// The text of a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// The value of a boolean.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Boolean(value) = self.value {
            Some(value)
        } else {
            None
        }
    }

    /// The value of a whole number.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Value::Integer(value) = self.value {
            Some(value)
        } else {
            None
        }
    }

    /// The value of any number.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bound beyond 2^53 is asked for as a real number"
    )]
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
            Value::Real(value) => Number::from_f64(*value)
                .map_or_else(|| Json::String(value.to_string()), Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
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
            let valid =
                String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default())
                    .into_owned();
            let line = valid.matches('\n').count() + 1;
            let column = valid
                .rsplit('\n')
                .next()
                .map_or(0, |last| last.chars().count())
                + 1;
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

type Failure = Box<Diagnostic>;

/// A collection that is being read.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
    /// Nodes and depth of what was read so far, to charge an alias for what it copies.
    nodes: usize,
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        keys: HashSet<String>,
        pending: Option<(String, Place)>,
    },
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Builder<'t> {
    file: &'t str,
    text: &'t str,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    root: Option<Node>,
    nodes: usize,
    found: Vec<Diagnostic>,
}

impl<'t> Builder<'t> {
    fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            nodes: 0,
            found: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Option<Node>, Failure> {
        let mut parser = Parser::new_from_str(self.text);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((Event::StreamEnd, _)) => break,
                Ok((event, span)) => self.event(event, span)?,
                Err(error) => return Err(self.syntax(&error)),
            }
        }
        Ok(self.root.take())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let place = self.place(span);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(self.fail(
                place,
                "several-documents",
                "the file holds more than one YAML document",
                "keep one document in a file",
            )),
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain;
                let value = match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) {
                    Some(scalar) => value_of(scalar),
                    None => {
                        let help = "write the value without a tag";
                        return Err(self.fail(
                            place,
                            "bad-tag",
                            "the value is not what its tag says",
                            help,
                        ));
                    }
                };
                self.charge(1, place)?;
                self.node(Node { value, place }, anchor, 1, 0, quoted)
            }
            Event::SequenceStart(anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    keys: HashSet::new(),
                    pending: None,
                };
                self.open(place, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Failure> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.too_deep(place));
        }
        self.charge(1, place)?;
        self.stack.push(Open {
            place,
            anchor,
            content,
            nodes: 1,
            depth: 0,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.node(
            Node {
                value,
                place: open.place,
            },
            open.anchor,
            open.nodes,
            open.depth + 1,
            false,
        )
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Failure> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(self.fail(
                place,
                "yaml",
                "an alias refers to what contains it",
                "write the value out",
            ));
        };
        let (nodes, depth) = (target.nodes, target.depth);
        self.charge(nodes, place)?;
        let Some(target) = self.anchors.get(&anchor) else {
            return Ok(());
        };
        if self.stack.len() + depth > DEPTH_MAX {
            return Err(self.too_deep(place));
        }
        // What stands behind the alias is reported where the alias stands: that is where its reader looks.
        let node = Node {
            value: target.node.value.clone(),
            place,
        };
        self.node(node, 0, nodes, depth, false)
    }

    /// Puts a whole node into the collection that is open, or makes it the root.
    fn node(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        depth: usize,
        quoted: bool,
    ) -> Result<(), Failure> {
        if anchor > 0 {
            self.charge(nodes, node.place)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    depth,
                },
            );
        }
        let Some(mut open) = self.stack.pop() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes += nodes;
        open.depth = open.depth.max(depth);
        let result = match &mut open.content {
            Content::List(items) => {
                items.push(node);
                Ok(())
            }
            Content::Map {
                entries,
                keys,
                pending,
            } => match pending.take() {
                Some((key, place)) => {
                    if keys.insert(key.clone()) {
                        entries.push(Entry { key, place, node });
                    } else {
                        self.duplicate(&key, place);
                    }
                    Ok(())
                }
                None => self
                    .key(&node, quoted)
                    .map(|key| *pending = Some((key, node.place))),
            },
        };
        self.stack.push(open);
        result
    }

    fn key(&self, node: &Node, quoted: bool) -> Result<String, Failure> {
        match &node.value {
            Value::Text(text) if text == "<<" && !quoted => Err(self.fail(
                node.place,
                "merge-key",
                "`<<` is not part of YAML 1.2",
                "write the keys out in each place",
            )),
            Value::Text(text) => Ok(text.clone()),
            Value::Null => Ok("null".to_owned()),
            Value::Boolean(value) => Ok(value.to_string()),
            Value::Integer(value) => Ok(value.to_string()),
            Value::Real(value) => Ok(value.to_string()),
            Value::List(_) | Value::Map(_) => Err(self.fail(
                node.place,
                "yaml",
                "a list or a mapping stands where a key must",
                "use text as the key",
            )),
        }
    }

    fn duplicate(&mut self, key: &str, place: Place) {
        if self.found.len() < crate::odcs::DIAGNOSTICS_MAX {
            let message = format!("the key `{}` stands twice in one mapping", shorten(key));
            let found = *self.fail(place, "duplicate-key", &message, "keep one of the two");
            self.found.push(found);
        }
    }

    fn syntax(&self, error: &saphyr::ScanError) -> Failure {
        let mark = error.marker();
        let place = Place {
            line: mark.line(),
            column: mark.col() + 1,
            length: 1,
        };
        let line = self
            .text
            .lines()
            .nth(place.line.saturating_sub(1))
            .unwrap_or_default();
        let indent_has_tab = line
            .chars()
            .take_while(|c| c.is_whitespace())
            .any(|c| c == '\t');
        let help = if indent_has_tab || error.info().contains("tab") {
            "YAML is indented with spaces: replace the tab"
        } else if error.info().contains("anchor") {
            "define the anchor with `&name` before `*name` uses it"
        } else {
            "check the indentation, the quotes and the brackets here and in the line above"
        };
        self.fail(
            place,
            "yaml",
            &format!("this is not YAML: {}", error.info()),
            help,
        )
    }

    fn charge(&mut self, nodes: usize, place: Place) -> Result<(), Failure> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            Err(self.too_many(place))
        } else {
            Ok(())
        }
    }

    fn too_deep(&self, place: Place) -> Failure {
        let message = format!("the file is nested more than {DEPTH_MAX} levels deep");
        self.fail(place, "nested-too-deep", &message, "flatten the document")
    }

    fn too_many(&self, place: Place) -> Failure {
        let message = format!("the file has more than {NODES_MAX} values, its aliases written out");
        self.fail(
            place,
            "too-many-values",
            &message,
            "write the values without aliases, or split the file",
        )
    }

    fn fail(&self, place: Place, code: &'static str, message: &str, help: &str) -> Failure {
        let found = Diagnostic::error(self.file, code, message);
        Box::new(
            found
                .at(self.text, place.line, place.column, place.length)
                .help(help),
        )
    }

    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        let length = if end.line() == start.line() {
            end.col().saturating_sub(start.col())
        } else {
            1
        };
        Place {
            line: start.line(),
            column: start.col() + 1,
            length: length.max(1),
        }
    }
}

/// A piece of a file in a message, cut to a readable length.
#[must_use]
pub fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        text.chars().take(59).chain(['…']).collect()
    }
}

fn value_of(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Boolean(value),
        Scalar::Integer(value) => Value::Integer(value),
        Scalar::FloatingPoint(value) => Value::Real(value.into_inner()),
        Scalar::String(text) => Value::Text(text.into_owned()),
    }
}
