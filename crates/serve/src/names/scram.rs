//! SCRAM (RFC 5802, 7677): a client proves that it knows a password, and the server that it has a verifier of it.
//!
//! Verifiers have PostgreSQL's form. Kafka and the Postgres wire hand the messages over as they come, and get the answers.
//! A name without a verifier is answered like any other, and found wrong at the end. Invariant: nothing that a verifier
//! holds, and nothing that a message proves, lets anybody in at another server.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Client, Names, Peer, Refused, same};

/// How often a new verifier's password is hashed; what PostgreSQL and Kafka take.
const ITERATIONS: u32 = 4_096;
const ITERATIONS_MAX: u32 = 1_000_000;
const SALT_BYTES: usize = 16;
/// No message of a client is longer.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// The hash of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// `SCRAM-SHA-256`
    Sha256,
    /// `SCRAM-SHA-512`
    Sha512,
}

impl ScramHash {
    /// The mechanism's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes keys of any length.
        match self {
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key).map(|mac| finish(mac, parts)),
            Self::Sha512 => Hmac::<Sha512>::new_from_slice(key).map(|mac| finish(mac, parts)),
        }
        .unwrap_or_default()
    }

    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// `Hi` of RFC 5802.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut last = self.mac(password, &[salt, &1_u32.to_be_bytes()]);
        let mut all = last.clone();
        for _ in 1..iterations {
            last = self.mac(password, &[&last]);
            all.iter_mut().zip(&last).for_each(|(all, last)| *all ^= last);
        }
        all
    }

    /// The verifier of a new password, as a project's file has it.
    #[must_use]
    pub fn verifier(self, password: &str) -> String {
        let salt = rand::random::<[u8; SALT_BYTES]>();
        let salted = self.salted(password.as_bytes(), &salt, ITERATIONS);
        let stored = self.digest(&self.mac(&salted, &[b"Client Key"]));
        let server = self.mac(&salted, &[b"Server Key"]);
        let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        format!("{}${ITERATIONS}:{}${}:{}", self.as_str(), text(&salt), text(&stored), text(&server))
    }
}

fn finish<M: hmac::Mac>(mut mac: M, parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// What a server keeps of a password for this.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) hash: ScramHash,
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "it is not a whole verifier of SCRAM";
        let mut parts = text.split('$');
        let (Some(mechanism), Some(salted), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong);
        };
        let hash = [ScramHash::Sha256, ScramHash::Sha512].into_iter().find(|hash| hash.as_str() == mechanism);
        let hash = hash.ok_or("it is of a SCRAM that is not spoken here")?;
        let (iterations, salt) = salted.split_once(':').ok_or(wrong)?;
        let (stored, server) = keys.split_once(':').ok_or(wrong)?;
        let iterations: u32 = iterations.parse().map_err(|_| wrong)?;
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| wrong);
        let (salt, stored_key, server_key) = (bytes(salt)?, bytes(stored)?, bytes(server)?);
        let is_whole = stored_key.len() == hash.length() && server_key.len() == hash.length() && salt.len() >= 8;
        if !is_whole {
            return Err(wrong);
        }
        if !(ITERATIONS..=ITERATIONS_MAX).contains(&iterations) {
            return Err("it has fewer than 4096 iterations, or more than a million");
        }
        Ok(Self { hash, iterations, salt, stored_key, server_key })
    }

    /// One that nobody knows the password of, the same for the same name.
    pub(super) fn made_up(hash: ScramHash, of: &[u8; 32]) -> Self {
        let salt = of.iter().copied().take(SALT_BYTES).collect();
        let keys = |what: &[u8]| hash.mac(of, &[what, &rand::random::<[u8; 32]>()]);
        Self { hash, iterations: ITERATIONS, salt, stored_key: keys(b"stored"), server_key: keys(b"server") }
    }
}

/// An exchange: the client's first message, then its last.
#[derive(Debug)]
pub struct Scram {
    names: Arc<Names>,
    hash: ScramHash,
    name: Option<String>,
    /// The hash of this server's certificate, where binding is offered.
    binding: Option<Vec<u8>>,
    peer: Peer,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    name: String,
    verifier: Verifier,
    client: Option<Client>,
    /// The client's first message without what goes before it, and the server's.
    messages: String,
    nonce: String,
    /// What the client's last message has to repeat of the connection.
    bound: Vec<u8>,
}

impl Scram {
    pub(super) fn new(
        names: Arc<Names>,
        hash: ScramHash,
        (name, binding): (Option<String>, Option<Vec<u8>>),
        peer: Peer,
    ) -> Self {
        Self { names, hash, name, binding, peer, begun: None }
    }

    /// The answer to the client's first message.
    ///
    /// # Errors
    /// Why it is refused; it has waited.
    pub async fn first(&mut self, message: &[u8]) -> Result<String, Refused> {
        match self.begin(message) {
            Ok(answer) => Ok(answer),
            Err(refused) => Err(self.names.late(refused).await),
        }
    }

    /// Who it is, and the answer to the client's last message.
    ///
    /// # Errors
    /// Why it is refused; it has waited.
    pub async fn last(&mut self, message: &[u8]) -> Result<(Client, String), Refused> {
        match self.finish(message).await.and_then(|(client, answer)| Ok((self.names.unless_over(client)?, answer))) {
            Ok(proved) => Ok(proved),
            Err(refused) => Err(self.names.late(refused).await),
        }
    }

    async fn finish(&mut self, message: &[u8]) -> Result<(Client, String), Refused> {
        let begun = self.begun.take().ok_or(Refused::Wrong)?;
        // What is in work is what is looked at now: an exchange that its client leaves open keeps nobody out. Whoever comes
        // while others are looked at waits, since a client that is refused once does not come again.
        let turn = self.names.turn(Some(&begun.name), self.peer, || false).await?;
        let attempt = turn.ok_or(Refused::Busy)?;
        let proved = finish_proof(begun, message, self.hash);
        match &proved {
            Ok(_) => attempt.proved(),
            Err(_) => attempt.failed(),
        }
        proved
    }

    fn begin(&mut self, message: &[u8]) -> Result<String, Refused> {
        let text = text(message)?;
        let (header, bare) = header_and_rest(text).ok_or(Refused::Wrong)?;
        let bound = self.bound(header).ok_or(Refused::Wrong)?;
        let mut fields = bare.split(',');
        let named = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or(Refused::Wrong)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let nonce = nonce.ok_or(Refused::Wrong)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => unescaped(named).filter(|name| !name.is_empty()).ok_or(Refused::Wrong)?,
        };
        self.names.pace.look(Some(&name), self.peer)?;
        let (verifier, client) = self.names.passwords.scram(&name, self.hash);
        let nonce = format!("{nonce}{}", BASE64_STANDARD.encode(rand::random::<[u8; 18]>()));
        let answer = format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&verifier.salt), verifier.iterations);
        let messages = format!("{bare},{answer}");
        self.begun = Some(Begun { name, verifier, client, messages, nonce, bound });
        Ok(answer)
    }

    /// What the last message repeats, where the first one's header goes with what was offered.
    fn bound(&self, header: &str) -> Option<Vec<u8>> {
        let mut fields = header.split(',');
        let (kind, acting_for) = (fields.next()?, fields.next()?);
        // Acting for another is not known here.
        if !acting_for.is_empty() {
            return None;
        }
        let mut bound = header.as_bytes().to_vec();
        match (kind, &self.binding) {
            // Who says that this server does not offer it, where it does, was told so by somebody between.
            ("n", _) | ("y", None) => {}
            ("p=tls-server-end-point", Some(certificate)) => bound.extend_from_slice(certificate),
            _ => return None,
        }
        Some(bound)
    }
}

fn finish_proof(begun: Begun, message: &[u8], hash: ScramHash) -> Result<(Client, String), Refused> {
    let Begun { verifier, client, messages, nonce, bound, .. } = begun;
    let check = || {
        let (without_proof, proof) = text(message).ok()?.rsplit_once(",p=")?;
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let mut fields = without_proof.split(',');
        let repeated = BASE64_STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let is_bound = same(&repeated, &bound) && fields.next()?.strip_prefix("r=")? == nonce;
        let messages = format!("{messages},{without_proof}");
        let signature = hash.mac(&verifier.stored_key, &[messages.as_bytes()]);
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, signature)| proof ^ signature).collect();
        let is_right = proof.len() == signature.len() && same(&hash.digest(&key), &verifier.stored_key);
        let answer = hash.mac(&verifier.server_key, &[messages.as_bytes()]);
        (is_bound && is_right).then(|| format!("v={}", BASE64_STANDARD.encode(answer)))
    };
    // A made-up verifier is checked as others are, and has nobody.
    let answer = check();
    client.zip(answer).ok_or(Refused::Wrong)
}

fn text(message: &[u8]) -> Result<&str, Refused> {
    let message = Some(message).filter(|message| message.len() <= MESSAGE_BYTES_MAX);
    message.and_then(|message| std::str::from_utf8(message).ok()).ok_or(Refused::Wrong)
}

/// What goes before a first message (`n,a=…,`), and the message.
fn header_and_rest(text: &str) -> Option<(&str, &str)> {
    let end = text.match_indices(',').nth(1)?.0 + 1;
    text.split_at_checked(end)
}

/// A name as it was before its commas and equals signs were written as `=2C` and `=3D`.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match part.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', part.strip_prefix("3D")?),
        };
        text.push(sign);
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests;
