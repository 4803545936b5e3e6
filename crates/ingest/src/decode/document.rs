//! JSON that is not one object a line: an array of rows, or objects that run over several lines.
//!
//! The decoder of a delivery asks for the next element's place and hands its bytes to the same JSON decoder as a line's.
//! Elements are told apart by their brackets and strings alone, so that one that is no row is one reject; where the
//! brackets do not come out, nobody can say where the next element begins. Invariant: a document is read to its end,
//! which its last bracket says, or it is a fault with its place.

use memchr::memchr2;

use super::scan::Cursor;

/// How deep brackets are followed to find an element's end. What a row may hold is less (`scan::DEPTH_MAX`).
const BRACKETS_MAX: usize = 512;

/// How the rows of a JSON file stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One object a line.
    Lines,
    /// One array of objects.
    Array,
    /// Objects one after the other, each over several lines.
    Objects,
}

/// The shape of a file that begins with these bytes; none while they do not tell yet.
pub(super) fn shape(bytes: &[u8], last: bool) -> Option<Shape> {
    let Some(start) = bytes.iter().position(|byte| !is_space(*byte)) else { return last.then_some(Shape::Lines) };
    match bytes.get(start) {
        Some(b'[') => return Some(Shape::Array),
        Some(b'{') => {}
        _ => return Some(Shape::Lines),
    }
    let rest = bytes.get(start..).unwrap_or(&[]);
    let line = memchr2(b'\n', b'\r', rest);
    match value_end(rest, last) {
        Ok(Some(end)) if line.is_none_or(|line| end <= line) => Some(Shape::Lines),
        _ if line.is_none() => last.then_some(Shape::Lines),
        // The first line is no object by itself: it is one over several lines, or it is a line cut short. What follows
        // says which: JSON goes on in one way only.
        Ok(Some(end)) => {
            Some(if goes_on(rest.get(..end).unwrap_or(&[]), false) { Shape::Objects } else { Shape::Lines })
        }
        Ok(None) if !goes_on(rest, true) => Some(Shape::Lines),
        Ok(None) => last.then_some(Shape::Objects),
        Err(_) => Some(Shape::Lines),
    }
}

/// Whether bytes are a JSON value, or with `begun` the beginning of one.
fn goes_on(bytes: &[u8], begun: bool) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if begun && error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
        }
        Err(_) => return false,
    };
    let mut cursor = Cursor::new(text);
    match cursor.skip_value(0) {
        Ok(()) => true,
        Err(_) => begun && cursor.is_at_end(),
    }
}

/// What is wrong with a document, at a byte of what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// What stands next in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing in so many bytes: leave them behind and ask again.
    Passed(usize),
    /// An element between these bytes.
    Element(usize, usize),
    /// It is not here whole.
    Unfinished,
    /// The document is over.
    End,
}

/// Where in a document its reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// Before an array's opening bracket.
    Array,
    /// After it.
    First,
    /// After an element of it.
    More,
    /// After its closing bracket.
    Closed,
    /// Among objects that nothing encloses.
    Objects,
}

impl Document {
    /// Finds the next element, and steps past what stands before it. Asked again with more bytes when it is unfinished.
    pub(super) fn next(&mut self, bytes: &[u8], last: bool) -> Result<Next, Broken> {
        let (mut at, mut state) = (0, *self);
        loop {
            at += bytes.iter().skip(at).take_while(|byte| is_space(**byte)).count();
            let Some(&byte) = bytes.get(at) else {
                return match state {
                    _ if !last => Ok(Next::Unfinished),
                    Self::Closed | Self::Objects => Ok(Next::End),
                    _ => Err(Broken { at, what: "the file ends before the array is closed" }),
                };
            };
            state = match (state, byte) {
                (Self::Array, _) => Self::First,
                (Self::First | Self::More, b']') => Self::Closed,
                (Self::First, _) => return self.element(bytes, at, last, Self::More),
                (Self::More, b',') => {
                    let after = at + 1 + bytes.iter().skip(at + 1).take_while(|byte| is_space(**byte)).count();
                    return match bytes.get(after) {
                        Some(_) => self.element(bytes, after, last, Self::More),
                        None if last => Err(Broken { at: after, what: "the file ends before the array is closed" }),
                        None => Ok(Next::Unfinished),
                    };
                }
                (Self::More, _) => return Err(Broken { at, what: "a comma or ] was expected after an element" }),
                (Self::Closed, _) => return Err(Broken { at, what: "more follows after the array" }),
                (Self::Objects, b'{') => return self.element(bytes, at, last, Self::Objects),
                (Self::Objects, _) => return Err(Broken { at, what: "an object was expected" }),
            };
            at += 1;
        }
    }

    fn element(&mut self, bytes: &[u8], at: usize, last: bool, then: Self) -> Result<Next, Broken> {
        let rest = bytes.get(at..).unwrap_or(&[]);
        match value_end(rest, last) {
            Ok(Some(end)) => {
                *self = then;
                Ok(Next::Element(at, at + end))
            }
            Ok(None) if last => Err(Broken { at: bytes.len(), what: "the file ends within an element" }),
            Ok(None) => Ok(Next::Unfinished),
            Err(broken) => Err(Broken { at: at + broken.at, ..broken }),
        }
    }
}

/// Where the value at the beginning of the bytes ends, by its brackets and strings; none when it is not here whole.
pub(super) fn value_end(bytes: &[u8], last: bool) -> Result<Option<usize>, Broken> {
    match bytes.first() {
        Some(b'{' | b'[') => bracketed_end(bytes),
        Some(b'"') => Ok(string_end(bytes, 0)),
        Some(b',' | b']' | b'}' | b':') | None => Err(Broken { at: 0, what: "a value was expected" }),
        // A word or a number, which is no row: its decoder says so.
        Some(_) => {
            let stop = bytes.iter().position(|byte| is_space(*byte) || matches!(byte, b',' | b']' | b'}'));
            Ok(stop.or(last.then_some(bytes.len())))
        }
    }
}

fn bracketed_end(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => match string_end(bytes, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return Ok(None),
            },
            b'{' | b'[' if open.len() == BRACKETS_MAX => return Err(Broken { at, what: "it is nested too deep" }),
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                if open.pop() != Some(byte) {
                    return Err(Broken { at, what: "a bracket closes what was not opened" });
                }
                if open.is_empty() {
                    return Ok(Some(at + 1));
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// After the closing quote of the string whose opening quote stands at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
