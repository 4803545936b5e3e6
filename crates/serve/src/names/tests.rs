//! Who is let in by what, and that nobody is told more than that he is not.
#![allow(clippy::unwrap_used, clippy::panic)]

use argon2::password_hash::{PasswordHasher as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rstest::rstest;
use vitalake_runtime::config::access::{Client as Listed, Token};

use super::*;

const HERE: Peer = Peer(None);

/// A hash that is quick, for tests alone.
pub(super) fn quick(password: &str) -> String {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let salt = SaltString::encode_b64(&[7; 16]).unwrap();
    argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

fn listed(roles: &[&str], token: Option<(&str, Option<i64>)>, password: Option<&str>) -> Listed {
    let moment = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap();
    let token = token.map(|(text, expires)| Token {
        sha256: Sha256::digest(text).into(),
        expires: expires.map(moment),
        scope: access::Scope::default(),
    });
    let hashes = |password: &str| {
        let scram = [ScramHash::Sha256, ScramHash::Sha512].map(|hash| hash.verifier(password));
        std::iter::once(quick(password)).chain(scram).map(|text| text.as_str().into()).collect()
    };
    Listed {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        tokens: token.into_iter().collect(),
        password: password.map(hashes).unwrap_or_default(),
        ..Listed::default()
    }
}

fn names(clock: &Clock) -> Arc<Names> {
    let mut access = Access::default();
    access.clients.insert("ann".to_owned(), listed(&["analyst"], Some(("secret", None)), None));
    access.clients.insert("bob".to_owned(), listed(&[], Some(("other", Some(1_000))), Some("pass:word")));
    access.clients.insert("eve".to_owned(), listed(&[], None, Some("evening star")));
    Arc::new(Names::new(&access, clock.clone()).unwrap())
}

async fn named(names: &Names, name: &str, secret: &str) -> Result<String, Refused> {
    let proved = names.check(Credential::Named { name, secret }, HERE).await;
    proved.map(|client| client.identity().name().to_owned())
}

async fn alone(names: &Names, token: &str) -> Result<String, Refused> {
    names.check(Credential::Token(token), HERE).await.map(|client| client.identity().name().to_owned())
}

#[tokio::test]
async fn tokens_and_passwords_prove_one_name() {
    let names = names(&Clock::manual(0));
    assert_eq!(alone(&names, "secret").await.unwrap(), "ann");
    assert_eq!(named(&names, "ann", "secret").await.unwrap(), "ann");
    assert_eq!(named(&names, ANY_NAME, "secret").await.unwrap(), "ann");
    assert_eq!(named(&names, "bob", "other").await.unwrap(), "bob");
    assert_eq!(named(&names, "bob", "pass:word").await.unwrap(), "bob");
    assert_eq!(named(&names, "bob", "pass:word").await.unwrap(), "bob", "from memory");
}

#[rstest]
#[case("bob", "secret")]
#[case("", "secret")]
#[case("ann", "")]
#[case("Ann", "secret")]
#[case("ann", "pass:word")]
#[case("eve", "pass:word")]
#[case("bob", "pass:word ")]
#[case("nobody", "pass:word")]
#[case(ANY_NAME, "pass:word")]
#[case("ann", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b")]
#[tokio::test]
async fn names_and_secrets_belong_together(#[case] name: &str, #[case] secret: &str) {
    let names = names(&Clock::manual(0));
    // What one name has proved before is no other's.
    named(&names, "bob", "pass:word").await.unwrap();
    assert_eq!(named(&names, name, secret).await.unwrap_err(), Refused::Wrong);
    assert!(alone(&names, &format!("{secret}x")).await.is_err());
}

#[tokio::test]
async fn what_is_over_is_said_to_be_over_and_holds_no_longer() {
    let clock = Clock::manual(999);
    let names = names(&clock);
    let bob = names.check(Credential::Token("other"), HERE).await.unwrap();
    assert!(names.holds(&bob));
    assert_eq!(names.left_ms(&bob), Some(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(alone(&names, "other").await.unwrap_err(), Refused::Over);
    assert!(!names.holds(&bob));
}

#[tokio::test]
async fn guesses_are_slowed_and_a_good_token_is_not() {
    let clock = Clock::manual(0);
    let names = names(&clock);
    for name in ["eve", "nobody"] {
        for _ in 0..5 {
            assert_eq!(named(&names, name, "guess").await.unwrap_err(), Refused::Wrong);
        }
        assert!(matches!(named(&names, name, "guess").await.unwrap_err(), Refused::Paced(_)), "{name}");
    }
    assert!(matches!(named(&names, "eve", "evening star").await.unwrap_err(), Refused::Paced(_)));
    for _ in 0..5 {
        assert!(named(&names, "ann", "guess").await.is_err());
    }
    assert_eq!(named(&names, "ann", "secret").await.unwrap(), "ann");
    clock.advance(Duration::from_secs(1));
    assert_eq!(named(&names, "eve", "evening star").await.unwrap(), "eve");
}

#[tokio::test]
async fn a_token_is_good_for_no_more_than_its_scope() {
    let mut ann = listed(&["analyst"], Some(("secret", None)), None);
    ann.tokens[0].scope.datasets = Some(["vitals".to_owned()].into());
    let access = Access { clients: [("ann".to_owned(), ann)].into(), ..Access::default() };
    let names = Names::new(&access, Clock::manual(0)).unwrap();
    let ann = names.check(Credential::Token("secret"), HERE).await.unwrap();
    assert!(ann.identity().scope().allows(access::Reach::Read, Some("vitals")));
    assert!(!ann.identity().scope().allows(access::Reach::Read, Some("people")));
}

#[test]
fn a_hash_that_cannot_be_used_is_said_and_not_quoted() {
    for wrong in [
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ",
        "$argon2id$v=19$m=999999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$",
    ] {
        let eve = Listed { password: vec![wrong.into()], ..Listed::default() };
        let access = Access { clients: [("eve".to_owned(), eve)].into(), ..Access::default() };
        let error = Names::new(&access, Clock::manual(0)).unwrap_err().to_string();
        assert!(error.contains("access.clients.eve") && !error.contains("c2FsdHNhbHQ"), "{error}");
    }
}

/// Ten thousand proofs of eight clients in 64 tasks, by every way, each begun while others are on theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_another_however_many_come_in_at_once() {
    let mut access = Access::default();
    let user = |number: usize| (format!("user{number}"), format!("token {number}"), format!("password {number}"));
    for number in 0..8 {
        let (name, token, password) = user(number);
        let mut client = listed(&[], Some((&token, None)), None);
        client.password = vec![quick(&password).as_str().into()];
        access.clients.insert(name, client);
    }
    let names = Arc::new(Names::new(&access, Clock::system()).unwrap());
    let tasks = (0..64).map(|task| {
        let names = Arc::clone(&names);
        tokio::spawn(async move {
            for number in 0..157 {
                let (name, token, password) = user((task + number) % 8);
                let proved = match number % 4 {
                    0 => names.prove(Credential::Token(&token), HERE).await,
                    1 => names.prove(Credential::Named { name: &name, secret: &password }, HERE).await,
                    2 => names.prove(Credential::Named { name: ANY_NAME, secret: &token }, HERE).await,
                    _ => {
                        let mut sasl = names.sasl("PLAIN", HERE).unwrap();
                        tokio::task::yield_now().await;
                        match sasl.step(format!("\0{name}\0{password}").as_bytes()).await {
                            Said::Known(client, _) => Ok(client),
                            said => panic!("{name}: {said:?}"),
                        }
                    }
                };
                match proved {
                    Ok(client) => assert_eq!(client.identity().name(), name),
                    Err(refused) => panic!("{name} stays outside: {refused}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}
