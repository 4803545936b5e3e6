//! A letter on its way: HTTP and mail, each under a time limit.
//!
//! Whoever calls decides when to try again. Invariant: nothing that comes back from here holds an address, a key or a
//! header, also where the receiver's own answer does (many name the address that they do not know): they may be secrets;
//! and what is sent to one host never goes on to another.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use ureq::Agent;
use vitalake_runtime::config::notify::Receiver;
use vitalake_runtime::http::{self, is_here};

use super::form::{Letter, change_address};
use super::notice::Kind;

/// How long one attempt may take.
pub const SEND_TIME_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, and characters of it that are shown.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
const ANSWER_CHARS_MAX: usize = 200;
/// From this length on, letters and digits in a row may be a secret or a good part of one.
const SECRET_CHARS_MIN: usize = 6;

/// Why a letter did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody took it.
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("it did not answer within {} seconds", SEND_TIME_MAX.as_secs())]
    TimedOut,
    /// It answered that it does not take it.
    #[error("it answered {status}{}", said(.answer))]
    Refused {
        /// The status of its answer.
        status: u16,
        /// The beginning of it.
        answer: String,
    },
    /// It sent us elsewhere.
    #[error("it answered {0}, a redirect, which is not followed: give the address that it leads to")]
    Redirected(u16),
    /// The letter or the address cannot be one.
    #[error("it cannot be sent: {0}")]
    Unsendable(String),
}

fn said(answer: &str) -> String {
    if answer.is_empty() { String::new() } else { format!(": {answer}") }
}

/// Sends letters to receivers.
#[derive(Clone, Debug)]
pub struct Sender {
    direct: Agent,
    proxied: Agent,
}

impl Default for Sender {
    fn default() -> Self {
        Self::new(SEND_TIME_MAX)
    }
}

impl Sender {
    /// A sender whose attempts take at most so long.
    #[must_use]
    pub fn new(time_max: Duration) -> Self {
        let config =
            || http::client().timeout_global(Some(time_max)).timeout_connect(Some(CONNECT_TIME_MAX.min(time_max)));
        // What is on this machine is not asked of a proxy.
        Self { direct: config().proxy(None).build().new_agent(), proxied: config().build().new_agent() }
    }

    /// Sends a letter, and gives what came back.
    ///
    /// # Errors
    /// [`SendError`], when it is not known to have arrived.
    pub async fn send(&self, receiver: &Receiver, letter: &Letter<'_>) -> Result<String, SendError> {
        if let Receiver::Email { smtp, from, to } = receiver {
            return match tokio::time::timeout(SEND_TIME_MAX, mail(smtp.expose(), from, to, letter)).await {
                Ok(sent) => sent,
                Err(_) => Err(SendError::TimedOut),
            };
        }
        let (url, headers) = match receiver {
            Receiver::Webhook { url, headers } => (url.expose().to_owned(), headers.clone()),
            Receiver::Slack { url } | Receiver::Teams { url } => (url.expose().to_owned(), Default::default()),
            Receiver::PagerDuty { url, .. } if letter.message.kind == Kind::Digest => {
                (change_address(url.expose()), Default::default())
            }
            Receiver::PagerDuty { url, .. } => (url.expose().to_owned(), Default::default()),
            Receiver::Email { .. } => return Err(SendError::Unsendable("mail has no body in JSON".into())),
        };
        let (body, secrets) = (letter.body(receiver).unwrap_or_default(), secrets(receiver));
        let agent = if is_here(&url) { self.direct.clone() } else { self.proxied.clone() };
        let posted = tokio::task::spawn_blocking(move || {
            let mut request = agent.post(&url);
            for (name, value) in &headers {
                request = request.header(name.as_str(), value.expose());
            }
            answered(request.send_json(body), &secrets)
        });
        posted.await.unwrap_or_else(|_| Err(SendError::Unsendable("the attempt broke off".into())))
    }
}

/// What of a receiver's settings may be secret, in pieces that an answer repeats however it quotes them.
fn secrets(receiver: &Receiver) -> Vec<String> {
    let of_address = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, _) = authority.rsplit_once('@').unwrap_or_default();
        format!("{user} {path}")
    };
    let texts = match receiver {
        Receiver::Webhook { url, headers } => {
            let headers = headers.values().map(|value| value.expose().to_owned());
            std::iter::once(of_address(url.expose())).chain(headers).collect()
        }
        Receiver::Slack { url } | Receiver::Teams { url } => vec![of_address(url.expose())],
        Receiver::PagerDuty { routing_key, url } => vec![routing_key.expose().to_owned(), of_address(url.expose())],
        Receiver::Email { smtp, .. } => vec![smtp.expose().to_owned()],
    };
    let pieces = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()));
    pieces.filter(|piece| piece.len() >= SECRET_CHARS_MIN).map(str::to_ascii_lowercase).collect()
}

fn answered(
    sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    secrets: &[String],
) -> Result<String, SendError> {
    let response = sent.map_err(|error| failure(&error))?;
    let status = response.status();
    let text = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_string().unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    let answer: String = if secrets.iter().any(|secret| lower.contains(secret)) {
        "its words repeat a part of the address or of a header, and are not shown".to_owned()
    } else {
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_CHARS_MAX).collect()
    };
    match status.as_u16() {
        200..=299 => Ok(format!("{status}{}", said(&answer))),
        300..=399 => Err(SendError::Redirected(status.as_u16())),
        status => Err(SendError::Refused { status, answer }),
    }
}

/// The kind of a failure, without the address that an error's own words may have.
fn failure(error: &ureq::Error) -> SendError {
    match error {
        ureq::Error::Timeout(_) => SendError::TimedOut,
        ureq::Error::HostNotFound => SendError::Unreachable("its host is not known".into()),
        ureq::Error::ConnectionFailed => SendError::Unreachable("no connection came about".into()),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => SendError::TimedOut,
        ureq::Error::Io(error) => SendError::Unreachable(error.kind().to_string()),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => SendError::Unreachable("its certificate is not trusted".into()),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            SendError::Unsendable("its address or a header is none".into())
        }
        _ => SendError::Unreachable("it does not speak HTTP as it should".into()),
    }
}

async fn mail(smtp: &str, from: &str, to: &[String], letter: &Letter<'_>) -> Result<String, SendError> {
    let wrong = |what: &str| SendError::Unsendable(format!("{what} is no address of mail"));
    let mut message = lettre::Message::builder()
        .from(from.parse::<Mailbox>().map_err(|_| wrong("from"))?)
        .subject(letter.headline())
        .message_id(None)
        .header(lettre::message::header::ContentType::TEXT_PLAIN);
    for to in to {
        message = message.to(to.parse::<Mailbox>().map_err(|_| wrong("to"))?);
    }
    let message = message.body(letter.text()).map_err(|_| SendError::Unsendable("it makes no mail".into()))?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp)
        .map_err(|_| SendError::Unsendable("smtp is no address of a mail server".into()))?
        .timeout(Some(SEND_TIME_MAX))
        .build::<Tokio1Executor>();
    match transport.send(message).await {
        Ok(response) => Ok(response.code().to_string()),
        Err(error) if error.is_timeout() => Err(SendError::TimedOut),
        Err(error) => match error.status() {
            Some(code) => Err(SendError::Refused { status: u16::from(code), answer: String::new() }),
            None => Err(SendError::Unreachable("the mail server does not speak with us".into())),
        },
    }
}
