//! The client against a double of Spark that cuts, loses, refuses and stays silent.
//!
//! One invariant: whatever happens to streams, an answer is either all rows once, or an error.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType as Arrow, Field, Schema};
use bytes::Bytes;
use rstest::rstest;
use tonic::Status;
use vitalake_runtime::error::{Classified, Retry};
use vitalake_spark_connect::proto::data_type::{Kind, Long, Struct, StructField};
use vitalake_spark_connect::proto::execute_plan_response::{ArrowBatch, ResponseType, ResultComplete};
use vitalake_spark_connect::proto::fetch_error_details_response::{self as told, query_context};
use vitalake_spark_connect::proto::{DataType, ExecutePlanResponse, FetchErrorDetailsResponse};
use vitalake_spark_connect::{Endpoint, Error, Options, Query, Session};

use crate::double::{Call, Double, Fault, handle, spark_status};

const ROWS: i64 = 10;
/// What no error may show.
pub(crate) const SECRET: &str = "S3CRET_VALUE";

fn schema() -> ExecutePlanResponse {
    let long = DataType { kind: Some(Kind::Long(Long::default())) };
    let id = StructField { name: String::from("id"), data_type: Some(long), nullable: true, metadata: None };
    let row = Struct { fields: vec![id], ..Struct::default() };
    ExecutePlanResponse { schema: Some(DataType { kind: Some(Kind::Struct(row)) }), ..Default::default() }
}

fn response(kind: ResponseType) -> ExecutePlanResponse {
    ExecutePlanResponse { response_type: Some(kind), ..Default::default() }
}

fn complete() -> ExecutePlanResponse {
    response(ResponseType::ResultComplete(ResultComplete::default()))
}

/// Ten rows as Arrow, without where they stand: what is given twice is not seen by that.
fn batch(number: i64) -> ArrowBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("id", Arrow::Int64, true)]));
    let ids = Int64Array::from_iter_values(number * ROWS..(number + 1) * ROWS);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![Arc::new(ids)]).unwrap()).unwrap();
    let data = Bytes::from(writer.into_inner().unwrap());
    ArrowBatch { row_count: ROWS, data, ..ArrowBatch::default() }
}

/// A batch in parts.
fn chunks(number: i64, count: usize) -> Vec<ArrowBatch> {
    let whole = batch(number);
    let size = whole.data.len().div_ceil(count);
    let part = |index: usize| ArrowBatch {
        data: whole.data.slice(index * size..whole.data.len().min((index + 1) * size)),
        start_offset: Some(number * ROWS),
        chunk_index: Some(index as i64),
        num_chunks_in_batch: Some(count as i64),
        ..whole.clone()
    };
    (0..count).map(part).collect()
}

fn answer_of(parts: Vec<ArrowBatch>) -> Vec<ExecutePlanResponse> {
    let parts = parts.into_iter().map(|part| response(ResponseType::ArrowBatch(part)));
    [schema()].into_iter().chain(parts).chain([complete()]).collect()
}

/// A double whose answer is its schema (`r0`), so many batches (`r1`…) and its end.
pub(crate) async fn double(batches: i64) -> Double {
    Double::start(answer_of((0..batches).map(batch).collect())).await
}

pub(crate) fn options() -> Options {
    Options::new("vitalake-tests", vec![("a.setting".to_owned(), "1".to_owned())])
}

pub(crate) fn session(double: &Double, options: Options) -> Session {
    let endpoint = Endpoint::parse(&format!("sc://127.0.0.1:{}", double.port)).unwrap();
    Session::open(&endpoint, options).unwrap()
}

pub(crate) async fn ids(session: &Session) -> Result<Vec<i64>, Error> {
    let sql = String::from("SELECT id FROM t");
    let mut answer = session.query(&Query { sql, inputs: vec![], tags: vec![] }).await?;
    let batches = answer.collect().await?;
    Ok(batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
}

pub(crate) fn all(batches: i64) -> Vec<i64> {
    (0..batches * ROWS).collect()
}

pub(crate) fn executions(calls: &[Call]) -> Vec<(String, String)> {
    let execution = |call: &Call| match call {
        Call::Execute { session, operation } => Some((session.clone(), operation.clone())),
        _ => None,
    };
    calls.iter().filter_map(execution).collect()
}

pub(crate) fn reattached_after(calls: &[Call]) -> Vec<Option<String>> {
    let last = |call: &Call| match call {
        Call::Reattach { last, .. } => Some(last.clone()),
        _ => None,
    };
    calls.iter().filter_map(last).collect()
}

pub(crate) fn configured(calls: &[Call]) -> Vec<String> {
    let session = |call: &Call| match call {
        Call::Config { session, settings } => {
            assert!(settings.contains(&("a.setting".to_owned(), "1".to_owned())), "{settings:?}");
            Some(session.clone())
        }
        _ => None,
    };
    calls.iter().filter_map(session).collect()
}

#[rstest]
#[case::before_anything(Fault::EndAfter(0), None)]
#[case::after_the_schema(Fault::EndAfter(1), Some("r0"))]
#[case::within_the_rows(Fault::EndAfter(3), Some("r2"))]
#[case::before_the_end_is_said(Fault::EndAfter(5), Some("r4"))]
#[case::the_connection_breaks(Fault::FailAfter(3, Status::unavailable("")), Some("r2"))]
#[case::the_server_cancels(Fault::FailAfter(3, Status::cancelled("")), Some("r2"))]
#[case::the_answer_is_lost(Fault::Refused(Status::unavailable("")), None)]
#[case::another_stream_takes_its_place(Fault::FailAfter(2, spark_status("", &[("errorClass", "INVALID_CURSOR.DISCONNECTED")])), Some("r1"))]
#[case::told_in_the_message_alone(
    Fault::FailAfter(2, Status::internal("[INVALID_CURSOR.DISCONNECTED] The cursor")),
    Some("r1")
)]
#[tokio::test]
async fn a_stream_that_breaks_is_followed_by_the_next_after_the_last_response(
    #[case] fault: Fault,
    #[case] last: Option<&str>,
) {
    let double = double(4).await;
    double.faults([fault]);
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(4));
    let calls = double.calls();
    assert_eq!(executions(&calls).len(), 1);
    assert_eq!(reattached_after(&calls), [last.map(str::to_owned)]);
}

#[tokio::test]
async fn streams_of_one_response_each_come_to_the_end() {
    let double = double(5).await;
    double.always(Fault::EndAfter(1));
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(5));
    let lasts: Vec<_> = (0..6).map(|number| Some(format!("r{number}"))).collect();
    assert_eq!(reattached_after(&double.calls()), lasts);
}

#[rstest]
#[case::its_request_was_lost(vec![Fault::Unarrived(Status::unavailable(""))])]
#[case::twice(vec![Fault::Unarrived(Status::unavailable("")), Fault::Refused(handle("OPERATION_NOT_FOUND")), Fault::Unarrived(Status::unavailable(""))])]
#[case::it_was_lost_before_it_said_anything(vec![Fault::EndAfter(0), Fault::Refused(handle("OPERATION_NOT_FOUND"))])]
#[tokio::test]
async fn an_operation_that_never_arrived_is_executed_again_under_its_id(#[case] faults: Vec<Fault>) {
    let double = double(2).await;
    double.faults(faults);
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(2));
    let executions = executions(&double.calls());
    assert!(executions.len() > 1);
    assert!(executions.iter().all(|execution| execution == &executions[0]), "{executions:?}");
}

#[rstest]
#[case("OPERATION_NOT_FOUND")]
#[case("OPERATION_ABANDONED")]
#[case("SESSION_NOT_FOUND")]
#[case("SESSION_CHANGED")]
#[case("SESSION_CLOSED")]
#[tokio::test]
async fn what_is_lost_within_its_rows_is_an_error_and_the_next_session_has_its_settings(#[case] kind: &str) {
    let double = double(4).await;
    double.faults([Fault::FailAfter(2, Status::unavailable("")), Fault::Refused(handle(kind))]);
    let session = session(&double, options());
    let error = ids(&session).await.expect_err("a lost session");
    assert!(matches!(error, Error::SessionLost { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(ids(&session).await.expect("rows"), all(4));
    let calls = double.calls();
    let (configured, executions) = (configured(&calls), executions(&calls));
    assert_eq!(configured.len(), 2);
    assert_ne!(configured[0], configured[1]);
    let sessions: Vec<_> = executions.iter().map(|(session, _)| session.clone()).collect();
    assert_eq!(sessions, configured, "each statement ran where the settings were set");
    assert_ne!(executions[0].1, executions[1].1, "another run is another operation");
}

#[rstest]
#[case("OPERATION_ABANDONED")]
#[case("SESSION_NOT_FOUND")]
#[case("SESSION_CHANGED")]
#[case("SESSION_CLOSED")]
#[tokio::test]
async fn a_session_that_is_lost_before_the_plan_is_begun_anew_unseen(#[case] kind: &str) {
    let double = double(2).await;
    double.faults([Fault::Refused(handle(kind))]);
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(2));
    let calls = double.calls();
    assert_eq!(configured(&calls).len(), 2);
    assert_eq!(executions(&calls).iter().map(|(session, _)| session.clone()).collect::<Vec<_>>(), configured(&calls));
}

#[tokio::test]
async fn a_spark_that_began_anew_between_statements_gets_the_settings_again() {
    let double = double(2).await;
    let session = session(&double, options());
    assert_eq!(ids(&session).await.expect("rows"), all(2));
    double.restart();
    assert_eq!(ids(&session).await.expect("rows"), all(2));
    let sessions = configured(&double.calls());
    assert_eq!(sessions.len(), 2);
    assert_eq!(executions(&double.calls()).last().expect("an execution").0, sessions[1]);
}

#[tokio::test]
async fn a_spark_that_began_anew_under_a_statement_gives_no_half_answer() {
    let double = double(4).await;
    double.faults([Fault::SilentAfter(2), Fault::EndAfter(0)]);
    let session = session(&double, Options { silence_max: Duration::from_secs(1), ..options() });
    let query = Query { sql: String::from("SELECT id FROM t"), inputs: vec![], tags: vec![] };
    let mut answer = session.query(&query).await.expect("a plan");
    answer.next().await.expect("a batch").expect("a batch");
    double.restart();
    let error = answer.collect().await.expect_err("a lost session");
    assert!(matches!(error, Error::SessionLost { .. }), "{error:?}");
}

#[rstest]
#[case::unavailable(Fault::FailAfter(0, Status::unavailable(SECRET)))]
#[case::refused(Fault::Refused(Status::unavailable(SECRET)))]
#[case::streams_that_end_at_once(Fault::EndAfter(0))]
#[case::an_operation_that_never_arrives(Fault::Refused(handle("OPERATION_NOT_FOUND")))]
#[tokio::test]
async fn trouble_without_end_is_a_spark_that_is_away(#[case] fault: Fault) {
    let double = double(2).await;
    double.always(fault);
    let session = session(&double, Options { away_max: Duration::from_millis(200), ..options() });
    let error = ids(&session).await.expect_err("nothing");
    assert!(matches!(error, Error::Away { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    assert!(!format!("{error} {error:?}").contains(SECRET));
    let tries = executions(&double.calls()).len() + reattached_after(&double.calls()).len();
    assert!((2..=20).contains(&tries), "it was tried again, and not in a hot loop: {tries}");
}

#[tokio::test]
async fn nobody_who_listens_is_a_spark_that_is_away() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Endpoint::parse(&format!("sc://127.0.0.1:{port}")).unwrap();
    let error = ids(&Session::open(&endpoint, options()).unwrap()).await.expect_err("nobody");
    assert!(matches!(error, Error::Away { .. }), "{error:?}");
}

#[rstest]
#[case::within_the_rows(Fault::SilentAfter(2), Some("r1"))]
#[case::before_anything(Fault::SilentAfter(0), None)]
#[tokio::test]
async fn a_stream_that_says_nothing_is_followed_by_the_next(#[case] fault: Fault, #[case] last: Option<&str>) {
    let double = double(4).await;
    double.faults([fault]);
    let session = session(&double, Options { silence_max: Duration::from_secs(1), ..options() });
    assert_eq!(ids(&session).await.expect("rows"), all(4));
    assert_eq!(reattached_after(&double.calls()).first(), Some(&last.map(str::to_owned)));
}

#[rstest]
#[case::in_its_streams(Fault::SilentAfter(0))]
#[case::in_its_calls(Fault::Unanswered)]
#[tokio::test]
async fn a_spark_that_stays_silent_is_away(#[case] silence: Fault) {
    let double = double(4).await;
    double.faults([Fault::SilentAfter(2)]);
    double.always(silence);
    let limit = Duration::from_secs(1);
    let session = session(&double, Options { silence_max: limit, away_max: limit, ..options() });
    let ended = tokio::time::timeout(Duration::from_secs(120), ids(&session)).await.expect("it gives up");
    assert!(matches!(ended, Err(Error::Away { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_spark_that_does_not_answer_at_all_is_away() {
    let double = double(1).await;
    double.deafen();
    let session = session(&double, Options { silence_max: Duration::from_millis(200), ..options() });
    let error = ids(&session).await.expect_err("no session");
    assert!(matches!(error, Error::Away { .. }), "{error:?}");
}

#[tokio::test]
async fn spark_is_told_what_came_and_that_all_came() {
    let double = double(40).await;
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(40));
    let calls = double.calls();
    let operation = executions(&calls)[0].1.clone();
    let released: Vec<_> = calls.iter().filter(|call| matches!(call, Call::Release { .. })).cloned().collect();
    let release = |until: Option<&str>| Call::Release { operation: operation.clone(), until: until.map(str::to_owned) };
    assert_eq!(released, [release(Some("r15")), release(Some("r31")), release(None)]);
    assert!(!calls.iter().any(|call| matches!(call, Call::Interrupt { .. })), "what has ended is not interrupted");
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(7)]
#[tokio::test]
async fn a_batch_in_parts_is_put_together_across_streams(#[case] count: usize) {
    let double = Double::start(answer_of((0..3).flat_map(|number| chunks(number, count)).collect())).await;
    double.faults([Fault::EndAfter(2), Fault::FailAfter(1, Status::unavailable(""))]);
    assert_eq!(ids(&session(&double, options())).await.expect("rows"), all(3));
}

#[rstest]
#[case::the_first_part_is_missing(|parts: &mut Vec<ArrowBatch>| drop(parts.remove(0)))]
#[case::a_part_is_missing(|parts: &mut Vec<ArrowBatch>| drop(parts.remove(1)))]
#[case::the_last_part_is_missing(|parts: &mut Vec<ArrowBatch>| drop(parts.pop()))]
#[case::a_part_comes_twice(|parts: &mut Vec<ArrowBatch>| parts.insert(1, parts[0].clone()))]
#[case::parts_are_exchanged(|parts: &mut Vec<ArrowBatch>| parts.swap(0, 1))]
#[case::a_part_is_cut(|parts: &mut Vec<ArrowBatch>| parts[2].data.truncate(3))]
#[case::it_says_more_rows(|parts: &mut Vec<ArrowBatch>| parts.iter_mut().for_each(|part| part.row_count += 1))]
#[case::it_is_of_no_part(|parts: &mut Vec<ArrowBatch>| parts.iter_mut().for_each(|part| part.num_chunks_in_batch = Some(0)))]
#[case::it_has_a_negative_part(|parts: &mut Vec<ArrowBatch>| parts[0].chunk_index = Some(-1))]
#[case::a_batch_is_missing(|parts: &mut Vec<ArrowBatch>| *parts = [chunks(0, 3), chunks(2, 3)].concat())]
#[case::a_batch_comes_twice(|parts: &mut Vec<ArrowBatch>| *parts = [chunks(0, 3), chunks(0, 3)].concat())]
#[tokio::test]
async fn torn_parts_are_an_error(#[case] tear: fn(&mut Vec<ArrowBatch>)) {
    let mut parts = chunks(0, 3);
    tear(&mut parts);
    let double = Double::start(answer_of(parts)).await;
    let error = ids(&session(&double, options())).await.expect_err("torn");
    assert!(matches!(error, Error::Answer { .. }), "{error:?}");
    double.until(|calls| calls.iter().any(|call| matches!(call, Call::Release { until: None, .. }))).await;
}

#[rstest]
#[case::at_the_session("other", 0)]
#[case::at_the_statement("t0ken", 1)]
#[tokio::test]
async fn who_is_not_let_in_does_not_try_again_and_shows_no_token(#[case] asked: &str, #[case] executed: usize) {
    let double = double(1).await;
    double.asks_for_token(asked);
    double.always(Fault::Refused(Status::unauthenticated("not with Bearer t0ken")));
    let endpoint = Endpoint::parse(&format!("sc://127.0.0.1:{}/;token=t0ken", double.port)).unwrap();
    let session = Session::open(&endpoint, options()).unwrap();
    let error = ids(&session).await.expect_err("a refusal");
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {session:?}").contains("t0ken"));
    let calls = double.calls();
    assert_eq!((configured(&calls).len(), executions(&calls).len()), (executed, executed));
    assert_eq!(reattached_after(&calls), []);
}

/// What Spark says of an error at the statement's `id`, with values of records wherever words are.
fn details() -> FetchErrorDetailsResponse {
    let context = told::QueryContext {
        context_type: query_context::ContextType::Sql.into(),
        start_index: 7,
        stop_index: 8,
        fragment: SECRET.to_owned(),
        summary: SECRET.to_owned(),
        ..Default::default()
    };
    let throwable = told::SparkThrowable {
        error_class: Some("CAST_INVALID_INPUT".to_owned()),
        message_parameters: [("expression".to_owned(), SECRET.to_owned())].into(),
        query_contexts: vec![context],
        sql_state: Some("22018".to_owned()),
        ..Default::default()
    };
    let outer = told::Error { message: SECRET.to_owned(), cause_idx: Some(1), ..Default::default() };
    let cause = told::Error { message: format!("[{SECRET}]"), spark_throwable: Some(throwable), ..Default::default() };
    FetchErrorDetailsResponse { root_error_idx: Some(0), errors: vec![outer, cause], ..Default::default() }
}

#[tokio::test]
async fn an_error_of_the_statement_has_its_class_and_place_and_is_not_run_again() {
    let double = double(3).await;
    double.details(details());
    double.faults([Fault::FailAfter(2, spark_status(SECRET, &[("errorId", "e1"), ("messageParameters", SECRET)]))]);
    let error = ids(&session(&double, options())).await.expect_err("no number");
    assert_eq!((error.error_class(), error.sql_state()), (Some("CAST_INVALID_INPUT"), Some("22018")));
    assert_eq!((error.place(), error.retry()), (Some(7..9), Retry::Never));
    assert!(!format!("{error} {error:?}").contains(SECRET));
    let calls = double.calls();
    assert!(calls.contains(&Call::Details { error: "e1".to_owned() }));
    assert_eq!((executions(&calls).len(), reattached_after(&calls).len()), (1, 0));
}

#[rstest]
#[case::of_a_value("java.lang.ArithmeticException", Retry::Never)]
#[case::of_spark_itself("java.lang.IllegalStateException", Retry::Later)]
#[tokio::test]
async fn what_java_throws_at_a_value_is_of_the_statement_without_a_class_too(
    #[case] thrown: &str,
    #[case] retry: Retry,
) {
    let double = double(3).await;
    let error = told::Error {
        error_type_hierarchy: vec![thrown.to_owned(), "java.lang.RuntimeException".to_owned()],
        message: SECRET.to_owned(),
        ..Default::default()
    };
    double.details(FetchErrorDetailsResponse { root_error_idx: Some(0), errors: vec![error], ..Default::default() });
    double.faults([Fault::FailAfter(2, spark_status(SECRET, &[("errorId", "e1")]))]);
    let error = ids(&session(&double, options())).await.expect_err("no number");
    assert_eq!(error.retry(), retry, "{error:?}");
    assert!(!format!("{error} {error:?}").contains(SECRET));
}

#[rstest]
#[case::of_spark(spark_status(SECRET, &[("messageParameters", SECRET), ("classes", SECRET)]))]
#[case::with_a_value_for_a_class(spark_status(&format!("[{SECRET}] {SECRET}"), &[("sqlState", SECRET)]))]
#[case::of_what_stands_before_it(Status::internal(format!("[{SECRET}] {SECRET}")))]
#[case::of_an_unknown_kind(Status::unknown(SECRET))]
#[case::of_a_call_that_is_not_known(Status::unimplemented(SECRET))]
#[case::of_sizes(Status::resource_exhausted(SECRET))]
#[case::of_a_refusal(Status::permission_denied(SECRET))]
#[case::of_a_handle(Status::internal(format!("[INVALID_HANDLE.SESSION_CLOSED] {SECRET}")))]
#[tokio::test]
async fn no_error_shows_what_spark_says_in_words(#[case] status: Status) {
    let double = double(3).await;
    double.faults([Fault::FailAfter(2, status)]);
    let error = ids(&session(&double, options())).await.expect_err("an error");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
}

/// That an operation was interrupted and then forgotten, and nothing of it asked for since.
pub(crate) fn stopped(calls: &[Call]) -> bool {
    let Some((_, operation)) = executions(calls).pop() else { return false };
    let interrupt = Call::Interrupt { operation: operation.clone() };
    calls.ends_with(&[interrupt, Call::Release { operation, until: None }])
}

#[rstest]
#[case::while_rows_wait(None)]
#[case::while_spark_is_silent(Some(Fault::SilentAfter(1)))]
#[case::while_spark_is_away(Some(Fault::FailAfter(1, Status::unavailable(""))))]
#[tokio::test]
async fn an_answer_that_nobody_wants_is_interrupted_and_released(#[case] fault: Option<Fault>) {
    let double = double(10).await;
    double.faults(fault);
    double.always(Fault::SilentAfter(5));
    let query = Query { sql: String::from("SELECT id FROM t"), inputs: vec![], tags: vec![] };
    drop(session(&double, options()).query(&query).await.expect("a plan"));
    double.until(stopped).await;
}

#[rstest]
#[case::before_its_call_is_answered(Fault::Unanswered)]
#[case::before_its_plan(Fault::SilentAfter(0))]
#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_interrupted_and_released(#[case] fault: Fault) {
    let double = double(10).await;
    double.always(fault);
    let session = session(&double, options());
    tokio::select! {
        ended = ids(&session) => panic!("{ended:?}"),
        _ = double.until(|calls| !executions(calls).is_empty()) => {}
    }
    double.until(stopped).await;
}
