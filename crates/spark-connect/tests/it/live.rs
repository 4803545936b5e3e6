//! The client against a real Spark Connect 4 with Delta, at `VITALAKE_SPARK=sc://…`; skipped without one.
//!
//! Started with `spark.connect.execute.reattachable.senderMaxStreamDuration=3s`, it cuts each stream that is longer.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use rstest::rstest;
use vitalake_runtime::error::{Classified, Retry};
use vitalake_spark_connect::{Endpoint, Error, Input, Options, Query, Session, Source};

fn session(settings: &[(&str, &str)]) -> Option<Session> {
    let Ok(address) = std::env::var("VITALAKE_SPARK") else {
        eprintln!("skipped: VITALAKE_SPARK names no Spark Connect (sc://host:port)");
        return None;
    };
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let endpoint = Endpoint::parse(&address).expect("an address");
    Some(Session::open(&endpoint, Options::new("vitalake-tests", settings)).expect("a session"))
}

fn query(sql: &str, inputs: Vec<Input>) -> Query {
    Query { sql: sql.to_owned(), inputs, tags: vec![] }
}

fn rows(name: &str, batch: RecordBatch) -> Input {
    Input { name: name.to_owned(), rows: Source::Rows { schema: batch.schema(), batches: vec![batch] } }
}

async fn one_number(session: &Session, query: &Query) -> i64 {
    let batches = session.query(query).await.expect("a plan").collect().await.expect("rows");
    let filled: Vec<_> = batches.iter().filter(|batch| batch.num_rows() > 0).collect();
    filled[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn it_says_its_version() {
    let Some(session) = session(&[]) else { return };
    assert!(session.version().await.expect("a version").starts_with("4."));
}

#[tokio::test]
async fn rows_go_there_and_come_back_with_their_types() {
    let Some(session) = session(&[]) else { return };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]))),
        ("real", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-0.0), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("ä😀"), Some(""), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-62_135_596_800_000_000), None, Some(1)])
                    .with_timezone("UTC"),
            ),
        ),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(1)]))),
        (
            "price",
            Arc::new(Decimal128Array::from(vec![Some(-1), None, Some(99)]).with_precision_and_scale(38, 2).unwrap()),
        ),
    ];
    let sent = RecordBatch::try_from_iter(columns).unwrap();
    let mut answer =
        session.query(&query("SELECT * FROM given", vec![rows("given", sent.clone())])).await.expect("a plan");
    let got = answer.collect().await.expect("rows");
    assert_eq!(answer.schema().fields().len(), 7);
    let got = arrow::compute::concat_batches(&answer.schema(), &got).unwrap();
    for (index, column) in sent.columns().iter().enumerate() {
        assert_eq!(got.column(index).to_data(), column.to_data(), "column {index}");
    }
    assert!(answer.plan_nodes() > 0, "Spark tells what its plan did");
}

#[tokio::test]
async fn layouts_that_spark_does_not_take_are_sent_in_those_that_it_takes() {
    let Some(session) = session(&[]) else { return };
    let coded: DictionaryArray<arrow_array::types::Int32Type> = ["a", "b", "a"].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("view", Arc::new(StringViewArray::from(vec!["x", "y", "z"]))), ("coded", Arc::new(coded))];
    let sent = RecordBatch::try_from_iter(columns).unwrap();
    let sql = "SELECT count(*) FROM given WHERE coded = 'a' AND view IN ('x', 'z')";
    assert_eq!(one_number(&session, &query(sql, vec![rows("given", sent)])).await, 2);
}

#[tokio::test]
async fn an_input_without_rows_has_its_columns() {
    let Some(session) = session(&[]) else { return };
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let input = Input { name: "given".to_owned(), rows: Source::Rows { schema, batches: vec![] } };
    let mut answer = session.query(&query("SELECT a, 1 AS b FROM given", vec![input])).await.expect("a plan");
    assert_eq!(answer.schema().field(0).data_type(), &DataType::Int64);
    assert_eq!(answer.collect().await.expect("rows").iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

/// Streams that are cut every three seconds: rows of a query of many, and the one of a query that says nothing for long.
#[tokio::test]
async fn what_takes_longer_than_a_stream_comes_to_its_end() {
    let Some(session) = session(&[]) else { return };
    let slow =
        "SELECT count(slept) FROM (SELECT reflect('java.lang.Thread', 'sleep', 500L) AS slept FROM range(0, 16, 1, 1))";
    let began = Instant::now();
    let mut answer = session.query(&query(slow, vec![])).await.expect("a plan");
    let progress = answer.progress();
    let got = answer.collect().await.expect("rows");
    assert_eq!(got.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    assert!(began.elapsed() > Duration::from_secs(7), "it was slow: {:?}", began.elapsed());
    assert!(progress.borrow().tasks > 0, "it told of its progress");
}

#[tokio::test]
async fn no_row_of_many_is_lost_or_doubled() {
    let Some(session) = session(&[]) else { return };
    let mut answer =
        session.query(&query("SELECT id, repeat('x', 400) AS text FROM range(300000)", vec![])).await.expect("a plan");
    let (mut count, mut sum) = (0, 0);
    while let Some(batch) = answer.next().await {
        let batch = batch.expect("a batch");
        count += batch.num_rows();
        sum += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
    }
    assert_eq!((count, sum), (300_000, 299_999 * 150_000));
}

#[tokio::test]
async fn a_large_input_is_sent_before_its_statement() {
    let Some(session) = session(&[]) else { return };
    let numbers = Int64Array::from_iter_values(0..200_000);
    let texts = StringArray::from_iter_values((0..200_000).map(|number| format!("{number:0>100}")));
    let columns: Vec<(&str, ArrayRef)> = vec![("number", Arc::new(numbers)), ("text", Arc::new(texts))];
    let sent = RecordBatch::try_from_iter(columns).unwrap();
    let small: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let small = RecordBatch::try_from_iter([("digit", small)]).unwrap();
    let sql = "SELECT sum(number) FROM given JOIN small ON digit = 0 WHERE length(text) = 100";
    let inputs = vec![rows("given", sent), rows("small", small)];
    assert_eq!(one_number(&session, &query(sql, inputs)).await, 199_999 * 100_000);
}

#[tokio::test]
async fn files_and_versions_are_read_where_spark_sees_them() {
    let Some(session) = session(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let schema = "{\\\"type\\\":\\\"struct\\\",\\\"fields\\\":[{\\\"name\\\":\\\"a\\\",\\\"type\\\":\\\"long\\\",\\\"nullable\\\":true,\\\"metadata\\\":{}}]}";
    std::fs::create_dir(folder.path().join("_delta_log")).unwrap();
    let begin = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"t\",\"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\"partitionColumns\":[],\"configuration\":{{}}}}}}\n"
    );
    for version in 0..2 {
        let file = format!("part-{version}.parquet");
        let bytes = write(&folder.path().join(&file), version + 1);
        let add = format!(
            "{{\"add\":{{\"path\":\"{file}\",\"partitionValues\":{{}},\"size\":{bytes},\"modificationTime\":1,\"dataChange\":true}}}}\n"
        );
        let log = if version == 0 { format!("{begin}{add}") } else { add };
        std::fs::write(folder.path().join(format!("_delta_log/{version:020}.json")), log).unwrap();
    }
    let path = folder.path().to_str().unwrap().to_owned();
    let read = |rows: Source| query("SELECT sum(a) FROM given", vec![Input { name: "given".to_owned(), rows }]);
    let delta = |version| Source::Delta { path: path.clone(), version };
    assert_eq!(one_number(&session, &read(delta(0))).await, 1);
    assert_eq!(one_number(&session, &read(delta(1))).await, 3);
    let paths = vec![format!("{path}/part-1.parquet")];
    let schema = Some(Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("new", DataType::Utf8, true),
    ])));
    assert_eq!(one_number(&session, &read(Source::Parquet { paths: paths.clone(), schema: None })).await, 2);
    assert_eq!(one_number(&session, &read(Source::Parquet { paths, schema })).await, 2);
    let error = session
        .query(&read(Source::Parquet { paths: vec![format!("{path}/none.parquet")], schema: None }))
        .await
        .expect_err("no file");
    assert_eq!((error.error_class(), error.retry()), (Some("PATH_NOT_FOUND"), Retry::Later), "{error}");
}

fn write(path: &Path, number: i64) -> u64 {
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![number])) as ArrayRef)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

#[rstest]
#[case("SELECT '😀' AS a,\n  1 / (id - id) AS b FROM range(3)", "DIVIDE_BY_ZERO", "22012", "1 / (id - id)")]
#[case("SELECT CAST('s3cret' AS INT)", "CAST_INVALID_INPUT", "22018", "CAST('s3cret' AS INT)")]
#[case("SELECT '😀', nosuch FROM range(3)", "UNRESOLVED_COLUMN", "42703", "nosuch")]
#[case("SELECT '😀'\nFROM s3cret", "TABLE_OR_VIEW_NOT_FOUND", "42P01", "s3cret")]
#[case("SELECT '😀'\nFROM range(3) WHERE )", "PARSE_SYNTAX_ERROR", "42601", ")")]
#[tokio::test]
async fn an_error_has_its_class_and_place_and_no_value(
    #[case] sql: &str,
    #[case] class: &str,
    #[case] state: &str,
    #[case] place: &str,
) {
    let Some(session) = session(&[("spark.sql.ansi.enabled", "true")]) else { return };
    let error = match session.query(&query(sql, vec![])).await {
        Ok(mut answer) => answer.collect().await.expect_err("no rows"),
        Err(error) => error,
    };
    assert!(error.error_class().expect("a class").starts_with(class), "{error}");
    assert_eq!(error.sql_state(), Some(state));
    assert_eq!(&sql[error.place().expect("a place")], place);
    assert_eq!(error.retry(), Retry::Never);
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[tokio::test]
async fn settings_hold_and_a_closed_session_is_begun_anew_with_them() {
    let Some(session) = session(&[("spark.sql.session.timeZone", "Asia/Tokyo")]) else { return };
    let asked =
        query("SELECT CAST(current_timezone() = 'Asia/Tokyo' AS BIGINT), TIMESTAMP'2020-01-01 00:00:00'", vec![]);
    assert_eq!(one_number(&session, &asked).await, 1);
    session.close().await.expect("closed");
    assert_eq!(one_number(&session, &asked).await, 1);
    let mut answer = session.query(&asked).await.expect("a plan");
    let got = answer.collect().await.expect("rows");
    assert_eq!(got[0].column(1).as_primitive::<TimestampMicrosecondType>().value(0), 1_577_804_400_000_000);
}

#[tokio::test]
async fn an_answer_that_nobody_wants_stops_its_statement() {
    let Some(session) = session(&[]) else { return };
    let mut asked = query("SELECT reflect('java.lang.Thread', 'sleep', 1000L) FROM range(0, 600, 1, 1)", vec![]);
    asked.tags = vec!["nobody".to_owned()];
    drop(session.query(&asked).await.expect("a plan"));
    // Spark tells which operations of a tag it stopped: none is left once ours was stopped.
    for _ in 0..100 {
        if session.interrupt("nobody").await.expect("an answer") == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it still runs");
}

#[tokio::test]
async fn a_statement_is_stopped_by_its_tag() {
    let Some(session) = session(&[]) else { return };
    let mut asked = query("SELECT reflect('java.lang.Thread', 'sleep', 1000L) FROM range(0, 600, 1, 1)", vec![]);
    asked.tags = vec!["stopped".to_owned()];
    let mut answer = session.query(&asked).await.expect("a plan");
    assert_eq!(session.interrupt("stopped").await.expect("an answer"), 1);
    let error = answer.collect().await.expect_err("no end");
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
}
