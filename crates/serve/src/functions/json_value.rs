//! JSON as Druid reads and writes it: documents, paths into them, and values as Java prints them.

use std::fmt::Write as _;

use datafusion::common::Result;
use serde_json::{Map, Value};

use super::time::refuse;
use crate::druid::value::java_double;

/// The document that a text begins with; nothing when it begins with none.
pub fn read(text: &str) -> Option<Value> {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()
}

/// A document as text.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                put(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                put_text(name, out);
                out.push(':');
                put(member, out);
            }
            out.push('}');
        }
        Value::String(text) => put_text(text, out),
        Value::Number(number) if number.is_f64() => {
            out.push_str(&java_double(number.as_f64().unwrap_or_default()));
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn put_text(text: &str, out: &mut String) {
    let _ = write!(out, "{}", Value::String(text.to_owned()));
}

/// A double as a document: JSON has no NaN, so Java's names stand for it as text.
pub fn double(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::String(java_double(value)), Value::Number)
}

/// A value that is neither an object nor a list, as text; Druid keeps truths as 1 and 0.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(if *value { "1" } else { "0" }.to_owned()),
        Value::Number(_) => Some(write(value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Member(String),
    /// An item of a list; negative ones count from its end.
    Item(i64),
}

/// Reads a path such as `$.a[0]['b c']`.
///
/// # Errors
/// When it does not begin with `$` or a part of it is empty or no number.
pub fn parse_path(path: &str) -> Result<Vec<Step>> {
    let bad = |what: &str| refuse(format!("a JSON path {what}; write it as '$.a.b[0]'"));
    let mut rest = path.strip_prefix('$').ok_or_else(|| bad("must start with '$'"))?;
    let mut steps = vec![];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, next) = after.split_at(end);
            if name.is_empty() {
                return Err(bad("has an empty part"));
            }
            steps.push(Step::Member(name.to_owned()));
            rest = next;
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
            if let Some(quote) = quote {
                let inner = after.get(1..).unwrap_or_default();
                let end = inner.find(quote).ok_or_else(|| bad("has an open quote"))?;
                steps.push(Step::Member(inner.get(..end).unwrap_or_default().to_owned()));
                rest = inner.get(end + 1..).unwrap_or_default();
                rest = rest.strip_prefix(']').ok_or_else(|| bad("has an open ["))?;
            } else {
                let end = after.find(']').ok_or_else(|| bad("has an open ["))?;
                let number = after.get(..end).unwrap_or_default();
                let index = number.parse().map_err(|_| bad("has [*] or another word where a number should be"))?;
                steps.push(Step::Item(index));
                rest = after.get(end + 1..).unwrap_or_default();
            }
        } else {
            return Err(bad("has a part that begins with neither . nor ["));
        }
    }
    Ok(steps)
}

/// What a path leads to.
pub fn follow<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    let mut value = value;
    for step in steps {
        value = match (step, value) {
            (Step::Member(name), Value::Object(members)) => members.get(name)?,
            (Step::Item(index), Value::Array(items)) => {
                let length = i64::try_from(items.len()).ok()?;
                let index = if *index < 0 { length.checked_add(*index)? } else { *index };
                items.get(usize::try_from(index).ok()?)?
            }
            _ => return None,
        };
    }
    if value.is_null() { None } else { Some(value) }
}

/// The paths to every value that is neither an object nor a list.
pub fn paths(value: &Value) -> Vec<String> {
    let mut found = vec![];
    if let Value::Object(_) = value {
        walk(value, &mut "$".to_owned(), &mut found);
    }
    if found.is_empty() {
        found.push("$".to_owned());
    }
    found
}

fn walk(value: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let _ = write!(path, ".{name}");
                walk(member, path, found);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let _ = write!(path, "[{index}]");
                walk(item, path, found);
                path.truncate(length);
            }
        }
        _ => found.push(path.clone()),
    }
}

/// Puts a document over another: objects are merged, everything else is replaced.
pub fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, member) in over {
                match under.get_mut(&name) {
                    Some(known) => merge(known, member),
                    None => {
                        under.insert(name, member);
                    }
                }
            }
        }
        (Value::Array(under), Value::Array(over)) => under.extend(over),
        (under, over) => *under = over,
    }
}

/// The members in the order in which Java's hash table has them, which is the order that Druid writes.
pub fn in_java_order(members: Vec<(String, Value)>) -> Value {
    let mut unique: Vec<(String, Value)> = vec![];
    for (name, value) in members {
        match unique.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => unique.push((name, value)),
        }
    }
    let mut buckets = 16_usize;
    while unique.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    unique.sort_by_key(|(name, _)| {
        let hash = name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
        usize::try_from(hash ^ (hash >> 16)).unwrap_or(0) & (buckets - 1)
    });
    Value::Object(unique.into_iter().collect::<Map<_, _>>())
}
