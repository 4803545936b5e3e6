//! A cursor over the bytes of one JSON record: strings, numbers and values to step over, checked as RFC 8259 says.
//!
//! Nothing is copied and nothing is allocated. The bytes are valid UTF-8 before they come here. Invariant: no input
//! makes the cursor leave the bytes or recurse deeper than [`DEPTH_MAX`].

use super::number::Number;

/// How deep objects and arrays may nest in one record.
pub(super) const DEPTH_MAX: usize = 64;

/// What is wrong with a record's JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte's position in the record, from 0.
    pub(super) at: usize,
    /// What was wrong there.
    pub(super) what: Wrong,
}

/// What is wrong at a byte. Never the byte itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A form that JSON or a record does not have.
    Form(&'static str),
    /// A field of the contract that stands in the record twice: the plan's node.
    Twice(u16),
}

/// A string between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// The first byte after the opening quote.
    pub(super) start: usize,
    /// The closing quote.
    pub(super) end: usize,
    /// Whether there is a backslash in it.
    pub(super) escaped: bool,
}

/// The bytes of a record and how far they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    /// The whole record.
    pub(super) text: &'a str,
    /// The next byte's position.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// Begins a record.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte; 0, which no JSON has outside of strings, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.byte(self.at)
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// The bytes that were not read yet.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or(&[])
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// A part of the record, empty where the range is not one.
    #[inline(always)]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or("")
    }

    /// A fault at the next byte.
    #[cold]
    pub(super) fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        let what = if self.is_at_end() { "the record ends too early" } else { what };
        Err(Fault { at: self.at, what: Wrong::Form(what) })
    }

    /// Steps over white space.
    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Steps over a string, its opening quote being next. Escapes are checked in form, not yet in meaning.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text, Fault> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            self.at = string_stop(self.text.as_bytes(), self.at);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(Text { start, end: self.at - 1, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fault("a control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.peek().is_ascii_hexdigit() {
                        return self.fault("a \\u escape without four hexadecimal digits");
                    }
                }
                self.at += 1;
            }
            _ => return self.fault("an escape that JSON does not have"),
        }
        Ok(())
    }

    /// Reads a number, its first byte being a digit or a minus.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let (mut mantissa, whole_digits) = self.digits(0);
        if whole_digits == 0 {
            return self.fault("a number without digits");
        }
        if whole_digits > 1 && self.byte(self.at - whole_digits) == b'0' {
            self.at -= whole_digits;
            return self.fault("a number that begins with 0");
        }
        let mut number = Number { negative, mantissa, digits: whole_digits, fraction: 0, exponent: 0, plain: true };
        if self.peek() == b'.' {
            self.at += 1;
            let fraction_digits;
            (mantissa, fraction_digits) = self.digits(mantissa);
            if fraction_digits == 0 {
                return self.fault("a number without digits after its point");
            }
            number = Number {
                mantissa,
                digits: whole_digits + fraction_digits,
                fraction: fraction_digits,
                plain: false,
                ..number
            };
        }
        if self.peek() | 0x20 == b'e' {
            number.exponent = self.exponent()?;
            number.plain = false;
        }
        debug_assert!(self.at > start);
        Ok(number)
    }

    #[inline(always)]
    fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let start = self.at;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                return (value, self.at - start);
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    fn exponent(&mut self) -> Result<i64, Fault> {
        self.at += 1;
        let negative = self.peek() == b'-';
        if matches!(self.peek(), b'-' | b'+') {
            self.at += 1;
        }
        let (mut value, start) = (0_i64, self.at);
        while self.peek().is_ascii_digit() {
            value = (value * 10 + i64::from(self.peek() - b'0')).min(1_000_000_000);
            self.at += 1;
        }
        if self.at == start {
            return self.fault("a number without digits in its exponent");
        }
        Ok(if negative { -value } else { value })
    }

    /// Steps over any value; `depth` objects and arrays are open around it.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b'{' => self.skip_object(depth + 1),
            b'[' => self.skip_array(depth + 1),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.fault("a value was expected"),
        }
    }

    /// Steps over one of JSON's three words.
    #[inline]
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        // A record that stops within the word ends too early; any other byte is no value.
        let common = self.rest().iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        self.at += common;
        self.fault("a value was expected")
    }

    /// Faults when so many open objects and arrays are too many.
    #[inline(always)]
    pub(super) fn check_depth(&self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return self.fault("nested deeper than 64");
        }
        Ok(())
    }

    /// After a field or an element: steps over a comma (true) or the closing byte (false).
    #[inline(always)]
    pub(super) fn more(&mut self, close: u8, what: &'static str) -> Result<bool, Fault> {
        self.skip_space();
        let next = self.peek();
        if next != b',' && next != close {
            return self.fault(what);
        }
        self.at += 1;
        self.skip_space();
        Ok(next == b',')
    }

    /// Steps over the colon after a field's name.
    #[inline(always)]
    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() != b':' {
            return self.fault("a colon was expected");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), Fault> {
        self.check_depth(depth)?;
        self.at += 1;
        self.skip_space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return self.fault("a field's name was expected");
            }
            self.string()?;
            self.colon()?;
            self.skip_value(depth)?;
            if !self.more(b'}', "a comma or } was expected")? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Fault> {
        self.check_depth(depth)?;
        self.at += 1;
        self.skip_space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_value(depth)?;
            if !self.more(b']', "a comma or ] was expected")? {
                return Ok(());
            }
        }
    }
}

/// The position of the first quote, backslash or control character at or after `at`; eight bytes at a step.
#[inline(always)]
fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // In each term the lowest bit that is set stands at a true hit, so the lowest of all of them does too.
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5c);
        let hits = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let hits = hits & HIGHS;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

/// Appends what the escapes of a string mean. The form was checked by [`Cursor::string`]; what can still be wrong is a
/// surrogate without its other half, which is no character.
pub(super) fn unescape(raw: &str, into: &mut String) -> Result<(), usize> {
    let mut rest = raw;
    while let Some(position) = rest.find('\\') {
        into.push_str(rest.get(..position).unwrap_or(""));
        let escape = rest.get(position..).unwrap_or("");
        let (character, taken) = match escape.as_bytes().get(1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => unicode(escape).ok_or(raw.len() - escape.len())?,
            Some(&other) => (char::from(other), 2),
            None => return Err(raw.len()),
        };
        into.push(character);
        rest = escape.get(taken..).unwrap_or("");
    }
    into.push_str(rest);
    Ok(())
}

fn unicode(escape: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u32::from_str_radix(escape.get(at..at + 4)?, 16).ok();
    let first = unit(2)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    if first >= 0xdc00 || escape.get(6..8) != Some("\\u") {
        return None;
    }
    let second = unit(8).filter(|unit| (0xdc00..0xe000).contains(unit))?;
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}
