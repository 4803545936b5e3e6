//! The HTTP client of the exporters: one request at a time of a thread of their own.
//!
//! Invariant: a request ends within its time whatever the receiver does, follows nowhere else, and takes in no more than a
//! small answer. That it fails is said once until one succeeds, without what the receiver said.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use prometheus_client::metrics::counter::Counter;
use ureq::Agent;
use ureq::http::HeaderValue;
use vitalake_runtime::azure::Tokens;
use vitalake_runtime::http;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Sends requests to the receiver.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    tokens: Option<Tokens>,
    failed: Counter,
    is_away: AtomicBool,
}

impl Client {
    /// Each request shows a token, where they come from somewhere.
    pub(super) fn new(timeout: Duration, failed: Counter, tokens: Option<Tokens>) -> Self {
        let agent = http::client().timeout_global(Some(timeout)).build().new_agent();
        Self { agent, tokens, failed, is_away: AtomicBool::new(false) }
    }

    /// Sends a request, and once more with another token where this one is not taken.
    fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Some(tokens) = &self.tokens else { return Ok(self.run(request, None)?) };
        let token = tokens.get()?;
        let first = self.run(request, Some(token.expose()))?;
        if first.status().as_u16() != 401 {
            return Ok(first);
        }
        tokens.refused(&token);
        Ok(self.run(request, Some(tokens.get()?.expose()))?)
    }

    fn run(&self, request: &Request<Bytes>, token: Option<&str>) -> Result<Response<Bytes>, ureq::Error> {
        let mut shown = Request::new(request.body().as_ref());
        (*shown.method_mut(), *shown.uri_mut()) = (request.method().clone(), request.uri().clone());
        *shown.headers_mut() = request.headers().clone();
        if let Some(value) = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok()) {
            shown.headers_mut().insert("authorization", value);
        }
        let response = self.agent.run(shown)?;
        let (parts, body) = response.into_parts();
        let mut answer = Vec::new();
        body.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(Response::from_parts(parts, answer.into()))
    }

    fn note(&self, failure: Option<String>) {
        let Some(failure) = failure else {
            if self.is_away.swap(false, Ordering::AcqRel) {
                tracing::info!("the receiver of telemetry answers again");
            }
            return;
        };
        self.failed.inc();
        if !self.is_away.swap(true, Ordering::AcqRel) {
            tracing::warn!(reason = failure, "telemetry is not taken: it waits, and what finds no room is dropped");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(&request);
        self.note(match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the receiver answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        });
        outcome
    }
}
