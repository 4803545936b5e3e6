//! Regular expressions and LIKE: matching, extracting, replacing, splitting.
//!
//! A part of the table of functions. Patterns are constants: they are compiled, or refused, when the model is checked.
//! Invariant: no pattern fails on a row.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use std::sync::Arc;

use crate::functions::arrays::text_array;
use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{VALUE_BYTES_MAX, call, flags, texts, values};
use crate::functions::java_regex::Pattern;
use crate::functions::kinds::{TEXT, list_of};
use crate::functions::math::ints;
use crate::functions::table::{Calling, Function, function, null};

const I: DataType = DataType::Int32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("regexp", 2, 2, matches),
    function("regexp_count", 2, 2, counted),
    function("regexp_extract", 2, 3, extract),
    function("regexp_extract_all", 2, 3, extract_all),
    function("regexp_instr", 2, 3, instr),
    function("regexp_like", 2, 2, matches),
    function("regexp_replace", 3, 4, replace),
    function("regexp_substr", 2, 2, substr),
    function("rlike", 2, 2, matches),
    function("split", 2, 3, split),
];

/// The pattern of a call; `None` where it is null.
fn pattern(c: &Calling) -> Result<Option<Pattern>, Refusal> {
    c.constant_text(1, "the pattern")?.map(|java| Pattern::new(&java)).transpose()
}

fn matches(c: Calling) -> Bound {
    let Some(pattern) = pattern(&c)? else { return null(&DataType::Boolean) };
    c.make(DataType::Boolean, &[TEXT, TEXT], flags(move |args, row| Some(pattern.is_match(args.text(0, row)?))))
}

fn counted(c: Calling) -> Bound {
    let Some(pattern) = pattern(&c)? else { return null(&I) };
    c.make(
        I,
        &[TEXT, TEXT],
        ints(move |args, row| {
            let mut count = 0;
            pattern.find_all(args.text(0, row)?, |_| {
                count += 1;
                true
            });
            Some(count)
        }),
    )
}

/// The number of a group, which has to be one of the pattern's.
fn group(c: &Calling, pattern: &Pattern) -> Result<Option<usize>, Refusal> {
    let Some(group) = c.constant_int(2, "the number of the group")? else { return Ok(None) };
    let known = usize::try_from(group).ok().filter(|g| *g <= pattern.groups());
    known.map(Some).ok_or_else(|| {
        Refusal::new(
            format!("{} asks for a group that its pattern does not have", c.name),
            "count the parentheses of the pattern; 0 is the whole match",
        )
    })
}

fn extract(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(1)));
    let Some(pattern) = pattern(&c)? else { return null(&TEXT) };
    let Some(group) = group(&c, &pattern)? else { return null(&TEXT) };
    c.make(
        TEXT,
        &[TEXT, TEXT, I],
        texts(move |args, row| {
            let text = args.text(0, row)?;
            let found = pattern.find_at(text, 0);
            Some(found.and_then(|f| f.group(text, group).map(str::to_owned)).unwrap_or_default())
        }),
    )
}

fn extract_all(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(1)));
    let kind = list_of(TEXT);
    let Some(pattern) = pattern(&c)? else { return null(&kind) };
    let Some(group) = group(&c, &pattern)? else { return null(&kind) };
    c.make(
        kind,
        &[TEXT, TEXT, I],
        values(move |args, row| {
            let Some(text) = args.text(0, row) else { return Ok(ScalarValue::Null) };
            let mut made = Vec::new();
            pattern.find_all(text, |found| {
                made.push(Some(found.group(text, group).unwrap_or_default().to_owned()));
                true
            });
            Ok(text_array(&made))
        }),
    )
}

fn instr(c: Calling) -> Bound {
    let Some(pattern) = pattern(&c)? else { return null(&I) };
    c.make(
        I,
        &[TEXT, TEXT, I],
        ints(move |args, row| {
            let text = args.text(0, row)?;
            if args.args.len() > 2 && args.null(2, row) {
                return None;
            }
            let Some(found) = pattern.find_at(text, 0) else { return Some(0) };
            i32::try_from(text.get(..found.start)?.chars().count() + 1).ok()
        }),
    )
}

fn substr(c: Calling) -> Bound {
    let Some(pattern) = pattern(&c)? else { return null(&TEXT) };
    c.make(
        TEXT,
        &[TEXT, TEXT],
        texts(move |args, row| {
            let text = args.text(0, row)?;
            let found = pattern.find_at(text, 0)?;
            found.group(text, 0).filter(|part| !part.is_empty()).map(str::to_owned)
        }),
    )
}

/// A part of a replacement: text, or a group of the match.
enum Part {
    Text(String),
    Group(usize),
}

/// A replacement as Java reads it: `$1`, and `\` before a character that means itself.
fn replacement(text: &str, pattern: &Pattern) -> Result<Vec<Part>, Refusal> {
    let bad = |what: &str| {
        Refusal::new(
            format!("the replacement {what}"),
            "write $1 for a group, and a backslash before $ for the character",
        )
    };
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next().ok_or_else(|| bad("ends with a backslash"))?),
            '$' => {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                if characters.peek() == Some(&'{') {
                    // Spark itself takes this for a variable, before the function sees it.
                    return Err(bad("names a group"));
                }
                let digit = characters.next().and_then(|c| c.to_digit(10));
                let mut group = digit.ok_or_else(|| bad("has a $ without a number"))? as usize;
                while let Some(next) = characters.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + next as usize;
                    if longer > pattern.groups() {
                        break;
                    }
                    group = longer;
                    characters.next();
                }
                if group > pattern.groups() {
                    return Err(bad("asks for a group that the pattern does not have"));
                }
                parts.push(Part::Group(group));
            }
            other => plain.push(other),
        }
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}

fn replace(c: Calling) -> Bound {
    let c = c.or(3, ScalarValue::Int32(Some(1)));
    let Some(pattern) = pattern(&c)? else { return null(&TEXT) };
    let Some(with) = c.constant_text(2, "the replacement")? else { return null(&TEXT) };
    let parts = replacement(&with, &pattern)?;
    let Some(from) = c.constant_int(3, "the position")? else { return null(&TEXT) };
    if from < 1 {
        return Err(Refusal::new("the position of regexp_replace begins at 1", "leave it out"));
    }
    let skipped = usize::try_from(from - 1).unwrap_or(0);
    c.make(
        TEXT,
        &[TEXT, TEXT, TEXT, I],
        texts(move |args, row| {
            let text = args.text(0, row)?;
            let Some(start) = place(text, skipped) else { return Some(text.to_owned()) };
            let tail = text.get(start..)?;
            let mut made = text.get(..start)?.to_owned();
            let mut last = 0;
            pattern.find_all(tail, |found| {
                made.push_str(tail.get(last..found.start).unwrap_or_default());
                for part in &parts {
                    match part {
                        Part::Text(plain) => made.push_str(plain),
                        Part::Group(group) => made.push_str(found.group(tail, *group).unwrap_or_default()),
                    }
                }
                last = found.end;
                made.len() <= VALUE_BYTES_MAX
            });
            made.push_str(tail.get(last..).unwrap_or_default());
            Some(made)
        }),
    )
}

/// Where a character stands; `None` past the end.
fn place(text: &str, characters: usize) -> Option<usize> {
    if characters == 0 { Some(0) } else { text.char_indices().nth(characters).map(|(at, _)| at) }
}

/// Splits at matches; empty pieces at the end stay, an empty match before the first character does not count.
fn split(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(-1)));
    let kind = list_of(TEXT);
    let Some(pattern) = pattern(&c)? else { return null(&kind) };
    let empty = c.constant_text(1, "the pattern")?.is_some_and(|p| p.is_empty());
    c.make(
        kind,
        &[TEXT, TEXT, I],
        values(move |args, row| {
            let (Some(text), Some(limit)) = (args.text(0, row), args.int(2, row)) else { return Ok(ScalarValue::Null) };
            Ok(text_array(&pieces(&pattern, text, limit, empty)))
        }),
    )
}

fn pieces(pattern: &Pattern, text: &str, limit: i32, by_character: bool) -> Vec<Option<String>> {
    let most = usize::try_from(limit).ok().filter(|l| *l > 0).unwrap_or(usize::MAX);
    let mut made = Vec::new();
    let mut last = 0;
    if text.is_empty() {
        return vec![Some(String::new())];
    }
    pattern.find_all(text, |found| {
        if made.len() + 1 >= most {
            return false;
        }
        let empty = found.start == found.end;
        if (empty && found.start == 0) || (by_character && found.start == text.len()) {
            return true;
        }
        made.push(text.get(last..found.start).map(str::to_owned));
        last = found.end;
        true
    });
    made.push(text.get(last..).map(str::to_owned));
    made
}

/// LIKE with a constant pattern: `%` and `_`, and an escape before them.
pub(crate) fn like(value: Typed, pattern: &str, escape: char, ignore_case: bool) -> Bound {
    let mut made = String::from(if ignore_case { "(?is)\\A" } else { "(?s)\\A" });
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c == escape => match characters.next() {
                Some(next) if next == '%' || next == '_' || next == escape => {
                    made.push_str(&::regex::escape(&next.to_string()))
                }
                _ => {
                    return Err(Refusal::new(
                        "the pattern of LIKE has an escape before something else than %, _ or itself",
                        "write the escape twice for the character",
                    ));
                }
            },
            '%' => made.push_str(".*"),
            '_' => made.push('.'),
            other => made.push_str(&::regex::escape(&other.to_string())),
        }
    }
    made.push_str("\\z");
    let regex = ::regex::Regex::new(&made);
    let regex = Arc::new(regex.map_err(|_| Refusal::new("the pattern of LIKE is too long", "write a shorter one"))?);
    let text = value.to(&TEXT)?;
    let kernel = flags(move |args, row| args.text(0, row).map(|t| regex.is_match(t)));
    let args = vec![text, crate::functions::literals::text_value(&made).expr];
    Ok(Typed::flag(call("like", DataType::Boolean, args, kernel)))
}
