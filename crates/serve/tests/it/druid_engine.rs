//! What is made of Druid's answers: a double of it gives those that were recorded from a real one, and its faults.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use vitalake_runtime::config::notify::Hidden;
use vitalake_serve::druid_engine::{Addresses, Cluster, DruidError, Interval, SubmitOutcome, TaskState};

/// The address of a request, and its login.
type Asked = (String, Option<String>);

/// Answers in the order in which they are given, whatever is asked, and what was asked.
#[derive(Clone, Default)]
struct Double {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

async fn answer(State(double): State<Double>, request: Request) -> Response {
    let login = request.headers().get(header::AUTHORIZATION).and_then(|login| login.to_str().ok()).map(str::to_owned);
    double.asked.lock().push((request.uri().to_string(), login));
    let (status, body) = double.answers.lock().pop_front().unwrap_or((500, "<html>".to_owned()));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn cluster(answers: &[(u16, Value)]) -> (Cluster, Double) {
    let double = Double::default();
    double.answers.lock().extend(answers.iter().map(|(status, body)| (*status, body.to_string())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(double.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let login = Some(("druid".to_owned(), Hidden::from("secret")));
    (Cluster::new(Addresses { overlord: url.clone(), coordinator: url.clone(), broker: url, login }), double)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_task_again_is_known_and_not_an_error() {
    let exists =
        json!({"error": "druidException", "errorCode": "entryAlreadyExists", "errorMessage": "Task[a] already exists"});
    let (cluster, double) = cluster(&[(200, json!({"task": "a"})), (400, exists)]).await;
    assert_eq!(cluster.submit(json!({"id": "a"})).await, Ok(SubmitOutcome::Taken));
    assert_eq!(cluster.submit(json!({"id": "a"})).await, Ok(SubmitOutcome::Known));
    let asked = double.asked.lock();
    assert_eq!(asked[0], ("/druid/indexer/v1/task".to_owned(), Some("Basic ZHJ1aWQ6c2VjcmV0".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_stands_where_druid_says_and_fails_in_our_words() {
    let status = |code: &str, runner: &str, said: &str| {
        (200, json!({"task": "a", "status": {"statusCode": code, "runnerStatusCode": runner, "errorMsg": said}}))
    };
    let answers = [
        (404, json!("Cannot find any task with id: [a]")),
        status("RUNNING", "WAITING", ""),
        status("RUNNING", "RUNNING", ""),
        status("SUCCESS", "WAITING", ""),
        status("FAILED", "NONE", "Timestamp[patient-7] is unparseable!"),
    ];
    let (cluster, _) = cluster(&answers).await;
    for wanted in [TaskState::Unknown, TaskState::Waiting, TaskState::Running, TaskState::Succeeded] {
        assert_eq!(cluster.task("a").await, Ok(wanted));
    }
    assert_eq!(cluster.task("a").await, Ok(TaskState::Failed("it could not read a row of the files")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_by_its_kind_and_without_druids_words() {
    let instance = json!({"error": "Cannot construct instance of `X`, problem: patient-7"});
    let (cluster, _) =
        cluster(&[(401, json!("who are you, patient-7")), (400, instance), (503, Value::Null), (307, Value::Null)])
            .await;
    let refused = cluster.submit(json!({})).await.unwrap_err();
    assert_eq!(refused, DruidError::Refused { part: "overlord", status: 401 });
    let rejected = cluster.submit(json!({})).await.unwrap_err();
    assert_eq!(rejected, DruidError::Rejected { part: "overlord", attempt: "a task", status: 400 });
    for _ in 0..2 {
        assert!(matches!(cluster.submit(json!({})).await, Err(DruidError::Away { .. })));
    }
    for error in [refused, rejected] {
        assert!(!error.to_string().contains("patient-7") && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_has_no_rows_and_one_half_loaded_is_waited_for() {
    let gone = json!({"error": "druidException", "errorMessage": "Object 'x' not found (line [1], column [22])"});
    let (cluster, double) = cluster(&[(400, gone), (200, json!({"x": 50.0})), (200, json!({"x": 100.0}))]).await;
    assert_eq!(cluster.query("SELECT COUNT(*) FROM x").await, Ok(Vec::new()));
    let interval = Interval { start_ms: 0, end_ms: 86_400_000 };
    assert_eq!(cluster.is_loaded("x", interval).await, Ok(false));
    assert_eq!(cluster.is_loaded("x", interval).await, Ok(true));
    // Without an interval Druid looks at the last two weeks alone.
    assert!(
        double.asked.lock()[1].0.contains("forceMetadataRefresh=true&interval=1970-01-01T00:00:00.000Z%2F1970-01-02")
    );
}
