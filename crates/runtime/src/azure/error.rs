//! Why Azure gives no token, in our words.
//!
//! Invariant: no message holds a token, a secret, or what an endpoint says beyond its kind of refusal.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Class, Classified, Retry};

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The environment names half of an identity.
    #[error("{given} is set and {missing} is not: both belong to one identity; set the other, or neither")]
    Incomplete {
        /// The variable that is there.
        given: &'static str,
        /// The one that belongs to it.
        missing: &'static str,
    },
    /// The address in the environment is none that a secret may be sent to.
    #[error("{variable} is no address that a secret may be sent to: give one that begins with https://")]
    Endpoint {
        /// The variable.
        variable: &'static str,
    },
    /// The pod's own token cannot be read.
    #[error("the token file {} cannot be read: {reason}", file.display())]
    Assertion {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Nothing answers.
    #[error("the token endpoint {endpoint} does not answer: {reason}")]
    Away {
        /// Where.
        endpoint: String,
        /// What the connection says.
        reason: String,
    },
    /// It is asked too often, or is not ready.
    #[error("the token endpoint {endpoint} answered {status}: it is asked again later")]
    Busy {
        /// Where.
        endpoint: String,
        /// The status.
        status: u16,
        /// How long it wants to be left, where it says so.
        after: Option<Duration>,
    },
    /// There is no such identity.
    #[error(
        "{endpoint} knows no such identity{said}: assign one to this resource, and name one that is user-assigned by AZURE_CLIENT_ID"
    )]
    NoIdentity {
        /// Where.
        endpoint: String,
        /// The kind of refusal, after a colon.
        said: String,
    },
    /// It refuses.
    #[error("the token endpoint {endpoint} answered {status}{said}")]
    Refused {
        /// Where.
        endpoint: String,
        /// The status.
        status: u16,
        /// The kind of refusal, after a colon.
        said: String,
    },
    /// It answers something else.
    #[error("the token endpoint {endpoint} answered without a token that can be read")]
    Unreadable {
        /// Where.
        endpoint: String,
    },
}

impl Classified for TokenError {
    fn class(&self) -> Class {
        match self {
            Self::Away { .. } | Self::Busy { .. } | Self::Unreadable { .. } => Class::External,
            _ => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            // The environment of a process does not change.
            Self::Incomplete { .. } | Self::Endpoint { .. } => Retry::Never,
            // A person assigns what is missing, and it goes on.
            _ => Retry::Later,
        }
    }
}
