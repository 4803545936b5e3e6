//! How clients of the real server prove their names: passwords, certificates, narrowed tokens, by HTTP and by Kafka.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rstest::rstest;
use serde_json::{Value, json};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use vitalake_ingest::kafka::client::Connection;

use crate::rehearsal::server::Place;

const PASSWORD: &str = "a quiet evening star";

const PULSE: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000007
name: pulse
version: 1.0.0
status: active
schema:
  - name: pulse
    properties:
      - {name: bpm, logicalType: integer}
customProperties:
  - {property: topic, value: pulse}
roles:
  - {role: device, access: write}
  - {role: analyst, access: read}
  - {role: steward, access: read}
";

fn vitalake(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(crate::binary());
    command.args(arguments).current_dir(folder).env_clear().env("NO_COLOR", "1").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

struct Here {
    _folder: tempfile::TempDir,
    place: Place,
    narrow: String,
}

/// A project with a client by password, one by certificate and one by a token for one dataset alone.
fn here(more: &str) -> Here {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let text = said(&vitalake(folder.path(), &["password", "ann", "--role", "analyst"], &format!("{PASSWORD}\n")));
    assert!(!text.contains(PASSWORD), "{text}");
    let hashes: String =
        text.lines().filter(|line| line.trim().starts_with("- ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(hashes.lines().count(), 3, "{text}");
    let text = said(&vitalake(folder.path(), &["token", "narrow", "--role", "steward"], ""));
    let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap().to_owned();
    let (narrow, hash) = (line("vl_"), line("token: "));
    let settings = format!(
        "name: pulse\nstorage:\n  reserve_bytes: 0\naccess:\n  roles:\n    analyst: {{layers: []}}\n    device: {{layers: []}}\n    \
         steward: {{clearance: restricted, layers: [raw, ops, quarantine], may: [deliver, operate]}}\n  clients:\n    ann:\n      \
         roles: [analyst]\n      password:\n{hashes}    box: {{roles: [device], certificate: \"CN=box-7\"}}\n    narrow:\n      \
         roles: [steward]\n      tokens:\n        - {hash}\n          scopes: [read]\n          datasets: [other]\n{more}"
    );
    for (name, text) in [("vitalake.yaml", settings.as_str()), ("contracts/raw/pulse.yaml", PULSE)] {
        let path = project.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
    Here { _folder: folder, place, narrow }
}

fn basic(name: &str, secret: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{name}:{secret}")))
}

fn asked(agent: &ureq::Agent, url: &str, authorization: Option<&str>) -> (u16, Value) {
    let question = json!({"query": "SELECT COUNT(*) FROM raw.pulse", "resultFormat": "array"});
    let mut request = agent.post(format!("{url}/druid/v2/sql")).content_type("application/json");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let mut answer = request.send(question.to_string()).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn plain() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

#[test]
fn a_password_lets_its_name_in_and_guesses_are_slowed() {
    let here = here("");
    let _server = here.place.start().ready();
    let (agent, url) = (plain(), format!("http://{}", here.place.http));
    let of = |name: &str, secret: &str| asked(&agent, &url, Some(&basic(name, secret)));
    assert_eq!(of("ann", PASSWORD), (200, json!([[0]])));
    for name in ["ann", "nobody"] {
        let (status, answer) = of(name, "a quiet evening stat");
        assert_eq!(status, 401, "{answer}");
    }
    let guesses: Vec<u16> = (0..5).map(|_| of("nobody", "a guess of something").0).collect();
    assert!(guesses.contains(&429), "{guesses:?}");
    // Who is known by this address, and by what nobody guesses, comes in.
    assert_eq!(of("ann", PASSWORD).0, 200);
    let question = format!("Bearer {}", here.narrow);
    let (status, refused) = asked(&agent, &url, Some(&question));
    assert_ne!(status, 200, "{refused}");
    assert!(refused.to_string().contains("you may not read 'raw.pulse'"), "a token for another dataset: {refused}");
    let ready = agent.get(format!("{url}/health/ready")).call().unwrap().body_mut().read_to_string().unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert!(ready["ready"] == true && ready["troubles"].as_array().is_none_or(Vec::is_empty), "{ready}");
    let log = here.place.said();
    assert!(!log.contains(PASSWORD) && !log.contains("argon2id$") && !log.contains(&here.narrow), "{log}");
}

#[tokio::test]
async fn a_kafka_client_comes_in_by_password_and_is_told_why_not() {
    let here = here("");
    let _server = here.place.start().ready();
    let open = || Connection::open(&here.place.kafka, "test", 30);
    open().await.unwrap().say_who("ann", PASSWORD).await.unwrap();
    let refused = open().await.unwrap().say_who("ann", "a quiet evening stat").await.unwrap_err().to_string();
    assert!(!refused.contains("quiet"), "{refused}");
}

#[rstest]
#[case::short("short\n", "12 to 256 characters")]
#[case::other_letters("ein schöner Abendstern\n", "other characters than those of ASCII")]
#[case::two_lines("one two three four\nfive\n", "other characters")]
#[case::nothing("", "12 to 256 characters")]
fn what_is_no_password_is_refused_and_not_repeated(#[case] input: &str, #[case] says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = vitalake(folder.path(), &["password", "ann"], input);
    let text = said(&output);
    assert!(!output.status.success() && text.contains(says), "{text}");
    assert!(input.trim().is_empty() || !text.contains(input.trim()), "{text}");
}

/// An authority, and what it has signed for a name; none where there is no OpenSSL.
fn signed(folder: &Path, name: &str, by: Option<&str>) -> bool {
    let path = |name: &str, ending: &str| folder.join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
    let (key, pem, subject) = (path(name, "key"), path(name, "pem"), format!("/CN={name}"));
    let mut arguments = vec![
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &subject,
        "-keyout",
        &key,
        "-out",
        &pem,
    ];
    let signer = by.map(|by| [path(by, "pem"), path(by, "key")]);
    if let Some([certificate, key]) = &signer {
        let usual = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        arguments.extend(["-CA", certificate, "-CAkey", key].into_iter().chain(usual));
    }
    Command::new("openssl").args(arguments).output().is_ok_and(|made| made.status.success())
}

/// A client that trusts an authority, and shows a certificate.
fn under_tls(folder: &Path, shows: Option<&str>) -> ureq::Agent {
    let read = |name: &str, ending: &str| fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let authority = Certificate::from_pem(&read("authority", "pem")).unwrap();
    let shown = shows.map(|name| {
        let certificate = Certificate::from_pem(&read(name, "pem")).unwrap();
        ClientCert::new_with_certs(&[certificate], PrivateKey::from_pem(&read(name, "key")).unwrap())
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[authority]))
        .client_cert(shown)
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls).build().new_agent()
}

#[test]
fn a_certificate_is_a_name_where_its_authority_is_known() {
    let here = here("http:\n  tls: {certificate: server.pem, key: server.key, client_authority: authority.pem}\n");
    let project = here.place.project.clone();
    let names = [
        ("authority", None),
        ("server", Some("authority")),
        ("box-7", Some("authority")),
        ("box-8", Some("authority")),
    ];
    if !names.iter().all(|(name, by)| signed(&project, name, *by)) {
        eprintln!("skipped: openssl is not installed, which makes the certificates");
        return;
    }
    // The same name, signed by somebody else.
    fs::create_dir(project.join("evil")).unwrap();
    assert!(
        signed(&project.join("evil"), "authority", None) && signed(&project.join("evil"), "box-7", Some("authority"))
    );
    fs::copy(project.join("evil/box-7.pem"), project.join("forged.pem")).unwrap();
    fs::copy(project.join("evil/box-7.key"), project.join("forged.key")).unwrap();
    let _server = here.place.start();
    let url = format!("https://{}", here.place.http);
    let known = under_tls(&project, Some("box-7"));
    here.place.until("it answers", || {
        known.get(format!("{url}/health/ready")).call().is_ok_and(|answer| answer.status() == 200)
    });
    // It is known, and its role does not read.
    let (status, refused) = asked(&known, &url, None);
    assert!(status != 200 && refused.to_string().contains("you may not read 'raw.pulse'"), "{refused}");
    // The header says more than the certificate.
    assert_eq!(asked(&known, &url, Some(&basic("ann", PASSWORD))).0, 200);
    assert_eq!(asked(&known, &url, Some(&basic("ann", "a quiet evening stat"))).0, 401);
    assert_eq!(asked(&under_tls(&project, Some("box-8")), &url, None).0, 401, "a name that is not listed");
    assert_eq!(asked(&under_tls(&project, None), &url, None).0, 401, "no certificate");
    let forged = under_tls(&project, Some("forged")).get(format!("{url}/health/live")).call();
    assert!(forged.is_err(), "a certificate of another authority");
}

#[rstest]
#[case::nothing("", false)]
#[case::tls("  tls: {certificate: a.pem, key: a.key}\n", true)]
#[case::an_authority_alone("  tls: {client_authority: a.pem}\n", false)]
#[case::required_of_nobody("  tls: {certificate: a.pem, key: a.key, client_required: true}\n", false)]
fn kafka_beyond_this_machine_needs_tls(#[case] tls: &str, #[case] fine: bool) {
    let here = here(&format!("kafka:\n  listen: 0.0.0.0:9092\n{tls}"));
    let verdict = vitalake(&here.place.project, &["validate", "."], "");
    assert_eq!(verdict.status.success(), fine, "{}", said(&verdict));
}
