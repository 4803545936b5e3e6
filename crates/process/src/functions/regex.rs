//! Regular expressions and LIKE: matching, extracting, replacing, splitting.
//!
//! A part of the table of functions. Patterns that are constants are compiled, or refused, when the model is checked.
//! Invariant: only a pattern of a column fails on a row, as in Spark; that row goes to quarantine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::regex::Regex;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue, exec_err};

use crate::functions::arrays::text_array;
use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{Args, VALUE_BYTES_MAX, call, flags, try_texts, values};
use crate::functions::java_regex::Pattern;
use crate::functions::kinds::{TEXT, list_of};
use crate::functions::table::{Calling, Function, function};

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

/// Patterns of a column that are kept compiled.
const KEPT_MAX: usize = 64;

/// The pattern of a call: one for all rows, or one for each, compiled once for as long as it is met.
enum Patterns {
    One(Arc<Pattern>),
    /// Also where the call is null, as its pattern is.
    Each(Mutex<HashMap<String, Result<Arc<Pattern>, String>>>),
}

impl Patterns {
    /// The pattern of a row; `None` where it is null.
    fn of(&self, args: &Args<'_>, row: usize) -> Result<Option<Arc<Pattern>>, DataFusionError> {
        let kept = match self {
            Self::One(pattern) => return Ok(Some(Arc::clone(pattern))),
            Self::Each(kept) => kept,
        };
        let Some(java) = args.text(1, row) else { return Ok(None) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(java) {
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            kept.insert(java.to_owned(), Pattern::new(java).map(Arc::new).map_err(|refusal| refusal.message));
        }
        match kept.get(java) {
            Some(Ok(pattern)) => Ok(Some(Arc::clone(pattern))),
            Some(Err(why)) => exec_err!("the pattern of this row: {why}"),
            None => Ok(None),
        }
    }
}

/// The pattern of a call.
fn pattern(c: &Calling) -> Result<Patterns, Refusal> {
    match c.arg(1)?.literal() {
        Some(ScalarValue::Utf8View(Some(java))) => Ok(Patterns::One(Arc::new(Pattern::new(java)?))),
        _ => Ok(Patterns::Each(Mutex::default())),
    }
}

/// A call over a text and its pattern; null where one of them is.
fn with_pattern<F>(c: &Calling, kind: DataType, wants: &[DataType], make: F) -> Bound
where
    F: Fn(&Args<'_>, usize, &Pattern, &str) -> Result<ScalarValue, DataFusionError> + Send + Sync + 'static,
{
    let patterns = pattern(c)?;
    c.make(
        kind,
        wants,
        values(move |args, row| {
            // A pattern that is none is not looked at where something else is null.
            let text = args.text(0, row).filter(|_| !any_null(args, row));
            let Some(text) = text else { return Ok(ScalarValue::Null) };
            let Some(pattern) = patterns.of(args, row)? else { return Ok(ScalarValue::Null) };
            make(args, row, &pattern, text)
        }),
    )
}

/// The same of a call that gives text.
fn text_with_pattern<F>(c: &Calling, wants: &[DataType], make: F) -> Bound
where
    F: Fn(&Args<'_>, usize, &Pattern, &str) -> Result<Option<String>, DataFusionError> + Send + Sync + 'static,
{
    let patterns = pattern(c)?;
    c.make(
        TEXT,
        wants,
        try_texts(move |args, row| {
            let Some(text) = args.text(0, row).filter(|_| !any_null(args, row)) else { return Ok(None) };
            let Some(pattern) = patterns.of(args, row)? else { return Ok(None) };
            make(args, row, &pattern, text)
        }),
    )
}

fn any_null(args: &Args<'_>, row: usize) -> bool {
    (0..args.args.len()).any(|index| args.null(index, row))
}

/// The match that most models make, without a detour over values.
fn matches(c: Calling) -> Bound {
    let kind = DataType::Boolean;
    match pattern(&c)? {
        Patterns::One(pattern) => {
            c.make(kind, &[TEXT, TEXT], flags(move |args, row| Some(pattern.is_match(args.text(0, row)?))))
        }
        Patterns::Each(_) => with_pattern(&c, kind, &[TEXT, TEXT], |_, _, pattern, text| {
            Ok(ScalarValue::Boolean(Some(pattern.is_match(text))))
        }),
    }
}

fn counted(c: Calling) -> Bound {
    with_pattern(&c, I, &[TEXT, TEXT], |_, _, pattern, text| {
        let mut count = 0;
        pattern.find_all(text, |_| {
            count += 1;
            true
        });
        Ok(ScalarValue::Int32(Some(count)))
    })
}

/// Whether a constant group is one of a constant pattern, which is said when the model is checked.
fn check_group(c: &Calling) -> Result<(), Refusal> {
    let Patterns::One(pattern) = pattern(c)? else { return Ok(()) };
    let Some(ScalarValue::Int32(Some(group))) = c.arg(2)?.literal().cloned() else { return Ok(()) };
    let known = usize::try_from(group).is_ok_and(|g| g <= pattern.groups());
    known.then_some(()).ok_or_else(|| {
        Refusal::new(
            format!("{} asks for a group that its pattern does not have", c.name),
            "count the parentheses of the pattern; 0 is the whole match",
        )
    })
}

/// The group of a row; `None` where it is null.
fn group(args: &Args<'_>, row: usize, pattern: &Pattern) -> Result<Option<usize>, DataFusionError> {
    let Some(group) = args.int(2, row) else { return Ok(None) };
    match usize::try_from(group) {
        Ok(group) if group <= pattern.groups() => Ok(Some(group)),
        _ => exec_err!("the group of this row is none of its pattern"),
    }
}

fn extract(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(1)));
    check_group(&c)?;
    text_with_pattern(&c, &[TEXT, TEXT, I], |args, row, pattern, text| {
        let Some(group) = group(args, row, pattern)? else { return Ok(None) };
        let found = pattern.find_at(text, 0);
        Ok(Some(found.and_then(|f| f.group(text, group).map(str::to_owned)).unwrap_or_default()))
    })
}

fn extract_all(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(1)));
    check_group(&c)?;
    with_pattern(&c, list_of(TEXT), &[TEXT, TEXT, I], |args, row, pattern, text| {
        let Some(group) = group(args, row, pattern)? else { return Ok(ScalarValue::Null) };
        let mut made = Vec::new();
        pattern.find_all(text, |found| {
            made.push(Some(found.group(text, group).unwrap_or_default().to_owned()));
            true
        });
        Ok(text_array(&made))
    })
}

fn instr(c: Calling) -> Bound {
    with_pattern(&c, I, &[TEXT, TEXT, I], |args, row, pattern, text| {
        if args.args.len() > 2 && args.null(2, row) {
            return Ok(ScalarValue::Null);
        }
        let before = pattern.find_at(text, 0).and_then(|found| text.get(..found.start));
        let place = before.map_or(0, |before| before.chars().count() + 1);
        Ok(ScalarValue::Int32(i32::try_from(place).ok()))
    })
}

fn substr(c: Calling) -> Bound {
    text_with_pattern(&c, &[TEXT, TEXT], |_, _, pattern, text| {
        let found = pattern.find_at(text, 0);
        let part = found.and_then(|found| found.group(text, 0).filter(|part| !part.is_empty()));
        Ok(part.map(str::to_owned))
    })
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
    let with = match c.arg(2)?.literal() {
        Some(ScalarValue::Utf8View(text)) => text.clone(),
        _ => None,
    };
    // What is constant is checked with the model.
    let constant = match (&with, pattern(&c)?) {
        (Some(with), Patterns::One(pattern)) => Some(replacement(with, &pattern)?),
        _ => None,
    };
    if matches!(c.arg(3)?.literal(), Some(ScalarValue::Int32(Some(from))) if *from < 1) {
        return Err(Refusal::new("the position of regexp_replace begins at 1", "leave it out"));
    }
    text_with_pattern(&c, &[TEXT, TEXT, TEXT, I], move |args, row, pattern, text| {
        let (Some(with), Some(from)) = (args.text(2, row), args.int(3, row)) else { return Ok(None) };
        let Some(skipped) = usize::try_from(from).ok().and_then(|from| from.checked_sub(1)) else {
            return exec_err!("the position of this row is below 1");
        };
        match &constant {
            Some(parts) => Ok(Some(replaced(pattern, text, parts, skipped))),
            None => match replacement(with, pattern) {
                Ok(parts) => Ok(Some(replaced(pattern, text, &parts, skipped))),
                Err(refusal) => exec_err!("the replacement of this row: {}", refusal.message),
            },
        }
    })
}

fn replaced(pattern: &Pattern, text: &str, parts: &[Part], skipped: usize) -> String {
    let Some((head, tail)) = place(text, skipped).and_then(|start| text.split_at_checked(start)) else {
        return text.to_owned();
    };
    let mut made = head.to_owned();
    let mut last = 0;
    pattern.find_all(tail, |found| {
        made.push_str(tail.get(last..found.start).unwrap_or_default());
        for part in parts {
            match part {
                Part::Text(plain) => made.push_str(plain),
                Part::Group(group) => made.push_str(found.group(tail, *group).unwrap_or_default()),
            }
        }
        last = found.end;
        made.len() <= VALUE_BYTES_MAX
    });
    made.push_str(tail.get(last..).unwrap_or_default());
    made
}

/// Where a character stands; `None` past the end.
fn place(text: &str, characters: usize) -> Option<usize> {
    if characters == 0 { Some(0) } else { text.char_indices().nth(characters).map(|(at, _)| at) }
}

/// Splits at matches; empty pieces at the end stay, an empty match before the first character does not count.
fn split(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(-1)));
    with_pattern(&c, list_of(TEXT), &[TEXT, TEXT, I], |args, row, pattern, text| {
        let Some(limit) = args.int(2, row) else { return Ok(ScalarValue::Null) };
        let by_character = args.text(1, row).is_some_and(str::is_empty);
        Ok(text_array(&pieces(pattern, text, limit, by_character)))
    })
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
    let made = like_regex(pattern, escape, ignore_case)?;
    let regex = compiled(&made)?;
    let text = value.to(&TEXT)?;
    let kernel = flags(move |args, row| args.text(0, row).map(|t| regex.is_match(t)));
    let args = vec![text, crate::functions::literals::text_value(&made).expr];
    Ok(Typed::flag(call("like", DataType::Boolean, args, kernel)))
}

/// LIKE with a pattern of each row.
pub(crate) fn like_column(value: Typed, pattern: Typed, escape: char, ignore_case: bool) -> Bound {
    let kept: Mutex<HashMap<String, Result<Regex, String>>> = Mutex::default();
    let made = values(move |args, row| {
        let (Some(text), Some(pattern)) = (args.text(0, row), args.text(1, row)) else { return Ok(ScalarValue::Null) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(pattern) {
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            let regex = like_regex(pattern, escape, ignore_case).and_then(|regex| compiled(&regex));
            kept.insert(pattern.to_owned(), regex.map_err(|refusal| refusal.message));
        }
        match kept.get(pattern) {
            Some(Ok(regex)) => Ok(ScalarValue::Boolean(Some(regex.is_match(text)))),
            Some(Err(why)) => exec_err!("the pattern of this row: {why}"),
            None => Ok(ScalarValue::Null),
        }
    });
    let name = format!("like {escape} {ignore_case}");
    let args = vec![value.to(&TEXT)?, pattern.to(&TEXT)?];
    Ok(Typed::flag(call(&name, DataType::Boolean, args, made)))
}

fn compiled(regex: &str) -> Result<Regex, Refusal> {
    Regex::new(regex).map_err(|_| Refusal::new("the pattern of LIKE is too long", "write a shorter one"))
}

/// A pattern of LIKE as a regular expression.
fn like_regex(pattern: &str, escape: char, ignore_case: bool) -> Result<String, Refusal> {
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
    Ok(made)
}
