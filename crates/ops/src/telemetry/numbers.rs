//! The process's metrics as the receiver takes them: those of `/metrics`, under the same names.
//!
//! Counters and values are read when they are due; times are told as they are measured. A counter's name goes without its
//! `_total`, which receivers add where they show it to Prometheus. Invariant: nothing is counted twice to be sent.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use vitalake_runtime::telemetry::{MetricName, metric};

use crate::metrics::{Kind, Labels, Metrics, kind};

/// Has a provider read all metrics.
pub(super) fn observe(provider: &SdkMeterProvider, metrics: &Arc<Metrics>) {
    let meter = provider.meter("vitalake");
    let mut times = Vec::new();
    for name in metric::ALL {
        match kind(*name) {
            Kind::Counter => counter(&meter, *name, metrics),
            Kind::Seconds => seconds(&meter, *name, metrics),
            Kind::Value => value(&meter, *name, metrics),
            Kind::Times => {
                let described = meter.f64_histogram(name.name).with_description(name.help).with_unit("s");
                times.push((name.name, described.with_boundaries(crate::metrics::BOUNDS.to_vec()).build()));
            }
        }
    }
    metrics.also_measure(Box::new(move |name, labels, seconds| {
        if let Some((_, histogram)) = times.iter().find(|(known, _)| *known == name) {
            histogram.record(seconds, &attributes(labels));
        }
    }));
}

fn counter(meter: &Meter, name: MetricName, metrics: &Arc<Metrics>) {
    let metrics = Arc::downgrade(metrics);
    let plain = name.name.trim_end_matches("_total");
    let counter = meter.u64_observable_counter(plain).with_description(name.help).with_unit(unit(plain));
    let observed = counter.with_callback(move |observer| {
        let Some(metrics) = metrics.upgrade() else { return };
        for (labels, count) in metrics.counts(name) {
            observer.observe(count, &attributes(&labels));
        }
    });
    // The meter keeps it: nothing is to be done with what stands for it.
    let _kept = observed.build();
}

fn seconds(meter: &Meter, name: MetricName, metrics: &Arc<Metrics>) {
    let metrics = Arc::downgrade(metrics);
    let plain = name.name.trim_end_matches("_total");
    let counter = meter.f64_observable_counter(plain).with_description(name.help).with_unit("s");
    let observed = counter.with_callback(move |observer| {
        let Some(metrics) = metrics.upgrade() else { return };
        for (labels, seconds) in metrics.values(name) {
            observer.observe(seconds, &attributes(&labels));
        }
    });
    let _kept = observed.build();
}

fn value(meter: &Meter, name: MetricName, metrics: &Arc<Metrics>) {
    let metrics = Arc::downgrade(metrics);
    let gauge = meter.f64_observable_gauge(name.name).with_description(name.help).with_unit(unit(name.name));
    let observed = gauge.with_callback(move |observer| {
        let Some(metrics) = metrics.upgrade() else { return };
        for (labels, value) in metrics.values(name) {
            observer.observe(value, &attributes(&labels));
        }
    });
    let _kept = observed.build();
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect()
}

/// The unit in which a metric's name ends, as UCUM writes it.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("bytes") => "By",
        Some("seconds") => "s",
        _ => "1",
    }
}
