//! `POST /ingest/{dataset}` over a real socket: what is read of a request, and how each outcome is answered.

use rstest::rstest;

use crate::client::{JSON, Reply, send};
use crate::server::Server;

fn ingest(server: &Server, dataset: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    send(server, "POST", &format!("/ingest/{dataset}"), headers, Some(body))
}

#[test]
fn a_request_is_read_as_its_headers_say() {
    let server = Server::start();
    let lines = ("Content-Type", "application/x-ndjson; charset=UTF-8");
    let headers = [lines, ("Content-Encoding", "gzip"), ("Idempotency-Key", "k-1"), ("X-Partition-Key", "p")];
    let reply = ingest(&server, "stream", &headers, b"12345");
    assert_eq!(reply.status, 202, "{}", reply.body);
    let report = reply.json();
    assert_eq!(report["dataset"], "Lines/Gzip");
    assert_eq!(report["request"], "Some(\"k-1\")/Some(\"p\")");
    assert_eq!((&report["accepted"], &report["rejected"][0]["line"]), (&5.into(), &2.into()));
    assert_eq!(report["quarantine"], "local", "the sender's name is the one that was proved");
    assert_eq!(reply.headers["idempotent-replayed"], "true");
    let plain = ingest(&server, "stream", &[JSON], b"{}");
    assert_eq!(plain.json()["dataset"], "Json/Identity");
    assert!(!plain.headers.contains_key("idempotent-replayed"));
}

#[rstest]
#[case("none", 400, "invalid", None)]
#[case("malformed", 400, "invalid", None)]
#[case("nosuch", 404, "not_found", None)]
#[case("large", 413, "too_large", None)]
#[case("other", 403, "other_subject", None)]
#[case("used", 409, "key_in_use", Some("1"))]
#[case("reused", 422, "key_reused", None)]
#[case("behind", 429, "behind", Some("1"))]
#[case("full", 503, "no_storage", Some("30"))]
#[case("starting", 503, "unavailable", Some("1"))]
fn every_refusal_is_a_problem_document(
    #[case] dataset: &str,
    #[case] status: u16,
    #[case] error: &str,
    #[case] retry_after: Option<&str>,
) {
    let reply = ingest(&Server::start(), dataset, &[JSON], b"{}");
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(reply.headers.get("retry-after").map(String::as_str), retry_after);
    let problem = reply.json();
    assert_eq!((&problem["error"], &problem["status"]), (&error.into(), &status.into()));
    for key in ["type", "title", "detail", "message"] {
        assert!(problem[key].is_string(), "{problem}");
    }
    match dataset {
        "malformed" => assert_eq!((&problem["line"], &problem["byte"]), (&2.into(), &9.into())),
        "none" => assert_eq!((&problem["rejected"][0]["index"], &problem["rejected_count"]), (&1.into(), &1.into())),
        _ => {}
    }
}

#[test]
fn what_is_not_read_here_is_said_before_the_body_is_taken() {
    let server = Server::start();
    let with = |name: &'static str, value: &'static str| vec![JSON, (name, value)];
    let long = "k".repeat(256);
    for (headers, status) in [
        (vec![], 415),
        (vec![("Content-Type", "text/csv")], 415),
        (vec![("Content-Type", "application/json; charset=latin1")], 415),
        (with("Content-Encoding", "br"), 415),
        (with("Content-Encoding", "gzip, zstd"), 415),
        (with("Idempotency-Key", ""), 400),
        (vec![JSON, ("Idempotency-Key", &long)], 400),
        (vec![JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400),
    ] {
        let reply = ingest(&server, "stream", &headers, b"{}");
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.body);
    }
    let large = vec![b' '; (8 << 20) + 1];
    let reply = ingest(&server, "stream", &[JSON], &large);
    assert_eq!(reply.status, 413, "{}", reply.body);
    assert_eq!(send(&server, "GET", "/ingest/stream", &[], None).status, 405);
    assert_eq!(ingest(&server, "%ff", &[JSON], b"{}").status, 400);
}
