//! Spark's recorded answers to expressions within expressions over the edges, compared in every test run without a Spark.
//!
//! `tests/data/spark-nested.ndjson` is written by `nested` from a real Spark: an answer in so many of what is drawn, and each
//! that once was another here. Invariant: what is compared is text by `CAST(… AS STRING)`, with the sign of nought.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches, sort_to_indices, take};
use serde_json::{Value, json};
use vitalake_process::{PreviewError, preview};

use super::{compare, data};
use crate::corpus::{Verdict, evaluate, printed, simple};

/// What was another here once, and is Spark's now.
pub const MENDED: [&str; 3] = [
    "n - (+9223372036854775807L)",
    "greatest((array_repeat(-z, 2)), (array_intersect(array(i,NULL,i,i), array(i,NULL))), v)",
    "greatest((CASE WHEN ('a\\\\b' LIKE s) THEN (sort_array(v)) ELSE (map_values(map('a', 2147483647))) END), v, (sort_array(v)))",
];
pub const MENDED_GROUPS: [&str; 0] = [];

/// An answer of Spark's as a line, unless its last digits are nobody's.
pub fn line(form: &str, expr: &str, ours: &ArrayRef, theirs: &ArrayRef) -> Option<String> {
    let theirs = cast(theirs, ours.data_type()).unwrap();
    let values = texts(&theirs);
    let is_exact = compare::is_exact(expr) || values == texts(ours);
    is_exact.then(|| format!("{}\n", json!({"f": form, "e": expr, "t": simple(ours.data_type()), "v": values})))
}

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    (0..column.len()).map(|row| printed(column, row)).collect()
}

/// What each of these expressions around aggregates gives for each group, in the order of the groups.
pub async fn groups(exprs: &[String], rows: &RecordBatch) -> Vec<Result<ArrayRef, Verdict>> {
    let listed: Vec<String> = exprs.iter().enumerate().map(|(index, expr)| format!("{expr} AS c{index}")).collect();
    let text = format!("-- kind: full\nSELECT g,\n{}\nFROM raw.t GROUP BY g", listed.join(",\n"));
    match preview(&text, rows.clone()).await {
        Ok(batches) => {
            columns(&concat_batches(batches[0].schema_ref(), &batches).unwrap()).into_iter().map(Ok).collect()
        }
        Err(PreviewError::Refused(problems)) if exprs.len() == 1 => {
            vec![Err(Verdict::Refused(problems.iter().map(|problem| problem.message.clone()).collect()))]
        }
        Err(PreviewError::Failed(why)) if exprs.len() == 1 => vec![Err(Verdict::Failed(why))],
        Err(_) => {
            let (first, second) = exprs.split_at(exprs.len() / 2);
            let mut found = Box::pin(groups(first, rows)).await;
            found.extend(Box::pin(groups(second, rows)).await);
            found
        }
    }
}

/// The columns after the first, in the order of the first.
pub fn columns(rows: &RecordBatch) -> Vec<ArrayRef> {
    let order = sort_to_indices(rows.column(0), None, None).unwrap();
    rows.columns()[1..].iter().map(|column| take(column, &order, None).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_within_expressions_give_what_spark_was_recorded_to_give() {
    let lines = include_str!("../../data/spark-nested.ndjson").lines();
    let answers: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = data::edges();
    let mut wrong = Vec::new();
    for form in ["rows", "groups"] {
        let answers: Vec<&Value> = answers.iter().filter(|answer| answer["f"] == form).collect();
        assert!(!answers.is_empty());
        let exprs: Vec<String> = answers.iter().map(|answer| answer["e"].as_str().unwrap().to_owned()).collect();
        let mut found = Vec::new();
        for chunk in exprs.chunks(100) {
            found.extend(if form == "rows" { evaluate(chunk, &rows).await } else { groups(chunk, &rows).await });
        }
        for (answer, found) in answers.iter().zip(found) {
            let ours = found.map(|column| (simple(column.data_type()), texts(&column)));
            let wanted: (String, Vec<Option<String>>) =
                (answer["t"].as_str().unwrap().to_owned(), serde_json::from_value(answer["v"].clone()).unwrap());
            match ours {
                Ok(ours) if ours == wanted => {}
                ours => wrong.push(format!("{}: {ours:?}, and Spark {wanted:?}", answer["e"])),
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are not Spark's:\n{}", wrong.len(), wrong.join("\n"));
    let asked: Vec<&str> = answers.iter().filter_map(|answer| answer["e"].as_str()).collect();
    assert!(MENDED.iter().chain(&MENDED_GROUPS).all(|expr| asked.contains(expr)), "what was mended is recorded");
}

/// The last digit of these is said by no standard, so that only what is the same to the last one is recorded.
#[test]
fn what_is_recorded_is_exact() {
    assert!(compare::is_exact("upper(s)") && !compare::is_exact("sin(d)"));
}
