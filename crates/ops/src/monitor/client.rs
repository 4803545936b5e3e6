//! Sending rows to a stream of a data collection rule, by the Logs Ingestion API.
//!
//! The sender (`sender`) hands over rows that fit one call and is told what became of them. Invariant: what Azure answers is
//! known by its status; its text, which may repeat what was sent, goes nowhere.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ureq::Agent;
use ureq::http::HeaderMap;
use vitalake_runtime::azure::{TokenError, Tokens, retry_after, said_now};
use vitalake_runtime::http::client;
use vitalake_runtime::retry::Backoff;

/// The API's version.
const VERSION: &str = "2023-01-01";
/// The most bytes of one call, before they are compressed: the limit is 1 MB of either.
pub(super) const CALL_BYTES_MAX: usize = 900_000;
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// How long it is waited after something that passes by itself; twice as long after each further failure.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(120), attempts_max: None };
/// How long it is waited for what a person mends. A role takes up to half an hour to show.
const SLOWLY: Duration = Duration::from_secs(60);

/// A workspace's way in.
#[derive(Debug)]
pub(super) struct Ingestion {
    agent: Agent,
    /// Of the rule, without the stream.
    url: String,
    tokens: Tokens,
}

/// What became of rows that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Rows that were taken.
    pub(super) taken: u64,
    /// Rows that are never taken.
    pub(super) refused: u64,
    /// Calls that were made.
    pub(super) calls: u64,
    /// The workspace's time less ours, in seconds, where it said what time it is.
    pub(super) clock_behind_s: Option<i64>,
    now_s: i64,
}

/// Why rows wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("there is no token: {0}")]
    Token(#[from] TokenError),
    #[error("it does not answer: {reason}")]
    Away { reason: &'static str },
    #[error("it answered {status}: it is asked again later")]
    Busy { status: u16, after: Option<Duration> },
    #[error(
        "it does not take the token of this process's identity: see that the identity is of the workspace's tenant"
    )]
    Unknown,
    #[error(
        "this process's identity may not send: give it the role Monitoring Metrics Publisher on the data collection rule; it takes up to half an hour to show"
    )]
    NoRole,
    #[error(
        "it has no such rule or stream: see that azure.monitor.rule is the rule's immutableId, and that it declares {stream}"
    )]
    NotThere { stream: String },
    #[error(
        "it answered {status}, which it is not known to do: see that azure.monitor.endpoint is the rule's logsIngestion endpoint"
    )]
    Strange { status: u16 },
}

impl Failure {
    /// How long it is waited, after so many in a row.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let longer = AGAIN.wait(failures, noise());
        match self {
            Self::Busy { after: Some(after), .. } => (*after).max(Duration::from_secs(1)),
            Self::Away { .. } | Self::Busy { .. } | Self::Token(_) => longer.unwrap_or(SLOWLY),
            Self::Unknown | Self::NoRole | Self::NotThere { .. } | Self::Strange { .. } => SLOWLY,
        }
    }

    /// Whether only one table waits, and the others go on.
    pub(super) fn is_of_one_table(&self) -> bool {
        matches!(self, Self::NotThere { .. })
    }
}

/// Any number, so that processes do not come back together.
fn noise() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

impl Ingestion {
    pub(super) fn new(endpoint: &str, rule: &str, tokens: Tokens) -> Self {
        let agent = client().timeout_global(Some(CALL_MAX)).build().new_agent();
        Self { agent, url: format!("{endpoint}/dataCollectionRules/{rule}"), tokens }
    }

    /// Sends objects to a stream, in halves where they are too many bytes. Blocking.
    ///
    /// # Errors
    /// Why it is to be tried again; some may have been taken.
    pub(super) fn send(&self, stream: &str, objects: &[String], now_s: i64) -> Result<Sent, Failure> {
        let mut sent = Sent { now_s, ..Sent::default() };
        self.send_part(stream, objects, &mut sent)?;
        Ok(sent)
    }

    fn send_part(&self, stream: &str, objects: &[String], sent: &mut Sent) -> Result<(), Failure> {
        let count = objects.len() as u64;
        match self.call(stream, &body(objects), sent)? {
            (200..=299, _) => sent.taken += count,
            // The same again is refused again.
            (400, _) => sent.refused += count,
            (413, _) if objects.len() < 2 => sent.refused += count,
            (413, _) => {
                let (first, second) = objects.split_at(objects.len() / 2);
                self.send_part(stream, first, sent)?;
                self.send_part(stream, second, sent)?;
            }
            (401, _) => return Err(Failure::Unknown),
            (403, _) => return Err(Failure::NoRole),
            (404, _) => return Err(Failure::NotThere { stream: stream.to_owned() }),
            (status @ (408 | 429 | 500..), after) => return Err(Failure::Busy { status, after }),
            (status, _) => return Err(Failure::Strange { status }),
        }
        Ok(())
    }

    /// One call, and once more with another token where this one is not taken.
    fn call(&self, stream: &str, body: &[u8], sent: &mut Sent) -> Result<(u16, Option<Duration>), Failure> {
        let token = self.tokens.get()?;
        let first = self.post(stream, body, (token.expose(), &mut *sent))?;
        if first.0 != 401 {
            return Ok(first);
        }
        self.tokens.refused(&token);
        let token = self.tokens.get()?;
        self.post(stream, body, (token.expose(), sent))
    }

    fn post(
        &self,
        stream: &str,
        body: &[u8],
        (token, sent): (&str, &mut Sent),
    ) -> Result<(u16, Option<Duration>), Failure> {
        sent.calls += 1;
        let url = format!("{}/streams/{stream}?api-version={VERSION}", self.url);
        let request = self
            .agent
            .post(&url)
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip")
            .header("x-ms-client-request-id", uuid::Uuid::new_v4().to_string());
        let answer = request.send(body).map_err(|error| Failure::Away { reason: reason(&error) })?;
        let headers: &HeaderMap = answer.headers();
        sent.clock_behind_s = said_now(headers).map(|theirs| theirs - sent.now_s).or(sent.clock_behind_s);
        Ok((answer.status().as_u16(), retry_after(headers)))
    }
}

/// What a failure of a connection says, in words that hold nothing of what was sent.
pub(crate) fn reason(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "no answer in time",
        ureq::Error::HostNotFound => "its name is not known",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "no encrypted connection",
        ureq::Error::BadUri(_) => "it is no address",
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "the connection is refused",
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => "the connection broke off",
        _ => "the answer cannot be read",
    }
}

/// An array of objects, compressed.
fn body(objects: &[String]) -> Vec<u8> {
    let bytes: usize = objects.iter().map(|object| object.len() + 1).sum();
    let mut array = String::with_capacity(bytes + 1);
    array.push('[');
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            array.push(',');
        }
        array.push_str(object);
    }
    array.push(']');
    gzip(array.as_bytes())
}

/// Bytes as gzip, fast: a workspace is paid by what it holds, not by what came over the wire.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// How many of these fit one call: at least one.
pub(super) fn fit(objects: &[String]) -> usize {
    let mut bytes = 2;
    let over = objects.iter().position(|object| {
        bytes += object.len() + 1;
        bytes > CALL_BYTES_MAX
    });
    over.map_or(objects.len(), |at| at.max(1))
}
