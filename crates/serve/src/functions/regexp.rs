//! Patterns: Java's regular expressions, and LIKE with its escape.
//!
//! The engine of patterns works in linear time, so those with a look around or a back reference are refused by name.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::{DataFusionError, Result};
use regex::{Regex, RegexBuilder};

use super::call::{BATCH_BYTES_MAX, Call, Memo, too_large};
use super::definition::{Argument, Definition, Returns};
use super::time::{known, refuse};

use Argument::{Integer, StrictText, Text};

/// The functions of patterns.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("regexp_like", &[StrictText, Text], Returns::Boolean, like_pattern),
    Definition::new("regexp_extract", &[Text, Text, Integer], Returns::Text, extract).needs(2),
    Definition::new("regexp_replace", &[Text, Text, Text], Returns::Text, replace).grows(),
    Definition::new("__like", &[Text, Text, Text], Returns::Boolean, like).needs(2),
];

/// Bytes that a compiled pattern may have.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A pattern of Java's in the terms of our engine: classes such as `\w` know ASCII alone.
pub fn compile(pattern: &str) -> Result<Regex> {
    let mut ours = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut within_class = 0_usize;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => ours.push_str(if within_class > 0 { "0-9" } else { "[0-9]" }),
                Some('w') => ours.push_str(if within_class > 0 { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => {
                    ours.push_str(if within_class > 0 { " \\t\\n\\x0B\\f\\r" } else { "[ \\t\\n\\x0B\\f\\r]" })
                }
                Some('D') => ours.push_str("[^0-9]"),
                Some('W') => ours.push_str("[^0-9A-Za-z_]"),
                Some('S') => ours.push_str("[^ \\t\\n\\x0B\\f\\r]"),
                Some('b') => ours.push_str("(?-u:\\b)"),
                Some('B') => ours.push_str("(?-u:\\B)"),
                Some('Z') => ours.push_str("\\n?\\z"),
                Some('e') => ours.push_str("\\x1B"),
                Some('Q') => quote(&mut letters, &mut ours),
                Some(other) if other.is_ascii_alphanumeric() => {
                    ours.push('\\');
                    ours.push(other);
                }
                Some(other) => ours.push_str(&regex::escape(&other.to_string())),
                None => return Err(refuse("a pattern ends in a single backslash; double it".to_owned())),
            },
            '[' => {
                within_class += 1;
                ours.push('[');
            }
            ']' if within_class > 0 => {
                within_class -= 1;
                ours.push(']');
            }
            other => ours.push(other),
        }
    }
    RegexBuilder::new(&ours).size_limit(PATTERN_BYTES_MAX).build().map_err(|_| {
        refuse(
            "a pattern cannot be read, is too large, or looks around or back; write it without (?=…), (?!…), (?<=…) and \\1"
                .to_owned(),
        )
    })
}

/// What stands between `\Q` and `\E` means itself.
fn quote(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, ours: &mut String) {
    let rest: String = letters.clone().collect();
    let quoted = rest.split("\\E").next().unwrap_or(&rest);
    ours.push_str(&regex::escape(quoted));
    let skip = quoted.chars().count() + if rest.len() > quoted.len() { 2 } else { 0 };
    for _ in 0..skip {
        letters.next();
    }
}

/// A row's pattern: one that cannot be read is refused where it is a constant, and null where it is a column's value.
fn pattern_of<'p>(call: &Call<'_>, row: usize, patterns: &'p mut Memo<Option<Regex>>) -> Result<Option<&'p Regex>> {
    if call.is_constant(1) && call.text_at(1, row).is_none() {
        return Err(refuse("a pattern must be a text, and is NULL".to_owned()));
    }
    known(call, 1, row, patterns, compile)
}

fn like_pattern(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Memo::default();
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let pattern = pattern_of(call, row, &mut patterns)?;
        found.push(call.text_at(0, row).zip(pattern).map(|(text, pattern)| pattern.is_match(text)));
    }
    Ok(Arc::new(BooleanArray::from(found)))
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Memo::default();
    call.try_texts(|row| {
        let Some(pattern) = pattern_of(call, row, &mut patterns)? else { return Ok(None) };
        let group = if call.count() > 2 { call.integer_at(2, row) } else { Some(0) };
        let Some(group) = group else { return Ok(None) };
        let Some(group) = usize::try_from(group).ok().filter(|group| *group < pattern.captures_len()) else {
            if !(call.is_constant(1) && call.is_constant(2)) {
                return Ok(None);
            }
            return Err(refuse("a pattern has no group of that number".to_owned()));
        };
        let Some(text) = call.text_at(0, row) else { return Ok(None) };
        let found =
            pattern.captures(text).and_then(|captures| captures.get(group).map(|part| part.as_str().to_owned()));
        Ok(found)
    })
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Memo::default();
    let mut templates = Memo::default();
    call.try_texts(|row| {
        if call.text_at(1, row).is_none() {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (call.text_at(0, row), pattern_of(call, row, &mut patterns)?) else {
            return Ok(None);
        };
        let Some(template) = known(call, 2, row, &mut templates, parse_template)? else { return Ok(None) };
        if !fits(pattern, template) {
            let constant = call.is_constant(1) && call.is_constant(2);
            let refusal = refuse("a replacement names a group that the pattern has not".to_owned());
            return if constant { Err(refusal) } else { Ok(None) };
        }
        replaced(text, pattern, template).map(Some)
    })
}

/// A piece of what is put in the place of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    Name(String),
}

/// Java's template: `$1`, `${name}`, and a backslash before what means itself.
fn parse_template(template: &str) -> Result<Vec<Piece>> {
    let bad = || refuse("a replacement has a $ or \\ with nothing after it; write \\$ for a dollar sign".to_owned());
    let mut pieces = vec![];
    let mut plain = String::new();
    let mut letters = template.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(letters.next().ok_or_else(bad)?),
            '$' => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                if letters.next_if_eq(&'{').is_some() {
                    let name: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                    pieces.push(Piece::Name(name));
                    continue;
                }
                let digit = letters.next().and_then(|digit| digit.to_digit(10)).ok_or_else(bad)?;
                pieces.push(Piece::Group(usize::try_from(digit).unwrap_or(0)));
            }
            other => plain.push(other),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Whether a pattern has the groups that a template names.
fn fits(pattern: &Regex, template: &[Piece]) -> bool {
    template.iter().all(|piece| match piece {
        Piece::Text(_) => true,
        Piece::Group(number) => *number < pattern.captures_len(),
        Piece::Name(name) => pattern.capture_names().flatten().any(|known| known == name),
    })
}

fn replaced(text: &str, pattern: &Regex, template: &[Piece]) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    if let [] | [Piece::Text(_)] = template {
        // Without groups there is nothing to capture.
        let plain = template.iter().find_map(|piece| if let Piece::Text(plain) = piece { Some(plain) } else { None });
        for whole in pattern.find_iter(text) {
            out.push_str(text.get(copied..whole.start()).unwrap_or_default());
            out.push_str(plain.map_or("", String::as_str));
            copied = whole.end();
            if out.len() > BATCH_BYTES_MAX {
                return Err(too_large());
            }
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        return Ok(out);
    }
    for captures in pattern.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(copied..whole.start()).unwrap_or_default());
        copied = whole.end();
        for piece in template {
            match piece {
                Piece::Text(plain) => out.push_str(plain),
                Piece::Group(number) => out.push_str(captures.get(*number).map_or("", |part| part.as_str())),
                Piece::Name(name) => out.push_str(captures.name(name).map_or("", |part| part.as_str())),
            }
        }
        if out.len() > BATCH_BYTES_MAX {
            return Err(too_large());
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(out)
}

/// LIKE: `%` and `_`, and nothing is an escape unless the query names one.
fn like(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns: Memo<Regex> = Memo::default();
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (Some(text), Some(pattern)) = (call.text_at(0, row), call.text_at(1, row)) else {
            found.push(None);
            continue;
        };
        let escape = call.text_at(2, row);
        if escape.is_some_and(|escape| escape.chars().count() != 1) {
            if !call.is_constant(2) {
                found.push(None);
                continue;
            }
            return Err(refuse("Function[like] escape must be null or a single character".to_owned()));
        }
        let escape = escape.and_then(|escape| escape.chars().next());
        let key = format!("{}\u{0}{pattern}", escape.unwrap_or('\u{0}'));
        match patterns.get(&key, |_| compile_like(pattern, escape)) {
            Ok(pattern) => found.push(Some(pattern.is_match(text))),
            Err(error) if call.is_constant(1) => return Err(error),
            Err(_) => found.push(None),
        }
    }
    Ok(Arc::new(BooleanArray::from(found)))
}

fn compile_like(pattern: &str, escape: Option<char>) -> Result<Regex, DataFusionError> {
    let mut ours = String::from("(?s)^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if escape == Some(letter) {
            // A pattern that ends in its escape has nothing to take for itself.
            if let Some(next) = letters.next() {
                ours.push_str(&regex::escape(&next.to_string()));
            }
            continue;
        }
        match letter {
            '%' => ours.push_str(".*"),
            '_' => ours.push('.'),
            other => ours.push_str(&regex::escape(&other.to_string())),
        }
    }
    ours.push_str("\\z");
    RegexBuilder::new(&ours)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|_| refuse("a pattern of LIKE is too large; use a shorter one".to_owned()))
}
