//! What both engines are asked: every expression of the corpus with its constants replaced by columns of their types, and
//! every function over every column.

use std::collections::BTreeSet;

use vitalake_process::functions::supported;

use crate::corpus::{cases, constants};

const COLUMNS: [&str; 13] = ["i", "l", "f", "d", "m", "n", "z", "s", "x", "a", "t", "b", "v"];
/// Answers that are others each time.
const MOVING: [&str; 8] =
    ["rand", "uuid", "current", "now(", "localtimestamp", "curdate", "shuffle", "unix_timestamp()"];

/// Functions that make as much as a number says, and parts of their calls: they are asked for little, since Spark ends with
/// its memory where such a call fails here.
const GROWING: [&str; 8] =
    ["repeat(", "space(", "pad(", "sequence(", "format_string(", "printf(", "format_number(", "array_insert("];

/// What the corpus has with constants alone.
const FURTHER: [&str; 24] = [
    "date_part('year', t)",
    "date_part('dow', a)",
    "datepart('MONTH', a)",
    "datepart('SECOND', t)",
    "map('a', i, 'b', l)",
    "map_keys(map('a', s))",
    "map_values(map('a', d, 'b', f))",
    "map_entries(map('a', a))",
    "map_contains_key(map('abc', i), s)",
    "map_from_arrays(array('a', 'b'), array(s, s))",
    "map('abc', i)[s]",
    "named_struct('a', i, 'b', s, 'c', v)",
    "named_struct('a', d).a",
    "to_char(x, 'hex')",
    "to_varchar(x, 'base64')",
    "array_distinct(array(-d, d))",
    "array_union(array(d), array(-d))",
    "array_intersect(array(d, -d), array(d))",
    "array_except(array(d, -d), array(0.0D))",
    "array_contains(array(d), -d)",
    "array_position(array(-d, d), d)",
    "array_remove(array(d, -d), 0.0D)",
    "sort_array(array(d, -d, 1.5D))",
    "array_max(array(d, -d, 1.5D))",
];

/// Expressions over the columns of the edges.
pub fn calls() -> Vec<String> {
    let mut calls = BTreeSet::new();
    for case in cases().into_iter().filter(|case| !case.spark_refuses) {
        let expr = typed(&case.expr);
        let places = constants(&expr);
        calls.insert(over_columns(&expr, &places));
        calls.insert(over_columns(&expr, &places[..places.len().min(1)]));
        calls.insert(over_columns(&expr, places.get(1..).unwrap_or_default()));
    }
    for name in supported() {
        let call = |column: &&str| format!("{name}({column})");
        calls.extend(
            COLUMNS.iter().map(call).filter(|call| {
                !is_growing(call) || !"ilfdmn".chars().any(|column| call.contains(&format!("({column})")))
            }),
        );
    }
    calls.extend(FURTHER.map(str::to_owned));
    calls.into_iter().filter(|call| !MOVING.iter().any(|moving| call.to_lowercase().contains(moving))).collect()
}

/// The functions that an expression calls.
pub fn functions_of(expr: &str) -> BTreeSet<String> {
    let called = |(at, _): (usize, &str)| {
        let before = expr[..at].trim_end();
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |found| found + 1);
        before[start..].to_lowercase()
    };
    expr.match_indices('(').map(called).filter(|name| !name.is_empty()).collect()
}

pub fn is_growing(expr: &str) -> bool {
    GROWING.iter().any(|part| expr.to_lowercase().contains(part))
}

/// Dates and timestamps that are written out, as columns.
fn typed(expr: &str) -> String {
    let mut made = expr.to_owned();
    for (word, column) in [("TIMESTAMP", "t"), ("DATE", "a")] {
        while let Some((start, end)) = literal(&made, word) {
            made.replace_range(start..end, column);
        }
    }
    made
}

/// Where `WORD'…'` stands, as a word of its own.
fn literal(expr: &str, word: &str) -> Option<(usize, usize)> {
    let upper = expr.to_ascii_uppercase();
    upper.match_indices(word).find_map(|(start, _)| {
        let before = expr[..start].chars().next_back();
        let rest = expr[start + word.len()..].trim_start().strip_prefix('\'')?;
        let open = expr.len() - rest.len();
        let close = open + rest.find('\'')?;
        let alone = !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '\'' | '"'));
        alone.then_some((start, close + 1))
    })
}

fn over_columns(expr: &str, places: &[(usize, usize)]) -> String {
    let mut made = String::new();
    let mut last = 0;
    for (start, end) in places {
        let Some(column) = column(&expr[*start..*end]) else { continue };
        let column = if is_growing(expr) && matches!(column, "i" | "l") { "z" } else { column };
        made.push_str(&expr[last..*start]);
        made.push_str(column);
        last = *end;
    }
    made + &expr[last..]
}

/// The column of a constant's type.
fn column(constant: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match constant {
        text if text.starts_with(['\'', '"']) => Some("s"),
        text if digits(text) => Some("i"),
        text if digits(text.trim_end_matches(['l', 'L'])) => Some("l"),
        text if text.ends_with(['d', 'D']) || text.contains(['e', 'E']) => Some("d"),
        text if text.split('.').all(|part| part.is_empty() || digits(part)) => Some("n"),
        _ => None,
    }
}
