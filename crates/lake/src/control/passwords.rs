//! Tokens of Azure in the place of a password, renewed while a server is open.
//!
//! A server looks at one when a connection is made: those that are open go on when theirs is over. Invariant: a token is in
//! no message.

use std::time::Duration;

use vitalake_runtime::azure::{Token, TokenError, Tokens};

use super::database::Database;
use crate::postgres::PostgresAddress;

/// How often the next connections are given a new token for a password. One lasts five minutes at least.
const RENEWED_EVERY: Duration = Duration::from_secs(300);

/// Tokens that stand for a password, and how often the next connections are given a new one.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Where tokens come from.
    pub tokens: Tokens,
    /// How often.
    pub renewed_every: Duration,
}

impl Passwords {
    /// Tokens that are renewed as the server of Azure wants it: it looks at one when a connection is made.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, renewed_every: RENEWED_EVERY }
    }
}

/// Gives the next connections a token that is good, until the database is closed.
pub(super) async fn renew_forever(database: Database, address: PostgresAddress, passwords: Passwords) {
    while !database.is_closed() {
        tokio::time::sleep(passwords.renewed_every).await;
        // Where there is none for the moment, those that are open go on, and the next try says why.
        if let Ok(token) = token(&passwords.tokens).await {
            database.set_password(&address, token.expose());
        }
    }
}

/// A token that is good now.
pub(super) async fn token(tokens: &Tokens) -> Result<Token, TokenError> {
    let tokens = tokens.clone();
    let asking = tokio::task::spawn_blocking(move || tokens.get()).await;
    // It does not panic; a runtime that ends asks nobody.
    asking.unwrap_or_else(|_| Err(TokenError::Away { endpoint: String::new(), reason: "interrupted".to_owned() }))
}
