//! Functions that make texts: joined, padded, repeated, in other letters, formatted.
//!
//! A part of the table of functions. Those that can make much of little are asked before they run, by the engine's
//! limits. Invariant: what is made is what the arguments say.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use crate::functions::arrays;
use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{Args, VALUE_BYTES_MAX, binaries, call, texts};
use crate::functions::kinds::{BYTES, TEXT, digits, element_of, is_decimal, is_text};
use crate::functions::show;
use crate::functions::strings::{count, first, slice};
use crate::functions::table::{Calling, Function, MANY, function};

const I: DataType = DataType::Int32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("char", 1, 1, character),
    function("chr", 1, 1, character),
    function("concat", 0, MANY, concat),
    function("concat_ws", 1, MANY, concat_ws),
    function("elt", 2, MANY, elt),
    function("format_number", 2, 2, format_number),
    function("initcap", 1, 1, |c| mapped(c, initcap)),
    function("lcase", 1, 1, |c| mapped(c, str::to_lowercase)),
    function("lower", 1, 1, |c| mapped(c, str::to_lowercase)),
    function("lpad", 2, 3, |c| padded(c, true)),
    function("mask", 1, 5, mask),
    function("overlay", 3, 4, overlay),
    function("quote", 1, 1, |c| mapped(c, |t| format!("'{}'", t.replace('\\', "\\\\").replace('\'', "\\'")))),
    function("repeat", 2, 2, |c| {
        c.make(TEXT, &[TEXT, I], texts(|args, row| repeated(args.text(0, row)?, args.int(1, row)?)))
    }),
    function("replace", 2, 3, |c| {
        let c = c.or(2, ScalarValue::Utf8View(Some(String::new())));
        c.make(
            TEXT,
            &[TEXT, TEXT, TEXT],
            texts(|args, row| replaced(args.text(0, row)?, args.text(1, row)?, args.text(2, row)?)),
        )
    }),
    function("reverse", 1, 1, reverse),
    function("rpad", 2, 3, |c| padded(c, false)),
    function("space", 1, 1, |c| c.make(TEXT, &[I], texts(|args, row| repeated(" ", args.int(0, row)?)))),
    function("translate", 3, 3, |c| {
        c.make(
            TEXT,
            &[TEXT, TEXT, TEXT],
            texts(|args, row| Some(translated(args.text(0, row)?, args.text(1, row)?, args.text(2, row)?))),
        )
    }),
    function("ucase", 1, 1, |c| mapped(c, str::to_uppercase)),
    function("upper", 1, 1, |c| mapped(c, str::to_uppercase)),
];

fn mapped(c: Calling, make: fn(&str) -> String) -> Bound {
    c.make(TEXT, &[TEXT], texts(move |args, row| args.text(0, row).map(make)))
}

fn character(c: Calling) -> Bound {
    c.make(
        TEXT,
        &[DataType::Int64],
        texts(|args, row| {
            let code = args.long(0, row)?;
            if code < 0 {
                return Some(String::new());
            }
            Some(char::from(u8::try_from(code & 255).unwrap_or(0)).to_string())
        }),
    )
}

/// Words begin after a space; everything else is a letter of the word.
fn initcap(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            made.push(' ');
        }
        // A capital with a dot would be a small i and its dot apart, and no longer itself as a capital.
        if let Some(rest) = word.strip_prefix('İ') {
            made.push('İ');
            made.push_str(&rest.to_lowercase());
            continue;
        }
        let lower = word.to_lowercase();
        let mut letters = lower.chars();
        if let Some(first) = letters.next() {
            title(first, &mut made);
        }
        made.push_str(letters.as_str());
    }
    made
}

/// A letter as it begins a word: of the few that are two in one only the first becomes a capital.
fn title(letter: char, made: &mut String) {
    let two = [('ǆ', 'ǅ'), ('ǉ', 'ǈ'), ('ǌ', 'ǋ'), ('ǳ', 'ǲ')];
    if let Some((_, title)) = two.iter().find(|(small, _)| *small == letter) {
        made.push(*title);
        return;
    }
    let mut upper = letter.to_uppercase();
    made.extend(upper.next());
    made.extend(upper.flat_map(char::to_lowercase));
}

fn repeated(text: &str, times: i32) -> Option<String> {
    let times = usize::try_from(times).unwrap_or(0);
    (text.len().saturating_mul(times) <= VALUE_BYTES_MAX).then(|| text.repeat(times))
}

fn replaced(text: &str, search: &str, by: &str) -> Option<String> {
    if search.is_empty() {
        return Some(text.to_owned());
    }
    let found = text.matches(search).count();
    let length = text.len().saturating_add(found.saturating_mul(by.len()));
    (length <= VALUE_BYTES_MAX.saturating_add(found.saturating_mul(search.len()))).then(|| text.replace(search, by))
}

/// Each character of the second text becomes that of the third, or nothing where it has none.
fn translated(text: &str, from: &str, to: &str) -> String {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    text.chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).copied().filter(|c| *c != '\0'),
            None => Some(c),
        })
        .collect()
}

fn reverse(c: Calling) -> Bound {
    if element_of(&c.kind(0)).is_some() {
        return arrays::reverse(c);
    }
    if c.kind(0) == BYTES {
        return Err(c.wrong(0, "STRING or ARRAY"));
    }
    mapped(c, |text| text.chars().rev().collect())
}

fn padded(c: Calling, left: bool) -> Bound {
    if c.kind(0) == BYTES {
        return Err(c.wrong(0, "STRING; write CAST(x AS STRING)"));
    }
    let c = c.or(2, ScalarValue::Utf8View(Some(" ".to_owned())));
    c.make(
        TEXT,
        &[TEXT, I, TEXT],
        texts(move |args, row| {
            let (text, length, pad) = (args.text(0, row)?, args.int(1, row)?, args.text(2, row)?);
            let missing = i64::from(length) - count(text);
            if missing <= 0 || pad.is_empty() {
                return Some(first(text, length).to_owned());
            }
            let missing = usize::try_from(missing).ok()?;
            // A character takes a byte at least: what cannot fit is not begun.
            if text.len().saturating_add(missing) > VALUE_BYTES_MAX {
                return None;
            }
            let filling: String = pad.chars().cycle().take(missing).collect();
            Some(if left { filling + text } else { text.to_owned() + &filling })
        }),
    )
}

fn overlay(c: Calling) -> Bound {
    let c = c.or(3, ScalarValue::Int32(Some(-1)));
    if c.kind(0) == BYTES {
        return Err(c.wrong(0, "STRING; write CAST(x AS STRING)"));
    }
    c.make(
        TEXT,
        &[TEXT, TEXT, I, I],
        texts(|args, row| {
            let (text, new, position) = (args.text(0, row)?, args.text(1, row)?, args.int(2, row)?);
            let length = args.int(3, row)?;
            let length = if length >= 0 { length } else { i32::try_from(count(new)).ok()? };
            let head = crate::functions::strings::substring_of(text, 1, position.wrapping_sub(1));
            let start = match i64::from(position.wrapping_add(length)) {
                n if n > 0 => n - 1,
                0 => 0,
                n => count(text) + n,
            };
            Some(format!("{head}{new}{}", slice(text, start, i64::MAX)))
        }),
    )
}

fn concat(c: Calling) -> Bound {
    if c.args.is_empty() {
        return Ok(crate::functions::literals::text_value(""));
    }
    if c.args.iter().any(|a| element_of(&a.kind).is_some()) {
        return arrays::concat(c);
    }
    if c.args.iter().all(|a| a.kind == BYTES) {
        let wants = vec![BYTES; c.args.len()];
        return c.make(
            BYTES,
            &wants,
            binaries(|args, row| {
                let pieces: Option<Vec<&[u8]>> = (0..args.args.len()).map(|i| args.bytes(i, row)).collect();
                Some(pieces?.concat())
            }),
        );
    }
    let wants = vec![TEXT; c.args.len()];
    c.make(
        TEXT,
        &wants,
        texts(|args, row| {
            let mut made = String::new();
            for index in 0..args.args.len() {
                made.push_str(args.text(index, row)?);
                if made.len() > VALUE_BYTES_MAX {
                    break;
                }
            }
            Some(made)
        }),
    )
}

/// Joins what is not null; an array gives its elements.
fn concat_ws(c: Calling) -> Bound {
    let wants: Vec<DataType> = c
        .args
        .iter()
        .map(|a| if element_of(&a.kind).is_some() { crate::functions::kinds::list_of(TEXT) } else { TEXT })
        .collect();
    c.make(
        TEXT,
        &wants,
        texts(|args, row| {
            let separator = args.text(0, row)?;
            let mut pieces: Vec<String> = Vec::new();
            for index in 1..args.args.len() {
                if let Some(text) = args.text(index, row) {
                    pieces.push(text.to_owned());
                } else {
                    pieces.extend(list_texts(args, index, row).into_iter().flatten().flatten());
                }
            }
            Some(pieces.join(separator))
        }),
    )
}

/// The elements of a list of texts.
pub(crate) fn list_texts(args: &Args<'_>, index: usize, row: usize) -> Option<Vec<Option<String>>> {
    let ScalarValue::List(list) = args.value(index, row).ok()? else { return None };
    if list.is_null(0) {
        return None;
    }
    let values = list.value(0);
    if let Some(texts) = values.as_string_view_opt() {
        return Some(texts.iter().map(|t| t.map(str::to_owned)).collect());
    }
    let one = |row| ScalarValue::try_from_array(&values, row).ok().filter(|v| !v.is_null());
    Some((0..values.len()).map(|row| one(row).map(|v| show::text(&v))).collect())
}

fn elt(c: Calling) -> Bound {
    let mut wants = vec![TEXT; c.args.len()];
    if let Some(first) = wants.first_mut() {
        *first = I;
    }
    c.make(
        TEXT,
        &wants,
        texts(|args, row| {
            let index = usize::try_from(args.int(0, row)?).ok().filter(|n| *n >= 1)?;
            args.text(index, row).map(str::to_owned)
        }),
    )
}

/// Letters and digits hidden; a null in the place of a letter keeps what is there.
fn mask(c: Calling) -> Bound {
    let text = |t: &str| ScalarValue::Utf8View(Some(t.to_owned()));
    let c = c.or(1, text("X")).or(2, text("x")).or(3, text("n")).or(4, ScalarValue::Utf8View(None));
    for index in 1..5 {
        if c.constant_text(index, "a replacement")?.is_some_and(|t| t.chars().count() != 1) {
            return Err(Refusal::new("a replacement of mask is one character", "write 'X'"));
        }
    }
    c.make(
        TEXT,
        &[TEXT, TEXT, TEXT, TEXT, TEXT],
        texts(|args, row| {
            let with = |index: usize| args.text(index, row).and_then(|t| t.chars().next());
            let (upper, lower, digit, other) = (with(1), with(2), with(3), with(4));
            let mut hidden = String::new();
            for c in args.text(0, row)?.chars() {
                // Beyond U+FFFF a character is two of Java's, of which neither is a letter.
                if let (Some(other), '\u{10000}'..) = (other, c) {
                    hidden.extend([other, other]);
                    continue;
                }
                let by = if c > '\u{ffff}' {
                    None
                } else if c.is_uppercase() {
                    upper
                } else if c.is_lowercase() {
                    lower
                } else if c.is_ascii_digit() {
                    digit
                } else {
                    other
                };
                hidden.push(by.unwrap_or(c));
            }
            Some(hidden)
        }),
    )
}

/// Digits in groups of three, rounded half to even at so many places.
fn format_number(c: Calling) -> Bound {
    if is_text(&c.kind(1)) {
        return Err(Refusal::new("format_number takes a number of places here", "write format_number(x, 2)"));
    }
    let arg = c.arg(0)?;
    let scale = digits(&arg.kind).map_or(0, |(_, scale)| scale);
    let value = if is_decimal(&arg.kind) { arg.expr } else { c.want(0, &DataType::Float64)? };
    let exact = matches!(arg.kind, DataType::Int64 | DataType::Int32 | DataType::Int16 | DataType::Int8);
    let value = if exact { c.arg(0)?.to(&DataType::Int64)? } else { value };
    let places = c.want(1, &I)?;
    let made = texts(move |args, row| {
        let places = args.int(1, row).filter(|p| (0..=300).contains(p))?;
        let whole = |value: i128, scale: i32| {
            let shown =
                Shown { negative: value < 0, digits: value.unsigned_abs().to_string(), scale, is: Ordering::Equal };
            Some(shown.grouped(places))
        };
        if let Some(value) = args.long(0, row) {
            return whole(i128::from(value), 0);
        }
        if let Some(value) = args.decimal(0, row) {
            return whole(value, scale);
        }
        let value = args.double(0, row)?;
        if !value.is_finite() {
            let infinite = if value > 0.0 { "∞" } else { "-∞" };
            return Some(if value.is_nan() { "NaN" } else { infinite }.to_owned());
        }
        Some(Shown::of(value)?.grouped(places))
    });
    Ok(Typed::new(call(c.name, TEXT, vec![value, places], made), TEXT))
}

/// A number by the digits that are shown of it.
struct Shown {
    negative: bool,
    digits: String,
    /// How many of them stand behind the point; noughts follow where it is negative.
    scale: i32,
    /// The number itself, compared with what its digits say.
    is: Ordering,
}

impl Shown {
    /// The shortest digits that stand for a number.
    fn of(value: f64) -> Option<Self> {
        let (digits, exponent) = digits_of(&format!("{:e}", value.abs()))?;
        let (exact, exact_exponent) = digits_of(&format!("{:.60e}", value.abs()))?;
        let is = (exact_exponent, exact.as_str()).cmp(&(exponent, &format!("{digits:0<width$}", width = exact.len())));
        let scale = i32::try_from(digits.len()).ok()? - 1 - exponent;
        Some(Self { negative: value.is_sign_negative(), digits, scale, is })
    }

    /// So many places behind the point, rounded half to even and put into groups.
    fn grouped(&self, places: i32) -> String {
        let wanted = usize::try_from(places).unwrap_or(0);
        let digits = match usize::try_from(self.scale - places) {
            Ok(dropped) => without_last(&self.digits, dropped, self.is),
            Err(_) => format!("{}{}", self.digits, "0".repeat(usize::try_from(places - self.scale).unwrap_or(0))),
        };
        let digits = digits.trim_start_matches('0');
        let padded = format!("{digits:0>width$}", width = wanted + 1);
        let (whole, fraction) = padded.split_at(padded.len() - wanted);
        let mut made = String::from(if self.negative { "-" } else { "" });
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                made.push(',');
            }
            made.push(digit);
        }
        if wanted > 0 {
            made.push('.');
            made.push_str(fraction);
        }
        made
    }
}

/// The digits of `1.25e3`, and its power of ten.
fn digits_of(scientific: &str) -> Option<(String, i32)> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    Some((mantissa.chars().filter(char::is_ascii_digit).collect(), exponent.parse().ok()?))
}

/// A whole number, by its digits, without the last of them, rounded half to even where it is just what they say.
fn without_last(digits: &str, dropped: usize, is: Ordering) -> String {
    let padded = format!("{digits:0>width$}", width = dropped + 1);
    let (kept, rest) = padded.split_at(padded.len() - dropped);
    let half = format!("5{}", "0".repeat(dropped.saturating_sub(1)));
    let odd = kept.bytes().next_back().is_some_and(|digit| digit % 2 == 1);
    let up = dropped > 0
        && match rest.cmp(&half).then(is) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => odd,
        };
    if !up {
        return kept.to_owned();
    }
    let nines = kept.bytes().rev().take_while(|digit| *digit == b'9').count();
    let (head, _) = kept.split_at(kept.len() - nines);
    let zeros = "0".repeat(nines);
    match head.as_bytes().split_last() {
        Some((last, before)) => {
            format!("{}{}{zeros}", String::from_utf8_lossy(before), char::from(last + 1))
        }
        None => format!("1{zeros}"),
    }
}
