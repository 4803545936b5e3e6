//! Every expression that a real Druid was asked, asked of our endpoint: the same value, or a refusal.
//!
//! The recorded answers are found by VITALAKE_SHARED, or beside the workspace; without them this says so and stops.
//! With VITALAKE_CORPUS=FILE every answer that is not alike is written there, a JSON object a line; with
//! VITALAKE_DOCUMENT=1 docs/druid-functions.md is written anew. The project's own queries have their answers beside the
//! tests, or in the file that VITALAKE_CORPUS_ANSWERS names. Invariant: no other value without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::client::{JSON, try_send};
use crate::decisions::decision;
use crate::golden::answers;
use crate::server::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Equal,
    EqualButType,
    Refused,
    RefusedByBoth,
    OnlyWeAnswer,
    Decided,
    Different,
    ServerError,
}

impl Class {
    const ALL: [Self; 8] = [
        Self::Equal,
        Self::EqualButType,
        Self::RefusedByBoth,
        Self::Refused,
        Self::OnlyWeAnswer,
        Self::Decided,
        Self::Different,
        Self::ServerError,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::EqualButType => "equal but type",
            Self::Refused => "refused by us",
            Self::RefusedByBoth => "refused by both",
            Self::OnlyWeAnswer => "only we answer",
            Self::Decided => "by decision",
            Self::Different => "different",
            Self::ServerError => "server error",
        }
    }
}

/// One recorded query and what came of it here.
#[derive(Debug)]
struct Outcome {
    group: String,
    query: String,
    class: Class,
    want: Value,
    got: Value,
}

fn ask(server: &Server, recorded: &Value) -> Outcome {
    let query = recorded["query"].as_str().unwrap();
    let group = recorded["group"].as_str().unwrap();
    let body = json!({
        "query": query, "resultFormat": "array", "header": true, "typesHeader": true, "sqlTypesHeader": true,
        "context": recorded.get("context").cloned().unwrap_or_else(|| json!({})),
    });
    let reply = try_send(server, "POST", "/druid/v2/sql", &[JSON], Some(body.to_string().as_bytes()));
    let (status, got) = match reply {
        Ok(reply) => (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::String(reply.body))),
        Err(error) => (599, Value::String(error)),
    };
    let answered = recorded["status"] == 200 && recorded["answer"].is_array();
    let want = if answered { recorded["answer"].clone() } else { recorded["error"].clone() };
    let (want, got) = match query.contains("STRING_AGG(") && !query.contains("ORDER BY") {
        true => (parts_in_order(&want), parts_in_order(&got)),
        false => (want, got),
    };
    let unordered = group.ends_with("/col") || group.starts_with("window") || !is_ordered(query);
    let class = match (status, answered) {
        (200, true) if same_rows(&want, &got, unordered) => {
            if header(&want) == header(&got) {
                Class::Equal
            } else {
                Class::EqualButType
            }
        }
        (200, true) if decision(query).is_some() => Class::Decided,
        (200, true) => Class::Different,
        (200, false) => Class::OnlyWeAnswer,
        (400, true) => Class::Refused,
        (500, true)
            if got["error"] == "Unknown exception"
                && got["errorMessage"].as_str().is_some_and(|text| !text.contains("error id")) =>
        {
            Class::Refused
        }
        (400, false) => Class::RefusedByBoth,
        (500, false) if got["errorMessage"].as_str().is_some_and(|text| !text.contains("error id")) => {
            Class::RefusedByBoth
        }
        _ => Class::ServerError,
    };
    let got = if status == 200 { got } else { json!({"status": status, "message": got["errorMessage"]}) };
    Outcome { group: group.to_owned(), query: query.to_owned(), class, want, got }
}

/// Whether the query as a whole has an order, and not only a window or a part of it.
fn is_ordered(query: &str) -> bool {
    let mut depth = 0;
    query.char_indices().any(|(at, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && query[at..].starts_with("ORDER BY")
    })
}

fn header(answer: &Value) -> Vec<Value> {
    answer.as_array().map(|rows| rows.iter().take(3).cloned().collect()).unwrap_or_default()
}

fn same_rows(want: &Value, got: &Value, unordered: bool) -> bool {
    let rows = |answer: &Value| -> Vec<Value> {
        let rows = answer.as_array().cloned().unwrap_or_default();
        let mut rows: Vec<Value> =
            rows.iter().enumerate().filter(|(index, _)| !matches!(index, 1 | 2)).map(|(_, row)| row.clone()).collect();
        if unordered {
            rows[1..].sort_by_key(order_key);
        }
        rows
    };
    let (want, got) = (rows(want), rows(got));
    want.len() == got.len() && want.iter().zip(&got).all(|(want, got)| same(want, got))
}

/// Texts that were put together in no order, with their parts in one.
fn parts_in_order(answer: &Value) -> Value {
    match answer {
        Value::Array(values) => values.iter().map(parts_in_order).collect(),
        Value::String(text) => {
            let mut parts: Vec<&str> = text.split(',').collect();
            parts.sort_unstable();
            Value::String(parts.join(","))
        }
        other => other.clone(),
    }
}

/// A row as it is ordered for a comparison: a whole number and the same double are alike.
fn order_key(row: &Value) -> String {
    match row {
        Value::Array(cells) => cells.iter().map(order_key).collect::<Vec<_>>().join(","),
        Value::Number(number) => format!("{:e}", number.as_f64().unwrap()),
        other => other.to_string(),
    }
}

/// Doubles may differ by what two libraries of mathematics differ by.
fn same(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| same(want, got))
        }
        (Value::Number(want), Value::Number(got)) => {
            if let (Some(want), Some(got)) = (want.as_i64(), got.as_i64()) {
                return want == got;
            }
            let (want, got) = (want.as_f64().unwrap(), got.as_f64().unwrap());
            // A FLOAT is printed with as many digits as tell it from its neighbours; Java once printed more.
            let mantissa = format!("{want:e}");
            let is_float = want as f32 == got as f32 && mantissa.find('e').is_some_and(|digits| digits <= 10);
            want == got || is_float || (want - got).abs() <= want.abs() * 4.0 * f64::EPSILON
        }
        _ => want == got,
    }
}

fn ask_all(file: &std::path::Path) -> Vec<Outcome> {
    let text = std::fs::read_to_string(file).unwrap();
    // Half of a character that has two UTF-16 units is no text here.
    let whole = text.replace("\\uD83D\\uDE00", "😀").replace("\\uD83D", "\\ufffd").replace("\\uDE00", "\\ufffd");
    let recorded: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = Server::start();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(line) = recorded.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = ask(&server, line);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by(|left, right| (&left.group, &left.query).cmp(&(&right.group, &right.query)));
    outcomes
}

fn shares(outcomes: &[Outcome]) -> String {
    let mut groups: BTreeMap<&str, BTreeMap<Class, usize>> = BTreeMap::new();
    for outcome in outcomes {
        for group in [outcome.group.as_str(), "ALL"] {
            *groups.entry(group).or_default().entry(outcome.class).or_default() += 1;
        }
    }
    let mut text = format!("{:24}", "group");
    for class in Class::ALL {
        let _ = write!(text, "{:>16}", class.name());
    }
    for (group, counts) in groups {
        let _ = write!(text, "\n{group:24}");
        for class in Class::ALL {
            let _ = write!(text, "{:>16}", counts.get(&class).copied().unwrap_or(0));
        }
    }
    text
}

/// How much of what Druid answers is equal, without multi-value strings.
fn share_of_answers(outcomes: &[Outcome]) -> String {
    let ours = [Class::Equal, Class::EqualButType, Class::Refused, Class::Decided, Class::Different];
    let single = |outcome: &&Outcome| !decision(&outcome.query).is_some_and(|why| why.contains("multi-value"));
    let answered: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| ours.contains(&outcome.class)).filter(single).collect();
    let equal = answered.iter().filter(|outcome| matches!(outcome.class, Class::Equal | Class::EqualButType)).count();
    let percent = equal as f64 / answered.len() as f64 * 100.0;
    format!("of {} that Druid answers, multi-value strings aside, {equal} are equal: {percent:.1} %", answered.len())
}

/// The functions and operators that a query is about.
fn functions(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let bytes = query.as_bytes();
    let mut in_text = false;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == b'\'' {
            in_text = !in_text;
        }
        if in_text || *byte != b'(' {
            continue;
        }
        let before = query[..index].trim_end();
        let start =
            before.rfind(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        let name = before[start..].to_ascii_uppercase();
        let plain = [
            "VALUES",
            "FROM",
            "IN",
            "AS",
            "T",
            "OVER",
            "AND",
            "OR",
            "NOT",
            "WHERE",
            "ON",
            "BY",
            "FILTER",
            "SETS",
            "THEN",
            "WHEN",
            "ELSE",
            "SELECT",
            "ANY",
            "ALL",
            "LIKE",
            "EXISTS",
            "U",
            "CHAR",
            "VARCHAR",
            "DECIMAL",
            "TABLE",
            "ROW",
            "LATERAL",
            "USING",
            "TIMESTAMP",
            "UNION",
            "JOIN",
        ];
        if name.len() > 1
            && !plain.contains(&name.as_str())
            && !name.starts_with(|letter: char| letter.is_ascii_digit())
        {
            found.insert(name);
        }
    }
    for operator in [" LIKE ", " BETWEEN ", " CASE ", "ARRAY["] {
        if query.contains(operator) {
            found.insert(operator.trim().trim_end_matches('[').to_owned());
        }
    }
    found
}

fn document(outcomes: &[Outcome]) -> String {
    let mut table: BTreeMap<String, (usize, Vec<&Outcome>, Vec<&Outcome>)> = BTreeMap::new();
    for outcome in outcomes {
        for function in functions(&outcome.query) {
            let row = table.entry(function).or_default();
            match outcome.class {
                Class::Equal | Class::EqualButType => row.0 += 1,
                Class::Refused => row.1.push(outcome),
                Class::Decided => row.2.push(outcome),
                _ => {}
            }
        }
    }
    let mut text = "# Druid's functions\n\nEvery function of Druid's SQL that was compared with a real Druid 33: how many recorded answers are equal, how many\nqueries are refused and why, and where the answer differs by decision. Written by the test that compares them:\n`VITALAKE_DOCUMENT=1 cargo test -p vitalake-serve --test it corpus`.\n\n| function | equal | refused (why) | by decision |\n|---|---|---|---|\n".to_owned();
    for (function, (equal, refused, decided)) in table {
        if equal == 0 && refused.is_empty() && decided.is_empty() {
            continue;
        }
        let mut why: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in refused {
            *why.entry(reason(&outcome.got)).or_default() += 1;
        }
        let why: Vec<String> = why.iter().map(|(why, count)| format!("{count}: {why}")).collect();
        let decided: BTreeSet<&str> = decided.iter().filter_map(|outcome| decision(&outcome.query)).collect();
        let decided: Vec<&str> = decided.into_iter().collect();
        let _ = writeln!(text, "| `{function}` | {equal} | {} | {} |", why.join("; "), decided.join("; "));
    }
    text
}

/// A message without the place in the query.
fn reason(got: &Value) -> String {
    let message = got["message"].as_str().unwrap_or("?");
    let message = message.split(" (line [").next().unwrap_or(message);
    message.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn recorded_functions_answer_alike_or_are_refused() {
    let Some(folder) = answers() else {
        println!(
            "skipped: the recorded answers of Druid are not here; set VITALAKE_SHARED to the folder that has them"
        );
        return;
    };
    let outcomes = ask_all(&folder.join("functions.ndjson"));
    println!("{}", shares(&outcomes));
    println!("{}", share_of_answers(&outcomes));
    report(&outcomes);
    if std::env::var_os("VITALAKE_DOCUMENT").is_some() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/druid-functions.md");
        std::fs::write(file, document(&outcomes)).unwrap();
    }
    agree(&outcomes);
}

/// What a real Druid 33 answered over the rows of `vitals`, to queries of this project.
#[test]
fn queries_over_odd_rows_answer_alike_or_are_refused() {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/druid-answers.ndjson");
    let outcomes = ask_all(&std::env::var_os("VITALAKE_CORPUS_ANSWERS").map_or(kept, PathBuf::from));
    println!("{}", shares(&outcomes));
    report(&outcomes);
    agree(&outcomes);
}

/// Writes what is not alike to the file that VITALAKE_CORPUS names.
fn report(outcomes: &[Outcome]) {
    if let Some(file) = std::env::var_os("VITALAKE_CORPUS") {
        let lines: Vec<String> = outcomes.iter().filter(|outcome| outcome.class != Class::Equal && outcome.class != Class::RefusedByBoth).map(|outcome| {
            json!({"class": outcome.class.name(), "group": outcome.group, "query": outcome.query, "want": outcome.want, "got": outcome.got}).to_string()
        }).collect();
        std::fs::write(file, lines.join("\n")).unwrap();
    }
}

fn agree(outcomes: &[Outcome]) {
    let wrong: Vec<String> = outcomes
        .iter()
        .filter(|outcome| matches!(outcome.class, Class::Different | Class::ServerError))
        .map(|outcome| {
            format!("{}: {}\n  Druid {}\n  ours  {}", outcome.group, outcome.query, outcome.want, outcome.got)
        })
        .collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
