//! The way from the Functions app to the platform: two requests, with its token.
//!
//! Invariant: the token goes to the address that was configured, over TLS or within this machine, and a failure is told in
//! our words, never in what came back.

use std::time::Duration;

use ureq::http::{Response, header};
use ureq::{Agent, Body};
use vitalake_ops::feeds::FeedRunReport;
use vitalake_runtime::config::azure::is_safe;
use vitalake_runtime::http::client;

use super::call::Request;
use crate::failure::Failure;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// When a platform that does not answer, or is busy, is tried again.
const RETRY_SECONDS: &str = "30";

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For a feed's run; the host gives it ten minutes.
    pub run: Duration,
    /// For a delivery; the host's own answer has to be there within 230 seconds.
    pub deliver: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), run: Duration::from_secs(570), deliver: Duration::from_secs(210) }
    }
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    agent: Agent,
    url: String,
    authorization: Option<header::HeaderValue>,
    limits: Limits,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the platform does not answer: look at the web app, and at VITALAKE_SERVER")]
    Away,
    #[error("the platform took longer than it may: look at the feed or the dataset there before it is sent again")]
    TooLong,
    #[error(
        "the platform does not know the token: put one of its own as timers-token into the Key Vault (VITALAKE_TOKEN)"
    )]
    Unknown,
    #[error("the token may not do that: its role needs `may: [operate]` for feeds and `may: [deliver]` for deliveries")]
    Forbidden,
    #[error("the platform has no such feed: render the functions anew")]
    Missing,
    #[error("the platform answered {0}")]
    Refused(u16),
    #[error("the platform answered what cannot be read")]
    Unreadable,
    #[error("the handler broke off")]
    Broken,
}

impl Problem {
    /// What a sender is answered.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::TooLong => 504,
            Self::Away => 503,
            _ => 502,
        }
    }

    pub(super) fn retry_after(self) -> Option<String> {
        matches!(self, Self::Away).then(|| RETRY_SECONDS.to_owned())
    }
}

/// What the platform answered to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<String>,
}

impl Platform {
    /// The platform at an address, with a token for it.
    ///
    /// # Errors
    /// When the address is none, or the token would go there in the clear.
    pub fn new(url: &str, token: Option<&str>, limits: Limits) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/');
        if url.contains('@') || !(url.starts_with("https://") || url.starts_with("http://")) {
            let help = "set VITALAKE_SERVER to the platform's address, as https://HOST";
            return Err(Failure::usage("VITALAKE_SERVER is not an address of a platform", help));
        }
        if token.is_some() && !is_safe(url) {
            let help = "set VITALAKE_SERVER to an address that begins with https://";
            return Err(Failure::usage("the token is not sent to the platform in the clear", help));
        }
        let authorization = match token.map(|token| header::HeaderValue::from_str(&format!("Bearer {token}"))) {
            None => None,
            Some(Ok(mut value)) => {
                value.set_sensitive(true);
                Some(value)
            }
            Some(Err(_)) => {
                // Such as a reference to a Key Vault with a line's end in its secret.
                let help = "set it to the token alone, without a line's end";
                return Err(Failure::usage("VITALAKE_TOKEN is no token", help));
            }
        };
        let agent = client().timeout_connect(Some(limits.connect)).proxy(None).build().new_agent();
        Ok(Self { agent, url: url.to_owned(), authorization, limits })
    }

    /// Runs a feed and waits for its end.
    pub(super) fn run_feed(&self, feed: &str) -> Result<FeedRunReport, Problem> {
        let request = self.agent.post(format!("{}/feeds/{feed}/run", self.url));
        let request = match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.clone()),
            None => request,
        };
        let request = request.config().timeout_global(Some(self.limits.run)).build();
        let mut answer = request.send_empty().map_err(|error| problem(&error))?;
        match answer.status().as_u16() {
            200 => {
                let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json();
                read.map_err(|error| if is_timeout(&error) { Problem::TooLong } else { Problem::Unreadable })
            }
            401 => Err(Problem::Unknown),
            403 => Err(Problem::Forbidden),
            404 => Err(Problem::Missing),
            503 => Err(Problem::Away),
            other => Err(Problem::Refused(other)),
        }
    }

    /// Passes a delivery on, and its answer back.
    pub(super) fn deliver(&self, delivery: &Request) -> Result<Sent, Problem> {
        let mut request = self.agent.post(format!("{}/api/v1/deliveries/{}", self.url, encoded(&delivery.dataset)));
        request = request.query_pairs(&delivery.query);
        if let Some(kind) = &delivery.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        let request = request.config().timeout_global(Some(self.limits.deliver)).build();
        let mut answer = request.send(&delivery.body).map_err(|error| problem(&error))?;
        match answer.status().as_u16() {
            // The sender has come in at the host; that this app's own token is wrong is none of its business.
            401 => Err(Problem::Unknown),
            403 => Err(Problem::Forbidden),
            status => {
                let retry_after = text_of(&answer, &header::RETRY_AFTER);
                let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
                let body =
                    body.map_err(|error| if is_timeout(&error) { Problem::TooLong } else { Problem::Unreadable })?;
                Ok(Sent { status, body, retry_after })
            }
        }
    }
}

fn text_of(answer: &Response<Body>, name: &header::HeaderName) -> Option<String> {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_timeout(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
        _ => false,
    }
}

fn problem(error: &ureq::Error) -> Problem {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Problem::Away,
        error if is_timeout(error) => Problem::TooLong,
        _ => Problem::Away,
    }
}

/// A name as one part of a path.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
