//! One question for a token, and the answer as it is read.
//!
//! Managed identities (`identity`) and OAuth 2 clients of other services ask by it. Invariant: what an endpoint says is
//! repeated by its kind alone.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::error::TokenError;
use super::identity::{ASSERTION, form_encoded};
use crate::clock::Clock;
use crate::config::masked_url;
use crate::config::notify::Hidden;
use crate::http::client;

/// How long an endpoint may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a token is good for whose endpoint does not say so.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// A token that was given this moment is used for so long, whatever a clock says.
const LIFETIME_LEAST: Duration = Duration::from_secs(60);
/// The longest that an endpoint may ask to be left.
const AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A question for a token.
#[derive(Clone, Debug)]
pub struct Ask {
    url: String,
    headers: Vec<(&'static str, Hidden)>,
    /// None where everything is in the address.
    form: Option<Vec<(&'static str, Hidden)>>,
}

/// A token that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The token.
    pub token: Hidden,
    /// How long it is good for from now on.
    pub lifetime: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds; Azure's machines write the number as text.
    #[serde(default)]
    expires_in: Value,
    /// Seconds since 1970, as text; App Service says nothing else.
    #[serde(default)]
    expires_on: Value,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    /// Entra's own numbers, as in AADSTS7000215.
    #[serde(default)]
    error_codes: Vec<u32>,
}

impl Ask {
    /// A question that is all in its address, of an endpoint on or beside this machine.
    #[must_use]
    pub fn query(endpoint: &str, query: &str) -> Self {
        let mark = if endpoint.contains('?') { '&' } else { '?' };
        Self { url: format!("{endpoint}{mark}{query}"), headers: Vec::new(), form: None }
    }

    /// The grant `client_credentials` of OAuth 2.
    #[must_use]
    pub fn grant(endpoint: &str, scope: Option<&str>) -> Self {
        let grant = [("grant_type", "client_credentials".into())];
        let scope = scope.map(|scope| ("scope", scope.into()));
        Self { url: endpoint.to_owned(), headers: Vec::new(), form: Some(grant.into_iter().chain(scope).collect()) }
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a client's name and secret in the header (RFC 6749, 2.3.1).
    #[must_use]
    pub fn with_basic(self, client: &str, secret: &str) -> Self {
        let pair = format!("{}:{}", form_encoded(client), form_encoded(secret));
        self.with_header("Authorization", &format!("Basic {}", STANDARD.encode(pair)))
    }

    /// With these fields.
    #[must_use]
    pub fn with_form<'a>(mut self, fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name, value.into()));
        self.form.get_or_insert_default().extend(fields);
        self
    }

    /// With the token in a file that speaks for a client.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn with_assertion(self, client: &str, file: &Path) -> Result<Self, TokenError> {
        let unread = |error: std::io::Error| TokenError::Assertion { file: file.into(), reason: error.to_string() };
        let assertion = std::fs::read_to_string(file).map_err(unread)?;
        let form =
            [("client_id", client), ("client_assertion_type", ASSERTION), ("client_assertion", assertion.trim())];
        Ok(self.with_form(form))
    }

    /// Sends it. Blocking.
    ///
    /// # Errors
    /// When there is no token in answer.
    pub fn send(&self, clock: &Clock) -> Result<Granted, TokenError> {
        let mut answer = self.answer().map_err(|error| self.away(&error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        if status != 200 {
            return Err(self.refused(status, &headers, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.away(&error))?;
        let unreadable = || TokenError::Unreadable { endpoint: self.shown() };
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        // What could end a header is none.
        if answer.access_token.is_empty() || !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unreadable());
        }
        let lifetime = answer.lifetime(said_now(&headers).unwrap_or(clock.now_ms() / 1_000));
        Ok(Granted { token: answer.access_token.as_str().into(), lifetime })
    }

    fn answer(&self) -> Result<Response<Body>, ureq::Error> {
        let agent = self.agent();
        match &self.form {
            Some(form) => {
                let with = |request: ureq::RequestBuilder<_>, (name, value): &(&'static str, Hidden)| {
                    request.header(*name, value.expose())
                };
                let request = self.headers.iter().fold(agent.post(&self.url), with);
                let fields = form.iter().map(|(name, value)| (*name, value.expose()));
                request.header("Accept", "application/json").send_form(fields)
            }
            None => {
                let with = |request: ureq::RequestBuilder<_>, (name, value): &(&'static str, Hidden)| {
                    request.header(*name, value.expose())
                };
                let request = self.headers.iter().fold(agent.get(&self.url), with);
                request.header("Accept", "application/json").call()
            }
        }
    }

    fn agent(&self) -> Agent {
        let config = client().timeout_global(Some(ANSWER_MAX));
        // An endpoint of the machine itself is never behind a proxy.
        let config = if self.form.is_none() { config.proxy(None) } else { config };
        config.build().new_agent()
    }

    fn refused(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> TokenError {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let (endpoint, said) = (self.shown(), refusal.in_words());
        match status {
            // A machine's endpoint is not there, or is being renewed, for a moment now and then.
            404 | 410 if self.form.is_none() => TokenError::Busy { endpoint, status, after: retry_after(headers) },
            408 | 429 | 500.. => TokenError::Busy { endpoint, status, after: retry_after(headers) },
            400 if self.form.is_none() => TokenError::NoIdentity { endpoint, said },
            _ => TokenError::Refused { endpoint, status, said },
        }
    }

    fn away(&self, error: &ureq::Error) -> TokenError {
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::HostNotFound => "its name is not known".to_owned(),
            ureq::Error::BadUri(_) => "it is no address".to_owned(),
            ureq::Error::ConnectionFailed => "no connection".to_owned(),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "no encrypted connection".to_owned(),
            _ => "the answer cannot be read".to_owned(),
        };
        TokenError::Away { endpoint: self.shown(), reason }
    }

    /// The address without what is asked.
    fn shown(&self) -> String {
        masked_url(self.url.split('?').next().unwrap_or_default())
    }
}

impl Answer {
    fn lifetime(&self, now_s: i64) -> Duration {
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse::<i64>().ok());
        let left = seconds(&self.expires_in).filter(|left| *left > 0);
        let left = left.or_else(|| Some(seconds(&self.expires_on)? - now_s));
        match left {
            Some(left) => Duration::from_secs(u64::try_from(left).unwrap_or(0)).max(LIFETIME_LEAST),
            None => LIFETIME_UNSAID,
        }
    }
}

impl Refusal {
    /// The kind of refusal: the name that OAuth 2 gives it, and Entra's numbers.
    fn in_words(&self) -> String {
        let is_name = !self.error.is_empty() && self.error.len() <= 64;
        let name = self.error.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(self.error.clone());
        let codes = self.error_codes.iter().map(|code| format!("AADSTS{code}"));
        let said: Vec<String> = name.filter(|_| is_name).into_iter().chain(codes).collect();
        if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) }
    }
}

/// How long an answer wants its sender to be left: `Retry-After` in seconds, or until a moment by the answer's own clock.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(moment(text)? - said_now(headers)?).unwrap_or(0),
    };
    Some(Duration::from_secs(seconds).min(AFTER_MAX))
}

/// What time it is where the answer comes from, in seconds since 1970: the clock here may be wrong.
#[must_use]
pub fn said_now(headers: &HeaderMap) -> Option<i64> {
    moment(headers.get("date")?.to_str().ok()?)
}

fn moment(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc2822(text).ok().map(|moment| moment.timestamp())
}
