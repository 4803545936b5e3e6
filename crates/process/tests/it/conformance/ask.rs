//! Spark as a witness: every statement is asked for a column that only Spark can give, and rows without it are no answer.
//!
//! It stands between the models and the Spark at `VITALAKE_SPARK`, which is opened as the platform opens it. Invariant: what
//! leaves here was computed by a Spark of the version that it names, and a Spark that is away fails the test.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use vitalake_process::spark::{Answer, Failure, Input, Question, Spark, connect};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::Health;

use super::recorded::columns;

/// Around each statement. Spark's `version()` is its number and the commit that it was built from.
const BEFORE: &str = "SELECT *, version() AS `ran_by` FROM (\n";
const AFTER: &str = "\n) AS `asked`";
/// The tag of every statement, by which Spark's own log of events knows them.
const TAG: &str = "conformance";
/// Spark's class of a text that is no statement.
const UNREADABLE: &str = "PARSE_SYNTAX_ERROR";
const STATEMENT_MAX: Duration = Duration::from_secs(300);

/// How rows go through Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As those of a model: Spark's optimiser computes what it can of rows that came with the statement.
    AsSent,
    /// In tasks, by the code that Spark generates, as rows of a table would.
    ByTasks,
}

/// A Spark, and how many of its answers have had its mark.
#[derive(Debug)]
pub struct Witnessed {
    spark: Arc<dyn Spark>,
    /// Rows with Spark's mark, by the tag of who asked.
    rows: Arc<Mutex<BTreeMap<String, usize>>>,
    answered: Arc<AtomicUsize>,
}

impl Witnessed {
    /// The Spark that the environment names; says why there is none.
    pub fn open() -> Option<Arc<Self>> {
        let Ok(address) = std::env::var("VITALAKE_SPARK") else {
            eprintln!(
                "skipped: VITALAKE_SPARK names no Spark Connect (sc://host:port); `make systems ONLY=conformance` has one"
            );
            return None;
        };
        let spark = connect::open(&address, Health::new("Spark", Clock::system())).unwrap();
        Some(Arc::new(Self { spark, rows: Arc::default(), answered: Arc::default() }))
    }

    /// Says how many statements had an answer, for whoever compares with Spark's own log.
    pub async fn end(&self) {
        println!("conformance: Spark answered {} statements", self.answered.load(Ordering::Acquire));
        self.close().await;
    }

    /// How many rows with Spark's mark came for a tag.
    pub fn rows_of(&self, tag: &str) -> usize {
        self.rows.lock().get(tag).copied().unwrap_or(0)
    }

    /// All rows of a statement over `given`; an empty answer has no batch.
    pub async fn all(&self, sql: String, given: &RecordBatch) -> Result<Option<RecordBatch>, Failure> {
        let inputs = vec![Input { name: "given".to_owned(), schema: given.schema(), rows: vec![given.clone()] }];
        let answered = async {
            let answer = self.ask(Question { sql, inputs, tags: Vec::new() }).await?;
            answer.rows.try_collect::<Vec<_>>().await
        };
        let batches = tokio::time::timeout(STATEMENT_MAX, answered).await.expect("Spark does not answer")?;
        Ok(batches.first().map(|first| concat_batches(first.schema_ref(), &batches).unwrap()))
    }

    /// What Spark gives for each of these expressions: a column, or its error class.
    pub async fn columns(&self, exprs: &[String], given: &RecordBatch, way: Way) -> Vec<Result<ArrayRef, String>> {
        let mut made: Vec<Option<Result<ArrayRef, String>>> = vec![None; exprs.len()];
        loop {
            let open: Vec<usize> = (0..exprs.len()).filter(|index| made[*index].is_none()).collect();
            if open.is_empty() {
                return made.into_iter().map(Option::unwrap).collect();
            }
            let texts: Vec<String> = open.iter().map(|index| exprs[*index].clone()).collect();
            let (sql, ends) = statement(&texts, way);
            match self.all(sql, given).await {
                Ok(batch) => {
                    let batch = in_order(&batch.expect("each row gives one"), given);
                    for (place, index) in open.iter().enumerate() {
                        made[*index] = Some(Ok(Arc::clone(batch.column(place + 1))));
                    }
                }
                Err(failure) => {
                    let (why, at) = blamed(&failure);
                    let place = at.and_then(|at| ends.iter().position(|end| at < *end));
                    match place {
                        // What stands before it may be why Spark cannot read it.
                        Some(place) if why == UNREADABLE && open.len() > 1 => {
                            let alone = &exprs[open[place]..=open[place]];
                            made[open[place]] = Box::pin(self.columns(alone, given, way)).await.pop();
                        }
                        Some(place) => made[open[place]] = Some(Err(why)),
                        None if open.len() == 1 => made[open[0]] = Some(Err(why)),
                        None => {
                            let (first, second) = texts.split_at(texts.len() / 2);
                            let mut found = Box::pin(self.columns(first, given, way)).await;
                            found.extend(Box::pin(self.columns(second, given, way)).await);
                            for (index, result) in open.iter().zip(found) {
                                made[*index] = Some(result);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Witnessed {
    /// What Spark gives for each of these expressions around aggregates, for each group in their order.
    pub async fn groups(&self, exprs: &[String], given: &RecordBatch) -> Vec<Result<ArrayRef, String>> {
        let listed: Vec<String> = exprs.iter().enumerate().map(|(index, expr)| format!("{expr} AS c{index}")).collect();
        match self.all(format!("SELECT g, {}\nFROM given GROUP BY g", listed.join(",\n")), given).await {
            Ok(batch) => columns(&batch.expect("there are groups")).into_iter().map(Ok).collect(),
            Err(failure) if exprs.len() == 1 => vec![Err(blamed(&failure).0)],
            Err(_) => {
                let (first, second) = exprs.split_at(exprs.len() / 2);
                let mut found = Box::pin(self.groups(first, given)).await;
                found.extend(Box::pin(self.groups(second, given)).await);
                found
            }
        }
    }
}

/// A statement with a column for each expression, and where the text of each ends.
fn statement(exprs: &[String], way: Way) -> (String, Vec<usize>) {
    let mut sql = String::from("SELECT `row`");
    let mut ends = Vec::new();
    for (index, expr) in exprs.iter().enumerate() {
        write!(sql, ",\n {expr} AS c{index}").unwrap();
        ends.push(sql.len());
    }
    // What differs from task to task is left to the tasks, and all that stands beside it.
    sql.push_str(if way == Way::ByTasks { ",\n spark_partition_id() AS part\nFROM given" } else { "\nFROM given" });
    (sql, ends)
}

fn in_order(batch: &RecordBatch, given: &RecordBatch) -> RecordBatch {
    let order = arrow::compute::sort_to_indices(batch.column(0), None, None).unwrap();
    let sorted = arrow::compute::take_record_batch(batch, &order).unwrap();
    assert_eq!(sorted.column(0).to_data(), given.column(0).to_data(), "each row gives one");
    sorted
}

/// What Spark says of a statement, and where. Any other failure says nothing of the statement, and ends the test.
fn blamed(failure: &Failure) -> (String, Option<usize>) {
    match failure {
        Failure::Statement { class, at, .. } => (class.clone().unwrap_or_else(|| "no class".to_owned()), *at),
        Failure::Unusable { .. } | Failure::TooLarge => (failure.to_string(), None),
        Failure::Away { what } if what.starts_with("Spark failed") => (what.clone(), None),
        Failure::Away { .. } | Failure::SessionLost => panic!("{failure}"),
    }
}

#[async_trait]
impl Spark for Witnessed {
    async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let tag = question.tags.iter().find(|tag| tag.starts_with("model:")).cloned().unwrap_or_default();
        let sql = format!("{BEFORE}{}{AFTER}", question.sql);
        let tags = question.tags.into_iter().chain([TAG.to_owned()]).collect();
        let answer = self.spark.ask(Question { sql, tags, ..question }).await.map_err(moved)?;
        let (seen, answered) = (Arc::clone(&self.rows), Arc::clone(&self.answered));
        let end = futures::stream::once(async move {
            answered.fetch_add(1, Ordering::AcqRel);
            None
        });
        let rows = answer.rows.map(move |batch| {
            let batch = unmarked(&batch.map_err(moved)?);
            *seen.lock().entry(tag.clone()).or_default() += batch.num_rows();
            Ok(batch)
        });
        let rows = rows.map(Some).chain(end).filter_map(std::future::ready);
        Ok(Answer { rows: rows.boxed(), progress: answer.progress })
    }

    async fn close(&self) {
        self.spark.close().await;
    }
}

/// A failure with the place in the text that was asked for.
fn moved(failure: Failure) -> Failure {
    match failure {
        Failure::Statement { class, sql_state, at } => {
            Failure::Statement { class, sql_state, at: at.and_then(|at| at.checked_sub(BEFORE.len())) }
        }
        other => other,
    }
}

/// The rows without Spark's mark, which each of them has to have.
fn unmarked(batch: &RecordBatch) -> RecordBatch {
    let last = batch.num_columns() - 1;
    let marks = cast(batch.column(last), &DataType::Utf8).unwrap();
    let marks = marks.as_string::<i32>();
    assert_eq!(marks.null_count(), 0);
    assert!(marks.iter().flatten().all(is_sparks), "{:?} is not what Spark calls itself", marks.iter().next());
    batch.project(&(0..last).collect::<Vec<_>>()).unwrap()
}

/// `4.2.0 32f72993…`: the number, and the commit.
fn is_sparks(mark: &str) -> bool {
    let (number, commit) = mark.split_once(' ').unwrap_or_default();
    number.starts_with("4.") && commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}
