//! Log lines on their way to the receiver.
//!
//! Invariant: only lines of this platform are sent: those that sending itself causes would feed on themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use opentelemetry::InstrumentationScope;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use tracing::Event;
use tracing_subscriber::layer::Context;
use tracing_subscriber::{Layer, Registry};
use vitalake_runtime::telemetry::AlsoTold;

use super::backlog::{Backlog, Counts, Sent};

/// What the targets of our own lines begin with.
const OURS: &str = "vitalake";

/// The queue of log lines.
pub(super) type Lines = Backlog<(SdkLogRecord, InstrumentationScope)>;

/// A queue whose thread sends by this exporter.
pub(super) fn backlog(
    mut exporter: LogExporter,
    resource: &Resource,
    counts: Counts,
    interval: Duration,
) -> std::io::Result<Lines> {
    exporter.set_resource(resource);
    Backlog::start("telemetry-logs", counts, interval, move |lines: &[(SdkLogRecord, InstrumentationScope)], _: u32| {
        let told: Vec<(&SdkLogRecord, &InstrumentationScope)> = lines.iter().map(|line| (&line.0, &line.1)).collect();
        Sent::whole(lines, block_on(exporter.export(LogBatch::new(&told))).is_ok())
    })
}

/// Puts what is logged into the queue.
#[derive(Debug)]
pub(super) struct Queue(pub(super) Arc<Lines>);

impl LogProcessor for Queue {
    fn emit(&self, data: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.offer((data.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Hands our own lines to a provider.
struct Ours(OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>);

impl Layer<Registry> for Ours {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        if event.metadata().target().starts_with(OURS) {
            self.0.on_event(event, context);
        }
    }
}

/// What is told of each line that is logged.
pub(super) fn layer(provider: &SdkLoggerProvider) -> AlsoTold {
    Box::new(Ours(OpenTelemetryTracingBridge::new(provider)))
}
