//! What may be written under `access:`, and that no finding about it quotes a token.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use saphyr::LoadableYamlNode as _;

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
    assert_eq!(ann.token_sha256[..2], [0x9f, 0x86]);
    assert_eq!(ann.expires.unwrap().to_rfc3339(), "2027-01-31T00:00:00+00:00");
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
    assert_eq!(access.clients["x"].expires, Some(DateTime::UNIX_EPOCH));
}
