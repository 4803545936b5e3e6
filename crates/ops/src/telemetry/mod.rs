//! Traces, metrics and logs to a receiver of OTLP over HTTP.
//!
//! Off unless `telemetry.otlp_endpoint` is set. Spans and log lines wait in bounded queues, each with a thread that sends
//! (`backlog`); metrics are read when they are due (`numbers`). Invariant: nothing that works waits for the receiver; what
//! it does not take in time is dropped and counted.

pub(crate) mod backlog;
mod client;
mod logs;
mod numbers;
mod traces;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use thiserror::Error;
use vitalake_runtime::config;
use vitalake_runtime::events::Event;
use vitalake_runtime::steps::Following;
use vitalake_runtime::telemetry::{also_to, metric};

use crate::metrics::Metrics;
use backlog::{Backlog, Counts};
use client::Client;
use traces::Traces;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Why telemetry could not be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The address is none of a receiver.
    #[error(
        "telemetry.otlp_endpoint is not an address of a receiver; give it as http://HOST:PORT or https://HOST:PORT"
    )]
    Endpoint,
    /// An exporter could not be made.
    #[error("telemetry could not be started")]
    Exporter(#[from] ExporterBuildError),
    /// A thread could not be started.
    #[error("a thread for telemetry could not be started")]
    Thread(#[from] std::io::Error),
}

/// What is told of the process with everything that is sent.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// The project's name.
    pub project: String,
    /// What the process does.
    pub role: String,
    /// The binary's version.
    pub version: String,
    /// Each derived dataset and what its model reads.
    pub models: Vec<(String, Vec<String>)>,
    /// Which batches are followed.
    pub following: Following,
}

/// What is being sent; dropping it stops that.
pub struct Telemetry {
    traces: Traces,
    spans: Arc<Backlog<opentelemetry_sdk::trace::SpanData>>,
    lines: Arc<logs::Lines>,
    meters: SdkMeterProvider,
    // They end what they have begun when they are dropped.
    _providers: (SdkTracerProvider, SdkLoggerProvider),
    following: Following,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Begins to send; `None` where no receiver is named.
    ///
    /// # Errors
    /// When the address is none, or a thread cannot be started. That nobody answers there is none.
    pub fn start(
        config: &config::Telemetry,
        who: &Who,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let endpoint = endpoint.trim_end_matches('/');
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(TelemetryError::Endpoint);
        }
        let interval = Duration::from_millis(config.interval_ms);
        let client = Arc::new(Client::new(REQUEST_MAX, metrics.counter(metric::TELEMETRY_FAILED, &vec![])));
        let to = Receiver { endpoint, client, headers: config.otlp_headers.clone().into_iter().collect() };
        let resource = resource(who);

        let spans = Arc::new(traces::backlog(to.spans()?, &resource, Counts::of(metrics, "traces"), interval)?);
        let tracing = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource.clone())
            .with_span_processor(traces::Queue(Arc::clone(&spans)))
            .build();
        let lines = Arc::new(logs::backlog(to.logs()?, &resource, Counts::of(metrics, "logs"), interval)?);
        let logging = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_log_processor(logs::Queue(Arc::clone(&lines)))
            .build();
        also_to(Some(logs::layer(&logging)));
        let reader = PeriodicReader::builder(to.metrics()?).with_interval(interval).build();
        let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        numbers::observe(&meters, metrics);
        who.following.set_rate(config.traces_per_second);
        let traces = Traces::new(&tracing, who);
        let following = who.following.clone();
        Ok(Some(Self { traces, spans, lines, meters, _providers: (tracing, logging), following }))
    }

    /// Makes spans of what happened.
    pub fn take(&mut self, event: &Event) {
        self.traces.take(event);
    }

    /// Sends what waits, as far as the receiver takes it in this time.
    pub fn stop(self, longest: Duration) {
        also_to(None);
        self.following.set_rate(0);
        self.spans.flush(longest);
        self.lines.flush(longest);
        // A receiver that hangs holds its own thread up, and nobody else.
        let meters = self.meters;
        let (done, finished) = std::sync::mpsc::channel();
        let last = std::thread::Builder::new().name("telemetry-last".to_owned()).spawn(move || {
            let _sent = meters.shutdown();
            let _ = done.send(());
        });
        if last.is_ok() {
            let _ = finished.recv_timeout(longest);
        }
    }
}

/// Where exporters send.
struct Receiver<'a> {
    endpoint: &'a str,
    client: Arc<Client>,
    headers: HashMap<String, String>,
}

impl Receiver<'_> {
    /// The queues try again by themselves: an exporter tries once.
    fn with<B: WithExportConfig + WithHttpConfig>(&self, builder: B, signal: &str) -> B {
        builder
            .with_endpoint(format!("{}/v1/{signal}", self.endpoint))
            .with_timeout(REQUEST_MAX)
            .with_headers(self.headers.clone())
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(Arc::clone(&self.client) as _)
    }

    fn spans(&self) -> Result<SpanExporter, ExporterBuildError> {
        self.with(SpanExporter::builder().with_http(), "traces").build()
    }

    fn logs(&self) -> Result<LogExporter, ExporterBuildError> {
        self.with(LogExporter::builder().with_http(), "logs").build()
    }

    fn metrics(&self) -> Result<MetricExporter, ExporterBuildError> {
        self.with(MetricExporter::builder().with_http(), "metrics").build()
    }
}

fn resource(who: &Who) -> Resource {
    let said = [
        KeyValue::new("service.name", "vitalake"),
        KeyValue::new("service.namespace", who.project.clone()),
        KeyValue::new("service.version", who.version.clone()),
        KeyValue::new("vitalake.role", who.role.clone()),
    ];
    Resource::builder_empty().with_attributes(said).build()
}
