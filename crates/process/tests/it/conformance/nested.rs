//! Expressions within expressions, over the edges, on both engines: what each alone gives alike may still differ together,
//! by a type that only another function gives, or a value that no column holds.
//!
//! `VITALAKE_CONFORMANCE_SEED` draws others, `VITALAKE_CONFORMANCE_ASK=FILE` asks the lines of a file in their place, and
//! `VITALAKE_CONFORMANCE_RECORD=FILE` writes Spark's answers for `recorded`.
//! Invariant: what is made of a part on which the engines differ, or for which Spark fails, is not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use arrow::array::{ArrayRef, RecordBatch};

use super::ask::{Way, Witnessed};
use super::known::Known;
use super::nests::{Chance, Pieces, framed, grouped, nested, reads};
use super::recorded::{self, MENDED, MENDED_GROUPS};
use super::{calls, compare, data, write_report};
use crate::corpus::{Verdict, evaluate, simple};

const SEED: u64 = 13;
const EXPRESSIONS_A_STATEMENT: usize = 100;
/// One call in so many is a part of others: all together say no more, and are asked by themselves elsewhere.
const PARTS_EACH: usize = 4;
/// How many are drawn of each: calls in calls, frames around calls, both around those, and aggregates.
const CALLS: usize = 1200;
const FRAMES: usize = 700;
const DEEPER: usize = 600;
const GROUPS: usize = 300;
/// One answer in so many is written down.
const RECORDED_EACH: usize = 6;

fn chance() -> Chance {
    Chance(std::env::var("VITALAKE_CONFORMANCE_SEED").map_or(SEED, |seed| seed.parse().unwrap()))
}

/// What came of a comparison.
#[derive(Default)]
struct Found {
    equal: usize,
    refused_here: usize,
    refused_by_spark: usize,
    known: Known,
    wrong: String,
    records: String,
}

impl Found {
    fn compare(&mut self, expr: &str, ours: &Result<ArrayRef, Verdict>, theirs: &Result<ArrayRef, String>, form: &str) {
        let difference = match (ours, theirs) {
            (Err(Verdict::Refused(_)), _) => {
                self.refused_here += 1;
                return;
            }
            (_, Err(why)) if why.starts_with("Spark failed") => Some(why.clone()),
            (Ok(_), Err(why)) if self.known.fails(why) => {
                self.refused_by_spark += 1;
                return;
            }
            (Ok(ours), Ok(theirs)) => compare::difference(expr, ours, theirs),
            (Ok(_), Err(why)) => Some(why.clone()),
            (Err(_), Err(_)) => None,
            (Err(why), Ok(_)) => Some(format!("{why:?}")),
        };
        match (difference, ours, theirs) {
            (None, Ok(ours), Ok(theirs)) => {
                self.equal += 1;
                let is_mended = MENDED.contains(&expr) || MENDED_GROUPS.contains(&expr);
                if is_mended || self.equal.is_multiple_of(RECORDED_EACH) {
                    self.records.extend(recorded::line(form, expr, ours, theirs));
                }
            }
            (None, ..) => self.equal += 1,
            (Some(_), ..) if self.known.is(expr) || is_decided(expr) => {}
            (Some(why), ..) => writeln!(self.wrong, "different\t{expr}\t{form}: {why}").unwrap(),
        }
    }

    fn told(&self, what: &str, asked: usize) {
        eprintln!(
            "conformance: {asked} {what}: equal {}, known {}, refused here {}, refused by Spark {}, different {}",
            self.equal,
            self.known.count(),
            self.refused_here,
            self.refused_by_spark,
            self.wrong.lines().count()
        );
    }
}

/// The types that these give here.
async fn kinds(exprs: &[String], rows: &RecordBatch) -> BTreeMap<String, String> {
    let mut kinds = BTreeMap::new();
    for chunk in exprs.chunks(EXPRESSIONS_A_STATEMENT) {
        for (expr, found) in chunk.iter().zip(evaluate(chunk, rows).await) {
            kinds.extend(found.ok().map(|column| (expr.clone(), simple(column.data_type()))));
        }
    }
    kinds
}

/// Of some calls those on which both engines agree, each with its type.
async fn agreed(spark: &Witnessed, rows: &RecordBatch, chance: &mut Chance) -> Vec<(String, String)> {
    let some: Vec<String> = calls::calls().into_iter().filter(|_| chance.below(PARTS_EACH) == 0).collect();
    let mut agreed = Vec::new();
    for chunk in some.chunks(EXPRESSIONS_A_STATEMENT) {
        let ours = evaluate(chunk, rows).await;
        let accepted: Vec<usize> = (0..chunk.len()).filter(|index| ours[*index].is_ok()).collect();
        let asked: Vec<String> = accepted.iter().map(|index| chunk[*index].clone()).collect();
        let theirs = spark.columns(&asked, rows, Way::AsSent).await;
        for (index, theirs) in accepted.into_iter().zip(theirs) {
            if let (Ok(ours), Ok(theirs)) = (&ours[index], theirs)
                && compare::difference(&chunk[index], ours, &theirs).is_none()
            {
                agreed.push((chunk[index].clone(), simple(ours.data_type())));
            }
        }
    }
    agreed
}

/// `>>` after `array`, `map` or `struct` is refused for a model on Spark, which takes it for the end of types.
fn is_read_by_spark(expr: &str) -> bool {
    !expr.contains(">>") || !["array", "map", "struct"].iter().any(|word| expr.to_lowercase().contains(word))
}

/// Differences that docs/spark-functions.md names, within what holds them: a DECIMAL of 32 digits and more as a time, a day
/// beyond the calendar, and the last digits of a FLOAT, or of what no standard says, as a text.
fn is_decided(expr: &str) -> bool {
    let lower = expr.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let as_text = has(&["as string)", "concat(", "||", "string(", "trim(", "hash(", "length("]);
    (has(&["as timestamp)", "timestamp(", "as date)"]) && reads(expr, "m"))
        || (has(&["interval"]) && has(&["make_date(i", "make_date((i"]))
        || (as_text && (has(&["float"]) || !compare::is_exact(expr)))
}

/// All that is asked, row by row and by groups.
async fn drawn(agreed: &[(String, String)], rows: &RecordBatch, chance: &mut Chance) -> (Vec<String>, Vec<String>) {
    let calls: Vec<String> = agreed.iter().map(|(call, _)| call.clone()).collect();
    let mut pieces = Pieces::default();
    agreed.iter().for_each(|(call, kind)| pieces.add(call, kind));
    let mut first = BTreeSet::new();
    for _ in 0..CALLS {
        first.extend(nested(&calls, &pieces, chance));
    }
    first.extend((0..FRAMES).map(|_| framed(&pieces, chance)));
    let first: Vec<String> = first.into_iter().collect();
    for (expr, kind) in kinds(&first, rows).await {
        pieces.add(&expr, &kind);
    }
    let mut all: BTreeSet<String> = first.into_iter().collect();
    for _ in 0..DEEPER {
        all.extend(nested(&calls, &pieces, chance));
        all.insert(framed(&pieces, chance));
    }
    all.extend(MENDED.map(str::to_owned));
    all.retain(|expr| is_read_by_spark(expr));
    let mut groups: BTreeSet<String> = (0..GROUPS).map(|_| grouped(&pieces, chance)).collect();
    groups.retain(|expr| is_read_by_spark(expr));
    groups.extend(MENDED_GROUPS.map(str::to_owned));
    (all.into_iter().collect(), groups.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_within_expressions_give_on_spark_what_they_give_here() {
    let Some(spark) = Witnessed::open() else { return };
    let rows = data::edges();
    let (all, groups) = match std::env::var("VITALAKE_CONFORMANCE_ASK") {
        Ok(path) => (std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect(), Vec::new()),
        Err(_) => {
            let mut chance = chance();
            let agreed = agreed(&spark, &rows, &mut chance).await;
            drawn(&agreed, &rows, &mut chance).await
        }
    };
    let mut found = Found::default();
    for chunk in all.chunks(EXPRESSIONS_A_STATEMENT) {
        let ours = evaluate(chunk, &rows).await;
        let accepted: Vec<usize> =
            (0..chunk.len()).filter(|index| !matches!(ours[*index], Err(Verdict::Refused(_)))).collect();
        found.refused_here += chunk.len() - accepted.len();
        let asked: Vec<String> = accepted.iter().map(|index| chunk[*index].clone()).collect();
        let theirs = spark.columns(&asked, &rows, Way::ByTasks).await;
        for (index, theirs) in accepted.iter().zip(theirs) {
            found.compare(&chunk[*index], &ours[*index], &theirs, "rows");
        }
    }
    found.told("expressions within expressions", all.len());
    let mut by_groups = Found::default();
    for chunk in groups.chunks(EXPRESSIONS_A_STATEMENT) {
        let ours = recorded::groups(chunk, &rows).await;
        let theirs = spark.groups(chunk, &rows).await;
        for (expr, (ours, theirs)) in chunk.iter().zip(ours.iter().zip(&theirs)) {
            by_groups.compare(expr, ours, theirs, "groups");
        }
    }
    by_groups.told("expressions around aggregates", groups.len());
    spark.end().await;
    let wrong = found.wrong + &by_groups.wrong;
    write_report("nested", &wrong);
    if let Ok(path) = std::env::var("VITALAKE_CONFORMANCE_RECORD") {
        std::fs::write(path, found.records + &by_groups.records).unwrap();
    }
    assert!(wrong.is_empty(), "answers are not Spark's:\n{wrong}");
    assert!(found.equal >= all.len() / 2 && by_groups.equal >= groups.len() / 2, "most of them say nothing");
}
