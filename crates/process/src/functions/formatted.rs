//! Values put into a text: `format_string` with Java's patterns, and `to_json`.
//!
//! A part of the table of functions. Invariant: a constant pattern that does not fit its values is refused with the model.

use arrow::array::{Array, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use vitalake_contract::java_format::{Template, Unwritten, Value};

use crate::functions::bind::{Bound, Refusal};
use crate::functions::calendar::split;
use crate::functions::call::{Args, VALUE_BYTES_MAX, too_large, try_texts};
use crate::functions::conversion::base64;
use crate::functions::json_text::quote;
use crate::functions::kinds::{TEXT, element_of, entry_of, is_integer, is_number, is_text};
use crate::functions::show;
use crate::functions::table::{Calling, Function, MANY, function, null};
use crate::functions::text_time::day_text;
use crate::plan::spark_name;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("format_string", 1, MANY, format_string),
    function("printf", 1, MANY, format_string),
    function("to_json", 1, 2, to_json),
];

fn misfit() -> Refusal {
    Refusal::new(
        "this pattern does not fit its values, or is none of Java's",
        "write %d for whole numbers, %.2f for a DOUBLE or FLOAT, %s for the rest, and a value for each",
    )
}

fn format_string(c: Calling) -> Bound {
    for (index, arg) in c.args.iter().enumerate().skip(1) {
        let kind = &arg.kind;
        if !(is_number(kind) || is_text(kind) || kind.is_null() || *kind == DataType::Boolean) {
            return Err(Refusal::new(
                format!(
                    "argument {} of {} is {}, which Spark writes as it keeps it",
                    index + 1,
                    c.name,
                    spark_name(kind)
                ),
                "write date_format, or CAST(x AS STRING)",
            ));
        }
    }
    let template = match c.arg(0)?.literal() {
        Some(ScalarValue::Utf8View(Some(pattern))) => {
            let template = Template::new(pattern).ok_or_else(misfit)?;
            let samples: Vec<Value<'_>> = c.args.iter().skip(1).map(|arg| sample(&arg.kind)).collect();
            if template.write(&samples, VALUE_BYTES_MAX) == Err(Unwritten::Misfit) {
                return Err(misfit());
            }
            Some(template)
        }
        Some(value) if value.is_null() => return null(&TEXT),
        _ => None,
    };
    let wants: Vec<DataType> = std::iter::once(TEXT).chain(c.args.iter().skip(1).map(|arg| arg.kind.clone())).collect();
    c.make(TEXT, &wants, try_texts(move |args, row| written(template.as_ref(), args, row)))
}

/// A value of a type, to try a pattern with.
fn sample(kind: &DataType) -> Value<'static> {
    match kind {
        DataType::Boolean => Value::Flag(true),
        DataType::Float32 | DataType::Float64 => Value::Real(1.0, "1.0"),
        DataType::Null => Value::Null,
        kind if is_integer(kind) => Value::Whole(65, bits(kind)),
        _ => Value::Text(""),
    }
}

fn bits(kind: &DataType) -> u32 {
    match kind {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    }
}

fn written(template: Option<&Template>, args: &Args<'_>, row: usize) -> Result<Option<String>, DataFusionError> {
    let Some(pattern) = args.text(0, row) else { return Ok(None) };
    let cells = (1..args.args.len()).map(|index| args.value(index, row)).collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<String> = cells.iter().map(show::text).collect();
    let values: Vec<Value<'_>> = cells.iter().zip(&shown).map(|(cell, shown)| value(cell, shown)).collect();
    let of_row = if template.is_none() { Template::new(pattern) } else { None };
    match template.or(of_row.as_ref()).map(|template| template.write(&values, VALUE_BYTES_MAX)) {
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(Unwritten::TooLong)) => Err(too_large()),
        _ => exec_err!("the pattern of this row does not fit its values"),
    }
}

fn value<'a>(cell: &ScalarValue, shown: &'a str) -> Value<'a> {
    match cell {
        value if value.is_null() => Value::Null,
        ScalarValue::Boolean(Some(flag)) => Value::Flag(*flag),
        ScalarValue::Int8(Some(number)) => Value::Whole(i64::from(*number), 8),
        ScalarValue::Int16(Some(number)) => Value::Whole(i64::from(*number), 16),
        ScalarValue::Int32(Some(number)) => Value::Whole(i64::from(*number), 32),
        ScalarValue::Int64(Some(number)) => Value::Whole(*number, 64),
        ScalarValue::Float32(Some(number)) => Value::Real(f64::from(*number), shown),
        ScalarValue::Float64(Some(number)) => Value::Real(*number, shown),
        _ => Value::Text(shown),
    }
}

fn to_json(c: Calling) -> Bound {
    if c.args.len() > 1 {
        return Err(Refusal::new("options of to_json are not known here", "leave them out"));
    }
    let kind = c.kind(0);
    if kind.is_null() {
        return null(&TEXT);
    }
    if !(matches!(kind, DataType::Struct(_)) || element_of(&kind).is_some() || entry_of(&kind).is_some()) {
        return Err(c.wrong(0, "a STRUCT, an ARRAY or a MAP"));
    }
    if !keys_are_plain(&kind) {
        return Err(Refusal::new("the keys of a MAP are STRING or whole numbers in to_json", "cast them to STRING"));
    }
    c.make(
        TEXT,
        &[kind],
        try_texts(|args, row| {
            let value = args.value(0, row)?;
            if value.is_null() {
                return Ok(None);
            }
            let mut made = String::new();
            write(&value, &mut made)?;
            Ok(Some(made))
        }),
    )
}

fn keys_are_plain(kind: &DataType) -> bool {
    if let Some(element) = element_of(kind) {
        return keys_are_plain(&element);
    }
    if let Some((key, value)) = entry_of(kind) {
        return (is_text(&key) || is_integer(&key)) && keys_are_plain(&value);
    }
    match kind {
        DataType::Struct(fields) => fields.iter().all(|field| keys_are_plain(field.data_type())),
        _ => true,
    }
}

/// Writes a value as JSON: fields of a STRUCT that are null are left out, times are in UTC with milliseconds.
fn write(value: &ScalarValue, made: &mut String) -> Result<(), DataFusionError> {
    if made.len() > VALUE_BYTES_MAX {
        return Err(too_large());
    }
    match value {
        value if value.is_null() => made.push_str("null"),
        ScalarValue::Struct(row) => fields(row, made)?,
        ScalarValue::List(list) => {
            made.push('[');
            let items = list.value(0);
            for index in 0..items.len() {
                if index > 0 {
                    made.push(',');
                }
                write(&ScalarValue::try_from_array(&items, index)?, made)?;
            }
            made.push(']');
        }
        ScalarValue::Map(map) => {
            made.push('{');
            let entries = map.value(0);
            for index in 0..entries.len() {
                if index > 0 {
                    made.push(',');
                }
                quote(&show::text(&ScalarValue::try_from_array(entries.column(0), index)?), made);
                made.push(':');
                write(&ScalarValue::try_from_array(entries.column(1), index)?, made)?;
            }
            made.push('}');
        }
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            let (day, rest) = split(*micros);
            let millis = rest / 1000;
            let (seconds, millis) = (millis / 1000, millis % 1000);
            let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            made.push_str(&format!("\"{}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\"", day_text(day)));
        }
        ScalarValue::BinaryView(Some(bytes)) | ScalarValue::Binary(Some(bytes)) => {
            made.push_str(&format!("\"{}\"", base64(bytes)));
        }
        ScalarValue::Float64(Some(number)) if !number.is_finite() => quote(&show::text(value), made),
        ScalarValue::Float32(Some(number)) if !number.is_finite() => quote(&show::text(value), made),
        ScalarValue::Utf8View(_) | ScalarValue::Utf8(_) | ScalarValue::Date32(_) => quote(&show::text(value), made),
        other => made.push_str(&show::text(other)),
    }
    Ok(())
}

fn fields(row: &StructArray, made: &mut String) -> Result<(), DataFusionError> {
    made.push('{');
    let mut first = true;
    for (field, column) in row.fields().iter().zip(row.columns()) {
        let value = ScalarValue::try_from_array(column, 0)?;
        if value.is_null() {
            continue;
        }
        if !std::mem::take(&mut first) {
            made.push(',');
        }
        quote(field.name(), made);
        made.push(':');
        write(&value, made)?;
    }
    made.push('}');
    Ok(())
}
