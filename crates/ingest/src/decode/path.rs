//! JSON whose rows stand within it: the way of the contract's `rowsPath` through one document, or several.
//!
//! `$.entry[*].resource` leads through an object to the array `entry`, and from each of its elements to `resource`. What
//! stands beside the way is stepped over by its brackets and strings. Invariant: a document is read to its end, and what
//! was stepped over is not kept in memory.

use std::ops::Range;

use vitalake_contract::file_options::RowsPath;

use super::document::{Broken, Next, is_space, string_end, value_end};
use super::scan::{Cursor, unescape};

/// Where in a document its reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the value that so many names lead to.
    Value(usize),
    /// In the object that so many names lead to, before a name or its end.
    Member(usize),
    /// After a value in that object.
    After(usize),
    /// In the array, before its first element.
    First,
    /// After an element.
    More,
    /// After a comma.
    Element,
}

/// A reader's way through documents.
#[derive(Debug)]
pub(super) struct Walk {
    path: RowsPath,
    at: At,
    /// Whether the array was there.
    arrived: bool,
}

impl Walk {
    pub(super) fn new(path: RowsPath) -> Self {
        Self { path, at: At::Value(0), arrived: false }
    }

    /// Whether the way led to an array so far.
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived
    }

    /// Whether it stands before a document.
    pub(super) fn is_between_documents(&self) -> bool {
        self.at == At::Value(0)
    }

    /// The way, as written.
    pub(super) fn path(&self) -> &RowsPath {
        &self.path
    }

    /// Finds the next element, or steps on. Asked again with more bytes when it is unfinished.
    pub(super) fn next(&mut self, bytes: &[u8], last: bool) -> Result<Next, Broken> {
        let at = bytes.iter().take_while(|byte| is_space(**byte)).count();
        let Some(&byte) = bytes.get(at) else {
            return match self.at {
                _ if !last => Ok(Next::Unfinished),
                At::Value(0) => Ok(Next::End),
                _ => Err(Broken { at, what: "the file ends within its document" }),
            };
        };
        let broken = |what| Err(Broken { at, what });
        let depth = self.path.array.len();
        let rest = bytes.get(at..).unwrap_or(&[]);
        match (self.at, byte) {
            (At::Value(names), b'[') if names == depth => {
                self.arrived = true;
                self.step(At::First, at + 1)
            }
            (At::Value(names), b'{') if names < depth => self.step(At::Member(names), at + 1),
            // What is null on the way has no rows.
            (At::Value(names @ 1..), b'n') => self.over(rest, at, last, At::After(names - 1)),
            (At::Value(names), _) if names == depth => broken("an array was expected, as the contract's rowsPath says"),
            (At::Value(_), _) => broken("an object was expected, as the contract's rowsPath says"),
            (At::Member(names) | At::After(names), b'}') => {
                let after = names.checked_sub(1).map_or(At::Value(0), At::After);
                self.step(after, at + 1)
            }
            (At::After(names), b',') => self.step(At::Member(names), at + 1),
            (At::After(_), _) => broken("a comma or } was expected after a value"),
            (At::Member(names), b'"') => self.member(bytes, at, last, names),
            (At::Member(_), _) => broken("a field's name was expected"),
            (At::First | At::More, b']') => {
                let after = depth.checked_sub(1).map_or(At::Value(0), At::After);
                self.step(after, at + 1)
            }
            (At::More, b',') => self.step(At::Element, at + 1),
            (At::More, _) => broken("a comma or ] was expected after an element"),
            (At::First | At::Element, _) => match ended(rest, at, last)? {
                Some(end) => {
                    self.at = At::More;
                    Ok(Next::Element(at, end))
                }
                None => Ok(Next::Unfinished),
            },
        }
    }

    fn step(&mut self, to: At, passed: usize) -> Result<Next, Broken> {
        self.at = to;
        Ok(Next::Passed(passed))
    }

    /// Steps over a value.
    fn over(&mut self, rest: &[u8], at: usize, last: bool, to: At) -> Result<Next, Broken> {
        match ended(rest, at, last)? {
            Some(end) => self.step(to, end),
            None => Ok(Next::Unfinished),
        }
    }

    /// Reads a field's name and its colon, and goes into its value or over it.
    fn member(&mut self, bytes: &[u8], at: usize, last: bool, names: usize) -> Result<Next, Broken> {
        let cut = |bytes: &[u8]| match last {
            true => Err(Broken { at: bytes.len(), what: "the file ends within its document" }),
            false => Ok(Next::Unfinished),
        };
        let Some(end) = string_end(bytes, at) else { return cut(bytes) };
        let colon = end + bytes.iter().skip(end).take_while(|byte| is_space(**byte)).count();
        match bytes.get(colon) {
            None => return cut(bytes),
            Some(b':') => {}
            Some(_) => return Err(Broken { at: colon, what: "a colon was expected" }),
        }
        let name = bytes.get(at + 1..end - 1).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
        let wanted = self.path.array.get(names).map(String::as_str);
        if Some(name) == wanted || (name.contains('\\') && unescaped(name).as_deref() == wanted) {
            return self.step(At::Value(names + 1), colon + 1);
        }
        let begin = colon + 1 + bytes.iter().skip(colon + 1).take_while(|byte| is_space(**byte)).count();
        match bytes.get(begin..).filter(|rest| !rest.is_empty()) {
            Some(rest) => self.over(rest, begin, last, At::After(names)),
            None => cut(bytes),
        }
    }
}

/// Where a value ends that begins at `at`.
fn ended(rest: &[u8], at: usize, last: bool) -> Result<Option<usize>, Broken> {
    match value_end(rest, last) {
        Ok(None) if last => Err(Broken { at: at + rest.len(), what: "the file ends within its document" }),
        Ok(end) => Ok(end.map(|end| at + end)),
        Err(broken) => Err(Broken { at: at + broken.at, ..broken }),
    }
}

fn unescaped(name: &str) -> Option<String> {
    let mut text = String::new();
    unescape(name, &mut text).ok().map(|()| text)
}

/// Where in an element the value stands that the names lead to; none where there is none, or the element is no JSON.
pub(super) fn within(element: &[u8], names: &[String]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(element).ok()?;
    let mut cursor = Cursor::new(text);
    let mut range = 0..text.len();
    for name in names {
        cursor.skip_space();
        (cursor.peek() == b'{').then_some(())?;
        cursor.at += 1;
        range = loop {
            cursor.skip_space();
            (cursor.peek() == b'"').then_some(())?;
            let found = cursor.string().ok()?;
            let raw = cursor.slice(found.start, found.end);
            let is_it = raw == name || (found.escaped && unescaped(raw).as_deref() == Some(name));
            cursor.colon().ok()?;
            let start = cursor.at;
            cursor.skip_value(0).ok()?;
            if is_it {
                let end = cursor.at;
                cursor.at = start;
                break start..end;
            }
            cursor.more(b'}', "").ok().filter(|more| *more)?;
        };
    }
    Some(range)
}
