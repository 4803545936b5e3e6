//! What both engines are asked: every expression of the corpus with its constants replaced by columns of their types, and
//! every function over every column.

use std::collections::BTreeSet;

use vitalake_process::functions::supported;

use crate::corpus::{cases, constants};

const COLUMNS: [&str; 12] = ["i", "l", "f", "d", "m", "n", "s", "x", "a", "t", "b", "v"];
/// Answers that are others each time.
const MOVING: [&str; 8] =
    ["rand", "uuid", "current", "now(", "localtimestamp", "curdate", "shuffle", "unix_timestamp()"];

/// Expressions over the columns of the edges.
pub fn calls() -> Vec<String> {
    let mut calls = BTreeSet::new();
    for case in cases().into_iter().filter(|case| !case.spark_refuses) {
        let expr = typed(&case.expr);
        let places = constants(&expr);
        calls.insert(over_columns(&expr, &places));
        calls.insert(over_columns(&expr, &places[..places.len().min(1)]));
    }
    for name in supported() {
        calls.extend(COLUMNS.iter().map(|column| format!("{name}({column})")));
    }
    calls.into_iter().filter(|call| !MOVING.iter().any(|moving| call.to_lowercase().contains(moving))).collect()
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
