//! Tokens of Azure: for a workspace of Azure Monitor, Event Hubs and PostgreSQL, whoever this process is there.
//!
//! One source for each audience, shared by all that need its tokens. Invariant: one question is under way at a time, and a
//! token that is still good is given while another is asked for.

mod ask;
#[cfg(test)]
mod double;
mod error;
mod identity;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use ask::{Ask, Granted, retry_after, said_now};
pub use error::TokenError;
pub use identity::{Audience, Identity};

use crate::clock::Clock;
use crate::config::notify::Hidden;
use crate::error::{Classified, Retry};
use crate::retry::Backoff;

/// How long an endpoint is left after a failure; longer with each further one.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60), attempts_max: None };
/// The least time between two questions that are answered: an endpoint that keeps its tokens gives the same one until
/// shortly before its end.
const APART: Duration = Duration::from_secs(30);

/// A token, as a header or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    text: Hidden,
    /// Which one it is, of those that this process was given.
    number: u64,
}

impl Token {
    /// The token itself, for whoever sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

/// Where tokens for one audience come from. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    audience: Audience,
    clock: Clock,
    cached: Mutex<Option<Cached>>,
    asking: Mutex<Asking>,
}

/// All moments are of the monotonic clock: one that is set does not make a token older.
#[derive(Clone, Debug)]
struct Cached {
    token: Token,
    renewed_from: Duration,
    good_until: Duration,
}

#[derive(Debug, Default)]
struct Asking {
    given: u64,
    failures: u32,
    /// Until when nobody is asked, and why.
    held_off: Option<(Duration, TokenError)>,
}

impl Tokens {
    /// Nobody is asked yet.
    #[must_use]
    pub fn new(identity: Identity, audience: Audience, clock: Clock) -> Self {
        let (cached, asking) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { identity, audience, clock, cached, asking }))
    }

    /// Who asks.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// A token that is good now. Blocking, ten seconds at most; callers that come meanwhile share the answer.
    ///
    /// # Errors
    /// When there is none and none is given. After a failure nobody is asked for a while, and the error is the same.
    pub fn get(&self) -> Result<Token, TokenError> {
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let mut asking = match self.good() {
            None => self.0.asking.lock(),
            Some(token) => match self.0.asking.try_lock() {
                Some(asking) => asking,
                None => return Ok(token),
            },
        };
        // Who was before has asked.
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let outcome = match &asking.held_off {
            Some((until, error)) if self.0.clock.monotonic() < *until => Err(error.clone()),
            _ => self.ask(&mut asking),
        };
        outcome.or_else(|error| self.good().ok_or(error))
    }

    /// Its receiver does not take this one: the next call asks for another.
    pub fn refused(&self, token: &Token) {
        let mut cached = self.0.cached.lock();
        if cached.as_ref().is_some_and(|cached| cached.token.number == token.number) {
            *cached = None;
        }
    }

    fn ask(&self, asking: &mut Asking) -> Result<Token, TokenError> {
        let clock = &self.0.clock;
        match self.0.identity.grant(&self.0.audience, clock) {
            Ok(granted) => {
                let now = clock.monotonic();
                *asking = Asking { given: asking.given + 1, ..Asking::default() };
                let token = Token { text: granted.token, number: asking.given };
                let renewed_from = now + (granted.lifetime * 4 / 5).max(APART.min(granted.lifetime));
                let cached = Cached { token: token.clone(), renewed_from, good_until: now + granted.lifetime };
                *self.0.cached.lock() = Some(cached);
                Ok(token)
            }
            Err(error) => {
                asking.failures += 1;
                let wait = match &error {
                    TokenError::Busy { after: Some(after), .. } => Some(*after),
                    error if error.retry() == Retry::Never => Some(AGAIN.longest),
                    _ => AGAIN.wait(asking.failures, rand::random()),
                };
                asking.held_off = Some((clock.monotonic() + wait.unwrap_or(AGAIN.longest), error.clone()));
                Err(error)
            }
        }
    }

    /// One that need not be renewed yet.
    fn fresh(&self) -> Option<Token> {
        self.cached(|cached| cached.renewed_from)
    }

    /// One that is good yet.
    fn good(&self) -> Option<Token> {
        self.cached(|cached| cached.good_until)
    }

    fn cached(&self, until: impl Fn(&Cached) -> Duration) -> Option<Token> {
        let (cached, now) = (self.0.cached.lock(), self.0.clock.monotonic());
        cached.as_ref().filter(|cached| now < until(cached)).map(|cached| cached.token.clone())
    }
}
