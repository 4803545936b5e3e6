//! Why a Superset did not do what was asked, in our own words.
//!
//! Invariant: no message holds a password, a token or a value of a record.

use super::http::SECONDS_MAX;

/// The oldest Superset whose interface is known to be as this client needs it.
pub const VERSION_MIN: (u32, u32) = (6, 0);

/// Why a Superset did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{0} is not an address of a Superset")]
    Address(String),
    /// Nobody answered.
    #[error("no Superset answers at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What came of it.
        why: String,
    },
    /// It did not answer in time.
    #[error("the Superset at {url} did not answer {what} within {SECONDS_MAX} seconds")]
    TimedOut {
        /// Where.
        url: String,
        /// To what.
        what: String,
    },
    /// Something else answers there.
    #[error("what answers at {0} is not a Superset: it does not say a version")]
    NotSuperset(String),
    /// Its interface is another one.
    #[error("the Superset at {url} is {version}; {}.{} or newer is needed", VERSION_MIN.0, VERSION_MIN.1)]
    TooOld {
        /// Where.
        url: String,
        /// What it says that it is.
        version: String,
    },
    /// It does not know the user, or not this password.
    #[error("the Superset at {url} does not let {user} in: the user or the password is wrong")]
    Password {
        /// Where.
        url: String,
        /// Who.
        user: String,
    },
    /// The user may not do this.
    #[error("{user} may not {what} in the Superset at {url}")]
    Forbidden {
        /// Where.
        url: String,
        /// Who.
        user: String,
        /// What.
        what: String,
    },
    /// It sent us elsewhere.
    #[error("the Superset at {url} answered {what} with a redirect{}, which is not followed", where_to(.login))]
    Redirected {
        /// Where.
        url: String,
        /// What was asked.
        what: String,
        /// Whether to its page for logging in.
        login: bool,
    },
    /// It answered that it does not do it.
    #[error("the Superset at {url} could not {what}: it answered {status}{}", said_of(.said))]
    Refused {
        /// Where.
        url: String,
        /// What.
        what: String,
        /// The answer's status.
        status: u16,
        /// Its own words where they cannot hold a value.
        said: String,
    },
    /// What it answered is not what its interface says.
    #[error("what the Superset at {url} answered to {what} could not be read: {why}")]
    Answer {
        /// Where.
        url: String,
        /// What was asked.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Our own files are not right.
    #[error("the dashboards' files for Superset are not whole: {0}")]
    Files(String),
}

fn where_to(login: &bool) -> &'static str {
    if *login { " to its log-in page" } else { "" }
}

fn said_of(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Address(_) => "set superset.url to http://HOST:PORT or https://HOST",
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "see whether it runs, and whether superset.url is right"
            }
            Self::NotSuperset(_) => "set superset.url to where Superset's start page is, without /superset/welcome",
            Self::TooOld { .. } => "update it",
            Self::Password { .. } => "set superset.user and superset.password, or VITALAKE_SUPERSET__PASSWORD",
            Self::Forbidden { .. } => "give the user the role Admin, or one that may import and export assets",
            Self::Redirected { login: true, .. } => {
                "a proxy or another way of logging in stands before it: give superset.url the address behind it"
            }
            Self::Redirected { .. } => "set superset.url to the address that it leads to",
            Self::Refused { .. } | Self::Answer { .. } => "its own log has the cause",
            Self::Files(_) => "this is a mistake of vitalake; please report it",
        }
    }

    /// Whether nobody answered, so that the same may work later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}
