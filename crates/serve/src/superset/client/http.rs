//! Requests to a Superset: one agent, JSON demanded, redirects not followed.
//!
//! A session is a token and, for what changes something, a CSRF token with its cookie. Invariant: an answer that is not
//! what was demanded is an error, also where its status is 200.

use std::io::Read as _;
use std::time::Duration;

use serde_json::Value as Json;
use ureq::{Agent, Body, http};
use vitalake_runtime::http::{client, is_here};

use super::error::Error;

/// How long one request may take.
pub const SECONDS_MAX: u64 = 60;
const CONNECT_SECONDS_MAX: u64 = 5;
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an answer that is a refusal.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;
const SAID_CHARS_MAX: usize = 300;

/// What goes with every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub token: String,
    pub refresh: String,
    /// For requests that change something.
    pub csrf: Option<Csrf>,
}

/// A CSRF token, of no use without the cookie that came with it.
#[derive(Clone, Debug)]
pub(super) struct Csrf {
    pub token: String,
    pub cookie: String,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub method: &'a str,
    /// Below the address, with its query.
    pub path: &'a str,
    /// What it is, to be said when it fails: `list charts`.
    pub what: &'a str,
    /// Its body with its type.
    pub body: Option<(&'a str, &'a [u8])>,
    /// Whether what the server says of a refusal may be shown: it cannot hold a value of a record.
    pub shows: bool,
}

/// An answer that was a success.
#[derive(Debug)]
pub(super) struct Answered {
    pub bytes: Vec<u8>,
    pub cookie: Option<String>,
    pub is_json: bool,
}

/// An answer that was none: the status, and the error to be told.
#[derive(Debug)]
pub(super) struct Failed {
    pub status: u16,
    pub error: Error,
}

#[derive(Clone, Debug)]
pub(super) struct Http {
    agent: Agent,
    pub url: String,
    /// Texts that are never shown.
    pub secrets: Vec<String>,
}

impl Http {
    pub fn new(url: &str, secrets: Vec<String>) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['@', ' ', '?', '#'])) {
            return Err(Error::Address(vitalake_runtime::config::masked_url(&url)));
        }
        let config = client()
            .timeout_global(Some(Duration::from_secs(SECONDS_MAX)))
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX)));
        // What is on this machine is not asked of a proxy.
        let config = if is_here(&url) { config.proxy(None) } else { config };
        Ok(Self { agent: config.build().new_agent(), url, secrets })
    }

    pub fn ask(&self, ask: &Ask<'_>, session: &Session) -> Result<Answered, Failed> {
        let mut request = http::Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.url, ask.path))
            .header("accept", "application/json")
            .header("referer", &self.url);
        if !session.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", session.token));
        }
        if let Some(csrf) = &session.csrf {
            request = request.header("x-csrftoken", &csrf.token).header("cookie", &csrf.cookie);
        }
        let (kind, bytes) = ask.body.unwrap_or(("application/json", b""));
        if ask.body.is_some() {
            request = request.header("content-type", kind);
        }
        let request = request.body(bytes.to_vec()).map_err(|_| self.failed(0, Error::Address(self.url.clone())))?;
        let sent = if ask.body.is_some() || ask.method != "GET" {
            self.agent.run(request)
        } else {
            self.agent.run(request.map(|_| ()))
        };
        self.read(ask, sent)
    }

    fn read(&self, ask: &Ask<'_>, sent: Result<http::Response<Body>, ureq::Error>) -> Result<Answered, Failed> {
        let response = sent.map_err(|error| self.failed(0, self.away(ask, &error)))?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_json = header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        let login = header("location").is_some_and(|to| to.contains("/login"));
        let cookies = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        let cookie = cookies.filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ");
        let limit = if status < 300 { ANSWER_BYTES_MAX } else { REFUSAL_BYTES_MAX };
        let mut bytes = Vec::new();
        let read = response.into_body().into_with_config().limit(limit).reader().read_to_end(&mut bytes);
        let (url, what) = (self.url.clone(), ask.what.to_owned());
        match status {
            200..=299 if read.is_err() => {
                Err(self.failed(status, Error::Answer { url, what, why: "it broke off or is too large".into() }))
            }
            200..=299 => Ok(Answered { bytes, cookie: (!cookie.is_empty()).then_some(cookie), is_json }),
            300..=399 => Err(self.failed(status, Error::Redirected { url, what, login })),
            _ => {
                let said = if ask.shows { self.said(&bytes) } else { String::new() };
                Err(self.failed(status, Error::Refused { url, what, status, said }))
            }
        }
    }

    /// An answer's JSON.
    pub fn json(&self, ask: &Ask<'_>, answer: &Answered) -> Result<Json, Error> {
        let wrong = |why: &str| Error::Answer { url: self.url.clone(), what: ask.what.to_owned(), why: why.into() };
        if !answer.is_json {
            return Err(wrong("it is no JSON; a page in its place is what a proxy or a log-in page gives"));
        }
        serde_json::from_slice(&answer.bytes).map_err(|_| wrong("it is no JSON, in spite of its type"))
    }

    fn failed(&self, status: u16, error: Error) -> Failed {
        Failed { status, error }
    }

    /// What a refusal says, in one line and without what is secret.
    fn said(&self, bytes: &[u8]) -> String {
        let Ok(body) = serde_json::from_slice::<Json>(bytes) else { return String::new() };
        let errors = body.get("errors").and_then(Json::as_array);
        let messages = errors.into_iter().flatten().filter_map(|error| error.get("message"));
        let message = messages.chain(body.get("message")).chain(body.get("msg")).next().map(plain).unwrap_or_default();
        let files: Vec<String> = errors
            .into_iter()
            .flatten()
            .filter_map(|error| error.get("extra")?.as_object())
            .flat_map(|extra| extra.iter().filter(|(file, _)| file.ends_with(".yaml")))
            .map(|(file, why)| format!("{file}: {}", plain(why)))
            .collect();
        let mut text = if files.is_empty() { message } else { format!("{message} ({})", files.join("; ")) };
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret.as_str(), "***");
        }
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
    }

    fn away(&self, ask: &Ask<'_>, error: &ureq::Error) -> Error {
        let why = match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection came about in time".into(),
            ureq::Error::Timeout(_) => return Error::TimedOut { url: self.url.clone(), what: ask.what.to_owned() },
            ureq::Error::HostNotFound => "its host is not known".into(),
            ureq::Error::ConnectionFailed => "no connection came about".into(),
            ureq::Error::Io(error) => error.kind().to_string(),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not trusted".into(),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => return Error::Address(self.url.clone()),
            _ => "it does not speak HTTP as it should".into(),
        };
        Error::Unreachable { url: self.url.clone(), why }
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
