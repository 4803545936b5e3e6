//! Where signals go by OTLP over HTTP: one address for all, or one for each, as Azure Monitor has them.
//!
//! Invariant: a signal without an address is not sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use vitalake_runtime::azure::Tokens;
use vitalake_runtime::config::{self, OtlpSignals};
use vitalake_runtime::telemetry::metric;

use super::TelemetryError;
use super::client::Client;
use crate::metrics::Metrics;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Where exporters send.
pub(super) struct Receiver {
    to: OtlpSignals,
    client: Arc<Client>,
    headers: HashMap<String, String>,
    is_delta: bool,
}

impl Receiver {
    /// `None` where no address is given.
    pub(super) fn of(
        config: &config::Telemetry,
        tokens: Option<Tokens>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, TelemetryError> {
        let to = addresses(config);
        let given = [&to.traces, &to.metrics, &to.logs].into_iter().flatten().collect::<Vec<_>>();
        if given.is_empty() {
            return Ok(None);
        }
        if given.iter().any(|to| !to.starts_with("http://") && !to.starts_with("https://")) {
            return Err(TelemetryError::Endpoint);
        }
        if tokens.is_some() && !given.iter().all(|to| config::azure::is_safe(to)) {
            return Err(TelemetryError::Clear);
        }
        let failed = metrics.counter(metric::TELEMETRY_FAILED, &vec![]);
        let client = Arc::new(Client::new(REQUEST_MAX, failed, tokens));
        let headers = config.otlp_headers.clone().into_iter().collect();
        Ok(Some(Self { to, client, headers, is_delta: config.otlp_delta }))
    }

    pub(super) fn spans(&self) -> Result<Option<SpanExporter>, ExporterBuildError> {
        let Some(to) = &self.to.traces else { return Ok(None) };
        self.with(SpanExporter::builder().with_http(), to).build().map(Some)
    }

    pub(super) fn logs(&self) -> Result<Option<LogExporter>, ExporterBuildError> {
        let Some(to) = &self.to.logs else { return Ok(None) };
        self.with(LogExporter::builder().with_http(), to).build().map(Some)
    }

    pub(super) fn metrics(&self) -> Result<Option<MetricExporter>, ExporterBuildError> {
        let Some(to) = &self.to.metrics else { return Ok(None) };
        let temporality = if self.is_delta { Temporality::Delta } else { Temporality::Cumulative };
        self.with(MetricExporter::builder().with_http(), to).with_temporality(temporality).build().map(Some)
    }

    /// The queues try again by themselves: an exporter tries once.
    fn with<B: WithExportConfig + WithHttpConfig>(&self, builder: B, to: &str) -> B {
        builder
            .with_endpoint(to)
            .with_timeout(REQUEST_MAX)
            .with_headers(self.headers.clone())
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(Arc::clone(&self.client) as _)
    }
}

/// Each signal's own address, else the one under the address of all.
fn addresses(config: &config::Telemetry) -> OtlpSignals {
    let under = |signal: &str| {
        let all = config.otlp_endpoint.as_deref()?.trim_end_matches('/');
        Some(format!("{all}/v1/{signal}"))
    };
    let own = &config.otlp_signals;
    OtlpSignals {
        traces: own.traces.clone().or_else(|| under("traces")),
        metrics: own.metrics.clone().or_else(|| under("metrics")),
        logs: own.logs.clone().or_else(|| under("logs")),
    }
}

#[cfg(test)]
mod tests;
