//! Numbers as text: sizes that people read, and Java's format strings.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use vitalake_contract::java_format::{Template, Unwritten, Value, fixed};

use super::call::{BATCH_BYTES_MAX, Call, too_large};
use super::cast;
use super::definition::{Argument, Definition, Returns};
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

/// STRING_FORMAT: where the values do not fit the pattern, the pattern and the values are written side by side.
fn string_format(call: &Call<'_>) -> Result<ArrayRef> {
    let mut values = vec![];
    for array in call.all().iter().skip(1) {
        values.push((array.data_type().clone(), cast::texts(array, call.zone)?));
    }
    call.try_texts(|row| {
        let Some(pattern) = call.text_at(0, row) else { return Ok(None) };
        let cells: Vec<Value<'_>> = values.iter().map(|(kind, texts)| cell(kind, texts, row)).collect();
        let written = Template::new(pattern).ok_or(Unwritten::Misfit);
        match written.and_then(|template| template.write(&cells, BATCH_BYTES_MAX)) {
            Ok(written) => Ok(Some(written)),
            Err(Unwritten::TooLong) => Err(too_large()),
            Err(Unwritten::Misfit) => {
                let shown = values.iter().map(|(_, texts)| if texts.is_valid(row) { texts.value(row) } else { "null" });
                Ok(Some(std::iter::once(pattern).chain(shown).collect::<Vec<_>>().join("; ")))
            }
        }
    })
}

/// A value of a format: truths are whole numbers, as everywhere in Druid.
fn cell<'a>(kind: &DataType, texts: &'a StringArray, row: usize) -> Value<'a> {
    let text = if texts.is_valid(row) { texts.value(row) } else { return Value::Null };
    if kind.is_floating() {
        return text.parse().map_or(Value::Text(text), |number| Value::Real(number, text));
    }
    let whole = kind.is_integer() || kind == &DataType::Boolean;
    match text.parse() {
        Ok(number) if whole => Value::Whole(number, 64),
        _ => Value::Text(text),
    }
}
