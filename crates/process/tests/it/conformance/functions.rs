//! Every function, and every aggregate, over the edges: what Spark gives is what is given here, or a known difference.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use vitalake_process::functions::supported;
use vitalake_process::preview;

use super::ask::{Way, Witnessed};
use super::known::Known;
use super::{calls, compare, data, write_report};
use crate::corpus::{Verdict, evaluate};

const EXPRESSIONS_A_STATEMENT: usize = 100;

/// What came of the comparison.
#[derive(Default)]
struct Found {
    equal: usize,
    refused_here: usize,
    refused_by_spark: usize,
    known: Known,
    wrong: String,
    report: String,
    /// How often each function was seen equal.
    functions: BTreeMap<String, usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_gives_on_spark_what_it_gives_here() {
    let Some(spark) = Witnessed::open() else { return };
    let rows = data::edges();
    let all = calls::calls();
    let functions = supported().into_iter().map(|name| (name.to_owned(), 0)).collect();
    let mut found = Found { functions, ..Found::default() };
    for chunk in all.chunks(EXPRESSIONS_A_STATEMENT) {
        compare_all(&spark, chunk, &rows, &mut found).await;
    }
    eprintln!(
        "conformance: {} expressions over {} rows, by both ways: equal {}, known {}, refused here {}, refused by Spark {}, different {}",
        all.len(),
        rows.num_rows(),
        found.equal,
        found.known.count(),
        found.refused_here,
        found.refused_by_spark,
        found.wrong.lines().count()
    );
    spark.end().await;
    let unseen: Vec<&String> = found.functions.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    writeln!(found.report, "not seen equal: {unseen:?}").unwrap();
    write_report("functions", &format!("{}{}", found.wrong, found.report));
    assert!(found.wrong.is_empty(), "answers are not Spark's:\n{}", found.wrong);
    assert_eq!(unseen, Vec::<&String>::new(), "functions that were not seen to give anything");
    assert_eq!(found.known.gone(), Vec::<&str>::new(), "known differences that are none any more: strike them out");
}

async fn compare_all(spark: &Witnessed, exprs: &[String], rows: &RecordBatch, found: &mut Found) {
    let ours = evaluate(exprs, rows).await;
    let accepted: Vec<usize> =
        (0..exprs.len()).filter(|index| !matches!(ours[*index], Err(Verdict::Refused(_)))).collect();
    for index in 0..exprs.len() {
        if let Err(Verdict::Refused(why)) = &ours[index] {
            found.refused_here += 1;
            writeln!(found.report, "refused here\t{}\t{why}", exprs[index]).unwrap();
        }
    }
    let asked: Vec<String> = accepted.iter().map(|index| exprs[*index].clone()).collect();
    for way in [Way::AsSent, Way::ByTasks] {
        let theirs = spark.columns(&asked, rows, way).await;
        for (index, theirs) in accepted.iter().zip(theirs) {
            compare_one(&exprs[*index], way, &ours[*index], &theirs, found);
        }
    }
}

fn compare_one(
    expr: &str,
    way: Way,
    ours: &Result<ArrayRef, Verdict>,
    theirs: &Result<ArrayRef, String>,
    found: &mut Found,
) {
    let difference = match (ours, theirs) {
        // The model would wait for a Spark that is in trouble, and for ever.
        (_, Err(why)) if why.starts_with("Spark failed") => Some(why.clone()),
        (Ok(_), Err(why)) if found.known.fails(why) => {
            found.refused_by_spark += 1;
            writeln!(found.report, "refused by Spark\t{expr}\t{way:?}: {why}").unwrap();
            return;
        }
        (Ok(ours), Ok(theirs)) => compare::difference(expr, ours, theirs),
        (Ok(_), Err(why)) => Some(why.clone()),
        // A row for which both fail is rejected by both.
        (Err(_), Err(_)) => None,
        (Err(why), Ok(_)) => Some(format!("{why:?}")),
    };
    match difference {
        None => {
            found.equal += 1;
            for name in calls::functions_of(expr) {
                found.functions.entry(name).and_modify(|count| *count += 1);
            }
        }
        Some(why) if found.known.is(expr) => writeln!(found.report, "known\t{expr}\t{way:?}: {why}").unwrap(),
        Some(why) => writeln!(found.wrong, "different\t{expr}\t{way:?}: {why}").unwrap(),
    }
}

/// An aggregate over `_`, and the columns that it is called on (`~` stands for `_` in a name).
const AGGREGATES: [(&str, &str); 6] = [
    ("count(*)", "i"),
    ("count(_)", "ilfdmnsxatb"),
    ("sum(_)", "ilfd"),
    ("avg(_)", "ilfd"),
    ("min(_)", "ilfdmnsatb"),
    ("max(_)", "ilfdmnsatb"),
];

/// Aggregates with and without groups, over all rows and over none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_give_on_spark_what_they_give_here() {
    let Some(spark) = Witnessed::open() else { return };
    let rows = data::edges();
    let (mut wrong, mut equal) = (String::new(), 0);
    for (from, has_group) in
        [("given", true), ("given", false), ("given WHERE i = -7", true), ("given WHERE i = -7", false)]
    {
        let calls: Vec<String> = AGGREGATES
            .iter()
            .flat_map(|(name, columns)| columns.chars().map(|column| name.replace('_', &column.to_string())))
            .collect();
        let listed: Vec<String> = calls.iter().enumerate().map(|(index, call)| format!("{call} AS c{index}")).collect();
        let (head, tail) = if has_group { ("g, ", " GROUP BY g") } else { ("'all' AS g, ", "") };
        let text = |from: &str| format!("SELECT {head}{} FROM {from}{tail}", listed.join(", "));
        let theirs = spark.all(text(from), &rows).await.unwrap();
        let ours = preview(&format!("-- kind: full\n{}", text(&from.replace("given", "raw.t"))), rows.clone()).await;
        let ours = ours.unwrap();
        let ours = ours.first().map(|first| concat_batches(first.schema_ref(), &ours).unwrap());
        let (ours, theirs) = (ours.filter(|rows| rows.num_rows() > 0), theirs.filter(|rows| rows.num_rows() > 0));
        let (Some(ours), Some(theirs)) = (&ours, &theirs) else {
            assert_eq!(ours.is_some(), theirs.is_some(), "{from}");
            continue;
        };
        let (ours, theirs) = (in_order(ours), in_order(theirs));
        for (index, call) in [String::from("g")].iter().chain(&calls).enumerate() {
            match compare::difference(call, ours.column(index), theirs.column(index)) {
                Some(why) => writeln!(wrong, "different\t{call} FROM {from}{tail}\t{why}").unwrap(),
                None => equal += 1,
            }
        }
    }
    spark.end().await;
    eprintln!("conformance: {equal} columns of aggregates equal, {} different", wrong.lines().count());
    write_report("groups", &wrong);
    assert!(wrong.is_empty(), "answers are not Spark's:\n{wrong}");
}

fn in_order(rows: &RecordBatch) -> RecordBatch {
    let order = arrow::compute::sort_to_indices(rows.column(0), None, None).unwrap();
    arrow::compute::take_record_batch(rows, &order).unwrap()
}
