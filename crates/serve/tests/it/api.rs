//! Health, status, deliveries, metrics; methods and media types; who may ask.

use std::sync::atomic::Ordering;

use serde_json::json;
use vitalake_runtime::events::Event;
use vitalake_serve::identity::Identity;

use crate::client::{JSON, post, send};
use crate::server::Server;

#[test]
fn until_ready_every_query_is_503_and_says_what_is_missing() {
    let server = Server::start();
    server.ready.store(false, Ordering::Release);
    assert_eq!(send(&server, "GET", "/health/live", &[], None).status, 200);
    let ready = send(&server, "GET", "/health/ready", &[], None);
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["waiting_for"], json!(["recovery of raw.readings"]));
    let query = post(&server, &json!({"query": "SELECT 1"}));
    assert_eq!(query.status, 503);
    assert!(query.message().contains("recovery of raw.readings"));

    server.ready.store(true, Ordering::Release);
    assert_eq!(send(&server, "GET", "/health/ready", &[], None).status, 200);
    assert_eq!(post(&server, &json!({"query": "SELECT 1"})).status, 200);
}

#[test]
fn methods_and_media_types_are_druids() {
    let server = Server::start();
    let query = br#"{"query":"SELECT 1"}"#.as_slice();
    for path in ["/druid/v2/sql", "/druid/v2/sql/"] {
        assert_eq!(send(&server, "POST", path, &[JSON], Some(query)).status, 200);
        assert_eq!(send(&server, "GET", path, &[], None).status, 405);
        assert_eq!(send(&server, "PUT", path, &[JSON], Some(query)).status, 405);
        assert_eq!(send(&server, "POST", path, &[("Content-Type", "text/plain")], Some(query)).status, 415);
    }
    let with_charset = [("Content-Type", "application/json; charset=utf-8")];
    assert_eq!(send(&server, "POST", "/druid/v2/sql", &with_charset, Some(query)).status, 200);
    for broken in ["{\"query\"", "not", "", "[]", "{}", "{\"query\": 5}", "null", "\"x\""] {
        let reply = send(&server, "POST", "/druid/v2/sql", &[JSON], Some(broken.as_bytes()));
        assert_eq!(reply.status, 400, "{broken}: {}", reply.body);
        let _ = reply.message();
    }
    assert_eq!(send(&server, "GET", "/status/health", &[], None).body, "true");
    assert_eq!(send(&server, "GET", "/nosuch", &[], None).status, 404);
}

#[test]
fn a_refusal_says_what_to_do() {
    let server = Server::start();
    let text = [("Content-Type", "text/plain")];
    let xml = [JSON, ("Accept", "text/xml")];
    for (method, path, headers, body, status, says) in [
        ("GET", "/druid/v2/sql", &[][..], None, 405, "use POST"),
        ("POST", "/druid/v2/sql", &text[..], Some(&b"x"[..]), 415, "Content-Type: application/json"),
        ("POST", "/druid/v2/sql", &xml[..], Some(&b"{}"[..]), 406, "Accept: application/json"),
        ("DELETE", "/druid/v2/sql/none", &[][..], None, 404, "no query with this id"),
        ("GET", "/druid/v3", &[][..], None, 404, "/druid/v2/sql"),
    ] {
        let reply = send(&server, method, path, headers, body);
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(reply.message().contains(says), "{}", reply.body);
    }
    for (method, path, status, word) in
        [("GET", "/nosuch", 404, "not_found"), ("GET", "/api/v1/flush", 405, "method_not_allowed")]
    {
        let reply = send(&server, method, path, &[], None);
        assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (status, word));
        assert!(reply.json()["message"].is_string(), "{}", reply.body);
    }
    let reply = send(&server, "GET", "/druid/v2/sql", &[], None);
    assert_eq!((reply.headers["allow"].as_str(), reply.headers["content-type"].as_str()), ("POST", "application/json"));
}

#[test]
fn a_request_that_is_only_a_decision_has_a_limit_whatever_it_decides() {
    let server = Server::start();
    let large = json!({"reason": "x".repeat(70 << 10)}).to_string();
    for path in [
        "/api/v1/quarantine/readings/replay",
        "/api/v1/quarantine/readings/discard",
        "/api/v1/deliveries/held-1/release",
        "/api/v1/deliveries/held-1/reject",
        "/api/v1/audit/disclosures",
        "/api/v1/silences",
    ] {
        let reply = send(&server, "POST", path, &[JSON], Some(large.as_bytes()));
        assert!(matches!(reply.status, 413 | 400), "{path}: {} {}", reply.status, reply.body);
        assert!(reply.json()["message"].is_string(), "{path}: {}", reply.body);
    }
    let discard = send(&server, "POST", "/api/v1/quarantine/readings/discard", &[JSON], Some(large.as_bytes()));
    assert_eq!(discard.status, 413, "{}", discard.body);
}

#[test]
fn another_hosts_name_or_another_sites_page_is_refused() {
    let server = Server::start();
    let query = br#"{"query":"SELECT 1"}"#.as_slice();
    for header in [
        ("Host", "evil.example"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let reply = send(&server, "POST", "/druid/v2/sql", &[JSON, header], Some(query));
        assert_eq!(reply.status, 403, "{header:?}");
    }
    for header in [("Host", "localhost"), ("Origin", "http://localhost:3000")] {
        assert_eq!(send(&server, "POST", "/druid/v2/sql", &[JSON, header], Some(query)).status, 200, "{header:?}");
    }
}

#[test]
fn status_flush_and_deliveries_reach_the_platform() {
    let server = Server::start();
    assert_eq!(send(&server, "GET", "/api/v1/status", &[], None).json()["datasets"][0]["dataset"], "tiny");
    assert_eq!(send(&server, "GET", "/api/v1/datasets", &[], None).json()[0]["rows"], 5);
    assert_eq!(send(&server, "POST", "/api/v1/flush", &[], Some(b"")).json(), json!({"tables": [], "behind": []}));

    let file = vec![b'x'; 3 << 20];
    let reply = send(&server, "POST", "/api/v1/deliveries/tiny?name=a.csv", &[], Some(&file));
    assert_eq!(reply.json()["accepted"], 3 << 20);
    let reply = send(&server, "POST", "/api/v1/deliveries/nosuch?name=a.csv", &[], Some(b"x"));
    assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (404, "not_found"));
    let reply = send(&server, "POST", "/api/v1/deliveries/tiny?name=a.xml", &[], Some(b"x"));
    assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (400, "invalid"));
}

#[test]
fn a_client_that_still_sends_reads_why_its_file_is_refused() {
    use std::io::{Read as _, Write as _};
    let server = Server::start();
    let file = vec![b'x'; 32 << 20];
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "POST /api/v1/deliveries/nosuch?name=a.csv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", file.len()).unwrap();
    stream.write_all(&file).expect("the server takes the file to its end");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("there is no dataset 'nosuch'"), "{answer}");

    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "POST /api/v1/deliveries/tiny?name=a.xml HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", file.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "refused before anything was sent: {answer}");
}

#[test]
fn queries_are_told_by_outcome() {
    let server = Server::start();
    let _ = post(&server, &json!({"query": "SELECT 1"}));
    let _ = post(&server, &json!({"query": "SELECT nosuch"}));
    let _ = send(&server, "POST", "/druid/v2/sql", &[JSON], Some(b"{"));
    let mut events = server.events.lock().unwrap();
    let mut outcome = || match events.blocking_recv() {
        Some(Event::Query { surface: "druid", outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    };
    assert_eq!([outcome(), outcome(), outcome()], ["ok", "invalid", "invalid"]);
}

#[test]
fn the_answer_says_when_it_is_complete() {
    use std::io::{Read as _, Write as _};
    let server = Server::start();
    let body = r#"{"query":"SELECT 1"}"#;
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "POST /druid/v2/sql HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("0\r\nx-druid-response-complete: true\r\n\r\n"), "{answer}");
}

#[test]
fn a_browser_gets_a_page_under_the_same_guard() {
    let server = Server::start();
    let page = send(&server, "GET", "/", &[], None);
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'none'"));
    for wanted in ["<!doctype html>", "tiny", "/druid/v2/sql", "/api/v1/status", "/metrics", "curl"] {
        assert!(page.body.contains(wanted), "{wanted} in {}", page.body);
    }
    assert!(!page.body.contains("<script") && !page.body.contains("https://"), "{}", page.body);
    assert_eq!(send(&server, "GET", "/", &[("Host", "evil.example")], None).status, 403);
}

#[test]
fn quarantine_is_asked_and_worked_on_by_its_own_addresses() {
    let server = Server::start();
    let get = |path: &str| send(&server, "GET", path, &[], None);
    let counted = get("/api/v1/quarantine?dataset=x&rule=hour").json();
    assert_eq!((&counted[0]["dataset"], &counted[0]["rule"]), (&json!("x"), &json!("hour")));
    let shown = get("/api/v1/quarantine/x?limit=2").json();
    assert_eq!((shown.as_array().unwrap().len(), shown[0].get("raw")), (2, None));
    assert_eq!(get("/api/v1/quarantine/x?raw=true").json()[0]["raw"], "x");
    assert_eq!(get("/api/v1/quarantine/x?limit=10001").status, 400);
    assert_eq!(get("/api/v1/quarantine/x/replay").json(), json!({"running": true, "done": 1, "of": 2}));
    let sent = |path: &str, body: &str| send(&server, "POST", path, &[JSON], Some(body.as_bytes()));
    assert_eq!(sent("/api/v1/quarantine/x/replay", "").json()["dry_run"], false);
    assert_eq!(sent("/api/v1/quarantine/x/replay", r#"{"dry_run":true,"delivery":3}"#).json()["dry_run"], true);
    assert_eq!(sent("/api/v1/quarantine/x/discard", r#"{"reason":"old"}"#).json()["reason"], "old");
    for (body, says) in [
        (r#"{"dryrun":true}"#, "has a field that is not known"),
        (r#"{"reason":"x"}"#, "has a field that is not known"),
        (r#"{"dry_run":"yes"}"#, "has a field of another type"),
        ("[]", "is no JSON object"),
    ] {
        let refused = sent("/api/v1/quarantine/x/replay", body);
        assert!(refused.status == 400 && refused.body.contains(says), "{body}: {}", refused.body);
    }
    let shows = |identity: &Identity| server.sessions.shows_records(identity);
    assert!(shows(&Identity::local()) && !shows(&Identity::runbook()) && !shows(&Identity::client("x", [])));
}
