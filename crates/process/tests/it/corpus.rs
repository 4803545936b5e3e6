//! Spark's answers to its own documented examples and to edge cases of ours, compared with what a model gives: as
//! written, and once more with the constants as columns, since planning folds constants away.
//!
//! `tests/data/spark-answers.ndjson` holds what a real Spark 4.2 answered with `spark.sql.ansi.enabled=false` in UTC;
//! the examples among them are Apache Spark's (Apache-2.0). Nothing is different, but for what stands in `DECISIONS`
//! with its reason. `VITALAKE_CORPUS_REPORT=FILE` writes every case that is not equal, `VITALAKE_WRITE_DOCS=1` the page
//! docs/spark-functions.md, and `VITALAKE_CORPUS_ANSWERS=FILE` compares with other recorded answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use serde_json::Value;
use vitalake_process::functions::{refused, shown, supported};
use vitalake_process::{PreviewError, preview};

use crate::decisions::decided;

const EXPRESSIONS_A_RUN: usize = 100;

/// One of Spark's answers.
#[derive(Clone, Debug)]
pub struct Case {
    group: String,
    pub expr: String,
    kind: String,
    value: Option<String>,
    pub spark_refuses: bool,
}

#[derive(Clone, Debug)]
pub enum Verdict {
    Equal,
    Refused(String),
    Different(String),
    Failed(String),
}

pub fn cases() -> Vec<Case> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spark-answers.ndjson");
    let path = std::env::var_os("VITALAKE_CORPUS_ANSWERS").map_or(kept, PathBuf::from);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| case.get(name).and_then(Value::as_str).map(str::to_owned);
            Case {
                group: text("g").unwrap(),
                expr: text("e").unwrap(),
                kind: text("t").unwrap_or_default(),
                value: text("v"),
                spark_refuses: case.get("x").is_some(),
            }
        })
        .collect()
}

fn one_row() -> RecordBatch {
    RecordBatch::try_from_iter([("row", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap()
}

/// What each of these expressions gives over a table: a column, or why there is none.
pub async fn evaluate(exprs: &[String], rows: &RecordBatch) -> Vec<Result<ArrayRef, Verdict>> {
    let mut made: Vec<Option<Result<ArrayRef, Verdict>>> = vec![None; exprs.len()];
    loop {
        let open: Vec<usize> = (0..exprs.len()).filter(|i| made[*i].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let lines: Vec<String> = open.iter().map(|i| format!("{} AS c{i}", exprs[*i])).collect();
        let text = format!("-- kind: append\nSELECT\n{}\nFROM raw.t", lines.join("\n, "));
        match preview(&text, rows.clone()).await {
            Ok(batches) => {
                for (place, index) in open.iter().enumerate() {
                    let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(place).as_ref()).collect();
                    made[*index] = Some(Ok(concat(&parts).unwrap()));
                }
            }
            // A text that cannot be parsed, or a problem of the whole, says nothing of a line.
            Err(PreviewError::Refused(problems))
                if open.len() == 1 || problems.iter().all(|p| p.line >= 3 && !p.message.contains("not Spark SQL")) =>
            {
                for problem in problems {
                    let line = problem.line.saturating_sub(3).min(open.len() - 1);
                    let why = format!("{}; {}", problem.message, problem.help);
                    made[open[line]].get_or_insert(Err(Verdict::Refused(why)));
                }
            }
            Err(PreviewError::Failed(why)) if open.len() == 1 => {
                made[open[0]] = Some(Err(Verdict::Failed(why)));
            }
            Err(_) => {
                // Half by half, until it is known which one fails.
                let (first, second) = open.split_at(open.len() / 2);
                for half in [first, second] {
                    let texts: Vec<String> = half.iter().map(|i| exprs[*i].clone()).collect();
                    let found = Box::pin(evaluate(&texts, rows)).await;
                    for (index, result) in half.iter().zip(found) {
                        made[*index] = Some(result);
                    }
                }
            }
        }
    }
    made.into_iter().map(Option::unwrap).collect()
}

/// A type by the name that Spark prints.
pub fn simple(kind: &DataType) -> String {
    match kind {
        DataType::Null => "void".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::BinaryView => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, _) => "timestamp".to_owned(),
        DataType::Decimal128(p, s) => format!("decimal({p},{s})"),
        DataType::List(field) => format!("array<{}>", simple(field.data_type())),
        DataType::Map(field, _) => match field.data_type() {
            DataType::Struct(f) => format!("map<{},{}>", simple(f[0].data_type()), simple(f[1].data_type())),
            _ => "map".to_owned(),
        },
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{}:{}", f.name(), simple(f.data_type()))).collect();
            format!("struct<{}>", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// A value as a cast to STRING writes it; bytes as hex.
pub fn printed(column: &ArrayRef, row: usize) -> Option<String> {
    let value = ScalarValue::try_from_array(column, row).unwrap();
    if value.is_null() {
        return None;
    }
    match &value {
        ScalarValue::BinaryView(Some(bytes)) => Some(bytes.iter().map(|b| format!("{b:02X}")).collect()),
        _ => Some(shown(&value)),
    }
}

/// Doubles may differ in the last digits: Java computes its functions by other polynomials.
fn same(expected: Option<&str>, got: Option<&str>, kind: &str) -> bool {
    if expected == got {
        return true;
    }
    let (Some(expected), Some(got)) = (expected, got) else { return false };
    match (expected.parse::<f64>(), got.parse::<f64>()) {
        (Ok(a), Ok(b)) if kind == "double" || kind == "float" => {
            let step = if kind == "float" { 1e-7 } else { 2e-15 };
            (a - b).abs() <= a.abs() * step
        }
        _ => false,
    }
}

fn judged(case: &Case, found: &Result<ArrayRef, Verdict>, row: usize, kinds: bool) -> Verdict {
    let column = match found {
        Ok(column) => column,
        Err(verdict) => return verdict.clone(),
    };
    let kind = simple(column.data_type());
    let got = printed(column, row);
    // The digits of a decimal follow from how many a constant has, which a column does not say.
    if !kinds && kind != case.kind && case.kind.starts_with("decimal") {
        return Verdict::Equal;
    }
    if !same(case.value.as_deref(), got.as_deref(), &case.kind) {
        return Verdict::Different(format!("{:?}, and Spark {:?}", got, case.value));
    }
    if kinds && kind != case.kind {
        return Verdict::Different(format!("{kind}, and Spark {}", case.kind));
    }
    Verdict::Equal
}

/// The constants of an expression that can be columns: where they stand, and their text.
pub fn constants(expr: &str) -> Vec<(usize, usize)> {
    let bytes = expr.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let before = expr[..at].trim_end().to_uppercase();
        match bytes[at] {
            b'\'' | b'"' => {
                let quote = bytes[at];
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                // Two quotes inside of a text are one of it.
                if at < bytes.len() && bytes[at] == quote {
                    return Vec::new();
                }
                let typed = ["INTERVAL", "DATE", "TIMESTAMP", "X", "R", "TIME", "ESCAPE"];
                if !typed.iter().any(|t| before.ends_with(t)) {
                    found.push((start, at));
                }
            }
            b'0'..=b'9'
                if !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.')
                    || expr[..at].ends_with(' ') =>
            {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.') {
                    at += 1;
                }
                let typed = before.ends_with("INTERVAL") || before.to_lowercase().ends_with("decimal(");
                let scale = before.to_lowercase().rfind("decimal(").is_some_and(|d| !before[d..].contains(')'));
                if !typed && !scale && at - start < 10 {
                    found.push((start, at));
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'`' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || bytes[at] == b'`')
                {
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    found
}

fn replaced(expr: &str, places: &[(usize, usize)], columns: &BTreeMap<String, String>) -> String {
    let mut made = String::new();
    let mut last = 0;
    for (start, end) in places {
        let Some(name) = columns.get(&expr[*start..*end]) else { continue };
        made.push_str(&expr[last..*start]);
        made.push_str(name);
        last = *end;
    }
    made + &expr[last..]
}

/// A table with each constant as a column: a null, the value, a null.
async fn constant_table(exprs: &[&Case]) -> (RecordBatch, BTreeMap<String, String>) {
    let mut texts: Vec<String> = exprs
        .iter()
        .flat_map(|case| constants(&case.expr).into_iter().map(|(s, e)| case.expr[s..e].to_owned()))
        .collect();
    texts.sort();
    texts.dedup();
    let values = evaluate(&texts, &one_row()).await;
    let mut columns = vec![("row".to_owned(), Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef)];
    let mut names = BTreeMap::new();
    for (index, (text, value)) in texts.into_iter().zip(values).enumerate() {
        let Ok(value) = value else { continue };
        let null = arrow::array::new_null_array(value.data_type(), 1);
        let name = format!("k{index}");
        columns.push((name.clone(), concat(&[null.as_ref(), value.as_ref(), null.as_ref()]).unwrap()));
        names.insert(text, name);
    }
    (RecordBatch::try_from_iter(columns).unwrap(), names)
}

/// The same expressions over columns; what has to be a constant stays one.
async fn over_columns(cases: &[&Case]) -> Vec<Verdict> {
    let (rows, names) = constant_table(cases).await;
    // A struct's fields have the names of its columns: of constants there are other ones.
    let places = |case: &Case| if case.expr.contains("struct(") { Vec::new() } else { constants(&case.expr) };
    let all: Vec<String> = cases.iter().map(|c| replaced(&c.expr, &places(c), &names)).collect();
    let mut found = evaluate(&all, &rows).await;
    for (index, case) in cases.iter().enumerate() {
        if matches!(found[index], Err(Verdict::Refused(_))) {
            let places = constants(&case.expr);
            let first = replaced(&case.expr, &places[..places.len().min(1)], &names);
            found[index] = evaluate(&[first], &rows).await.pop().unwrap();
        }
    }
    cases.iter().zip(&found).map(|(case, found)| judged(case, found, 1, false)).collect()
}

#[derive(Default)]
struct Share {
    equal: usize,
    refused: usize,
    different: usize,
    failed: usize,
    decided: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_sparks_or_refused() {
    let all = cases();
    let mut report = String::new();
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    let mut functions: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = 0;
    for chunk in all.chunks(EXPRESSIONS_A_RUN) {
        let texts: Vec<String> = chunk.iter().map(|c| c.expr.clone()).collect();
        let found = evaluate(&texts, &one_row()).await;
        let mut verdicts: Vec<Verdict> = chunk.iter().zip(&found).map(|(c, f)| judged(c, f, 0, true)).collect();
        let equal: Vec<usize> = (0..chunk.len()).filter(|i| matches!(verdicts[*i], Verdict::Equal)).collect();
        let again: Vec<&Case> = equal.iter().map(|i| &chunk[*i]).collect();
        for (index, verdict) in equal.iter().zip(over_columns(&again).await) {
            verdicts[*index] = match verdict {
                Verdict::Different(why) => Verdict::Different(format!("over a column: {why}")),
                Verdict::Failed(why) => Verdict::Failed(format!("over a column: {why}")),
                Verdict::Equal | Verdict::Refused(_) => Verdict::Equal,
            };
        }
        for (case, verdict) in chunk.iter().zip(verdicts) {
            let share = shares.entry(case.group.clone()).or_default();
            let function = functions.entry(leading(&case.expr)).or_default();
            // What Spark refuses, or fails on, may be anything here but a failure.
            match verdict {
                Verdict::Equal => {
                    share.equal += 1;
                    function.0 += 1;
                }
                Verdict::Refused(why) => {
                    share.refused += 1;
                    function.1 += 1;
                    if !case.spark_refuses {
                        writeln!(report, "refused\t{}\t{why}", case.expr).unwrap();
                    }
                }
                Verdict::Different(_) if case.spark_refuses || decided(&case.expr).is_some() => share.decided += 1,
                Verdict::Different(why) => {
                    share.different += 1;
                    wrong += 1;
                    writeln!(report, "different\t{}\t{why}", case.expr).unwrap();
                }
                Verdict::Failed(why) => {
                    share.failed += 1;
                    wrong += 1;
                    writeln!(report, "failed\t{}\t{why}", case.expr).unwrap();
                }
            }
        }
    }
    for (group, s) in &shares {
        eprintln!(
            "{group:12} equal {:5}  refused {:4}  different {:4}  failed {:4}  by decision or refused by Spark {:4}",
            s.equal, s.refused, s.different, s.failed, s.decided
        );
    }
    if let Ok(path) = std::env::var("VITALAKE_CORPUS_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    if std::env::var_os("VITALAKE_WRITE_DOCS").is_some() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spark-functions.md");
        std::fs::write(page, documentation(&functions)).unwrap();
    }
    assert_eq!(wrong, 0, "answers are not Spark's:\n{report}");
}

/// The function whose examples an expression belongs to.
fn leading(expr: &str) -> String {
    let name: String = expr.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if expr[name.len()..].starts_with('(') { name.to_lowercase() } else { "operators".to_owned() }
}

fn documentation(functions: &BTreeMap<String, (usize, usize)>) -> String {
    let mut page = String::from(include_str!("../data/spark-functions.head.md"));
    page.push_str("\n| function | answers compared: equal | refused forms |\n|---|---|---|\n");
    for name in supported() {
        let (equal, refused) = functions.get(name).copied().unwrap_or_default();
        writeln!(page, "| `{name}` | {equal} | {refused} |").unwrap();
    }
    page.push_str("\n## Refused\n\n| function | what to write instead |\n|---|---|\n");
    let mut names = refused();
    names.sort_unstable();
    for (name, help) in names {
        writeln!(page, "| `{name}` | {help} |").unwrap();
    }
    page
}

/// The folder with the examples as they were published stands beside the project, or is not there.
#[test]
fn every_published_example_has_a_recorded_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/spark/examples.ndjson");
    let Ok(text) = std::fs::read_to_string(&folder) else {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    };
    let known: std::collections::HashSet<String> = cases().into_iter().map(|c| c.expr).collect();
    let groups = ["math", "string", "datetime", "predicate", "conditional", "bitwise", "hash", "conversion", "url"];
    let mut missing = Vec::new();
    for line in text.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let query = example["query"].as_str().unwrap().trim_end_matches(';');
        let plain = query.strip_prefix("SELECT ").filter(|q| !q.contains(" FROM VALUES") && !q.contains("FROM ("));
        if let Some(expr) = plain.filter(|_| groups.contains(&example["group"].as_str().unwrap()))
            && !known.contains(expr)
        {
            missing.push(expr.to_owned());
        }
    }
    // Those that give another answer each time, and those of the type TIME, are not recorded.
    let moving = [
        "rand",
        "uuid",
        "uniform",
        "current",
        "curdate",
        "now(",
        "localtimestamp",
        "interval",
        "aes_",
        "time'",
        "time '",
        "time_",
        "_time(",
    ];
    missing.retain(|e| !moving.iter().any(|word| e.to_lowercase().contains(word)) && !e.contains(" AS S"));
    assert_eq!(missing, Vec::<String>::new());
}
