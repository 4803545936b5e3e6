//! The process's numbers in Prometheus form, under the names of `vitalake_runtime::telemetry`.
//!
//! A counter is asked for once and kept by whoever counts: adding to it is one atomic. Labels hold names of datasets,
//! topics and outcomes, never a record's value.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use vitalake_runtime::events::{Event, Outcome};
use vitalake_runtime::telemetry::MetricName;
use vitalake_runtime::telemetry::metric as name;

/// The labels of one series, such as `[("dataset", "vitals")]`.
pub type Labels = Vec<(&'static str, String)>;

/// A number that goes up and down, with a fraction.
pub type Value = Gauge<f64, AtomicU64>;

type Counters = Family<Labels, Counter>;
type Values = Family<Labels, Value>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: Vec<(&'static str, Counters)>,
    values: Vec<(&'static str, Values)>,
    histograms: Vec<(&'static str, Histograms)>,
}

/// From a millisecond to a minute.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, without series.
    pub fn new() -> Self {
        let mut metrics = Self { registry: Registry::default(), counters: vec![], values: vec![], histograms: vec![] };
        for metric in name::ALL {
            metrics.add(*metric);
        }
        metrics
    }

    /// The name says what kind it is: `_total` counts, `_seconds` is a time that is measured many times, the rest are
    /// values, as is the age of the newest row.
    fn add(&mut self, metric: MetricName) {
        let help = metric.help.trim_end_matches('.');
        if let Some(counted) = metric.name.strip_suffix("_total") {
            let family = Counters::default();
            self.registry.register(counted, help, family.clone());
            self.counters.push((metric.name, family));
        } else if metric.name.ends_with("_seconds") && metric != name::FRESHNESS_SECONDS {
            let family = Histograms::new_with_constructor(seconds);
            self.registry.register(metric.name, help, family.clone());
            self.histograms.push((metric.name, family));
        } else {
            let family = Values::default();
            self.registry.register(metric.name, help, family.clone());
            self.values.push((metric.name, family));
        }
    }

    /// The counter of that name and labels, made when it is not there. Keep it: asking again takes a lock.
    ///
    /// A name that is not a counter's gives one that nobody sees.
    pub fn counter(&self, metric: MetricName, labels: &Labels) -> Counter {
        find(&self.counters, metric).map(|family| family.get_or_create_owned(labels)).unwrap_or_default()
    }

    /// The value of that name and labels, made when it is not there.
    pub fn value(&self, metric: MetricName, labels: &Labels) -> Value {
        find(&self.values, metric).map(|family| family.get_or_create_owned(labels)).unwrap_or_default()
    }

    /// The times of that name and labels, made when they are not there.
    pub fn times(&self, metric: MetricName, labels: &Labels) -> Histogram {
        find(&self.histograms, metric).map_or_else(seconds, |family| family.get_or_create_owned(labels))
    }

    /// Makes numbers of what happened.
    pub fn record(&self, event: &Event) {
        match event {
            Event::Commit { table, outcome, took, .. } => {
                let labels = vec![("table", table.to_string()), ("outcome", outcome.as_str().to_owned())];
                self.counter(name::COMMITS, &labels).inc();
                self.times(name::COMMIT_SECONDS, &vec![("table", table.to_string())]).observe(took.as_secs_f64());
            }
            Event::Run { dataset: model, outcome, took, .. } => {
                self.counter(name::MODEL_RUNS, &of(model, *outcome)).inc();
                self.times(name::MODEL_SECONDS, &dataset(model)).observe(took.as_secs_f64());
            }
            Event::Check { dataset, rule, severity, rows } => {
                let (dataset, rule) = (("dataset", dataset.to_string()), ("rule", rule.to_string()));
                let labels = vec![dataset, rule, ("severity", (*severity).to_owned())];
                self.counter(name::BROKEN_RULES, &labels).inc_by(*rows);
            }
            Event::Delivery { dataset, outcome, .. } => {
                self.counter(name::DELIVERIES, &of(dataset, *outcome)).inc();
            }
            Event::Measured { .. } | Event::Gate { .. } | Event::Alert { .. } | Event::Discard { .. } => {}
            Event::Query { surface, outcome, took } => {
                let labels = vec![("surface", (*surface).to_owned()), ("outcome", (*outcome).to_owned())];
                self.counter(name::QUERIES, &labels).inc();
                self.times(name::QUERY_SECONDS, &vec![("surface", (*surface).to_owned())]).observe(took.as_secs_f64());
            }
        }
    }

    /// All series as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn dataset(name: &str) -> Labels {
    vec![("dataset", name.to_owned())]
}

fn of(name: &str, outcome: Outcome) -> Labels {
    vec![("dataset", name.to_owned()), ("outcome", outcome.as_str().to_owned())]
}

fn find<'a, T>(families: &'a [(&'static str, T)], metric: MetricName) -> Option<&'a T> {
    families.iter().find(|(name, _)| *name == metric.name).map(|(_, family)| family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_and_a_counter_that_was_asked_for_is_printed() {
        let metrics = Metrics::new();
        let families = metrics.counters.len() + metrics.values.len() + metrics.histograms.len();
        assert_eq!(families, name::ALL.len());

        let labels = vec![("surface", "druid".to_owned()), ("outcome", "ok".to_owned())];
        metrics.counter(name::QUERIES, &labels).inc_by(3);
        metrics.value(name::READY, &vec![]).set(1.0);
        metrics.times(name::QUERY_SECONDS, &labels).observe(0.3);
        let text = metrics.text();
        assert!(text.contains("vitalake_queries_total{surface=\"druid\",outcome=\"ok\"} 3"), "{text}");
        assert!(text.contains("vitalake_ready 1"), "{text}");
        assert!(text.contains("vitalake_query_seconds_count"), "{text}");
    }
}
