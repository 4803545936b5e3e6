//! A local issuer, tokens that it signed, and tokens of those who would like to be it.
#![allow(clippy::unwrap_used)]

mod keys;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::json;
use vitalake_runtime::config::access::{ClaimedRole, Login, Reach};

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

/// An issuer on this machine. It answers one request after the other.
struct Local {
    url: String,
    asked: Arc<AtomicUsize>,
    keys: Arc<Mutex<Value>>,
    status: Arc<AtomicUsize>,
    /// What is given for a code, and what was sent for the last.
    token: Arc<Mutex<String>>,
    sent: Arc<Mutex<String>>,
}

fn public_keys() -> Value {
    json!({"keys": [
        {"kty": "EC", "crv": "P-256", "x": keys::EC_X, "y": keys::EC_Y, "kid": "ec", "use": "sig"},
        {"kty": "RSA", "n": keys::RSA_N, "e": "AQAB", "kid": "rsa", "alg": "RS256"},
        {"kty": "RSA", "n": keys::RSA_N, "e": "AQAB", "kid": "sealing", "use": "enc"},
        {"kty": "of tomorrow", "kid": "new"},
    ]})
}

impl Local {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tenant/v2.0", listener.local_addr().unwrap());
        let (asked, status) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(200)));
        let keys = Arc::new(Mutex::new(public_keys()));
        let (token, sent) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<String>>::default());
        let local = Self {
            url: url.clone(),
            asked: Arc::clone(&asked),
            keys: Arc::clone(&keys),
            status: Arc::clone(&status),
            token: Arc::clone(&token),
            sent: Arc::clone(&sent),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let read = stream.read(&mut buffer).unwrap();
                    if read == 0 {
                        break;
                    }
                    head.extend_from_slice(&buffer[..read]);
                }
                let is_configuration = head.starts_with(b"GET /tenant/v2.0/.well-known/openid-configuration ");
                let body = if is_configuration {
                    let (pages, codes) = (format!("{url}/authorize?p=1"), format!("{url}/token"));
                    json!({
                        "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": pages, "token_endpoint": codes,
                    })
                    .to_string()
                } else if head.starts_with(b"POST /tenant/v2.0/token ") {
                    let text = String::from_utf8(head.clone()).unwrap();
                    let (headers, begun) = text.split_once("\r\n\r\n").unwrap();
                    let headers = headers.to_lowercase();
                    let bytes = headers.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                    let mut rest = vec![0; bytes.trim().parse::<usize>().unwrap() - begun.len()];
                    stream.read_exact(&mut rest).unwrap();
                    *sent.lock() = begun.to_owned() + std::str::from_utf8(&rest).unwrap();
                    json!({"id_token": *token.lock(), "token_type": "Bearer"}).to_string()
                } else {
                    asked.fetch_add(1, Ordering::SeqCst);
                    keys.lock().to_string()
                };
                let status = status.load(Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nlocation: {url}/keys\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _gone = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
        });
        local
    }

    fn settings(&self) -> Settings {
        let role = |claim: &str, value: &str, role: &str| ClaimedRole {
            claim: claim.to_owned(),
            value: value.to_owned(),
            role: role.to_owned(),
        };
        Settings {
            url: self.url.clone(),
            discovery: None,
            audiences: ["api://lake".to_owned()].into(),
            algorithms: ["RS256", "ES256"].map(ToOwned::to_owned).into(),
            name: vec!["preferred_username".to_owned(), "oid".to_owned()],
            roles: vec![
                role("roles", "Lake.Analyst", "analyst"),
                role("groups", "g-1", "steward"),
                role("scp", "lake.read", "reader"),
            ],
            subject: None,
            leeway_seconds: 60,
            login: Some(Login { client_id: "console".to_owned(), ..Login::default() }),
        }
    }

    fn issuers(&self) -> Issuers {
        let access = Access { issuers: [("entra".to_owned(), self.settings())].into(), ..Access::default() };
        Issuers::new(&access, &Clock::manual(NOW_MS))
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": "api://lake", "exp": NOW_MS / 1_000 + 600, "nbf": NOW_MS / 1_000,
            "preferred_username": "ada@example.org", "oid": "00000000-0000-4000-8000-000000000001",
            "roles": ["Lake.Analyst", "Other"], "scp": "openid lake.read",
        })
    }
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn key(of: Algorithm) -> EncodingKey {
    let der = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    match of {
        Algorithm::ES256 => EncodingKey::from_ec_der(&der(keys::EC_PRIVATE)),
        _ => EncodingKey::from_rsa_der(&der(keys::RSA_PRIVATE)),
    }
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(ToOwned::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &key(algorithm)).unwrap()
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[rstest]
#[case(Algorithm::ES256, "ec")]
#[case(Algorithm::RS256, "rsa")]
#[tokio::test]
async fn a_token_of_the_issuer_is_a_name_with_roles(#[case] algorithm: Algorithm, #[case] kid: &str) {
    let local = Local::start();
    let issuers = local.issuers();
    let token = signed(algorithm, Some(kid), &local.claims());
    assert!(issuers.takes(&token) && !issuers.takes("vl_0123"));
    let client = issuers.check(&token, NOW_MS).await.unwrap();
    assert_eq!(client.identity().name(), "entra/ada@example.org");
    let roles: Vec<&str> = client.identity().roles().iter().map(|role| &**role).collect();
    assert_eq!(roles, ["analyst", "reader"]);
    assert_eq!(client.expires_ms(), Some(NOW_MS + 600_000));
    assert_eq!(local.asked.load(Ordering::SeqCst), 1);
    issuers.check(&token, NOW_MS + 1).await.unwrap();
    assert_eq!(local.asked.load(Ordering::SeqCst), 1, "the keys are kept");
}

#[tokio::test]
async fn what_its_claims_do_not_allow_is_refused() {
    let local = Local::start();
    let issuers = local.issuers();
    let second = NOW_MS / 1_000;
    let refused = async |claims: Value| {
        issuers.check(&signed(Algorithm::ES256, Some("ec"), &claims), NOW_MS).await.unwrap_err().to_string()
    };
    let base = || local.claims();
    assert!(refused(with(base(), "exp", json!(second - 61))).await.contains("is over"));
    assert!(
        issuers
            .check(&signed(Algorithm::ES256, Some("ec"), &with(base(), "exp", json!(second - 59))), NOW_MS)
            .await
            .is_ok()
    );
    for (name, value, words) in [
        ("exp", Value::Null, "says no end"),
        ("exp", json!("soon"), "says no end"),
        ("nbf", json!(second + 61), "is not good yet"),
        ("nbf", json!("later"), "is not good yet"),
        ("aud", json!("api://other"), "for another audience"),
        ("aud", json!(["api://other", "api://lake2"]), "for another audience"),
        ("aud", Value::Null, "for another audience"),
        ("iss", json!("https://evil.example"), "of an issuer that is not listed"),
        ("iss", json!(format!("{}/", local.url)), "of an issuer that is not listed"),
    ] {
        let said = refused(with(base(), name, value)).await;
        assert!(said.contains(words), "{name}: {said}");
        assert!(!said.contains("ada") && !said.contains("evil"), "{said}");
    }
    let nameless = with(with(base(), "preferred_username", json!("a\nb")), "oid", json!(7));
    assert!(refused(nameless).await.contains("none of the claims"));
    let both = with(base(), "aud", json!(["api://other", "api://lake"]));
    assert!(issuers.check(&signed(Algorithm::ES256, Some("ec"), &both), NOW_MS).await.is_ok());
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let local = Local::start();
    let (issuers, claims) = (local.issuers(), local.claims());
    let good = signed(Algorithm::RS256, Some("rsa"), &claims);
    let (header, rest) = good.split_once('.').unwrap();
    let signature = rest.split_once('.').unwrap().1;
    let of = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid, "typ": "JWT"});
    let public = json!({"alg": "HS256", "kid": "rsa"});
    let secret = EncodingKey::from_secret(&BASE64_URL_SAFE_NO_PAD.decode(keys::RSA_N).unwrap());
    let by_public_key = {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &secret).unwrap()
    };
    let steward = with(claims.clone(), "groups", json!(["g-1"]));
    let payload = BASE64_URL_SAFE_NO_PAD.encode(steward.to_string());
    let crit = json!({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false});
    for (what, forged) in [
        ("none", unsigned(&of("none", "rsa"), &claims, "")),
        ("none with a signature", unsigned(&of("none", "rsa"), &claims, signature)),
        ("None", unsigned(&of("None", "rsa"), &claims, "")),
        ("the public key as a secret", by_public_key),
        ("HS256 over another's signature", unsigned(&public, &claims, signature)),
        ("other claims under the same signature", format!("{header}.{payload}.{signature}")),
        ("no signature", format!("{}.", good.rsplit_once('.').unwrap().0)),
        ("a key of another kind", signed(Algorithm::ES256, Some("rsa"), &claims)),
        ("a key for sealing", signed(Algorithm::RS256, Some("sealing"), &claims)),
        ("an algorithm that is not the key's", signed(Algorithm::PS256, Some("rsa"), &claims)),
        ("no key where there are several", signed(Algorithm::RS256, None, &claims)),
        ("what has to be understood", unsigned(&crit, &claims, signature)),
        ("two more parts", format!("{good}.a.b")),
    ] {
        let refused = issuers.check(&forged, NOW_MS).await;
        assert!(matches!(refused, Err(Refused::Token(_))), "{what}: {refused:?}");
    }
    assert!(issuers.check(&good, NOW_MS).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_a_minute() {
    let local = Local::start();
    let issuers = local.issuers();
    let next = signed(Algorithm::ES256, Some("next"), &local.claims());
    for _ in 0..5 {
        assert!(matches!(issuers.check(&next, NOW_MS).await, Err(Refused::Token(_))));
    }
    assert_eq!(local.asked.load(Ordering::SeqCst), 1);
    local.keys.lock()["keys"][0]["kid"] = json!("next");
    assert!(issuers.check(&next, NOW_MS + 59_999).await.is_err());
    assert!(issuers.check(&next, NOW_MS + 60_000).await.is_ok(), "keys are changed without a restart");
    let last = signed(Algorithm::ES256, Some("ec"), &local.claims());
    assert!(issuers.check(&last, NOW_MS + 60_000).await.is_err(), "what is published no longer is not trusted");
}

#[rstest]
#[case::broken(500)]
#[case::elsewhere(302)]
#[tokio::test]
async fn an_issuer_that_is_away_delays_its_own_and_is_asked_again(#[case] status: usize) {
    let local = Local::start();
    let (issuers, token) = (local.issuers(), signed(Algorithm::ES256, Some("ec"), &local.claims()));
    local.status.store(status, Ordering::SeqCst);
    let reason = || issuers.health()[0].away().map(|away| away.reason);
    assert_eq!(reason(), None, "one that nobody uses is not asked");
    issuers.ask_again(NOW_MS).await;
    assert_eq!(issuers.check(&token, NOW_MS).await.unwrap_err(), Refused::Away);
    let told = reason().unwrap();
    assert!(told.starts_with("the keys of entra cannot be fetched: it answers "), "{told}");
    local.status.store(200, Ordering::SeqCst);
    assert_eq!(issuers.check(&token, NOW_MS + 1).await.unwrap_err(), Refused::Away);
    issuers.ask_again(NOW_MS + 2).await;
    assert!(reason().is_some(), "it is asked once a minute, whoever asks");
    issuers.ask_again(NOW_MS + 60_000).await;
    assert_eq!(reason(), None, "it is known that it is back before anybody comes by it");
    assert!(issuers.check(&token, NOW_MS + 60_000).await.is_ok());
    // What is known goes on for a day, and no longer.
    local.status.store(status, Ordering::SeqCst);
    let late = |ms: i64| {
        signed(Algorithm::ES256, Some("ec"), &with(local.claims(), "exp", json!((NOW_MS + ms) / 1_000 + 600)))
    };
    let (hours, day) = (5 * 3_600_000, 25 * 3_600_000);
    assert!(issuers.check(&late(hours), NOW_MS + hours).await.is_ok());
    assert_eq!(issuers.check(&late(day), NOW_MS + day).await.unwrap_err(), Refused::Away);
}

#[tokio::test]
async fn groups_that_are_left_out_are_told_in_words() {
    let local = Local::start();
    let issuers = local.issuers();
    let mut claims = local.claims();
    for gone in ["roles", "scp"] {
        claims.as_object_mut().unwrap().remove(gone);
    }
    let over = with(claims.clone(), "_claim_names", json!({"groups": "src1"}));
    let refused = issuers.check(&signed(Algorithm::ES256, Some("ec"), &over), NOW_MS).await.unwrap_err().to_string();
    assert!(refused.contains("in too many of them"), "{refused}");
    let none = issuers.check(&signed(Algorithm::ES256, Some("ec"), &claims), NOW_MS).await.unwrap();
    assert!(none.identity().roles().is_empty(), "who has no role is let in and sees nothing");
    let steward = with(claims, "groups", json!(["g-0", "g-1"]));
    let steward = issuers.check(&signed(Algorithm::ES256, Some("ec"), &steward), NOW_MS).await.unwrap();
    assert_eq!(&*steward.identity().roles()[0], "steward");
}

#[tokio::test]
async fn a_devices_token_writes_records_of_its_subject_alone() {
    let local = Local::start();
    let settings = Settings { subject: Some("patient".to_owned()), ..local.settings() };
    let access = Access { issuers: [("devices".to_owned(), settings)].into(), ..Access::default() };
    let issuers = Issuers::new(&access, &Clock::manual(NOW_MS));
    for (claims, subject) in [(with(local.claims(), "patient", json!("p-1")), "p-1"), (local.claims(), "")] {
        let client = issuers.check(&signed(Algorithm::ES256, Some("ec"), &claims), NOW_MS).await.unwrap();
        let scope = client.identity().scope();
        assert_eq!(scope.subject.as_ref().unwrap().expose(), subject);
        assert!(scope.allows(Reach::DELIVER, Some("vitals")) && !scope.allows(Reach::Read, Some("vitals")));
    }
}

/// The value of a field of an address.
fn field(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap().to_owned()
}

const BACK: &str = "http://127.0.0.1:8888/api/v1/login/callback";

/// A browser that was sent away, and the claims of a token that its issuer gives for it.
async fn sent(local: &Local, issuers: &Issuers) -> (login::Sent, Value) {
    let sent = issuers.send((Some("entra"), "/datasets?x=1"), BACK.to_owned(), NOW_MS).await.unwrap();
    let nonce = field(&sent.location, "nonce");
    (sent, with(with(local.claims(), "aud", json!("console")), "nonce", json!(nonce)))
}

fn given(local: &Local, claims: &Value) {
    *local.token.lock() = signed(Algorithm::ES256, Some("ec"), claims);
}

#[tokio::test]
async fn a_browser_that_comes_back_with_its_code_is_let_in_once() {
    let local = Local::start();
    let issuers = local.issuers();
    assert_eq!(issuers.log_ins().collect::<Vec<_>>(), ["entra"]);
    let (away, claims) = sent(&local, &issuers).await;
    assert!(away.location.starts_with(&format!("{}/authorize?p=1&response_type=code&client_id=console&", local.url)));
    assert_eq!(field(&away.location, "code_challenge_method"), "S256");
    assert_eq!(field(&away.location, "redirect_uri"), "http%3A%2F%2F127.0.0.1%3A8888%2Fapi%2Fv1%2Flogin%2Fcallback");
    given(&local, &claims);
    let state = field(&away.location, "state");
    let other = issuers.take_back((&state, "code", "of another browser"), NOW_MS).await;
    assert_eq!(other.unwrap_err(), Refused::Ended, "the state alone lets nobody in");
    let (client, page) = issuers.take_back((&state, "a code", &away.holds), NOW_MS).await.unwrap();
    assert_eq!((client.identity().name(), page.as_str()), ("entra/ada@example.org", "/datasets?x=1"));
    let body = format!("?{}", local.sent.lock());
    assert_eq!(field(&body, "code"), "a%20code");
    let challenge =
        BASE64_URL_SAFE_NO_PAD.encode(<sha2::Sha256 as sha2::Digest>::digest(field(&body, "code_verifier")));
    assert_eq!(challenge, field(&away.location, "code_challenge"), "who has the code alone gets nothing for it");
    let again = issuers.take_back((&state, "a code", &away.holds), NOW_MS).await;
    assert_eq!(again.unwrap_err(), Refused::Ended);
}

#[tokio::test]
async fn a_token_that_was_not_asked_for_lets_nobody_in() {
    let local = Local::start();
    let issuers = local.issuers();
    for (name, value) in [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("aud", json!("api://lake")),
        ("azp", json!("another")),
        ("iss", json!("https://evil.example")),
        ("exp", json!(NOW_MS / 1_000 - 61)),
    ] {
        let (away, claims) = sent(&local, &issuers).await;
        given(&local, &with(claims, name, value));
        let state = field(&away.location, "state");
        let refused = issuers.take_back((&state, "code", &away.holds), NOW_MS).await;
        assert!(matches!(refused, Err(Refused::Token(_) | Refused::Over)), "{name}: {refused:?}");
    }
    let (late, claims) = sent(&local, &issuers).await;
    given(&local, &claims);
    let state = field(&late.location, "state");
    let refused = issuers.take_back((&state, "code", &late.holds), NOW_MS + late.ms).await;
    assert_eq!(refused.unwrap_err(), Refused::Ended, "it was away for too long");
}

#[rstest]
#[case::refused(400, Refused::Token("was not given by its issuer for that log-in"))]
#[case::broken(500, Refused::Away)]
#[tokio::test]
async fn an_issuer_that_gives_nothing_for_a_code_is_told_apart(#[case] status: usize, #[case] want: Refused) {
    let local = Local::start();
    let issuers = local.issuers();
    let (away, _) = sent(&local, &issuers).await;
    local.status.store(status, Ordering::SeqCst);
    let refused = issuers.take_back((&field(&away.location, "state"), "code", &away.holds), NOW_MS).await;
    assert_eq!(refused.unwrap_err(), want);
}
