//! What may be written under `access:`, and that no finding about it quotes a token.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use saphyr::{LoadableYamlNode as _, MarkedYaml};

use super::*;

const HASH: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn parse(text: &str) -> (Access, Vec<String>) {
    let mut problems = Vec::new();
    let documents = MarkedYaml::load_from_str(text).unwrap();
    let access = read(&documents[0], &mut problems);
    (access, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn roles_and_clients_are_read() {
    let text = format!(
        "roles:\n  analyst: {{clearance: confidential, layers: [serving, ops]}}\n  guest:\n  steward: {{records: true, may: [operate, deliver]}}\n\
         clients:\n  ann: {{roles: [analyst, guest], token: \"{HASH}\", expires: 2027-01-31}}\nmask_key: ${{KEY}}\n"
    );
    let (access, problems) = parse(&text);
    assert_eq!(problems, Vec::<String>::new());
    assert!(access.is_required());
    assert_eq!(access.roles["guest"], Role::default());
    assert_eq!(access.roles["analyst"].clearance, "confidential");
    assert!(access.roles["steward"].may.contains(&Action::Operate) && access.roles["steward"].records);
    let ann = &access.clients["ann"];
    assert_eq!(ann.tokens[0].sha256[..2], [0x9f, 0x86]);
    assert_eq!(ann.tokens[0].expires.unwrap().to_rfc3339(), "2027-01-31T00:00:00+00:00");
    assert!(!format!("{access:?}").contains("KEY"));
}

#[rstest]
#[case::unknown_key("{role: {}}", "unknown key", "did you mean roles?")]
#[case::unknown_role(
    "{roles: {a: }, clients: {x: {roles: [b], token: HASH}}}",
    "there is no role b",
    "did you mean a?"
)]
#[case::a_token_in_the_clear("{clients: {x: {token: hunter2hunter2}}}", "is not the SHA-256", "vitalake token")]
#[case::no_token("{clients: {x: {roles: []}}}", "has no token", "vitalake token")]
#[case::a_password_in_the_clear(
    "{clients: {x: {password: hunter2hunter2}}}",
    "is not the hash of a password",
    "vitalake password"
)]
#[case::scram_alone("{clients: {x: {password: 'SCRAM-SHA-256$4096:aaaa$bb:cc'}}}", "needs one hash of argon2id", "")]
#[case::an_unknown_scope(
    "{clients: {x: {token: HASH, scopes: [write]}}}",
    "not known",
    "write one of read, deliver, operate"
)]
#[case::short_hash("{clients: {x: {token: 'sha256:abcd'}}}", "is not the SHA-256", "")]
#[case::no_class("{roles: {a: {clearance: confidentail}}}", "not known", "did you mean confidential?")]
#[case::two_classes("{roles: {a: {clearance: [public, restricted]}}}", "is not one class", "")]
#[case::no_token_at_all(
    "{clients: {x: {token: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}}}",
    "is not the SHA-256",
    ""
)]
#[case::a_short_key("{mask_key: abc}", "at least 16", "by reference")]
#[case::no_layer("{roles: {a: {layers: [platinum]}}}", "not known", "write one of raw")]
#[case::no_action("{roles: {a: {may: [delete]}}}", "not known", "")]
#[case::no_day("{clients: {x: {token: HASH, expires: soon}}}", "is no day", "2027-01-31")]
#[case::one_token_of_two("{clients: {x: {token: HASH}, y: {token: HASH}}}", "the same token", "")]
#[case::a_list("[a]", "must be a map", "")]
fn what_is_wrong_is_said_and_never_a_token(#[case] text: &str, #[case] message: &str, #[case] help: &str) {
    let (_, problems) = parse(&text.replace("HASH", &format!("'{HASH}'")));
    let said = problems.join("\n");
    assert!(said.contains(message), "{said}");
    assert!(said.contains(help), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("9f86"), "{said}");
}

#[test]
fn a_token_whose_end_cannot_be_read_is_over() {
    let (access, _) = parse(&format!("clients: {{x: {{token: '{HASH}', expires: soon}}}}"));
    assert_eq!(access.clients["x"].tokens[0].expires, Some(DateTime::UNIX_EPOCH));
}

#[test]
fn a_token_is_never_wider_than_its_client_and_does_not_outlive_it() {
    let text = format!(
        "clients:\n  ann:\n    expires: 2027-01-31\n    scopes: [read, deliver]\n    datasets: [a, b]\n    tokens:\n    - {{token: '{HASH}', expires: 2028-01-01, scopes: [deliver, operate], datasets: [b, c], subject: p-1}}\n"
    );
    let (access, problems) = parse(&text);
    assert_eq!(problems, Vec::<String>::new());
    let token = &access.clients["ann"].tokens[0];
    assert_eq!(token.expires.unwrap().to_rfc3339(), "2027-01-31T00:00:00+00:00");
    assert!(token.scope.allows(Reach::DELIVER, Some("b")));
    for (reach, dataset) in [
        (Reach::DELIVER, Some("a")),
        (Reach::DELIVER, Some("c")),
        (Reach::DELIVER, None),
        (Reach::Read, Some("b")),
        (Reach::Act(Action::Operate), Some("b")),
    ] {
        assert!(!token.scope.allows(reach, dataset), "{reach:?} {dataset:?}");
    }
    assert!(!format!("{access:?}").contains("p-1"));
    assert!(Scope::default().allows(Reach::Act(Action::Operate), None));
}

#[test]
fn hashes_of_passwords_may_stand_elsewhere_and_are_checked_when_they_are_there() {
    let (access, problems) = parse("clients: {ann: {password: ['${ARGON}', '${SCRAM}']}}");
    assert_eq!(problems, Vec::<String>::new());
    let with = |argon: &str| {
        Environment::from_iter([
            ("ARGON".to_owned(), argon.to_owned()),
            ("SCRAM".to_owned(), "SCRAM-SHA-256$4096:aaaa$bb:cc".to_owned()),
        ])
    };
    let resolved = access.resolved(&with("$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$aGFzaA")).unwrap();
    assert!(resolved.clients["ann"].password[0].expose().starts_with("$argon2id$"));
    let error = access.resolved(&with("hunter2")).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    assert!(access.resolved(&Environment::default()).is_err());
    assert!(!format!("{resolved:?}").contains("argon2id"));
}

#[test]
fn issuers_are_read_with_what_their_claims_give() {
    let (access, problems) = parse(
        "roles: {analyst: }\nissuers:\n  entra:\n    url: https://login.example/tenant/v2.0\n    audience: api://lake\n    \
         name: [preferred_username, oid]\n    roles: [{claim: groups, value: g-1, role: analyst}]\n",
    );
    assert_eq!(problems, Vec::<String>::new());
    assert!(access.is_required(), "whoever has no token of theirs stays outside");
    let entra = &access.issuers["entra"];
    assert!(entra.audiences.contains("api://lake") && entra.algorithms.contains("RS256"));
    assert_eq!(entra.roles[0].role, "analyst");
    assert_eq!(entra.leeway_seconds, 60);
}

#[rstest]
#[case::no_audience("{url: 'https://a.example'}", "has no audience", "")]
#[case::no_tls("{url: 'http://a.example', audience: x}", "no address whose answers can be trusted", "https://")]
#[case::in_a_name("{url: 'http://127.0.0.1@a.example', audience: x}", "no address whose", "")]
#[case::shared_secret("{url: 'https://a.example', audience: x, algorithms: [HS256]}", "not known", "did you mean")]
#[case::no_algorithm("{url: 'https://a.example', audience: x, algorithms: [none]}", "not known", "write one of RS256")]
#[case::no_role("{url: 'https://a.example', audience: x, roles: [{claim: a, value: b, role: c}]}", "no role c", "")]
#[case::half_a_role("{url: 'https://a.example', audience: x, roles: [{claim: a, role: c}]}", "is not whole", "")]
#[case::much_leeway("{url: 'https://a.example', audience: x, leeway_seconds: 3600}", "300 seconds", "")]
fn what_is_wrong_with_an_issuer_is_said(#[case] text: &str, #[case] message: &str, #[case] help: &str) {
    let (_, problems) = parse(&format!("issuers: {{x: {text}}}"));
    let said = problems.join("\n");
    assert!(said.contains(message) && said.contains(help), "{said}");
}
