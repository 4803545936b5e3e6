//! The beginning of a connection: encryption, who asks, and what holds for it.
//!
//! Invariant: nothing of a session is there before the name is proved, and no secret is asked for where others could
//! read it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Postgres;
use super::cancels::{Cancels, Place};
use super::connection::Connection;
use super::frame::{Broken, First, first, text};
use super::refusal::Refusal;
use super::reply::Reply;
use super::settings::{DATABASE, Settings, VERSION};
use crate::tls::Certificate;
use vitalake_ops::audit::Surface;

use crate::identity::Identity;
use crate::names::{ANY_NAME, Client, Credential, Peer, Refused, ScramHash, Shown};

/// The protocol's name inside TLS.
const PROTOCOL: &[u8] = b"postgresql";
/// Requests for proof: a password as it is, and messages of SCRAM.
const CLEAR_PASSWORD: i32 = 3;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// A connection's bytes, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a client said at first.
struct Asked {
    version: i32,
    parameters: Vec<(String, String)>,
}

/// Where a connection comes from, and what is known of it before anything is said.
struct Line {
    peer: Peer,
    /// Whether nobody else can read it.
    is_private: bool,
    /// The certificate that its client has shown.
    shown: Option<Shown>,
    /// What its client may bind a proof to.
    binding: Option<Vec<u8>>,
}

/// Who it turned out to be.
struct Proved {
    identity: Identity,
    client: Option<Client>,
}

/// Begins a connection; nothing where it ended before it was one. `has_room` is whether the server takes one more.
pub async fn begin(
    stream: TcpStream,
    peer: SocketAddr,
    postgres: Postgres,
    cancels: Arc<Cancels>,
    has_room: bool,
) -> Option<Connection> {
    let line = Line { peer: Peer(Some(peer.ip())), is_private: peer.ip().is_loopback(), shown: None, binding: None };
    let (mut stream, line, asked) = agree(stream, line, (&postgres, &cancels)).await?;
    let place = cancels.enter();
    let begun = if has_room {
        enter(&mut stream, &postgres, &asked, line).await
    } else {
        Err(Refusal::new("53300", "too many connections; close others, or come back later"))
    };
    match begun {
        Ok((proved, settings)) => {
            let mut reply = Reply::default();
            greet(&mut reply, &asked, &settings, &place);
            stream.write_all(&reply.0).await.ok()?;
            Some(Connection::new(stream, postgres, place, settings, proved.identity, proved.client))
        }
        Err(refusal) => {
            let mut reply = Reply::default();
            reply.refusal("FATAL", &refusal);
            let _ = stream.write_all(&reply.0).await;
            let _ = stream.shutdown().await;
            None
        }
    }
}

/// Agrees on encryption and reads who asks. A request to cancel is done here, and is all of its connection.
async fn agree(
    mut stream: TcpStream,
    line: Line,
    (postgres, cancels): (&Postgres, &Arc<Cancels>),
) -> Option<(Box<dyn Stream>, Line, Asked)> {
    if speaks_tls(&stream).await? {
        let certificate = postgres.certificate.as_deref()?;
        return encrypted((stream, certificate), line, (postgres, cancels), true).await;
    }
    let mut asked_gss = false;
    loop {
        match first(&mut stream).await.ok()? {
            First::Gss if !asked_gss => {
                asked_gss = true;
                stream.write_all(b"N").await.ok()?;
            }
            First::Gss => return None,
            First::Tls => match &postgres.certificate {
                None => stream.write_all(b"N").await.ok()?,
                Some(certificate) => {
                    stream.write_all(b"S").await.ok()?;
                    return encrypted((stream, certificate), line, (postgres, cancels), false).await;
                }
            },
            First::Cancel(process, secret) => {
                cancels.stop(process, &secret, &postgres.sessions);
                return None;
            }
            First::Startup(version, parameters) => {
                return Some((Box::new(stream), line, Asked { version, parameters }));
            }
        }
    }
}

/// Whether a client begins TLS without asking. No packet of the protocol begins so: its length would be too large.
async fn speaks_tls(stream: &TcpStream) -> Option<bool> {
    const HANDSHAKE: u8 = 0x16;
    let mut byte = [0];
    let count = stream.peek(&mut byte).await.ok()?;
    Some(count == 1 && byte == [HANDSHAKE])
}

/// Agrees on TLS and reads who asks. A client that does not agree is gone: there is no way back to plain text.
async fn encrypted(
    (stream, certificate): (TcpStream, &Certificate),
    line: Line,
    (postgres, cancels): (&Postgres, &Arc<Cancels>),
    is_direct: bool,
) -> Option<(Box<dyn Stream>, Line, Asked)> {
    let (acceptor, binding) = certificate.acceptor_for(PROTOCOL);
    let mut stream = acceptor.accept(stream).await.ok()?;
    let (_, session) = stream.get_ref();
    // Whoever begins with TLS says which protocol is meant, so that no other's bytes are taken for this one.
    if is_direct && session.alpn_protocol() != Some(PROTOCOL) {
        return None;
    }
    let shown = Shown::of(session.peer_certificates());
    match first(&mut stream).await.ok()? {
        First::Startup(version, parameters) => {
            let line = Line { is_private: true, shown, binding, ..line };
            Some((Box::new(stream), line, Asked { version, parameters }))
        }
        First::Cancel(process, secret) => {
            cancels.stop(process, &secret, &postgres.sessions);
            None
        }
        First::Tls | First::Gss => None,
    }
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Who it is, and with which settings.
async fn enter(
    stream: &mut Box<dyn Stream>,
    postgres: &Postgres,
    asked: &Asked,
    line: Line,
) -> Result<(Proved, Arc<Settings>), Refusal> {
    if asked.version >> 16 != 3 {
        return Err(Refusal::unsupported("the version of the protocol is not spoken here: it is 3.0"));
    }
    let user = asked.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Refusal::new("28000", "a connection needs a user's name"))?;
    if !line.is_private {
        return Err(Refusal::new(
            "28000",
            "a connection from another machine has to be encrypted; use sslmode=require",
        ));
    }
    let proved = prove(stream, postgres, user, line).await?;
    if asked.get("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(Refusal::unsupported("there is no replication here: read with SELECT"));
    }
    let database = asked.get("database").unwrap_or(user);
    // Tools fill in the user's name or `postgres` where nobody names a database.
    if ![DATABASE, "postgres", user].contains(&database) {
        return Err(Refusal::new(
            "3D000",
            format!("database \"{database}\" does not exist; the one here is {DATABASE}"),
        ));
    }
    let name = if proved.client.is_some() { proved.identity.name() } else { user };
    let settings = Settings::new(name);
    for (name, value) in said(asked) {
        match settings.set(&name, Some(&[value])) {
            // What a client's machine has is told to every server; the answer says what holds here.
            Err(refusal) if refusal.code == "42704" || matches!(name.as_str(), "TimeZone" | "DateStyle") => {}
            Err(refusal) => return Err(refusal),
            Ok(_) => {}
        }
    }
    Ok((proved, Arc::new(settings)))
}

/// Asks for a proof, where one is needed.
async fn prove(stream: &mut Box<dyn Stream>, postgres: &Postgres, user: &str, line: Line) -> Result<Proved, Refusal> {
    let names = &postgres.names;
    if !names.is_locked() {
        return Ok(Proved { identity: Identity::local(), client: None });
    }
    if let Some(shown) = &line.shown
        && let Ok(client) = names.prove(Credential::Certificate(shown), line.peer).await
        && [client.identity().name(), ANY_NAME].contains(&user)
    {
        return Ok(Proved::of(client));
    }
    // Whom a certificate does not prove to be that name may prove it still.
    let proved = if names.asks_scram(user) {
        by_scram(stream, postgres, user, line).await?
    } else {
        let password = secret(stream, postgres, (CLEAR_PASSWORD, b"")).await?;
        let password = text(&mut password.into()).map_err(|_| no_proof())?;
        names.prove(Credential::Named { name: user, secret: &password }, line.peer).await
    };
    match proved {
        Ok(client) => Ok(Proved::of(client)),
        Err(refused @ (Refused::Busy | Refused::Paced(_) | Refused::Away)) => {
            Err(Refusal::new("53300", refused.to_string()))
        }
        Err(refused) => {
            postgres.sessions.audit().note_stranger(Surface::Postgres);
            Err(Refusal::new("28P01", refused.to_string()))
        }
    }
}

impl Proved {
    fn of(client: Client) -> Self {
        Self { identity: client.identity().clone(), client: Some(client) }
    }
}

/// The messages of SCRAM-SHA-256, bound to the certificate where the client does so.
async fn by_scram(
    stream: &mut Box<dyn Stream>,
    postgres: &Postgres,
    user: &str,
    line: Line,
) -> Result<Result<Client, Refused>, Refusal> {
    const PLUS: &str = "SCRAM-SHA-256-PLUS";
    let plain = ScramHash::Sha256.as_str();
    let plus = line.binding.as_ref().map(|_| PLUS);
    let mechanisms: String = plus.into_iter().chain([plain]).map(|name| format!("{name}\0")).collect();
    let chosen = secret(stream, postgres, (SASL, format!("{mechanisms}\0").as_bytes())).await?;
    let mut chosen = Bytes::from(chosen);
    let mechanism = text(&mut chosen).map_err(|_| no_proof())?;
    let is_known = mechanism == plain || Some(mechanism.as_str()) == plus;
    let length = chosen.try_get_i32().ok().and_then(|length| usize::try_from(length).ok());
    let message = Some(chosen).filter(|message| is_known && length == Some(message.len())).ok_or_else(no_proof)?;
    // Which of the two was chosen has to go with what the message says of binding.
    if (mechanism == PLUS) != message.starts_with(b"p=") {
        return Err(no_proof());
    }
    let mut scram = postgres.names.scram(ScramHash::Sha256, Some(user), line.binding, line.peer);
    let answer = match scram.first(&message).await {
        Ok(answer) => answer,
        Err(refused) => return Ok(Err(refused)),
    };
    let last = secret(stream, postgres, (SASL_CONTINUE, answer.as_bytes())).await?;
    Ok(match scram.last(&last).await {
        Ok((client, answer)) => {
            let mut reply = Reply::default();
            reply.authentication(SASL_FINAL, answer.as_bytes());
            stream.write_all(&reply.0).await.map_err(|_| no_proof())?;
            Ok(client)
        }
        Err(refused) => Err(refused),
    })
}

fn no_proof() -> Refusal {
    Refusal::new("08P01", "the client sent no password")
}

/// Asks a client for a proof; what it sends.
async fn secret(
    stream: &mut Box<dyn Stream>,
    postgres: &Postgres,
    (code, data): (i32, &[u8]),
) -> Result<Vec<u8>, Refusal> {
    let mut reply = Reply::default();
    reply.authentication(code, data);
    stream.write_all(&reply.0).await.map_err(|_| no_proof())?;
    let length = secret_length(stream, postgres.limits.startup_bytes_max).await.map_err(|_| no_proof())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(|_| no_proof())?;
    Ok(body)
}

async fn secret_length(stream: &mut Box<dyn Stream>, bytes_max: usize) -> Result<usize, Broken> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32().await? as usize);
    if kind == b'p' && (4..=bytes_max).contains(&length) { Ok(length - 4) } else { Err(Broken::Form("no password")) }
}

/// The settings that a client says at first: by their names, and as a command line.
fn said(asked: &Asked) -> Vec<(String, String)> {
    const OTHERS: [&str; 4] = ["user", "database", "options", "replication"];
    let mut said: Vec<(String, String)> = asked
        .parameters
        .iter()
        .filter(|(name, _)| !OTHERS.contains(&name.as_str()) && !name.starts_with("_pq_."))
        .cloned()
        .collect();
    let options = asked.get("options").unwrap_or_default();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.replace('-', "_")),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        if let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) {
            said.push((name.to_owned(), value.to_owned()));
        }
    }
    said
}

/// Words of a command line, in which a backslash keeps a blank.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(signs.next())),
            blank if blank.is_whitespace() => words.push(String::new()),
            sign => words.last_mut().into_iter().for_each(|word| word.push(sign)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Tells a client that it is in, and what holds.
fn greet(reply: &mut Reply, asked: &Asked, settings: &Settings, place: &Place) {
    let unknown: Vec<&str> =
        asked.parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if asked.version & 0xFFFF != 0 || !unknown.is_empty() {
        reply.negotiate(&unknown);
    }
    reply.authentication(0, b"");
    let version = format!("{VERSION} (vitalake {})", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("server_version", version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
        ("session_authorization", settings.user()),
        ("default_transaction_read_only", "on"),
        ("in_hot_standby", "off"),
        ("application_name", &settings.get("application_name").unwrap_or_default()),
    ] {
        reply.parameter(name, value);
    }
    reply.key(place.process, place.secret());
    reply.ready(b'I');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_connection_are_settings() {
        let parameters = [
            ("user", "ann"),
            ("options", "-c search_path=raw,\\ ops --statement-timeout=5s -cjit=off"),
            ("TimeZone", "UTC"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let said = said(&Asked { version: 3 << 16, parameters });
        let said: Vec<(&str, &str)> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("TimeZone", "UTC"), ("search_path", "raw, ops"), ("statement_timeout", "5s"), ("jit", "off")];
        assert_eq!(said, expected);
    }
}
