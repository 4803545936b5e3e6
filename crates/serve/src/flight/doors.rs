//! Who sends a call, by its `authorization` header: a token, or a name with its token or password.
//!
//! A driver that knows a name and a password only asks for a token of its own first (`Handshake`). Invariant: such a
//! token is random, dies with its hour or with what it was made for, and is kept as its hash alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use tonic::metadata::MetadataMap;
use vitalake_ops::audit::{Action, Audit, Entry, Outcome, Surface, Who};

use crate::identity::Identity;
use crate::names::{Client, Credential, Names, Peer, Refused};

/// How long a token of ours holds.
const TOKEN_MAX: Duration = Duration::from_secs(3600);
/// Tokens of ours at once.
const TOKENS_MAX: usize = 10_000;

/// Who may come in, and the tokens that were given out.
pub struct Entrance {
    names: Arc<Names>,
    audit: Audit,
    given: Mutex<HashMap<[u8; 32], (Client, Instant)>>,
}

impl Entrance {
    /// An entrance for whom the server knows.
    pub fn new(names: Arc<Names>, audit: Audit) -> Self {
        Self { names, audit, given: Mutex::default() }
    }

    /// Who sends a call.
    ///
    /// # Errors
    /// `unauthenticated`, after a while, where nobody is proved.
    pub async fn enter(&self, headers: &MetadataMap, peer: Peer) -> Result<Identity, Status> {
        self.client(headers, peer).await.map(|client| client.identity().clone())
    }

    async fn client(&self, headers: &MetadataMap, peer: Peer) -> Result<Client, Status> {
        let proved = match Given::of(headers) {
            _ if !self.names.is_locked() => self.names.prove(Credential::Token(""), peer).await,
            Err(message) => return Err(self.refused(message.to_owned())),
            Ok(Given::Token(token)) => {
                let ours = self.given.lock().get(&hash(&token)).cloned();
                match ours {
                    Some((client, until)) if Instant::now() < until && self.names.holds(&client) => Ok(client),
                    Some(_) => return Err(self.refused("the token is over; connect again".to_owned())),
                    None => self.names.prove(Credential::Token(&token), peer).await,
                }
            }
            Ok(Given::Named(name, secret)) => {
                self.names.prove(Credential::Named { name: &name, secret: &secret }, peer).await
            }
        };
        proved.map_err(|refused| match refused {
            Refused::Away => Status::unavailable(refused.to_string()),
            refused if refused.retry_after().is_some() => Status::resource_exhausted(refused.to_string()),
            refused => self.refused(refused.to_string()),
        })
    }

    fn refused(&self, message: String) -> Status {
        let entry = Entry::new(Who::unknown(), Surface::Flight, Action::Login);
        self.audit.note(entry.ended(Outcome::Refused, Some("no_name")));
        Status::unauthenticated(message)
    }

    /// A token for whoever sends a call.
    ///
    /// # Errors
    /// As [`Entrance::enter`].
    pub async fn token(&self, headers: &MetadataMap, peer: Peer) -> Result<String, Status> {
        let client = self.client(headers, peer).await?;
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        if self.names.is_locked() {
            let mut given = self.given.lock();
            let now = Instant::now();
            given.retain(|_, (_, until)| *until > now);
            if given.len() >= TOKENS_MAX {
                return Err(Status::resource_exhausted("too many clients have connected; come back later"));
            }
            given.insert(hash(&token), (client, now + TOKEN_MAX));
        }
        Ok(token)
    }
}

/// What a call's header holds.
enum Given {
    Token(String),
    Named(String, String),
}

impl Given {
    fn of(headers: &MetadataMap) -> Result<Self, &'static str> {
        let wrong = "send `authorization: Bearer TOKEN`, or your name and token or password as Basic";
        let mut said = headers.get_all("authorization").iter();
        let value = said.next().and_then(|value| value.to_str().ok()).ok_or(wrong)?;
        if said.next().is_some() {
            return Err("the call has two authorization headers; send one");
        }
        let (scheme, rest) = value.trim().split_once(' ').ok_or(wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Token(rest.trim().to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong);
        }
        let text = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, secret) = text.as_deref().and_then(|text| text.split_once(':')).ok_or(wrong)?;
        Ok(Self::Named(name.to_owned(), secret.to_owned()))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
