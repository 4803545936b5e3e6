//! Traces, metrics and log lines to Application Insights, by its track endpoint.
//!
//! Off unless `telemetry.application_insights` is set. Each signal waits in a bounded queue with a thread that sends
//! (`super::backlog`). Invariant: nothing that works waits for it; what it does not take in time is dropped and counted.

mod connection;
mod envelope;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;
use vitalake_runtime::azure::Tokens;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config;
use vitalake_runtime::telemetry::metric;

use super::backlog::{Backlog, Counts, Sent};
use super::logs::Lines;
use super::{TelemetryError, Who};
use crate::metrics::Metrics;
use connection::Connection;
use envelope::Envelopes;
use track::Track;

/// What sends to Application Insights.
pub(super) struct Insights {
    endpoint: String,
    envelopes: Envelopes,
    tokens: Option<Tokens>,
    metrics: Arc<Metrics>,
    interval: Duration,
}

impl Insights {
    /// `None` where no component is named.
    pub(super) fn of(
        config: &config::Telemetry,
        who: &Who,
        tokens: Option<Tokens>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, TelemetryError> {
        let Some(text) = &config.application_insights else { return Ok(None) };
        let Connection { key, endpoint } = Connection::parse(text.expose()).ok_or(TelemetryError::Connection)?;
        let envelopes = Envelopes { key, who: who.clone() };
        let interval = Duration::from_millis(config.interval_ms);
        Ok(Some(Self { endpoint, envelopes, tokens, metrics: Arc::clone(metrics), interval }))
    }

    pub(super) fn spans(&self) -> std::io::Result<Backlog<SpanData>> {
        self.queue("traces", |envelopes, spans: &[SpanData]| spans.iter().map(|span| envelopes.span(span)).collect())
    }

    pub(super) fn lines(&self) -> std::io::Result<Lines> {
        self.queue("logs", |envelopes, lines: &[(SdkLogRecord, InstrumentationScope)]| {
            lines.iter().map(|(line, _)| envelopes.line(line)).collect()
        })
    }

    pub(super) fn numbers(&self) -> std::io::Result<Numbers> {
        let queue = self.queue("metrics", |_, points: &[Value]| points.to_vec())?;
        Ok(Numbers { queue: Arc::new(queue), envelopes: self.envelopes.clone() })
    }

    fn queue<T: Clone + Send + 'static>(
        &self,
        signal: &'static str,
        envelopes_of: fn(&Envelopes, &[T]) -> Vec<Value>,
    ) -> std::io::Result<Backlog<T>> {
        let failed = self.metrics.counter(metric::TELEMETRY_FAILED, &vec![]);
        let mut track = Track::new(&self.endpoint, self.tokens.clone(), Clock::system(), failed);
        let (envelopes, mut left, mut taken) = (self.envelopes.clone(), Vec::new(), 0);
        let send = move |batch: &[T], tried: u32| {
            if tried == 0 {
                (left, taken) = (envelopes_of(&envelopes, batch), 0);
            }
            taken += track.send(&mut left);
            Sent { taken, is_over: left.is_empty() }
        };
        let counts = Counts::of(&self.metrics, signal);
        Backlog::start(&format!("insights-{signal}"), counts, self.interval, send)
    }
}

/// Puts what was measured into the queue.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) queue: Arc<Backlog<Value>>,
    envelopes: Envelopes,
}

impl PushMetricExporter for Numbers {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.envelopes.metrics(metrics).into_iter().for_each(|point| self.queue.offer(point));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, longest: Duration) -> OTelSdkResult {
        self.queue.flush(longest);
        Ok(())
    }

    /// A sum there is what was added: it adds them up by itself.
    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}
