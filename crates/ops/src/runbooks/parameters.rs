//! What an alert brings into a runbook's SQL: `:alert`, `:fingerprint`, `:dataset` and `:since`.
//!
//! Without an alert each is NULL, so that `(:dataset IS NULL OR dataset = :dataset)` shows all. Invariant: a value becomes
//! a literal whatever it holds, and lines keep their numbers, so that an error still points into the file.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::{Block, RunbookProblem};

/// What a runbook is told of the alert that it is opened for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertContext {
    /// Tells this alert from others.
    pub fingerprint: String,
    /// The alert's name.
    pub alert: String,
    /// The dataset that it is about, as `layer.dataset`.
    pub dataset: Option<String>,
    /// Since when it fires, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The state that it is in.
    #[serde(default)]
    pub state: String,
    /// What was found, in words.
    #[serde(default)]
    pub summary: String,
    /// The team that it goes to.
    #[serde(default)]
    pub owner: String,
}

impl AlertContext {
    /// Since when it fires, as RFC 3339.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        let since = DateTime::<Utc>::from_timestamp_millis(self.since_ms?)?;
        Some(since.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The names that may be used.
const NAMES: [&str; 4] = ["alert", "fingerprint", "dataset", "since"];

/// SQL that is ready to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The query, its parameters put in.
    pub sql: String,
}

/// Puts an alert's values into a block's SQL.
///
/// # Errors
/// When the block names a parameter that there is not.
pub fn bind(block: &Block, alert: Option<&AlertContext>) -> Result<Statement, RunbookProblem> {
    let mut sql = String::with_capacity(block.sql.len());
    let mut rest = block.sql.as_str();
    while let Some(character) = rest.chars().next() {
        let untouched = untouched_bytes(rest);
        if untouched > 0 {
            sql.push_str(rest.get(..untouched).unwrap_or_default());
            rest = rest.get(untouched..).unwrap_or_default();
            continue;
        }
        if let Some(name) = parameter(rest) {
            let Some(literal) = literal(name, alert) else { return Err(unknown(block, name, &block.sql, rest)) };
            sql.push_str(&literal);
            rest = rest.get(1 + name.len()..).unwrap_or_default();
            continue;
        }
        sql.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    Ok(Statement { sql })
}

/// How many bytes at the beginning are a text, a quoted name or a comment.
fn untouched_bytes(rest: &str) -> usize {
    let to = |end: &str, from: usize| {
        let found = rest.get(from..).and_then(|rest| rest.find(end));
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    match rest.as_bytes() {
        // A doubled quote inside ends one text and begins the next, which comes to the same.
        [b'\'', ..] => to("'", 1),
        [b'"', ..] => to("\"", 1),
        [b'-', b'-', ..] => to("\n", 2),
        [b'/', b'*', ..] => to("*/", 2),
        [b':', b':', ..] => 2,
        _ => 0,
    }
}

fn parameter(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix(':')?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    name.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn literal(name: &str, alert: Option<&AlertContext>) -> Option<String> {
    let text = |value: Option<&str>| match value {
        Some(value) => format!("'{}'", value.replace('\'', "''")),
        None => "CAST(NULL AS VARCHAR)".to_owned(),
    };
    Some(match name {
        "alert" => text(alert.map(|alert| alert.alert.as_str())),
        "fingerprint" => text(alert.map(|alert| alert.fingerprint.as_str())),
        "dataset" => text(alert.and_then(|alert| alert.dataset.as_deref())),
        "since" => match alert.and_then(|alert| alert.since_ms).and_then(DateTime::<Utc>::from_timestamp_millis) {
            Some(since) => format!("TIMESTAMP '{}'", since.format("%Y-%m-%d %H:%M:%S%.3f")),
            None => "CAST(NULL AS TIMESTAMP)".to_owned(),
        },
        _ => return None,
    })
}

fn unknown(block: &Block, name: &str, sql: &str, rest: &str) -> RunbookProblem {
    let before = sql.get(..sql.len() - rest.len()).unwrap_or_default();
    let column = before.rsplit('\n').next().map_or(1, |line| line.chars().count() + 1);
    RunbookProblem {
        line: block.line + before.matches('\n').count(),
        column,
        message: format!("there is no parameter :{name}"),
        help: format!("an alert brings :{}", NAMES.join(", :")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn block(sql: &str) -> Block {
        Block { sql: sql.to_owned(), line: 10 }
    }

    fn alert() -> AlertContext {
        AlertContext {
            fingerprint: "f".to_owned(),
            alert: "it's".to_owned(),
            dataset: Some("raw.x".to_owned()),
            since_ms: Some(1_767_225_600_000),
            ..AlertContext::default()
        }
    }

    #[test]
    fn values_become_literals_and_everything_else_stays() {
        let sql =
            "SELECT ':alert', \":since\", a::b -- :dataset\n, /* :x */ :dataset, :alert, :since, ':''x', :fingerprint";
        let bound = bind(&block(sql), Some(&alert())).unwrap().sql;
        let want = "SELECT ':alert', \":since\", a::b -- :dataset\n, /* :x */ 'raw.x', 'it''s', TIMESTAMP '2026-01-01 00:00:00.000', ':''x', 'f'";
        assert_eq!(bound, want);
    }

    #[test]
    fn without_an_alert_each_is_null() {
        let bound = bind(&block(":dataset :since"), None).unwrap().sql;
        assert_eq!(bound, "CAST(NULL AS VARCHAR) CAST(NULL AS TIMESTAMP)");
    }

    #[test]
    fn an_unknown_name_is_found_at_its_place() {
        let problem = bind(&block("SELECT 1\nWHERE a = :datset"), None).unwrap_err();
        assert_eq!((problem.line, problem.column), (11, 11));
        assert!(problem.message.contains(":datset") && problem.help.contains(":dataset"), "{problem:?}");
    }

    #[test]
    fn what_is_not_closed_ends_with_the_text() {
        for sql in ["'open :alert", "\"open", "/* open", "-- open", ":", ":1", "a:"] {
            assert_eq!(bind(&block(sql), None).unwrap().sql, sql);
        }
    }
}
