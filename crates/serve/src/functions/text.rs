//! Text: lengths, parts, places, padding, trimming. Places and lengths count UTF-16 units, as Java's strings do.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::{BATCH_BYTES_MAX, Call, too_large};
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::time::refuse;

use Argument::{Any, Integer, Text};

/// The functions of text.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("length", &[Text], Returns::Integer, length),
    Definition::new("char_length", &[Text], Returns::Integer, length),
    Definition::new("character_length", &[Text], Returns::Integer, length),
    Definition::new("strlen", &[Text], Returns::Integer, length),
    Definition::new("upper", &[Text], Returns::Text, |call| {
        call.texts(|row| call.text_at(0, row).map(str::to_uppercase))
    })
    .grows(),
    Definition::new("lower", &[Text], Returns::Text, |call| {
        call.texts(|row| call.text_at(0, row).map(str::to_lowercase))
    })
    .grows(),
    Definition::new("reverse", &[Text], Returns::Text, |call| {
        call.texts(|row| call.text_at(0, row).map(|text| text.chars().rev().collect::<String>()))
    }),
    Definition::new("substring", &[Text, Integer, Integer], Returns::Text, substring).needs(2),
    Definition::new("substr", &[Text, Integer, Integer], Returns::Text, substring).needs(2),
    Definition::new("left", &[Text, Integer], Returns::Text, |call| ends(call, true)),
    Definition::new("right", &[Text, Integer], Returns::Text, |call| ends(call, false)),
    Definition::new("repeat", &[Text, Integer], Returns::Text, repeat).grows(),
    Definition::new("lpad", &[Text, Integer, Text], Returns::Text, |call| pad(call, true)).needs(2).grows(),
    Definition::new("rpad", &[Text, Integer, Text], Returns::Text, |call| pad(call, false)).needs(2).grows(),
    Definition::new("concat", &[Any], Returns::Text, concat).repeats().grows(),
    Definition::new("textcat", &[Text, Text], Returns::Text, concat).grows(),
    Definition::new("__concat", &[Text, Text], Returns::Text, concat).grows(),
    Definition::new("position", &[Text, Text, Integer], Returns::Integer, |call| place(call, 0, 1)).needs(2),
    Definition::new("strpos", &[Text, Text], Returns::Integer, |call| place(call, 1, 0)),
    Definition::new("contains_string", &[Text, Text], Returns::Boolean, |call| {
        call.booleans(|row| Some(call.text_at(0, row)?.contains(call.text_at(1, row)?)))
    }),
    Definition::new("icontains_string", &[Text, Text], Returns::Boolean, |call| {
        call.booleans(|row| Some(call.text_at(0, row)?.to_lowercase().contains(&call.text_at(1, row)?.to_lowercase())))
    }),
    Definition::new("replace", &[Text, Text, Text], Returns::Text, replace).grows(),
    Definition::new("btrim", &[Text, Text], Returns::Text, |call| trim(call, true, true)).needs(1),
    Definition::new("trim", &[Text, Text], Returns::Text, |call| trim(call, true, true)).needs(1),
    Definition::new("ltrim", &[Text, Text], Returns::Text, |call| trim(call, true, false)).needs(1),
    Definition::new("rtrim", &[Text, Text], Returns::Text, |call| trim(call, false, true)).needs(1),
    Definition::new("parse_long", &[Text, Integer], Returns::Integer, parse_long).needs(1),
    Definition::new("decode_base64_utf8", &[Text], Returns::Text, decode_base64),
];

/// UTF-16 units of a text.
pub fn units(text: &str) -> i64 {
    let count = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The part of a text between two places in UTF-16 units. Half of a character that has two is left out: it would be no
/// text.
fn part(text: &str, start: i64, end: i64) -> &str {
    let mut at = 0_i64;
    let (mut first, mut last) = (text.len(), text.len());
    for (index, letter) in text.char_indices() {
        let next = at + i64::try_from(letter.len_utf16()).unwrap_or(1);
        if at >= start && first == text.len() && at < end {
            first = index;
        }
        if next > end {
            last = index;
            break;
        }
        at = next;
    }
    text.get(first..last.max(first)).unwrap_or_default()
}

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    call.integers(|row| call.text_at(0, row).map(units))
}

/// SUBSTRING: a part that begins past the end is null, and one without a length goes on to the end.
fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    call.texts(|row| {
        let text = call.text_at(0, row)?;
        let start = call.integer_at(1, row)?;
        let count = if call.count() > 2 { call.integer_at(2, row)? } else { -1 };
        let index = if start > 0 { start - 1 } else { 0 };
        let length = units(text);
        if index >= length {
            return None;
        }
        let end = if count < 0 { length } else { index.saturating_add(count) };
        Some(part(text, index, end))
    })
}

fn ends(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let (Some(text), Some(count)) = (call.text_at(0, row), call.integer_at(1, row)) else { return Ok(None) };
        if count < 0 {
            return if call.is_constant(1) {
                let name = if left { "left" } else { "right" };
                Err(refuse(format!("Function[{name}] needs a positive integer as the second argument")))
            } else {
                Ok(None)
            };
        }
        let length = units(text);
        Ok(Some(if left { part(text, 0, count) } else { part(text, length.saturating_sub(count), length) }))
    })
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let (Some(text), Some(count)) = (call.text_at(0, row), call.integer_at(1, row)) else { return Ok(None) };
        // As in Druid nothing comes of no repetition, not even an empty text.
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { return Ok(None) };
        if text.len().saturating_mul(count) > BATCH_BYTES_MAX {
            return Err(too_large());
        }
        Ok(Some(text.repeat(count)))
    })
}

fn pad(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let (Some(text), Some(length)) = (call.text_at(0, row), call.integer_at(1, row)) else { return Ok(None) };
        let filling = if call.count() > 2 { call.text_at(2, row) } else { Some(" ") };
        let Some(filling) = filling else { return Ok(None) };
        let length = length.max(0);
        let missing = length - units(text);
        if missing <= 0 {
            return Ok(Some(part(text, 0, length).to_owned()));
        }
        if filling.is_empty() {
            return Ok(Some(text.to_owned()));
        }
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        if missing > BATCH_BYTES_MAX {
            return Err(too_large());
        }
        let times = missing / usize::try_from(units(filling)).unwrap_or(1).max(1) + 1;
        let long = filling.repeat(times.min(missing));
        let filled = part(&long, 0, i64::try_from(missing).unwrap_or(i64::MAX));
        Ok(Some(if left { format!("{filled}{text}") } else { format!("{text}{filled}") }))
    })
}

/// CONCAT: null where any argument is; a time is its milliseconds.
fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let mut texts = Vec::with_capacity(call.count());
    for array in call.all() {
        texts.push(if matches!(array.data_type(), DataType::Timestamp(..)) {
            cast::texts(&(std::sync::Arc::new(cast::integers(array, call.zone)?) as ArrayRef), call.zone)?
        } else {
            cast::texts(array, call.zone)?
        });
    }
    call.try_texts(|row| {
        if texts.iter().any(|text| text.is_null(row)) {
            return Ok(None);
        }
        let bytes = texts.iter().map(|text| text.value(row).len()).fold(0, usize::saturating_add);
        if bytes > BATCH_BYTES_MAX {
            return Err(too_large());
        }
        Ok(Some(texts.iter().map(|text| text.value(row)).collect::<String>()))
    })
}

/// The place of a text in another, from one; zero where it is not there.
fn place(call: &Call<'_>, wanted: usize, within: usize) -> Result<ArrayRef> {
    call.integers(|row| {
        let (wanted, text) = (call.text_at(wanted, row)?, call.text_at(within, row)?);
        let from = if call.count() > 2 { call.integer_at(2, row)? } else { 1 };
        let length = units(text);
        let skip = (from.max(1) - 1).min(length);
        let rest = part(text, skip, length);
        Some(rest.find(wanted).map_or(0, |at| skip + units(rest.get(..at).unwrap_or_default()) + 1))
    })
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let (Some(text), Some(from), Some(to)) = (call.text_at(0, row), call.text_at(1, row), call.text_at(2, row))
        else {
            return Ok(None);
        };
        let count = if from.is_empty() { text.chars().count() + 1 } else { text.len() / from.len() };
        if count.saturating_mul(to.len()) > BATCH_BYTES_MAX
            && text.matches(from).count().saturating_mul(to.len()) > BATCH_BYTES_MAX
        {
            return Err(too_large());
        }
        Ok(Some(text.replace(from, to)))
    })
}

/// Takes letters away from the ends: spaces, unless the call names others.
fn trim(call: &Call<'_>, start: bool, end: bool) -> Result<ArrayRef> {
    call.texts(|row| {
        let mut text = call.text_at(0, row)?;
        let letters = if call.count() > 1 { call.text_at(1, row)? } else { " " };
        if start {
            text = text.trim_start_matches(|letter| letters.contains(letter));
        }
        if end {
            text = text.trim_end_matches(|letter| letters.contains(letter));
        }
        Some(text)
    })
}

fn parse_long(call: &Call<'_>) -> Result<ArrayRef> {
    call.integers(|row| {
        let text = call.text_at(0, row)?;
        let radix = if call.count() > 1 { call.integer_at(1, row)? } else { 10 };
        let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix))?;
        let digits = if radix == 16 {
            text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
        } else {
            text
        };
        i64::from_str_radix(digits, radix).ok()
    })
}

fn decode_base64(call: &Call<'_>) -> Result<ArrayRef> {
    call.texts(|row| {
        let bytes = base64(call.text_at(0, row)?)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// The bytes that a text in base 64 stands for, with or without its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 2);
    let (mut word, mut bits) = (0_u32, 0_u32);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = (word << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((word >> bits) & 0xff).unwrap_or(0));
        }
    }
    (bits < 6).then_some(out)
}

/// Whether an argument's type is text.
pub fn is_text(array: &ArrayRef) -> bool {
    array.data_type().is_string() || array.as_string_opt::<i32>().is_some()
}
