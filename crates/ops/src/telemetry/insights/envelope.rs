//! Spans, log lines and metrics as envelopes of Application Insights.
//!
//! Pure. Invariant: of a span and a metric only attributes whose names stand here leave, which are names, ids and counts;
//! a log line leaves as it is logged.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::logs::{AnyValue, Severity};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, SpanId};
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

use super::super::Who;

/// The most characters of a message.
const MESSAGE_MAX: usize = 32_768;
/// The most characters of a property.
const PROPERTY_MAX: usize = 8_192;
/// Attributes of spans and metrics that leave.
const SAID: [&str; 24] = [
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.kafka.offset",
    "vitalake.txn",
    "vitalake.dataset",
    "vitalake.through_offset",
    "vitalake.rows",
    "vitalake.rejects",
    "vitalake.rows_in",
    "vitalake.rows_out",
    "vitalake.table",
    "vitalake.table_id",
    "vitalake.version",
    "dataset",
    "table",
    "topic",
    "feed",
    "rule",
    "severity",
    "outcome",
    "surface",
    "kind",
    "signal",
];

/// What every envelope says of the process.
#[derive(Clone, Debug)]
pub(super) struct Envelopes {
    pub(super) key: String,
    pub(super) who: Who,
}

impl Envelopes {
    /// A span: what came from outside is a request, the rest what it depends on.
    pub(super) fn span(&self, span: &SpanData) -> Value {
        let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
        let is_request = matches!(span.span_kind, SpanKind::Server | SpanKind::Consumer);
        let success = !matches!(span.status, Status::Error { .. });
        let mut data = json!({
            "ver": 2,
            "id": span.span_context.span_id().to_string(),
            "name": span.name,
            "duration": duration(took),
            "success": success,
            "properties": self.properties(span.attributes.iter()),
        });
        let more = match is_request {
            true => json!({"responseCode": if success { "200" } else { "500" }}),
            false => json!({"type": "InProc"}),
        };
        extend(&mut data, more);
        let (name, kind) = match is_request {
            true => ("Request", "RequestData"),
            false => ("RemoteDependency", "RemoteDependencyData"),
        };
        let mut tags = json!({"ai.operation.id": span.span_context.trace_id().to_string()});
        if span.parent_span_id != SpanId::INVALID {
            extend(&mut tags, json!({"ai.operation.parentId": span.parent_span_id.to_string()}));
        }
        self.envelope((name, kind), span.start_time, tags, data)
    }

    /// A line of the log.
    pub(super) fn line(&self, line: &SdkLogRecord) -> Value {
        let mut properties = self.properties(std::iter::empty());
        if let Some(target) = line.target() {
            properties.insert("target".to_owned(), json!(target));
        }
        for (name, value) in line.attributes_iter() {
            properties.insert(name.as_str().to_owned(), json!(cut(&text(value), PROPERTY_MAX)));
        }
        let message = line.body().map(text).unwrap_or_default();
        let data = json!({
            "ver": 2,
            "message": cut(&message, MESSAGE_MAX),
            "severityLevel": severity(line.severity_number()),
            "properties": properties,
        });
        let at = line.timestamp().or(line.observed_timestamp()).unwrap_or_else(SystemTime::now);
        self.envelope(("Message", "MessageData"), at, json!({}), data)
    }

    /// What was measured since the last time, one envelope a series.
    pub(super) fn metrics(&self, metrics: &ResourceMetrics) -> Vec<Value> {
        let mut envelopes = Vec::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let name = metric.name();
            match metric.data() {
                AggregatedMetrics::F64(data) => self.series(name, data, &mut envelopes),
                AggregatedMetrics::U64(data) => self.series(name, data, &mut envelopes),
                AggregatedMetrics::I64(data) => self.series(name, data, &mut envelopes),
            }
        }
        envelopes
    }

    fn series<T: Number>(&self, name: &str, data: &MetricData<T>, into: &mut Vec<Value>) {
        let mut add = |at: SystemTime, attributes: Vec<&KeyValue>, numbers: Value| {
            let mut point = json!({"name": name});
            extend(&mut point, numbers);
            let properties = self.properties(attributes.into_iter());
            let data = json!({"ver": 2, "metrics": [point], "properties": properties});
            into.push(self.envelope(("Metric", "MetricData"), at, json!({}), data));
        };
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().for_each(|point| {
                add(gauge.time(), point.attributes().collect(), measured(point.value().number()));
            }),
            // What has not grown is not told: the sum stays the same.
            MetricData::Sum(sum) => sum.data_points().filter(|point| point.value().number() != 0.0).for_each(|point| {
                add(sum.time(), point.attributes().collect(), measured(point.value().number()));
            }),
            MetricData::Histogram(times) => times.data_points().filter(|point| point.count() > 0).for_each(|point| {
                let (least, most) = (point.min().map(Number::number), point.max().map(Number::number));
                let numbers = aggregated(point.sum().number(), point.count(), (least, most));
                add(times.time(), point.attributes().collect(), numbers);
            }),
            MetricData::ExponentialHistogram(times) => {
                times.data_points().filter(|point| point.count() > 0).for_each(|point| {
                    let (least, most) = (point.min().map(Number::number), point.max().map(Number::number));
                    let numbers = aggregated(point.sum().number(), point.count() as u64, (least, most));
                    add(times.time(), point.attributes().collect(), numbers);
                });
            }
        }
    }

    fn envelope(&self, (name, kind): (&str, &str), at: SystemTime, tags: Value, data: Value) -> Value {
        let mut all = json!({
            "ai.cloud.role": format!("vitalake/{}", self.who.project),
            "ai.cloud.roleInstance": self.who.role,
            "ai.application.ver": self.who.version,
            "ai.internal.sdkVersion": concat!("vitalake:", env!("CARGO_PKG_VERSION")),
        });
        extend(&mut all, tags);
        json!({
            "name": format!("Microsoft.ApplicationInsights.{name}"),
            "time": DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Micros, true),
            "iKey": self.key,
            "sampleRate": 100,
            "tags": all,
            "data": {"baseType": kind, "baseData": data},
        })
    }

    fn properties<'a>(&self, attributes: impl Iterator<Item = &'a KeyValue>) -> Map<String, Value> {
        let said = attributes.filter(|attribute| SAID.contains(&attribute.key.as_str()));
        let said = said.map(|said| (said.key.as_str().to_owned(), json!(cut(&said.value.as_str(), PROPERTY_MAX))));
        said.collect()
    }
}

/// A number of a metric.
trait Number: Copy {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    fn number(self) -> f64 {
        self as f64
    }
}

fn measured(value: f64) -> Value {
    json!({"kind": "Measurement", "value": value, "count": 1})
}

fn aggregated(sum: f64, count: u64, (least, most): (Option<f64>, Option<f64>)) -> Value {
    let mut numbers = json!({"kind": "Aggregation", "value": sum, "count": count});
    if let (Some(least), Some(most)) = (least, most) {
        extend(&mut numbers, json!({"min": least, "max": most}));
    }
    numbers
}

/// `DD.HH:MM:SS.fffffff`.
fn duration(took: Duration) -> String {
    let (seconds, ticks) = (took.as_secs(), took.subsec_nanos() / 100);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    format!("{days:02}.{hours:02}:{:02}:{:02}.{ticks:07}", seconds / 60 % 60, seconds % 60)
}

/// From `Verbose`, 0, to `Critical`, 4.
fn severity(of: Option<Severity>) -> u8 {
    match of.map_or(9, |severity| severity as u8) {
        ..9 => 0,
        9..13 => 1,
        13..17 => 2,
        17..21 => 3,
        _ => 4,
    }
}

fn text(value: &AnyValue) -> String {
    match value {
        AnyValue::String(text) => text.to_string(),
        AnyValue::Int(number) => number.to_string(),
        AnyValue::Double(number) => number.to_string(),
        AnyValue::Boolean(truth) => truth.to_string(),
        // Nothing of ours is logged as such.
        _ => String::new(),
    }
}

fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

fn extend(value: &mut Value, with: Value) {
    if let (Value::Object(members), Value::Object(more)) = (value, with) {
        members.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_ticks_with_days_before_it() {
        assert_eq!(duration(Duration::from_millis(123)), "00.00:00:00.1230000");
        assert_eq!(duration(Duration::from_nanos(90_061_000_000_199)), "01.01:01:01.0000001");
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!((cut("äöü", 2), cut("äöü", 3), cut("", 1)), ("äö", "äöü", ""));
    }

    #[test]
    fn severities_are_those_of_the_portal() {
        let of = |severity| super::severity(Some(severity));
        let levels = [Severity::Debug, Severity::Info, Severity::Warn, Severity::Error, Severity::Fatal].map(of);
        assert_eq!(levels, [0, 1, 2, 3, 4]);
    }
}
