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
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_runtime::events::{Event, Outcome};
use vitalake_runtime::telemetry::MetricName;
use vitalake_runtime::telemetry::metric as name;

/// The labels of one series, such as `[("dataset", "vitals")]`.
pub type Labels = Vec<(&'static str, String)>;

/// A number that goes up and down, with a fraction.
pub type Value = Gauge<f64, AtomicU64>;

/// Seconds that add up.
pub type Seconds = Counter<f64, AtomicU64>;

type Counters = Family<Labels, Counter>;
type SecondsFamily = Family<Labels, Seconds>;
type Values = Family<Labels, Value>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// Seconds that add up.
    Seconds,
    /// It goes up and down.
    Value,
    /// Times that are measured.
    Times,
}

/// The name says it: `_seconds_total` adds seconds up, `_total` counts, `_seconds` is a time that is measured many times, the rest are values, as is the age
/// of the newest row.
#[must_use]
pub fn kind(metric: MetricName) -> Kind {
    match metric.name {
        name if name.ends_with("_seconds_total") => Kind::Seconds,
        name if name.ends_with("_total") => Kind::Counter,
        name if name.ends_with("_seconds") && metric != name::FRESHNESS_SECONDS => Kind::Times,
        _ => Kind::Value,
    }
}

/// Who else is told of each time that is measured: the metric's name, the labels, seconds.
pub type AlsoMeasured = Box<dyn Fn(&'static str, &Labels, f64) + Send + Sync>;

/// The labels of the series that there are, by the metric's name.
type Series = Mutex<BTreeMap<&'static str, BTreeSet<Labels>>>;

/// Every metric of the process.
pub struct Metrics {
    series: Series,
    also: OnceLock<AlsoMeasured>,
    registry: Registry,
    counters: Vec<(&'static str, Counters)>,
    seconds: Vec<(&'static str, SecondsFamily)>,
    values: Vec<(&'static str, Values)>,
    histograms: Vec<(&'static str, Histograms)>,
}

/// The bounds of times, in seconds: from a millisecond to a minute.
pub const BOUNDS: [f64; 15] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

fn seconds() -> Histogram {
    Histogram::new(BOUNDS)
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, without series.
    pub fn new() -> Self {
        let mut metrics = Self {
            series: Mutex::default(),
            also: OnceLock::new(),
            registry: Registry::default(),
            counters: vec![],
            seconds: vec![],
            values: vec![],
            histograms: vec![],
        };
        for metric in name::ALL {
            metrics.add(*metric);
        }
        for signal in ["traces", "metrics", "logs"] {
            let labels = vec![("signal", signal.to_owned())];
            metrics.counter(name::TELEMETRY_SENT, &labels);
            metrics.counter(name::TELEMETRY_DROPPED, &labels);
        }
        metrics.counter(name::TELEMETRY_FAILED, &vec![]);
        metrics
    }

    fn add(&mut self, metric: MetricName) {
        let help = metric.help.trim_end_matches('.');
        match kind(metric) {
            Kind::Counter => {
                let family = Counters::default();
                self.registry.register(metric.name.trim_end_matches("_total"), help, family.clone());
                self.counters.push((metric.name, family));
            }
            Kind::Seconds => {
                let family = SecondsFamily::default();
                self.registry.register(metric.name.trim_end_matches("_total"), help, family.clone());
                self.seconds.push((metric.name, family));
            }
            Kind::Times => {
                let family = Histograms::new_with_constructor(seconds);
                self.registry.register(metric.name, help, family.clone());
                self.histograms.push((metric.name, family));
            }
            Kind::Value => {
                let family = Values::default();
                self.registry.register(metric.name, help, family.clone());
                self.values.push((metric.name, family));
            }
        }
    }

    /// Tells somebody else of each time that is measured from now on; only the first is told.
    pub fn also_measure(&self, also: AlsoMeasured) {
        let _ = self.also.set(also);
    }

    /// The series of a counter, as they are.
    pub fn counts(&self, metric: MetricName) -> Vec<(Labels, u64)> {
        let Some(family) = find(&self.counters, metric) else { return Vec::new() };
        self.series_of(metric)
            .into_iter()
            .filter_map(|labels| Some((family.get(&labels)?.get(), labels)))
            .map(swap)
            .collect()
    }

    /// The series of a value, or of seconds that add up, as they are.
    pub fn values(&self, metric: MetricName) -> Vec<(Labels, f64)> {
        if let Some(family) = find(&self.seconds, metric) {
            let of = |labels: Labels| Some((family.get(&labels)?.get(), labels));
            return self.series_of(metric).into_iter().filter_map(of).map(swap).collect();
        }
        let Some(family) = find(&self.values, metric) else { return Vec::new() };
        self.series_of(metric)
            .into_iter()
            .filter_map(|labels| Some((family.get(&labels)?.get(), labels)))
            .map(swap)
            .collect()
    }

    fn series_of(&self, metric: MetricName) -> Vec<Labels> {
        self.series.lock().get(metric.name).into_iter().flatten().cloned().collect()
    }

    fn note(&self, metric: MetricName, labels: &Labels) {
        self.series.lock().entry(metric.name).or_default().insert(labels.clone());
    }

    /// Measures a time.
    fn measure(&self, metric: MetricName, labels: &Labels, took: Duration) {
        self.times(metric, labels).observe(took.as_secs_f64());
        if let Some(also) = self.also.get() {
            also(metric.name, labels, took.as_secs_f64());
        }
    }

    /// The counter of that name and labels, made when it is not there. Keep it: asking again takes a lock.
    ///
    /// A name that is not a counter's gives one that nobody sees.
    pub fn counter(&self, metric: MetricName, labels: &Labels) -> Counter {
        let Some(family) = find(&self.counters, metric) else { return Counter::default() };
        if family.get(labels).is_none() {
            self.note(metric, labels);
        }
        family.get_or_create_owned(labels)
    }

    /// The seconds of that name and labels, made when they are not there.
    pub fn seconds(&self, metric: MetricName, labels: &Labels) -> Seconds {
        let Some(family) = find(&self.seconds, metric) else { return Seconds::default() };
        if family.get(labels).is_none() {
            self.note(metric, labels);
        }
        family.get_or_create_owned(labels)
    }

    /// The value of that name and labels, made when it is not there.
    pub fn value(&self, metric: MetricName, labels: &Labels) -> Value {
        let Some(family) = find(&self.values, metric) else { return Value::default() };
        if family.get(labels).is_none() {
            self.note(metric, labels);
        }
        family.get_or_create_owned(labels)
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
                self.measure(name::COMMIT_SECONDS, &vec![("table", table.to_string())], *took);
            }
            Event::Run { dataset: model, outcome, took, .. } => {
                self.counter(name::MODEL_RUNS, &of(model, *outcome)).inc();
                self.measure(name::MODEL_SECONDS, &dataset(model), *took);
            }
            Event::Check { dataset, rule, severity, rows } => {
                let (dataset, rule) = (("dataset", dataset.to_string()), ("rule", rule.to_string()));
                let labels = vec![dataset, rule, ("severity", (*severity).to_owned())];
                self.counter(name::BROKEN_RULES, &labels).inc_by(*rows);
            }
            Event::Delivery(told) => {
                self.counter(name::DELIVERIES, &of(&told.dataset, told.outcome())).inc();
            }
            Event::Measured { .. }
            | Event::Gate { .. }
            | Event::Alert { .. }
            | Event::Discard { .. }
            | Event::Step(_) => {}
            Event::Query { surface, outcome, took } => {
                let labels = vec![("surface", (*surface).to_owned()), ("outcome", (*outcome).to_owned())];
                self.counter(name::QUERIES, &labels).inc();
                self.measure(name::QUERY_SECONDS, &vec![("surface", (*surface).to_owned())], *took);
            }
        }
    }

    /// All series in Prometheus' own text form, for whoever does not ask for OpenMetrics.
    pub fn plain_text(&self) -> String {
        let counters: Vec<&str> = self.counters.iter().map(|c| c.0).chain(self.seconds.iter().map(|s| s.0)).collect();
        self.text()
            .lines()
            .filter_map(|line| plain(line, &counters))
            .fold(String::new(), |text, line| text + &line + "\n")
    }

    /// All series as OpenMetrics has them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A line of OpenMetrics as Prometheus' own form has it: a counter is explained under its whole name, and nothing says
/// where the text ends.
fn plain(line: &str, counters: &[&str]) -> Option<String> {
    if line == "# EOF" || line.starts_with("# UNIT ") {
        return None;
    }
    let explained = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
    let Some((name, rest)) = explained.and_then(|explained| explained.split_once(' ')) else {
        return Some(line.replacen("{} ", " ", 1));
    };
    let whole = counters.iter().find(|counter| counter.strip_suffix("_total") == Some(name)).copied().unwrap_or(name);
    Some(format!("{} {whole} {rest}", line.get(..6).unwrap_or_default()))
}

fn swap<A, B>((first, second): (A, B)) -> (B, A) {
    (second, first)
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
        let families = metrics.counters.len() + metrics.seconds.len() + metrics.values.len() + metrics.histograms.len();
        assert_eq!(families, name::ALL.len());

        let labels = vec![("surface", "druid".to_owned()), ("outcome", "ok".to_owned())];
        metrics.counter(name::QUERIES, &labels).inc_by(3);
        metrics.value(name::READY, &vec![]).set(1.0);
        metrics.times(name::QUERY_SECONDS, &labels).observe(0.3);
        let text = metrics.text();
        assert!(text.contains("vitalake_queries_total{surface=\"druid\",outcome=\"ok\"} 3"), "{text}");
        assert!(text.contains("vitalake_ready 1"), "{text}");
        assert!(text.contains("vitalake_query_seconds_count"), "{text}");
        metrics.seconds(name::LOG_SYNC_SECONDS, &vec![]).inc_by(0.5);
        let plain = metrics.plain_text();
        for line in [
            "# HELP vitalake_queries_total Queries, by surface and outcome.",
            "# TYPE vitalake_queries_total counter",
            "# TYPE vitalake_log_sync_seconds_total counter",
            "vitalake_log_sync_seconds_total 0.5",
            "# TYPE vitalake_ready gauge",
            "# TYPE vitalake_query_seconds histogram",
        ] {
            assert!(plain.lines().any(|found| found == line), "{line}\n{plain}");
        }
        assert!(!plain.contains("EOF") && !plain.contains("{}"), "{plain}");
    }
}
