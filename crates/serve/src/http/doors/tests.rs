//! What is read of headers, and what each address needs.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rstest::rstest;

use super::*;

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn basic(text: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[test]
fn tokens_and_pairs_are_read_as_they_were_written() {
    let of = |text: &str| said(&headers(&[text])).unwrap();
    assert_eq!(of("Bearer secret"), Given::Token("secret".to_owned()));
    assert_eq!(of("bearer  other"), Given::Token("other".to_owned()));
    assert_eq!(of(&basic("ann:a:b ")), Given::Named("ann".to_owned(), "a:b ".to_owned()));
}

#[rstest]
#[case::nothing(&[])]
#[case::empty(&["Bearer "])]
#[case::no_scheme(&["secret"])]
#[case::another_scheme(&["Digest secret"])]
#[case::two(&["Bearer secret", "Bearer secret"])]
#[case::no_pair(&["Basic c2VjcmV0"])]
#[case::no_base64(&["Basic !!!"])]
fn what_is_no_proof_is_not_read(#[case] given: &[&str]) {
    assert!(said(&headers(given)).is_err());
}

#[test]
fn behind_a_proxy_its_word_counts_and_else_nobodys() {
    let mut request = Request::new(axum::body::Body::empty());
    request.headers_mut().append("x-forwarded-for", HeaderValue::from_static("192.0.2.9, 192.0.2.7"));
    request.headers_mut().append("x-forwarded-for", HeaderValue::from_static("203.0.113.1, 192.0.2.8"));
    let here = Peer(Some(IpAddr::from([127, 0, 0, 1])));
    request.extensions_mut().insert(here);
    assert_eq!(peer(&request, false), here);
    assert_eq!(peer(&request, true), Peer(Some(IpAddr::from([192, 0, 2, 8]))));
}

#[test]
fn an_address_that_is_not_known_needs_the_most() {
    let of = |method: Method, path: &str| need(&method, path);
    assert_eq!(of(Method::GET, "/health/live"), Need::Nothing);
    assert_eq!(of(Method::POST, "/health/live"), Need::Role(Action::Operate));
    assert_eq!(of(Method::POST, "//druid/v2/sql/"), Need::Name);
    assert_eq!(of(Method::POST, "/api/v1/deliveries/x"), Need::Deliver("x".to_owned()));
    assert_eq!(of(Method::POST, "/api/v1/deliveries/%78%5Fy"), Need::Deliver("x_y".to_owned()));
    assert_eq!(of(Method::POST, "/api/v1/deliveries/x/release"), Need::Role(Action::Operate));
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/deliveries", "/api/v1/gates/x", "/api/v1/books"] {
        assert_eq!(of(Method::GET, path), Need::Watch, "{path}");
    }
    assert_eq!(of(Method::POST, "/api/v1/flush"), Need::Role(Action::Operate));
    assert_eq!(of(Method::GET, "/runbooks/x"), Need::Role(Action::Operate));
    assert_eq!(of(Method::GET, "/api/v1/quarantine/x"), Need::Role(Action::Operate));
    assert_eq!(of(Method::DELETE, "/anything"), Need::Role(Action::Operate));
}
