//! The track endpoint's answers, each with what becomes of the envelopes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::read::GzDecoder;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus_client::metrics::counter::Counter;
use rstest::rstest;
use serde_json::json;
use vitalake_runtime::azure::{Audience, Identity};

use super::*;
use crate::double::{Answer, Asked, Double};
use crate::telemetry::traces;

const KEY: &str = "00000000-0000-4000-8000-000000000001";
const NOW_MS: i64 = 1_795_000_000_000;

fn lines_of(asked: &Asked) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(asked.body.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn track(double: &Double, clock: &Clock, tokens: Option<Tokens>) -> Track {
    Track::new(&format!("{}/", double.url), tokens, clock.clone(), Counter::default())
}

fn numbered() -> Vec<Value> {
    (0..4).map(|n| json!({"n": n})).collect()
}

#[rstest]
#[case::taken(200, "", 4, &[])]
#[case::taken_in_part(
    206,
    r#"{"itemsReceived":4,"itemsAccepted":1,"errors":[{"index":0,"statusCode":500,"message":"m"},{"index":1,"statusCode":400},{"index":3,"statusCode":439},{"index":99,"statusCode":500}]}"#,
    1,
    &[0, 3]
)]
#[case::taken_in_part_and_nothing_to_send_again(206, r#"{"errors":[{"index":2,"statusCode":400}]}"#, 3, &[])]
#[case::refused(400, "", 0, &[])]
#[case::a_quota(402, "", 0, &[0, 1, 2, 3])]
#[case::throttled(429, "", 0, &[0, 1, 2, 3])]
#[case::a_daily_quota(439, "", 0, &[0, 1, 2, 3])]
#[case::slow(408, "", 0, &[0, 1, 2, 3])]
#[case::broken(503, "", 0, &[0, 1, 2, 3])]
#[case::sent_on_to_nowhere(307, "", 0, &[0, 1, 2, 3])]
#[case::nobody_is_known_without_a_token(401, "", 0, &[])]
fn an_answer_says_what_is_sent_again(
    #[case] status: u16,
    #[case] body: &str,
    #[case] taken: u64,
    #[case] again: &[u64],
) {
    let (double, clock) = (Double::always(Answer::of(status, body)), Clock::manual(NOW_MS));
    let mut envelopes = numbered();
    assert_eq!(track(&double, &clock, None).send(&mut envelopes), taken);
    let left: Vec<u64> = envelopes.iter().map(|envelope| envelope["n"].as_u64().unwrap()).collect();
    assert_eq!(left, again);
    let asked = &double.asked()[0];
    assert_eq!((asked.target.as_str(), lines_of(asked).len()), ("/v2.1/track", 4));
    assert_eq!((asked.header("content-type"), asked.header("authorization")), ("application/x-json-stream", ""));
}

#[test]
fn who_is_throttled_is_left_for_as_long_as_it_says() {
    let double = Double::always(Answer::of(429, "").with("retry-after", 30));
    let clock = Clock::manual(NOW_MS);
    let mut track = track(&double, &clock, None);
    track.send(&mut numbered());
    clock.advance(Duration::from_secs(29));
    track.send(&mut numbered());
    assert_eq!(double.count(), 1);
    clock.advance(Duration::from_secs(1));
    track.send(&mut numbered());
    assert_eq!(double.count(), 2);
}

#[test]
fn another_host_is_kept_for_a_day_and_one_elsewhere_is_given_nothing() {
    let (second, clock) = (Double::always(Answer::of(200, "")), Clock::manual(NOW_MS));
    let first = Double::always(Answer::of(308, "").with("location", format!("{}/v2.1/track", second.url)));
    let mut track = track(&first, &clock, None);
    (0..3).for_each(|_| assert_eq!(track.send(&mut numbered()), 4));
    assert_eq!((first.count(), second.count()), (1, 3));
    clock.advance(Duration::from_secs(24 * 3_600));
    track.send(&mut numbered());
    assert_eq!((first.count(), second.count()), (2, 4));
    for elsewhere in [
        "https://evil.example/v2.1/track",
        "https://x.applicationinsights.azure.com@evil.example/",
        "http://x.in.applicationinsights.azure.com/v2.1/track",
        "https://evilapplicationinsights.azure.com.evil.example/",
    ] {
        let double = Double::always(Answer::of(307, "").with("location", elsewhere));
        let mut envelopes = numbered();
        assert_eq!((super::tests::track(&double, &clock, None).send(&mut envelopes), envelopes.len()), (0, 4));
    }
}

#[test]
fn a_token_is_shown_and_renewed_once() {
    let given = AtomicUsize::new(0);
    let double = Double::start(move |asked| match asked.target.starts_with("/metadata/") {
        true => {
            let number = given.fetch_add(1, Ordering::SeqCst);
            Answer::of(200, &format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#))
        }
        false if asked.header("authorization") == "Bearer t1" => Answer::of(200, ""),
        false => Answer::of(401, ""),
    });
    let clock = Clock::manual(NOW_MS);
    let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), double.url.clone())].into();
    let identity = Identity::from_environment(&environment).unwrap();
    let tokens = Tokens::new(identity, Audience::new(Audience::MONITOR), clock.clone());
    let mut track = track(&double, &clock, Some(tokens.clone()));
    assert_eq!(track.send(&mut numbered()), 4);
    tokens.refused(&tokens.get().unwrap());
    let mut envelopes = numbered();
    assert_eq!((track.send(&mut envelopes), envelopes.len()), (0, 4), "neither t2 nor t3 is taken");
    assert_eq!(double.asked().iter().filter(|asked| asked.method == "POST").count(), 4);
}

/// What was sent once everything has been flushed.
fn insights(double: &Double) -> Insights {
    let envelopes = Envelopes {
        key: KEY.to_owned(),
        who: Who { project: "clinic".to_owned(), role: "all".to_owned(), version: "1".to_owned(), ..Who::default() },
    };
    let (endpoint, metrics) = (format!("{}/", double.url), Arc::new(Metrics::new()));
    Insights { endpoint, envelopes, tokens: None, metrics, interval: Duration::from_secs(600) }
}

fn sent(double: &Double) -> Vec<Value> {
    double.asked().iter().flat_map(lines_of).collect()
}

#[test]
fn spans_are_requests_and_dependencies_with_ids_and_only_what_is_known() {
    let double = Double::always(Answer::of(200, ""));
    let queue = Arc::new(insights(&double).spans().unwrap());
    let provider = SdkTracerProvider::builder().with_span_processor(traces::Queue(Arc::clone(&queue))).build();
    let tracer = provider.tracer("t");
    let said = vec![KeyValue::new("vitalake.dataset", "raw.steps"), KeyValue::new("person", "ZQX")];
    let builder = tracer.span_builder("produce t").with_kind(SpanKind::Server).with_attributes(said);
    let root = builder.start(&tracer);
    let (context, root_context) = (root.span_context().clone(), root.span_context().clone());
    let parent = opentelemetry::Context::new().with_remote_span_context(context);
    let mut child = tracer.build_with_context(tracer.span_builder("log append").with_kind(SpanKind::Internal), &parent);
    child.end();
    drop(root);
    queue.flush(Duration::from_secs(60));
    let sent = sent(&double);
    let of = |kind: &str| sent.iter().find(|sent| sent["data"]["baseType"] == kind).unwrap();
    let (request, dependency) = (of("RequestData"), of("RemoteDependencyData"));
    assert_eq!((&request["iKey"], &request["name"]), (&json!(KEY), &json!("Microsoft.ApplicationInsights.Request")));
    assert_eq!(request["tags"]["ai.cloud.role"], "vitalake/clinic");
    assert_eq!(request["tags"]["ai.operation.id"], root_context.trace_id().to_string());
    assert_eq!(dependency["tags"]["ai.operation.parentId"], root_context.span_id().to_string());
    assert_eq!(request["data"]["baseData"]["id"], root_context.span_id().to_string());
    assert_eq!(request["data"]["baseData"]["properties"], json!({"vitalake.dataset": "raw.steps"}));
    assert_eq!((sent.len(), sent.iter().any(|sent| sent.to_string().contains("ZQX"))), (2, false));
}

#[test]
fn metrics_are_what_was_added_since_the_last_time() {
    use opentelemetry::metrics::MeterProvider as _;
    let double = Double::always(Answer::of(200, ""));
    let numbers = insights(&double).numbers().unwrap();
    let reader = PeriodicReader::builder(numbers.clone()).with_interval(Duration::from_secs(600)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("t");
    let (rows, took) = (meter.u64_counter("rows").build(), meter.f64_histogram("took").build());
    rows.add(3, &[KeyValue::new("dataset", "steps")]);
    [0.5, 2.0].into_iter().for_each(|seconds| took.record(seconds, &[]));
    provider.force_flush().unwrap();
    rows.add(4, &[KeyValue::new("dataset", "steps")]);
    provider.force_flush().unwrap();
    provider.force_flush().unwrap();
    numbers.queue.flush(Duration::from_secs(60));
    let points: Vec<Value> = sent(&double).iter().map(|sent| sent["data"]["baseData"]["metrics"][0].clone()).collect();
    let of = |name: &str| points.iter().filter(|point| point["name"] == name).cloned().collect::<Vec<_>>();
    let values: Vec<f64> = of("rows").iter().map(|point| point["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [3.0, 4.0]);
    let wanted = json!({"name": "took", "kind": "Aggregation", "value": 2.5, "count": 2, "min": 0.5, "max": 2.0});
    assert_eq!(of("took"), [wanted]);
}

#[test]
fn what_is_taken_in_part_is_counted_so() {
    let asked = AtomicUsize::new(0);
    let double = Double::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::of(206, r#"{"errors":[{"index":0,"statusCode":500},{"index":1,"statusCode":400}]}"#),
        _ => Answer::of(200, ""),
    });
    let insights = insights(&double);
    let queue = insights.numbers().unwrap().queue;
    (0..4).for_each(|n| queue.offer(json!({"n": n})));
    // A flush sends once; what is left is dropped, as at a stop.
    queue.flush(Duration::from_secs(60));
    let labels = vec![("signal", "metrics".to_owned())];
    let count = |name| insights.metrics.counter(name, &labels).get();
    assert_eq!((count(metric::TELEMETRY_SENT), count(metric::TELEMETRY_DROPPED)), (2, 2));
}
