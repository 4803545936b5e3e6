//! Addresses, tokens and temporality of signals that go by OTLP.
#![allow(clippy::unwrap_used)]
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::executor::block_on;
use opentelemetry_http::{Bytes, HttpClient as _, Request};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use vitalake_runtime::azure::{Audience, Identity};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::Config;

use super::*;
use crate::double::{Answer, Double};

fn telemetry(change: impl FnOnce(&mut config::Telemetry)) -> config::Telemetry {
    let mut telemetry = Config::defaults(std::path::Path::new(".")).telemetry;
    change(&mut telemetry);
    telemetry
}

fn tokens(double: &Double) -> Tokens {
    let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), double.url.clone())].into();
    let identity = Identity::from_environment(&environment).unwrap();
    Tokens::new(identity, Audience::new(Audience::MONITOR), Clock::system())
}

#[test]
fn a_signal_has_its_own_address_else_the_one_under_that_of_all() {
    let own = "https://x.metrics.ingest.monitor.azure.com/otlp/v1/metrics";
    let all = telemetry(|to| {
        to.otlp_endpoint = Some("http://127.0.0.1:4318/".to_owned());
        to.otlp_signals.metrics = Some(own.to_owned());
    });
    let to = addresses(&all);
    assert_eq!(to.traces.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
    assert_eq!((to.metrics.as_deref(), to.logs.is_some()), (Some(own), true));
    let metrics = Arc::new(Metrics::new());
    let alone = telemetry(|to| {
        to.otlp_signals.metrics = Some(own.to_owned());
        to.otlp_delta = true;
    });
    let receiver = Receiver::of(&alone, None, &metrics).unwrap().unwrap();
    assert!(receiver.spans().unwrap().is_none() && receiver.logs().unwrap().is_none());
    assert_eq!(receiver.metrics().unwrap().unwrap().temporality(), Temporality::Delta);
    assert!(Receiver::of(&telemetry(|_| {}), None, &metrics).unwrap().is_none());
}

#[test]
fn a_token_goes_to_no_address_in_the_clear() {
    let double = Double::always(Answer::of(200, ""));
    let elsewhere = telemetry(|to| to.otlp_endpoint = Some("http://collector.example:4318".to_owned()));
    let metrics = Arc::new(Metrics::new());
    assert!(matches!(Receiver::of(&elsewhere, Some(tokens(&double)), &metrics), Err(TelemetryError::Clear)));
    assert!(Receiver::of(&elsewhere, None, &metrics).unwrap().is_some());
}

#[test]
fn each_request_shows_a_token_that_is_renewed_once() {
    let given = AtomicUsize::new(0);
    let double = Double::start(move |asked| match asked.target.starts_with("/metadata/") {
        true => {
            let number = given.fetch_add(1, Ordering::SeqCst);
            Answer::of(200, &format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#))
        }
        false if asked.header("authorization") == "Bearer t1" => Answer::of(200, ""),
        false => Answer::of(401, ""),
    });
    let failed = Metrics::new().counter(metric::TELEMETRY_FAILED, &vec![]);
    let client = Client::new(REQUEST_MAX, failed, Some(tokens(&double)));
    let send = || {
        let request = Request::post(format!("{}/v1/traces", double.url)).body(Bytes::from_static(b"x")).unwrap();
        block_on(client.send_bytes(request)).unwrap().status().as_u16()
    };
    assert_eq!((send(), send()), (200, 200));
    let shown: Vec<String> = double
        .asked()
        .iter()
        .filter(|asked| asked.method == "POST")
        .map(|asked| asked.header("authorization").to_owned())
        .collect();
    assert_eq!(shown, ["Bearer t0", "Bearer t1", "Bearer t1"]);
}
