//! Tokens against an endpoint that answers as Azure's do, faults included.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rstest::rstest;

use super::double::{Answer, Double};
use super::*;

const NOW_MS: i64 = 1_795_000_000_000;
const SECRET: &str = "hunter2";

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn tokens(variables: &[(&str, &str)], clock: &Clock) -> Tokens {
    let identity = Identity::from_environment(&environment(variables)).unwrap();
    Tokens::new(identity, Audience::new(Audience::MONITOR), clock.clone())
}

fn of_machine(double: &Double, clock: &Clock) -> Tokens {
    tokens(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &double.url)], clock)
}

fn granted(number: usize, seconds: u64) -> Answer {
    Answer::of(200, &format!(r#"{{"access_token":"t{number}","expires_in":"{seconds}","token_type":"Bearer"}}"#))
}

/// Answers with a token of its own each time.
fn numbered(seconds: u64) -> Double {
    let given = AtomicUsize::new(0);
    Double::start(move |_| granted(given.fetch_add(1, Ordering::SeqCst), seconds))
}

#[test]
fn each_identity_asks_as_its_endpoint_wants_it() {
    let clock = Clock::manual(NOW_MS);
    let double = Double::always(granted(0, 3_600));
    let (service, file) = (format!("{}/msi/token", double.url), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), "pod.token\n").unwrap();
    let file = file.path().to_str().unwrap();
    let entra =
        [("AZURE_AUTHORITY_HOST", double.url.as_str()), ("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app")];
    for variables in [
        vec![("IDENTITY_ENDPOINT", service.as_str()), ("IDENTITY_HEADER", SECRET), ("AZURE_CLIENT_ID", "app")],
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", double.url.as_str())],
        [&entra[..], &[("AZURE_FEDERATED_TOKEN_FILE", file)]].concat(),
        [&entra[..], &[("AZURE_CLIENT_SECRET", SECRET)]].concat(),
    ] {
        assert_eq!(tokens(&variables, &clock).get().unwrap().expose(), "t0");
    }
    let asked = double.asked();
    let resource = "resource=https%3A%2F%2Fmonitor.azure.com";
    assert_eq!(asked[0].target, format!("/msi/token?api-version=2019-08-01&{resource}&client_id=app"));
    assert_eq!((asked[0].method.as_str(), asked[0].header("x-identity-header")), ("GET", SECRET));
    assert_eq!(asked[1].target, format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}"));
    assert_eq!(asked[1].header("metadata"), "true");
    let grant = "grant_type=client_credentials&scope=https%3A%2F%2Fmonitor.azure.com%2F.default&client_id=app";
    let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert_eq!(asked[2].text(), format!("{grant}&{assertion}&client_assertion=pod.token"));
    assert_eq!(asked[3].text(), format!("{grant}&client_secret={SECRET}"));
    for of_entra in &asked[2..] {
        assert_eq!((of_entra.method.as_str(), of_entra.target.as_str()), ("POST", "/tenant/oauth2/v2.0/token"));
    }
}

#[test]
fn many_who_come_at_once_share_one_question() {
    let double = Double::start(|_| {
        // Long enough that all are there; nothing is measured by it.
        std::thread::sleep(Duration::from_millis(100));
        granted(0, 3_600)
    });
    let tokens = of_machine(&double, &Clock::manual(NOW_MS));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| tokens.get().unwrap())).collect();
        asking.into_iter().for_each(|one| assert_eq!(one.join().unwrap().expose(), "t0"));
    });
    assert_eq!(double.count(), 1);
}

#[test]
fn a_token_is_renewed_before_its_end_and_given_on_while_nobody_renews_it() {
    let (clock, given) = (Clock::manual(NOW_MS), AtomicUsize::new(0));
    let double = Double::start(move |_| match given.fetch_add(1, Ordering::SeqCst) {
        0 => granted(0, 1_000),
        _ => Answer::of(503, ""),
    });
    let tokens = of_machine(&double, &clock);
    assert_eq!(tokens.get().unwrap().expose(), "t0");
    clock.advance(Duration::from_secs(799));
    assert_eq!((tokens.get().unwrap().expose(), double.count()), ("t0", 1));
    clock.advance(Duration::from_secs(1));
    assert_eq!((tokens.get().unwrap().expose(), double.count()), ("t0", 2), "asked for, and good yet");
    assert_eq!((tokens.get().unwrap().expose(), double.count()), ("t0", 2), "left alone after a failure");
    clock.advance(Duration::from_secs(200));
    let error = tokens.get().unwrap_err();
    assert_eq!((error, double.count()), (TokenError::Busy { endpoint: shown(&double), status: 503, after: None }, 3));
}

fn shown(double: &Double) -> String {
    format!("{}/metadata/identity/oauth2/token", double.url)
}

#[test]
fn a_token_that_its_receiver_refuses_is_asked_for_anew_once() {
    let (clock, double) = (Clock::manual(NOW_MS), numbered(3_600));
    let tokens = of_machine(&double, &clock);
    let first = tokens.get().unwrap();
    tokens.refused(&first);
    let second = tokens.get().unwrap();
    tokens.refused(&first);
    assert_eq!((first.expose(), second.expose(), tokens.get().unwrap().expose()), ("t0", "t1", "t1"));
    assert_eq!(double.count(), 2);
}

#[test]
fn who_says_when_to_come_again_is_left_until_then() {
    let (clock, given) = (Clock::manual(NOW_MS), AtomicUsize::new(0));
    let double = Double::start(move |_| match given.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::of(429, "").with("retry-after", 70),
        _ => granted(1, 3_600),
    });
    let tokens = of_machine(&double, &clock);
    let first = tokens.get().unwrap_err();
    clock.advance(Duration::from_secs(69));
    assert_eq!((tokens.get().unwrap_err(), double.count()), (first, 1));
    clock.advance(Duration::from_secs(1));
    assert_eq!(tokens.get().unwrap().expose(), "t1");
}

/// App Service says when a token ends and not how long it lasts.
#[rstest]
#[case::clocks_agree(0, 3_600)]
#[case::ours_is_hours_ahead(7_200, 3_600)]
#[case::ours_is_hours_behind(-7_200, 3_600)]
#[case::a_token_that_seems_to_be_over(0, -10)]
fn a_clock_that_is_wrong_makes_a_token_neither_older_nor_younger(#[case] ahead_s: i64, #[case] lasts_s: i64) {
    let now_s = NOW_MS / 1_000;
    let date = chrono::DateTime::from_timestamp(now_s, 0).unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let answer = format!(r#"{{"access_token":"t0","expires_on":"{}"}}"#, now_s + lasts_s);
    let double = Double::always(Answer::of(200, &answer).with("date", date));
    let clock = Clock::manual(NOW_MS + ahead_s * 1_000);
    let tokens = of_machine(&double, &clock);
    tokens.get().unwrap();
    // Four fifths of its life, and of a minute where it says that it has none.
    let fresh = u64::try_from(lasts_s.max(60)).unwrap() * 4 / 5;
    clock.advance(Duration::from_secs(fresh - 1));
    tokens.get().unwrap();
    assert_eq!(double.count(), 1);
    clock.advance(Duration::from_secs(1));
    tokens.get().unwrap();
    assert_eq!(double.count(), 2);
}

#[rstest]
#[case::no_identity(
    400,
    r#"{"error":"invalid_request","error_description":"Identity hunter2 not found"}"#,
    "knows no such identity: invalid_request: assign one"
)]
#[case::not_there_for_a_moment(404, "hunter2", "answered 404: it is asked again later")]
#[case::being_renewed(410, "hunter2", "answered 410: it is asked again later")]
#[case::too_often(429, "", "answered 429: it is asked again later")]
#[case::broken(500, "hunter2", "answered 500: it is asked again later")]
#[case::elsewhere(302, "hunter2", "answered 302")]
#[case::forbidden(403, r#"{"error":"hunter2 IS WRONG","error_codes":[7000215]}"#, "answered 403: AADSTS7000215")]
#[case::no_token(200, "hunter2", "answered without a token that can be read")]
#[case::an_empty_token(200, r#"{"access_token":"","expires_in":1}"#, "answered without a token that can be read")]
#[case::a_token_with_a_line_in_it(
    200,
    r#"{"access_token":"hunter2\r\nx: y","expires_in":1}"#,
    "answered without a token that can be read"
)]
fn what_an_endpoint_refuses_is_told_by_its_kind(#[case] status: u16, #[case] body: &str, #[case] wanted: &str) {
    let double = Double::always(Answer::of(status, body));
    let error = of_machine(&double, &Clock::manual(NOW_MS)).get().unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains(wanted) && !said.contains(SECRET), "{said}");
}

#[test]
fn an_endpoint_that_is_not_there_is_named_without_what_was_sent() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = format!("http://{nobody}");
    let variables = [
        ("AZURE_AUTHORITY_HOST", host.as_str()),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", SECRET),
    ];
    let error = tokens(&variables, &Clock::manual(NOW_MS)).get().unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("does not answer: Connection refused") && !said.contains(SECRET), "{said}");
}

#[test]
fn a_pods_token_that_is_gone_is_named_by_its_file() {
    let variables = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_FEDERATED_TOKEN_FILE", "/not/there")];
    let error = tokens(&variables, &Clock::manual(NOW_MS)).get().unwrap_err();
    assert!(error.to_string().starts_with("the token file /not/there cannot be read: No such file"), "{error}");
}
