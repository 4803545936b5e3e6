//! Who is let in by which headers, and what each address needs.
#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;

/// The SHA-256 of `secret`, of `other` and of `old`.
fn doors(now_ms: i64) -> Doors {
    let client = |roles: &[&str], token: &str, expires: Option<i64>| vitalake_runtime::config::access::Client {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        token_sha256: Sha256::digest(token).into(),
        expires: expires.map(|ms| chrono::DateTime::from_timestamp_millis(ms).unwrap()),
        subject: None,
    };
    let mut access = Access::default();
    access.clients.insert("ann".to_owned(), client(&["analyst"], "secret", None));
    access.clients.insert("bob".to_owned(), client(&[], "other", Some(1_000)));
    Doors::new(&access, Clock::manual(now_ms))
}

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
fn a_token_proves_one_name() {
    let doors = doors(0);
    let ann = doors.identify(&headers(&["Bearer secret"])).unwrap();
    assert_eq!((ann.name(), ann.roles().len()), ("ann", 1));
    assert_eq!(doors.identify(&headers(&[&basic("ann:secret")])).unwrap(), ann);
    assert_eq!(doors.identify(&headers(&["bearer  other"])).unwrap().name(), "bob");
}

#[rstest]
#[case::nothing(&[])]
#[case::wrong(&["Bearer guess"])]
#[case::empty(&["Bearer "])]
#[case::no_scheme(&["secret"])]
#[case::another_scheme(&["Digest secret"])]
#[case::the_hash_itself(&["Bearer 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"])]
#[case::two(&["Bearer secret", "Bearer secret"])]
#[case::longer(&["Bearer secretsecret"])]
fn whoever_proves_nothing_stays_outside(#[case] given: &[&str]) {
    assert!(doors(0).identify(&headers(given)).is_err());
}

#[test]
fn names_and_tokens_belong_together_and_end() {
    for text in ["bob:secret", ":secret", "ann:", "ann", "ann:secret:", "Ann:secret"] {
        assert!(doors(0).identify(&headers(&[&basic(text)])).is_err(), "{text}");
    }
    assert!(doors(0).identify(&headers(&["Basic !!!"])).is_err());
    assert!(doors(999).identify(&headers(&["Bearer other"])).is_ok());
    assert!(doors(1_000).identify(&headers(&["Bearer other"])).unwrap_err().contains("is over"));
    let long = format!("Bearer {}", "a".repeat(600));
    assert!(doors(0).identify(&headers(&[&long])).is_err());
}

#[test]
fn an_address_that_is_not_known_needs_the_most() {
    let of = |method: Method, path: &str| need(&method, path);
    assert_eq!(of(Method::GET, "/health/live"), Need::Nothing);
    assert_eq!(of(Method::POST, "/health/live"), Need::Role(Action::Operate));
    assert_eq!(of(Method::POST, "//druid/v2/sql/"), Need::Name);
    assert_eq!(of(Method::POST, "/api/v1/deliveries/x"), Need::Role(Action::Deliver));
    assert_eq!(of(Method::POST, "/api/v1/deliveries/x/release"), Need::Role(Action::Operate));
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/deliveries", "/api/v1/gates/x", "/api/v1/books"] {
        assert_eq!(of(Method::GET, path), Need::Watch, "{path}");
    }
    assert_eq!(of(Method::POST, "/api/v1/flush"), Need::Role(Action::Operate));
    assert_eq!(of(Method::GET, "/runbooks/x"), Need::Role(Action::Operate));
    assert_eq!(of(Method::GET, "/api/v1/quarantine/x"), Need::Role(Action::Operate));
    assert_eq!(of(Method::DELETE, "/anything"), Need::Role(Action::Operate));
}
