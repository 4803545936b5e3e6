//! The pages over a small set of files, whatever is built into this binary.
#![allow(clippy::unwrap_used)]

use axum::body::to_bytes;
use rstest::rstest;

use super::*;

const BUILT: &[Embedded] = &[
    Embedded { path: "index.html", plain: b"<!doctype html>", gzip: Some(b"packed page") },
    Embedded { path: "assets/app-1a2b.js", plain: b"let a = 1", gzip: Some(b"packed script") },
    Embedded { path: "favicon.svg", plain: b"<svg/>", gzip: None },
];

fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn asked(path: &str, given: &[(&'static str, &str)]) -> Response {
    give(&files_of(BUILT), path, &headers(given))
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()
}

fn said<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[rstest]
#[case::first("/")]
#[case::a_page("/datasets/vitals_hourly")]
#[case::unknown("/no/such/page")]
#[case::up("/../../etc/passwd")]
#[case::up_in_disguise("/%2e%2e/%2e%2e/etc/passwd")]
#[case::its_own_name("/index.html")]
#[tokio::test]
async fn every_address_of_the_console_is_its_first_page(#[case] path: &str) {
    let page = asked(path, &[]);
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(said(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(said(&page, "cache-control"), "no-cache");
    let policy = said(&page, "content-security-policy").to_owned();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(body(page).await, b"<!doctype html>");
}

#[rstest]
#[case("/assets/app-old.js")]
#[case("/assets/../index.html")]
#[case("/assets/..%2f..%2f..%2fetc%2fpasswd")]
#[case("/assets/")]
#[tokio::test]
async fn a_part_that_is_not_there_is_not_the_first_page(#[case] path: &str) {
    assert_eq!(asked(path, &[]).status(), StatusCode::NOT_FOUND);
}

#[rstest]
#[case::asked_for("gzip, deflate, br", true)]
#[case::weighed("br;q=1.0, gzip;q=0.8", true)]
#[case::any("*", true)]
#[case::refused("gzip;q=0, *", false)]
#[case::other("br", false)]
#[case::nothing("", false)]
#[tokio::test]
async fn a_file_is_packed_for_who_takes_that(#[case] accepted: &str, #[case] is_packed: bool) {
    let script = asked("/assets/app-1a2b.js", &[("accept-encoding", accepted)]);
    assert_eq!(said(&script, "cache-control"), FOREVER);
    assert_eq!(said(&script, "vary"), "accept-encoding");
    assert_eq!(said(&script, "content-encoding"), if is_packed { "gzip" } else { "" });
    assert_eq!(body(script).await, if is_packed { &b"packed script"[..] } else { b"let a = 1" });
    let picture = asked("/favicon.svg", &[("accept-encoding", accepted)]);
    assert_eq!(body(picture).await, b"<svg/>");
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again_and_a_packed_form_is_another() {
    let plain = said(&asked("/", &[]), "etag").to_owned();
    let packed = said(&asked("/", &[("accept-encoding", "gzip")]), "etag").to_owned();
    assert_ne!(plain, packed);
    for known in [plain.clone(), format!("W/{plain}"), format!("\"other\", {plain}"), "*".to_owned()] {
        let again = asked("/", &[("if-none-match", &known)]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(said(&again, "etag"), plain);
        assert_eq!(body(again).await, b"");
    }
    assert_eq!(asked("/", &[("if-none-match", &packed)]).status(), StatusCode::OK);
}

#[test]
fn what_is_answered_by_others_is_no_page() {
    for path in ["/", "/datasets", "/alerts/ab12", "/feeds", "/login", "/assets/x.js"] {
        assert!(is_page_address(&Method::GET, path) && is_page_address(&Method::HEAD, path), "{path}");
        assert!(!is_page_address(&Method::POST, path), "{path}");
    }
    for path in ["/api", "/api/v1/nothing", "//api/v1/status", "/ingest/x", "/druid/v2", "/metrics", "/runbooks/x"] {
        assert!(!is_page_address(&Method::GET, path), "{path}");
    }
}
