//! The beginning of a connection: encryption, who asks, and what holds for it.
//!
//! Invariant: nothing of a session is there before the name is proved, and no secret is asked for where others could
//! read it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Postgres;
use super::cancels::{Cancels, Place};
use super::connection::Connection;
use super::frame::{Broken, First, first, text};
use super::refusal::Refusal;
use super::reply::Reply;
use super::settings::{DATABASE, Settings, VERSION};
use vitalake_ops::audit::Surface;

use crate::identity::Identity;
use crate::names::{Client, Credential, Peer, Refused};

/// A connection's bytes, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a client said at first.
struct Asked {
    version: i32,
    parameters: Vec<(String, String)>,
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
    let (mut stream, is_private, asked) = agree(stream, &postgres, &cancels).await?;
    let private = is_private || peer.ip().is_loopback();
    let peer = Peer(Some(peer.ip()));
    let place = cancels.enter();
    let begun = if has_room {
        enter(&mut stream, &postgres, &asked, (private, peer)).await
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
    postgres: &Postgres,
    cancels: &Arc<Cancels>,
) -> Option<(Box<dyn Stream>, bool, Asked)> {
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
                    // A client that does not agree is gone: there is no way back to plain text.
                    let mut stream = certificate.acceptor_for(b"postgresql").accept(stream).await.ok()?;
                    return match first(&mut stream).await.ok()? {
                        First::Startup(version, parameters) => {
                            Some((Box::new(stream), true, Asked { version, parameters }))
                        }
                        First::Cancel(process, secret) => {
                            cancels.stop(process, &secret, &postgres.sessions);
                            None
                        }
                        First::Tls | First::Gss => None,
                    };
                }
            },
            First::Cancel(process, secret) => {
                cancels.stop(process, &secret, &postgres.sessions);
                return None;
            }
            First::Startup(version, parameters) => {
                return Some((Box::new(stream), false, Asked { version, parameters }));
            }
        }
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
    (is_private, peer): (bool, Peer),
) -> Result<(Proved, Arc<Settings>), Refusal> {
    if asked.version >> 16 != 3 {
        return Err(Refusal::unsupported("the version of the protocol is not spoken here: it is 3.0"));
    }
    let user = asked.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Refusal::new("28000", "a connection needs a user's name"))?;
    if !is_private {
        return Err(Refusal::new(
            "28000",
            "a connection from another machine has to be encrypted; use sslmode=require",
        ));
    }
    let proved = prove(stream, postgres, user, peer).await?;
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
async fn prove(stream: &mut Box<dyn Stream>, postgres: &Postgres, user: &str, peer: Peer) -> Result<Proved, Refusal> {
    if !postgres.names.is_locked() {
        return Ok(Proved { identity: Identity::local(), client: None });
    }
    const CLEAR_PASSWORD: i32 = 3;
    let gone = || Refusal::new("08P01", "the client sent no password");
    let mut reply = Reply::default();
    reply.authentication(CLEAR_PASSWORD);
    stream.write_all(&reply.0).await.map_err(|_| gone())?;
    let length = password_length(stream, postgres.limits.startup_bytes_max).await.map_err(|_| gone())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(|_| gone())?;
    let password = text(&mut body.into()).map_err(|_| gone())?;
    match postgres.names.prove(Credential::Named { name: user, secret: &password }, peer).await {
        Ok(client) => Ok(Proved { identity: client.identity().clone(), client: Some(client) }),
        Err(refused @ (Refused::Busy | Refused::Paced(_) | Refused::Away)) => {
            Err(Refusal::new("53300", refused.to_string()))
        }
        Err(refused) => {
            postgres.sessions.audit().note_stranger(Surface::Postgres);
            Err(Refusal::new("28P01", refused.to_string()))
        }
    }
}

async fn password_length(stream: &mut Box<dyn Stream>, bytes_max: usize) -> Result<usize, Broken> {
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
    reply.authentication(0);
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
