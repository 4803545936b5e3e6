//! The exchange as the RFCs print it, as a client plays it, and as somebody plays it who knows no password.
#![allow(clippy::unwrap_used)]

use rstest::rstest;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access, Client as Listed};

use super::super::tests::quick;
use super::*;

const HERE: Peer = Peer(None);

fn names() -> Arc<Names> {
    let mut access = Access::default();
    for (name, password) in [("ann", "pencil and paper"), ("a,b=c", "another"), ("bob", "without scram")] {
        let mut verifiers = vec![quick(password)];
        if name != "bob" {
            verifiers.extend([ScramHash::Sha256, ScramHash::Sha512].map(|hash| hash.verifier(password)));
        }
        let password = verifiers.iter().map(|text| text.as_str().into()).collect();
        access.clients.insert(name.to_owned(), Listed { password, ..Listed::default() });
    }
    Arc::new(Names::new(&access, Clock::manual(0)).unwrap())
}

/// A client's part: the last message, and what the server has to answer.
fn respond(hash: ScramHash, password: &str, bare: &str, first: &str, bound: &[u8]) -> (String, String) {
    let of = |prefix: &str| first.split(',').find_map(|field| field.strip_prefix(prefix)).unwrap().to_owned();
    let salt = BASE64_STANDARD.decode(of("s=")).unwrap();
    let salted = hash.salted(password.as_bytes(), &salt, of("i=").parse().unwrap());
    let client_key = hash.mac(&salted, &[b"Client Key"]);
    let without_proof = format!("c={},r={}", BASE64_STANDARD.encode(bound), of("r="));
    let messages = format!("{bare},{first},{without_proof}");
    let signature = hash.mac(&hash.digest(&client_key), &[messages.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
    let server = hash.mac(&hash.mac(&salted, &[b"Server Key"]), &[messages.as_bytes()]);
    (format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)), format!("v={}", BASE64_STANDARD.encode(server)))
}

async fn play(scram: &mut Scram, header: &str, name: &str, password: &str, bound: &[u8]) -> Result<String, Refused> {
    let bare = format!("n={name},r=abc");
    let first = scram.first(format!("{header}{bare}").as_bytes()).await?;
    assert!(first.starts_with("r=abc"));
    let (last, expected) = respond(scram.hash, password, &bare, &first, bound);
    let (client, answer) = scram.last(last.as_bytes()).await?;
    assert_eq!(answer, expected, "the client would not believe the server");
    Ok(client.identity().name().to_owned())
}

#[test]
fn the_example_of_rfc_7677_comes_out() {
    let hash = ScramHash::Sha256;
    let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let salted = hash.salted(b"pencil", &salt, 4096);
    let text = |bytes: Vec<u8>| BASE64_STANDARD.encode(bytes);
    let stored = text(hash.digest(&hash.mac(&salted, &[b"Client Key"])));
    let server = text(hash.mac(&salted, &[b"Server Key"]));
    let verifier = Verifier::parse(&format!("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${stored}:{server}")).unwrap();
    let names = names();
    let begun = Begun {
        name: "user".to_owned(),
        verifier,
        client: Some(names.passwords.scram("ann", hash).1.unwrap()),
        messages: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(),
        nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        bound: b"n,,".to_vec(),
    };
    let last =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let (_, answer) = finish_proof(begun, last.as_bytes(), hash).unwrap();
    assert_eq!(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[rstest]
#[case(ScramHash::Sha256)]
#[case(ScramHash::Sha512)]
#[tokio::test]
async fn whoever_knows_the_password_is_let_in_under_his_name(#[case] hash: ScramHash) {
    let names = names();
    let scram = |name| names.scram(hash, name, None, HERE);
    assert_eq!(play(&mut scram(None), "n,,", "ann", "pencil and paper", b"n,,").await.unwrap(), "ann");
    assert_eq!(play(&mut scram(None), "y,,", "a=2Cb=3Dc", "another", b"y,,").await.unwrap(), "a,b=c");
    // Postgres says the name before, and none in the message.
    assert_eq!(play(&mut scram(Some("ann")), "n,,", "", "pencil and paper", b"n,,").await.unwrap(), "ann");
}

#[tokio::test]
async fn whoever_comes_while_others_are_looked_at_waits_for_his_turn() {
    let names = names();
    let mut in_work = Vec::new();
    while let Some(attempt) = names.pace.admit(Some("ann"), HERE).unwrap() {
        in_work.push(attempt);
    }
    let mut scram = names.scram(ScramHash::Sha256, None, None, HERE);
    let playing = play(&mut scram, "n,,", "ann", "pencil and paper", b"n,,");
    let ends = async {
        tokio::task::yield_now().await;
        drop(in_work);
    };
    assert_eq!(tokio::join!(playing, ends).0.unwrap(), "ann");
}

#[tokio::test]
async fn nobody_else_is_let_in_and_a_name_that_there_is_none_of_looks_like_any_other() {
    let names = names();
    let mut salts = Vec::new();
    for (name, password) in [("ann", "another"), ("bob", "without scram"), ("nobody", "x"), ("nobody", "x"), ("", "x")]
    {
        let mut scram = names.scram(ScramHash::Sha256, None, None, HERE);
        let played = play(&mut scram, "n,,", name, password, b"n,,").await;
        assert_eq!(played.unwrap_err(), Refused::Wrong, "{name}");
        let mut scram = names.scram(ScramHash::Sha256, None, None, HERE);
        salts.push(
            scram
                .first(format!("n,,n={name},r=abc").as_bytes())
                .await
                .ok()
                .map(|first| first.split_once(",s=").unwrap().1.to_owned()),
        );
    }
    assert_eq!(salts[2], salts[3], "asked twice, a made-up salt is the same");
    assert!(salts[..4].iter().flatten().all(|salt| salt.len() == salts[0].as_ref().unwrap().len()));
}

#[rstest]
#[case::no_first(&["c=biws,r=abc,p=AAAA"])]
#[case::no_header(&["n=ann,r=abc"])]
#[case::no_nonce(&["n,,n=ann,r="])]
#[case::for_another(&["n,a=bob,n=ann,r=abc"])]
#[case::binding_that_was_not_offered(&["p=tls-server-end-point,,n=ann,r=abc"])]
#[case::bad_escape(&["n,,n=a=2D,r=abc"])]
#[case::another_nonce(&["n,,n=ann,r=abc", "c=biws,r=abc,p=AAAA"])]
#[case::nothing(&["n,,n=ann,r=abc", ""])]
#[case::no_proof(&["n,,n=ann,r=abc", "c=biws,r=abc,p="])]
#[tokio::test]
async fn what_is_no_exchange_is_refused(#[case] messages: &[&str]) {
    let mut scram = names().scram(ScramHash::Sha256, None, None, HERE);
    let mut last = Ok(());
    for (index, message) in messages.iter().enumerate() {
        last = match index {
            0 if messages.len() > 1 || !message.starts_with("c=") => scram.first(message.as_bytes()).await.map(|_| ()),
            _ => scram.last(message.as_bytes()).await.map(|_| ()),
        };
    }
    assert_eq!(last.unwrap_err(), Refused::Wrong);
}

#[tokio::test]
async fn a_connection_is_bound_to_the_certificate_where_that_is_offered() {
    let (names, certificate) = (names(), b"certificate".to_vec());
    let scram = || names.scram(ScramHash::Sha256, None, Some(certificate.clone()), HERE);
    let header = "p=tls-server-end-point,,";
    let bound = [header.as_bytes(), &certificate].concat();
    assert!(play(&mut scram(), header, "ann", "pencil and paper", &bound).await.is_ok());
    assert!(play(&mut scram(), "n,,", "ann", "pencil and paper", b"n,,").await.is_ok());
    let other = [header.as_bytes(), b"another"].concat();
    assert!(play(&mut scram(), header, "ann", "pencil and paper", &other).await.is_err());
    // Whoever could bind and was told that it is not offered is between two that somebody stands between.
    assert!(play(&mut scram(), "y,,", "ann", "pencil and paper", b"y,,").await.is_err());
}

#[rstest]
#[case("SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAA:AAAA")]
#[case("SCRAM-SHA-1$4096:c2FsdHNhbHQ=$AAAA:AAAA")]
#[case("SCRAM-SHA-256$4096:c2FsdHNhbHQ=")]
#[case(
    "SCRAM-SHA-256$1:c2FsdHNhbHQ=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)]
fn what_is_no_verifier_is_refused(#[case] text: &str) {
    assert!(Verifier::parse(text).is_err());
}
