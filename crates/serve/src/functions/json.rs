//! JSON functions. JSON is text that is marked as such, so a column of it can be stored, compared and printed.
//!
//! Where Druid takes no text for JSON (`JSON_VALUE('{…}', …)` is null there), ours reads it: columns that hold JSON are text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use serde_json::Value;

use super::call::{BATCH_BYTES_MAX, Call, Memo, list, too_large};
use super::cast;
use super::definition::{Argument, Definition, Returns};
use super::json_value::{self, Step};
use super::time::refuse;
use super::zone::Zone;

use Argument::{Any, StrictText, Text};

/// The functions of JSON.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("parse_json", &[StrictText], Returns::Json, |call| parse(call, true)),
    Definition::new("try_parse_json", &[StrictText], Returns::Json, |call| parse(call, false)),
    Definition::new("to_json_string", &[Any], Returns::Text, to_text).grows(),
    Definition::new("json_value", &[Any, Text], Returns::Text, value),
    Definition::new("__json_value_bigint", &[Any, Text], Returns::Integer, value_integer),
    Definition::new("__json_value_double", &[Any, Text], Returns::Double, value_double),
    Definition::new("__json_value_boolean", &[Any, Text], Returns::Boolean, value_boolean),
    Definition::new("__json_value_texts", &[Any, Text], Returns::Texts, value_texts),
    Definition::new("json_query", &[Any, Text], Returns::Json, query),
    Definition::new("json_keys", &[Any, Text], Returns::Texts, keys),
    Definition::new("json_paths", &[Any], Returns::Texts, paths),
    Definition::new("json_object", &[Any], Returns::Json, object).needs(0).repeats().grows(),
    Definition::new("json_merge", &[Any, Any], Returns::Json, merge).repeats().grows(),
];

fn parse(call: &Call<'_>, strict: bool) -> Result<ArrayRef> {
    call.try_texts(|row| {
        let Some(text) = call.text_at(0, row) else { return Ok(None) };
        match json_value::read(text) {
            Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(json_value::write(&value))),
            None if strict && call.is_constant(0) => Err(refuse(
                "Function[parse_json] bad string input; use TRY_PARSE_JSON for what may not be JSON".to_owned(),
            )),
            None => Ok(None),
        }
    })
}

/// A value of any column as a document.
fn document(array: &ArrayRef, row: usize, json: bool, zone: Zone) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let items = list(array)?.value(row);
            let items = (0..items.len()).map(|item| document(&items, item, false, zone));
            Value::Array(items.collect::<Result<_>>()?)
        }
        whole if whole.is_integer() || matches!(whole, DataType::Timestamp(..) | DataType::Date32) => {
            let one = cast::integers(&array.slice(row, 1), zone)?;
            if one.is_null(0) { Value::Null } else { Value::from(one.value(0)) }
        }
        number if number.is_numeric() => {
            let one = cast::doubles(&array.slice(row, 1), zone)?;
            json_value::double(one.value(0))
        }
        DataType::Struct(_) => return Err(refuse("a STRUCT cannot be made JSON; name its fields".to_owned())),
        _ => {
            let one = cast::texts(&array.slice(row, 1), zone)?;
            let text = if one.is_null(0) { return Ok(Value::Null) } else { one.value(0) };
            if json { json_value::read(text).unwrap_or(Value::Null) } else { Value::String(text.to_owned()) }
        }
    })
}

fn to_text(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.any(0)?;
    call.try_texts(|row| {
        if array.is_null(row) {
            return Ok(None);
        }
        Ok(Some(json_value::write(&document(array, row, call.is_json(0), call.zone)?)))
    })
}

/// The document of a row's first argument, read once for each row.
fn source(call: &Call<'_>) -> Result<arrow::array::StringArray> {
    let array = call.any(0)?;
    if !array.data_type().is_string() && !array.data_type().is_null() {
        return Err(refuse("a function of JSON wants JSON or text that holds it; use PARSE_JSON".to_owned()));
    }
    cast::texts(array, call.zone)
}

/// What each row's path leads to, made into something.
fn at_path<T>(call: &Call<'_>, mut make: impl FnMut(&Value) -> Result<Option<T>>) -> Result<Vec<Option<T>>> {
    let documents = source(call)?;
    let mut steps: Memo<Vec<Step>> = Memo::default();
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (Some(path), true) = (call.text_at(1, row), documents.is_valid(row)) else {
            if let Some(path) = call.text_at(1, row).filter(|path| !path.is_empty() && call.is_constant(1)) {
                steps.get(path, json_value::parse_path)?;
            }
            found.push(None);
            continue;
        };
        if path.is_empty() {
            found.push(None);
            continue;
        }
        let steps = match steps.get(path, json_value::parse_path) {
            Ok(steps) => steps,
            Err(error) if call.is_constant(1) => return Err(error),
            Err(_) => {
                found.push(None);
                continue;
            }
        };
        let document = json_value::read(documents.value(row));
        found.push(match document.as_ref().and_then(|document| json_value::follow(document, steps)) {
            Some(value) => make(value)?,
            None => None,
        });
    }
    Ok(found)
}

fn value(call: &Call<'_>) -> Result<ArrayRef> {
    let found = at_path(call, |value| Ok(json_value::scalar(value)))?;
    call.texts(|row| found.get(row).and_then(Option::as_ref))
}

fn value_integer(call: &Call<'_>) -> Result<ArrayRef> {
    let found = at_path(call, |value| {
        Ok(match value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|value| value as i64)),
            Value::Bool(value) => Some(i64::from(*value)),
            Value::String(text) => cast::parse_integer(text),
            _ => None,
        })
    })?;
    call.integers(|row| found.get(row).copied().flatten())
}

fn value_double(call: &Call<'_>) -> Result<ArrayRef> {
    let found = at_path(call, |value| {
        Ok(match value {
            Value::Number(number) => number.as_f64(),
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::String(text) => cast::parse_double(text),
            _ => None,
        })
    })?;
    call.doubles(|row| found.get(row).copied().flatten())
}

fn value_boolean(call: &Call<'_>) -> Result<ArrayRef> {
    let found = at_path(call, |value| {
        Ok(match value {
            Value::Number(number) => number.as_f64().map(|value| value != 0.0),
            Value::Bool(value) => Some(*value),
            Value::String(text) => cast::parse_double(text).map(|value| value != 0.0),
            _ => None,
        })
    })?;
    call.booleans(|row| found.get(row).copied().flatten())
}

/// Lists of texts for the rows.
fn text_lists(rows: impl IntoIterator<Item = Option<Vec<Option<String>>>>) -> Result<ArrayRef> {
    let mut builder = ListBuilder::new(StringBuilder::new());
    let mut bytes = 0_usize;
    for row in rows {
        match row {
            Some(items) => {
                for item in items {
                    bytes = bytes.saturating_add(item.as_ref().map_or(0, String::len) + 8);
                    builder.values().append_option(item);
                }
                builder.append(true);
            }
            None => builder.append(false),
        }
        if bytes > BATCH_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn value_texts(call: &Call<'_>) -> Result<ArrayRef> {
    text_lists(at_path(call, |value| {
        Ok(match value {
            Value::Array(items) => Some(items.iter().map(json_value::scalar).collect()),
            _ => None,
        })
    })?)
}

fn query(call: &Call<'_>) -> Result<ArrayRef> {
    let found = at_path(call, |value| Ok(Some(json_value::write(value))))?;
    call.texts(|row| found.get(row).and_then(Option::as_ref))
}

fn keys(call: &Call<'_>) -> Result<ArrayRef> {
    text_lists(at_path(call, |value| {
        Ok(match value {
            Value::Object(members) => Some(members.keys().map(|name| Some(name.clone())).collect()),
            Value::Array(items) => Some((0..items.len()).map(|index| Some(index.to_string())).collect()),
            _ => None,
        })
    })?)
}

fn paths(call: &Call<'_>) -> Result<ArrayRef> {
    let documents = source(call)?;
    text_lists((0..call.rows).map(|row| {
        let document = documents.is_valid(row).then(|| json_value::read(documents.value(row))).flatten();
        Some(json_value::paths(&document.unwrap_or(Value::Null)).into_iter().map(Some).collect())
    }))
}

/// JSON_OBJECT: its arguments are names and values in turn.
fn object(call: &Call<'_>) -> Result<ArrayRef> {
    if !call.count().is_multiple_of(2) {
        return Err(refuse("JSON_OBJECT wants a value for each name: KEY 'a' VALUE b".to_owned()));
    }
    call.try_texts(|row| {
        let mut members = vec![];
        for pair in 0..call.count() / 2 {
            let name = cast::texts(&call.any(2 * pair)?.slice(row, 1), call.zone)?;
            if name.is_null(0) {
                return if call.is_constant(2 * pair) {
                    Err(refuse("a name of JSON_OBJECT is NULL; give it a text".to_owned()))
                } else {
                    Ok(None)
                };
            }
            let value = document(call.any(2 * pair + 1)?, row, call.is_json(2 * pair + 1), call.zone)?;
            members.push((name.value(0).to_owned(), value));
        }
        Ok(Some(json_value::write(&json_value::in_java_order(members))))
    })
}

fn merge(call: &Call<'_>) -> Result<ArrayRef> {
    let mut documents = vec![];
    for array in call.all() {
        documents.push(cast::texts(array, call.zone)?);
    }
    call.try_texts(|row| {
        let mut merged: Option<Value> = None;
        for (index, texts) in documents.iter().enumerate() {
            if texts.is_null(row) {
                return Ok(None);
            }
            let value = json_value::read(texts.value(row)).filter(|value| value.is_object() || index == 0);
            let fits = merged.as_ref().is_none_or(Value::is_object);
            match (value, &mut merged) {
                (Some(value), Some(under)) if fits => json_value::merge(under, value),
                (Some(value), none @ None) => *none = Some(value),
                _ if call.is_constant(index) && call.is_constant(0) => return Err(bad_merge()),
                _ => return Ok(None),
            }
        }
        Ok(merged.as_ref().map(json_value::write))
    })
}

fn bad_merge() -> DataFusionError {
    refuse("Function[json_merge] bad string input; it merges objects".to_owned())
}
