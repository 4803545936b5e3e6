//! Sending envelopes to the track endpoint of Application Insights.
//!
//! What it takes, takes in part, sends elsewhere and refuses is told by statuses, as its exporters know them. Invariant: an
//! envelope that was taken is not sent again, and a token goes to Application Insights alone.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::HeaderMap;
use vitalake_runtime::azure::{Tokens, retry_after};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::http::{client, is_here};

use crate::monitor::client::{gzip, reason};

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How often a request is sent on to another host.
const REDIRECTS_MAX: u32 = 5;
/// How long another host is kept.
const REDIRECTED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// How long it is left where it says that a quota is used up, or that nobody may send.
const LEFT_FOR: Duration = Duration::from_secs(60);
/// Where telemetry may be sent on to.
const HOSTS: [&str; 6] = [
    ".applicationinsights.azure.com",
    ".applicationinsights.azure.us",
    ".applicationinsights.azure.cn",
    ".services.visualstudio.com",
    ".monitor.azure.com",
    ".monitor.azure.us",
];

/// The endpoint, and what is known of it.
#[derive(Debug)]
pub(super) struct Track {
    agent: Agent,
    url: String,
    /// Where it has sent on to, and until when that is kept.
    elsewhere: Option<(String, Duration)>,
    /// Until when it wants to be left.
    left_until: Duration,
    tokens: Option<Tokens>,
    clock: Clock,
    failed: Counter,
    is_away: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    errors: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    index: usize,
    status_code: u16,
}

/// What became of a request.
enum Outcome {
    Taken,
    /// These are to be sent again, so many others are never taken.
    InPart(Vec<usize>, u64),
    /// None is ever taken.
    Never,
    /// None is taken now, for this reason.
    Later(String),
}

impl Track {
    pub(super) fn new(endpoint: &str, tokens: Option<Tokens>, clock: Clock, failed: Counter) -> Self {
        Self {
            agent: client().timeout_global(Some(REQUEST_MAX)).build().new_agent(),
            url: format!("{endpoint}v2.1/track"),
            elsewhere: None,
            left_until: Duration::ZERO,
            tokens,
            clock,
            failed,
            is_away: false,
        }
    }

    /// Sends envelopes; those that are to be sent again stay. Gives how many were taken; the rest that left is dropped.
    pub(super) fn send(&mut self, envelopes: &mut Vec<Value>) -> u64 {
        if self.clock.monotonic() < self.left_until || envelopes.is_empty() {
            return 0;
        }
        let count = envelopes.len() as u64;
        let outcome = self.request(envelopes);
        let (taken, failure) = match outcome {
            Outcome::Taken => {
                envelopes.clear();
                (count, None)
            }
            Outcome::InPart(again, never) => {
                let kept = again.len() as u64;
                let mut at = 0;
                envelopes.retain(|_| {
                    at += 1;
                    again.contains(&(at - 1))
                });
                (count.saturating_sub(kept + never), (kept > 0).then(|| "some of it is to be sent again".to_owned()))
            }
            Outcome::Never => {
                envelopes.clear();
                (0, Some("it refuses what is sent for good".to_owned()))
            }
            Outcome::Later(reason) => (0, Some(reason)),
        };
        self.note(failure);
        taken
    }

    fn note(&mut self, failure: Option<String>) {
        match failure {
            Some(reason) => {
                self.failed.inc();
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(
                        reason,
                        "Application Insights does not take telemetry: it waits, and what finds no room is dropped"
                    );
                }
            }
            None if std::mem::take(&mut self.is_away) => tracing::info!("Application Insights takes telemetry again"),
            None => {}
        }
    }

    fn request(&mut self, envelopes: &[Value]) -> Outcome {
        let lines: Vec<String> = envelopes.iter().map(Value::to_string).collect();
        let body = gzip(lines.join("\n").as_bytes());
        let (mut redirects, mut renewed) = (0, false);
        loop {
            let token = match self.tokens.as_ref().map(Tokens::get).transpose() {
                Ok(token) => token,
                Err(error) => return Outcome::Later(format!("there is no token: {error}")),
            };
            let mut request = self
                .agent
                .post(self.target())
                .header("Content-Type", "application/x-json-stream")
                .header("Content-Encoding", "gzip");
            if let Some(token) = &token {
                request = request.header("Authorization", format!("Bearer {}", token.expose()));
            }
            let mut answer = match request.send(body.as_slice()) {
                Ok(answer) => answer,
                Err(error) => {
                    // A host that it was sent on to may be gone by now.
                    self.elsewhere = None;
                    return Outcome::Later(format!("it does not answer: {}", reason(&error)));
                }
            };
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            if matches!(status, 307 | 308) && redirects < REDIRECTS_MAX && self.is_sent_on(&headers) {
                redirects += 1;
                continue;
            }
            if status == 401
                && !renewed
                && let (Some(token), Some(tokens)) = (&token, &self.tokens)
            {
                tokens.refused(token);
                renewed = true;
                continue;
            }
            let said = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
            return self.judge(status, &headers, &said.unwrap_or_default(), envelopes.len());
        }
    }

    fn judge(&mut self, status: u16, headers: &HeaderMap, body: &[u8], count: usize) -> Outcome {
        let mut leave = |otherwise: Duration| {
            self.left_until = self.clock.monotonic() + retry_after(headers).unwrap_or(otherwise);
        };
        match status {
            200 => Outcome::Taken,
            206 => {
                let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Outcome::Taken };
                let errors = || answer.errors.iter().filter(|error| error.index < count);
                let passes = |error: &&Refused| matches!(error.status_code, 408 | 429 | 439 | 500 | 503);
                let again: Vec<usize> = errors().filter(passes).map(|error| error.index).collect();
                let never = (errors().count() - again.len()) as u64;
                if !again.is_empty() {
                    leave(Duration::ZERO);
                }
                Outcome::InPart(again, never)
            }
            402 | 439 => {
                leave(LEFT_FOR);
                Outcome::Later(format!("it answered {status}: its quota is used up"))
            }
            401 | 403 if self.tokens.is_some() => {
                leave(LEFT_FOR);
                Outcome::Later(format!(
                    "it answered {status}: give this process's identity the role Monitoring Metrics Publisher on it"
                ))
            }
            408 | 429 | 500.. => {
                leave(Duration::ZERO);
                Outcome::Later(format!("it answered {status}"))
            }
            307 | 308 => Outcome::Later(format!("it answered {status}, and sends on to nowhere that is known")),
            _ => Outcome::Never,
        }
    }

    fn target(&self) -> &str {
        match &self.elsewhere {
            Some((url, until)) if self.clock.monotonic() < *until => url,
            _ => &self.url,
        }
    }

    /// Takes another host in; false where it is none of Application Insights.
    fn is_sent_on(&mut self, headers: &HeaderMap) -> bool {
        let Some(to) = headers.get("location").and_then(|to| to.to_str().ok()) else { return false };
        let authority = to.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let is_azure = authority.is_some_and(|host| !host.contains('@') && HOSTS.iter().any(|of| host.ends_with(of)));
        let is_known = is_azure || is_here(to) && is_here(&self.url);
        if is_known {
            self.elsewhere = Some((to.to_owned(), self.clock.monotonic() + REDIRECTED_FOR));
        }
        is_known
    }
}
