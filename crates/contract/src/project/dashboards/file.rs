//! What a dashboard's and a measure file's readers share: known keys, words, lists and names, with findings.
//!
//! Invariant: whatever is not what its key asks for is a finding with its place.

use crate::diagnostic::Diagnostic;
use crate::verdict::nearest;
use crate::yaml::{Node, Place, Value, shorten};

/// Characters of a title.
const TITLE_MAX: usize = 200;
/// Bytes of a longer text: SQL, a description, Markdown.
const TEXT_MAX: usize = 20_000;

/// A file that is read, and what is wrong with it.
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) found: Vec<Diagnostic>,
}

impl File<'_> {
    pub(super) fn error(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let finding = Diagnostic::error(self.path, code, message).at(self.text, place.line, place.column, place.length);
        self.found.push(finding.help(help));
    }

    /// Whether a node is a map; what it should be is said of one that is none.
    pub(super) fn is_map(&mut self, node: &Node, what: &str, help: &str) -> bool {
        let is_map = matches!(node.value, Value::Map(_));
        if !is_map {
            self.error(node.place, "wrong-type", format!("{what} is a map of settings"), help);
        }
        is_map
    }

    /// Refuses keys that are not among the known ones.
    pub(super) fn keys(&mut self, node: &Node, known: &[&str]) {
        for entry in node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let help = did_you_mean(&entry.key, known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            self.error(entry.place, "unknown-key", format!("unknown key `{}`", shorten(&entry.key)), help);
        }
    }

    /// A short text.
    pub(super) fn title(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.long(node, key)?;
        if text.chars().count() > TITLE_MAX || text.contains('\n') {
            let place = node.get(key).map_or(node.place, |value| value.place);
            let message = format!("`{key}` is one line of at most {TITLE_MAX} characters");
            self.error(place, "bad-text", message, "shorten it");
            return None;
        }
        Some(text)
    }

    /// A text of any form.
    pub(super) fn long(&mut self, node: &Node, key: &str) -> Option<String> {
        let value = node.get(key)?;
        let text = value.text().map(str::trim).filter(|text| !text.is_empty() && text.len() <= TEXT_MAX);
        if text.is_none() {
            let message = format!("`{key}` must be a text of at most {TEXT_MAX} bytes");
            self.error(value.place, "bad-text", message, "write one, in quotes where it looks like a number");
        }
        text.map(ToOwned::to_owned)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, node: &Node, key: &str) -> Option<bool> {
        let value = node.get(key)?;
        if value.boolean().is_none() {
            self.error(value.place, "wrong-type", format!("`{key}` is neither true nor false"), "write one of the two");
        }
        value.boolean()
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, node: &Node, key: &str, most: u32) -> Option<u32> {
        let value = node.get(key)?;
        let number = value.integer().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=most).contains(number));
        if number.is_none() {
            let help = format!("write one from 1 to {most}");
            self.error(value.place, "bad-number", format!("`{key}` must be a whole number"), help);
        }
        number
    }

    /// Names: one, or a list of them, each once.
    pub(super) fn names(&mut self, node: &Node, key: &str) -> Vec<String> {
        let Some(value) = node.get(key) else { return Vec::new() };
        let items: Vec<&Node> = if value.text().is_some() { vec![value] } else { value.items().iter().collect() };
        if items.is_empty() {
            self.error(value.place, "wrong-type", format!("`{key}` must be a list of names"), "write [one, another]");
        }
        let mut names: Vec<String> = Vec::new();
        for item in items {
            match item.text() {
                Some(name) if names.iter().any(|known| known == name) => {
                    self.error(item.place, "duplicate-name", format!("`{}` stands twice", shorten(name)), "remove one");
                }
                Some(name) => names.push(name.to_owned()),
                None => self.error(item.place, "wrong-type", "this is no name", "write names, such as [one, another]"),
            }
        }
        names
    }

    /// One of several words.
    pub(super) fn choice<'w>(&mut self, place: Place, what: &str, word: &str, known: &[&'w str]) -> Option<&'w str> {
        let found = known.iter().copied().find(|known| *known == word);
        if found.is_none() {
            let help = did_you_mean(word, known.iter().copied())
                .unwrap_or_else(|| format!("write one of {}", known.join(", ")));
            self.error(place, "unknown-word", format!("there is no {what} `{}`", shorten(word)), help);
        }
        found
    }

    /// Whether a name is one for a measure, a dimension or a piece.
    pub(super) fn is_name(&mut self, name: &str, place: Place, what: &str) -> bool {
        let first = name.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = first && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fits || name.len() > 100 {
            let message = format!("`{}` cannot be a {what}'s name", shorten(name));
            self.error(place, "bad-name", message, "a name is made of a-z, 0-9 and _, a letter first");
            return false;
        }
        true
    }
}

/// `did you mean …?`, where a known word is near.
pub(super) fn did_you_mean<'c>(word: &str, known: impl IntoIterator<Item = &'c str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean `{near}`?"))
}
