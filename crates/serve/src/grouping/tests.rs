//! Groups by numbers are the groups that the engine makes by itself.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::TaskContext;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use rstest::rstest;

use super::{GROUPS_MAX, with_few_groups};

/// Columns with few and many values: short texts, texts around the twelve bytes of a view, numbers, times, nulls.
fn context(rows: i64) -> SessionContext {
    let batches: Vec<RecordBatch> = (0..rows).step_by(5000).map(|from| batch(from..(from + 5000).min(rows))).collect();
    let schema = batches.first().unwrap().schema();
    let halves: Vec<_> = batches.chunks(batches.len().div_ceil(2)).map(<[_]>::to_vec).collect();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", Arc::new(MemTable::try_new(schema, halves).unwrap())).unwrap();
    context
}

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let text = |n: i64| match n % 101 {
        0 => None,
        k if k < 40 => Some(format!("d{k}")),
        // Eleven, twelve and thirteen bytes, and texts that differ in their last byte alone.
        k => Some(format!("device-{}{k:02}", "x".repeat((k % 5) as usize + 1))),
    };
    let (texts, seldom) = (rows.clone().map(text), rows.clone().map(|n| Some(format!("reading-{n}"))));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(texts.collect::<StringViewArray>())),
        ("seldom", Arc::new(seldom.collect::<StringViewArray>())),
        ("number", Arc::new(rows.clone().map(|n| (n % 7 != 0).then_some(n % 13 - 6)).collect::<Int64Array>())),
        ("unique", Arc::new(Int64Array::from_iter_values(rows.clone()))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(rows.map(|n| n % 24 - 3)).with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn lines(plan: Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Vec<String> {
    let batches = collect(plan, Arc::clone(context)).await.unwrap();
    let mut lines: Vec<String> =
        pretty_format_batches(&batches).unwrap().to_string().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[rstest]
#[case::text("SELECT text, COUNT(*), AVG(number), MIN(text), MAX(at) FROM t GROUP BY text")]
#[case::number("SELECT number, COUNT(number), SUM(unique) FROM t GROUP BY number")]
#[case::time("SELECT at, COUNT(*) FILTER (WHERE number > 0), MIN(number) FROM t GROUP BY at")]
#[case::expression("SELECT number + 1, COUNT(*) FROM t GROUP BY number + 1")]
#[case::two("SELECT text, at, COUNT(*), MAX(number) FROM t GROUP BY text, at")]
#[case::three("SELECT number, text, at, COUNT(*) FROM t GROUP BY number, text, at")]
#[case::distinct("SELECT COUNT(DISTINCT text), COUNT(DISTINCT text) + 1 FROM t")]
#[case::select_distinct("SELECT DISTINCT text, number FROM t")]
#[case::many("SELECT seldom, COUNT(*), SUM(number) FROM t GROUP BY seldom")]
#[case::many_numbers("SELECT unique, COUNT(*), SUM(number) FROM t GROUP BY unique")]
#[case::many_pairs("SELECT text, unique, COUNT(*) FROM t GROUP BY text, unique")]
#[case::none("SELECT text, COUNT(*) FROM t WHERE unique < 0 GROUP BY text")]
#[tokio::test]
async fn as_the_engine_groups(#[case] sql: &str) {
    let context = context(3 * GROUPS_MAX as i64 / 2);
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let few = with_few_groups(Arc::clone(&plan)).unwrap();
    assert!(displayable(few.as_ref()).indent(false).to_string().contains("FewGroups"), "{sql}");
    let tasks = context.task_ctx();
    assert_eq!(lines(few, &tasks).await, lines(plan, &tasks).await, "{sql}");
}

/// The same rows in two Parquet files of several row groups: `text` by dictionary, `seldom` by dictionary at first.
async fn in_files(rows: i64) -> (tempfile::TempDir, SessionContext) {
    let folder = tempfile::tempdir().unwrap();
    let half = rows / 2;
    for (name, from, to) in [("a", 0, half), ("b", half, rows)] {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(20_000))
            .set_dictionary_page_size_limit(64 << 10)
            .build();
        let file = std::fs::File::create(folder.path().join(format!("{name}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch(0..1).schema(), Some(properties)).unwrap();
        (from..to).step_by(5000).for_each(|from| writer.write(&batch(from..(from + 5000).min(to))).unwrap());
        writer.close().unwrap();
    }
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_parquet("t", folder.path().to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    (folder, context)
}

#[rstest]
#[case::text("SELECT text, COUNT(*), AVG(number), MIN(text), MAX(at) FROM t GROUP BY text")]
#[case::number("SELECT number, COUNT(number), SUM(unique) FROM t GROUP BY number")]
#[case::time("SELECT at, COUNT(*) FILTER (WHERE number > 0), MIN(number) FROM t GROUP BY at")]
#[case::expression("SELECT number + 1, COUNT(*) FROM t GROUP BY number + 1")]
#[case::two("SELECT text, at, COUNT(*), MAX(number) FROM t GROUP BY text, at")]
#[case::three("SELECT number, text, at, COUNT(*) FROM t GROUP BY number, text, at")]
#[case::distinct("SELECT COUNT(DISTINCT text), COUNT(DISTINCT text) + 1 FROM t")]
#[case::select_distinct("SELECT DISTINCT text, number FROM t")]
#[case::many("SELECT seldom, COUNT(*), SUM(number) FROM t GROUP BY seldom")]
#[case::many_numbers("SELECT unique, COUNT(*), SUM(number) FROM t GROUP BY unique")]
#[case::many_pairs("SELECT text, unique, COUNT(*) FROM t GROUP BY text, unique")]
#[case::none("SELECT text, COUNT(*) FROM t WHERE unique < 0 GROUP BY text")]
#[case::beside_itself("SELECT text, MIN(seldom), COUNT(*) FROM t GROUP BY text")]
#[case::filtered("SELECT text, COUNT(*) FROM t WHERE number > 2 GROUP BY text")]
#[case::limited("SELECT text, COUNT(*) FROM (SELECT text FROM t LIMIT 0) GROUP BY text")]
#[case::union("SELECT text, COUNT(*) FROM (SELECT text FROM t UNION ALL SELECT text FROM t) GROUP BY text")]
#[tokio::test]
async fn as_the_engine_groups_what_is_in_files(#[case] sql: &str) {
    let (_folder, context) = in_files(3 * GROUPS_MAX as i64 / 2).await;
    // A scan is read once: each has its own.
    let plan = || async { context.sql(sql).await.unwrap().create_physical_plan().await.unwrap() };
    let (plan, few) = (plan().await, with_few_groups(plan().await).unwrap());
    let tasks = context.task_ctx();
    assert_eq!(lines(few, &tasks).await, lines(plan, &tasks).await, "{sql}");
}

#[tokio::test]
async fn texts_that_are_keys_alone_come_by_dictionary() {
    let (_folder, context) = in_files(10).await;
    for (sql, by_dictionary) in [
        ("SELECT COUNT(DISTINCT text) FROM t", true),
        ("SELECT text, at, AVG(number) FROM t GROUP BY text, at", true),
        ("SELECT text, MAX(text) FROM t GROUP BY text", false),
        ("SELECT text, COUNT(*) FROM t WHERE number > 2 GROUP BY text", false),
        ("SELECT number, COUNT(*) FROM t GROUP BY number", false),
    ] {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let few = with_few_groups(plan).unwrap();
        assert_eq!(format!("{few:?}").contains("EncodedFiles"), by_dictionary, "{sql}");
    }
}

#[tokio::test]
async fn other_keys_are_the_engines() {
    let context = context(10);
    for sql in [
        "SELECT CAST(number AS DOUBLE), COUNT(*) FROM t GROUP BY 1",
        "SELECT text, number, COUNT(*) FROM t GROUP BY GROUPING SETS ((text), (number))",
        "SELECT text, ARRAY_AGG(number ORDER BY unique) FROM t GROUP BY text",
    ] {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let few = with_few_groups(plan).unwrap();
        assert!(!displayable(few.as_ref()).indent(false).to_string().contains("FewGroups"), "{sql}");
    }
}
