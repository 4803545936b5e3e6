//! JSON as Jackson reads and writes it for Spark: texts may stand in single quotes, a name may stand twice, numbers keep
//! their digits.
//!
//! Pure; used by the functions over JSON. Invariant: a text that begins with no JSON value is `None`; what follows the
//! first value is not read.

use crate::functions::text_number::double_text;

/// Levels of lists and objects that are read.
const DEPTH_MAX: usize = 1000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Self>),
    /// In the order of the text; a name may come again.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The first value of a text.
    pub(crate) fn first(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        // A number has to end where it ends.
        let ends = reader.rest.is_empty() || reader.rest.starts_with([' ', '\t', '\n', '\r']);
        (ends || !matches!(value, Self::Number(_))).then_some(value)
    }

    /// The first field of a name.
    pub(crate) fn field(&self, wanted: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
    }

    /// The last field of a name.
    pub(crate) fn last_field(&self, wanted: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value)
    }

    /// The number, when it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        if let Self::Number(digits) = self { digits.parse().ok() } else { None }
    }

    /// The whole number, when it is written as one that fits.
    pub(crate) fn whole(&self) -> Option<i64> {
        if let Self::Number(digits) = self { digits.parse().ok() } else { None }
    }

    /// A value as text: a text without quotes, null as none.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            other => {
                let mut made = String::new();
                other.write(&mut made);
                Some(made)
            }
        }
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, made: &mut String) {
        match self {
            Self::Null => made.push_str("null"),
            Self::Flag(flag) => made.push_str(if *flag { "true" } else { "false" }),
            Self::Number(digits) if digits.contains(['.', 'e', 'E']) => {
                made.push_str(&digits.parse().map_or_else(|_| digits.clone(), double_text));
            }
            Self::Number(digits) => made.push_str(if digits == "-0" { "0" } else { digits }),
            Self::Text(text) => quote(text, made),
            Self::List(items) => {
                made.push('[');
                separated(items, made, |item, made| item.write(made));
                made.push(']');
            }
            Self::Object(fields) => {
                made.push('{');
                separated(fields, made, |(name, value), made| {
                    quote(name, made);
                    made.push(':');
                    value.write(made);
                });
                made.push('}');
            }
        }
    }
}

fn separated<T>(items: &[T], made: &mut String, write: impl Fn(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            made.push(',');
        }
        write(item, made);
    }
}

/// Writes a text in double quotes.
pub(crate) fn quote(text: &str, made: &mut String) {
    made.push('"');
    for letter in text.chars() {
        match letter {
            '"' => made.push_str("\\\""),
            '\\' => made.push_str("\\\\"),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            '\u{8}' => made.push_str("\\b"),
            '\u{c}' => made.push_str("\\f"),
            control if control < ' ' => made.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => made.push(other),
        }
    }
    made.push('"');
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, letter: char) -> bool {
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        if depth > DEPTH_MAX {
            return None;
        }
        match self.rest.chars().next()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            quote @ ('"' | '\'') => self.text(quote).map(Json::Text),
            '-' | '0'..='9' => self.number().map(|digits| Json::Number(digits.to_owned())),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Option<Json> {
        let words = [("true", Json::Flag(true)), ("false", Json::Flag(false)), ("null", Json::Null)];
        let (word, value) = words.into_iter().find(|(word, _)| self.rest.starts_with(word))?;
        self.rest = self.rest.get(word.len()..)?;
        let goes_on = self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        (!goes_on).then_some(value)
    }

    fn number(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = usize::from(self.rest.starts_with('-'));
        let whole = digits(end);
        if whole == 0 || (whole > 1 && bytes.get(end) == Some(&b'0')) {
            return None;
        }
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            end += if fraction > 0 { fraction + 1 } else { return None };
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let power = digits(end + 1 + sign);
            end += if power > 0 { power + sign + 1 } else { return None };
        }
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(number)
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut made = String::new();
        self.eat(quote);
        loop {
            let letter = self.rest.chars().next()?;
            self.rest = self.rest.get(letter.len_utf8()..)?;
            match letter {
                letter if letter == quote => return Some(made),
                '\\' => made.push(self.escape()?),
                control if control < ' ' => return None,
                other => made.push(other),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = self.rest.get(letter.len_utf8()..)?;
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit()?;
                if !(0xD800..0xDC00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.rest = self.rest.strip_prefix("\\u")?;
                let low = self.unit().filter(|low| (0xDC00..0xE000).contains(low))?;
                char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.eat('[');
        let mut items = Vec::new();
        self.space();
        if self.eat(']') {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(']') {
                return Some(Json::List(items));
            }
            self.eat(',').then_some(())?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.eat('{');
        let mut fields = Vec::new();
        self.space();
        if self.eat('}') {
            return Some(Json::Object(fields));
        }
        loop {
            self.space();
            let quote = self.rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
            let name = self.text(quote)?;
            self.space();
            self.eat(':').then_some(())?;
            fields.push((name, self.value(depth + 1)?));
            self.space();
            if self.eat('}') {
                return Some(Json::Object(fields));
            }
            self.eat(',').then_some(())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r#"{"a":1}x"#, Some(r#"{"a":1}"#))]
    #[case(r#"{'a':'x"y'}"#, Some(r#"{"a":"x\"y"}"#))]
    #[case(r#"{"a":1,"a":2}"#, Some(r#"{"a":1,"a":2}"#))]
    #[case("12345678901234567890123", Some("12345678901234567890123"))]
    #[case("[1.50, -0, 1E5, -0.0]", Some("[1.5,0,100000.0,-0.0]"))]
    #[case(r#""\u00e9\ud83d\ude00\/""#, Some("\"é😀/\""))]
    #[case("12x", None)]
    #[case("12 x", Some("12"))]
    #[case("nullx", None)]
    #[case("01", None)]
    #[case("[1,]", None)]
    #[case(r#"{"a":1"#, None)]
    #[case(r#""\ud83d""#, None)]
    #[case("", None)]
    fn reads(#[case] text: &str, #[case] written: Option<&str>) {
        let found = Json::first(text).map(|json| {
            let mut made = String::new();
            json.write(&mut made);
            made
        });
        assert_eq!(found.as_deref(), written);
    }

    #[test]
    fn a_deep_text_is_none_and_harms_nothing() {
        assert_eq!(Json::first(&"[".repeat(1_000_000)), None);
        assert!(Json::first(&format!("{}{}", "[".repeat(900), "]".repeat(900))).is_some());
    }
}
