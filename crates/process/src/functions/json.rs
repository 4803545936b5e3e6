//! JSON in a text: `get_json_object`, `json_array_length`, `from_json` with a plain schema.
//!
//! A part of the table of functions. Invariant: a text that is no JSON is null.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::dialect::SparkSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::functions::arrays::text_array;
use crate::functions::bind::{Bound, Refusal};
use crate::functions::call::{numbers, texts, values};
use crate::functions::json_text::{Json, quote};
use crate::functions::kinds::{TEXT, list_of};
use crate::functions::literals;
use crate::functions::table::{Calling, Function, function, null};

pub(crate) const FUNCTIONS: &[Function] = &[
    function("from_json", 2, 2, from_json),
    function("get_json_object", 2, 2, get_json_object),
    function("json_array_length", 1, 1, |c| {
        c.make(
            DataType::Int32,
            &[TEXT],
            numbers::<Int32Type, _>(|args, row| match Json::first(args.text(0, row)?)? {
                Json::List(items) => i32::try_from(items.len()).ok(),
                _ => None,
            }),
        )
    }),
    function("json_object_keys", 1, 1, |c| {
        c.make(
            list_of(TEXT),
            &[TEXT],
            values(|args, row| {
                let parsed = args.text(0, row).and_then(Json::first);
                let Some(Json::Object(fields)) = parsed else { return Ok(ScalarValue::Null) };
                Ok(text_array(&fields.into_iter().map(|(name, _)| Some(name)).collect::<Vec<_>>()))
            }),
        )
    }),
];

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
    Every,
}

/// `$.a.b[0][*]['c d']`; `None` for what is no path.
fn path(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = after.get(..end).filter(|n| !n.is_empty() && *n != "*")?;
            steps.push(Step::Field(name.to_owned()));
            rest = after.get(end..)?;
        } else {
            let inner = rest.strip_prefix('[')?;
            if let Some(quoted) = inner.strip_prefix('\'') {
                let end = quoted.find("']")?;
                steps.push(Step::Field(quoted.get(..end).filter(|n| !n.is_empty())?.to_owned()));
                rest = quoted.get(end + 2..)?;
            } else {
                let end = inner.find(']')?;
                let index = inner.get(..end)?;
                steps.push(if index == "*" { Step::Every } else { Step::Index(index.parse().ok()?) });
                rest = inner.get(end + 1..)?;
            }
        }
    }
    Some(steps)
}

fn get_json_object(c: Calling) -> Bound {
    let Some(text) = c.constant_text(1, "the path")? else { return null(&TEXT) };
    let steps = path(&text).ok_or_else(|| {
        Refusal::new("this is no path of get_json_object", "write '$.field', '$.list[0]' or '$.list[*].field'")
    })?;
    if steps.iter().filter(|s| **s == Step::Every).count() > 1 {
        return Err(Refusal::new("a path with more than one [*] is not known here", "write one of them"));
    }
    c.make(TEXT, &[TEXT, TEXT], texts(move |args, row| found(&Json::first(args.text(0, row)?)?, &steps)?.shown()))
}

fn found(value: &Json, steps: &[Step]) -> Option<Json> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match (step, value) {
        (Step::Field(name), value) => found(value.field(name)?, rest),
        (Step::Index(index), Json::List(items)) => found(items.get(*index)?, rest),
        (Step::Every, Json::List(items)) => {
            let mut made: Vec<Json> = items.iter().filter_map(|item| found(item, rest)).collect();
            match made.len() {
                0 => None,
                // One alone is given as it is, but a text keeps its quotes.
                1 => match made.pop()? {
                    Json::Text(text) => {
                        let mut quoted = String::new();
                        quote(&text, &mut quoted);
                        Some(Json::Text(quoted))
                    }
                    one => Some(one),
                },
                _ => Some(Json::List(made)),
            }
        }
        _ => None,
    }
}

/// `from_json(x, 'a INT, b STRING')`: plain fields; what does not fit one is null.
fn from_json(c: Calling) -> Bound {
    let Some(schema) = c.constant_text(1, "the schema")? else {
        return Err(Refusal::new("from_json takes a schema", "write it as text, as in 'a INT, b STRING'"));
    };
    let fields = schema_fields(&schema)?;
    let kind = DataType::Struct(fields.clone());
    c.make(
        kind,
        &[TEXT, TEXT],
        values(move |args, row| {
            let Some(text) = args.text(0, row) else { return Ok(ScalarValue::Null) };
            let parsed = Json::first(text);
            if text.trim().is_empty() {
                return Ok(ScalarValue::Null);
            }
            let columns: Vec<ArrayRef> = fields
                .iter()
                .map(|field| {
                    let value = parsed.as_ref().and_then(|p| p.last_field(field.name()));
                    let made = value.and_then(|v| plain(v, field.data_type()));
                    made.map_or_else(|| ScalarValue::try_from(field.data_type()), Ok)?.to_array_of_size(1)
                })
                .collect::<Result<_, _>>()?;
            Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)))
        }),
    )
}

fn schema_fields(schema: &str) -> Result<Fields, Refusal> {
    let bad = || Refusal::new("this is no schema of from_json", "write it as 'a INT, b STRING'");
    let mut fields = Vec::new();
    for part in schema.split(',') {
        let (name, kind) = part.trim().split_once([' ', ':']).ok_or_else(bad)?;
        let mut parser = Parser::new(&SparkSqlDialect {}).try_with_sql(kind.trim()).map_err(|_| bad())?;
        let kind = literals::sql_type(&parser.parse_data_type().map_err(|_| bad())?)?;
        let known =
            matches!(kind, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Boolean) || kind == TEXT;
        if !known {
            return Err(Refusal::new(
                "from_json knows fields of STRING, INT, BIGINT, DOUBLE and BOOLEAN",
                "take the field as STRING and cast it, or use get_json_object",
            ));
        }
        fields.push(Field::new(name.trim().trim_matches('`'), kind, true));
    }
    Ok(fields.into())
}

/// A value as a field of a plain type.
fn plain(value: &Json, kind: &DataType) -> Option<ScalarValue> {
    Some(match kind {
        DataType::Int32 => ScalarValue::Int32(Some(i32::try_from(value.whole()?).ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.whole()?)),
        DataType::Float64 => ScalarValue::Float64(Some(match value {
            Json::Text(text) => match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" | "+Infinity" | "INF" | "+INF" => f64::INFINITY,
                "-Infinity" | "-INF" => f64::NEG_INFINITY,
                _ => return None,
            },
            other => other.number()?,
        })),
        DataType::Boolean => match value {
            Json::Flag(flag) => ScalarValue::Boolean(Some(*flag)),
            _ => return None,
        },
        _ => ScalarValue::Utf8View(Some(value.shown()?)),
    })
}
