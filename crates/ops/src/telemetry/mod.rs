//! Traces, metrics and logs to a receiver of OTLP over HTTP (`otlp`), and to Application Insights (`insights`).
//!
//! Off unless one of them is named. Spans and log lines wait in bounded queues, each with a thread that sends
//! (`backlog`); metrics are read when they are due (`numbers`). Invariant: nothing that works waits for the receiver; what
//! it does not take in time is dropped and counted.

pub(crate) mod backlog;
mod client;
mod insights;
mod logs;
mod numbers;
mod otlp;
mod traces;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
use thiserror::Error;
use vitalake_runtime::azure::Tokens;
use vitalake_runtime::config;
use vitalake_runtime::events::Event;
use vitalake_runtime::steps::Following;
use vitalake_runtime::telemetry::also_to;

use crate::metrics::Metrics;
use backlog::{Backlog, Counts};
use insights::Insights;
use otlp::Receiver;
use traces::Traces;

/// The most buckets of a time whose buckets grow by themselves, and the finest that they begin with.
const BUCKETS: (u32, i8) = (160, 20);

/// Why telemetry could not be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The address is none of a receiver.
    #[error(
        "telemetry.otlp_endpoint is not an address of a receiver; give it as http://HOST:PORT or https://HOST:PORT"
    )]
    Endpoint,
    /// Tokens are not sent in the clear.
    #[error("a receiver of telemetry is not given a token in the clear: give its address as https://HOST")]
    Clear,
    /// The connection string is none.
    #[error(
        "telemetry.application_insights is no connection string that can be used: give it as InstrumentationKey=…;IngestionEndpoint=https://…"
    )]
    Connection,
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
    spans: Vec<Arc<Backlog<SpanData>>>,
    lines: Vec<Arc<logs::Lines>>,
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
    /// Begins to send; `None` where no receiver is named. Tokens are shown to each that is.
    ///
    /// # Errors
    /// When the address is none, or a thread cannot be started. That nobody answers there is none.
    pub fn start(
        config: &config::Telemetry,
        who: &Who,
        tokens: Option<Tokens>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, TelemetryError> {
        let (otlp, insights) =
            (Receiver::of(config, tokens.clone(), metrics)?, Insights::of(config, who, tokens, metrics)?);
        if otlp.is_none() && insights.is_none() {
            return Ok(None);
        }
        let (interval, resource) = (Duration::from_millis(config.interval_ms), resource(who));
        let (mut spans, mut lines) = (Vec::new(), Vec::new());
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
        if let Some(otlp) = &otlp {
            if let Some(exporter) = otlp.spans()? {
                spans.push(Arc::new(traces::backlog(exporter, &resource, Counts::of(metrics, "traces"), interval)?));
            }
            if let Some(exporter) = otlp.logs()? {
                lines.push(Arc::new(logs::backlog(exporter, &resource, Counts::of(metrics, "logs"), interval)?));
            }
            if let Some(exporter) = otlp.metrics()? {
                meters = meters.with_reader(PeriodicReader::builder(exporter).with_interval(interval).build());
            }
        }
        if config.otlp_delta {
            meters = meters.with_view(growing_buckets);
        }
        if let Some(insights) = &insights {
            spans.push(Arc::new(insights.spans()?));
            lines.push(Arc::new(insights.lines()?));
            meters = meters.with_reader(PeriodicReader::builder(insights.numbers()?).with_interval(interval).build());
        }
        let tracing = spans.iter().fold(SdkTracerProvider::builder(), |tracing, queue| {
            tracing.with_span_processor(traces::Queue(Arc::clone(queue)))
        });
        let tracing = tracing.with_sampler(Sampler::AlwaysOn).with_resource(resource.clone()).build();
        let logging = lines.iter().fold(SdkLoggerProvider::builder(), |logging, queue| {
            logging.with_log_processor(logs::Queue(Arc::clone(queue)))
        });
        let logging = logging.with_resource(resource).build();
        also_to(Some(logs::layer(&logging)));
        let meters = meters.build();
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
        self.spans.iter().for_each(|spans| spans.flush(longest));
        self.lines.iter().for_each(|lines| lines.flush(longest));
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

/// Times as Azure Monitor wants them beside sums of what was added.
fn growing_buckets(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let (max_size, max_scale) = BUCKETS;
    let growing = Aggregation::Base2ExponentialHistogram { max_size, max_scale, record_min_max: true };
    Stream::builder().with_aggregation(growing).build().ok()
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
