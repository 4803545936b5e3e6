//! Numbers as text: sizes that people read, and Java's format strings.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::call::{Argument, BATCH_BYTES_MAX, Call, Definition, Returns, too_large};
use super::cast;
use super::time::refuse;

use Argument::{Any, Integer, Text};

/// The functions that write numbers.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("human_readable_binary_byte_format", &[Integer, Integer], Returns::Text, |call| {
        human(call, Sizes::Binary)
    })
    .needs(1),
    Definition::new("human_readable_decimal_byte_format", &[Integer, Integer], Returns::Text, |call| {
        human(call, Sizes::DecimalBytes)
    })
    .needs(1),
    Definition::new("human_readable_decimal_format", &[Integer, Integer], Returns::Text, |call| {
        human(call, Sizes::Decimal)
    })
    .needs(1),
    Definition::new("string_format", &[Text, Any], Returns::Text, string_format).needs(1).repeats().grows(),
];

#[derive(Debug, Clone, Copy)]
enum Sizes {
    Binary,
    DecimalBytes,
    Decimal,
}

const PLACES_MAX: i64 = 3;

fn human(call: &Call<'_>, sizes: Sizes) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let Some(value) = call.integer_at(0, row) else { return Ok(None) };
        let places = if call.count() > 1 { call.integer_at(1, row) } else { Some(2) };
        let Some(places) = places else { return Ok(None) };
        match usize::try_from(places) {
            Ok(places) if places <= 3 => Ok(Some(size(value, places, sizes))),
            _ if call.is_constant(1) => {
                Err(refuse(format!("the precision of a size must be in the range of [0,{PLACES_MAX}]")))
            }
            _ => Ok(None),
        }
    })
}

fn size(value: i64, places: usize, sizes: Sizes) -> String {
    let (step, unit) = match sizes {
        Sizes::Binary => (1024.0, "B"),
        Sizes::DecimalBytes => (1000.0, "B"),
        Sizes::Decimal => (1000.0, ""),
    };
    let mut rest = value as f64;
    let mut prefix = None;
    for letter in "KMGTPE".chars() {
        if rest.abs() < step {
            break;
        }
        rest /= step;
        prefix = Some(letter);
    }
    let Some(letter) = prefix else { return format!("{value} {unit}").trim_end().to_owned() };
    let number = fixed(rest, places);
    match sizes {
        Sizes::Binary => format!("{number} {letter}iB"),
        Sizes::DecimalBytes => format!("{number} {letter}B"),
        Sizes::Decimal => format!("{number} {letter}"),
    }
}

/// So many places, half away from zero by the decimal digits that the number shows, as Java's formatter does.
fn fixed(value: f64, places: usize) -> String {
    let rounded = super::math::round_double(value, i32::try_from(places).unwrap_or(0));
    format!("{rounded:.places$}")
}

/// STRING_FORMAT: where the values do not fit the pattern, the pattern and the values are written side by side.
fn string_format(call: &Call<'_>) -> Result<ArrayRef> {
    let mut values = vec![];
    for array in call.all().iter().skip(1) {
        values.push((array.data_type().clone(), cast::texts(array, call.zone)?));
    }
    call.try_texts(|row| {
        let Some(pattern) = call.text_at(0, row) else { return Ok(None) };
        let cells: Vec<Cell<'_>> = values.iter().map(|(kind, texts)| Cell::new(kind, texts, row)).collect();
        let written = match written(pattern, &cells)? {
            Some(written) => written,
            None => std::iter::once(pattern.to_owned())
                .chain(cells.iter().map(|cell| cell.text.unwrap_or("null").to_owned()))
                .collect::<Vec<_>>()
                .join("; "),
        };
        Ok(Some(written))
    })
}

/// One value of a format.
#[derive(Debug)]
struct Cell<'a> {
    text: Option<&'a str>,
    whole: bool,
    double: bool,
}

impl<'a> Cell<'a> {
    fn new(kind: &DataType, texts: &'a StringArray, row: usize) -> Self {
        let text = texts.is_valid(row).then(|| texts.value(row));
        Self { text, whole: kind.is_integer() || kind == &DataType::Boolean, double: kind.is_floating() }
    }
}

/// One `%…` of a pattern.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    left: bool,
    zeros: bool,
    plus: bool,
    commas: bool,
    width: usize,
    places: Option<usize>,
}

/// The text, or nothing where the pattern is not one or asks for other values.
fn written(pattern: &str, cells: &[Cell<'_>]) -> Result<Option<String>> {
    let mut out = String::new();
    let mut cells = cells.iter();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let Some((spec, conversion)) = spec(&mut letters) else { return Ok(None) };
        if spec.width > BATCH_BYTES_MAX || spec.places.is_some_and(|places| places > 10_000) {
            return Err(too_large());
        }
        let (text, spaces) = match conversion {
            'n' => ("\n".to_owned(), true),
            '%' => ("%".to_owned(), true),
            _ => match cells.next().and_then(|cell| field(cell, conversion, &spec)) {
                Some(text) => text,
                None => return Ok(None),
            },
        };
        padded(&text, &Spec { zeros: spec.zeros && !spaces, ..spec }, &mut out);
        if out.len() > BATCH_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(Some(out))
}

fn spec(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(Spec, char)> {
    let mut spec = Spec::default();
    loop {
        match letters.peek()? {
            '-' => spec.left = true,
            '0' => spec.zeros = true,
            '+' => spec.plus = true,
            ',' => spec.commas = true,
            _ => break,
        }
        letters.next();
    }
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        spec.width = spec.width.saturating_mul(10).saturating_add(usize::try_from(digit).ok()?);
        letters.next();
    }
    if letters.next_if_eq(&'.').is_some() {
        let mut places = 0_usize;
        while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
            places = places.saturating_mul(10).saturating_add(usize::try_from(digit).ok()?);
            letters.next();
        }
        spec.places = Some(places);
    }
    letters.next().map(|conversion| (spec, conversion))
}

/// One value as its conversion writes it, and whether only spaces may fill it up; nothing where it is of another type, or
/// the conversion is not known.
fn field(cell: &Cell<'_>, conversion: char, spec: &Spec) -> Option<(String, bool)> {
    let cut = |text: &str| match spec.places {
        // Java counts UTF-16 units.
        Some(places) => text
            .chars()
            .scan(0, |units, letter| {
                *units += letter.len_utf16();
                (*units <= places).then_some(letter)
            })
            .collect(),
        None => text.to_owned(),
    };
    let Some(text) = cell.text else {
        let null = if conversion.is_uppercase() { "NULL" } else { "null" };
        return "sSdxXobfeEgG".contains(conversion).then(|| (cut(null), true));
    };
    if cell.double && "feEgG".contains(conversion) {
        let number: f64 = text.parse().ok()?;
        if !number.is_finite() {
            let text = if number.is_nan() { text.to_owned() } else { signed(text, spec) };
            return Some((if conversion.is_uppercase() { text.to_uppercase() } else { text }, true));
        }
        let written = match conversion {
            'f' => grouped(&fixed(number, spec.places.unwrap_or(6)), spec),
            'g' | 'G' => general(number, spec.places.unwrap_or(6).max(1), spec),
            _ => scientific(number, spec.places.unwrap_or(6)),
        };
        let written = if conversion.is_uppercase() { written.to_uppercase() } else { written };
        return Some((signed(&written, spec), false));
    }
    Some(match conversion {
        's' => (cut(text), true),
        'S' => (cut(text).to_uppercase(), true),
        'd' if cell.whole => (signed(&grouped(text, spec), spec), false),
        'x' if cell.whole => (format!("{:x}", text.parse::<i64>().ok()?), false),
        'X' if cell.whole => (format!("{:X}", text.parse::<i64>().ok()?), false),
        'o' if cell.whole => (format!("{:o}", text.parse::<i64>().ok()?), false),
        'b' => (cut("true"), true),
        _ => return None,
    })
}

/// `1.500000e+00`
fn scientific(number: f64, places: usize) -> String {
    let exponent =
        |number: f64| format!("{number:e}").split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    let rounded =
        super::math::round_double(number, i32::try_from(places).unwrap_or(i32::MAX).saturating_sub(exponent(number)));
    let text = format!("{rounded:.places$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

/// So many digits, with a power of ten where the number is small or large.
fn general(number: f64, digits: usize, spec: &Spec) -> String {
    let shown = scientific(number, digits - 1);
    let power = shown.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok()).unwrap_or(0);
    let most = i32::try_from(digits).unwrap_or(i32::MAX);
    if number == 0.0 || (-4..most).contains(&power) {
        return grouped(&fixed(number, usize::try_from(most - 1 - power).unwrap_or(0)), spec);
    }
    shown
}

fn signed(text: &str, spec: &Spec) -> String {
    if spec.plus && !text.starts_with('-') { format!("+{text}") } else { text.to_owned() }
}

fn grouped(text: &str, spec: &Spec) -> String {
    if !spec.commas {
        return text.to_owned();
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, rest) =
        digits.split_once('.').map_or((digits, String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}{rest}")
}

fn padded(text: &str, spec: &Spec, out: &mut String) {
    let missing = spec.width.saturating_sub(text.encode_utf16().count());
    if spec.left {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if spec.zeros {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        out.push_str(sign);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(text);
    }
}
