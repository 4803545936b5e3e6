//! What a client sends to `/druid/v2/sql`, read without trusting any of it.

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value as SqlValue};
use serde_json::{Map, Value};

use super::result::Headers;
use crate::error::QueryError;
use crate::functions::zone::Zone;
use crate::sql::rewrite_function::{call, literal, text};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultFormat {
    /// A JSON array of objects.
    Object,
    /// A JSON array of arrays.
    Array,
    /// An object a line.
    ObjectLines,
    /// An array a line.
    ArrayLines,
    /// Comma-separated values.
    Csv,
}

/// A request, checked.
#[derive(Debug, Clone)]
pub struct SqlRequest {
    /// The text of the query.
    pub query: String,
    /// How rows are written.
    pub format: ResultFormat,
    /// Which header rows come first.
    pub headers: Headers,
    /// Values of the placeholders, as expressions.
    pub parameters: Vec<Expr>,
    /// The client's id for the query.
    pub query_id: Option<String>,
    /// The client's time limit; zero and none are the server's.
    pub timeout_ms: Option<u64>,
    /// The zone in which the query computes and prints.
    pub zone: Zone,
    /// Arrays are written as a string that holds JSON.
    pub stringify_arrays: bool,
    /// What the query is for.
    pub purpose: Option<String>,
}

/// Longest id of a query that is taken: it becomes a header of the answer.
const QUERY_ID_BYTES_MAX: usize = 128;

impl SqlRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] or [`QueryError::Context`]; the text says which key is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let document: Value = serde_json::from_slice(body).map_err(|error| {
            QueryError::invalid(format!(
                "the body is not JSON: it cannot be read at line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        let Value::Object(document) = document else {
            return Err(QueryError::invalid("the body is not a JSON object; send {\"query\": \"SELECT …\"}"));
        };
        let query = match document.get("query") {
            Some(Value::String(query)) => query.clone(),
            Some(_) => return Err(QueryError::invalid("'query' is not a string; send {\"query\": \"SELECT …\"}")),
            None => return Err(QueryError::invalid("'query' is missing; send {\"query\": \"SELECT …\"}")),
        };
        let empty = Map::new();
        let context = match document.get("context") {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(context)) => context,
            Some(_) => return Err(QueryError::Context("'context' is not an object".to_owned())),
        };
        let headers = Headers {
            names: flag(&document, "header", false)?,
            types: flag(&document, "typesHeader", false)?,
            sql_types: flag(&document, "sqlTypesHeader", false)?,
        };
        if !headers.names && (headers.types || headers.sql_types) {
            return Err(QueryError::invalid("Cannot include 'typesHeader' or 'sqlTypesHeader' without 'header'"));
        }
        Ok(Self {
            query,
            format: format(document.get("resultFormat"))?,
            headers,
            parameters: parameters(document.get("parameters"))?,
            query_id: query_id(context.get("sqlQueryId"))?,
            timeout_ms: timeout(context.get("timeout"))?,
            zone: context
                .get("sqlTimeZone")
                .and_then(Value::as_str)
                .map_or(Zone::UTC, |name| Zone::of(name).unwrap_or(Zone::UTC)),
            stringify_arrays: flag(context, "sqlStringifyArrays", true)?,
            purpose: purpose(context.get("purpose"))?,
        })
    }
}

fn flag(object: &Map<String, Value>, key: &str, default: bool) -> Result<bool, QueryError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(QueryError::invalid(format!("'{key}' is neither true nor false"))),
    }
}

fn format(value: Option<&Value>) -> Result<ResultFormat, QueryError> {
    let unknown = || QueryError::invalid("'resultFormat' is not one of object, array, objectLines, arrayLines, csv");
    let name = match value {
        None | Some(Value::Null) => return Ok(ResultFormat::Object),
        Some(Value::String(name)) => name.to_ascii_lowercase(),
        Some(_) => return Err(unknown()),
    };
    match name.as_str() {
        "object" => Ok(ResultFormat::Object),
        "array" => Ok(ResultFormat::Array),
        "objectlines" => Ok(ResultFormat::ObjectLines),
        "arraylines" => Ok(ResultFormat::ArrayLines),
        "csv" => Ok(ResultFormat::Csv),
        _ => Err(unknown()),
    }
}

fn query_id(value: Option<&Value>) -> Result<Option<String>, QueryError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id))
            if id.len() <= QUERY_ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte)) =>
        {
            Ok(Some(id.clone()))
        }
        Some(_) => Err(QueryError::Context(format!(
            "sqlQueryId is not a string of at most {QUERY_ID_BYTES_MAX} printable ASCII characters"
        ))),
    }
}

fn purpose(value: Option<&Value>) -> Result<Option<String>, QueryError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(purpose)) if !purpose.is_empty() => Ok(Some(purpose.clone())),
        Some(_) => Err(QueryError::Context("purpose is not a text".to_owned())),
    }
}

fn timeout(value: Option<&Value>) -> Result<Option<u64>, QueryError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match number {
        Some(number) if number >= 0 => Ok(u64::try_from(number).ok().filter(|timeout| *timeout > 0)),
        Some(_) => Err(QueryError::Context("Timeout [timeout] must be a non negative value".to_owned())),
        None => Err(QueryError::Context("Expected key [timeout] to be in long format".to_owned())),
    }
}

pub(crate) fn parameters(value: Option<&Value>) -> Result<Vec<Expr>, QueryError> {
    let list = match value {
        None | Some(Value::Null) => return Ok(vec![]),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(QueryError::invalid("'parameters' is not an array")),
    };
    list.iter().enumerate().map(|(index, parameter)| one_parameter(index + 1, parameter)).collect()
}

fn one_parameter(number: usize, parameter: &Value) -> Result<Expr, QueryError> {
    let wrong = |what: &str| QueryError::invalid(format!("parameter {number} {what}"));
    let Value::Object(parameter) = parameter else {
        return Err(wrong("is not an object; send {\"type\": \"VARCHAR\", \"value\": …}"));
    };
    let Some(Value::String(type_name)) = parameter.get("type") else { return Err(wrong("has no type")) };
    let value = parameter.get("value").unwrap_or(&Value::Null);
    if value.is_null() {
        return Ok(literal(SqlValue::Null));
    }
    let expression = match (type_name.to_ascii_uppercase().as_str(), value) {
        ("VARCHAR" | "CHAR" | "NVARCHAR" | "LONGVARCHAR" | "ANY", Value::String(value)) => Some(text(value)),
        ("BIGINT" | "INTEGER" | "SMALLINT" | "TINYINT", Value::Number(value)) if value.is_i64() => {
            number_literal(value)
        }
        ("DOUBLE" | "FLOAT" | "REAL" | "DECIMAL" | "NUMERIC", Value::Number(value)) => {
            value.as_f64().and_then(serde_json::Number::from_f64).as_ref().and_then(number_literal)
        }
        ("BOOLEAN", Value::Bool(value)) => Some(literal(SqlValue::Boolean(*value))),
        ("TIMESTAMP", Value::String(value)) => Some(call("__timestamp", vec![text(value)])),
        ("TIMESTAMP", Value::Number(value)) => number_literal(value).map(|millis| call("__timestamp", vec![millis])),
        ("DATE", Value::String(value)) => Some(call("__date", vec![text(value)])),
        ("DATE", Value::Number(value)) => number_literal(value).map(|millis| call("__date", vec![millis])),
        ("ARRAY", Value::Array(items)) => array(items),
        _ => None,
    };
    expression.ok_or_else(|| wrong("has a value that its type does not take, or a type that is not supported"))
}

fn number_literal(number: &serde_json::Number) -> Option<Expr> {
    let digits = number.to_string();
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits.as_str()), |digits| (true, digits));
    let positive = literal(SqlValue::Number(digits.to_owned(), false));
    Some(if negative { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(positive) } } else { positive })
}

fn array(items: &[Value]) -> Option<Expr> {
    let items = items.iter().map(|item| match item {
        Value::Null => Some(literal(SqlValue::Null)),
        Value::Bool(value) => Some(literal(SqlValue::Boolean(*value))),
        Value::Number(value) => number_literal(value),
        Value::String(value) => Some(text(value)),
        Value::Array(_) | Value::Object(_) => None,
    });
    Some(call("make_array", items.collect::<Option<Vec<_>>>()?))
}
