//! A resource's JSON as views walk it: a tree over the text that it was read from.
//!
//! Texts without escapes are not copied, and numbers stay as they are written, as their digits say how exact they are.
//! Invariant: what is read is JSON of RFC 8259 in which no field stands twice in one object, at most `DEPTH_MAX` deep.

use std::borrow::Cow;

/// How deep arrays and objects may lie in each other.
pub const DEPTH_MAX: usize = 128;
/// With so few fields each is compared with each.
const FEW: usize = 24;

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number, as it is written.
    Number(&'a str),
    /// Text, its escapes undone.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object of JSON.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    text: &'a str,
    fields: Vec<(Cow<'a, str>, Json<'a>)>,
    has_beside: bool,
}

impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(name, value): &(Cow<'_, str>, Json<'_>)| other.get(name) == Some(value);
        self.fields.len() == other.fields.len() && self.fields.iter().all(same)
    }
}

impl<'a> Object<'a> {
    /// An object without fields.
    #[must_use]
    pub const fn empty() -> Self {
        Self { text: "{}", fields: Vec::new(), has_beside: false }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// The fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// The object as it is written.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Whether a field's name begins with `_`, as those of a primitive's extensions do.
    pub(super) fn has_beside(&self) -> bool {
        self.has_beside
    }
}

impl<'a> Json<'a> {
    /// The value as an object.
    #[must_use]
    pub fn object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The value as text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Writes the value.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => write_list(items, out, Self::write),
            Self::Object(object) => out.push_str(object.text),
        }
    }
}

/// Writes values as a list.
pub(super) fn write_list<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// Writes text in quotes.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.push_str(text.get(done..at).unwrap_or(""));
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
        done = at + 1;
    }
    out.push_str(text.get(done..).unwrap_or(""));
    out.push('"');
}

/// Why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// The byte, from 0.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Reads a text that is one value of JSON.
///
/// # Errors
/// Says what is wrong, and at which byte.
pub fn parse(text: &str) -> Result<Json<'_>, NotJson> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    if reader.at < reader.bytes.len() { reader.fault("more follows after the value") } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn fault<T>(&self, what: &'static str) -> Result<T, NotJson> {
        let what = if self.at >= self.bytes.len() { "it ends too early" } else { what };
        Err(NotJson { at: self.at, what })
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or("")
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        if depth > DEPTH_MAX {
            return self.fault("it is nested too deep");
        }
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.fault("a value was expected"),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, NotJson> {
        if !self.bytes.get(self.at..).unwrap_or(&[]).starts_with(word.as_bytes()) {
            return self.fault("a value was expected");
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.more(b']', "a comma or ] was expected")? {
                return Ok(Json::List(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        let start = self.at;
        self.at += 1;
        let mut fields: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        let mut has_beside = false;
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                if self.peek() != b'"' {
                    return self.fault("a field's name was expected");
                }
                let name = self.string()?;
                self.space();
                if self.peek() != b':' {
                    return self.fault("a colon was expected");
                }
                self.at += 1;
                self.space();
                has_beside |= name.starts_with('_');
                fields.push((name, self.value(depth + 1)?));
                if !self.more(b'}', "a comma or } was expected")? {
                    break;
                }
            }
        }
        if has_double(&fields) {
            return Err(NotJson { at: start, what: "a field stands twice in the object that begins there" });
        }
        Ok(Json::Object(Object { text: self.slice(start, self.at), fields, has_beside }))
    }

    /// Steps over a comma and says that there is more, or over the closing bracket and says that there is not.
    fn more(&mut self, close: u8, what: &'static str) -> Result<bool, NotJson> {
        self.space();
        let next = self.peek();
        if next != b',' && next != close {
            return self.fault(what);
        }
        self.at += 1;
        if next == b',' {
            self.space();
        }
        Ok(next == b',')
    }

    fn number(&mut self) -> Result<Json<'a>, NotJson> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(self.slice(start, self.at)))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        if !self.peek().is_ascii_digit() {
            return self.fault("a digit was expected");
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut from = start;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or(&[]);
            let Some(stop) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) else {
                self.at = self.bytes.len();
                return self.fault("");
            };
            self.at += stop;
            match self.peek() {
                b'"' => {
                    let last = self.slice(from, self.at);
                    self.at += 1;
                    return Ok(match owned {
                        Some(mut text) => {
                            text.push_str(last);
                            Cow::Owned(text)
                        }
                        None => Cow::Borrowed(last),
                    });
                }
                b'\\' => {
                    let text = owned.get_or_insert_default();
                    text.push_str(self.text.get(from..self.at).unwrap_or(""));
                    let escaped = self.escape()?;
                    text.push(escaped);
                    from = self.at;
                }
                _ => return self.fault("a control character stands in a text"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        self.at += 1;
        let escaped = match self.peek() {
            b'u' => return self.escaped_unit(),
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return self.fault("this escape is not known"),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn escaped_unit(&mut self) -> Result<char, NotJson> {
        let half = NotJson { at: self.at, what: "half of a surrogate pair" };
        let first = self.unit()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(half);
        }
        if first >= 0xdc00 || !self.bytes.get(self.at..).unwrap_or(&[]).starts_with(b"\\u") {
            return Err(half);
        }
        self.at += 1;
        let second = self.unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(half);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(half)
    }

    /// The four digits after the `u` that is next.
    fn unit(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.get(self.at + 1..self.at + 5).unwrap_or("");
        let digits = Some(digits).filter(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 5;
                Ok(unit)
            }
            None => self.fault("four hexadecimal digits were expected"),
        }
    }
}

fn has_double(fields: &[(Cow<'_, str>, Json<'_>)]) -> bool {
    if fields.len() <= FEW {
        let twice =
            |(at, (name, _)): (usize, &(Cow<'_, str>, _))| fields.iter().take(at).any(|(other, _)| other == name);
        return fields.iter().enumerate().any(twice);
    }
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair.first() == pair.last())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn plain(json: &Json<'_>) -> serde_json::Value {
        let mut text = String::new();
        json.write(&mut text);
        serde_json::from_str(&text).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_another_reader_reads(text in "[\\[\\]{}\",:0-9ae.+\\\\\\- ntrufls_é\u{1}]{0,40}") {
            let other = serde_json::from_str::<serde_json::Value>(&text).ok();
            match (parse(&text), other) {
                (Ok(json), Some(other)) => prop_assert_eq!(plain(&json), other),
                (Ok(json), None) => {
                    // Another reader refuses numbers that no double holds.
                    let is_number = matches!(json, Json::Number(_)) || text.contains('e');
                    prop_assert!(is_number, "{}", text);
                }
                (Err(wrong), Some(_)) => prop_assert!(wrong.what.contains("twice"), "{} {:?}", text, wrong),
                (Err(wrong), None) => prop_assert!(wrong.at <= text.len()),
            }
        }

        #[test]
        fn text_is_written_so_that_it_is_read_again(text in "\\PC{0,20}[\u{0}-\u{20}\"\\\\]{0,8}") {
            let mut written = String::new();
            write_text(&text, &mut written);
            let json = parse(&written).unwrap();
            prop_assert_eq!(json.text(), Some(&*text));
        }
    }

    #[test]
    fn hostile_texts_are_refused_with_their_place() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err().what, "it is nested too deep");
        assert_eq!(parse("{\"a\":1,\"a\":2}").unwrap_err().at, 0);
        assert_eq!(parse("{\"a\":").unwrap_err(), NotJson { at: 5, what: "it ends too early" });
        assert_eq!(parse("\"\\ud83d\"").unwrap_err().what, "half of a surrogate pair");
        assert_eq!(parse("\"\\ud83d\\ude00\"").unwrap().text(), Some("😀"));
        assert_eq!(parse("01").unwrap_err().at, 1);
        let many: Vec<String> = (0..100_000).map(|n| format!("\"f{n}\":1")).collect();
        assert!(parse(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(parse(&format!("{{{},\"f7\":2}}", many.join(","))).is_err());
    }
}
