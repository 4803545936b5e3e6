//! The host's calls as its documentation has them, to a handler whose platform answers, refuses, is silent or is away.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "vlk_token";

/// What the host sends when a timer is due.
fn timer() -> Value {
    json!({"Data": {"timer": {"Schedule": {"AdjustForDST": true},
        "ScheduleStatus": {"Last": "2026-11-28T02:30:00+01:00", "Next": "2026-11-29T02:30:00+01:00", "LastUpdated": "2026-11-28T02:30:00+01:00"},
        "IsPastDue": false}},
      "Metadata": {"sys": {"MethodName": "feed_patients", "UtcNow": "2026-11-29T01:30:00.02Z", "RandGuid": "6a0a4a3e-7a4b-4d8d-a0b5-0c6a3e2f5a11"}}})
}

/// What the host sends when a request came to /api/deliver/clinic_visits.
fn request(query: &str, content_type: &str, body: Value) -> Value {
    json!({"Data": {"req": {
        "Url": "https://app.azurewebsites.net/api/deliver/clinic_visits?code=KEY", "Method": "POST",
        "Query": query, "Headers": {"Content-Type": [content_type], "Host": ["app.azurewebsites.net"]},
        "Params": {"dataset": "clinic_visits"}, "Identities": "[]", "Body": body}},
      "Metadata": {"sys": {"MethodName": "deliver"}}})
}

/// A platform that gives one answer; what it was asked comes back with it.
fn platform(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        loop {
            let mut part = [0; 65_536];
            let count = stream.read(&mut part).unwrap();
            text.push_str(&String::from_utf8_lossy(&part[..count]));
            let Some((head, sent)) = text.split_once("\r\n\r\n") else { continue };
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
            if length.is_none_or(|length| length.parse::<usize>().unwrap() <= sent.len()) {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).unwrap();
        text
    });
    (url, asked)
}

/// A platform that takes a connection and says nothing.
fn silent() -> (String, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

/// An address at which nobody listens.
fn away() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Calls a function as the host does.
async fn call(url: &str, function: &str, body: Vec<u8>) -> (u16, String) {
    let limits = Limits {
        connect: Duration::from_secs(5),
        run: Duration::from_millis(700),
        deliver: Duration::from_millis(700),
    };
    let platform = Platform::new(url, Some(TOKEN), limits).unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}/{function}", listener.local_addr().unwrap());
    let handler = tokio::spawn(async move { axum::serve(listener, routes(platform)).await });
    let answer = tokio::task::spawn_blocking(move || {
        let agent = vitalake_runtime::http::client().build().new_agent();
        let mut answer = agent.post(address).content_type("application/json").send(&body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    });
    let answer = answer.await.unwrap();
    handler.abort();
    answer
}

async fn called(url: &str, function: &str, body: Value) -> (u16, Value) {
    let (status, text) = call(url, function, serde_json::to_vec(&body).unwrap()).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn a_timer_runs_its_feed() {
    let report = "HTTP/1.1 200 OK\r\ncontent-length: 128\r\n\r\n{\"feed\":\"patients\",\"dataset\":\"patients\",\"deliveries\":[{\"name\":\"ada-lovelace.csv\",\"report\":null,\"error\":null}],\"files_waiting\":2}";
    let (url, asked) = platform(report);
    let (status, answer) = called(&url, "feed_patients", timer()).await;
    assert_eq!(status, 200, "{answer}");
    let words = "feed patients: 1 taken, 0 refused, 2 not complete yet";
    assert_eq!(answer, json!({"Outputs": {}, "Logs": [words], "ReturnValue": null}));
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /feeds/patients/run HTTP/1.1"), "{asked}");
    assert!(asked.to_lowercase().contains("authorization: bearer vlk_token"), "{asked}");
}

#[rstest]
#[case::refused(
    "HTTP/1.1 200 OK\r\ncontent-length: 97\r\n\r\n{\"feed\":\"p\",\"dataset\":\"p\",\"deliveries\":[{\"name\":\"ada.csv\",\"error\":\"ada is x\"}],\"files_waiting\":0}",
    "1 refused"
)]
#[case::token("HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nsecret", "does not know the token")]
#[case::role("HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nsecret", "may: [operate]")]
#[case::no_feed("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\nsecret", "render the functions anew")]
#[case::starting("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 6\r\n\r\nsecret", "does not answer")]
#[case::elsewhere("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "answered 302")]
#[case::no_json("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret", "cannot be read")]
#[case::cut("HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{\"feed\":", "cannot be read")]
#[tokio::test]
async fn a_run_that_did_not_come_to_its_end_is_a_failed_one(#[case] answer: &'static str, #[case] said: &str) {
    let (url, _asked) = platform(answer);
    let (status, words) = called(&url, "feed_p", timer()).await;
    let words = words.as_str().unwrap().to_owned();
    assert_eq!(status, 500, "{words}");
    assert!(words.contains(said), "{words}");
    assert!(!words.contains("secret") && !words.contains("ada") && !words.contains(TOKEN), "{words}");
}

#[tokio::test]
async fn a_platform_that_is_away_or_silent_fails_a_run() {
    let (status, words) = called(&away(), "feed_p", timer()).await;
    assert_eq!((status, words.as_str().unwrap().contains("does not answer")), (500, true), "{words}");
    let (url, _kept) = silent();
    let (status, words) = called(&url, "feed_p", timer()).await;
    assert_eq!((status, words.as_str().unwrap().contains("longer than it may")), (500, true), "{words}");
}

#[tokio::test]
async fn a_delivery_is_passed_on_and_its_answer_back() {
    let (url, asked) = platform("HTTP/1.1 201 Created\r\ncontent-length: 14\r\n\r\n{\"delivery\":1}");
    let query = r#"{"code":"KEY","name":"visits.csv","rows":"2"}"#;
    let body = "visit,at\n1,2026-11-28\n2,März\n";
    let (status, answer) = called(&url, "deliver", request(query, "text/csv", json!(body))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["Outputs"]["res"]["statusCode"], 201);
    assert_eq!(answer["Outputs"]["res"]["body"], "{\"delivery\":1}");
    assert_eq!(answer["Logs"], json!(["delivery to clinic_visits: the platform answered 201"]));
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /api/v1/deliveries/clinic_visits?name=visits.csv&rows=2 HTTP/1.1"), "{asked}");
    assert!(asked.to_lowercase().contains("content-type: text/csv"), "{asked}");
    assert!(asked.ends_with(body) && !asked.contains("KEY"), "{asked}");
}

#[rstest]
#[case::read_by_the_host(json!([{"a": 1}]), r#"[{"a":1}]"#)]
#[case::as_text(json!("{\"a\":1}\n"), "{\"a\":1}\n")]
#[case::none(Value::Null, "")]
#[tokio::test]
async fn a_body_of_json_is_what_was_sent(#[case] body: Value, #[case] want: &str) {
    let (url, asked) = platform("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let (status, _) = called(&url, "deliver", request("{}", "application/json", body)).await;
    let asked = asked.join().unwrap();
    assert_eq!((status, asked.split_once("\r\n\r\n").unwrap().1), (200, want));
}

#[rstest]
#[case::token("HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nsecret", 502, "does not know the token")]
#[case::role("HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nsecret", 502, "may: [deliver]")]
#[case::refused("HTTP/1.1 409 Conflict\r\ncontent-length: 20\r\n\r\n{\"message\":\"it is.\"}", 409, "it is.")]
#[case::busy("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}", 503, "")]
#[tokio::test]
async fn a_sender_is_told_what_it_can_do(#[case] answer: &'static str, #[case] want: u16, #[case] said: &str) {
    let (url, _asked) = platform(answer);
    let (status, answer) = called(&url, "deliver", request("{}", "text/csv", json!("a\n1\n"))).await;
    assert_eq!((status, &answer["Outputs"]["res"]["statusCode"]), (200, &json!(want)), "{answer}");
    let body = answer["Outputs"]["res"]["body"].as_str().unwrap();
    assert!(body.contains(said) && !answer.to_string().contains("secret"), "{answer}");
    if want == 503 {
        assert_eq!(answer["Outputs"]["res"]["headers"]["retry-after"], "7");
    }
}

#[tokio::test]
async fn a_delivery_to_a_platform_that_is_away_or_silent_is_answered() {
    let (_, answer) = called(&away(), "deliver", request("{}", "text/csv", json!("a\n1\n"))).await;
    assert_eq!(answer["Outputs"]["res"]["statusCode"], 503, "{answer}");
    assert_eq!(answer["Outputs"]["res"]["headers"]["retry-after"], "30");
    let (url, _kept) = silent();
    let (_, answer) = called(&url, "deliver", request("{}", "text/csv", json!("a\n1\n"))).await;
    assert_eq!(answer["Outputs"]["res"]["statusCode"], 504, "{answer}");
}

#[tokio::test]
async fn what_is_too_large_is_said_to_be() {
    let body = vec![b'x'; CALL_BYTES_MAX + 1];
    let (status, text) = call(&away(), "deliver", body).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &answer["Outputs"]["res"]["statusCode"]), (200, &json!(413)), "{text}");
}

#[rstest]
#[case::unknown("nightly", timer(), 404)]
#[case::no_feed("feed_", timer(), 404)]
#[case::no_request("deliver", timer(), 400)]
#[case::no_call("deliver", json!([1]), 400)]
#[tokio::test]
async fn a_call_that_is_none_fails(#[case] function: &str, #[case] body: Value, #[case] want: u16) {
    assert_eq!(called(&away(), function, body).await.0, want);
}

#[rstest]
#[case("http://lake.example", Some("t"))]
#[case("ftp://lake.example", None)]
#[case("https://user@lake.example", None)]
#[case("https://lake.example", Some("t\n"))]
fn a_platform_that_a_token_is_not_sent_to(#[case] url: &str, #[case] token: Option<&str>) {
    assert!(Platform::new(url, token, Limits::default()).is_err());
}
