//! One suite for two engines: the same expressions and models over the same edges, on DataFusion as models run and on a real
//! Spark 4.2 at `VITALAKE_SPARK=sc://…`, compared as Arrow with types; skipped without one.
//!
//! `VITALAKE_CONFORMANCE_REPORT=FILE` writes what differs, and what one of the two refuses. Invariant: an answer counts as
//! Spark's only with the figures of the operation that Spark ran for it.

mod calls;
mod compare;
mod data;

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use vitalake_process::functions::supported;
use vitalake_process::preview;
use vitalake_spark_connect::{Endpoint, Error, Input, Options, Query, Session, Source};

use crate::corpus::{Verdict, evaluate};
use crate::decisions::{conforming, decided};

const EXPRESSIONS_A_QUERY: usize = 60;

/// The settings under which models run on Spark; and rows that are sent are worked on by tasks, not by the planner.
const SETTINGS: [(&str, &str); 4] = [
    ("spark.sql.ansi.enabled", "false"),
    ("spark.sql.session.timeZone", "UTC"),
    ("spark.sql.optimizer.excludedRules", "org.apache.spark.sql.catalyst.optimizer.ConvertToLocalRelation"),
    ("spark.sql.shuffle.partitions", "2"),
];

fn spark() -> Option<Session> {
    let Ok(address) = std::env::var("VITALAKE_SPARK") else {
        eprintln!("skipped: VITALAKE_SPARK names no Spark Connect (sc://host:port)");
        return None;
    };
    let settings = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Some(Session::open(&Endpoint::parse(&address).unwrap(), Options::new("vitalake-conformance", settings)).unwrap())
}

/// A statement's rows, with the proof that Spark ran it.
async fn ask(session: &Session, sql: String, rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let input =
        Input { name: "given".to_owned(), rows: Source::Rows { schema: rows.schema(), batches: vec![rows.clone()] } };
    let mut answer = session.query(&Query { sql, inputs: vec![input], tags: vec![] }).await?;
    let batches = answer.collect().await?;
    assert!(!answer.operation_id().is_empty() && answer.plan_nodes() > 0, "Spark says nothing of what it ran");
    Ok(concat_batches(&answer.schema(), &batches).unwrap())
}

/// What Spark gives for expressions: a column each, or its error class.
async fn spark_columns(session: &Session, exprs: &[String], rows: &RecordBatch) -> Vec<Result<ArrayRef, String>> {
    let mut made: Vec<Option<Result<ArrayRef, String>>> = vec![None; exprs.len()];
    loop {
        let open: Vec<usize> = (0..exprs.len()).filter(|index| made[*index].is_none()).collect();
        if open.is_empty() {
            return made.into_iter().map(Option::unwrap).collect();
        }
        let mut sql = String::from("SELECT row");
        let mut ends = Vec::new();
        for index in &open {
            write!(sql, ",\n {} AS c{index}", exprs[*index]).unwrap();
            ends.push(sql.len());
        }
        sql.push_str("\nFROM given");
        match ask(session, sql, rows).await {
            Ok(batch) => {
                assert_eq!(
                    batch.column(0).to_data(),
                    rows.column(0).to_data(),
                    "rows come in the order in which they went"
                );
                for (place, index) in open.iter().enumerate() {
                    made[*index] = Some(Ok(batch.column(place + 1).clone()));
                }
            }
            Err(error) => {
                let why = error.error_class().map_or_else(|| error.to_string(), str::to_owned);
                match error.place().and_then(|place| ends.iter().position(|end| place.start < *end)) {
                    Some(place) => made[open[place]] = Some(Err(why)),
                    None if open.len() == 1 => made[open[0]] = Some(Err(why)),
                    None => {
                        let texts: Vec<String> = open.iter().map(|index| exprs[*index].clone()).collect();
                        let (first, second) = texts.split_at(texts.len() / 2);
                        let mut found = Box::pin(spark_columns(session, first, rows)).await;
                        found.extend(Box::pin(spark_columns(session, second, rows)).await);
                        for (index, result) in open.iter().zip(found) {
                            made[*index] = Some(result);
                        }
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    equal: usize,
    decided: usize,
    refused_here: usize,
    refused_by_spark: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_gives_on_spark_what_it_gives_here() {
    let Some(session) = spark() else { return };
    let rows = data::edges();
    let all = calls::calls();
    let (mut counts, mut report, mut wrong) = (Counts::default(), String::new(), String::new());
    let mut seen: BTreeMap<&str, usize> = supported().into_iter().map(|name| (name, 0)).collect();
    for chunk in all.chunks(EXPRESSIONS_A_QUERY) {
        let ours = evaluate(chunk, &rows).await;
        let accepted: Vec<usize> =
            (0..chunk.len()).filter(|index| !matches!(ours[*index], Err(Verdict::Refused(_)))).collect();
        counts.refused_here += chunk.len() - accepted.len();
        let asked: Vec<String> = accepted.iter().map(|index| chunk[*index].clone()).collect();
        let theirs = spark_columns(&session, &asked, &rows).await;
        for (index, theirs) in accepted.into_iter().zip(theirs) {
            let expr = &chunk[index];
            let difference = match (&ours[index], &theirs) {
                (_, Err(why)) => {
                    counts.refused_by_spark += 1;
                    writeln!(report, "refused by Spark\t{expr}\t{why}").unwrap();
                    continue;
                }
                (Ok(ours), Ok(theirs)) => compare::difference(expr, ours, theirs),
                (Err(why), Ok(_)) => Some(format!("{why:?}")),
            };
            match difference {
                None => {
                    counts.equal += 1;
                    let lower = expr.to_lowercase();
                    seen.iter_mut()
                        .filter(|(name, _)| lower.contains(&format!("{name}(")))
                        .for_each(|(_, count)| *count += 1);
                }
                Some(why) if decided(expr).or_else(|| conforming(expr)).is_some() => {
                    counts.decided += 1;
                    writeln!(report, "decided\t{expr}\t{why}").unwrap();
                }
                Some(why) => writeln!(wrong, "different\t{expr}\t{why}").unwrap(),
            }
        }
    }
    eprintln!(
        "{} expressions: equal {}, by decision {}, refused here {}, refused by Spark {}, different {}",
        all.len(),
        counts.equal,
        counts.decided,
        counts.refused_here,
        counts.refused_by_spark,
        wrong.lines().count()
    );
    let unseen: Vec<&str> = seen.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    writeln!(report, "not seen equal: {unseen:?}").unwrap();
    write_report("functions", &format!("{wrong}{report}"));
    assert!(wrong.is_empty(), "answers are not Spark's:\n{wrong}");
}

/// Aggregates with and without groups, over all rows and over none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_give_on_spark_what_they_give_here() {
    let Some(session) = spark() else { return };
    let rows = data::edges();
    let mut wrong = String::new();
    for (name, columns) in AGGREGATES {
        for column in columns.chars() {
            for (from, group) in
                [("given", true), ("given", false), ("given WHERE i = -7", true), ("given WHERE i = -7", false)]
            {
                let call = name.replace('_', &column.to_string()).replace('~', "_");
                let (head, tail) = if group { ("g, ", " GROUP BY g") } else { ("", "") };
                let text = |from: &str| format!("SELECT {head}{call} AS c FROM {from}{tail}");
                let theirs =
                    ask(&session, format!("{}{}", text(from), if group { " ORDER BY g" } else { "" }), &rows).await;
                let ours =
                    preview(&format!("-- kind: full\n{}", text(&from.replace("given", "raw.t"))), rows.clone()).await;
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => {
                        let ours = in_order(&ours, group);
                        for (ours, theirs) in ours.columns().iter().zip(theirs.columns()) {
                            if let Some(why) = compare::difference(&call, ours, theirs) {
                                writeln!(wrong, "different\t{}\t{why}", text(from)).unwrap();
                            }
                        }
                    }
                    (Err(why), _) => writeln!(wrong, "failed here\t{}\t{why}", text(from)).unwrap(),
                    (_, Err(why)) => writeln!(wrong, "failed on Spark\t{}\t{why}", text(from)).unwrap(),
                }
            }
        }
    }
    write_report("groups", &wrong);
    assert!(wrong.is_empty(), "answers are not Spark's:\n{wrong}");
}

/// An aggregate over `_`, and the columns that it is called on (`~` stands for `_` in a name).
const AGGREGATES: [(&str, &str); 6] = [
    ("count(*)", "i"),
    ("count(_)", "ilfdmnsxatb"),
    ("sum(_)", "ilnd"),
    ("avg(_)", "iln"),
    ("min(_)", "ilfdmnsatb"),
    ("max(_)", "ilfdmnsatb"),
];

fn in_order(batches: &[RecordBatch], group: bool) -> RecordBatch {
    let all = concat_batches(&batches[0].schema(), batches).unwrap();
    if !group {
        return all;
    }
    let order = arrow::compute::sort_to_indices(all.column(0), None, None).unwrap();
    arrow::compute::take_record_batch(&all, &order).unwrap()
}

fn write_report(what: &str, text: &str) {
    if let Ok(path) = std::env::var("VITALAKE_CONFORMANCE_REPORT") {
        std::fs::write(format!("{path}.{what}"), text).unwrap();
    }
}
