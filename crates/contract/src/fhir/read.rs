//! A ViewDefinition's document → [`View`], or findings with their places.
//!
//! JSON as the specification has it, or the same in YAML. Invariant: a view is given exactly when there is no error, and
//! what the view says and this cannot do is an error, never left out.

use std::collections::BTreeMap;

use super::expression::{Expression, Literal};
use super::parser::{self, Scope};
use super::types;
use super::view::{Each, Filled, Select, View, ViewColumn};
use crate::diagnostic::{self, Diagnostic};
use crate::verdict::nearest;
use crate::yaml::{self, Entry, Node, Place, Value, shorten};

/// What a file of a view gave.
#[derive(Clone, Debug)]
pub struct ReadView {
    /// The view, when there was no error.
    pub view: Option<View>,
    /// The findings, in the file's order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parts within parts are read so deep.
const DEPTH_MAX: usize = 20;

/// Elements of a ViewDefinition that say nothing about rows.
const ABOUT: [&str; 32] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
    "url",
    "identifier",
    "version",
    "versionAlgorithmString",
    "versionAlgorithmCoding",
    "name",
    "title",
    "status",
    "experimental",
    "date",
    "publisher",
    "contact",
    "description",
    "useContext",
    "jurisdiction",
    "purpose",
    "copyright",
    "copyrightLabel",
    "fhirVersion",
    "profile",
    "approvalDate",
    "lastReviewDate",
    "effectivePeriod",
];
const OF_VIEW: [&str; 4] = ["resource", "constant", "where", "select"];
const OF_SELECT: [&str; 9] =
    ["column", "select", "unionAll", "forEach", "forEachOrNull", "repeat", "id", "extension", "modifierExtension"];
const OF_COLUMN: [&str; 9] =
    ["name", "path", "type", "collection", "description", "tag", "id", "extension", "modifierExtension"];
const OF_WHERE: [&str; 4] = ["path", "description", "id", "extension"];

/// Reads a file of a view; `name` is the file's without its ending.
#[must_use]
pub fn read(file: &str, name: &str, bytes: &[u8]) -> ReadView {
    // JSON is YAML but for tabs between its signs; within a text it has none.
    let json: Vec<u8>;
    let bytes = if file.ends_with(".json") {
        json = bytes.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
        &json
    } else {
        bytes
    };
    let (text, root) = match yaml::parse_bytes(file, bytes) {
        Ok(parsed) => parsed,
        Err(diagnostics) => return ReadView { view: None, diagnostics },
    };
    let mut reader = Reader { file, text: &text, found: Vec::new(), constants: BTreeMap::new() };
    let view = reader.view(name, &root);
    let mut diagnostics = reader.found;
    diagnostic::sort(&mut diagnostics);
    let view = view.filter(|_| !diagnostic::has_errors(&diagnostics));
    ReadView { view, diagnostics }
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<Diagnostic>,
    constants: BTreeMap<String, Literal>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let place = Place { line: place.line.max(1), column: place.column.max(1), ..place };
        let found = Diagnostic::error(self.file, code, message);
        self.found.push(found.at(self.text, place.line, place.column, place.length.max(1)).help(help));
    }

    fn view(&mut self, name: &str, root: &Node) -> Option<View> {
        if !matches!(root.value, Value::Map(_)) {
            self.error(root.place, "wrong-type", "the file holds no ViewDefinition", "write one JSON object");
            return None;
        }
        self.keys(root, &[&OF_VIEW[..], &ABOUT[..]].concat());
        if let Some(node) = root
            .get("resourceType")
            .filter(|node| node.text().is_none_or(|text| text.rsplit('/').next() != Some("ViewDefinition")))
        {
            self.error(node.place, "not-allowed", "the file is no ViewDefinition", "`resourceType` is ViewDefinition");
        }
        let resource = self.resource(root);
        self.constants(root);
        let conditions = self.conditions(root);
        let selects = self.parts(root, "select", 0);
        if selects.is_empty() {
            let place = root.entry("select").map_or(Place { length: 1, ..root.place }, |entry| entry.place);
            self.error(place, "no-columns", "the view selects nothing", "give it a `select` with columns");
        }
        let mut columns = Vec::new();
        selects.iter().for_each(|(part, _)| part.gather(&mut columns));
        self.twice(&columns);
        let columns = columns.into_iter().map(|(column, _)| column).collect();
        let selects = selects.into_iter().map(|(part, _)| part.select).collect();
        Some(View { name: name.to_owned(), resource: resource?, columns, conditions, selects })
    }

    /// Keys that mean nothing here.
    fn keys(&mut self, node: &Node, known: &[&str]) {
        for Entry { key, place, .. } in node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let help = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "remove it".to_owned(),
            };
            self.error(*place, "unknown-key", format!("a ViewDefinition has no `{}` here", shorten(key)), help);
        }
    }

    /// The text of a key.
    fn text<'n>(&mut self, node: &'n Node, key: &str) -> Option<(&'n str, Place)> {
        let entry = node.entry(key)?;
        match entry.node.text() {
            Some(text) => Some((text, entry.node.place)),
            None => {
                let message = format!("`{key}` must be text");
                self.error(entry.node.place, "wrong-type", message, "write it in quotes");
                None
            }
        }
    }

    fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        let Some(entry) = node.entry(key) else { return &[] };
        if !matches!(entry.node.value, Value::List(_)) {
            self.error(entry.node.place, "wrong-type", format!("`{key}` must be a list"), "write it as a list");
        }
        entry.node.items()
    }

    fn resource(&mut self, root: &Node) -> Option<String> {
        if root.entry("resource").is_none() {
            let place = Place { length: 1, ..root.place };
            self.error(
                place,
                "missing-key",
                "the view names no `resource`",
                "add the type: `\"resource\": \"Patient\"`",
            );
        }
        let (resource, place) = self.text(root, "resource")?;
        if !types::is_resource(resource) {
            let help = match types::nearest_resource(resource) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "rows come of resources that name it as their `resourceType`".to_owned(),
            };
            let message = format!("FHIR R4 and R5 have no resource `{}`", shorten(resource));
            let found = Diagnostic::warning(self.file, "unknown-resource", message);
            self.found.push(found.at(self.text, place.line, place.column, place.length).help(help));
        }
        Some(resource.to_owned())
    }

    fn constants(&mut self, root: &Node) {
        for node in self.list(root, "constant") {
            let Some((name, place)) = self.text(node, "name") else {
                if node.entry("name").is_none() {
                    self.error(node.place, "missing-key", "a constant has no `name`", "add it");
                }
                continue;
            };
            let values: Vec<&Entry> = node.entries().iter().filter(|entry| entry.key.starts_with("value")).collect();
            let [value] = values.as_slice() else {
                let message = format!("the constant `{}` needs one value", shorten(name));
                self.error(place, "missing-key", message, "add it, such as `\"valueString\": \"official\"`");
                continue;
            };
            match constant(value) {
                Ok(literal) => {
                    self.constants.insert(name.to_owned(), literal);
                }
                Err(message) => self.error(value.place, "wrong-type", message, "give a value of a primitive FHIR type"),
            }
        }
    }

    fn conditions(&mut self, root: &Node) -> Vec<Expression> {
        let mut conditions = Vec::new();
        for node in self.list(root, "where") {
            self.keys(node, &OF_WHERE);
            if node.entry("path").is_none() {
                self.error(node.place, "missing-key", "a condition of `where` has no `path`", "add it");
            }
            conditions.extend(self.path(node, "path", None));
        }
        conditions
    }

    /// The expression of a key.
    fn path(&mut self, node: &Node, key: &str, column: Option<&str>) -> Option<Expression> {
        let (text, place) = self.text(node, key)?;
        self.expression(text, place, column)
    }

    fn expression(&mut self, text: &str, place: Place, column: Option<&str>) -> Option<Expression> {
        match parser::parse(text, Scope { constants: &self.constants, column }) {
            Ok(expression) => Some(expression),
            Err(fault) => {
                let place = within(self.text, place, text, &fault.place);
                self.error(place, "fhirpath", fault.message, fault.help);
                None
            }
        }
    }

    fn parts(&mut self, node: &Node, key: &str, depth: usize) -> Vec<(Part, Place)> {
        let items = self.list(node, key);
        if depth > DEPTH_MAX {
            self.error(node.place, "too-deep", "the view's parts are nested too deep", "write it in simpler parts");
            return Vec::new();
        }
        items.iter().map(|item| (self.part(item, depth), item.place)).collect()
    }

    fn part(&mut self, node: &Node, depth: usize) -> Part {
        self.keys(node, &OF_SELECT);
        if !["column", "select", "unionAll"].iter().any(|key| node.entry(key).is_some()) {
            self.error(node.place, "no-columns", "this part gives no columns", "add `column`, `select` or `unionAll`");
        }
        let each = self.each(node);
        let mut columns = Vec::new();
        let mut filled = Vec::new();
        for item in self.list(node, "column") {
            if let Some((column, place, fills)) = self.column(item) {
                columns.push((column, place));
                filled.extend(fills);
            }
        }
        let selects = self.parts(node, "select", depth + 1);
        selects.iter().for_each(|(part, _)| part.gather(&mut columns));
        let unions = self.parts(node, "unionAll", depth + 1);
        if let Some((first, _)) = unions.first() {
            let named = |part: &Part| part.columns.iter().map(|(column, _)| column.name.clone()).collect::<Vec<_>>();
            let names = named(first);
            for (union, place) in unions.iter().filter(|(union, _)| named(union) != names) {
                let help = format!("name them in each branch as in the first: {}", names.join(", "));
                let place = union.columns.first().map_or(*place, |(_, place)| *place);
                self.error(place, "union-columns", "the branches of `unionAll` have different columns", help);
            }
            first.gather(&mut columns);
        }
        let parts = |parts: Vec<(Part, Place)>| parts.into_iter().map(|(part, _)| part.select).collect();
        Part { select: Select { each, columns: filled, selects: parts(selects), unions: parts(unions) }, columns }
    }

    fn each(&mut self, node: &Node) -> Each {
        let said: Vec<&Entry> =
            ["forEach", "forEachOrNull", "repeat"].iter().filter_map(|key| node.entry(key)).collect();
        if let [_, second, ..] = said.as_slice() {
            let message = format!("`{}` cannot stand beside `forEach`, `forEachOrNull` or `repeat`", second.key);
            self.error(second.place, "several-forms", message, "keep one of them");
        }
        match said.first().map(|entry| entry.key.as_str()) {
            Some("forEach") => self.path(node, "forEach", None).map_or(Each::Once, Each::Element),
            Some("forEachOrNull") => self.path(node, "forEachOrNull", None).map_or(Each::Once, Each::ElementOrNull),
            Some(_) => {
                let items = self.list(node, "repeat");
                let mut paths = Vec::new();
                for item in items {
                    match item.text() {
                        Some(text) => paths.extend(self.expression(text, item.place, None)),
                        None => self.error(
                            item.place,
                            "wrong-type",
                            "a path of `repeat` must be text",
                            "write it in quotes",
                        ),
                    }
                }
                Each::Descendant(paths)
            }
            None => Each::Once,
        }
    }

    fn column(&mut self, node: &Node) -> Option<(ViewColumn, Place, Option<Filled>)> {
        self.keys(node, &OF_COLUMN);
        for key in ["name", "path"].iter().filter(|key| node.entry(key).is_none()) {
            self.error(node.place, "missing-key", format!("a column has no `{key}`"), "add it");
        }
        let kind = self.text(node, "type").map(|(kind, _)| kind.rsplit(['/', '.']).next().unwrap_or(kind).to_owned());
        let collection = match node.get("collection").map(|node| (node.boolean(), node.place)) {
            Some((None, place)) => {
                self.error(place, "wrong-type", "`collection` must be true or false", "correct it");
                false
            }
            Some((Some(collection), _)) => collection,
            None => false,
        };
        let path = self.path(node, "path", kind.as_deref());
        let (name, place) = self.text(node, "name")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(legal) {
            let message = format!("`{}` cannot be a column's name", shorten(name));
            self.error(place, "bad-name", message, "use letters, digits and `_`, a letter first");
        }
        let description = node.get("description").and_then(Node::text).map(ToOwned::to_owned);
        let filled = path.map(|path| Filled { name: name.to_owned(), collection, path });
        Some((ViewColumn { name: name.to_owned(), kind, collection, description }, place, filled))
    }

    fn twice(&mut self, columns: &[(ViewColumn, Place)]) {
        for (at, (column, place)) in columns.iter().enumerate() {
            if columns.iter().take(at).any(|(other, _)| other.name == column.name) {
                let message = format!("the column `{}` stands twice", column.name);
                self.error(*place, "duplicate-name", message, "rename one");
            }
        }
    }
}

/// A part of a view with the columns that it gives, each with its place.
struct Part {
    select: Select,
    columns: Vec<(ViewColumn, Place)>,
}

impl Part {
    fn gather(&self, into: &mut Vec<(ViewColumn, Place)>) {
        into.extend(self.columns.iter().cloned());
    }
}

fn constant(entry: &Entry) -> Result<Literal, String> {
    let kind = entry.key.strip_prefix("value").and_then(types::of_suffix).unwrap_or("");
    let wrong = || format!("`{}` is no value that a constant can have", shorten(&entry.key));
    match &entry.node.value {
        Value::Boolean(value) if kind == "boolean" => Ok(Literal::Boolean(*value)),
        Value::Integer(value) if types::is_number(kind) => Ok(Literal::Number(value.to_string())),
        Value::Real(value) if kind == "decimal" && value.is_finite() => Ok(Literal::Number(value.to_string())),
        Value::Text(text) if kind == "integer64" => Ok(Literal::Number(text.clone())),
        Value::Text(text) if types::is_text(kind) => Ok(Literal::Text(text.clone())),
        _ => Err(wrong()),
    }
}

/// The place of a part of a text that stands in the file: exact where the text stands there as it is.
fn within(file: &str, place: Place, text: &str, part: &std::ops::Range<usize>) -> Place {
    let line = file.lines().nth(place.line.saturating_sub(1)).unwrap_or("");
    let from: String = line.chars().skip(place.column.saturating_sub(1)).collect();
    let quotes = usize::from(from.starts_with(['"', '\'']));
    if !from.get(quotes..).is_some_and(|from| from.starts_with(text)) {
        return place;
    }
    let before = text.get(..part.start).map_or(0, |before| before.chars().count());
    let length = text.get(part.clone()).map_or(1, |part| part.chars().count().max(1));
    Place { column: place.column + quotes + before, length, ..place }
}
