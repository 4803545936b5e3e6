//! The words of a FHIRPath expression, each with its place in the text.
//!
//! Invariant: places are byte ranges of the text, on the borders of its characters.

use std::ops::Range;

/// Words beyond which an expression is refused, which bounds how deep its tree is.
const TOKENS_MAX: usize = 500;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A name, or an operator that is spelt.
    Name(String),
    /// A name between backticks, which is never an operator.
    Quoted(String),
    /// Text between quotes.
    Text(String),
    /// A number.
    Number(String),
    /// A day or a moment after `@`.
    Moment(String),
    /// `%name`
    Variable(String),
    /// `$this`
    This,
    /// A sign.
    Sign(&'static str),
    /// The end of the expression.
    End,
}

/// What is wrong with an expression, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathFault {
    pub(super) place: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

impl PathFault {
    pub(super) fn new(place: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: help.into() }
    }
}

/// Signs, the longer first.
const SIGNS: [&str; 24] = [
    "!=", "!~", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "=", "<", ">", "|", "&", "~",
    "@", "$",
];

/// The words of a text, with an end.
pub(super) fn words(text: &str) -> Result<Vec<(Word, Range<usize>)>, PathFault> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or("");
        at += rest.len() - rest.trim_start().len();
        let rest = text.get(at..).unwrap_or("");
        let Some(first) = rest.chars().next() else {
            found.push((Word::End, at..at));
            return Ok(found);
        };
        if found.len() == TOKENS_MAX {
            return Err(PathFault::new(at..at + 1, "the expression is too long", "write it in simpler parts"));
        }
        let (word, length) = word(rest, first, at)?;
        found.push((word, at..at + length));
        at += length;
    }
}

fn word(rest: &str, first: char, at: usize) -> Result<(Word, usize), PathFault> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match first {
        'a'..='z' | 'A'..='Z' | '_' => {
            let length = span(rest, is_name);
            Ok((Word::Name(rest.get(..length).unwrap_or("").to_owned()), length))
        }
        '0'..='9' => {
            let whole = span(rest, |c| c.is_ascii_digit());
            let fraction = rest
                .get(whole..)
                .and_then(|rest| rest.strip_prefix('.'))
                .map_or(0, |rest| span(rest, |c| c.is_ascii_digit()));
            let length = if fraction > 0 { whole + 1 + fraction } else { whole };
            Ok((Word::Number(rest.get(..length).unwrap_or("").to_owned()), length))
        }
        '\'' => quoted(rest, '\'', at).map(|(text, length)| (Word::Text(text), length)),
        '`' => quoted(rest, '`', at).map(|(text, length)| (Word::Quoted(text), length)),
        '%' => match rest.get(1..).and_then(|rest| rest.chars().next()) {
            Some(quote @ ('`' | '\'')) => {
                let (text, length) = quoted(rest.get(1..).unwrap_or(""), quote, at + 1)?;
                Ok((Word::Variable(text), length + 1))
            }
            _ => {
                let length = span(rest.get(1..).unwrap_or(""), is_name);
                let name = rest.get(1..1 + length).unwrap_or("").to_owned();
                Ok((Word::Variable(name), 1 + length))
            }
        },
        '@' => {
            let length =
                span(rest.get(1..).unwrap_or(""), |c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+'));
            let text = rest.get(1..1 + length).unwrap_or("");
            if !text.starts_with(|c: char| c.is_ascii_digit() || c == 'T') {
                return Err(PathFault::new(at..at + 1, "no date follows `@`", "write it as @2024-01-31"));
            }
            Ok((Word::Moment(text.to_owned()), 1 + length))
        }
        '$' if rest.starts_with("$this") => Ok((Word::This, 5)),
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Word::Sign(sign), sign.len())),
            None => {
                let message = format!("`{first}` has no meaning in FHIRPath");
                Err(PathFault::new(at..at + first.len_utf8(), message, "write text between single quotes"))
            }
        },
    }
}

fn span(text: &str, keep: impl Fn(char) -> bool) -> usize {
    text.find(|c| !keep(c)).unwrap_or(text.len())
}

/// Text between quotes, its escapes undone, and its length with the quotes.
fn quoted(rest: &str, quote: char, at: usize) -> Result<(String, usize), PathFault> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((text, offset + 1)),
            '\\' => {
                let escaped = match chars.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('f') => '\u{c}',
                    Some(c @ ('\'' | '"' | '`' | '\\' | '/')) => c,
                    Some('u') => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let unit = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        match unit {
                            Some(c) => c,
                            None => return Err(unknown_escape(at + offset)),
                        }
                    }
                    _ => return Err(unknown_escape(at + offset)),
                };
                text.push(escaped);
            }
            c => text.push(c),
        }
    }
    Err(PathFault::new(at..at + 1, "the quote is never closed", format!("close it with {quote}")))
}

fn unknown_escape(at: usize) -> PathFault {
    PathFault::new(at..at + 1, "this escape is not known", "write a backslash as \\\\")
}
