//! The client against a double of Spark that is too old, goes, hangs, comes back, or is left.
//!
//! One invariant: nothing that is given up goes on in Spark, and nobody waits for a Spark that is gone without being told.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use rstest::rstest;
use tonic::Status;
use vitalake_runtime::error::{Classified, Retry};
use vitalake_spark_connect::{Error, Input, Options, Query, Source};

use crate::double::{Call, Fault};
use crate::faults::{SECRET, all, configured, double, executions, ids, options, reattached_after, session, stopped};

#[rstest]
#[case("3.5.7", "3.5.7")]
#[case("4.0.1", "4.0.1")]
#[case("<s3cret>", "s3cret")]
#[tokio::test]
async fn a_spark_that_is_too_old_is_refused_before_anything_is_sent(#[case] version: &str, #[case] shown: &str) {
    let double = double(1).await;
    double.is_of(version);
    let error = ids(&session(&double, options())).await.expect_err("a refusal");
    let expected = format!("Spark at sc://127.0.0.1:{} is version {shown}: Spark 4.1 or newer is needed", double.port);
    assert_eq!((error.to_string(), error.retry()), (expected, Retry::Later));
    let calls = double.calls();
    assert_eq!((configured(&calls).len(), executions(&calls).len()), (0, 0));
}

/// A Spark that is gone is told of while it is still asked again, and so is that it is back.
#[tokio::test]
async fn trouble_is_told_while_it_lasts() {
    let double = double(4).await;
    double.faults([Fault::SilentAfter(2)]);
    double.always(Fault::Refused(Status::unavailable(SECRET)));
    let session = session(&double, Options { silence_max: Duration::from_millis(100), ..options() });
    let mut trouble = session.trouble();
    let asked = tokio::spawn({
        let session = session.clone();
        async move { ids(&session).await }
    });
    let told = tokio::time::timeout(Duration::from_secs(20), trouble.wait_for(Option::is_some));
    let told = told.await.expect("it is told before it is given up").unwrap().clone().unwrap_or_default();
    assert_eq!(told, format!("Spark at sc://127.0.0.1:{} is away: Unavailable", double.port));
    double.mend();
    assert_eq!(asked.await.unwrap().expect("rows"), all(4));
    assert_eq!(*trouble.borrow_and_update(), None);
}

/// A connection over which nothing comes, though nobody closed it.
#[tokio::test]
async fn a_spark_that_is_gone_without_a_word_is_found_out_by_asking() {
    let double = double(4).await;
    double.always(Fault::SilentAfter(2));
    let quick = Duration::from_millis(300);
    let session = session(&double, Options { quiet_max: quick, away_max: quick, ..options() });
    let query = Query { sql: String::from("SELECT id FROM t"), inputs: vec![], tags: vec![] };
    let mut answer = session.query(&query).await.expect("a plan");
    answer.next().await.expect("a batch").expect("a batch");
    double.until(|calls| calls.iter().filter(|call| **call == Call::Version).count() > 2).await;
    assert_eq!(reattached_after(&double.calls()), [], "one that works long is left alone");
    double.always(Fault::Unanswered);
    double.deafen();
    let ended = tokio::time::timeout(Duration::from_secs(100), answer.collect()).await.expect("it is found out");
    assert!(matches!(ended, Err(Error::Away { .. })), "{ended:?}");
}

#[tokio::test]
async fn who_ends_can_wait_until_nothing_runs() {
    let double = double(10).await;
    double.always(Fault::SilentAfter(5));
    let session = session(&double, options());
    let query = Query { sql: String::from("SELECT id FROM t"), inputs: vec![], tags: vec![] };
    let answer = session.query(&query).await.expect("a plan");
    assert!(tokio::time::timeout(Duration::from_millis(50), session.stopped()).await.is_err());
    drop(answer);
    tokio::time::timeout(Duration::from_secs(60), session.stopped()).await.expect("it stops");
    assert!(stopped(&double.calls()));
}

fn numbers(name: &str, count: i64) -> Input {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let batch = RecordBatch::try_from_iter([("id", numbers)]).unwrap();
    Input { name: name.to_owned(), rows: Source::Rows { schema: batch.schema(), batches: vec![batch] } }
}

#[tokio::test]
async fn a_small_input_goes_beside_a_large_one() {
    let double = double(4).await;
    let inputs = vec![numbers("t", 500_000), numbers("u", 2), numbers("v", 0)];
    let query = Query { sql: String::from("SELECT id FROM t"), inputs, tags: vec![] };
    let mut answer = session(&double, options()).query(&query).await.expect("a plan");
    let rows: usize = answer.collect().await.expect("rows").iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, all(4).len());
}

/// What was sent for a statement that is given up is not kept in Spark.
#[tokio::test]
async fn the_session_of_a_large_statement_that_is_given_up_is_closed() {
    let double = double(1).await;
    let session = session(&double, options());
    let inputs = vec![numbers("t", 500_000)];
    let query = Query { sql: String::from("SELECT id FROM t"), inputs, tags: vec![] };
    double.hold_artifacts();
    tokio::select! {
        ended = session.query(&query) => panic!("{ended:?}"),
        _ = double.until(|calls| calls.contains(&Call::Artifacts)) => {}
    }
    tokio::time::timeout(Duration::from_secs(60), session.stopped()).await.expect("it is closed");
    let sessions = configured(&double.calls());
    assert_eq!(double.calls().last(), Some(&Call::Close { session: sessions[0].clone() }));
}
