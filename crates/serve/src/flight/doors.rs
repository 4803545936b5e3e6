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

use crate::http::{Doors, Pass};
use crate::identity::Identity;

/// How long a token of ours holds.
const TOKEN_MAX: Duration = Duration::from_secs(3600);
/// Tokens of ours at once.
const TOKENS_MAX: usize = 10_000;

/// Who may come in, and the tokens that were given out.
pub struct Entrance {
    doors: Arc<Doors>,
    audit: Audit,
    given: Mutex<HashMap<[u8; 32], (Pass, Instant)>>,
}

impl Entrance {
    /// An entrance behind the server's doors.
    pub fn new(doors: Arc<Doors>, audit: Audit) -> Self {
        Self { doors, audit, given: Mutex::default() }
    }

    /// Who sends a call.
    ///
    /// # Errors
    /// `unauthenticated`, after a while, where nobody is proved.
    pub async fn enter(&self, headers: &MetadataMap) -> Result<Identity, Status> {
        if !self.doors.is_locked() {
            return Ok(Identity::local());
        }
        match self.proved(headers) {
            Ok(pass) => Ok(pass.identity().clone()),
            Err(message) => {
                if !self.doors.hold_back().await {
                    return Err(Status::resource_exhausted("too many calls without a good token; come back later"));
                }
                let entry = Entry::new(Who::unknown(), Surface::Flight, Action::Login);
                self.audit.note(entry.ended(Outcome::Refused, Some("no_name")));
                Err(Status::unauthenticated(message))
            }
        }
    }

    fn proved(&self, headers: &MetadataMap) -> Result<Pass, &'static str> {
        let wrong = "send `authorization: Bearer TOKEN`, or your name and token as Basic";
        let mut said = headers.get_all("authorization").iter();
        let value = said.next().and_then(|value| value.to_str().ok()).ok_or(wrong)?;
        if said.next().is_some() {
            return Err("the call has two authorization headers; send one");
        }
        let (scheme, rest) = value.trim().split_once(' ').ok_or(wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let given = self.given.lock().get(&hash(rest.trim())).cloned();
            return match given {
                Some((pass, until)) if Instant::now() < until && self.doors.holds(&pass) => Ok(pass),
                Some(_) => Err("the token is over; connect again"),
                None => self.doors.pass(None, rest.trim()),
            };
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong);
        }
        let text = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, token) = text.as_deref().and_then(|text| text.split_once(':')).ok_or(wrong)?;
        self.doors.pass(Some(name), token)
    }

    /// A token for whoever sends a call.
    ///
    /// # Errors
    /// As [`Entrance::enter`].
    pub async fn token(&self, headers: &MetadataMap) -> Result<String, Status> {
        self.enter(headers).await?;
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        if let Ok(pass) = self.proved(headers) {
            let mut given = self.given.lock();
            let now = Instant::now();
            given.retain(|_, (_, until)| *until > now);
            if given.len() >= TOKENS_MAX {
                return Err(Status::resource_exhausted("too many clients have connected; come back later"));
            }
            given.insert(hash(&token), (pass, now + TOKEN_MAX));
        }
        Ok(token)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
