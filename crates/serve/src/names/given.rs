//! What a request carries of who sends it, as HTTP and gRPC write it.
//!
//! Invariant: what is here has been read and not believed; [`Names`](super::Names) says what it proves.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Credential, Shown};

/// A proof as it was sent.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Given {
    /// A token alone.
    Token(String),
    /// A name, with its password or one of its tokens.
    Named(String, String),
    /// What a connection's TLS has shown.
    Certificate(Arc<Shown>),
    /// What a browser holds as a cookie.
    Visit(String),
    /// What an Azure Static Web App says of its user.
    Principal(String),
}

impl Given {
    /// Of the value of an `Authorization` header: `Bearer TOKEN`, or a name and what proves it as `Basic`.
    #[must_use]
    pub fn of(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(rest.trim().to_owned()));
        }
        let text = BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let text = String::from_utf8(text).ok()?;
        let (name, secret) = text.split_once(':')?;
        Some(Self::Named(name.to_owned(), secret.to_owned()))
    }

    /// What is to be proved.
    #[must_use]
    pub fn credential(&self) -> Credential<'_> {
        match self {
            Self::Token(token) => Credential::Token(token),
            Self::Named(name, secret) => Credential::Named { name, secret },
            Self::Certificate(shown) => Credential::Certificate(shown),
            Self::Visit(text) => Credential::Visit(text),
            Self::Principal(header) => Credential::Principal(header),
        }
    }
}
