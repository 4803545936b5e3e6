//! Parser events become a tree, under limits.
//!
//! A stack of open collections instead of recursion; an alias is charged for all that it copies, before it copies.
//! Invariant: no more than `NODES_MAX` nodes exist at any time, nor more than `DEPTH_MAX` levels.

use std::collections::{BTreeMap, HashSet};

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Span};

use super::{DEPTH_MAX, Entry, NODES_MAX, Node, Place, Value, shorten};
use crate::diagnostic::Diagnostic;

/// Boxed, so that a result stays small.
pub(super) type Failure = Box<Diagnostic>;

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
    Map { entries: Vec<Entry>, keys: HashSet<String>, pending: Option<(String, Place)> },
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

pub(super) struct Builder<'t> {
    file: &'t str,
    text: &'t str,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    root: Option<Node>,
    nodes: usize,
    pub(super) found: Vec<Diagnostic>,
}

impl<'t> Builder<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, stack: Vec::new(), anchors: BTreeMap::new(), root: None, nodes: 0, found: Vec::new() }
    }

    pub(super) fn run(&mut self) -> Result<Option<Node>, Failure> {
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
                        return Err(self.fail(place, "bad-tag", "the value is not what its tag says", help));
                    }
                };
                self.charge(1, place)?;
                self.node(Node { value, place }, anchor, 1, 0, quoted)
            }
            Event::SequenceStart(anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { entries: Vec::new(), keys: HashSet::new(), pending: None };
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
        self.stack.push(Open { place, anchor, content, nodes: 1, depth: 0 });
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
        self.node(Node { value, place: open.place }, open.anchor, open.nodes, open.depth + 1, false)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Failure> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(self.fail(place, "yaml", "an alias refers to what contains it", "write the value out"));
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
        let node = Node { value: target.node.value.clone(), place };
        self.node(node, 0, nodes, depth, false)
    }

    /// Puts a whole node into the collection that is open, or makes it the root.
    fn node(&mut self, node: Node, anchor: usize, nodes: usize, depth: usize, quoted: bool) -> Result<(), Failure> {
        if anchor > 0 {
            self.charge(nodes, node.place)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
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
            Content::Map { entries, keys, pending } => match pending.take() {
                Some((key, place)) => {
                    if keys.insert(key.clone()) {
                        entries.push(Entry { key, place, node });
                    } else {
                        self.duplicate(&key, place);
                    }
                    Ok(())
                }
                None => self.key(&node, quoted).map(|key| *pending = Some((key, node.place))),
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
            Value::List(_) | Value::Map(_) => {
                Err(self.fail(node.place, "yaml", "a list or a mapping stands where a key must", "use text as the key"))
            }
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
        let too_deep = error.info().contains("recursion limit");
        let place = Place { line: mark.line(), column: mark.col() + 1, length: 1 };
        if too_deep {
            return self.too_deep(place);
        }
        let line = self.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        let indent_has_tab = line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
        let help = if indent_has_tab || error.info().contains("tab") {
            "YAML is indented with spaces: replace the tab"
        } else if error.info().contains("anchor") {
            "define the anchor with `&name` before `*name` uses it"
        } else {
            "check the indentation, the quotes and the brackets here and in the line above"
        };
        self.fail(place, "yaml", &format!("this is not YAML: {}", error.info()), help)
    }

    fn charge(&mut self, nodes: usize, place: Place) -> Result<(), Failure> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX { Err(self.too_many(place)) } else { Ok(()) }
    }

    fn too_deep(&self, place: Place) -> Failure {
        let message = format!("the file is nested more than {DEPTH_MAX} levels deep");
        self.fail(place, "nested-too-deep", &message, "flatten the document")
    }

    fn too_many(&self, place: Place) -> Failure {
        let message = format!("the file has more than {NODES_MAX} values, its aliases written out");
        self.fail(place, "too-many-values", &message, "write the values without aliases, or split the file")
    }

    fn fail(&self, place: Place, code: &'static str, message: &str, help: &str) -> Failure {
        let found = Diagnostic::error(self.file, code, message);
        Box::new(found.at(self.text, place.line, place.column, place.length).help(help))
    }

    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        let length = if end.line() == start.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Place { line: start.line(), column: start.col() + 1, length: length.max(1) }
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
