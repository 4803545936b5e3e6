//! Who sends a call, by its `authorization` header: a token, or a name with its token or password.
//!
//! A driver that knows a name and a password only asks for a token of its own first (`Handshake`). Invariant: such a
//! token is random, dies with its hour or with what it was made for, and is kept as its hash alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use tonic::metadata::MetadataMap;
use vitalake_ops::audit::{Audit, Surface};

use super::Line;
use crate::identity::Identity;
use crate::names::{Client, Credential, Given, Names, Refused};

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
    pub async fn enter(&self, headers: &MetadataMap, line: &Line) -> Result<Identity, Status> {
        self.client(headers, line).await.map(|client| client.identity().clone())
    }

    async fn client(&self, headers: &MetadataMap, line: &Line) -> Result<Client, Status> {
        let proved = match said(headers, line) {
            _ if !self.names.is_locked() => self.names.prove(Credential::Token(""), line.peer).await,
            Err(message) => return Err(self.refused(message.to_owned())),
            Ok(Given::Token(token)) => {
                let ours = self.given.lock().get(&hash(&token)).cloned();
                match ours {
                    Some((client, until)) if Instant::now() < until && self.names.holds(&client) => Ok(client),
                    Some(_) => return Err(self.refused("the token is over; connect again".to_owned())),
                    None => self.names.prove(Credential::Token(&token), line.peer).await,
                }
            }
            Ok(given) => self.names.prove(given.credential(), line.peer).await,
        };
        proved.map_err(|refused| match refused {
            Refused::Away => Status::unavailable(refused.to_string()),
            refused if refused.retry_after().is_some() => Status::resource_exhausted(refused.to_string()),
            refused => self.refused(refused.to_string()),
        })
    }

    fn refused(&self, message: String) -> Status {
        self.audit.note_stranger(Surface::Flight);
        Status::unauthenticated(message)
    }

    /// A token for whoever sends a call.
    ///
    /// # Errors
    /// As [`Entrance::enter`].
    pub async fn token(&self, headers: &MetadataMap, line: &Line) -> Result<String, Status> {
        let client = self.client(headers, line).await?;
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

/// What a call holds of who sends it. A certificate says so where the headers do not.
fn said(headers: &MetadataMap, line: &Line) -> Result<Given, &'static str> {
    let certificate = line.shown.as_ref().filter(|_| !headers.contains_key("authorization"));
    if let Some(shown) = certificate {
        return Ok(Given::Certificate(Arc::clone(shown)));
    }
    let mut said = headers.get_all("authorization").iter();
    let value = said.next().and_then(|value| value.to_str().ok());
    if said.next().is_some() {
        return Err("the call has two authorization headers; send one");
    }
    value.and_then(Given::of).ok_or("send `authorization: Bearer TOKEN`, or your name and token or password as Basic")
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
