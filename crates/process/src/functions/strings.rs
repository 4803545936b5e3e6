//! Functions over texts that take parts of them or look into them: positions count characters, from one.
//!
//! A part of the table of functions; those that make longer texts are in `texts`. Invariant: a position outside of a
//! text is no error.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::ScalarValue;

use crate::functions::bind::Bound;
use crate::functions::call::{Args, Kernel, binaries, flags, numbers, parts, texts, too_large};
use crate::functions::kinds::{BYTES, TEXT};
use crate::functions::math::ints;
use crate::functions::table::{Calling, Function, function};

const I: DataType = DataType::Int32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("ascii", 1, 1, |c| c.make(I, &[TEXT], ints(|args, row| args.text(0, row).map(ascii)))),
    function("bit_length", 1, 1, |c| octets(c, 8)),
    function("btrim", 1, 2, |c| trim(c, 0, true, true)),
    function("char_length", 1, 1, length),
    function("character_length", 1, 1, length),
    function("contains", 2, 2, |c| holds(c, |text, part| text.contains(part), find_bytes)),
    function("endswith", 2, 2, |c| holds(c, |text, part| text.ends_with(part), |a, b| a.ends_with(b))),
    function("find_in_set", 2, 2, |c| {
        c.make(I, &[TEXT, TEXT], ints(|args, row| Some(find_in_set(args.text(0, row)?, args.text(1, row)?))))
    }),
    function("instr", 2, 2, |c| {
        c.make(I, &[TEXT, TEXT], ints(|args, row| Some(position(args.text(1, row)?, args.text(0, row)?, 1))))
    }),
    function("left", 2, 2, |c| piece(c, |text, n, _| first(text, n))),
    function("len", 1, 1, length),
    function("length", 1, 1, length),
    function("levenshtein", 2, 3, levenshtein),
    function("locate", 2, 3, locate),
    function("ltrim", 1, 2, |c| if c.args.len() == 2 { trim_of(c, true, false) } else { trim(c, 0, true, false) }),
    function("luhn_check", 1, 1, |c| {
        c.make(DataType::Boolean, &[TEXT], flags(|args, row| args.text(0, row).map(luhn)))
    }),
    function("octet_length", 1, 1, |c| octets(c, 1)),
    function("position", 2, 3, locate),
    function("right", 2, 2, |c| piece(c, |text, n, _| last(text, n))),
    function("rtrim", 1, 2, |c| if c.args.len() == 2 { trim_of(c, false, true) } else { trim(c, 0, false, true) }),
    function("soundex", 1, 1, |c| c.make(TEXT, &[TEXT], texts(|args, row| args.text(0, row).map(soundex)))),
    function("split_part", 3, 3, |c| {
        c.make(
            TEXT,
            &[TEXT, TEXT, I],
            parts(|args, row| split_part(args.text(0, row)?, args.text(1, row)?, args.int(2, row)?)),
        )
    }),
    function("startswith", 2, 2, |c| holds(c, |text, part| text.starts_with(part), |a, b| a.starts_with(b))),
    function("substr", 2, 3, substring),
    function("substring", 2, 3, substring),
    function("substring_index", 3, 3, |c| {
        c.make(
            TEXT,
            &[TEXT, TEXT, I],
            parts(|args, row| Some(substring_index(args.text(0, row)?, args.text(1, row)?, args.int(2, row)?))),
        )
    }),
    function("trim", 1, 2, |c| trim(c, 0, true, true)),
];

fn ascii(text: &str) -> i32 {
    text.chars().next().map_or(0, |c| i32::try_from(u32::from(c)).unwrap_or(0))
}

pub(crate) fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn length(c: Calling) -> Bound {
    if c.kind(0) == BYTES {
        return octets(c, 1);
    }
    c.make(I, &[TEXT], ints(|args, row| i32::try_from(count(args.text(0, row)?)).ok()))
}

fn octets(c: Calling, times: i32) -> Bound {
    c.make(
        I,
        &[BYTES],
        numbers::<Int32Type, _>(move |args, row| i32::try_from(args.bytes(0, row)?.len()).ok()?.checked_mul(times)),
    )
}

fn holds(c: Calling, texts: fn(&str, &str) -> bool, bytes: fn(&[u8], &[u8]) -> bool) -> Bound {
    if c.kind(0) == BYTES && c.kind(1) == BYTES {
        return c.make(
            DataType::Boolean,
            &[BYTES, BYTES],
            flags(move |args, row| Some(bytes(args.bytes(0, row)?, args.bytes(1, row)?))),
        );
    }
    c.make(
        DataType::Boolean,
        &[TEXT, TEXT],
        flags(move |args, row| Some(texts(args.text(0, row)?, args.text(1, row)?))),
    )
}

fn find_bytes(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

fn find_in_set(word: &str, set: &str) -> i32 {
    if word.contains(',') {
        return 0;
    }
    set.split(',').position(|w| w == word).and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
}

/// Where a part begins, in characters from one, looked for from a position; nought where it is not.
pub(crate) fn position(part: &str, text: &str, from: i32) -> i32 {
    if from < 1 {
        return 0;
    }
    if part.is_empty() {
        return 1;
    }
    let skipped = usize::try_from(from - 1).unwrap_or(0);
    let Some(rest) = after(text, skipped) else { return 0 };
    let Some(at) = rest.find(part) else { return 0 };
    let before = rest.get(..at).map_or(0, |t| t.chars().count());
    i32::try_from(skipped + before + 1).unwrap_or(0)
}

/// The text after so many characters; `None` when it has fewer.
fn after(text: &str, characters: usize) -> Option<&str> {
    if characters == 0 {
        return Some(text);
    }
    match text.char_indices().nth(characters) {
        Some((at, _)) => text.get(at..),
        None => (text.chars().count() == characters).then_some(""),
    }
}

fn locate(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(1)));
    c.make(
        I,
        &[TEXT, TEXT, I],
        ints(|args, row| {
            // Without a start Spark finds nothing, rather than null.
            let Some(from) = args.int(2, row) else { return Some(0) };
            Some(position(args.text(0, row)?, args.text(1, row)?, from))
        }),
    )
}

pub(crate) fn first(text: &str, characters: i32) -> &str {
    slice(text, 0, i64::from(characters).max(0))
}

fn last(text: &str, characters: i32) -> &str {
    let length = count(text);
    slice(text, length - i64::from(characters).max(0), length)
}

/// Characters from..to, counted from nought and cut to the text.
pub(crate) fn slice(text: &str, from: i64, to: i64) -> &str {
    if to <= from || to <= 0 {
        return "";
    }
    let bound = |n: i64| usize::try_from(n.max(0)).unwrap_or(usize::MAX);
    let at = |n: usize| {
        if text.is_ascii() { n.min(text.len()) } else { text.char_indices().nth(n).map_or(text.len(), |(at, _)| at) }
    };
    text.get(at(bound(from))..at(bound(to))).unwrap_or_default()
}

/// Spark's substring: from one, or from the end when negative; nought is the beginning.
pub(crate) fn substring_of(text: &str, position: i32, length: i32) -> &str {
    let (from, to) = span(|| count(text), position, length);
    slice(text, from, to)
}

fn span(count: impl Fn() -> i64, position: i32, length: i32) -> (i64, i64) {
    let from = match position {
        p if p > 0 => i64::from(p) - 1,
        0 => 0,
        p => count() + i64::from(p),
    };
    (from, from + i64::from(length))
}

/// The same of bytes, where Spark counts in 32 bits and what is left beyond them wraps.
fn span_of_bytes(count: i64, position: i32, length: i32) -> (i64, i64) {
    let (from, _) = span(|| count, position, 0);
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond 32 bits is to go")]
    let wrapped = |number: i64| number as i32;
    let to = if wrapped(count - from) < length { count } else { i64::from(wrapped(from + i64::from(length))) };
    (from, to)
}

fn piece(c: Calling, make: fn(&str, i32, i32) -> &str) -> Bound {
    if c.kind(0) == BYTES {
        return Err(c.wrong(0, "STRING; use substring for BINARY"));
    }
    c.make(TEXT, &[TEXT, I], parts(move |args, row| Some(make(args.text(0, row)?, args.int(1, row)?, 0))))
}

fn substring(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(i32::MAX)));
    if c.kind(0) == BYTES {
        return c.make(
            BYTES,
            &[BYTES, I, I],
            binaries(|args, row| {
                let bytes = args.bytes(0, row)?;
                let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                let (from, to) = span_of_bytes(length, args.int(1, row)?, args.int(2, row)?);
                let bound = |n: i64| usize::try_from(n.clamp(0, length)).unwrap_or(0);
                Some(bytes.get(bound(from)..bound(to).max(bound(from))).unwrap_or_default().to_vec())
            }),
        );
    }
    c.make(
        TEXT,
        &[TEXT, I, I],
        parts(|args, row| Some(substring_of(args.text(0, row)?, args.int(1, row)?, args.int(2, row)?))),
    )
}

/// Trims spaces, or the characters of the second argument.
pub(crate) fn trim(c: Calling, text: usize, start: bool, end: bool) -> Bound {
    let chars = 1 - text;
    let c = c.labelled(match (text, start, end) {
        (0, true, true) => "both",
        (0, true, false) => "start",
        (0, ..) => "end",
        (_, true, _) => "start of second",
        _ => "end of second",
    });
    let c = c.or(1, ScalarValue::Utf8View(Some(" ".to_owned())));
    c.make(
        TEXT,
        &[TEXT, TEXT],
        parts(move |args, row| {
            let set = args.text(chars, row)?;
            let mut value = args.text(text, row)?;
            if start {
                value = value.trim_start_matches(|c| set.contains(c));
            }
            if end {
                value = value.trim_end_matches(|c| set.contains(c));
            }
            Some(value)
        }),
    )
}

/// `ltrim(characters, text)`: here the characters stand first.
fn trim_of(c: Calling, start: bool, end: bool) -> Bound {
    trim(c, 1, start, end)
}

fn levenshtein(c: Calling) -> Bound {
    let c = c.or(2, ScalarValue::Int32(Some(i32::MAX)));
    let made: Kernel = Arc::new(|args: &Args<'_>| {
        let mut made = Int32Builder::with_capacity(args.rows);
        for row in 0..args.rows {
            let found = match (args.text(0, row), args.text(1, row), args.int(2, row)) {
                (Some(a), Some(b), Some(most)) => {
                    let distance = edit_distance(a, b).ok_or_else(too_large)?;
                    Some(if distance > most { -1 } else { distance })
                }
                _ => None,
            };
            made.append_option(found);
        }
        Ok(Arc::new(made.finish()) as ArrayRef)
    });
    c.make(I, &[TEXT, TEXT, I], made)
}

/// Of two long texts it would take minutes; then there is none.
fn edit_distance(a: &str, b: &str) -> Option<i32> {
    const CELLS_MAX: usize = 100_000_000;
    let b: Vec<char> = b.chars().collect();
    if a.chars().count().saturating_mul(b.len()) > CELLS_MAX {
        return None;
    }
    let mut row: Vec<i32> = (0..=i32::try_from(b.len()).ok()?).collect();
    for (index, left) in a.chars().enumerate() {
        let mut diagonal = i32::try_from(index).ok()?;
        let mut before = diagonal + 1;
        if let Some(head) = row.first_mut() {
            *head = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(&b) {
            let change = diagonal + i32::from(left != *right);
            diagonal = *cell;
            *cell = change.min(before + 1).min(diagonal + 1);
            before = *cell;
        }
    }
    row.last().copied()
}

fn luhn(text: &str) -> bool {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = text
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') << (place % 2);
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The first letter and the sounds of the next three; a text that begins with no letter is itself.
fn soundex(text: &str) -> String {
    const CODES: &[u8; 26] = b"01230127022455012623017202";
    let code =
        |c: char| CODES.get(usize::try_from(u32::from(c) - u32::from('A')).unwrap_or(0)).copied().unwrap_or(b'0');
    let mut letters = text.chars().map(|c| c.to_ascii_uppercase());
    let Some(head) = letters.next().filter(char::is_ascii_uppercase) else { return text.to_owned() };
    let mut made = String::from(head);
    let mut last = code(head);
    for letter in letters {
        if made.len() == 4 {
            break;
        }
        if !letter.is_ascii_uppercase() {
            last = b'0';
            continue;
        }
        match code(letter) {
            b'7' => {}
            found => {
                if found != b'0' && found != last {
                    made.push(char::from(found));
                }
                last = found;
            }
        }
    }
    format!("{made:0<4}")
}

fn split_part<'a>(text: &'a str, separator: &str, number: i32) -> Option<&'a str> {
    if number == 0 {
        return None;
    }
    let pieces: Vec<&str> = if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let index = usize::try_from(number.unsigned_abs()).ok()? - 1;
    let found = if number > 0 { pieces.get(index) } else { pieces.iter().rev().nth(index) };
    Some(found.copied().unwrap_or_default())
}

/// What stands before the n-th separator, or after the n-th from the end.
fn substring_index<'a>(text: &'a str, separator: &str, times: i32) -> &'a str {
    if separator.is_empty() || times == 0 {
        return "";
    }
    let nth = usize::try_from(times.unsigned_abs()).unwrap_or(usize::MAX) - 1;
    if times > 0 {
        return overlapping(text, separator).nth(nth).and_then(|at| text.get(..at)).unwrap_or(text);
    }
    let places: Vec<usize> = overlapping(text, separator).collect();
    let found = places.iter().rev().nth(nth);
    found.and_then(|at| text.get(at + separator.len()..)).unwrap_or(text)
}

/// Where a separator begins, one character after the other: two may overlap.
fn overlapping<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.char_indices().map(|(at, _)| at).filter(move |at| text.get(*at..).is_some_and(|t| t.starts_with(separator)))
}
